from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from license_manager.ladder import next_midnight, rung, silent_days

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "ladder.json").read_text())["vectors"]


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"{vector['note']} {vector['now']}")
def test_shared_vectors(vector: dict[str, Any]) -> None:
    found = rung(epoch(vector["last_success"]), epoch(vector["now"]), vector["time_zone"])
    assert (found.silent_days, found.status, found.grace_day) == (
        vector["silent_days"],
        vector["status"],
        vector["grace_day"],
    )


def test_there_are_vectors() -> None:
    assert {vector["status"] for vector in VECTORS} == {"ok", "warning", "grace", "blocked"}


def test_a_success_in_the_future_counts_as_today() -> None:
    assert silent_days(epoch("2026-11-22T12:00:00Z"), epoch("2026-11-01T12:00:00Z"), "Europe/Rome") == 0


def test_an_unknown_zone_is_utc() -> None:
    assert silent_days(epoch("2026-11-22T12:00:00Z"), epoch("2026-11-23T00:00:00Z"), "Mars/Olympus") == 1
    assert silent_days(epoch("2026-11-22T12:00:00Z"), epoch("2026-11-23T00:00:00Z"), "../etc") == 1


def test_midnight_when_the_clocks_go_back_is_25_hours_away() -> None:
    begin = epoch("2026-10-24T22:00:00Z")
    assert next_midnight(begin, "Europe/Rome") - begin == 25 * 3600
