"""What seats cost: counted calls, and item sizes by DynamoDB's published rules (proof.md)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from licensing import contract, seats
from licensing.errors import SeatLimitReached
from licensing.rules import seats as rules
from licensing.rules.seats import Ask, Segment, Who
from licensing.stations import by_seat_token
from licensing.store import seats as store

from tests.support.cloud import Cloud, Server
from tests.support.seats import Pool, Station, concurrent_pool
from tests.support.units import WRITE_UNIT, counted, item_size


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


@pytest.mark.parametrize("capacity", [10, 100, *(pytest.param(n, marks=pytest.mark.slow) for n in (1000, 10_000))])
def test_the_cost_of_a_seat_does_not_grow_with_the_pool(cloud: Cloud, server: Server, capacity: int) -> None:
    pool = concurrent_pool(cloud, server, capacity)
    caller = by_seat_token(Station(pool).token(), cloud.now)
    lease, _ = seats.lease(caller, body(pool, 999_999), cloud.now)  # whatever is read once a minute has been read
    seats.close(caller, lease.seat_id, None, None, cloud.now)
    fill(pool, capacity // 2, int(cloud.now.timestamp()))
    checkouts, heartbeats, releases = [], [], []
    for n in range(1_000_000, 1_000_020 if capacity > 10 else 1_000_003):
        with counted(cloud) as units:
            answer, new = seats.lease(caller, body(pool, n), cloud.now)
        assert new
        if units.write <= 2:  # not one that had to move quota
            checkouts.append(units)
        with counted(cloud) as units:
            seats.heartbeat(caller, answer.seat_id, "billing", str(n), cloud.now)
        heartbeats.append(units)
        with counted(cloud) as units:
            seats.close(caller, answer.seat_id, "billing", str(n), cloud.now)
        releases.append(units)
    assert checkouts
    # An item of more than eight seats, here and there, is a second write unit.
    for name, found, read in (("checkout", checkouts, 1), ("heartbeat", heartbeats, 0), ("release", releases, 0)):
        assert {units.read for units in found} == {read}, name
        assert sorted(units.write for units in found)[len(found) // 2] == 1, name


def test_moving_quota_costs_three_reads_and_five_writes_at_most_also_for_the_last_free_seats(
    cloud: Cloud, server: Server
) -> None:
    pool = concurrent_pool(cloud, server, 500)
    caller = by_seat_token(Station(pool).token(), cloud.now)
    seats.lease(caller, body(pool, 999_999), cloud.now)
    begin = cloud.now
    fill(pool, 490, int(begin.timestamp()))
    moves, far = [], 0
    for n in range(9):
        cloud.work_off_streams()  # what was free some seconds ago is known behind the requests
        now = begin + timedelta(seconds=n)  # what one look at all finds is good for its second: each pays for its own
        own = rules.place(rules.station(who(1_000_000 + n)), pool.look().bits)
        beside = store.neighbours(pool.pool_id, own, seats._GLANCE)
        with counted(cloud) as units:
            seats.lease(caller, body(pool, 1_000_000 + n), now)
        if units.write > 2:
            moves.append(units)
            far += not any(each.spare(int(now.timestamp())) for each in beside)
    assert far > len(moves) / 3
    assert all(units.read <= 3 for units in moves), [str(units) for units in moves]
    assert sorted(units.write for units in moves)[len(moves) // 2] <= 5


@pytest.mark.parametrize("capacity", [8, 1000])
def test_a_refusal_writes_nothing_and_a_crowd_reads_the_pool_once_a_second(
    cloud: Cloud, server: Server, capacity: int
) -> None:
    pool = concurrent_pool(cloud, server, capacity)
    caller = by_seat_token(Station(pool).token(), cloud.now)
    seats.lease(caller, body(pool, 999_999), cloud.now)
    now = cloud.now
    fill_all(pool, int(now.timestamp()))
    costs = []
    for n in range(2_000_000, 2_000_010):
        with counted(cloud) as units, pytest.raises(SeatLimitReached) as refusal:
            seats.lease(caller, body(pool, n), now)
        assert refusal.value.members["in_use"] == capacity
        costs.append(units)
    assert {units.write for units in costs} == {0}
    assert {units.read for units in costs[1:]} == {1}


def fill_all(pool: Pool, now: int) -> None:
    """Fill every segment up to its quota, with stations of any kind: only their number matters."""
    for segment in store.segments(pool.pool_id):
        entries = dict(segment.live(now))
        for n in range(segment.quota - len(entries)):
            station = f"{segment.index:08d}{n:08d}"
            entries[station] = rules.Entry(segment.version + 1, now, now + 600, who(n), "c", {})
        store.put(pool.pool_id, replace(segment, entries=entries), now)


def test_a_segment_of_eight_seats_is_one_write_unit() -> None:
    now = 1_800_000_000
    segment = Segment(1023, 11, quota=8, version=123_456)
    for n in range(8):
        ask = Ask(who(n), rules.company("IT1"), "billing", rules.instance("billing", str(n)), now + 600)
        seated = rules.lease(segment, rules.station(who(n)), ask, now)
        assert seated is not None
        segment = replace(seated.segment, version=segment.version)
    item = store._segment_item("pool_3f1c2a9b7d5e4c6f8a0b1d2e", segment, now).serialize()
    assert item_size(item) < WRITE_UNIT
