"""After a fail-over (F1): the other site gives nobody a seat that somebody it does not know of may still hold."""

from dataclasses import replace

import pytest
from licensing import contract, seats
from licensing.errors import SeatLimitReached, SeatLost, TemporarilyUnavailable
from licensing.rules.seats import Segment
from licensing.stations import Caller, by_seat_token
from licensing.store import seats as store

from infra.local.stack import BACKUP
from tests.support.cloud import Cloud, Server
from tests.support.seats import Pool, Station, concurrent_pool

LEASE = 600


@pytest.fixture
def pool(cloud: Cloud, server: Server) -> Pool:
    return concurrent_pool(cloud, server, 20)


@pytest.fixture
def caller(cloud: Cloud, pool: Pool) -> Caller:
    return by_seat_token(Station(pool).token(), cloud.now)


def fail_over(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Site 2 is the home from now on; it remembers nothing but the tables."""
    for name, value in {**BACKUP.environment, "HOME_SITE": "true"}.items():
        if name in ("SITE", "HOME_SITE"):
            monkeypatch.setenv(name, value)
    pool.forget()


def lease(caller: Caller, pool: Pool, n: int) -> contract.SeatAnswer:
    asked = contract.SeatRequest(**Station(pool, os_user=f"user{n}", terminal=f"PC-{n}").ask())
    return seats.lease(caller, asked, pool.cloud.now)[0]


def quotas(pool: Pool) -> int:
    return sum(each.quota for each in store.segments(pool.pool_id)) + pool.look().undealt


def test_the_other_site_seats_nobody_new_for_one_lease(
    pool: Pool, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease(caller, pool, 0)
    fail_over(pool, monkeypatch)
    for passed in (0, 1, LEASE - 2):
        pool.pass_seconds(passed)
        with pytest.raises(TemporarilyUnavailable) as refusal:
            lease(caller, pool, 1)
        assert 0 < (refusal.value.retry_after or 0) <= LEASE
    pool.pass_seconds(1)
    assert lease(caller, pool, 1).lease_seconds == LEASE


def test_who_holds_a_seat_goes_on_at_the_other_site(
    pool: Pool, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lease(caller, pool, 0)
    fail_over(pool, monkeypatch)
    assert lease(caller, pool, 0).seat_id == held.seat_id
    pool.pass_seconds(LEASE - 1)
    assert seats.heartbeat(caller, held.seat_id, None, None, pool.cloud.now).lease_seconds == LEASE
    seats.close(caller, held.seat_id, None, None, pool.cloud.now)
    assert pool.in_use() == 0


def test_a_seat_whose_lease_was_not_replicated_is_not_given_to_somebody_else(
    pool: Pool, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All seats are taken; the last one's lease never arrives. Its holder works on until the lease ends."""
    for n in range(19):
        lease(caller, pool, n)
    before = {each.index: each for each in store.segments(pool.pool_id)}
    last = lease(caller, pool, 19)
    held_until = last.lease_until
    for each in store.segments(pool.pool_id):  # as if only the pool's other items had arrived
        kept = set(before[each.index].entries)
        entries = {key: entry for key, entry in each.entries.items() if key in kept}
        store.put(pool.pool_id, replace(each, entries=entries), int(pool.cloud.now.timestamp()))
    fail_over(pool, monkeypatch)
    with pytest.raises(SeatLost):
        seats.heartbeat(caller, last.seat_id, None, None, pool.cloud.now)
    pool.pass_seconds(LEASE - 1)
    assert pool.cloud.now < held_until
    with pytest.raises(TemporarilyUnavailable):
        lease(caller, pool, 20)


def test_quota_that_moved_in_part_is_counted_anew(pool: Pool, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction is replicated item by item: the taker has the seat already, the giver has it still."""
    lease(caller, pool, 0)
    giver, *_ = store.segments(pool.pool_id)
    store.put(pool.pool_id, replace(giver, quota=giver.quota + 1), int(pool.cloud.now.timestamp()))
    assert quotas(pool) == 21
    fail_over(pool, monkeypatch)
    lease(caller, pool, 0)
    assert quotas(pool) == 20
    pool.pass_seconds(LEASE)
    for n in range(100, 120):
        lease(caller, pool, n)
    with pytest.raises(SeatLimitReached):
        lease(caller, pool, 120)
    assert pool.in_use() == 20


def test_every_segment_is_written_so_that_what_arrives_late_loses(
    pool: Pool, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease(caller, pool, 0)
    before = {each.index: each.version for each in store.segments(pool.pool_id)}
    fail_over(pool, monkeypatch)
    lease(caller, pool, 0)
    assert all(each.version > before[each.index] for each in store.segments(pool.pool_id))


def test_taking_over_happens_once(pool: Pool, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    lease(caller, pool, 0)
    fail_over(pool, monkeypatch)
    lease(caller, pool, 0)
    quiet_until = pool.look().quiet_until
    pool.pass_seconds(300)
    pool.forget()
    lease(caller, pool, 0)
    assert pool.look().quiet_until == quiet_until == int(pool.cloud.now.timestamp()) + 300


def test_who_leaves_while_the_pool_is_taken_over_is_gone(
    pool: Pool, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaver, _ = lease(caller, pool, 0), lease(caller, pool, 1)
    fail_over(pool, monkeypatch)
    write, left = store.put_part, []

    def late(pool_id: str, segments: list[Segment], now: int) -> None:
        if not left:
            left.append(leaver)
            seats.close(caller, leaver.seat_id, None, None, pool.cloud.now)
        write(pool_id, segments, now)

    monkeypatch.setattr(store, "put_part", late)
    lease(caller, pool, 1)
    assert (left, pool.in_use(), quotas(pool)) == ([leaver], 1, 20)
    assert pool.look().home == "backup"
