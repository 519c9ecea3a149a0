"""``make run``: the stack on one machine until Ctrl-C.

The port is Site 1's (``--port``, else PORT, else 8001); Site 2 and AWS take the next two.
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from infra.local import screen
from infra.local.stack import DEFAULT_PORT, ROOT, DirectoryTaken, PortTaken, Stack


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM (exit status 0), or say in one line why not (1)."""
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument("--port", type=_port, default=os.environ.get("PORT") or DEFAULT_PORT, help="of Site 1")
    parser.add_argument(
        "--directory", type=Path, default=ROOT / ".local", help="for vendor.json and logs; emptied at every start"
    )
    options = parser.parse_args(arguments)

    ended = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: ended.set())

    out = sys.stdout

    def say(text: str) -> None:
        print(text, file=out, flush=True)

    try:
        stack = Stack(
            port=options.port,
            directory=options.directory.absolute(),
            report=lambda *served: say(screen.served(*served)),
        )
        with stack:
            say(screen.welcome(stack))
            while not ended.wait(3600):
                pass
    except (PortTaken, DirectoryTaken) as error:
        print(error, file=sys.stderr)
        return 1
    say("\nStopped.")
    return 0


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65533:
        raise argparse.ArgumentTypeError("a port is a number up to 65533: Site 2 and AWS take the next two")
    return port


if __name__ == "__main__":
    sys.exit(main())
