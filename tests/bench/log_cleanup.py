"""Cleaning a large operation log, with small time and faults injected: what it took, what it costs, and whether all of it is right.

python -m tests.bench.log_cleanup --operations 200000 --customers 500

All days are sealed first, under faults too. Then everybody's retention becomes ten days, and one night has to delete what is past.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import tests.conftest  # noqa: F401  tables are named before anything is imported

if TYPE_CHECKING:
    from tests.support.log_fleet import Night

#: US dollars for a million request units, on demand, as the price list for us-east-1 has them (November 2024).
READ_PRICE, WRITE_PRICE = 0.125, 0.625


def main() -> int:
    """Make the log, seal it, run one night, check, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=200_000)
    parser.add_argument("--customers", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--faults", type=float, default=0.02, help="share of AWS calls that fail, and of double and late deliveries"
    )
    parser.add_argument("--steps", type=int, default=40, help="batches of 25 for which a worker has time, at most")
    options = parser.parse_args()

    from licensing import log_cleanup, sealing

    from infra.local.stack import Stack
    from tests.simulation import quick
    from tests.support import log_fleet

    began = time.monotonic()

    def say(text: str) -> None:
        print(f"\r{time.monotonic() - began:6.0f} s  {text:<90}", end="", file=sys.stderr, flush=True)

    with ExitStack() as until:
        directory = Path(until.enter_context(tempfile.TemporaryDirectory()))
        stack = until.enter_context(Stack(directory=directory / "stack"))
        stack.queues.stop()
        quick.install(until)
        until.enter_context(patch.object(log_cleanup, "pause", lambda: None))
        until.enter_context(patch("time.sleep", lambda seconds: None))  # between tries
        os.environ.update(SITE="primary")
        now = log_fleet.midday()
        fleet = log_fleet.make(
            now,
            options.customers,
            options.operations,
            lambda done: say(f"making: {done} of {options.customers} customers"),
            kept_days=365,
        )
        old, total = len(fleet.old), len(fleet.old) + len(fleet.young)
        print(f"{total} operations of {options.customers} customers, {old} of them older than ten days")
        sealed = log_fleet.Night(stack, options.seed, options.faults, options.steps)
        sealed.run(now, lambda night: say(f"sealing: {night.done.sealed_days} days, {night.deliveries} runs"))
        log_fleet.keep_ten_days(fleet, now)
        kept = log_fleet.left(fleet) == fleet.old | fleet.young
        cleaned = log_fleet.Night(stack, options.seed, options.faults, options.steps)
        later = now + timedelta(hours=1)
        cleaned.run(later, lambda night: say(f"cleaning: {night.done.deleted} deleted, {night.deliveries} runs"))
        say("done\n")
        _tell("Sealing", sealed, sealed.done.sealed_days, "sealed day")
        _tell("Cleaning", cleaned, old, "deleted operation")
        left, broken, days, cut = log_fleet.left(fleet), 0, 0, 0
        for done, customer_id in enumerate(fleet.customer_ids):
            say(f"verifying: {done} of {options.customers} customers")
            found = sealing.verify(customer_id, date.min, now.date(), later)
            broken, days, cut = broken + len(found.findings), days + found.days, cut + found.cut
        counted = log_fleet.cut_in_log(fleet)
        checks = {
            "operations gone before retention": 0 if kept else 1,
            "old operations left": len(left & fleet.old),
            "young operations gone": len(fleet.young - left),
            "messages stuck in the queues": cleaned.waiting(),
            f"findings in {days} seals, {cut} days cut": broken,
            "deletions in the log, too many or few": counted - old,
        }
        print("\nWrong:")
        for name, count in checks.items():
            print(f"  {name:<42}{count:>10}")
        print(f"  (metric OperationsDeleted: {cleaned.done.deleted})")
        return 1 if any(checks.values()) else 0


def _tell(what: str, night: "Night", count: int, unit: str) -> None:
    """Runs, faults and units of a night."""
    print(f"\n{what}: {night.deliveries} runs, {night.continuations} out of time, {night.failures} failed or killed,")
    print(f"  {night.redriven} messages redriven from the dead-letter queue")
    print(f"  faults met: {', '.join(f'{number} {name}' for name, number in sorted(night.met.items()))}")
    print(f"  {'units':<32}{'reads':>10}{'writes':>10}")
    total = night.meter.total
    for name, units in (*sorted(night.meter.by_kind.items()), ("all", total)):
        print(f"  {name:<32}{units.read:>10.0f}{units.write:>10.0f}")
    print(f"  {f'per {unit}':<32}{total.read / count:>10.2f}{total.write / count:>10.2f}")
    dollars = (total.read * READ_PRICE + total.write * WRITE_PRICE) / 1e6
    print(f"  {dollars:.2f} USD at {READ_PRICE} and {WRITE_PRICE} USD a million")
    print(
        f"  other calls: {', '.join(f'{n} {c}' for c, n in sorted(night.calls.items()) if not c.startswith('dynamodb'))}"
    )


if __name__ == "__main__":
    sys.exit(main())
