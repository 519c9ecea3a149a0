"""The daily validation: how long a server has been silent, and when it is to call again (A4, A5).

The License Manager holds the same ladder on its side; ``tests/vectors/ladder.json`` binds the two.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

#: Last silent day on which a server token is still good.
GRACE_DAYS = 10
_OK_DAYS = 2

Rung = Literal["ok", "warning", "grace", "blocked"]


@dataclass(frozen=True, slots=True)
class Window:
    """When servers validate, in their own local time."""

    start: time = time(10)
    end: time = time(14)


def local_date(moment: datetime, time_zone: str) -> date:
    """The date that a calendar shows in a time zone at a moment."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def silent_days(last_success: datetime, now: datetime, time_zone: str) -> int:
    """Local date today minus local date of the last success, never below zero."""
    return max(0, (local_date(now, time_zone) - local_date(last_success, time_zone)).days)


def rung(silent: int) -> Rung:
    """The state after so many silent days: 0-2 ok, 3 warning, 4-10 grace (n of 10), from 11 blocked."""
    if silent <= _OK_DAYS:
        return "ok"
    if silent == _OK_DAYS + 1:
        return "warning"
    return "grace" if silent <= GRACE_DAYS else "blocked"


def validate_before(last_success: datetime, time_zone: str) -> datetime:
    """First instant (UTC) at which a server is blocked: the local midnight that begins day 11."""
    return start_of_day(local_date(last_success, time_zone) + timedelta(days=GRACE_DAYS + 1), time_zone)


def next_validation(installation_id: str, last_success: datetime, time_zone: str, window: Window) -> datetime:
    """The next time to call (UTC): tomorrow, at this installation's own point of the window.

    The point is a hash of the installation, so that a fleet spreads evenly and each server keeps its time (A4, F4).
    """
    zone = ZoneInfo(time_zone)
    tomorrow = local_date(last_success, time_zone) + timedelta(days=1)
    opens = datetime.combine(tomorrow, window.start, zone)
    width = datetime.combine(tomorrow, window.end, zone) - opens
    share = int.from_bytes(hashlib.sha256(installation_id.encode()).digest()[:6]) / 2**48
    return (opens + timedelta(seconds=int(width.total_seconds() * share))).astimezone(UTC)


def start_of_day(day: date, time_zone: str) -> datetime:
    """The instant (UTC) at which a local day begins; where midnight is skipped, the first instant after it."""
    return datetime.combine(day, time(), ZoneInfo(time_zone)).astimezone(UTC)
