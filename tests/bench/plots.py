"""The plots of docs/performance.md, from a run of the bench.

python -m tests.bench.plots .local/bench/RUN.json docs/plots
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullLocator

from tests.bench.report import number

INK, GRAY, FAINT = "#1f2933", "#7b8794", "#e4e7eb"
BLUE, ORANGE, GREEN, RED, VIOLET = "#2563a8", "#d9822b", "#2f855a", "#c0392b", "#6b4fa0"
_STYLE = {
    "figure.dpi": 150, "savefig.dpi": 150, "font.size": 10, "font.family": "DejaVu Sans", "text.color": INK,
    "axes.labelcolor": INK, "axes.edgecolor": GRAY, "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "xtick.color": GRAY, "ytick.color": GRAY, "xtick.labelcolor": INK,
    "ytick.labelcolor": INK, "axes.grid": True, "grid.color": FAINT, "axes.axisbelow": True, "legend.frameon": False,
}  # fmt: skip
_THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")


def growth(seats: Sequence[Mapping[str, Any]], validations: Sequence[Mapping[str, Any]]) -> Any:
    """What a seat and a validation cost as pools and fleets grow."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.1), width_ratios=(3, 2), layout="constrained")
    of_seats, of_validations = axes
    sizes = [each["capacity"] for each in seats]
    for name, label, color, marker, shift in (
        ("moved", "checkout that moves quota", ORANGE, "s", 0),
        ("checkout", "checkout", BLUE, "o", 0.06),
        ("heartbeat", "heartbeat", GREEN, "^", 0),
        ("release", "release", VIOLET, "v", -0.06),
    ):
        of_seats.plot(
            sizes, [each[name]["write"] + shift for each in seats], color=color, marker=marker, label=f"{label}: writes"
        )
        reads = [each[name]["read"] for each in seats]
        if any(reads):
            shown = [each + (0 if name == "moved" else -shift) for each in reads]
            of_seats.plot(
                sizes,
                shown,
                color=color,
                marker=marker,
                linestyle=":",
                markerfacecolor="white",
                label=f"{label}: reads",
            )
    of_seats.set_xscale("log")
    of_seats.set_xticks(sizes, [f"{each:,}" for each in sizes])
    of_seats.xaxis.set_minor_locator(NullLocator())
    of_seats.set(
        title="A seat, by the size of its pool",
        xlabel="seats in the pool",
        ylabel="units of capacity (median)",
        ylim=(0, 6.6),
    )
    of_seats.legend(ncols=2, loc="upper left", fontsize=8.5)
    places = range(len(validations))
    reads, writes = ([each[kind] for each in validations] for kind in ("read", "write"))
    width = 0.36
    bars = (
        of_validations.bar([at - width / 2 for at in places], reads, width, color=BLUE, label="reads (RRU)"),
        of_validations.bar(
            [at + width / 2 for at in places], writes, width, color=ORANGE, label="writes (WRU): state, log"
        ),
    )
    for each in bars:
        of_validations.bar_label(each, padding=2)
    of_validations.set_xticks(places, [f"{each['servers']:,}" for each in validations])
    of_validations.set_yticks([0, 1, 2])
    of_validations.grid(axis="x", visible=False)
    of_validations.set(title="A validation, 20 entitlements", xlabel="servers of the customer", ylim=(0, 3))
    of_validations.legend(loc="upper left", fontsize=8.5)
    return figure


def day(found: Mapping[str, Any]) -> Any:
    """When ten million servers call, with and without the window, beside what is in their way."""
    figure, axis = plt.subplots(figsize=(10, 4.4), layout="constrained")
    spread, noon = found["spread"], found["noon"]
    hours = [9 + at / 60 for at in range(len(spread["per_minute_peak"]))]
    axis.fill_between(
        hours,
        spread["per_minute_peak"],
        step="post",
        color=BLUE,
        alpha=0.85,
        linewidth=0,
        label="spread over the window, 10:00 to 14:00",
    )
    axis.step(
        hours,
        [max(each, 0.1) for each in noon["per_minute_peak"]],
        where="post",
        color=ORANGE,
        linewidth=1.8,
        label="all at noon, clocks some seconds apart",
    )
    axis.set_yscale("log")
    axis.set(
        xlim=(9, 15), ylim=(1, 2_000_000), ylabel="validations a second (busiest of each minute)", xlabel="local time"
    )
    axis.set_xticks(range(9, 16), [f"{hour}:00" for hour in range(9, 16)])
    axis.yaxis.set_major_formatter(_THOUSANDS)
    for limit, text, color in (
        (1000, "1,000 a second: API throttle, KMS, one partition's writes", RED),
        (20_000, "20,000 a second: 1,000 environments, 50 ms an answer", GRAY),
    ):
        axis.axhline(limit, color=color, linewidth=1.2, linestyle="--")
        axis.text(9.05, limit * 1.13, text, color=color, fontsize=8.5, va="bottom")
    axis.annotate(
        f"{noon['peak']:,} a second", (12, noon["peak"]), (12.25, noon["peak"] * 1.4), color=ORANGE, fontsize=9, va="center",
        arrowprops={"arrowstyle": "-", "color": ORANGE},
    )  # fmt: skip
    ratio = spread["peak"] / spread["mean"]
    told = f"mean {spread['mean']:.0f}, peak {spread['peak']} a second: {ratio:.2f} ×"
    axis.text(10.1, 60, told, color="white", fontsize=10)
    axis.set_title("A day of ten million servers in one time zone")
    axis.legend(loc="upper left", fontsize=9, ncols=2)
    return figure


def cold_starts(found: Mapping[str, Any]) -> Any:
    """Each function's cold start, against a bare client of boto3."""
    functions = sorted(found["functions"].items(), key=lambda pair: pair[1]["ms"])
    floor = found["floor"]
    figure, axes = plt.subplots(1, 2, figsize=(10, 6.6), sharey=True, width_ratios=(3, 2), layout="constrained")
    for axis, kind, target, unit, title in (
        (axes[0], "ms", 1.35, "ms of processor", "Import and first client"),
        (axes[1], "mb", 1.3, "MB resident at most", "Memory after it"),
    ):
        values = [each[kind] for _, each in functions]
        colors = [GREEN if value <= target * floor[kind] else BLUE for value in values]
        bars = axis.barh([name for name, _ in functions], values, color=colors, height=0.72)
        axis.bar_label(bars, fmt="%.0f", padding=-22 if kind == "ms" else -16, fontsize=8, color="white")
        axis.axvline(floor[kind], color=GRAY, linewidth=1.2)
        axis.axvline(target * floor[kind], color=RED, linewidth=1.2, linestyle="--")
        top = len(functions) - 0.3
        axis.text(floor[kind], top, f"bare boto3 {floor[kind]:.0f} ", color=GRAY, fontsize=8.5, ha="right", va="bottom")
        axis.text(target * floor[kind], top, f" {target} ×", color=RED, fontsize=8.5, ha="left", va="bottom")
        axis.set_title(title, pad=18)
        axis.set(xlabel=unit, xlim=(0, max(values) * 1.12), ylim=(-0.7, len(functions) - 0.3))
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0, labelsize=8.5)
    return figure


def price(found: Mapping[str, Any]) -> Any:
    """A million validations by what they are spent on, and a month of whole fleets."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), width_ratios=(3, 2), layout="constrained")
    core, apart = found["validations"]["core"], found["validations"]["apart"]
    shown = [(name, dollars, BLUE) for name, dollars in core.items()]
    shown += [(name, dollars, GRAY) for name, dollars in apart.items() if dollars and not name.startswith("KMS")]
    names, dollars, colors = zip(*reversed(shown), strict=True)
    bars = axes[0].barh(names, dollars, color=colors, height=0.7)
    axes[0].bar_label(bars, [number(each) for each in dollars], padding=3, fontsize=8.5)
    axes[0].set(xlabel="US dollars", xlim=(0, max(dollars) * 1.15), title="A million validations")
    axes[0].grid(axis="y", visible=False)
    axes[0].tick_params(axis="y", length=0, labelsize=8.5)
    note = (
        f"blue: ${sum(core.values()):.2f}, one site with the PEM signer\ngray: lines of their own\n"
        f"the KMS signer instead of PEM: ${apart['KMS signer instead of PEM']:.0f} more"
    )
    axes[0].text(0.99, 0.3, note, transform=axes[0].transAxes, ha="right", va="center", fontsize=8.5, color=INK)
    fleets = found["months"]
    totals = [sum(bill.values()) for bill in fleets.values()]
    places = range(len(fleets))
    columns = axes[1].bar(places, totals, color=BLUE, width=0.6)
    axes[1].bar_label(columns, [f"${total:,.0f}" for total in totals], padding=3)
    axes[1].set_yscale("log")
    axes[1].yaxis.set_major_formatter(_THOUSANDS)
    axes[1].set_xticks(places, [f"{int(servers):,}" for servers in fleets])
    axes[1].grid(axis="x", visible=False)
    axes[1].set(
        xlabel="servers", ylabel="US dollars a month", ylim=(1, max(totals) * 4), title="A month, everything, two sites"
    )
    return figure


def draw(run: Mapping[str, Any], directory: Path) -> Iterator[Path]:
    """Write what the run has data for; returns the files."""
    data = run["data"]
    makers = {
        "growth": lambda: growth(data["seats"]["seats"], data["validations"]["validation"]),
        "fleet": lambda: day(data["fleet"]),
        "cold-starts": lambda: cold_starts(data["cold starts"]),
        "price": lambda: price(data["price"]),
    }
    needs = {
        "growth": ("seats", "validations"),
        "fleet": ("fleet",),
        "cold-starts": ("cold starts",),
        "price": ("price",),
    }
    directory.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        for name, make in makers.items():
            if all(each in data for each in needs[name]):
                figure = make()
                file = directory / f"{name}.png"
                figure.savefig(file, metadata={"Software": None})
                plt.close(figure)
                yield file


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw a kept run again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("directory", type=Path)
    options = parser.parse_args(arguments)
    for file in draw(json.loads(options.run.read_text(encoding="utf-8")), options.directory):
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
