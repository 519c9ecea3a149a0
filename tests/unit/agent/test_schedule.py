from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from license_manager.errors import LicenseManagerError, Unreachable
from license_manager.manager import Manager
from license_manager.schedule import Situation, next_attempt, pause
from license_manager.service import Service, Stopper, StopRequested

from tests.unit.agent.conftest import Site
from tests.unit.agent.fake_cloud import NOON, problem

ROME = ZoneInfo("Europe/Rome")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ROME).timestamp()


def planned(chance: float = 0.0, **situation: Any) -> str:
    found = next_attempt(Situation(zone=ROME, **situation), lambda: chance)
    return datetime.fromtimestamp(found, UTC).astimezone(ROME).strftime("%Y-%m-%d %H:%M:%S")


def test_validates_when_the_cloud_named_the_time() -> None:
    noon = at("2026-11-22T12:00")
    named = at("2026-11-23T11:17")
    assert planned(now=noon, last_answer=noon, next_validation_at=named) == "2026-11-23 11:17:00"


def test_the_administrators_time_of_day_wins() -> None:
    answer, named = at("2026-11-22T12:00"), at("2026-11-23T11:17")
    known = {"last_answer": answer, "next_validation_at": named}
    assert planned(now=answer, validate_at="06:30", **known) == "2026-11-23 06:30:00"
    assert planned(now=answer, validate_at="18:00", **known) == "2026-11-22 18:00:00"


def test_a_time_of_day_keeps_its_hour_when_the_clocks_go_back() -> None:
    answer = at("2026-10-24T12:00")
    assert planned(now=answer, last_answer=answer, validate_at="11:00") == "2026-10-25 11:00:00"


def test_what_is_overdue_is_due_now_but_spread() -> None:
    now = at("2026-11-25T08:00")
    overdue = {"now": now, "last_answer": at("2026-11-22T12:00"), "next_validation_at": at("2026-11-23T11:17")}
    assert planned(**overdue) == "2026-11-25 08:00:00"
    assert planned(chance=0.5, **overdue) == "2026-11-25 08:00:30"


def test_pauses_grow_from_a_minute_to_an_hour_with_full_jitter() -> None:
    def longest(failures: int) -> float:
        return pause(failures, None, lambda: 1.0)

    assert [longest(failures) for failures in (1, 2, 3, 7, 8, 1000)] == [60, 120, 240, 3600, 3600, 3600]
    assert pause(5, None, lambda: 0.5) == 480
    assert pause(5, None, lambda: 0.0) == 5


def test_retry_after_is_a_floor_with_jitter_on_top() -> None:
    assert pause(1, 600, lambda: 0.0) == 600
    assert pause(1, 600, lambda: 0.5) == 630
    assert pause(20, 10, lambda: 0.5) == 1800


class Bell:
    """Rings after so many waits; waiting passes the time instead of sleeping."""

    def __init__(self, pass_time: Callable[[float], None], waits: int) -> None:
        self.pass_time = pass_time
        self.left = waits
        self.slept: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.slept.append(seconds)
        self.pass_time(seconds)
        self.left -= 1
        return self.left <= 0

    def is_set(self) -> bool:
        return self.left <= 0


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def service(site: Site, said: list[str]) -> Callable[[int], tuple[Service, Bell]]:
    def start(waits: int) -> tuple[Service, Bell]:
        bell = Bell(site.pass_time, waits)
        return Service(site.manager, site.computer.machine(), bell, said.append, chance=lambda: 0.5), bell

    return start


def test_runs_once_a_day_and_never_sleeps_longer_than_a_minute(site: Site, service: Any) -> None:
    site.activate()
    loop, bell = service(3 * 24 * 60 + 5)
    loop.run()
    assert len(site.cloud.posts("/v1/validations")) == 3
    assert max(bell.slept) <= 60
    assert site.check().status == "ok"


def test_retries_with_growing_pauses_and_recovers(site: Site, service: Any, said: list[str]) -> None:
    site.activate()
    site.cloud.refuse_connection(1)
    site.cloud.refuse_connection(2)
    site.pass_time(days=1.1)
    loop, _ = service(8 * 60)
    loop.run()
    tries = len(site.cloud.posts("/v1/validations")) // 2
    assert 8 <= tries <= 24
    site.cloud.down.clear()
    loop, _ = service(61)
    loop.run()
    assert site.check().status == "ok"
    assert "Operation completed" in said[-1]


def test_fails_over_and_returns(site: Site, service: Any) -> None:
    site.activate()
    site.cloud.refuse_connection(1)
    loop, bell = service(26 * 60)
    loop.run()
    assert site.state().site_used == 2
    site.cloud.down.clear()
    bell.left = 24 * 60
    loop.run()
    assert site.state().site_used == 1


def test_honours_retry_after(site: Site, service: Any) -> None:
    site.activate()
    site.pass_time(days=1.1)
    busy = problem(503, "TEMPORARILY_UNAVAILABLE", "Busy.", retry_after=1800)
    site.cloud.intruder = lambda number, request: busy
    loop, _ = service(30)
    loop.run()
    assert len(site.cloud.posts("/v1/validations")) == 2


def test_a_persons_validation_ends_the_pauses(site: Site, service: Any) -> None:
    site.activate()
    site.pass_time(days=1.1)
    site.cloud.refuse_connection(1)
    site.cloud.refuse_connection(2)
    loop, bell = service(120)
    loop.run()
    site.cloud.down.clear()
    site.validate()
    before = len(site.cloud.posts("/v1/validations"))
    bell.left = 120
    loop.run()
    assert len(site.cloud.posts("/v1/validations")) == before


def test_a_laptop_that_slept_validates_when_it_wakes(site: Site, service: Any) -> None:
    site.activate()
    loop, bell = service(5)
    loop.run()
    site.pass_time(days=2)
    bell.left = 3
    loop.run()
    assert len(site.cloud.posts("/v1/validations")) == 1


def test_a_clock_set_back_does_not_stop_the_validations(site: Site, service: Any) -> None:
    site.activate()
    loop, bell = service(5)
    loop.run()
    site.computer.wall -= 30 * 86400
    bell.left = 26 * 60
    loop.run()
    assert site.cloud.servers["ins_1"].seq == 1


def test_a_clock_that_is_a_year_ahead_does_not_hammer_the_cloud(site: Site, service: Any) -> None:
    site.computer.wall += 365 * 86400
    site.activate()
    loop, _ = service(24 * 60)
    loop.run()
    assert site.cloud.servers["ins_1"].seq <= 2


def test_waits_quietly_until_it_is_activated(site: Site, service: Any, said: list[str]) -> None:
    site.home.prepare()
    loop, bell = service(10)
    loop.run()
    assert len(said) == 1
    site.activate()
    bell.left = 26 * 60
    loop.run()
    assert site.cloud.servers["ins_1"].seq == 1


def test_keeps_the_time_it_has_seen(site: Site, service: Any) -> None:
    site.activate()
    loop, _ = service(30)
    loop.run()
    assert site.state().high_water >= NOON + 19 * 60


def test_lives_through_a_damaged_state(site: Site, service: Any, said: list[str]) -> None:
    site.activate()
    (site.path / "state.json").write_bytes(b"{")
    loop, _ = service(10)
    loop.run()
    assert said == ["The License Manager's state file is damaged."]


def test_a_final_no_is_asked_about_once_a_day(site: Site, service: Any) -> None:
    site.activate()
    site.cloud.no = ("INSTALLATION_DISABLED", True)
    loop, _ = service(4 * 24 * 60)
    loop.run()
    assert 3 <= len(site.cloud.posts("/v1/validations")) <= 4
    site.cloud.no = None
    loop, _ = service(25 * 60)
    loop.run()
    assert site.check().allowed


def test_stop_request_in_the_middle_of_a_request_keeps_the_nonce(site: Site, said: list[str]) -> None:
    site.activate()
    site.pass_time(days=2)
    stopper = Stopper()

    class Interrupted(Manager):
        def validate(self) -> Any:
            assert service.in_flight
            stopper.set()
            raise StopRequested

    def open_manager() -> Manager:
        manager = site.manager()
        manager.__class__ = Interrupted
        return manager

    service = Service(open_manager, site.computer.machine(), stopper, said.append, chance=lambda: 0.0)
    service.run()
    assert said == []


def test_trouble_with_the_files_pauses_like_any_other_failure(
    site: Site, service: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.activate()
    site.pass_time(days=1.1)
    full = OSError(28, "No space left on device", "state.json")
    monkeypatch.setattr("license_manager.home.Home.write", lambda *_: (_ for _ in ()).throw(full))
    loop, _ = service(8 * 60)
    loop.run()
    assert 8 <= sum("No space left" in sentence for sentence in said) <= 24


def test_trouble_that_nobody_thought_of_does_not_end_the_service(
    site: Site, service: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.activate()
    site.pass_time(days=1.1)
    monkeypatch.setattr(Manager, "validate", lambda _: {}["surprise"])
    loop, _ = service(8 * 60)
    loop.run()
    assert 8 <= sum("Unexpected trouble: KeyError" in sentence for sentence in said) <= 24


def test_unreachable_is_an_error_that_carries_its_pause() -> None:
    error = Unreachable("DNS", "No.", 5.0)
    assert isinstance(error, LicenseManagerError)
    assert (error.retry_after, error.exit_code) == (5.0, 4)
