"""Pools and their seats: the Seats table, and the conditions that make overselling impossible.

A segment is one item of less than a write unit (1 KB) at eight seats. Every write raises its version. What was decided by
looking at it is written under the condition that the version is still the one looked at; a heartbeat and a release look at nothing,
and are conditioned on the seat itself. Quota moves between segments, and between a segment and the pool, in one transaction.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pynamodb.attributes import BooleanAttribute, MapAttribute, NumberAttribute, NumberSetAttribute, UnicodeAttribute
from pynamodb.expressions.condition import size
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from licensing import deployment
from licensing.rules.seat_use import Interval, Refusal
from licensing.rules.seats import SUPPORT, SUPPORT_PLACES, Entry, Instance, Pool, SeatId, Segment, Who
from licensing.store import tables
from licensing.store.attributes import CompressedJson
from licensing.store.tables import Also

#: Items changed by one transaction; DynamoDB takes 100.
_PART_ITEMS = 50


class SeatRecord(Model):
    """What all items of the table have. The partition is the pool."""

    class Meta(tables.Reach):
        table_name = deployment.seats_table()

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class PoolItem(SeatRecord):
    """A pool: its terms, how it is divided, and what of its capacity is not dealt out."""

    version = NumberAttribute()
    #: What seat ids and share secrets are made with.
    secret = UnicodeAttribute()
    bits = NumberAttribute()
    undealt = NumberAttribute()
    #: There is something to deal out, to take back or to divide: whoever notices does it.
    unsettled = BooleanAttribute()
    #: The site that gives its seats out, and until when it gives out no new ones (epoch seconds), since it took over.
    home = UnicodeAttribute()
    quiet_until = NumberAttribute()
    body = CompressedJson(Pool)


class SegmentItem(SeatRecord):
    """A segment. Attribute names count towards the item's size at each write, so they are short."""

    version = NumberAttribute(attr_name="v")
    bits = NumberAttribute(attr_name="b")
    quota = NumberAttribute(attr_name="q")
    guarded = BooleanAttribute(attr_name="f", null=True)
    #: When it was written last: the stream's readers need to know when a released seat ended.
    at = NumberAttribute(attr_name="t")
    #: By station: u until, g generation, c company, d the rest, m instances ("until module", base 36), b borrowed.
    entries: Any = MapAttribute(attr_name="e", default=dict)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool as it is stored, at a version. See PoolItem."""

    pool: Pool
    secret: str
    home: str
    bits: int = 0
    undealt: int = 0
    unsettled: bool = False
    quiet_until: int = 0
    version: int = 0


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits or "0"


def _instance_text(each: Instance) -> str:
    return f"{_base36(each.until)} {each.module}"


def _entry_document(entry: Entry) -> dict[str, Any]:
    # No field holds a control character: the contract has seen to it.
    details = "\x1f".join((*entry.who, _base36(entry.since)))
    document: dict[str, Any] = {
        "u": entry.until,
        "g": entry.generation,
        "c": entry.company,
        "d": details,
        "m": {key: _instance_text(each) for key, each in entry.instances.items()},
    }
    return {**document, "b": 1} if entry.borrowed else document


def _entry(document: Mapping[str, Any]) -> Entry:
    *who, since = document["d"].split("\x1f")
    instances = {}
    for key, text in document["m"].items():
        until, _, module = text.partition(" ")
        instances[key] = Instance(module, int(until, 36))
    return Entry(
        generation=int(document["g"]),
        since=int(since, 36),
        until=int(document["u"]),
        who=Who(*who),
        company=document["c"],
        instances=instances,
        borrowed="b" in document,
    )


def _segment_key(index: int) -> str:
    return "SUPPORT" if index == SUPPORT else f"SEG#{index:04d}"


def _segment(item: SegmentItem) -> Segment:
    entries = item.entries.as_dict()
    return Segment(
        index=SUPPORT if item.sk == "SUPPORT" else int(item.sk.removeprefix("SEG#")),
        bits=int(item.bits),
        quota=int(item.quota),
        version=int(item.version),
        guarded=bool(item.guarded),
        entries={station: _entry(each) for station, each in entries.items()},
    )


def _segment_item(pool_id: str, segment: Segment, now: int) -> SegmentItem:
    return SegmentItem(
        pool_id,
        _segment_key(segment.index),
        version=segment.version + 1,
        bits=segment.bits,
        quota=segment.quota,
        guarded=segment.guarded or None,
        at=now,
        entries={station: _entry_document(entry) for station, entry in segment.entries.items()},
    )


def segment_of_image(image: Mapping[str, Any]) -> Segment:
    """A segment from the image that a stream carries."""
    item = SegmentItem()
    item.deserialize({name: dict(value) for name, value in image.items()})
    return _segment(item)


def _one_client() -> None:
    # The base model first, as in ``tables``: what derives from it shares its client.
    SeatRecord._get_connection()


# ── reading ──


def get_pool(pool_id: str) -> PoolState | None:
    """A pool, strongly consistent."""
    _one_client()
    item = tables.find(PoolItem, pool_id, "CFG")
    if item is None:
        return None
    numbers = {name: int(getattr(item, name)) for name in ("bits", "undealt", "quiet_until", "version")}
    return PoolState(item.body, item.secret, item.home, unsettled=bool(item.unsettled), **numbers)


def get_segment(pool_id: str, index: int, *, consistent: bool = True) -> Segment | None:
    """One segment, strongly consistent; else a second old at most, for half the price."""
    _one_client()
    item = tables.find(SegmentItem, pool_id, _segment_key(index), consistent=consistent)
    return _segment(item) if item else None


def get_support(pool_id: str) -> Segment:
    """The places of support users, strongly consistent."""
    return get_segment(pool_id, SUPPORT) or Segment(SUPPORT, 0, SUPPORT_PLACES)


def segments(pool_id: str) -> list[Segment]:
    """All segments of a pool, strongly consistent one by one."""
    _one_client()
    of_segments = SegmentItem.sk.startswith("SEG#")
    found = tables.read(lambda: list(SegmentItem.query(pool_id, of_segments, consistent_read=True)))
    return [_segment(item) for item in found]


def neighbours(pool_id: str, index: int, count: int) -> list[Segment]:
    """The segment and those beside it, ``count`` in all, a second old at most: a glance at where seats may be free."""
    _one_client()
    first = index - index % count
    beside = SegmentItem.sk.between(_segment_key(first), _segment_key(first + count - 1))
    found = tables.read(lambda: list(SegmentItem.query(pool_id, beside)))
    return [_segment(item) for item in found]


# ── seats: each raises ConditionFailed where somebody was faster, and TemporarilyUnavailable ──


def put(pool_id: str, segment: Segment, now: int, also: Also | None = None) -> None:
    """Write a segment that was decided about at its version."""
    item = _segment_item(pool_id, segment, now)
    _save(item, _unchanged(segment), also)


def _save(item: SeatRecord, condition: Any, also: Also | None) -> None:
    def fill(transaction: TransactWrite) -> None:
        transaction.save(item, condition=condition)
        if also:
            also(transaction)

    if also:
        tables.transact(fill)
    else:
        tables.write(lambda: item.save(condition=condition))


class InDebt(tables.ConditionFailed):
    """Raised when a seat was to be given out by a pool whose use is to fall first (C5)."""


def put_seats(pool_id: str, changed: Sequence[Segment], now: int, apart: Segment | None = None) -> None:
    """Write segments that were decided about at their versions, all or nothing: the usual one, or two with quota moved between.

    Where one is guarded the pool must have no debt; then it is guarded no more. ``apart`` is a segment that must not have
    changed either: a support user's place and its seat are never both held.

    Raises InDebt, or ConditionFailed whose ``failed`` are the places in ``changed`` that have changed.
    """
    guarded = any(each.guarded for each in changed)
    if len(changed) == 1 and not guarded and apart is None:
        put(pool_id, changed[0], now)
        return

    def fill(transaction: TransactWrite) -> None:
        if guarded:
            transaction.condition_check(PoolItem, pool_id, "CFG", condition=PoolItem.undealt >= 0)
        if apart is not None:
            key = _segment_key(apart.index)
            transaction.condition_check(SegmentItem, pool_id, key, condition=_unchanged(apart))
        for each in changed:
            _put_in(transaction, pool_id, replace(each, guarded=False), now)

    checks = guarded + (apart is not None)
    try:
        tables.transact(fill)
    except tables.ConditionFailed as error:
        if guarded and 0 in error.failed:
            raise InDebt from error
        raise tables.ConditionFailed(frozenset(at - checks for at in error.failed if at >= checks)) from error


def _put_in(transaction: TransactWrite, pool_id: str, segment: Segment, now: int) -> None:
    transaction.save(_segment_item(pool_id, segment, now), condition=_unchanged(segment))


def _unchanged(segment: Segment) -> Any:
    return SegmentItem.version == segment.version if segment.version else SegmentItem.pk.does_not_exist()


def renew(
    pool_id: str, index: int, seat: SeatId, until: int, now: int, instance: str = "", module: str = ""
) -> Segment:
    """A heartbeat: a later end for a seat whose lease has not ended, in one write. A borrowed seat's end stays, and so does
    one that is later already: a heartbeat that was on its way for long must not take back what a newer one was told.

    ``instance``: the module instance that is heard of; it must be on the seat.
    """
    _one_client()
    item = SegmentItem(pool_id, _segment_key(index))
    entry = SegmentItem.entries[seat.station]
    actions = [SegmentItem.version.set(SegmentItem.version + 1), SegmentItem.at.set(now), entry["u"].set(until)]
    holds = (entry["g"] == seat.generation) & (entry["u"] > now) & (entry["u"] <= until) & entry["b"].does_not_exist()
    if instance:
        actions.append(entry["m"][instance].set(_instance_text(Instance(module, until))))
        holds &= entry["m"][instance].exists()
    tables.write(lambda: item.update(actions=actions, condition=holds))
    return _segment(item)


def release(pool_id: str, index: int, seat: SeatId, now: int, instance: str = "") -> None:
    """Free a seat of this very lease in one write. ``instance``: only if this module instance is the last on it."""
    _one_client()
    item = SegmentItem(pool_id, _segment_key(index))
    entry = SegmentItem.entries[seat.station]
    actions = [entry.remove(), SegmentItem.version.set(SegmentItem.version + 1), SegmentItem.at.set(now)]
    holds = (entry["g"] == seat.generation) & entry["b"].does_not_exist()
    if instance:
        holds &= entry["m"][instance].exists() & (size(entry["m"]) == 1)  # type: ignore[no-untyped-call]
    tables.write(lambda: item.update(actions=actions, condition=holds))


# ── pools ──


def _pool_item(state: PoolState) -> PoolItem:
    return PoolItem(
        state.pool.pool_id,
        "CFG",
        version=state.version + 1,
        secret=state.secret,
        bits=state.bits,
        undealt=state.undealt,
        unsettled=state.unsettled,
        home=state.home,
        quiet_until=state.quiet_until,
        body=state.pool,
    )


def put_pool(state: PoolState, also: Also | None = None) -> None:
    """Write a pool that was decided about at its version. Raises ConditionFailed."""
    _one_client()
    _save(_pool_item(state), _pool_unchanged(state), also)


def deal(state: PoolState, gains: Sequence[tuple[Segment, int]], now: int) -> None:
    """Deal out quota of the pool to some of its segments, all or nothing; ``state`` is the pool after it.

    At most ``PART`` segments, which may have changed since, if only they were not divided. Raises ConditionFailed.
    """

    def fill(transaction: TransactWrite) -> None:
        transaction.save(_pool_item(state), condition=_pool_unchanged(state))
        for each, gain in gains:
            transaction.update(
                SegmentItem(state.pool.pool_id, _segment_key(each.index)),
                actions=[
                    SegmentItem.quota.set(SegmentItem.quota + gain),
                    SegmentItem.version.set(SegmentItem.version + 1),
                    SegmentItem.at.set(now),
                ],
                condition=SegmentItem.bits == each.bits,
            )

    tables.transact(fill)


def take_back(state: PoolState, changed: Sequence[Segment], now: int) -> None:
    """Take quota of some segments back to the pool, all or nothing; ``state`` is the pool after it.

    At most ``PART`` segments. Raises ConditionFailed where the pool or a segment changed since.
    """

    def fill(transaction: TransactWrite) -> None:
        transaction.save(_pool_item(state), condition=_pool_unchanged(state))
        for each in changed:
            _put_in(transaction, state.pool.pool_id, each, now)

    tables.transact(fill)


def put_part(pool_id: str, segments: Sequence[Segment], now: int) -> None:
    """Write segments, also new ones, that were decided about at their versions, all or nothing; at most ``PART``.

    Raises ConditionFailed whose ``failed`` are the places in ``segments`` that have changed.
    """

    def fill(transaction: TransactWrite) -> None:
        for each in segments:
            _put_in(transaction, pool_id, each, now)

    tables.transact(fill)


def put_split(pool_id: str, stays: Segment, moves: Segment, now: int) -> None:
    """Divide a segment in two. Raises ConditionFailed where it changed since."""

    def fill(transaction: TransactWrite) -> None:
        transaction.save(_segment_item(pool_id, stays, now), condition=SegmentItem.version == stays.version)
        transaction.save(_segment_item(pool_id, moves, now), condition=SegmentItem.pk.does_not_exist())

    tables.transact(fill)


#: How many segments one transaction may change.
PART = _PART_ITEMS


def _pool_unchanged(state: PoolState) -> Any:
    return PoolItem.version == state.version if state.version else PoolItem.pk.does_not_exist()


# ── use and refusals ──


class UseItem(SeatRecord):
    """What was found out about a pool's use so far. Times are epoch seconds."""

    version = NumberAttribute()
    peak = NumberAttribute()
    peak_at = NumberAttribute()
    #: The peak counts from here on.
    since = NumberAttribute()
    #: The first moment that the last look was about, and when it was taken.
    looked_from = NumberAttribute()
    looked_at = NumberAttribute()
    in_use = NumberAttribute()
    #: Segments that had a free seat then: hints, for nobody is seated without looking.
    free = NumberSetAttribute(null=True)


class DayItem(SeatRecord):
    """The most seats in use in each slot of a day (UTC), by the slot's number."""

    version = NumberAttribute()
    most = CompressedJson(dict[int, int])
    expires_at = NumberAttribute()


class IntervalsItem(SeatRecord):
    """Leases that ended; kept until the look at their time can't be needed any more."""

    intervals = CompressedJson(list[Interval])
    expires_at = NumberAttribute()


class RefusalsItem(SeatRecord):
    """True denials of some minutes."""

    refusals = CompressedJson(list[Refusal])
    expires_at = NumberAttribute()


@dataclass(frozen=True, slots=True)
class Use:
    """See UseItem."""

    peak: int = 0
    peak_at: int = 0
    since: int = 0
    looked_from: int = 0
    looked_at: int = 0
    in_use: int = 0
    free: frozenset[int] = frozenset()
    version: int = 0


#: For how long (seconds) leases that ended are kept for the looks at their time.
INTERVALS_KEPT = 2 * 86_400
_USE_KEPT = 400 * 86_400
_DAY = 86_400


def get_use(pool_id: str) -> Use | None:
    """What is known of a pool's use, strongly consistent."""
    _one_client()
    item = tables.find(UseItem, pool_id, "USE")
    if item is None:
        return None
    names = ("peak", "peak_at", "since", "looked_from", "looked_at", "in_use", "version")
    return Use(**{name: int(getattr(item, name)) for name in names}, free=_free(item))


def _free(item: UseItem | None) -> frozenset[int]:
    return frozenset(int(each) for each in (item.free if item else None) or ())


def get_free(pool_id: str) -> list[int]:
    """Indexes of segments that had a free seat some seconds ago."""
    _one_client()
    return sorted(_free(tables.find(UseItem, pool_id, "USE", consistent=False)))


def put_use(pool_id: str, use: Use, also: Also | None = None) -> None:
    """Replace what is known. Raises ConditionFailed if somebody else did since."""
    values = {name: getattr(use, name) for name in ("peak", "peak_at", "since", "looked_from", "looked_at", "in_use")}
    item = UseItem(pool_id, "USE", version=use.version + 1, free=set(use.free) or None, **values)
    unchanged = UseItem.version == use.version if use.version else UseItem.pk.does_not_exist()
    _save(item, unchanged, also)


def put_intervals(pool_id: str, name: str, intervals: Sequence[Interval]) -> None:
    """Keep leases that ended. ``name`` makes a repeat of the same ones replace them."""
    _one_client()
    latest = max(each.end for each in intervals)
    item = IntervalsItem(
        pool_id, f"IVL#{latest:011d}#{name}", intervals=list(intervals), expires_at=latest + INTERVALS_KEPT
    )
    tables.write(item.save)


def intervals_since(pool_id: str, start: int) -> list[Interval]:
    """The leases that ended after a time (and some more), as far as they are kept."""
    _one_client()
    later = IntervalsItem.sk.between(f"IVL#{start:011d}", "IVL#~")
    found = tables.read(lambda: list(IntervalsItem.query(pool_id, later, consistent_read=True)))
    return [each for item in found for each in item.intervals]


def raise_most(pool_id: str, slots: Mapping[int, int], slot_seconds: int) -> None:
    """Remember the most seats in use by slot (first second to seats); what is known goes up only."""
    for day in sorted({at // _DAY for at in slots}):
        mine = {(at % _DAY) // slot_seconds: seats for at, seats in slots.items() if at // _DAY == day}

        def attempt(day: int = day, mine: Mapping[int, int] = mine) -> None:
            key = (pool_id, f"USE#{day:06d}")
            item = tables.find(DayItem, *key)
            known = item.most if item else {}
            merged = {**known, **{slot: max(seats, known.get(slot, 0)) for slot, seats in mine.items()}}
            if item and merged == known:
                return
            version = int(item.version) if item else 0
            new = DayItem(*key, version=version + 1, most=merged, expires_at=(day + 1) * _DAY + _USE_KEPT)
            unchanged = DayItem.version == version if version else DayItem.pk.does_not_exist()
            tables.write(lambda: new.save(condition=unchanged))

        _one_client()
        tables.unraced(attempt)


def most_between(pool_id: str, start: int, end: int, slot_seconds: int) -> dict[int, int]:
    """What is remembered of the slots between two times."""
    _one_client()
    days = DayItem.sk.between(f"USE#{start // _DAY:06d}", f"USE#{end // _DAY:06d}")
    found = tables.read(lambda: list(DayItem.query(pool_id, days)))
    slots = {
        int(item.sk.removeprefix("USE#")) * _DAY + slot * slot_seconds: seats
        for item in found
        for slot, seats in item.most.items()
    }
    return {at: seats for at, seats in sorted(slots.items()) if start - slot_seconds < at < end}


def put_refusals(pool_id: str, refusals: Sequence[Refusal]) -> None:
    """Keep true denials together; the same ones again replace themselves."""
    _one_client()
    latest = max(each.times[-1] for each in refusals)
    told = json.dumps([(each.station, *each.times) for each in refusals])
    name = hashlib.sha256(told.encode()).hexdigest()[:16]
    item = RefusalsItem(pool_id, f"DEN#{latest:011d}#{name}", refusals=refusals, expires_at=latest + _USE_KEPT)
    tables.write(item.save)


def refusals_between(pool_id: str, start: int, end: int) -> list[list[Refusal]]:
    """The true denials kept for a range of times, as they were kept together."""
    _one_client()
    # An item is named by the last of its times; they span some minutes.
    within = RefusalsItem.sk.between(f"DEN#{start:011d}", f"DEN#{end + _DAY:011d}")
    found = tables.read(lambda: list(RefusalsItem.query(pool_id, within, consistent_read=True)))
    return [item.refusals for item in found]


def epoch(moment: datetime) -> int:
    """A time as the table holds it."""
    return int(moment.timestamp())
