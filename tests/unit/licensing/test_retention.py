"""N days, by the customer's own calendar; shorter only after seven days."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licensing.rules.retention import Retention, RetentionError, Shortening, change, last_day_past, oldest_kept


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOW = utc("2026-11-22T12:00:00")
ZONES = st.sampled_from(["Europe/Rome", "America/Sao_Paulo", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu",
                         "America/Santiago", "Africa/Cairo"])  # fmt: skip
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_longer_holds_at_once_and_shorter_after_seven_days() -> None:
    assert change(Retention(30), 365, NOW) == Retention(365)
    shorter = change(Retention(365), 30, NOW)
    assert shorter.in_force(NOW) == 365
    assert shorter.in_force(NOW + timedelta(days=7, seconds=-1)) == 365
    assert shorter.in_force(NOW + timedelta(days=7)) == 30


def test_asking_again_does_not_begin_the_wait_anew_and_another_number_does() -> None:
    shorter = change(Retention(365), 30, NOW)
    later = NOW + timedelta(days=6)
    assert change(shorter, 30, later) == shorter
    assert change(shorter, 20, later) == Retention(365, Shortening(20, later + timedelta(days=7)))


def test_what_is_announced_can_be_taken_back() -> None:
    assert change(change(Retention(365), 30, NOW), 365, NOW) == Retention(365)


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_other_numbers_of_days_are_refused(days: int) -> None:
    with pytest.raises(RetentionError, match="1 to 3650"):
        change(Retention(365), days, NOW)


@given(st.integers(1, 3650), st.integers(1, 3650), st.integers(0, 14))
def test_nothing_is_shortened_without_seven_days_notice(before: int, after: int, days: int) -> None:
    changed = change(Retention(before), after, NOW)
    in_force = changed.in_force(NOW + timedelta(days=days))
    assert in_force == (after if days >= 7 or after >= before else before)


@given(ZONES, MOMENTS, st.integers(1, 3650))
def test_what_happened_n_calendar_days_ago_is_kept_and_the_day_before_is_not(
    zone: str, now: datetime, days: int
) -> None:
    cutoff = oldest_kept(days, zone, now)
    local = ZoneInfo(zone)
    oldest = now.astimezone(local).date() - timedelta(days=days)
    assert cutoff.astimezone(local).date() == oldest
    assert (cutoff - timedelta(seconds=1)).astimezone(local).date() == oldest - timedelta(days=1)


@given(ZONES, MOMENTS, st.integers(1, 3650))
def test_a_day_is_cut_only_when_all_of_it_is_past(zone: str, now: datetime, days: int) -> None:
    cutoff = oldest_kept(days, zone, now)
    end = datetime.combine(last_day_past(cutoff) + timedelta(days=1), datetime.min.time(), UTC)
    assert end <= cutoff < end + timedelta(days=1)


def test_one_day_in_rome() -> None:
    cutoff = oldest_kept(1, "Europe/Rome", NOW)
    assert cutoff == utc("2026-11-20T23:00:00")
    assert last_day_past(cutoff) == date(2026, 11, 19)
