"""Seats (C2-C8, C11, C13): lease, heartbeat, close, release, borrow; and the pools that they are in.

A pool follows what it stands for: a license allocated to an installation, or an application of the customer's activation key. Both
are read at most a minute old, and a pool that differs is brought in line by whoever notices.

Deciding about a seat is one read and one conditional write, at any size of a pool. Only where a station's own segment is full, the
others are looked at: some of them first, all of them before anybody is refused.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NoReturn, TypeVar

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from licensing import companies, contract, deployment, identity
from licensing.errors import (
    BorrowingNotAllowed,
    KeyExpired,
    KeyForeignCompany,
    KeyMissing,
    KeyNotYetValid,
    NotFound,
    Refused,
    SeatBorrowed,
    SeatLimitReached,
    SeatLost,
    TemporarilyUnavailable,
)
from licensing.key_ring import ring
from licensing.operations import operation, recording
from licensing.rules import seats as rules
from licensing.rules.activation_keys import key_pool_id
from licensing.rules.entitlements import Entitlement, Phase, Standing
from licensing.rules.operations import ANYONE, Operation, Origin
from licensing.rules.seats import SUPPORT, Ask, Pool, Seated, SeatId, Segment, Who
from licensing.rules.tax_ids import normalize
from licensing.stations import Caller, fresh_standing
from licensing.store import activation_keys
from licensing.store import seats as store
from licensing.store.seats import PoolState
from licensing.store.tables import ConditionFailed

logger = Logger(child=True)
K = TypeVar("K")
T = TypeVar("T")

_CACHED = timedelta(minutes=1)
_MOST_CACHED = 10_000
#: Segments glanced at before all are: together a read unit.
_GLANCE = 8
#: Segments tried before all are looked at (anew).
_DONORS = 3
#: A login storm meets in the same segment often.
_RACES = 12
_SETTLING_RACES = 200
_TAKEN_BACK = 10
LEASE_TYP = "seat-lease+jwt"
LEASE_AUDIENCE = "seat-leases"

_REFUSALS: dict[Phase, tuple[str, str]] = {
    "upcoming": ("NO_LICENSE", "The license has not begun yet."),
    "suspended": ("LICENSE_SUSPENDED", "The license is suspended. Turn to the vendor."),
    "refunded": ("LICENSE_REFUNDED", "The license was refunded."),
    "ended": ("EXPIRED", "The license has ended. Renew it to go on."),
}


@dataclass(slots=True)
class _View:
    """What one look at all segments found, good for the second in which it was taken."""

    second: int
    in_use: int
    retry_after: int
    donors: dict[int, Segment]

    def note(self, segment: Segment | None, index: int, at: int) -> None:
        """Remember how a segment is now."""
        if segment is not None and segment.spare(at):
            self.donors[index] = segment
        else:
            self.donors.pop(index, None)


@dataclass(frozen=True, slots=True)
class _Seen:
    state: PoolState
    in_use: int
    read_at: datetime


_pools: dict[str, _Seen] = {}
_views: dict[str, _View] = {}
_keys: dict[str, tuple[datetime, activation_keys.Imported | None]] = {}
#: When a company, by key and tax id, was last admitted.
_admitted: dict[tuple[str, str], datetime] = {}


def forget() -> None:
    """Read pools, keys and segments anew at their next use."""
    for cache in (_pools, _views, _keys, _admitted):
        cache.clear()


# ── leasing ──


def lease(caller: Caller, body: contract.SeatRequest, now: datetime) -> tuple[contract.SeatAnswer, bool]:
    """Seat a station: on the seat that it holds, on the one that ``share_secret`` opens, or on a free one. Also tells whether
    the seat is a new one. The same request again gives the same seat.

    Raises:
        NotFound: no such pool, or not this caller's.
        KeyMissing, KeyExpired, KeyNotYetValid, Refused: what the pool stands for is not in force.
        KeyForeignCompany, TaxIdInvalid: the company may not use it.
        CompanyLimitReached: the key's quota of companies is used up by others.
        SeatLimitReached: all seats are taken; the refusal is recorded behind the request.
    """
    deployment.require_home_site()
    state = _usable(caller, body.pool_id, now)
    pool = state.pool
    tax_id = normalize(body.company_tax_id)
    at = store.epoch(now)
    who = Who(body.os_user, body.terminal, body.session, body.user_code)
    if pool.key_id:
        _admit(caller, tax_id, who, now)
    elif tax_id not in pool.companies:
        raise KeyForeignCompany(tax_id=tax_id)
    instance = rules.instance(body.module, body.instance)
    ask = Ask(who, rules.company(tax_id), body.module, instance, pool.lease_until(now))

    def attempt() -> tuple[contract.SeatAnswer, bool]:
        if body.share_secret and (shared := _shared(state, body.share_secret, ask, at)):
            return _answer(state, shared, body.share_secret.partition(".")[0], now), False
        station = rules.station(who)
        seated = _seat(state, station, ask, at)
        return _answer(state, seated, station, now), seated.new

    try:
        return _unraced(attempt)
    except SeatLimitReached as refusal:
        _record(pool, who, tax_id, at, refusal)
        raise


def _admit(caller: Caller, tax_id: str, who: Who, now: datetime) -> None:
    current = _key_of(caller.customer_id, now)
    if current is None:
        raise KeyMissing
    key = current.key
    admitted = _admitted.get((key.key_id, tax_id))
    if admitted is not None and abs(now - admitted) < _CACHED:
        return
    companies.admit(key, tax_id, Origin("server", caller.installation_id, who.name), now)
    _make_room(_admitted)
    _admitted[key.key_id, tax_id] = now


def _shared(state: PoolState, secret: str, ask: Ask, at: int) -> Seated | None:
    """A web module that rides on its desktop's seat (C4)."""
    pool_id, station = state.pool.pool_id, secret.partition(".")[0]
    segment = _segment(state, station)
    if station not in segment.live(at) and state.pool.support:
        segment = store.get_support(pool_id)
    if rules.shares(secret, state.secret, segment, at) is None:
        return None
    seated = rules.lease(segment, station, ask, at)
    if seated:
        store.put(pool_id, seated.segment, at)
    return seated


def _seat(state: PoolState, station: str, ask: Ask, at: int) -> Seated:
    pool_id = state.pool.pool_id
    segment = _segment(state, station)
    waits = state.quiet_until - at  # who held a seat goes on, nobody else comes in
    apart = None
    if state.pool.support and state.pool.is_support(ask.who) and station not in segment.live(at):
        apart = store.get_support(pool_id)
        place = rules.lease(apart, station, ask, at)
        if place and not (place.new and waits > 0):
            logger.info("support_access", pool_id=pool_id, user=ask.who.name, new=place.new)
            if place.new:
                store.put_seats(pool_id, [place.segment], at, apart=segment)
            else:
                store.put(pool_id, place.segment, at)
            return place
    seated = rules.lease(segment, station, ask, at)
    if seated and not seated.new:
        store.put(pool_id, seated.segment, at)
        return seated
    if waits > 0:
        raise TemporarilyUnavailable(retry_after=waits)
    if seated:
        try:
            store.put_seats(pool_id, [seated.segment], at, apart)
            return seated
        except store.InDebt:
            _pay(state, at)
    return _seat_from_elsewhere(state, segment, station, ask, at, apart)


def _seat_from_elsewhere(
    state: PoolState, own: Segment, station: str, ask: Ask, at: int, apart: Segment | None
) -> Seated:
    """The station's segment is full: take a free seat of another, or refuse."""
    pool_id = state.pool.pool_id
    if own.bits == 0:
        raise _refusal(state, _view([own], at))
    wider = rules.lease(replace(own, quota=own.quota + 1), station, ask, at)
    assert wider is not None  # noqa: S101  there is room for one more than are there

    def took(donor: Segment) -> bool:
        given = rules.take_from(donor, at)
        if given is None:
            return False
        try:
            store.put_seats(pool_id, [given, wider.segment], at, apart)
        except store.InDebt:
            _pay(state, at)
        except ConditionFailed as error:
            if error.failed != {0}:
                raise  # our own segment changed: think again
            return False
        return True

    # Seen in this second by this process: what was free then may be gone, so each is looked at before it is asked for a seat.
    view = _views.get(pool_id)
    if view is None or view.second != at:
        view = None
        if 1 << own.bits > _GLANCE:
            glanced = rules.donors(store.neighbours(pool_id, own.index, _GLANCE), at, but=own.index)
            if any(took(donor) for donor in _from(glanced, station)[:_DONORS]):
                return wider
            hint = _from([each for each in store.get_free(pool_id) if each != own.index], station)
            if hint and (donor := store.get_segment(pool_id, hint[0], consistent=False)) and took(donor):
                return wider
    fresh = view is None
    stale = 0
    view = view or _look(pool_id, at)
    for _ in range(_RACES * _DONORS):
        others = [each for each in view.donors.values() if each.index != own.index]
        if not others:
            raise _refusal(state, view)
        donor = _from(others, station)[0]
        if not fresh:
            seen = store.get_segment(pool_id, donor.index)
            view.note(seen, donor.index, at)
            if seen is None or not seen.spare(at):
                stale += 1
                if stale == _DONORS:
                    view, fresh = _look(pool_id, at, anew=True), True
                continue
            donor = seen
        done = took(donor)
        # What others took in the meantime is seen by looking at that segment again; only what is full is given up.
        view.note(store.get_segment(pool_id, donor.index) if not done else _after_giving(donor, at), donor.index, at)
        if done:
            view.in_use += 1
            return wider
    raise TemporarilyUnavailable(retry_after=1)


def _after_giving(donor: Segment, at: int) -> Segment | None:
    given = rules.take_from(donor, at)
    return replace(given, version=given.version + 1) if given else None


def _from(donors: Sequence[T], station: str) -> list[T]:
    """The same, beginning where the station's hash says: a crowd must not storm the same donor."""
    start = rules.place(station, 16) % len(donors) if donors else 0
    return [*donors[start:], *donors[:start]]


def _look(pool_id: str, at: int, *, anew: bool = False) -> _View:
    """All segments, looked at once a second at most: a crowd before a full pool must not read it over and over."""
    view = _views.get(pool_id)
    if anew or view is None or view.second != at:
        _make_room(_views)
        view = _views[pool_id] = _view(store.segments(pool_id), at)
    return view


def _view(segments: Sequence[Segment], at: int) -> _View:
    donors = {each.index: each for each in rules.donors(segments, at, but=SUPPORT)}
    return _View(at, rules.in_use(segments, at), rules.retry_after(segments, at), donors)


def _refusal(state: PoolState, view: _View) -> SeatLimitReached:
    return SeatLimitReached(in_use=view.in_use, capacity=state.pool.capacity, retry_after=view.retry_after)


def _pay(state: PoolState, at: int) -> NoReturn:
    """A free seat belongs to a pool in debt: give back what is free, and think again if the debt is paid by that."""
    pool_id = state.pool.pool_id
    fresh = store.get_pool(pool_id)
    _views.pop(pool_id, None)
    if fresh is not None and fresh.undealt < 0:
        segments = store.segments(pool_id)
        if _take_back(fresh, [each for each in segments if each.spare(at)], at).undealt < 0:
            raise _refusal(state, _look(pool_id, at))
    raise ConditionFailed


def _record(pool: Pool, who: Who, tax_id: str, at: int, refusal: SeatLimitReached) -> None:
    """Hand a refusal over to be recorded behind the request (F5). Trouble there is no trouble of the station's."""
    message = {
        "pool_id": pool.pool_id,
        "station": rules.station(who),
        "who": who,
        "company": rules.company(tax_id),
        "at": at,
        "in_use": refusal.members["in_use"],
        "capacity": refusal.members["capacity"],
    }
    try:
        deployment.aws_client("sqs").send_message(
            QueueUrl=deployment.denial_queue_url(), MessageBody=json.dumps(message, ensure_ascii=False)
        )
    except (ClientError, BotoCoreError) as error:
        logger.warning("denial_not_recorded", pool_id=pool.pool_id, error=type(error).__name__)


# ── a seat that is held ──


def heartbeat(
    caller: Caller, seat: str, module: str | None, instance: str | None, now: datetime
) -> contract.SeatAnswer:
    """Extend a seat's lease, and that of a module instance on it. A borrowed seat keeps its end; one of a company that the key
    does not name any more is over.

    Raises SeatLost once the lease has ended or somebody released it; a heartbeat never revives. Further as ``lease``.
    """
    deployment.require_home_site()
    state = _usable(caller, rules.pool_of(seat), now)
    named = _named(state, seat)
    pool_id, at, until = state.pool.pool_id, store.epoch(now), state.pool.lease_until(now)
    which = rules.instance(module, instance or "") if module else ""
    index = SUPPORT if named.support else rules.place(named.station, state.bits)

    def looking() -> Segment:
        segment = _segment_of(state, named)
        entry = rules.holding(segment, named.station, named.generation, at)
        if entry is None:
            raise SeatLost
        if entry.borrowed:
            return segment
        renewed = rules.renew(segment, named.station, until, at, which)
        store.put(pool_id, renewed, at)
        return renewed

    try:
        segment = store.renew(pool_id, index, named, until, at, which, module or "")
    except ConditionFailed:
        segment = _unraced(looking)
    entry = segment.entries[named.station]
    if entry.company not in {rules.company(tax_id) for tax_id in state.pool.companies}:
        if not entry.borrowed:
            _close(state, named, "", now)
        raise KeyForeignCompany(tax_id="of this seat")
    return _answer(state, Seated(segment, entry, False), named.station, now)


def close(caller: Caller, seat: str, module: str | None, instance: str | None, now: datetime) -> None:
    """Close one module instance of a seat, or the whole of it without one. The last one frees the seat. Again, or late, it
    changes nothing: a seat id never touches a later lease.

    Raises NotFound, SeatBorrowed.
    """
    deployment.require_home_site()
    state = _owned(caller, rules.pool_of(seat), now)
    named = _named(state, seat)
    _close(state, named, rules.instance(module, instance or "") if module else "", now)


def _close(state: PoolState, named: SeatId, which: str, now: datetime) -> bool:
    """Returns whether there was something to close."""
    pool_id, at = state.pool.pool_id, store.epoch(now)
    index = SUPPORT if named.support else rules.place(named.station, state.bits)

    def looking() -> bool:
        segment = _segment_of(state, named)
        entry = rules.holding(segment, named.station, named.generation, at)
        if entry is not None and entry.borrowed:
            raise SeatBorrowed(until=_time(entry.until).isoformat())
        after = rules.close(segment, named.station, named.generation, which or None, at)
        if after is None:
            return False
        store.put(pool_id, after, at)
        return True

    try:
        store.release(pool_id, index, named, at, which)
        done = True
    except ConditionFailed:
        done = _unraced(looking)
    _views.pop(pool_id, None)  # what this process knows of it
    return done


def force_release(customer_id: str, pool_id: str, seat: str, by: Origin, now: datetime) -> None:
    """Free a seat whoever holds it (C7). A seat that has ended already is no error.

    Raises NotFound (also for another customer's pool), SeatBorrowed.
    """
    deployment.require_home_site()
    state, at = _pool_of(customer_id, pool_id, now), store.epoch(now)
    named = _named(state, seat)

    def attempt() -> None:
        segment = _segment_of(state, named)
        entry = rules.holding(segment, named.station, named.generation, at)
        if entry is None:
            return
        if entry.borrowed:
            raise SeatBorrowed(until=_time(entry.until).isoformat())
        after = rules.close(segment, named.station, named.generation, None, at)
        told = operation(
            customer_id, by, "seat.released", now, pool_id, user=entry.who.name,
            terminal=entry.who.terminal, session=entry.who.session,
        )  # fmt: skip
        if after:
            store.put(pool_id, after, at, recording(told))

    _unraced(attempt)
    _views.pop(pool_id, None)


def borrow(caller: Caller, seat: str, days: int, now: datetime, by: Origin = ANYONE) -> contract.BorrowAnswer:
    """Take a seat offline for some days, never past the end of its pool (C13): it counts until it is returned or ends, and
    nobody can release it. Again, it gives the same end.

    Raises BorrowingNotAllowed, SeatLost, and as ``lease``.
    """
    deployment.require_home_site()
    state = _usable(caller, rules.pool_of(seat), now)
    named, pool, at = _named(state, seat), state.pool, store.epoch(now)
    if days > pool.borrow_days or named.support:
        raise BorrowingNotAllowed(max_days=0 if named.support else pool.borrow_days)

    def attempt() -> rules.Entry:
        segment = _segment_of(state, named)
        entry = rules.holding(segment, named.station, named.generation, at)
        if entry is None:
            raise SeatLost
        after = rules.borrow(segment, named.station, named.generation, pool.borrowed_until(now, days), at)
        if after is None:
            return entry
        entry = after.entries[named.station]
        told = _of_seat(pool, entry, "seat.borrowed", caller, by, now, until=_time(entry.until).isoformat())
        store.put(pool.pool_id, after, at, recording(told))
        return entry

    entry = _unraced(attempt)
    claims = {
        "iss": deployment.issuer(),
        "aud": LEASE_AUDIENCE,
        "sub": seat,
        "jti": f"{seat}.{entry.until}",
        "iat": at,
        "nbf": at,
        "exp": entry.until,
        "cus": pool.customer_id,
        "ins": caller.installation_id,
        "pool": pool.pool_id,
        "application": pool.application,
        "station": dict(zip(Who._fields, entry.who, strict=True)),
    }
    return contract.BorrowAnswer(
        seat_id=seat, borrowed_until=_time(entry.until), lease=ring.sign("seat", LEASE_TYP, claims, now)
    )


def give_back(caller: Caller, seat: str, now: datetime, by: Origin = ANYONE) -> contract.ReturnAnswer:
    """Return a borrowed seat before its end: it is free at once. Again, or late, it changes nothing. Raises NotFound."""
    deployment.require_home_site()
    state = _owned(caller, rules.pool_of(seat), now)
    named, at = _named(state, seat), store.epoch(now)

    def attempt() -> None:
        segment = _segment_of(state, named)
        entry = rules.holding(segment, named.station, named.generation, at)
        after = rules.close(segment, named.station, named.generation, None, at)
        if after:
            borrowed = entry is not None and entry.borrowed
            told = _of_seat(state.pool, entry, "seat.returned", caller, by, now) if entry and borrowed else None
            store.put(state.pool.pool_id, after, at, recording(told) if told else None)

    _unraced(attempt)
    _views.pop(state.pool.pool_id, None)
    return contract.ReturnAnswer(seat_id=seat)


def _of_seat(
    pool: Pool, entry: rules.Entry, action: str, caller: Caller, by: Origin, now: datetime, **details: str
) -> Operation:
    who = entry.who
    server = by.as_server(caller.installation_id, who.name)
    return operation(
        pool.customer_id, server, action, now, pool.pool_id, application=pool.application, terminal=who.terminal,
        session=who.session, **details,
    )  # fmt: skip


def _named(state: PoolState, seat: str) -> SeatId:
    named = rules.read_seat_id(seat, state.pool.pool_id, state.secret)
    if named is None:
        raise NotFound
    return named


def _segment_of(state: PoolState, named: SeatId) -> Segment:
    return store.get_support(state.pool.pool_id) if named.support else _segment(state, named.station)


def _segment(state: PoolState, station: str) -> Segment:
    """The segment that a station lives in, also while the pool is being divided anew."""
    depth = state.bits
    for _ in range(2 * depth + 4):
        segment = store.get_segment(state.pool.pool_id, rules.place(station, depth))
        if segment is None:
            depth -= 1
        elif rules.place(station, segment.bits) == segment.index:
            return segment
        else:
            depth = segment.bits
        if depth < 0:
            break
    raise TemporarilyUnavailable


def _answer(state: PoolState, seated: Seated, station: str, now: datetime) -> contract.SeatAnswer:
    pool, entry = state.pool, seated.entry
    seat = SeatId(station, entry.generation, seated.segment.index == SUPPORT)
    at = store.epoch(now)
    seen = _pools.get(pool.pool_id)
    here = len(seated.segment.live(at))
    # Exact for a pool of one segment; else as it was found when somebody looked last, at most about a minute ago.
    used = here if seated.segment.bits == 0 and not seat.support else max(here, seen.in_use if seen else 0)
    left = pool.days_left(now)
    code, what = ("KEY_EXPIRING", "activation key") if pool.key_id else ("LICENSE_EXPIRING", "license")
    when = {0: "today", 1: "tomorrow"}.get(left or 0, f"in {left} days, on {pool.last_day}")
    warnings = [] if left is None else [contract.Warning(code=code, days_left=left, detail=f"The {what} ends {when}.")]
    return contract.SeatAnswer(
        seat_id=rules.seat_id(pool.pool_id, state.secret, seat),
        lease_until=_time(entry.until),
        lease_seconds=max(0, int(entry.until - now.timestamp())),
        in_use=used,
        capacity=pool.capacity,
        share_secret=rules.share_secret(state.secret, station, entry.generation),
        support=seat.support,
        borrowed=entry.borrowed,
        warnings=warnings,
    )


def _time(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def _unraced(attempt: Callable[[], T], races: int = _RACES) -> T:
    for _ in range(races):
        try:
            return attempt()
        except ConditionFailed:
            continue
    raise TemporarilyUnavailable(retry_after=1)


# ── which pool, and is it as it should be ──


def pool_ids(caller: Caller, now: datetime, application: str | None = None) -> list[contract.PoolName]:
    """The pools that a caller may ask, by application; those of one application where it is named.

    Raises KeyMissing where it has none, since there is no activation key.
    """
    found = [
        contract.PoolName(pool_id=each.pool_id, application=each.application)
        for each in caller.standing.entitlements
        if each.pool_id and each.phase(caller.standing.today(now)) == "in_force"
    ]
    imported = _key_of(caller.customer_id, now)
    of_key = imported.key.pools() if imported else []
    found += [contract.PoolName(pool_id=each.pool_id, application=each.application) for each in of_key]
    if application is not None:
        found = [each for each in found if each.application == application]
        if not found and imported is None:
            raise KeyMissing
    return sorted(found, key=lambda each: (each.application, each.pool_id))


def _usable(caller: Caller, pool_id: str, now: datetime) -> PoolState:
    """The pool, if what it stands for is in force. Raises as ``lease``."""
    seen = _seen(pool_id, now)
    wanted = _wanted(caller.standing, _key_of(caller.customer_id, now), pool_id, seen)
    if wanted is None:
        state = _owned(caller, pool_id, now)
        if state.pool.key_id and _key_of(caller.customer_id, now) is None:
            raise KeyMissing
        raise NotFound
    if not wanted.key_id:
        _require_in_force(caller.standing, pool_id, now)
    phase = wanted.phase(now)
    if phase == "ended":
        raise KeyExpired(last_day=str(wanted.last_day))
    if phase == "upcoming":
        raise KeyNotYetValid(first_day=str(wanted.first_day))
    here = seen is not None and seen.home == deployment.site()
    if seen is not None and here and not seen.unsettled and seen.pool == _as_kept(wanted, seen.pool):
        return seen

    # Something changed, here or there: which of both is older tells only a fresh look at both, the pool first.
    def follow() -> PoolState:
        state = store.get_pool(pool_id)
        fresh = _wanted(fresh_standing(caller), activation_keys.current(caller.customer_id), pool_id, state)
        if fresh is None:
            raise NotFound
        if state is not None and state.home != deployment.site():
            state = _take_over(state, now)
        return _configure(state, fresh, now)

    state = _unraced(follow)
    if state.unsettled:
        settle(pool_id, now)
    return _read(pool_id, now)


def _require_in_force(standing: Standing, pool_id: str, now: datetime) -> None:
    entitlement = _entitlement(standing, pool_id)
    phase = entitlement.phase(standing.today(now)) if entitlement else "ended"
    if phase in _REFUSALS:
        raise Refused(*_REFUSALS[phase])


def _entitlement(standing: Standing, pool_id: str) -> Entitlement | None:
    return next((each for each in standing.entitlements if each.pool_id == pool_id), None)


def _wanted(
    standing: Standing, imported: activation_keys.Imported | None, pool_id: str, kept: PoolState | None
) -> Pool | None:
    """The pool as the license or the key says that it should be; None where neither has one. One that an earlier key named
    offers nothing any more: who is in may finish.
    """
    if entitlement := _entitlement(standing, pool_id):
        return license_pool(standing, entitlement, pool_id)
    if imported is None:
        return None
    applications = [*imported.key.concurrent, *([kept.pool.application] if kept and kept.pool.key_id else [])]
    names = {key_pool_id(standing.customer_id, application): application for application in applications}
    return imported.key.pool(names[pool_id]) if pool_id in names else None


def license_pool(standing: Standing, entitlement: Entitlement, pool_id: str) -> Pool:
    """The pool of a license on an installation, as the license says that it should be."""
    return Pool(
        pool_id=pool_id,
        customer_id=standing.customer_id,
        application=entitlement.application,
        capacity=entitlement.quantity,
        companies={standing.tax_id: standing.customer_name},
        time_zone=standing.customer_time_zone,
        first_day=entitlement.first_day,
        last_day=entitlement.last_day,
        installation_id=standing.installation_id,
    )


def _as_kept(wanted: Pool, kept: Pool) -> Pool:
    """The same with what a license says nothing about, and ``set_lease_seconds`` may have."""
    wanted = replace(wanted, capacity=min(wanted.capacity, rules.MOST_SEATS))
    if wanted.key_id:
        return wanted
    return replace(wanted, lease_seconds=kept.lease_seconds, borrow_days=kept.borrow_days)


def _owned(caller: Caller, pool_id: str, now: datetime) -> PoolState:
    """The pool as it is, if it is the caller's. Raises NotFound."""
    state = _pool_of(caller.customer_id, pool_id, now)
    if state.pool.installation_id not in ("", caller.installation_id):
        raise NotFound
    return state


def _pool_of(customer_id: str, pool_id: str, now: datetime) -> PoolState:
    state = _seen(pool_id, now)
    if state is None or state.pool.customer_id != customer_id:
        raise NotFound
    return state


def _seen(pool_id: str, now: datetime) -> PoolState | None:
    seen = _pools.get(pool_id)
    if seen is not None and abs(now - seen.read_at) < _CACHED:
        return seen.state
    try:
        return _read(pool_id, now)
    except NotFound:
        return None


def _read(pool_id: str, now: datetime) -> PoolState:
    state = store.get_pool(pool_id)
    if state is None:
        raise NotFound
    use = store.get_use(pool_id)
    _make_room(_pools)
    _pools[pool_id] = _Seen(state, use.in_use if use else 0, now)
    return state


def _key_of(customer_id: str, now: datetime) -> activation_keys.Imported | None:
    known = _keys.get(customer_id)
    if known is None or abs(now - known[0]) >= _CACHED:
        _make_room(_keys)
        known = _keys[customer_id] = now, activation_keys.current(customer_id)
    return known[1]


def _make_room(cache: dict[K, T]) -> None:
    if len(cache) >= _MOST_CACHED:
        cache.clear()


# ── changing a pool ──


def open_pool(pool: Pool, now: datetime) -> None:
    """Make a pool, or bring it in line with new terms: it grows at once; reduced, present holders finish, and nobody is seated
    until use is below the new capacity (C5). Interrupted, a repeat completes it, as does whoever uses the pool next.
    """

    def attempt() -> None:
        state = store.get_pool(pool.pool_id)
        # Read after the pool: another key may have been imported since ours was, and its pool must not go back.
        imported = activation_keys.current(pool.customer_id) if pool.key_id else None
        _configure(state, imported.key.pool(pool.application) if imported else pool, now)

    _unraced(attempt)
    settle(pool.pool_id, now)


def set_lease_seconds(customer_id: str, pool_id: str, seconds: int, by: Origin, now: datetime) -> None:
    """Change how long a lease lasts without a heartbeat: 60 seconds to a day; for pools of a license. Raises NotFound."""

    def attempt() -> None:
        state = store.get_pool(pool_id)
        if state is None or state.pool.customer_id != customer_id:
            raise NotFound
        bounded = max(rules.SHORTEST_LEASE, min(rules.LONGEST_LEASE, seconds))
        if state.pool.lease_seconds == bounded:
            return
        told = operation(customer_id, by, "pool.lease_time_changed", now, pool_id, seconds=bounded)
        store.put_pool(replace(state, pool=replace(state.pool, lease_seconds=bounded)), recording(told))

    _unraced(attempt)
    _pools.pop(pool_id, None)


def _configure(state: PoolState | None, wanted: Pool, now: datetime) -> PoolState:
    """Write a pool's terms, if they differ; what is then to be dealt out or taken back is for ``settle``."""
    pool = _as_kept(wanted, state.pool if state else wanted)
    capacity = pool.capacity
    bits = rules.bits_for(capacity)
    if state is None:
        made = PoolState(pool, identity.new_secret(), deployment.site(), bits, undealt=capacity, unsettled=True)
        store.put_pool(made)
        try:
            store.put_use(pool.pool_id, store.Use(since=store.epoch(now), looked_from=store.epoch(now)))
        except ConditionFailed:
            logger.info("use_known", pool_id=pool.pool_id)
        return made
    grown = capacity - state.pool.capacity
    after = replace(
        state,
        pool=pool,
        bits=max(bits, state.bits),
        undealt=state.undealt + grown,
        unsettled=state.unsettled or grown != 0 or bits > state.bits,
    )
    if after != state:
        store.put_pool(after)
        logger.info("pool_changed", pool_id=pool.pool_id, capacity=capacity, before=state.pool.capacity)
    return after


def _take_over(state: PoolState, now: datetime) -> PoolState:
    """Give a pool's seats out at this site from now on, after the other one failed: returns the pool as it was written.

    What the other site did in its last seconds may be missing here, in part or in whole: a transaction is replicated item by item.
    So nobody new is seated for as long as a lease lasts: by then whoever holds a seat that is not seen here has lost it, or
    has been heard of. The quotas are added up anew; and since the last writer wins, every segment is written, lest
    something of the other site's arrives late. Raises ConditionFailed where another process took over.
    """
    pool, at = state.pool, store.epoch(now)
    pool_id = pool.pool_id
    found = [*store.segments(pool_id), *([store.get_support(pool_id)] if pool.support else [])]
    for part in _parts(found, store.PART):
        left = list(part)
        while left:
            try:
                store.put_part(pool_id, left, at)
                break
            except ConditionFailed as error:  # those somebody wrote at this site
                left = [each for place, each in enumerate(left) if place not in error.failed]
    undealt = pool.capacity - sum(each.quota for each in store.segments(pool_id))
    taken = replace(state, home=deployment.site(), quiet_until=at + pool.lease_seconds, undealt=undealt, unsettled=True)
    store.put_pool(taken)
    logger.warning("pool_taken_over", pool_id=pool_id, undealt=undealt, before=state.undealt)
    return replace(taken, version=taken.version + 1)


def settle(pool_id: str, now: datetime) -> None:
    """Bring a pool's segments in line with its capacity: make and divide segments, deal out quota, or take it back.

    Each step is a transaction of its own that keeps the sum; whoever is interrupted leaves something that a repeat completes.
    Raises TemporarilyUnavailable where others keep coming in between.
    """
    at = store.epoch(now)

    def attempt() -> None:
        state = store.get_pool(pool_id)
        if state is None or not state.unsettled:
            return
        _divide(state, at)
        segments = store.segments(pool_id)
        if state.undealt > 0:
            state = _deal(state, segments, at)
        elif state.undealt < 0:
            state = _take_back(state, segments, at)
        store.put_pool(replace(state, unsettled=False))

    _unraced(attempt, _SETTLING_RACES)
    _pools.pop(pool_id, None)
    _views.pop(pool_id, None)


def _divide(state: PoolState, at: int) -> None:
    pool_id = state.pool.pool_id
    segments = store.segments(pool_id)
    new = [Segment(index, state.bits) for index in rules.missing(segments, state.bits)]
    for part in _parts(new, store.PART):
        store.put_part(pool_id, part, at)
    while coarse := [each for each in segments if each.bits < state.bits]:
        for each in coarse:
            store.put_split(pool_id, *rules.split(each, at), at)
        segments = store.segments(pool_id)


def _deal(state: PoolState, segments: Sequence[Segment], at: int) -> PoolState:
    by_index = {each.index: each for each in segments}
    gains = rules.deal({each.index: each.quota for each in segments}, state.undealt)
    for part in _parts([(by_index[index], gain) for index, gain in gains.items()], store.PART):
        state = replace(state, undealt=state.undealt - sum(gain for _, gain in part))
        store.deal(state, part, at)
        state = replace(state, version=state.version + 1)
    return state


def _take_back(state: PoolState, segments: Sequence[Segment], at: int) -> PoolState:
    """Take back what is free, and guard every segment while there is a debt."""
    for part in _parts(sorted(segments, key=lambda each: -each.spare(at)), _TAKEN_BACK):
        if state.undealt >= 0:
            break
        changed, debt = [], -state.undealt
        for each in part:
            count = min(each.spare(at), debt)
            debt -= count
            changed.append(replace(each, quota=each.quota - count, entries=each.live(at), guarded=True))
        state = replace(state, undealt=-debt)
        if any(before != after for before, after in zip(part, changed, strict=True)):
            store.take_back(state, changed, at)
            state = replace(state, version=state.version + 1)
    return state


def _parts(things: Sequence[T], size: int) -> list[Sequence[T]]:
    return [things[start : start + size] for start in range(0, len(things), size)]


# ── looking at a pool ──


def state_of(customer_id: str, pool_id: str, now: datetime) -> contract.PoolAnswer:
    """How a pool stands (C12): exact at the moment of the look. Raises NotFound, also for another customer's pool."""
    pool, at = _pool_of(customer_id, pool_id, now).pool, store.epoch(now)
    segments = store.segments(pool_id)
    used = rules.in_use(segments, at)
    use = store.get_use(pool_id) or store.Use()
    return contract.PoolAnswer(
        pool_id=pool_id,
        application=pool.application,
        capacity=pool.capacity,
        in_use=used,
        support_in_use=len(store.get_support(pool_id).live(at)) if pool.support else 0,
        peak=max(use.peak, used),
        peak_since=_time(use.since),
        valid_from=pool.first_day,
        valid_until=pool.last_day,
        days_left=pool.days_left(now),
        lease_seconds=pool.lease_seconds,
    )


def live(customer_id: str, pool_id: str, now: datetime, *, with_ids: bool) -> list[contract.SeatRow]:
    """The live view (C7): each row one seat, support users apart at the end. ``with_ids``: with what releasing one takes.

    Raises NotFound.
    """
    state = _pool_of(customer_id, pool_id, now)
    at = store.epoch(now)
    segments = store.segments(pool_id)
    if state.pool.support:
        segments.append(store.get_support(pool_id))
    names = {rules.company(tax_id): tax_id for tax_id in state.pool.companies}
    return [
        contract.SeatRow(
            seat_id=rules.seat_id(pool_id, state.secret, row.seat) if with_ids else None,
            os_user=row.who.os_user,
            terminal=row.who.terminal,
            session=row.who.session,
            user_code=row.who.user_code,
            company_tax_id=names.get(row.company),
            modules=list(row.modules),
            since=_time(row.since),
            lease_until=_time(row.until),
            support=row.seat.support,
            borrowed=row.borrowed,
            several_sessions=row.several_sessions,
        )
        for row in rules.rows(segments, at)
    ]


def owned_pool(caller: Caller, pool_id: str, now: datetime) -> str:
    """The same id, if the pool is the caller's: it may be looked at also when it is not in force, and before its first lease.

    Raises NotFound.
    """
    try:
        return _usable(caller, pool_id, now).pool.pool_id
    except (KeyExpired, KeyMissing, KeyNotYetValid, Refused):
        return _owned(caller, pool_id, now).pool.pool_id
