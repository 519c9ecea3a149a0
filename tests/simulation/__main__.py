"""``python -m tests.simulation``: run seeds (``make simulation``, ``make soak``), or replay one (``--seed``)."""

import argparse
import itertools
import sys
import time
from collections import Counter

from tests.simulation.cloud import Cloud
from tests.simulation.runner import explain, run, runs, scenarios
from tests.simulation.simulator import Recipe


def main() -> int:
    """0 if no seed failed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many; 0: until Ctrl-C")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--seed", help="replay one seed (of the scenario that --only names), with its whole trace")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    options = parser.parse_args()
    kinds = scenarios(options.only)
    with Cloud() as cloud:
        if options.seed:
            for kind in kinds:
                result = run(cloud, kind, Recipe(options.seed))
                print(f"{kind.__name__}, seed {options.seed}: {result.violation or 'all held'}")
                print("\n".join(f"  {event}" for event in result.trace))
                if result.violation:
                    print("\n" + explain(cloud, kind, result))
                    return 1
            return 0
        last = options.first + options.seeds if options.seeds else None
        seeds = iter(range(options.first, last)) if last else itertools.count(options.first)
        count, steps, failed, met, begun = 0, 0, 0, Counter[str](), time.monotonic()
        said = begun
        try:
            for kind, result in runs(cloud, kinds, seeds):
                count, steps, met = count + 1, steps + result.steps, met + result.met
                if result.violation:
                    failed += 1
                    print("\n" + explain(cloud, kind, result), flush=True)
                    if failed == 5:
                        break
                if time.monotonic() - said > 5:
                    said = time.monotonic()
                    print(
                        f"{count} seeds, {failed} failed, {count / (said - begun):.0f} a second",
                        file=sys.stderr,
                        flush=True,
                    )
        except KeyboardInterrupt:
            pass
    took = time.monotonic() - begun
    faults = ", ".join(f"{number} {name}" for name, number in met.most_common())
    speed = f"{took:.0f} s, {count / took:.0f} seeds a second"
    print(f"{count} seeds over {len(kinds)} scenarios, {steps} steps, {failed} failed: {speed}")
    print(f"faults: {faults}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
