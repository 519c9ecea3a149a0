"""How pools are used (C8), and who was refused in vain (F5): what the Seats table's stream and the queue of refusals bring.

The peak is found behind the requests, and takes part in none: from the intervals in which seats were held, as segments and stream
tell them. A look unites the leases that have ended with those that the segments show, and covers the time since the
look before the last and all the time of leases that ended, so that what was still on its way then is counted now. Delivered late
or twice, an interval says nothing new.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from aws_lambda_powertools import Logger
from pydantic import BaseModel
from pynamodb.transactions import TransactWrite

from licensing import deployment, operations
from licensing.errors import NotFound
from licensing.rules import seat_use as rules
from licensing.rules import seats as seat_rules
from licensing.rules.operations import Origin
from licensing.rules.seat_use import SLOT, Interval, Refusal
from licensing.rules.seats import Entry, Pool, Segment, Who
from licensing.store import seats as store
from licensing.store import tables

logger = Logger(child=True)

#: Segments with a free seat that are told to whoever looks for one.
_HINTS = 64
#: Stations named in the operation log's entry about denials.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Change:
    """A write to a segment, as the stream tells it; ``name`` is the same each time it is told."""

    before: Segment | None
    after: Segment | None
    at: int
    name: str

    @property
    def is_support(self) -> bool:
        """Whether it is about the places of support users, which are no seats."""
        return any(each is not None and each.index == seat_rules.SUPPORT for each in (self.before, self.after))


def record(pool_id: str, changes: Sequence[Change], now: datetime) -> None:
    """Take in what happened to a pool. Raises TemporarilyUnavailable; a repeat does no harm."""
    ended = [(each, gone) for each in changes for gone in rules.gone(each.before, each.after, each.at)]
    begun = [(each, *new) for each in changes for new in rules.began(each.before, each.after)]
    state = store.get_pool(pool_id) if ended or begun else None
    if state is None:
        return
    for change, station, entry in begun:
        if change.is_support:
            _tell(state.pool, "support.began", station, entry, entry.since, now)
    for change, gone in ended:
        action = "support.ended" if change.is_support else "seat.closed"
        _tell(state.pool, action, gone.station, gone.entry, gone.end, now)
    intervals = [gone.interval for change, gone in ended if not change.is_support]
    starts = [entry.since for change, _, entry in begun if not change.is_support]
    if intervals:
        store.put_intervals(pool_id, changes[0].name, intervals)
    if intervals or starts:
        earliest = min([*starts, *(each.end for each in intervals)])
        # What has ended may have been told so late that the looks since did not know of it: all of its time is looked at again.
        begin = min([earliest, *(each.since for each in intervals)])
        tables.unraced(lambda: _look(pool_id, begin, earliest, store.epoch(now)))


def _tell(pool: Pool, action: str, station: str, entry: Entry, at: int, now: datetime) -> None:
    """An entry of the operation log, the same however often it is told."""
    moment = datetime.fromtimestamp(at, UTC)
    by = Origin("server", pool.installation_id, entry.who.name)
    told = operations.operation(
        pool.customer_id, by, action, moment, pool.pool_id, application=pool.application, terminal=entry.who.terminal,
        session=entry.who.session, seconds=at - entry.since, modules=", ".join(_modules(entry)),
    )  # fmt: skip
    key = f"{pool.pool_id} {station} {entry.generation} {action}"
    operations.record(replace(told, operation_id=operations.operation_id(key, moment)), now)


def _modules(entry: Entry) -> list[str]:
    return sorted({each.module for each in entry.instances.values()})


def _look(pool_id: str, begin: int, earliest: int, at: int) -> None:
    use = store.get_use(pool_id) or store.Use(since=earliest, looked_from=earliest)
    start = max(use.since, min(use.looked_from, begin), at - store.INTERVALS_KEPT)
    segments = store.segments(pool_id)
    most = rules.most(_intervals(pool_id, segments, start), start, at + 1)
    store.raise_most(pool_id, {slot: seats for slot, seats in most.items() if seats}, SLOT)
    slot = max(most, key=lambda each: most[each], default=start)
    if most.get(slot, 0) > use.peak:
        use = replace(use, peak=most[slot], peak_at=slot)
    used = seat_rules.in_use(segments, at)
    free = frozenset(each.index for each in seat_rules.donors(segments, at, but=seat_rules.SUPPORT)[:_HINTS])
    store.put_use(pool_id, replace(use, looked_from=earliest, looked_at=at, in_use=used, free=free))


def _intervals(pool_id: str, segments: Iterable[Segment], start: int) -> list[Interval]:
    shown = [interval for segment in segments for interval in rules.held(segment)]
    return [*shown, *store.intervals_since(pool_id, start)]


#: Adds to the transaction that resets a peak what else is to be written with it.
AlsoUse = Callable[[TransactWrite, store.Use], None]


def _nothing_more(transaction: TransactWrite, use: store.Use) -> None:
    """For a caller that keeps no answer."""


def reset_peak(customer_id: str, pool_id: str, by: Origin, now: datetime, also: AlsoUse = _nothing_more) -> store.Use:
    """Let the peak count from now on (C8), beginning with what is in use. Raises NotFound."""
    deployment.require_home_site()
    if _of(customer_id, pool_id) is None:
        raise NotFound
    at = store.epoch(now)

    def attempt() -> store.Use:
        use = store.get_use(pool_id) or store.Use()
        if use.since >= at:
            return use
        used = seat_rules.in_use(store.segments(pool_id), at)
        after = replace(use, peak=used, peak_at=at, since=at, looked_from=max(use.looked_from, at))
        told = operations.operation(customer_id, by, "peak.reset", now, pool_id, peak=use.peak)

        def with_it(transaction: TransactWrite) -> None:
            operations.record_in(transaction, told)
            also(transaction, after)

        store.put_use(pool_id, after, with_it)
        return after

    return tables.unraced(attempt)


@dataclass(frozen=True, slots=True)
class UseStep:
    """The most seats in use at once in the time that begins at ``at``."""

    at: datetime
    most: int


def usage(
    customer_id: str, pool_id: str, start: datetime, end: datetime, now: datetime, *, step: int = SLOT
) -> list[UseStep]:
    """How a pool was used between two times: the most seats in use at once in each step (seconds; at least five minutes).

    Up to date: what was not looked at yet is worked out from the seats that are held. Nothing where the pool was never used.
    Raises NotFound for another customer's.
    """
    if _of(customer_id, pool_id) is None:
        return []
    step = max(SLOT, step - step % SLOT)
    first, last = store.epoch(start), min(store.epoch(end), store.epoch(now) + 1)
    known = store.most_between(pool_id, first, last, SLOT)
    use = store.get_use(pool_id)
    since = max(first, use.looked_from if use else first)
    if since < last:
        fresh = rules.most(_intervals(pool_id, store.segments(pool_id), since), since, last)
        known = {**known, **{slot: max(seats, known.get(slot, 0)) for slot, seats in fresh.items()}}
    steps = dict.fromkeys(range(first - first % step, last, step), 0)
    for slot, seats in known.items():
        steps[slot - slot % step] = max(steps.get(slot - slot % step, 0), seats)
    return [UseStep(datetime.fromtimestamp(at, UTC), seats) for at, seats in sorted(steps.items())]


# ── refusals ──


class Denied(BaseModel):
    """What the queue carries. Times are epoch seconds."""

    pool_id: str
    station: str
    who: tuple[str, str, str, str]
    company: str
    at: int
    in_use: int
    capacity: int


def record_denials(messages: Sequence[Denied], now: datetime) -> None:
    """Keep the refusals that were in vain, folded by station. They come some minutes late, so that what became of each is known.

    What comes again, in whatever company, is kept and told once. Raises TemporarilyUnavailable.
    """
    by_pool: dict[str, list[Refusal]] = {}
    for each in messages:
        refusal = Refusal(each.station, Who(*each.who), each.company, (each.at,), each.in_use, each.capacity)
        by_pool.setdefault(each.pool_id, []).append(refusal)
    for pool_id, refusals in by_pool.items():
        times = [each.times[0] for each in refusals]
        earliest, latest = min(times), max(times)
        asked = {(each.station, each.times[0]) for each in refusals}
        known: set[tuple[str, int]] = set()
        for kept in store.refusals_between(pool_id, earliest, latest):
            of_these = {(each.station, at) for each in kept for at in each.times}
            if of_these & asked:
                _tell_denials(pool_id, kept, now)  # whoever kept them may have died before
            known |= of_these
        fresh = [each for each in refusals if (each.station, each.times[0]) not in known]
        segments = [*store.segments(pool_id), store.get_support(pool_id)]
        left = list(rules.in_vain(rules.fold(fresh), _intervals(pool_id, segments, earliest)))
        if left:
            store.put_refusals(pool_id, left)
            _tell_denials(pool_id, left, now)
        logger.info("denials_recorded", pool_id=pool_id, denials=len(refusals), stations_in_vain=len(left))


def _tell_denials(pool_id: str, refusals: Sequence[Refusal], now: datetime) -> None:
    """One entry of the operation log for all: each would be a write unit. Who was refused when is kept beside it."""
    state = store.get_pool(pool_id)
    if state is None:
        return
    pool, first, last = state.pool, refusals[-1], refusals[0]
    times = sorted(at for each in refusals for at in each.times)
    names = [each.who.name for each in refusals]
    by = Origin("server", pool.installation_id, ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else ""))
    moment = datetime.fromtimestamp(times[-1], UTC)
    told = operations.operation(
        pool.customer_id, by, "seat.denied", moment, pool_id, "SEAT_LIMIT_REACHED", application=pool.application,
        stations=len(refusals), times=len(times), since=datetime.fromtimestamp(times[0], UTC).isoformat(),
        in_use=last.in_use, capacity=last.capacity,
    )  # fmt: skip
    key = f"{pool_id} {first.station} {first.times[0]} denied"
    operations.record(replace(told, operation_id=operations.operation_id(key, moment)), now)


@dataclass(frozen=True, slots=True)
class Denial:
    """A station that was refused in vain: who, of which company, when, and how the pool stood."""

    who: Who
    company_tax_id: str | None
    times: tuple[datetime, ...]
    in_use: int
    capacity: int

    @property
    def count(self) -> int:
        """How often."""
        return len(self.times)

    @property
    def first(self) -> datetime:
        """The first time."""
        return self.times[0]

    @property
    def last(self) -> datetime:
        """The last time."""
        return self.times[-1]


def denials(customer_id: str, pool_id: str, start: datetime, end: datetime) -> list[Denial]:
    """The true denials between two times, one entry a station, the newest first; none where the pool was never used.

    Raises NotFound for another customer's.
    """
    state = _of(customer_id, pool_id)
    if state is None:
        return []
    names = {seat_rules.company(tax_id): tax_id for tax_id in state.pool.companies}
    first, last = store.epoch(start), store.epoch(end)
    within = (
        replace(each, times=times)
        for together in store.refusals_between(pool_id, first, last)
        for each in together
        if (times := tuple(at for at in each.times if first <= at < last))
    )
    return [
        Denial(
            who=each.who,
            company_tax_id=names.get(each.company),
            times=tuple(datetime.fromtimestamp(at, UTC) for at in each.times),
            in_use=each.in_use,
            capacity=each.capacity,
        )
        for each in rules.fold(within)
    ]


def _of(customer_id: str, pool_id: str) -> store.PoolState | None:
    state = store.get_pool(pool_id)
    if state is not None and state.pool.customer_id != customer_id:
        raise NotFound
    return state
