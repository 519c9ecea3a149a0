"""Concurrent seats (C2-C8, C11, C13, F1): segments of a pool, and what may happen to the seats in them.

A pool's capacity is dealt out as quotas to segments. A station lives only in the segment that its hash names, so "one seat per
station", "no more than the quota" and "a lapsed seat is free" are decided by looking at one segment, and held by one condition:
that the segment is still at the version that was looked at. What is not dealt out is kept by the pool, so that at every moment

    sum of the segments' quotas + undealt = capacity

where a negative ``undealt`` is the debt after a reduction (C5): seats above the capacity whose holders may finish.

Times are epoch seconds: leases are counted in them, and they are small where it matters.
"""

import hashlib
import hmac
import math
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple

from licensing.rules.heartbeat import local_date, start_of_day

#: Seconds; ten minutes unless the pool says otherwise.
DEFAULT_LEASE, SHORTEST_LEASE, LONGEST_LEASE = 600, 60, 86_400
#: Support users that use no seat at once; from the next one they count (C6).
SUPPORT_PLACES = 3
#: From how many days before the end on every answer tells the days left (C11).
NOTICE_DAYS = 30
#: The most days for which a seat may be borrowed where the pool says nothing else (C13).
BORROW_DAYS = 30
#: The most that a key may say.
LONGEST_BORROWING = 365
MOST_SEATS = 40_000
#: Module instances remembered on one seat; beyond, those that are heard of least recently give way.
MOST_INSTANCES = 24
#: A pool up to this size is a single segment.
_SINGLE = 8
#: Seats to a segment on average, at most: full segments scatter around it, and eight seats are a write unit.
_PER_SEGMENT = 6


class Who(NamedTuple):
    """A station as people see it. ``os_user`` and ``terminal`` are empty for a browser without launcher."""

    os_user: str
    terminal: str
    session: str
    user_code: str

    @property
    def name(self) -> str:
        """By what people know who sits there: the user code, or the operating-system user where there is none."""
        return self.user_code or self.os_user


@dataclass(frozen=True, slots=True)
class Instance:
    """One running instance of a module on a seat, and until when it counts unless it is heard of."""

    module: str
    until: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A seat that a station holds. ``generation`` tells this lease from every other of the station."""

    generation: int
    since: int
    until: int
    who: Who
    company: str
    instances: Mapping[str, Instance]
    borrowed: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a pool: the seats of those stations whose hash ends, in ``bits`` bits, with ``index``.

    ``guarded``: the capacity was reduced; a free seat is given out only while the pool has no debt.
    """

    index: int
    bits: int
    quota: int = 0
    version: int = 0
    guarded: bool = False
    entries: Mapping[str, Entry] = field(default_factory=dict)

    def live(self, now: int) -> dict[str, Entry]:
        """The seats whose lease has not ended."""
        return {station: entry for station, entry in self.entries.items() if entry.until > now}

    def spare(self, now: int) -> int:
        """How many seats could be given out here."""
        return max(0, self.quota - len(self.live(now)))


#: Support users' places are a segment of their own, with a fixed quota, outside the capacity.
SUPPORT = -1


@dataclass(frozen=True, slots=True)
class Pool:
    """What a pool offers, to whom, and until when. It follows a key (``key_id``) or a license on an installation.

    ``companies`` are names by tax id. ``support`` are user codes, or prefixes that end in ``*``.
    """

    pool_id: str
    customer_id: str
    application: str
    capacity: int
    companies: Mapping[str, str]
    time_zone: str
    first_day: date | None = None
    last_day: date | None = None
    support: tuple[str, ...] = ()
    key_id: str = ""
    installation_id: str = ""
    lease_seconds: int = DEFAULT_LEASE
    borrow_days: int = BORROW_DAYS

    @property
    def ends_at(self) -> datetime | None:
        """The first instant (UTC) after the last day; None: never."""
        return start_of_day(self.last_day + timedelta(days=1), self.time_zone) if self.last_day else None

    def phase(self, now: datetime) -> Literal["in_force", "upcoming", "ended"]:
        """Where the pool stands on this day of the customer's calendar."""
        today = local_date(now, self.time_zone)
        if self.last_day and today > self.last_day:
            return "ended"
        return "upcoming" if self.first_day and today < self.first_day else "in_force"

    def lease_until(self, now: datetime) -> int:
        """The end of a lease that begins or goes on now: no lease outlives its key or license (C11)."""
        return self._until(now, timedelta(seconds=self.lease_seconds))

    def borrowed_until(self, now: datetime, days: int) -> int:
        """The end of a seat that is borrowed now."""
        return self._until(now, timedelta(days=days))

    def _until(self, now: datetime, period: timedelta) -> int:
        # Upwards: a station counts the whole period, and must not have its seat longer than the pool says.
        until = now + period
        return math.ceil((min(until, self.ends_at) if self.ends_at else until).timestamp())

    def days_left(self, now: datetime) -> int | None:
        """How many days are left, from ``NOTICE_DAYS`` on; None before."""
        if self.last_day is None:
            return None
        left = (self.last_day - local_date(now, self.time_zone)).days
        return left if 0 <= left <= NOTICE_DAYS else None

    def is_support(self, who: Who) -> bool:
        """Whether this is one of the support users (C6): by user code, or by operating-system user where there is none."""
        name = who.name.casefold()
        return any(
            name.startswith(known[:-1].casefold()) if known.endswith("*") else name == known.casefold()
            for known in self.support
        )


def _short(text: str, size: int) -> str:
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:size]).decode()


def station(who: Who) -> str:
    """What tells a station from all others: operating-system user, terminal and session; for a browser without
    launcher user code and browser session. Windows writes names in any case, so case tells nothing.
    """
    parts = (
        ("os", who.os_user.casefold(), who.terminal.casefold(), who.session)
        if who.os_user
        else ("web", who.user_code.casefold(), who.session)
    )
    return _short("\x1f".join(parts), 12)


def instance(module: str, name: str) -> str:
    """What tells a module's instance from the others of its seat."""
    return _short(f"{module}\x1f{name}", 6)


def company(tax_id: str) -> str:
    """How a seat remembers its company."""
    return _short(tax_id, 4)[:6]


def bits_for(capacity: int) -> int:
    """Into how many segments (2 to this power) a pool of a capacity is divided."""
    bits = 0
    while capacity > _SINGLE and capacity > _PER_SEGMENT << bits:
        bits += 1
    return bits


def place(station: str, bits: int) -> int:
    """The index of the segment that a station lives in, among 2 to the power of ``bits``."""
    return int.from_bytes(hashlib.sha256(station.encode()).digest()[:4]) & ((1 << bits) - 1)


# ── seat ids and shared secrets ──


@dataclass(frozen=True, slots=True)
class SeatId:
    """A seat as clients name it: station, generation, and whether it is a support user's place."""

    station: str
    generation: int
    support: bool = False


def seat_id(pool_id: str, secret: str, seat: SeatId) -> str:
    """The id that a station gets. It can't be guessed: whoever knows it may release the seat."""
    named = f"{pool_id.removeprefix('pool_')}.{seat.station}.{'s' if seat.support else 'g'}{seat.generation:x}"
    return f"sea_{named}.{_mac(secret, f'seat {named}')[:12]}"


def pool_of(text: str) -> str:
    """The pool that a seat id names; of an id that is none, a pool that there is not."""
    return f"pool_{text.removeprefix('sea_').partition('.')[0]}"


def read_seat_id(text: str, pool_id: str, secret: str) -> SeatId | None:
    """The seat that an id names; None for an id that this pool never gave."""
    parts = text.split(".")
    if not text.isascii() or len(parts) != 4 or len(parts[1]) != 16 or parts[2][:1] not in ("s", "g"):
        return None
    try:
        seat = SeatId(parts[1], int(parts[2][1:], 16), parts[2][0] == "s")
    except ValueError:
        return None
    made = seat_id(pool_id, secret, seat)
    return seat if hmac.compare_digest(made.encode(), text.encode()) else None


def share_secret(secret: str, station: str, generation: int) -> str:
    """What a desktop's seat gives to the modules that its launcher opens in a browser (C4). It follows from the seat,
    so that every module of the desktop gets the same, and nothing has to be remembered.
    """
    return f"{station}.{_mac(secret, f'share {station} {generation:x}')[:22]}"


def shares(text: str, secret: str, segment: Segment, now: int) -> str | None:
    """The station whose seat in this segment a share secret opens; None where there is none (any more)."""
    station = text.partition(".")[0]
    entry = segment.live(now).get(station)
    if entry is None or not text.isascii():
        return None
    made = share_secret(secret, station, entry.generation)
    return station if hmac.compare_digest(made.encode(), text.encode()) else None


def _mac(secret: str, text: str) -> str:
    return urlsafe_b64encode(hmac.digest(secret.encode(), text.encode(), "sha256")).decode()


# ── one segment ──


@dataclass(frozen=True, slots=True)
class Ask:
    """A station that asks for a seat for one of its modules, until a time."""

    who: Who
    company: str
    module: str
    instance: str
    until: int


class Seated(NamedTuple):
    """A segment after a station got its seat; ``new`` where it held none."""

    segment: Segment
    entry: Entry
    new: bool


def lease(segment: Segment, station: str, ask: Ask, now: int) -> Seated | None:
    """Seat a station: on the seat that it holds, else on a free one. None: the segment is full."""
    live = segment.live(now)
    held = live.get(station)
    if held is None and len(live) >= segment.quota:
        return None
    fresh = Instance(ask.module, ask.until)
    if held is None:
        entry = Entry(segment.version + 1, now, ask.until, ask.who, ask.company, {ask.instance: fresh})
    else:
        others = {key: each for key, each in held.instances.items() if each.until > now and key != ask.instance}
        kept = sorted(others.items(), key=lambda pair: -pair[1].until)[: MOST_INSTANCES - 1]
        instances = {**dict(kept), ask.instance: fresh}
        entry = replace(held, until=max(held.until, ask.until), company=ask.company, instances=instances)
    return Seated(replace(segment, entries={**live, station: entry}), entry, held is None)


def renew(segment: Segment, station: str, until: int, now: int, instance: str = "") -> Segment:
    """The segment after a heartbeat of a seat that is held, and of a module instance on it, also of one that had lapsed.
    One that was closed stays closed. Ends move to later times only.
    """
    entry = segment.live(now)[station]
    instances = dict(entry.instances)
    if known := instances.get(instance):
        instances[instance] = replace(known, until=max(until, known.until))
    renewed = replace(entry, until=max(entry.until, until), instances=instances)
    return replace(segment, entries={**segment.live(now), station: renewed})


def holding(segment: Segment, station: str, generation: int, now: int) -> Entry | None:
    """The seat of this very lease; None once it has ended: nothing revives it."""
    entry = segment.live(now).get(station)
    return entry if entry and entry.generation == generation else None


def close(segment: Segment, station: str, generation: int, instance: str | None, now: int) -> Segment | None:
    """Close one module instance of a seat, or all of it; the last one frees the seat. None: there is nothing to do."""
    entry = holding(segment, station, generation, now)
    if entry is None:
        return None
    left = {key: each for key, each in entry.instances.items() if key != instance and each.until > now}
    entries = segment.live(now)
    if instance is None or not left:
        del entries[station]
    elif instance in entry.instances:
        entries[station] = replace(entry, instances=left)
    else:
        return None
    return replace(segment, entries=entries)


def borrow(segment: Segment, station: str, generation: int, until: int, now: int) -> Segment | None:
    """Take a seat offline until a time (C13). None: it is borrowed already, and its end stays."""
    entry = holding(segment, station, generation, now)
    if entry is None or entry.borrowed:
        return None
    return replace(segment, entries={**segment.live(now), station: replace(entry, until=until, borrowed=True)})


# ── quotas ──


def take_from(segment: Segment, now: int, count: int = 1) -> Segment | None:
    """The segment with so much less quota; None where that would leave somebody without a seat."""
    if segment.spare(now) < count:
        return None
    return replace(segment, quota=segment.quota - count, entries=segment.live(now))


def split(segment: Segment, now: int) -> tuple[Segment, Segment]:
    """Divide a segment by one more bit. Seats go where their station's hash says; quota follows them, what is over is halved."""
    bits = segment.bits + 1
    live = segment.live(now)
    low = {key: each for key, each in live.items() if place(key, bits) == segment.index}
    high = {key: each for key, each in live.items() if key not in low}
    over = segment.quota - len(live)
    parts = (low, len(low) + over - over // 2), (high, len(high) + over // 2)
    stays, moves = (replace(segment, bits=bits, quota=quota, entries=entries) for entries, quota in parts)
    return stays, replace(moves, index=segment.index + (1 << segment.bits))


def deal(quotas: Mapping[int, int], undealt: int) -> dict[int, int]:
    """What each segment gets of so many undealt seats, so that the smallest quotas grow first."""
    level = sorted(quotas.items(), key=lambda pair: (pair[1], pair[0]))
    total, count = undealt, 0
    while count < len(level) and total + level[count][1] >= level[count][1] * (count + 1):
        total += level[count][1]
        count += 1
    share, rest = divmod(total, count)
    return {
        index: gain
        for position, (index, quota) in enumerate(level[:count])
        if (gain := share + (position < rest) - quota)
    }


def missing(segments: Iterable[Segment], bits: int) -> list[int]:
    """The indexes, by ``bits`` bits, that no segment covers: a pool that is being made."""
    known = {(each.index, each.bits) for each in segments}
    return [i for i in range(1 << bits) if not any((i & ((1 << b) - 1), b) in known for b in range(bits + 1))]


def donors(segments: Iterable[Segment], now: int, *, but: int) -> list[Segment]:
    """The segments that could give a seat away, those with the most spare first."""
    able = [each for each in segments if each.index != but and each.spare(now)]
    return sorted(able, key=lambda each: (-each.spare(now), each.index))


def in_use(segments: Iterable[Segment], now: int) -> int:
    """Seats in use."""
    return sum(len(each.live(now)) for each in segments)


_SHORTEST_WAIT, _LONGEST_WAIT = 1, 60


def retry_after(segments: Sequence[Segment], now: int) -> int:
    """Seconds after which asking again may succeed: when the first lease ends, and within a minute, for somebody may leave."""
    ends = (entry.until - now for each in segments for entry in each.live(now).values())
    return max(_SHORTEST_WAIT, min(_LONGEST_WAIT, *ends, _LONGEST_WAIT))


# ── the live view ──


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the live view (C7): one seat, or a support user's place."""

    seat: SeatId
    who: Who
    company: str
    modules: tuple[str, ...]
    since: int
    until: int
    borrowed: bool = False
    #: The same operating-system user has several remote sessions: advise a single one.
    several_sessions: bool = False


def rows(segments: Iterable[Segment], now: int) -> list[Row]:
    """The live view, by user, terminal and session."""
    found = [
        Row(
            seat=SeatId(station, entry.generation, segment.index == SUPPORT),
            who=entry.who,
            company=entry.company,
            modules=tuple(sorted(each.module for each in entry.instances.values() if each.until > now)),
            since=entry.since,
            until=entry.until,
            borrowed=entry.borrowed,
        )
        for segment in segments
        for station, entry in segment.live(now).items()
    ]
    remote = [row.who.os_user.casefold() for row in found if row.who.os_user and row.who.session != LOCAL_SESSION]
    marked = (
        replace(row, several_sessions=remote.count(row.who.os_user.casefold()) > 1)
        if row.who.os_user and row.who.session != LOCAL_SESSION
        else row
        for row in found
    )
    return sorted(marked, key=lambda row: (row.seat.support, row.who))


#: How a workstation's own session shows (C3).
LOCAL_SESSION = "local"
