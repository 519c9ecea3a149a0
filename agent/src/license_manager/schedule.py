"""When to validate next (A4): a pure function of what is known; time and chance come in as arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

FIRST_PAUSE = 60.0
LONGEST_PAUSE = 3600.0
SHORTEST_PAUSE = 5.0
START_SPREAD = 60.0
"""Seconds over which overdue servers spread: a power cut ends for a whole fleet at the same moment."""


@dataclass(frozen=True)
class Situation:
    """What the schedule follows from. Times are epoch seconds; `validate_at` is HH:MM in `zone`.

    `last_answer` is the last signed answer, yes or no; `failures` counts the attempts since then that brought none;
    `retry_after` is what the last of them was asked to wait.
    """

    now: float
    zone: tzinfo
    last_answer: float | None = None
    next_validation_at: float | None = None
    validate_at: str | None = None
    failures: int = 0
    retry_after: float | None = None


def next_attempt(situation: Situation, chance: Callable[[], float]) -> float:
    """The epoch time of the next attempt, never in the past. `chance` gives a number from 0 up to 1."""
    if situation.failures > 0:
        return situation.now + pause(situation.failures, situation.retry_after, chance)
    due = _due(situation)
    if due <= situation.now:
        return situation.now + chance() * START_SPREAD
    return due


def pause(failures: int, retry_after: float | None, chance: Callable[[], float]) -> float:
    """Seconds to wait after so many failures in a row: full jitter under a ceiling that doubles from a minute to an
    hour. What the site asks for is a floor, with jitter on top, so that not all come back in the same second."""
    ceiling = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 16))
    jittered = max(SHORTEST_PAUSE, chance() * ceiling)
    if retry_after is None:
        return jittered
    return max(retry_after + chance() * FIRST_PAUSE, jittered)


def _due(situation: Situation) -> float:
    if situation.last_answer is None:
        return situation.now
    if situation.validate_at is None:
        if situation.next_validation_at is not None:
            return situation.next_validation_at
        return situation.last_answer + 86400.0
    hour, _, minute = situation.validate_at.partition(":")
    chosen = time(int(hour), int(minute))
    day = datetime.fromtimestamp(situation.last_answer, situation.zone).date()
    first = datetime.combine(day, chosen, situation.zone).timestamp()
    if first > situation.last_answer:
        return first
    return datetime.combine(day + timedelta(days=1), chosen, situation.zone).timestamp()
