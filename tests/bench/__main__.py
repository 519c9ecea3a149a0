"""Speed and cost: every figure with its floor or its target, taken in this run (`make bench`).

python -m tests.bench                  all of it, some minutes; the last run is kept in .local/bench
python -m tests.bench --quick cpu      one part, in fewer rounds
python -m tests.bench --plots docs/plots

It prints what it finds, and never fails for a figure.
"""

import tests.conftest  # noqa: F401  tables are named before anything is imported

# isort: split
import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from infra.local.stack import ROOT, Stack
from tests.bench import artifact, cold_start, counts, cpu, fleet, price
from tests.bench.report import Line, Part, table
from tests.support.cloud import Cloud

KEPT = ROOT / ".local" / "bench"
PARTS = ("counts", "artifact", "cold", "cpu", "fleet", "price")


def say(text: str) -> None:
    """The progress line; it goes to where it does not get into what is kept."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


@contextmanager
def cloud() -> Iterator[Cloud]:
    """The local stack, without a thread that works beside it."""
    with (
        tempfile.TemporaryDirectory() as directory,
        Stack(directory=Path(directory) / "stack") as stack,
        httpx.Client(trust_env=False, timeout=60, verify=False) as client,
    ):
        stack.queues.stop()
        yield Cloud(stack, client)


def machine() -> dict[str, Any]:
    """On what this ran, and of what."""
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False)
    return {
        "commit": commit.stdout.strip(),
        "changed": bool(changed.stdout.strip()),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
    }


def run(parts: Sequence[str], quick: bool) -> tuple[list[Line], dict[str, Any]]:
    """The parts, one after the other. What can't be measured here is said, and left out."""
    lines: list[Line] = []
    data: dict[str, Any] = {}

    def take(name: str, measure: Callable[[], Part]) -> None:
        try:
            found = measure()
        except artifact.NotBuilt as error:
            say("")
            print(f"{name}: left out: {error}", file=sys.stderr)
            return
        lines.extend(found.lines)
        data[name] = found.data

    with cloud() as running:
        if {"counts", "price"} & {*parts}:
            take("validations", lambda: counts.validations(running, say))
            take("seats", lambda: counts.seats(running, say, counts.POOLS[:2] if quick else counts.POOLS))
        if {"cpu", "price"} & {*parts}:
            take("cpu", lambda: cpu.measure(running, say, 2 if quick else cpu.ROUNDS))
    if "cold" in parts:
        take("cold starts", lambda: cold_start.measure(say, 2 if quick else cold_start.ROUNDS))
    if "artifact" in parts:
        take("artifact", lambda: artifact.measure(say))
    if "price" in parts and "cpu" in data:
        counted = {**data["validations"], **data["seats"]}
        take("price", lambda: price.measure(counted, data["cpu"]["cpu"]))
    if "fleet" in parts:
        take("fleet", lambda: fleet.measure(say))
    say("")
    return lines, data


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all without")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller pools")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--plots", type=Path, metavar="DIRECTORY", help="draw the plots there")
    options = parser.parse_args(arguments)
    if unknown := {*options.parts} - {*PARTS}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    about = machine()
    lines, data = run(options.parts or PARTS, options.quick)
    document = {**about, "quick": options.quick, "lines": [each.document() for each in lines], "data": data}
    text = json.dumps(document, indent=1, ensure_ascii=False)
    stamp = about["at"].replace(":", "").replace("+0000", "Z")
    kept = KEPT / f"{stamp}-{about['commit']}{'-changed' if about['changed'] else ''}.json"
    for file in (kept, options.json):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    print(
        f"{about['commit']}{' and what is not committed' if about['changed'] else ''}, {about['at']}, {about['machine']}\n"
    )
    print(table(lines))
    missed = sum(each.reached is False for each in lines)
    print(f"\n{sum(each.reached is True for each in lines)} reached, {missed} missed; kept as {kept.relative_to(ROOT)}")
    if options.plots:
        from tests.bench import plots

        for each in plots.draw(document, options.plots):
            print(f"drawn: {each}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
