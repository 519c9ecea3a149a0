"""How much of a pool was used when (C8), and who was refused in vain (F5): both from intervals in which seats were held.

Each lease is one interval, known by station and generation, whatever its heartbeats. A set of intervals says the same in any
order and however often it is told, so that late and doubled deliveries do no harm. Times are epoch seconds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from licensing.rules.seats import SUPPORT, Entry, Segment, Who, place

#: Use is kept as the most seats in use within each so many seconds.
SLOT = 300
#: Who gets a seat within so many seconds after a refusal was not refused in vain.
SATISFIED_WITHIN = 300


class Interval(NamedTuple):
    """A seat was held from ``since`` until just before ``end``."""

    station: str
    generation: int
    since: int
    end: int


class Gone(NamedTuple):
    """A seat that is not held any more, and since when."""

    station: str
    entry: Entry
    end: int

    @property
    def interval(self) -> Interval:
        """The time in which it was held."""
        return Interval(self.station, self.entry.generation, self.entry.since, self.end)


def gone(before: Segment | None, after: Segment | None, at: int) -> list[Gone]:
    """The seats that a write to a segment at a time ended: released then, or lapsed before. What moved to another segment, as
    the pool was divided anew, goes on there.
    """
    if before is None or after is None:
        return []
    return [
        Gone(station, entry, min(entry.until, at))
        for station, entry in before.entries.items()
        if not _is_in(after, station, entry)
        and (entry.until <= at or place(station, after.bits) == after.index or after.index == SUPPORT)
    ]


def began(before: Segment | None, after: Segment | None) -> list[tuple[str, Entry]]:
    """The seats that a write to a segment gave out."""
    if after is None:
        return []
    return [
        (station, entry)
        for station, entry in after.entries.items()
        if before is None or not _is_in(before, station, entry)
    ]


def _is_in(segment: Segment, station: str, entry: Entry) -> bool:
    there = segment.entries.get(station)
    return there is not None and there.generation == entry.generation


def held(segment: Segment) -> list[Interval]:
    """The leases that a segment shows, with the end that they have unless they are heard of."""
    return [Interval(key, each.generation, each.since, each.until) for key, each in segment.entries.items()]


def united(intervals: Iterable[Interval]) -> list[Interval]:
    """Each lease once, with its latest end: one that has ended may still be shown with the end that it would have had."""
    ends: dict[tuple[str, int], Interval] = {}
    for each in intervals:
        key = each.station, each.generation
        if key not in ends or ends[key].end < each.end:
            ends[key] = each
    return list(ends.values())


def most(intervals: Iterable[Interval], start: int, end: int) -> dict[int, int]:
    """The most seats in use at once in each slot between two times, by the slot's first second; also where it is 0."""
    steps: list[tuple[int, int]] = []
    count = 0
    for each in united(intervals):
        if each.since >= end or each.end <= start or each.end <= each.since:
            continue
        if each.since <= start:
            count += 1
        else:
            steps.append((each.since, 1))
        if each.end < end:
            steps.append((each.end, -1))
    # At the same second leaving comes before entering, as in the segments.
    steps.sort()
    found: dict[int, int] = {}
    position = 0
    for slot in range(start - start % SLOT, end, SLOT):
        while position < len(steps) and steps[position][0] <= slot:
            count += steps[position][1]
            position += 1
        found[slot] = count
        while position < len(steps) and steps[position][0] < slot + SLOT:
            count += steps[position][1]
            position += 1
            found[slot] = max(found[slot], count)
    return found


@dataclass(frozen=True, slots=True)
class Refusal:
    """A station that asked and was refused: when (each second once), and how the pool stood at the last time."""

    station: str
    who: Who
    company: str
    times: tuple[int, ...]
    in_use: int
    capacity: int


def fold(refusals: Iterable[Refusal]) -> list[Refusal]:
    """One entry a station, the newest first."""
    by_station: dict[str, Refusal] = {}
    for each in sorted(refusals, key=lambda refusal: refusal.times[-1]):
        earlier = by_station.get(each.station)
        times = {*each.times, *(earlier.times if earlier else ())}
        by_station[each.station] = Refusal(
            each.station, each.who, each.company, tuple(sorted(times)), each.in_use, each.capacity
        )
    return sorted(by_station.values(), key=lambda refusal: -refusal.times[-1])


def in_vain(refusals: Iterable[Refusal], intervals: Iterable[Interval]) -> Iterator[Refusal]:
    """The true denials: what remains of each without the times after which the station soon got a seat (F5)."""
    got: dict[str, list[int]] = {}
    for interval in intervals:
        got.setdefault(interval.station, []).append(interval.since)
    for each in refusals:
        left = tuple(
            at
            for at in each.times
            if not any(at <= since <= at + SATISFIED_WITHIN for since in got.get(each.station, ()))
        )
        if left:
            yield Refusal(each.station, each.who, each.company, left, each.in_use, each.capacity)
