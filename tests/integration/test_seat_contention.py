"""Many stations at the very same moment: the conditions on the writes hold, and without them the test sees it (F1)."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from licensing import contract, seats
from licensing.errors import SeatLimitReached, SeatLost
from licensing.stations import Caller, by_seat_token
from licensing.store import seats as store
from licensing.store.seats import SegmentItem

from tests.support.cloud import Cloud, Server
from tests.support.seats import Pool, Station, concurrent_pool

THREADS = 16
#: Generous: only a thread that died keeps the others waiting.
PATIENCE = 60


@pytest.fixture
def all_have_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody writes before every thread has looked: the worst case, every time."""
    barrier = threading.Barrier(THREADS)
    waited = threading.local()
    real = store.get_segment

    def look(pool_id: str, index: int) -> Any:
        found = real(pool_id, index)
        if threading.current_thread() is not threading.main_thread() and not getattr(waited, "once", False):
            waited.once = True
            barrier.wait(PATIENCE)
        return found

    monkeypatch.setattr(store, "get_segment", look)


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    def caught(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (SeatLimitReached, SeatLost) as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(caught, calls))


def prepared(cloud: Cloud, server: Server, capacity: int) -> tuple[Pool, Caller]:
    pool = concurrent_pool(cloud, server, capacity)
    caller = by_seat_token(Station(pool).token(), cloud.now)
    seats.owned_pool(caller, pool.pool_id, cloud.now)
    return pool, caller


def leasing(pool: Pool, caller: Caller, n: int) -> Callable[[], Any]:
    body = contract.SeatRequest(**Station(pool, os_user=f"user{n}", terminal=f"PC-{n}").ask())
    now = pool.cloud.now
    return lambda: seats.lease(caller, body, now)


def granted(answers: list[Any]) -> list[contract.SeatAnswer]:
    return [answer[0] for answer in answers if isinstance(answer, tuple)]


@pytest.mark.parametrize("capacity", [3, 10])
def test_sixteen_stations_at_once_get_no_seat_too_many_and_none_is_left(
    cloud: Cloud, server: Server, capacity: int, all_have_looked: None
) -> None:
    pool, caller = prepared(cloud, server, capacity)
    answers = at_once([leasing(pool, caller, n) for n in range(THREADS)])
    assert len(granted(answers)) == capacity
    assert pool.in_use() == capacity
    assert sum(each.quota for each in store.segments(pool.pool_id)) + pool.look().undealt == capacity


@pytest.mark.parametrize("capacity", [3, 10])
def test_without_the_condition_seats_are_oversold_and_lost(
    cloud: Cloud, server: Server, capacity: int, all_have_looked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, caller = prepared(cloud, server, capacity)
    monkeypatch.setattr(store, "_unchanged", lambda segment: SegmentItem.pk.exists())
    answers = at_once([leasing(pool, caller, n) for n in range(THREADS)])
    assert len(granted(answers)) > capacity or pool.in_use() != len(granted(answers))


def test_the_same_request_many_times_at_once_is_one_seat(cloud: Cloud, server: Server, all_have_looked: None) -> None:
    pool, caller = prepared(cloud, server, 10)
    answers = at_once([leasing(pool, caller, 1) for _ in range(THREADS)])
    assert len({answer.seat_id for answer in granted(answers)}) == 1
    assert sum(new for _, new in answers) == 1
    assert pool.in_use() == 1


def test_a_heartbeat_and_a_newcomer_at_the_end_of_a_lease_are_never_both_seated(cloud: Cloud, server: Server) -> None:
    pool, caller = prepared(cloud, server, 1)
    first, _ = leasing(pool, caller, 0)()
    end = int(first.lease_until.timestamp())
    real = store.put
    beaten: list[str] = []

    def late_heartbeat(pool_id: str, segment: Any, now: int, also: Any = None) -> None:
        # Another process, whose clock is two seconds behind: its heartbeat comes between our look and our write.
        if not beaten:
            beaten.append("x")
            named = seats._named(pool.look(), first.seat_id)
            store.renew(pool_id, 0, named, end + 598, end - 2)
        real(pool_id, segment, now, also)

    pool.pass_seconds(601)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "put", late_heartbeat)
        (answer,) = at_once([leasing(pool, caller, 1)])
    assert beaten
    assert isinstance(answer, SeatLimitReached)
    assert pool.in_use() == 1


def test_a_heartbeat_is_refused_by_its_own_write_once_the_lease_has_ended(cloud: Cloud, server: Server) -> None:
    pool, caller = prepared(cloud, server, 1)
    first, _ = leasing(pool, caller, 0)()
    pool.pass_seconds(601)
    with pytest.raises(SeatLost):
        seats.heartbeat(caller, first.seat_id, None, None, pool.cloud.now)
    now = int(pool.cloud.now.timestamp())
    named = seats._named(pool.look(), first.seat_id)
    with pytest.raises(store.tables.ConditionFailed):
        store.renew(pool.pool_id, 0, named, now + 600, now)


@pytest.mark.parametrize("instance", [(None, None), ("billing", "1")])
def test_a_heartbeat_that_was_late_takes_nothing_back(
    cloud: Cloud, server: Server, instance: tuple[str | None, str | None]
) -> None:
    pool, caller = prepared(cloud, server, 1)
    first, _ = leasing(pool, caller, 0)()
    newer = seats.heartbeat(caller, first.seat_id, *instance, cloud.now + timedelta(seconds=10))
    late = seats.heartbeat(caller, first.seat_id, *instance, cloud.now + timedelta(seconds=7))
    assert late.lease_until == newer.lease_until
    (entry,) = store.segments(pool.pool_id)[0].entries.values()
    (known,) = entry.instances.values()
    assert known.until == (newer if instance[0] else first).lease_until.timestamp()


@pytest.mark.slow
def test_a_login_storm_on_a_large_pool_fills_it_to_the_last_seat(cloud: Cloud, server: Server) -> None:
    pool, caller = prepared(cloud, server, 200)
    calls = [leasing(pool, caller, n) for n in range(250)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda call: at_once([call])[0], calls))
    assert len(granted(answers)) == pool.in_use() == 200
    assert sum(isinstance(answer, SeatLimitReached) for answer in answers) == 50
    assert len({answer.seat_id for answer in granted(answers)}) == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "bench",
    [
        ("seat_contention", "--operations", "400", "--processes", "3", "--stations", "10", "--capacity", "12"),
        ("login_storm", "--stations", "250", "--capacity", "200", "--processes", "3"),
    ],
)
def test_several_processes_that_reach_the_tables_over_http_get_no_seat_too_many(bench: tuple[str, ...]) -> None:
    name, *options = bench
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{name}", *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
