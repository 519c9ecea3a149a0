"""``python -m tests.simulation``: run seeds (``make simulation``, ``make soak``), or replay one (``--seed``)."""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from multiprocessing import get_context

from tests.simulation.cloud import Cloud
from tests.simulation.runner import Tally, explain, run, scenarios, tally
from tests.simulation.scenario import Scenario
from tests.simulation.simulator import Recipe

#: Seeds that a process runs before it reports, and failures after which there are enough.
_CHUNK, _ENOUGH = 30, 5


def _chunks(first: int, count: int) -> Iterator[range]:
    """The seeds in parts; without end where ``count`` is 0."""
    last = first + count
    for begin in itertools.count(first, _CHUNK):
        if count and begin >= last:
            return
        yield range(begin, min(begin + _CHUNK, last) if count else begin + _CHUNK)


def _all(only: str, chunks: Iterator[range], processes: int) -> Tally:
    """Run the seeds in some processes, and say every few seconds how it goes."""
    total, begun = Tally(), time.monotonic()
    said = begun
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool, suppress(KeyboardInterrupt):
        running: set[Future[Tally]] = set()
        while len(total.failures) < _ENOUGH:
            running |= {pool.submit(tally, only, part) for part in itertools.islice(chunks, processes - len(running))}
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for each in done:
                total.add(each.result())
                print("".join(f"\n{told}\n" for told in each.result().failures), end="", flush=True)
            if time.monotonic() - said > 5:
                said = time.monotonic()
                speed = f"{total.seeds / (said - begun):.0f} a second"
                print(f"{total.seeds} seeds, {len(total.failures)} failed, {speed}", file=sys.stderr, flush=True)
    took = time.monotonic() - begun
    print(
        f"{total.seeds} seeds over {len(scenarios(only))} scenarios, {total.steps} steps, {len(total.failures)} failed: "
        f"{took:.0f} s, {total.seeds / took:.0f} seeds a second"
    )
    print("faults: " + ", ".join(f"{number} {name}" for name, number in total.met.most_common()))
    return total


def _replay(kinds: list[type[Scenario]], seed: str) -> bool:
    """Whether all holds in this seed of each scenario; prints its trace."""
    with Cloud() as cloud:
        for kind in kinds:
            result = run(cloud, kind, Recipe(seed))
            print(f"{kind.__name__}, seed {seed}: {result.violation or 'all held'}")
            print("\n".join(f"  {event}" for event in result.trace))
            if result.violation:
                print("\n" + explain(cloud, kind, result))
                return False
    return True


def main() -> int:
    """0 if no seed failed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000, help="how many; 0: until Ctrl-C")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--processes", type=int, default=2, help="that share the seeds")
    parser.add_argument("--seed", help="replay one seed (of the scenario that --only names), with its whole trace")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    options = parser.parse_args()
    if options.seed:
        return 0 if _replay(scenarios(options.only), options.seed) else 1
    total = _all(options.only, _chunks(options.first, options.seeds), options.processes)
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
