"""Activation keys (C1, C2, C9-C11): issue, read, preview, import, renew.

A key belongs to one customer, the group's main company. It is one signed text; what it says is believed for its signature only.
Importing is one write that makes it the current key, with all its companies; its pools follow, by the same call or by whoever
uses them next.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import jwt
from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from jwt.utils import base64url_decode, base64url_encode
from pynamodb.transactions import TransactWrite

from licensing import cursors, deployment, identity, seat_use, seats
from licensing.companies import require_in_force
from licensing.contract_keys import NewKey
from licensing.errors import (
    InvalidRequest,
    KeyExpired,
    KeyForeignCompany,
    KeyMissing,
    KeyMixedGroups,
    KeyNotYetValid,
    KeyRenewalTooEarly,
    KeySignatureInvalid,
    KeySuperseded,
    LicensingError,
    NotFound,
    PreviewStale,
)
from licensing.key_ring import ring
from licensing.operations import operation, record_in, record_refusal, recording
from licensing.rules import activation_keys as rules
from licensing.rules.activation_keys import Changes, Key
from licensing.rules.heartbeat import local_date
from licensing.rules.operations import ANYONE, Origin
from licensing.rules.seats import BORROW_DAYS, DEFAULT_LEASE
from licensing.rules.tax_ids import normalize
from licensing.store import accounts, tables
from licensing.store import activation_keys as store
from licensing.store import seats as pools

logger = Logger(child=True)

TYP = "key+jwt"
_PREVIEW_LIFE = timedelta(hours=1)
#: Days after a key's end on which its renewal is still prepared, should the schedule have failed for so long.
_OVERDUE = 10
_DUE_KEPT = timedelta(days=60)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the vendor puts into a key. ``companies`` are names by tax id, ``concurrent`` seats by application; ``support`` are
    user codes, or prefixes that end in ``*``. Times are days of the customer's calendar, the last one included. Without ``group``
    it is that of the customer's last key; of the first one, a group of the customer's own.
    """

    companies: Mapping[str, str]
    first_day: date
    last_day: date
    concurrent: Mapping[str, int] = field(default_factory=dict)
    company_quota: int | None = None
    support: tuple[str, ...] = ()
    group: str = ""
    lease_seconds: int = DEFAULT_LEASE
    borrow_days: int = BORROW_DAYS


def terms_of(body: NewKey) -> Terms:
    """The same from a body of the contract."""
    return Terms(
        companies={each.tax_id: each.name for each in body.companies},
        first_day=body.first_day,
        last_day=body.last_day,
        concurrent=body.concurrent,
        company_quota=body.company_quota,
        support=body.support,
        group=body.group,
        lease_seconds=body.lease_seconds,
        borrow_days=body.borrow_days,
    )


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key and its text block, as it is mailed, pasted or kept as a file."""

    key: Key
    text: str


#: Sends a renewed key to its customer; raises what is worth another try.
Notify = Callable[[IssuedKey], None]
#: Adds to the transaction that issues a key what else is to be written with it.
AlsoKey = Callable[[TransactWrite, IssuedKey], None]


def _nothing_more(transaction: TransactWrite, issued: IssuedKey) -> None:
    """For a caller that keeps no answer."""


# ── issuing ──


def issue(customer_id: str, terms: Terms, by: Origin, now: datetime, also: AlsoKey = _nothing_more) -> IssuedKey:
    """Issue a key: signed, kept, and due for renewal before its end.

    Raises NotFound, TaxIdInvalid, KeyMixedGroups where a company is in another group, and InvalidRequest where they are too many
    for one key.
    """
    deployment.require_home_site()
    customer = accounts.get_customer(customer_id)
    if customer is None or customer.deleted:
        raise NotFound
    companies = {normalize(tax_id): name for tax_id, name in terms.companies.items()}
    tables.unraced(lambda: _claim(companies, customer_id, now))

    def attempt() -> IssuedKey:
        before = store.issued(customer_id)
        key = Key(
            key_id=identity.new_id("key", now),
            customer_id=customer_id,
            # A key of another group could not be imported.
            group=terms.group or (before[-1].key.group if before else customer_id),
            serial=before[-1].key.serial + 1 if before else 1,
            companies=companies,
            first_day=terms.first_day,
            last_day=terms.last_day,
            time_zone=customer.time_zone,
            issued_at=now,
            concurrent=terms.concurrent,
            company_quota=terms.company_quota,
            support=terms.support,
            lease_seconds=terms.lease_seconds,
            borrow_days=terms.borrow_days,
        )
        return _issue(key, None, by, now, also)

    return tables.unraced(attempt)


#: A claim that is so young counts although no key of its customer names the company yet: the key is being issued.
_BEING_ISSUED = timedelta(minutes=5)


def _claim(tax_ids: Collection[str], customer_id: str, now: datetime) -> None:
    """Take companies into a customer's group. Raises KeyMixedGroups for those that another customer's newest key names, and
    for those that are customers with keys of their own.
    """
    owners = accounts.find_by_tax_ids(tax_ids)
    foreign = [tax_id for tax_id, owner in owners.items() if owner != customer_id and store.issued(owner)]
    taken = [] if foreign else store.claim_members(customer_id, tax_ids, pools.epoch(now))
    foreign += [each for each in taken if not _left(each, customer_id, now)]
    if foreign:
        raise KeyMixedGroups(tax_ids=", ".join(sorted(foreign)))
    if taken:  # the others of their parts are not claimed yet
        raise tables.ConditionFailed


def _left(tax_id: str, customer_id: str, now: datetime) -> bool:
    """Whether a company has left the group that it was in, and is taken over."""
    known = store.member(tax_id)
    if known is None or now.timestamp() - known.at < _BEING_ISSUED.total_seconds():
        return False
    newest = store.issued(known.customer_id)[-1:]
    if any(tax_id in each.key.companies and each.key.phase(now) != "ended" for each in newest):
        return False
    store.take_member_over(tax_id, known, customer_id, pools.epoch(now))
    return True


def _issue(key: Key, renews: Key | None, by: Origin, now: datetime, also: AlsoKey = _nothing_more) -> IssuedKey:
    token = ring.sign("key", TYP, rules.to_claims(key, deployment.issuer()), now)
    if len(token) > rules.LONGEST_KEY:
        fault = {"in": "body", "pointer": "/companies", "detail": "too many, or too long names, for one key"}
        raise InvalidRequest(errors=[fault])
    due = datetime.combine(key.last_day, datetime.min.time(), UTC) + _DUE_KEPT
    told = operation(
        key.customer_id, by, "key.renewed" if renews else "key.issued", now, key.key_id,
        serial=key.serial, companies=len(key.companies), last_day=key.last_day.isoformat(),
    )  # fmt: skip
    made = IssuedKey(key, rules.wrap(token))

    def with_it(transaction: TransactWrite) -> None:
        record_in(transaction, told)
        also(transaction, made)

    store.put_issued(key, token, renews, int(due.timestamp()), with_it)
    return made


def issued(customer_id: str) -> list[IssuedKey]:
    """All keys issued to a customer, the newest first."""
    return [IssuedKey(each.key, rules.wrap(each.token)) for each in reversed(store.issued(customer_id))]


def all_issued(cursor: str | None, limit: int) -> tuple[list[IssuedKey], str | None]:
    """The keys of all customers, the newest first, and what continues them. Raises InvalidRequest for a foreign cursor."""
    found, position = store.listed(cursors.read(cursor, store.LIST), limit)
    return [IssuedKey(each.key, rules.wrap(each.token)) for each in found], cursors.text(position)


def find(key_id: str) -> IssuedKey:
    """An issued key, whosever it is. Raises NotFound."""
    found = store.find(key_id)
    if found is None:
        raise NotFound
    return IssuedKey(found.key, rules.wrap(found.token))


def key_text(customer_id: str, key_id: str) -> str:
    """The text block of an issued key. Raises NotFound."""
    for each in store.issued(customer_id):
        if each.key.key_id == key_id:
            return rules.wrap(each.token)
    raise NotFound


# ── reading ──


def read(text: str, now: datetime) -> Key:
    """The key in a text as it was pasted. Of several of one customer the newest counts.

    Raises KeySignatureInvalid, and KeyMixedGroups where a text holds keys of several customers or groups.
    """
    return _read(text, now)[0]


def _read(text: str, now: datetime) -> tuple[Key, str]:
    found = [(_verified(token, now), token) for token in rules.unwrap(text)]
    if not found:
        raise KeySignatureInvalid
    if len({(key.customer_id, key.group) for key, _ in found}) > 1:
        raise KeyMixedGroups(tax_ids=", ".join(sorted({next(iter(key.companies), key.group) for key, _ in found})))
    return max(found, key=lambda pair: pair[0].serial)


def _verified(token: str, now: datetime) -> Key:
    try:
        header = jwt.get_unverified_header(token)
        public = ring.verification_key("key", str(header.get("kid")), now)
        if public is None or header.get("typ") != TYP or header.get("alg") != "ES256":
            raise KeySignatureInvalid
        signature = token.rpartition(".")[2]
        if base64url_encode(base64url_decode(signature)).decode() != signature:
            raise KeySignatureInvalid  # another spelling of the same signature
        claims: dict[str, Any] = jwt.decode(
            token,
            public,
            algorithms=["ES256"],
            audience=rules.AUDIENCE,
            issuer=deployment.issuer(),
            options={
                "require": list(rules.REQUIRED), "strict_aud": True,
                "verify_exp": False, "verify_iat": False, "verify_nbf": False,
            },
        )  # fmt: skip
        return rules.of_claims(claims, datetime.fromtimestamp(int(claims["iat"]), UTC))
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise KeySignatureInvalid from error  # the last two: a time that no calendar holds


# ── importing ──

#: What a key's text may be refused for (C9).
REFUSALS = (KeySignatureInvalid, KeyMixedGroups, KeyForeignCompany, KeyExpired, KeyNotYetValid, KeySuperseded)


@dataclass(frozen=True, slots=True)
class KeyPreview:
    """What importing a key would do. ``current`` is the key that it replaces."""

    preview_id: str
    key: Key
    current: Key | None
    changes: Changes

    def seats(self) -> list[tuple[str, int, int]]:
        """By application: its name, and its seats before and after."""
        before = self.current.concurrent if self.current else {}
        after = self.key.concurrent
        return [(name, before.get(name, 0), after.get(name, 0)) for name in sorted({*before, *after})]


def preview(customer_id: str, text: str, now: datetime, by: Origin = ANYONE) -> KeyPreview:
    """Look at a key before importing it (C9): good for an hour, while no other key is imported.

    Raises KeySignatureInvalid, KeyMixedGroups, KeyForeignCompany (another customer's), KeyExpired, KeyNotYetValid, KeySuperseded.
    """
    deployment.require_home_site()
    with _telling(customer_id, by, now):
        key, token = _read(text, now)
        imported = store.current(customer_id)
        _require_importable(customer_id, key, imported, now)
    preview_id = f"{identity.new_id('pre', now)}.{customer_id}"
    store.put_preview(customer_id, preview_id, token, imported.version if imported else 0, now + _PREVIEW_LIFE)
    current = imported.key if imported else None
    return KeyPreview(preview_id, key, current, rules.changes(current, key))


@contextmanager
def _telling(customer_id: str, by: Origin, now: datetime) -> Iterator[None]:
    """Record which key was refused to whom. Of what is in it nothing is known beyond doubt."""
    try:
        yield
    except REFUSALS as error:
        record_refusal(operation(customer_id, by, "key.import_refused", now, customer_id, error.code), now)
        raise


def customer_of(preview_id: str) -> str:
    """Whose key a preview shows. An id that nobody gave out names nobody."""
    return preview_id.partition(".")[2]


def _require_importable(customer_id: str, key: Key, imported: store.Imported | None, now: datetime) -> None:
    if key.customer_id != customer_id:
        customer = accounts.get_customer(customer_id)
        raise KeyForeignCompany(tax_id=customer.tax_id if customer else "")
    if imported and imported.key.group != key.group:
        raise KeyMixedGroups(tax_ids=", ".join(sorted(key.companies)[:3]))
    if imported and key.serial < imported.key.serial:
        day = local_date(datetime.fromtimestamp(imported.imported_at, UTC), key.time_zone)
        raise KeySuperseded(imported_on=day.isoformat())
    require_in_force(key, now)


def import_key(customer_id: str, preview_id: str, by: Origin, now: datetime, *, reset_peak: bool = False) -> Key:
    """Import the key of a preview that somebody confirmed: all companies at once. Interrupted, a repeat completes it, and a
    repeat of what is complete changes nothing.

    Raises NotFound (no such preview, or it is too old), PreviewStale (another key was imported since), and as ``preview``.
    """
    deployment.require_home_site()
    kept = store.get_preview(customer_id, preview_id, now)
    if kept is None:
        raise NotFound
    token, version = kept
    key = _verified(token, now)
    imported = store.current(customer_id)
    if imported is None or imported.key.key_id != key.key_id:
        with _telling(customer_id, by, now):
            _require_importable(customer_id, key, imported, now)
        told = operation(
            customer_id, by, "key.imported", now, key.key_id, serial=key.serial, companies=len(key.companies),
            last_day=key.last_day.isoformat(),
        )  # fmt: skip
        if version != (imported.version if imported else 0):
            raise PreviewStale
        try:
            store.put_current(key, version, pools.epoch(now), recording(told))
        except tables.ConditionFailed as error:
            imported = store.current(customer_id)
            if imported is None or imported.key.key_id != key.key_id:
                raise PreviewStale from error
        imported = store.current(customer_id)
    if imported is None:
        raise PreviewStale
    at = datetime.fromtimestamp(imported.imported_at, UTC)
    _follow(key, now)
    if reset_peak:
        for pool in key.pools():
            seat_use.reset_peak(customer_id, pool.pool_id, by, at)
    return key


def _follow(key: Key, now: datetime) -> None:
    """Bring the pools in line with the key. One for an application that it does not name any more offers nothing."""
    named = {application for each in store.issued(key.customer_id) for application in each.key.concurrent}
    for application in sorted(named | set(key.concurrent)):
        pool = key.pool(application)
        if application in key.concurrent or pools.get_pool(pool.pool_id):
            seats.open_pool(pool, now)


# ── the key in force ──


@dataclass(frozen=True, slots=True)
class CurrentKey:
    """The key that a customer imported last, and when. ``days_left`` is negative after its end."""

    key: Key
    imported_at: datetime
    days_left: int


def current_key(customer_id: str, now: datetime) -> CurrentKey | None:
    """The customer's current key; None before the first import."""
    imported = store.current(customer_id)
    if imported is None:
        return None
    left = (imported.key.last_day - local_date(now, imported.key.time_zone)).days
    return CurrentKey(imported.key, datetime.fromtimestamp(imported.imported_at, UTC), left)


# ── renewing ──

_SCHEDULE = Origin("schedule", "renew-keys")


def renew_due(now: datetime, notify: Notify) -> int:
    """Prepare the keys of the next year and send them, before day 30 to the end (C1). Returns how many were sent.

    Run late, twice or interrupted, it issues each once and sends none never: one that could not be sent is sent by the next run.
    Raises RenewalsFailed at the end if any failed.
    """
    deployment.require_home_site()
    today = now.date()
    sent, failed = 0, 0
    for offset in range(-_OVERDUE, rules.PREPARED_BEFORE + 1):
        for customer_id, key_id in store.due(today + timedelta(days=offset)):
            try:
                sent += _renew_if_due(customer_id, key_id, notify, now)
            except (LicensingError, tables.ConditionFailed, ClientError, BotoCoreError) as error:
                failed += 1
                logger.error("key_not_renewed", customer_id=customer_id, key_id=key_id, error=type(error).__name__)
    logger.info("keys_renewed", sent=sent, failed=failed)
    if failed:
        raise RenewalsFailed(failed)
    return sent


class RenewalsFailed(Exception):
    """Raised when some keys could not be renewed or sent; the next run tries them again."""


def _renew_if_due(customer_id: str, key_id: str, notify: Notify, now: datetime) -> bool:
    customer = accounts.get_customer(customer_id)
    if customer is None or customer.deleted:
        return False
    keys = store.issued(customer_id)
    due = next((each for each in keys if each.key.key_id == key_id), None)
    if due is None or due.told_at is not None:
        return False
    if due.renewed_by is None and due is not keys[-1]:
        return False  # the vendor has issued a newer one
    if due.key.last_day - due.key.first_day <= timedelta(days=rules.PREPARED_BEFORE):
        return False  # a trial: it has hardly begun
    notify(_renewal(due, keys, _SCHEDULE, now))
    store.set_told(due.key, pools.epoch(now))
    return True


def _renewal(due: store.Issued, keys: list[store.Issued], by: Origin, now: datetime) -> IssuedKey:
    """The key that renews another: the one that was issued already, or a new one."""
    for each in keys:
        if each.key.key_id == due.renewed_by:
            return IssuedKey(each.key, rules.wrap(each.token))
    key = rules.renewed(due.key, identity.new_id("key", now), keys[-1].key.serial + 1, now)
    return _issue(key, due.key, by, now)


def request_renewal(customer_id: str, by: Origin, now: datetime, notify: Notify) -> Key:
    """The customer asks for the key of the next year, which is sent (again), from day 30 to the end on (C1).

    Raises KeyMissing, KeyRenewalTooEarly.
    """
    deployment.require_home_site()
    imported = store.current(customer_id)
    if imported is None:
        raise KeyMissing
    from_day = imported.key.last_day - timedelta(days=rules.RENEWED_BEFORE)
    if local_date(now, imported.key.time_zone) < from_day:
        raise KeyRenewalTooEarly(from_day=from_day.isoformat())

    def attempt() -> tuple[IssuedKey, Key]:
        keys = store.issued(customer_id)
        newest = keys[-1]
        if newest.key.serial > imported.key.serial:
            return IssuedKey(newest.key, rules.wrap(newest.token)), imported.key
        return _renewal(newest, keys, by, now), newest.key

    renewal, renewed = tables.unraced(attempt)
    notify(renewal)
    store.set_told(renewed, pools.epoch(now))
    return renewal.key
