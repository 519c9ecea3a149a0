"""What seats cost in capacity units, from pools of 10 to pools of 10,000 seats, by DynamoDB's published rules (proof.md).

python -m tests.bench.seat_costs
"""

import tests.conftest  # noqa: F401  tables are named before anything is imported

# isort: split
import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
from licensing import contract, seat_use, seats
from licensing.errors import SeatLimitReached
from licensing.rules import seats as rules
from licensing.rules.seats import Ask, Who
from licensing.stations import Caller, by_seat_token
from licensing.store import seats as store

from infra.local.stack import Stack
from tests.support.cloud import Cloud, Server
from tests.support.seats import Pool, Station, concurrent_pool
from tests.support.units import Units, counted

SIZES = (10, 100, 1000, 10_000)
#: By what is done: what each time cost.
Costs = dict[str, list[Units]]


def who(n: int) -> Who:
    return Who(f"m.rossi{n}", f"PC-{n:04d}", "local", f"U{n:04d}")


def body(pool: Pool, n: int) -> contract.SeatRequest:
    named = who(n)._asdict()
    return contract.SeatRequest(
        pool_id=pool.pool_id, company_tax_id="IT00743110157", module="billing", instance=str(n), **named
    )


def fill(pool: Pool, count: int, now: int) -> None:
    """Seat so many stations as the rules do, each in its own segment where there is room; with few writes."""
    segments = {each.index: each for each in store.segments(pool.pool_id)}
    bits = pool.look().bits
    changed: set[int] = set()
    left = count
    for n in range(20 * count):
        if not left:
            break
        station = rules.station(who(n))
        index = rules.place(station, bits)
        until, tax_id = now + 600, rules.company("IT00743110157")
        ask = Ask(who(n), tax_id, "billing", rules.instance("billing", str(n)), until)
        seated = rules.lease(segments[index], station, ask, now)
        if seated:
            segments[index] = seated.segment
            changed.add(index)
            left -= 1
    assert left == 0
    for index in changed:
        store.put(pool.pool_id, segments[index], now)


def fill_all(pool: Pool, now: int) -> None:
    """Fill every segment up to its quota, with stations of any kind: only their number matters."""
    for segment in store.segments(pool.pool_id):
        entries = dict(segment.live(now))
        for n in range(segment.quota - len(entries)):
            station = f"{segment.index:08d}{n:08d}"
            entries[station] = rules.Entry(segment.version + 1, now, now + 600, who(n), "c", {})
        store.put(pool.pool_id, replace(segment, entries=entries), now)


def opened(cloud: Cloud, server: Server, capacity: int) -> tuple[Pool, Caller]:
    """A pool, and a caller of whom is known whatever is read once a minute."""
    pool = concurrent_pool(cloud, server, capacity)
    caller = by_seat_token(Station(pool).token(), cloud.now)
    lease, _ = seats.lease(caller, body(pool, 999_999), cloud.now)
    seats.close(caller, lease.seat_id, None, None, cloud.now)
    return pool, caller


def usual(pool: Pool, caller: Caller, times: int) -> Costs:
    """Seats that come and go in a pool that is half full; a checkout that has to move quota is not among them."""
    cloud, costs = pool.cloud, Costs(checkout=[], heartbeat=[], release=[])
    fill(pool, pool.look().pool.capacity // 2, int(cloud.now.timestamp()))
    for n in range(1_000_000, 1_000_000 + times):
        with counted(cloud) as units:
            answer, _ = seats.lease(caller, body(pool, n), cloud.now)
        if units.write <= 2:
            costs["checkout"].append(units)
        with counted(cloud) as units:
            seats.heartbeat(caller, answer.seat_id, "billing", str(n), cloud.now)
        costs["heartbeat"].append(units)
        with counted(cloud) as units:
            seats.close(caller, answer.seat_id, "billing", str(n), cloud.now)
        costs["release"].append(units)
    return costs


def moves(pool: Pool, caller: Caller, free: int) -> Iterator[tuple[Units, bool]]:
    """What checkouts that move quota cost in a pool with so few free seats, and whether one of them was in a segment beside."""
    cloud, begin = pool.cloud, pool.cloud.now
    fill(pool, pool.look().pool.capacity - free, int(begin.timestamp()))
    for n in range(free):
        cloud.work_off_streams()  # what was free some seconds ago is known behind the requests
        now = begin + timedelta(seconds=n)  # what one look at all finds is good for its second: each pays for its own
        own = rules.place(rules.station(who(2_000_000 + n)), pool.look().bits)
        beside = store.neighbours(pool.pool_id, own, seats._GLANCE)
        with counted(cloud) as units:
            seats.lease(caller, body(pool, 2_000_000 + n), now)
        if units.write > 2:
            yield units, any(each.spare(int(now.timestamp())) for each in beside)


def refusals(pool: Pool, caller: Caller, times: int) -> list[Units]:
    """A crowd before a full pool, within one second."""
    fill_all(pool, int(pool.cloud.now.timestamp()))
    capacity, costs = pool.look().pool.capacity, []
    for n in range(3_000_000, 3_000_000 + times):
        told = None
        with counted(pool.cloud) as units:
            try:
                seats.lease(caller, body(pool, n), pool.cloud.now)
            except SeatLimitReached as refusal:
                told = refusal.members["in_use"]
        assert told == capacity
        costs.append(units)
    return costs


def true_denials(pool: Pool, stations: int) -> Units:
    """What so many stations that were refused in vain within a minute cost behind their requests."""
    at = int(pool.cloud.now.timestamp())
    capacity = pool.look().pool.capacity
    refused = [
        seat_use.Denied(
            pool_id=pool.pool_id, station=rules.station(who(n)), who=who(n), company=rules.company("IT00743110157"),
            at=at + n % 60, in_use=capacity, capacity=capacity,
        )
        for n in range(stations)
    ]  # fmt: skip
    with counted(pool.cloud) as units:
        seat_use.record_denials(refused, pool.cloud.now)
    return units


def mean(units: Sequence[Units], each: int = 1) -> str:
    """The mean of what something cost, for a table."""
    count = len(units) * each
    return (
        f"{sum(one.read for one in units) / count:.2f} + {sum(one.write for one in units) / count:.2f}"
        if units
        else "-"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="seats of the pools")
    options = parser.parse_args(arguments)
    rows: dict[str, list[str]] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        Stack(directory=Path(directory) / "stack") as stack,
        httpx.Client(trust_env=False, timeout=60) as client,
    ):
        stack.queues.stop()
        cloud = Cloud(stack, client)
        for capacity in options.sizes:
            print(f"a pool of {capacity} seats …", file=sys.stderr, flush=True)

            def fresh(capacity: int = capacity) -> tuple[Pool, Caller]:
                stack.reset()
                server = Server(cloud)
                server.activate(cloud.token_of("Milano"))
                return opened(cloud, server, capacity)

            row = [mean(found) for found in usual(*fresh(), 3 if capacity == 10 else 40).values()]
            moved = [units for units, _ in moves(*fresh(), max(2, min(20, capacity // 50)))]
            refused = refusals(*fresh(), 20)
            pool, _ = fresh()
            rows[f"{capacity:,}"] = [*row, mean(moved), mean(refused[:1]), mean(refused[1:])]
            if capacity == options.sizes[0]:
                denials = {count: mean([true_denials(pool, count)], count) for count in (1, 10, 100, 1000)}
    print("RRU + WRU, means")
    print(f"{'seats':<9}" + "".join(f"{name:>15}" for name in
          ("checkout", "heartbeat", "release", "quota moved", "first refused", "next refused")))  # fmt: skip
    for size, row in rows.items():
        print(f"{size:<9}" + "".join(f"{each:>15}" for each in row))
    told = ", ".join(f"{count:,}: {cost}" for count, cost in denials.items())
    print(f"each true denial behind the request, by stations refused within a minute: {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
