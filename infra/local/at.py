"""Runs a command-line program written in Python at another time.

    python -m infra.local.at --days 3 -- license-manager status

Without --days it is the time of the running local stack, whose clock ``POST /local/clock`` moves.

The License Manager remembers the latest time it has seen: once it has validated in the future, it will notice that the
clock was turned back. A fresh --home forgets.
"""

import argparse
import json
import os
import runpy
import shutil
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine

from infra.local.stack import DEFAULT_PORT


def main(arguments: list[str] | None = None) -> int:
    """Run the program; its exit status is returned or raised as SystemExit, and 1 is returned if it can't be run."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.local.at", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=float, help="from now; may be negative or a fraction")
    parser.add_argument(
        "--stack", default=f"http://127.0.0.1:{os.environ.get('PORT') or DEFAULT_PORT}", help="address of its Site 1"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- program …")
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("name the program to run, after --")
    program = find_program(command[0])
    if program is None:
        print(f"{command[0]} is not a program in Python that can be found here.", file=sys.stderr)
        return 1
    try:
        offset = timedelta(days=options.days) if options.days is not None else stack_offset(options.stack)
    except (urllib.error.URLError, ValueError, KeyError):
        print(f"No local stack answers at {options.stack}. Start it (make run), or give --days.", file=sys.stderr)
        return 1
    run(program, command[1:], offset)
    return 0


def find_program(name: str) -> Path | None:
    """The script of that name: a path, or beside this Python, or on PATH; None unless it is one in Python."""
    beside = Path(sys.executable).parent / name  # a path of its own replaces all that is before it
    found = beside if beside.is_file() else Path(shutil.which(name) or os.devnull)
    if not found.is_file():
        return None
    with found.open("rb") as script:
        first = script.readline(256)
    return found if found.suffix == ".py" or (first.startswith(b"#!") and b"python" in first) else None


def stack_offset(stack: str) -> timedelta:
    """How far the local stack's clock is from the real one. Raises URLError if none answers."""
    with urllib.request.urlopen(f"{stack}/local/clock", timeout=5) as answer:  # noqa: S310 - the developer names it
        return timedelta(seconds=json.load(answer)["offset_seconds"])


def run(program: Path, arguments: list[str], offset: timedelta) -> None:
    """Run a script in this process, at another time that runs on."""
    sys.argv = [str(program), *arguments]
    with time_machine.travel(datetime.now(UTC) + offset, tick=True):
        runpy.run_path(str(program), run_name="__main__")


if __name__ == "__main__":
    sys.exit(main())
