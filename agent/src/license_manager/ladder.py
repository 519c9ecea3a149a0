"""The ten days of A5, as one pure function that the cloud's tests and these share vectors for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

LAST_OK_DAY = 2
WARNING_DAY = 3
LAST_GRACE_DAY = 10


@dataclass(frozen=True, slots=True)
class Rung:
    """Where a server stands: whole silent days, the status, and the day of grace (4–10) if it is in grace."""

    silent_days: int
    status: str
    grace_day: int | None


def zone(name: str) -> tzinfo:
    """The time zone of an IANA name; UTC for a name that this machine does not know."""
    try:
        return ZoneInfo(name)  # which keeps what it has read, and not that it once failed to
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return UTC


def local_date(instant: float, time_zone: str) -> date:
    """The local calendar day of an epoch time."""
    return datetime.fromtimestamp(instant, zone(time_zone)).date()


def silent_days(last_success: float, now: float, time_zone: str) -> int:
    """Local date today minus local date of the last success (A5); never negative."""
    return max(0, (local_date(now, time_zone) - local_date(last_success, time_zone)).days)


def rung(last_success: float, now: float, time_zone: str) -> Rung:
    """The rung of A5: 0–2 `ok`, 3 `warning`, 4–10 `grace`, from 11 `blocked`."""
    days = silent_days(last_success, now, time_zone)
    if days <= LAST_OK_DAY:
        return Rung(days, "ok", None)
    if days == WARNING_DAY:
        return Rung(days, "warning", None)
    if days <= LAST_GRACE_DAY:
        return Rung(days, "grace", days)
    return Rung(days, "blocked", None)


def next_midnight(now: float, time_zone: str) -> float:
    """The epoch time at which the next local day begins."""
    where = zone(time_zone)
    tomorrow = datetime.fromtimestamp(now, where).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time.min, where).timestamp()
