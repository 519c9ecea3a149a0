"""The console script: chooses the language before the commands and their help texts are read in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from . import language
from .home import Home, locate


def main() -> None:
    """Runs `license-manager`."""
    language.use_that_of(Home(locate(_home_in(sys.argv[1:]), os.environ)), os.environ)
    language.for_command_line()
    from .cli import run_command

    run_command()


def _home_in(arguments: Sequence[str]) -> str | None:
    """The value of `--home`, which stands before the command."""
    for place, argument in enumerate(arguments):
        if argument == "--home" and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith("--home="):
            return argument.partition("=")[2]
    return None


if __name__ == "__main__":
    main()
