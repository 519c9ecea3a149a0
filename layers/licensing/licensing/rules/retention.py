"""For how long a customer's operations are kept (A9): N days, by the customer's own calendar."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from licensing.rules.heartbeat import local_date, start_of_day

SHORTEST_DAYS, LONGEST_DAYS = 1, 3650
LONGEST = timedelta(days=LONGEST_DAYS)
#: Shortening waits, so that somebody who was told can object before anything is gone.
SHORTENING_WAITS = timedelta(days=7)


class RetentionError(Exception):
    """Raised when a number of days is none that can be kept; the message says which can."""


@dataclass(frozen=True, slots=True)
class Shortening:
    """A shorter retention that is announced, and from when it holds (UTC)."""

    days: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Retention:
    """The days kept, and the shorter ones to come."""

    days: int = 365
    shortening: Shortening | None = None

    def in_force(self, now: datetime) -> int:
        """The days kept at this moment."""
        if self.shortening and self.shortening.since <= now:
            return self.shortening.days
        return self.days


def change(retention: Retention, days: int, now: datetime) -> Retention:
    """The retention after a change: longer at once, shorter after seven days. Raises RetentionError.

    Asking again for what is announced already does not begin the seven days anew.
    """
    if not SHORTEST_DAYS <= days <= LONGEST_DAYS:
        raise RetentionError(f"Operations can be kept for {SHORTEST_DAYS} to {LONGEST_DAYS} days, not for {days}.")
    current = retention.in_force(now)
    if days >= current:
        return Retention(days)
    announced = retention.shortening
    if announced and announced.days == days:
        return retention
    return Retention(current, Shortening(days, now + SHORTENING_WAITS))


def oldest_kept(days: int, time_zone: str, now: datetime) -> datetime:
    """The moment (UTC) before which nothing is shown any more: the customer's midnight, N days before its today."""
    return start_of_day(local_date(now, time_zone) - timedelta(days=days), time_zone)


def last_day_past(cutoff: datetime) -> date:
    """The last day (UTC) that lies before the cutoff as a whole. Days are cut whole, or their seals would not hold."""
    return cutoff.astimezone(UTC).date() - timedelta(days=1)
