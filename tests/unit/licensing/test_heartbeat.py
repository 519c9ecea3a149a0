"""The ten days, and when a server is to call again (A4, A5)."""

import json
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licensing.rules.heartbeat import Window, next_validation, rung, silent_days, start_of_day, validate_before

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "ladder.json").read_text())["vectors"]
ZONES = [
    "Europe/Rome",
    "Pacific/Auckland",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Pacific/Kiritimati",
]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['time_zone']} {v['now']}")
def test_ladder_vectors(vector: dict[str, Any]) -> None:
    last, now = datetime.fromisoformat(vector["last_success"]), datetime.fromisoformat(vector["now"])
    silent = silent_days(last, now, vector["time_zone"])
    assert silent == vector["silent_days"]
    assert rung(silent) == vector["status"]
    assert validate_before(last, vector["time_zone"]) == datetime.fromisoformat(vector["blocked_from"])


@given(
    last=st.integers(1_577_836_800, 2_051_222_400).map(lambda epoch: datetime.fromtimestamp(epoch, UTC)),
    zone=st.sampled_from(ZONES),
    seconds=st.integers(-3, 3),
)
def test_token_ends_at_the_very_second_at_which_the_ladder_blocks(last: datetime, zone: str, seconds: int) -> None:
    end = validate_before(last, zone)
    now = end + timedelta(seconds=seconds)
    assert (rung(silent_days(last, now, zone)) == "blocked") == (now >= end)


@given(
    installation=st.text("0123456789abcdef", min_size=8, max_size=8).map(lambda s: f"ins_{s}"),
    last=st.integers(1_767_225_600, 1_798_761_600).map(lambda epoch: datetime.fromtimestamp(epoch, UTC)),
    zone=st.sampled_from(ZONES),
)
def test_next_validation_is_tomorrow_within_the_window(installation: str, last: datetime, zone: str) -> None:
    local = next_validation(installation, last, zone, Window()).astimezone(ZoneInfo(zone))
    assert local.date() == last.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    assert time(10) <= local.time() < time(14)


def test_an_installation_keeps_its_time_of_day() -> None:
    days = [datetime(2026, 11, day, 12, tzinfo=UTC) for day in range(1, 20)]
    assert len({next_validation("ins_1", day, "Europe/Rome", Window()).time() for day in days}) == 1


def test_a_fleet_spreads_evenly_over_the_window() -> None:
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    hours = [next_validation(f"ins_{n}", noon, "UTC", Window()).hour for n in range(4000)]
    assert all(900 < hours.count(hour) < 1100 for hour in (10, 11, 12, 13))


def test_a_day_begins_after_a_skipped_midnight() -> None:
    # Summer time in Lebanon begins at midnight: 00:00 does not exist, the day begins at 01:00.
    assert start_of_day(date(2026, 3, 29), "Asia/Beirut") == datetime(2026, 3, 28, 22, tzinfo=UTC)
