"""What seats cost: counted calls, and item sizes by DynamoDB's published rules (proof.md)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from licensing import seat_use
from licensing.rules import seats as rules
from licensing.rules.seats import Ask, Segment
from licensing.store import seats as store

from tests.bench.seat_costs import moves, opened, refusals, true_denials, usual, who
from tests.support.cloud import Cloud, Server
from tests.support.units import WRITE_UNIT, item_size


@pytest.mark.parametrize("capacity", [10, 100, *(pytest.param(n, marks=pytest.mark.slow) for n in (1000, 10_000))])
def test_the_cost_of_a_seat_does_not_grow_with_the_pool(cloud: Cloud, server: Server, capacity: int) -> None:
    costs = usual(*opened(cloud, server, capacity), 20 if capacity > 10 else 3)
    assert costs["checkout"]
    # An item of more than eight seats, here and there, is a second write unit.
    for name, read in (("checkout", 1), ("heartbeat", 0), ("release", 0)):
        found = costs[name]
        assert {units.read for units in found} == {read}, name
        assert sorted(units.write for units in found)[len(found) // 2] == 1, name


def test_moving_quota_costs_three_reads_and_five_writes_at_most_also_for_the_last_free_seats(
    cloud: Cloud, server: Server
) -> None:
    found = list(moves(*opened(cloud, server, 500), 9))
    assert sum(not beside for _, beside in found) > len(found) / 3
    assert all(units.read <= 3 for units, _ in found), [str(units) for units, _ in found]
    assert sorted(units.write for units, _ in found)[len(found) // 2] <= 5


@pytest.mark.parametrize("capacity", [8, 1000])
def test_a_refusal_writes_nothing_and_a_crowd_reads_the_pool_once_a_second(
    cloud: Cloud, server: Server, capacity: int
) -> None:
    costs = refusals(*opened(cloud, server, capacity), 10)
    assert {units.write for units in costs} == {0}
    assert {units.read for units in costs[1:]} == {1}


@pytest.mark.parametrize("stations", [40, 400])
def test_a_crowd_of_true_denials_costs_a_tenth_of_a_write_each_behind_the_request(
    cloud: Cloud, server: Server, stations: int
) -> None:
    pool, _ = opened(cloud, server, 8)
    units = true_denials(pool, stations)
    assert units.write / stations <= 0.1, str(units)
    found = seat_use.denials(pool.customer_id, pool.pool_id, cloud.now, cloud.now + timedelta(minutes=1))
    assert {each.who for each in found} == {who(n) for n in range(stations)}


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
