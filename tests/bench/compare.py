"""Two runs of the bench, line by line: `make bench-compare BASE=<commit or file>` holds the newest against an older one.

python -m tests.bench.compare BASE [NEW]
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.report import number

KEPT = Path(__file__).resolve().parents[2] / ".local" / "bench"
#: What is a count must not change unseen; what is measured moves by some percent from run to run.
NOISE = 0.05


def find(which: str, directory: Path = KEPT) -> dict[str, Any]:
    """The run in a file, or the newest kept of a commit. Raises FileNotFoundError."""
    file = Path(which)
    if not file.is_file():
        kept = sorted(directory.glob(f"*-{which[:12]}*.json"))
        if not kept:
            raise FileNotFoundError(f"no run of {which} is kept in {directory}: check it out and run make bench")
        file = kept[-1]
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


def differences(base: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """What, before, now, and by how much: ratios where there is a floor, since machines differ."""
    before = {(each["part"], each["what"]): each for each in base["lines"]}
    now = {(each["part"], each["what"]): each for each in new["lines"]}
    rows = []
    for key in [*now, *(each for each in before if each not in now)]:
        old, current = (side.get(key) for side in (before, now))
        name = ": ".join(key)
        if old is None or current is None:
            rows.append((name, _shown(old), _shown(current), "new" if old is None else "gone"))
            continue
        was, known = _compared(old), _compared(current)
        if was == known:
            change = "="
        elif was == 0:
            change = "from nothing"
        else:
            share = known / was - 1
            measured = current["ratio"] is not None or current["unit"] in ("ms", "µs", "MB")
            change = "≈" if abs(share) < (NOISE if measured else 0.005) else f"{share:+.0%}"
        crossed = {(True, False): "  NOW MISSED", (False, True): "  now reached"}.get(
            (old["reached"], current["reached"]), ""
        )
        rows.append((name, _shown(old), _shown(current), change + crossed))
    return rows


def shortfalls(base: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Why two runs can't simply be compared: one took fewer rounds, or only some of the parts."""
    found = []
    for run, other in ((base, new), (new, base)):
        name = f"{run['commit']} {run['at']}"
        if run["quick"]:
            found.append(f"{name} is a --quick run: fewer rounds, smaller pools")
        if missing := sorted({*other["data"]} - {*run["data"]}):
            found.append(f"{name} is without {', '.join(missing)}")
    return found


def _compared(line: dict[str, Any]) -> float:
    return float(line["figure"] if line["ratio"] is None else line["ratio"])


def _shown(line: dict[str, Any] | None) -> str:
    if line is None:
        return ""
    ratio = f" ({number(line['ratio'])}×)" if line["ratio"] is not None else ""
    return f"{number(line['figure'])} {line['unit']}{ratio}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="BASE", help="a file, or a commit of which a run is kept")
    parser.add_argument("new", metavar="NEW", nargs="?", help="the same; the newest run without")
    options = parser.parse_args(arguments)
    try:
        newest = options.new or str(max(KEPT.glob("*.json"), default=KEPT / "none"))
        base, new = find(options.base), find(newest)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    for each in shortfalls(base, new):
        print(f"Beware: {each}", file=sys.stderr)
    rows = [
        ("", f"{base['commit']} {base['at'][:10]}", f"{new['commit']} {new['at'][:10]}", ""),
        *differences(base, new),
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    for name, old, current, change in rows:
        print(f"{name:<{widths[0]}}  {old:>{widths[1]}}  {current:>{widths[2]}}  {change}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
