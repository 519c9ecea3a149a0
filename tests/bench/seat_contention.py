"""Several processes on one pool at the same time, each as a container of the seats' function would be: every read and write is an
HTTP request on loopback, and nothing but the conditions on the writes keeps them apart. Prints the rate, and seats oversold.

python -m tests.bench.seat_contention --operations 100000 --processes 4
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from moto.backends import get_backend

import tests.conftest  # noqa: F401  tables are named before anything is imported
from infra.local.aws import LOCK
from infra.local.stack import Stack
from infra.local.template import ACCOUNT, REGION
from tests.bench.processes import PATIENCE, at_once, rate

TAX_ID, APPLICATION = "ESA58818501", "bench"
#: Short, so that the seats of stations that died come back during the run.
LEASE_SECONDS = 60
#: (since, until): for so long a station held a seat, by its own knowledge; the seat may have been held a little longer.
Held = tuple[float, float]


def caller_of(customer_id: str) -> Any:
    """Who asks: an installation of the customer, known already."""
    from licensing.rules.entitlements import Standing
    from licensing.stations import Caller

    standing = Standing(
        customer_id=customer_id, customer_name="Hotel", tax_id=TAX_ID, customer_time_zone="Europe/Madrid",
        installation_id="ins_bench", name="Bench", mode="online", purpose=None, disabled=False, customer_deleted=False,
        log_retention=timedelta(days=365), entitlements=(),
    )  # fmt: skip
    return Caller(customer_id, "ins_bench", standing)


def work(
    given: tuple[dict[str, str], str],
    number: int,
    options: argparse.Namespace,
    start: Any,
    progress: Any,
    results: Any,
) -> None:
    """One process: its stations come, stay, open a second module, leave, or die without a word."""
    environment, customer_id = given
    os.environ.update(environment)
    from licensing import contract, seats
    from licensing.errors import SeatLimitReached, SeatLost, TemporarilyUnavailable
    from licensing.rules.activation_keys import key_pool_id

    caller, pool_id = caller_of(customer_id), key_pool_id(customer_id, APPLICATION)
    start.wait(PATIENCE)
    chance, end = random.Random(f"{options.seed} {number}"), time.monotonic() + options.seconds
    held: dict[int, tuple[str, float, float]] = {}
    intervals: list[Held] = []
    counts = {"leased": 0, "refused": 0, "extended": 0, "released": 0, "died": 0, "lost": 0, "unavailable": 0}

    def let_go(station: int, at: float) -> None:
        _, since, until = held.pop(station)
        intervals.append((since, min(at, until)))

    lives = [0] * options.stations  # who died comes back as another, or it would ride on the seat of its former life

    def ask(station: int, module: str) -> contract.SeatAnswer:
        body = contract.SeatRequest(
            pool_id=pool_id, company_tax_id=TAX_ID, os_user=f"user{number}-{station}-{lives[station]}", terminal=f"PC-{number}",
            session="local", user_code="U", module=module, instance="1",
        )  # fmt: skip
        return seats.lease(caller, body, datetime.now(UTC))[0]

    done = 0
    while done < options.operations // options.processes and time.monotonic() < end:
        station, dice, begun = chance.randrange(options.stations), chance.random(), time.time()
        done += 1
        progress.value = done
        if station in held and held[station][2] <= begun:
            let_go(station, begun)  # its lease has ended; it asks for a new one
        try:
            if station not in held:
                answer = ask(station, "chat")
                held[station] = (answer.seat_id, time.time(), answer.lease_until.timestamp())
                counts["leased"] += 1
            elif dice < options.deaths:
                let_go(station, held[station][2])  # nobody hears of it: the seat is held until its lease ends
                lives[station] += 1
                counts["died"] += 1
            elif dice < 0.5:
                seat_id, since, _ = held[station]
                answer = (
                    seats.heartbeat(caller, seat_id, "chat", "1", datetime.now(UTC))
                    if dice < 0.4
                    else ask(station, "history")
                )
                held[station] = (seat_id, since, answer.lease_until.timestamp())
                counts["extended"] += 1
            else:
                seat_id = held[station][0]
                let_go(station, begun)
                seats.close(caller, seat_id, None, None, datetime.now(UTC))
                counts["released"] += 1
        except SeatLimitReached:
            counts["refused"] += 1
        except SeatLost:
            counts["lost"] += 1
            held.pop(station, None)
        except TemporarilyUnavailable:
            counts["unavailable"] += 1
    for station in list(held):
        let_go(station, time.time())
    results.put((counts, intervals, done))


def most_at_once(intervals: list[Held]) -> int:
    """The most seats that were surely held at the same time; at the same moment leaving comes before entering."""
    steps = sorted([(since, 1) for since, until in intervals if until > since]
                   + [(until, -1) for since, until in intervals if until > since])  # fmt: skip
    now = most = 0
    for _, change in steps:
        now += change
        most = max(most, now)
    return most


@dataclass(frozen=True)
class OverHttp:
    """A pool of an activation key in a stack whose tables other processes reach by HTTP on loopback."""

    stack: Stack
    customer_id: str
    pool_id: str
    environment: dict[str, str]

    @property
    def given(self) -> tuple[dict[str, str], str]:
        """What the processes need to know."""
        return self.environment, self.customer_id

    def quotas(self) -> int:
        """What the segments' quotas and what is not dealt out add up to."""
        from licensing.store import seats as store

        state = store.get_pool(self.pool_id)
        return sum(each.quota for each in store.segments(self.pool_id)) + (state.undealt if state else 0)


@contextmanager
def pool_over_http(capacity: int, lease_seconds: int) -> Iterator[OverHttp]:
    """Start a stack in this process, and make the pool."""
    from licensing import activation_keys, seats
    from licensing.activation_keys import Terms
    from licensing.rules.activation_keys import key_pool_id
    from licensing.rules.operations import Origin
    from licensing.store import accounts

    with tempfile.TemporaryDirectory() as directory, Stack(directory=Path(directory) / "stack") as stack:
        stack.queues.stop()
        now, by = datetime.now(UTC).replace(microsecond=0), Origin("vendor", "bench", "bench")
        customer_id = accounts.find_by_tax_id(TAX_ID) or ""
        terms = Terms({TAX_ID: "Hotel"}, now.date() - timedelta(days=2), now.date() + timedelta(days=90),
                      {APPLICATION: capacity}, lease_seconds=lease_seconds)  # fmt: skip
        issued = activation_keys.issue(customer_id, terms, by, now)
        preview = activation_keys.preview(customer_id, issued.text, now)
        activation_keys.import_key(customer_id, preview.preview_id, by, now)
        environment = {
            **os.environ, "AWS_ENDPOINT_URL": stack.aws_url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "POWERTOOLS_LOG_LEVEL": "CRITICAL",
        }  # fmt: skip
        pool_id = key_pool_id(customer_id, APPLICATION)
        seats.settle(pool_id, now)
        yield OverHttp(stack, customer_id, pool_id, environment)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the pool, let the processes at it, check, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=100_000, help="of all processes together")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--stations", type=int, default=20, help="of each process")
    parser.add_argument("--capacity", type=int, default=40)
    parser.add_argument("--deaths", type=float, default=0.005, help="share of operations in which a station dies")
    parser.add_argument("--seconds", type=int, default=3600, help="no process goes on for longer")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with pool_over_http(options.capacity, LEASE_SECONDS) as pool:
        for table in get_backend("dynamodb")[ACCOUNT][REGION].tables.values():
            table.stream_shard = None  # nobody reads it here, and moto keeps both images of every write for ever

        def meanwhile(count: int, took: float) -> str:
            with LOCK:  # refusals are not recorded here, and moto counts those that wait at each that comes
                pool.stack.aws.empty_queues()
            return rate(count, options.operations, took)

        found, took = at_once(work, pool.given, options, meanwhile)
        dealt = pool.quotas()
    intervals = [each for _, held, _ in found for each in held]
    most, done = most_at_once(intervals), sum(each for _, _, each in found)
    oversold = max(0, most - options.capacity)
    print(f"{done} operations by {options.processes} processes in {took:.0f} s: {done / took:.0f} a second")
    for name in found[0][0]:
        print(f"  {name:<12}{sum(counts[name] for counts, _, _ in found):>8}")
    print(f"most seats at once {most} of {options.capacity}, oversold {oversold}; quotas add up to {dealt}")
    return 1 if oversold or dealt != options.capacity else 0


if __name__ == "__main__":
    sys.exit(main())
