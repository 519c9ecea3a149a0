"""Where the time of a cold start and of a warm handler goes, and the memory: what to look at when a figure is missed.

python -m tests.bench.profiles ValidateServer      its imports by package, time and memory, from the built artifact
python -m tests.bench.profiles validation          where the processor's time goes (also "seat heartbeat", "log entry"…)
"""

import tests.conftest  # noqa: F401  tables are named before anything is imported

# isort: split
import argparse
import re
import sys
from collections import Counter
from collections.abc import Sequence

from tests.bench import artifact, cpu
from tests.bench.__main__ import cloud, say

_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)")


def imports(function: str) -> Counter[str]:
    """Microseconds by top-level package of a cold start's imports, without those of what they import in turn."""
    module, _, _ = artifact.handlers()[function].rpartition(".")
    found: Counter[str] = Counter()
    for took, name in _LINE.findall(artifact.import_times(function, module)):
        found[name.split(".")[0]] += int(took)
    return found


def memory(function: str) -> Counter[str]:
    """Resident KB by top-level package of a cold start's imports, in the same way."""
    return Counter(artifact.run(function, {"kind": "memory", "handler": artifact.handlers()[function]})["kb"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", metavar="FUNCTION|CALL")
    parser.add_argument("--lines", type=int, default=25)
    options = parser.parse_args(arguments)
    if options.what in artifact.handlers():
        for found, of, unit in ((imports(options.what), 1000, "ms"), (memory(options.what), 1024, "MB")):
            for name, took in [*found.most_common(options.lines), ("in all", found.total())]:
                print(f"{took / of:8.1f} {unit}  {name}")
            print()
        return 0
    with cloud() as running:
        print(cpu.profile(running, options.what, options.lines, say))
    return 0


if __name__ == "__main__":
    sys.exit(main())
