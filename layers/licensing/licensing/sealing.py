"""Seals of the operation log (F6): each day of a customer's is closed by a signature that names the day before it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger

from licensing import deployment, identity
from licensing.key_ring import ring
from licensing.operations import operation, record_in
from licensing.rules import seals as rules
from licensing.rules.operations import Origin
from licensing.rules.seals import Finding
from licensing.store import operations, seal_copies, seals, tables

logger = Logger(child=True)

_SEAL_TYP, _TOMBSTONE_TYP = "seal+jwt", "tombstone+jwt"
#: Between a day's seal and the head's word for it somebody may die, and be tried again.
_UNDER_WAY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Verification:
    """What a look at a range of sealed days found. ``open_from`` is the first day that is not sealed yet.

    ``erased`` counts entries whose personal part was erased, which a seal allows. ``next_from`` is where to go on, where the
    range was more than one look may take.
    """

    days: int = 0
    cut: int = 0
    entries: int = 0
    erased: int = 0
    open_from: date | None = None
    next_from: date | None = None
    findings: tuple[Finding, ...] = field(default=())


def days(first: date, last: date) -> Iterator[date]:
    """The days from one to another, both included."""
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def first_open_day(customer_id: str, head: seals.Head) -> date:
    """The first day that is not sealed: at the earliest the one on which the customer's id was made."""
    if head.sealed_through:
        return head.sealed_through + timedelta(days=1)
    return identity.made_at(customer_id).date()


def seal_next(customer_id: str, now: datetime) -> bool:
    """Seal the oldest day that has entries, ended 48 hours ago, and is open; False where there is none.

    Dying anywhere in it loses nothing, and doing it twice at once does it once: entries of such a day change no more, so the leaves
    come out the same, and the first seal stays. A day that has a seal, or a copy of one, is never sealed anew, whatever the head
    says: what was altered since must go on not fitting.
    """
    head, last = seals.head(customer_id), rules.last_sealable(now)
    first = first_open_day(customer_id, head)
    if first > last:
        return False
    sealed = {seal.day: seal.jws for seal in seals.seals(customer_id, first, last)}
    copies = seal_copies.since(customer_id, first)
    for day in days(first, last):
        jws = sealed.get(str(day)) or _restored(customer_id, day, copies.get(str(day)), now)
        if jws:
            if str(day) not in copies:
                seal_copies.put(customer_id, day, jws)
            seals.move_head(customer_id, head, day, (str(day), rules.digest(jws)))
            return True
        leaves = {each.entry.place: rules.leaf(each.entry) for each in operations.page(customer_id, day)}
        if leaves:
            jws = _seal(customer_id, day, leaves, head.newest, now)
            seal_copies.put(customer_id, day, jws)
            seals.move_head(customer_id, head, day, (str(day), rules.digest(jws)))
            return True
    seals.move_head(customer_id, head, last, None)
    return False


def _restored(customer_id: str, day: date, copy: seal_copies.Copy | None, now: datetime) -> str | None:
    """The seal of a day whose copy only is left, put back; None where there is none, or none of ours."""
    jws = copy.read() if copy else ""
    claims = _claims(customer_id, str(day), jws, now)
    if claims is None:
        return None
    logger.warning("seal_restored", customer_id=customer_id, day=str(day))
    seals.restore(customer_id, day, jws, claims["count"])
    return jws


def _claims(customer_id: str, day: str, jws: str, now: datetime) -> dict[str, Any] | None:
    """What a seal says, if it is this customer's of this day."""
    claims = ring.read("seal", _SEAL_TYP, jws, now)
    return claims if claims and (claims.get("sub"), claims.get("day")) == (customer_id, day) else None


def _seal(customer_id: str, day: date, leaves: dict[str, str], before: tuple[str, str] | None, now: datetime) -> str:
    previous_day, previous = before or (None, None)
    claims = {
        "iss": deployment.issuer(),
        "sub": customer_id,
        "iat": int(now.timestamp()),
        "day": str(day),
        "count": len(leaves),
        "root": rules.root([leaf for _, leaf in sorted(leaves.items())]),
        "previous_day": previous_day,
        "previous": previous,
    }
    jws = ring.sign("seal", _SEAL_TYP, claims, now)
    with suppress(tables.ConditionFailed):
        seals.put(customer_id, day, jws, leaves)
        return jws
    sealed = seals.get(customer_id, day)
    if sealed is None:
        raise tables.ConditionFailed
    return sealed.jws


def signed_count(customer_id: str, seal: seals.Seal, now: datetime) -> int:
    """How many entries a day had when it was sealed; what its item says, where its seal does not hold."""
    claims = _claims(customer_id, seal.day, seal.jws, now)
    return claims["count"] if claims else seal.count


def tombstone(customer_id: str, seal: seals.Seal, kept_days: int, now: datetime) -> str:
    """What is left of a sealed day that retention cut: signed, so that nobody else's deletion looks lawful."""
    claims = {
        "iss": deployment.issuer(),
        "sub": customer_id,
        "iat": int(now.timestamp()),
        "day": seal.day,
        "seal": rules.digest(seal.jws),
        "retention_days": kept_days,
    }
    return ring.sign("seal", _TOMBSTONE_TYP, claims, now)


def verify(
    customer_id: str,
    first: date,
    last: date,
    now: datetime,
    *,
    most_days: int | None = None,
    most_entries: int | None = None,
) -> Verification:
    """Whether anything of these days (UTC) was altered, removed or added since they were sealed, and where.

    Reads every entry of the range. Days that are not sealed yet are not looked at. With bounds it stops after so many days,
    or before the day at which it has read so many entries, and says where to go on.
    """
    head, made_on = seals.head(customer_id), identity.made_at(customer_id).date()
    by_head = first_open_day(customer_id, head)
    first = max(first, made_on)
    found = {seal.day: seal for seal in seals.seals(customer_id)}
    copies = seal_copies.since(customer_id, min(first, by_head))
    beyond = _sealed_beyond(customer_id, by_head, found, copies, now)
    open_from = beyond.through + timedelta(days=1) if beyond else by_head
    wanted = last = min(last, open_from - timedelta(days=1))
    if most_days is not None and first <= last:
        last = min(last, first + timedelta(days=most_days - 1))
    findings: list[Finding] = []
    if beyond and not beyond.under_way:
        findings.append(Finding(beyond.first, "head_behind"))
    entries = erased = cut = 0
    before: tuple[str, str] | None = None
    newest: tuple[str, str] | None = None
    for day, seal in found.items():
        if str(first) <= day <= str(last):
            claims = ring.read("seal", _SEAL_TYP, seal.jws, now)
            if claims is None or claims.get("sub") != customer_id:
                findings.append(Finding(day, "seal_altered"))
            elif not rules.chained(day, claims, before):
                findings.append(Finding(day, "chain_broken"))
        before = day, rules.digest(seal.jws)
        newest = before if day < str(by_head) else newest
    missing: dict[str, dict[str, Any]] = {}
    for day, copy in copies.items():
        if not str(first) <= day <= str(last):
            continue
        text = copy.read()
        if day not in found:
            findings.append(Finding(day, "seal_missing"))
            missing[day] = _claims(customer_id, day, text, now) or {}
        elif found[day].jws != text:
            findings.append(Finding(day, "seal_altered"))
    if last >= by_head - timedelta(days=1) and newest != head.newest:
        findings.append(Finding(head.newest[0] if head.newest else str(last), "seal_missing"))
    for each in days(first, last):
        if most_entries is not None and entries >= most_entries:
            last = each - timedelta(days=1)
            break
        strays: list[rules.Entry] = []
        there = [*(stored.entry for stored in operations.page(customer_id, each, strays=strays)), *strays]
        day, seal_of_day = str(each), found.get(str(each))
        sealed: dict[str, str] = {}
        if seal_of_day and seal_of_day.tombstone is not None:
            cut += 1
            findings += _untrue_tombstone(customer_id, seal_of_day, now)
        elif seal_of_day:
            sealed = seals.leaves(customer_id, each)
            claims = ring.read("seal", _SEAL_TYP, seal_of_day.jws, now) or {}
            if rules.root([leaf for _, leaf in sorted(sealed.items())]) != claims.get("root"):
                findings.append(Finding(day, "seal_altered"))
        elif day in missing:  # its copy says whether the leaves are still those that were sealed
            left = seals.leaves(customer_id, each)
            if rules.root([leaf for _, leaf in sorted(left.items())]) == missing[day].get("root"):
                sealed = left
        findings += rules.differences(day, sealed, there)
        entries += len(there)
        erased += sum(entry.personal_hash is not None and entry.personal is None for entry in there)
    seen = sum(str(first) <= day <= str(last) for day in found)
    next_from = last + timedelta(days=1) if last < wanted else None
    ordered = sorted(
        {each for each in findings if each.day <= str(last)},
        key=lambda each: (each.day, each.fault, each.operation_id),
    )
    return Verification(seen, cut, entries, erased, open_from, next_from, tuple(ordered))


@dataclass(frozen=True, slots=True)
class _Beyond:
    """Signed seals of days that the head takes for open: from which day (ISO), and through which.

    ``under_way``: so new that the sealing may only be about to move the head.
    """

    first: str
    through: date
    under_way: bool


def _sealed_beyond(
    customer_id: str,
    by_head: date,
    found: Mapping[str, seals.Seal],
    copies: Mapping[str, seal_copies.Copy],
    now: datetime,
) -> _Beyond | None:
    """The head is not signed, and whoever may write the table can set it back: a seal or a copy beyond it counts."""
    beyond = sorted(day for day in found.keys() | copies.keys() if day >= str(by_head))
    for day in reversed(beyond):
        texts = [found[day].jws] if day in found else []
        texts += [copies[day].read()] if day in copies else []
        for text in texts:
            if claims := _claims(customer_id, day, text, now):
                at = datetime.fromtimestamp(claims["iat"], UTC)
                return _Beyond(beyond[0], date.fromisoformat(day), now - at < _UNDER_WAY)
    return None


def _untrue_tombstone(customer_id: str, seal: seals.Seal, now: datetime) -> Iterator[Finding]:
    claims = ring.read("seal", _TOMBSTONE_TYP, seal.tombstone or "", now) or {}
    if (claims.get("sub"), claims.get("day"), claims.get("seal")) != (customer_id, seal.day, rules.digest(seal.jws)):
        yield Finding(seal.day, "seal_altered")


def erase_personal(
    customer_id: str,
    actor_id: str,
    by: Origin,
    now: datetime,
    *,
    first: date = date.min,
    most_entries: int | None = None,
) -> tuple[int, date | None]:
    """Erase name and address from all entries of one actor; returns of how many. The seals still hold.

    From ``first`` on; with a bound, it stops before the day at which it has read so many entries, and says where to go on.
    """
    head = seals.head(customer_id)
    sealed = [date.fromisoformat(seal.day) for seal in seals.seals(customer_id) if seal.tombstone is None]
    erased = seen = 0
    next_from = None
    for day in [*sealed, *days(first_open_day(customer_id, head), now.date())]:
        if day < first:
            continue
        if most_entries is not None and seen >= most_entries:
            next_from = day
            break
        there = operations.page(customer_id, day)
        seen += len(there)
        for stored in there:
            if stored.operation.by.id == actor_id and stored.entry.personal:
                operations.erase_personal(stored)
                erased += 1
    if erased:
        told = operation(customer_id, by, "log.personal_data_erased", now, actor_id, entries=erased)
        tables.transact(lambda transaction: record_in(transaction, told))
    return erased, next_from
