"""Cleaning a large operation log, with small time and faults injected: what it took, and what it costs.

python -m tests.bench.log_cleanup --operations 200000 --customers 500
"""

import argparse
import os
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import tests.conftest  # noqa: F401  tables are named before anything is imported


def main() -> int:
    """Make the log, run one night, check, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=200_000)
    parser.add_argument("--customers", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--faults", type=float, default=0.02, help="share of AWS calls that fail, and of double deliveries"
    )
    parser.add_argument("--steps", type=int, default=40, help="batches of 25 for which a worker has time, at most")
    options = parser.parse_args()

    from licensing import log_cleanup, sealing

    from infra.local.stack import Stack
    from tests.support import log_fleet

    log_cleanup.pause = lambda: None

    def say(text: str) -> None:
        print(f"\r{text:<100}", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as directory, Stack(directory=Path(directory) / "stack") as stack:
        stack.queues.stop()
        os.environ.update(SITE="primary")
        now, begin = log_fleet.midday(), time.monotonic()
        fleet = log_fleet.make(
            now,
            options.customers,
            options.operations,
            lambda done: say(f"making: {done} of {options.customers} customers"),
        )
        made = time.monotonic()
        night = log_fleet.Night(stack, options.seed, options.faults, options.steps)
        night.run(now, lambda night: say(f"cleaning: {night.done.deleted} deleted, {night.deliveries} deliveries"))
        cleaned = time.monotonic()
        left = log_fleet.left(fleet)
        faults = [each for customer_id in fleet.customer_ids[::25]
                  for each in sealing.verify(customer_id, date.min, now.date(), now).findings]  # fmt: skip
        say("")
        print(
            f"\n{len(fleet.old) + len(fleet.young)} operations of {options.customers} customers, {len(fleet.old)} of them past"
        )
        gone = len(fleet.young - left)
        print(f"old ones left {len(left & fleet.old)}, young ones gone {gone}, seals that do not hold {len(faults)}")
        print(
            f"{night.deliveries} deliveries, {night.failures} failed, {night.redriven} redriven from the dead-letter queue"
        )
        print(f"made in {made - begin:.0f} s, cleaned in {cleaned - made:.0f} s\n")
        for name, count in sorted(night.calls.items()):
            print(f"  {name:<32}{count:>10} calls")
        # An entry is below 1 KB: a unit to delete it; two reads of 4 KB bring about twenty, once to seal and once to cut.
        print(
            f"\n  write units to delete {len(fleet.old):>10}   ({len(fleet.old) * 0.625e-6:.3f} USD at 0.625 per million)"
        )
        return 1 if left != fleet.young or faults else 0


if __name__ == "__main__":
    sys.exit(main())
