"""Alerts in the Licensing table: what was told, what was found on a day, digests, and who does not want which e-mail.

An alert is claimed by the conditional write of what its customer was told (``ALERTS#customer``), in one transaction with the
finding that e-mails and events are made of. Findings lie in the partitions of their day (``FOUND#day#shard``); once one is closed
nothing is added to it, so what is made of a day is the same however often it is made.
"""

import hmac
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from pynamodb.attributes import NumberAttribute, NumberSetAttribute, UnicodeAttribute
from pynamodb.transactions import TransactWrite

from licensing.identity import digest as digested
from licensing.identity import new_secret
from licensing.rules.alerts import Digest, Finding
from licensing.rules.people import Notification, email_key
from licensing.store import tables
from licensing.store.accounts import SHARDS
from licensing.store.attributes import CompressedJson, Json
from licensing.store.tables import Expiring, Item

#: Longer than any dead-letter queue keeps what is to be done with it.
_KEPT = timedelta(days=45)


class ToldItem(Item, discriminator="alerts-told"):
    """The last step that was told of each subject and day, by its key. Each write raises the version."""

    version = NumberAttribute()
    body = CompressedJson(Mapping[str, int])


class FindingItem(Expiring, discriminator="alerts-found"):
    """What was found at one customer. Events were published where it says when."""

    body = CompressedJson(Finding)
    published_at = NumberAttribute(null=True)


class ClosedItem(Expiring, discriminator="alerts-closed"):
    """Nothing is added to this partition any more."""


class RunItem(Expiring, discriminator="alerts-run"):
    """A day: which parts are closed, and when all its digests were made."""

    closed = NumberSetAttribute(null=True)
    compiled_at = NumberAttribute(null=True)


class DigestItem(Expiring, discriminator="alerts-digest"):
    """What one person is told on one day. ``sending_until``: somebody is at it."""

    body = CompressedJson(Digest)
    sending_until = NumberAttribute(null=True)
    sent_at = NumberAttribute(null=True)


class AddressItem(Item, discriminator="alerts-address"):
    """An e-mail address: what it does without, and the secret of its unsubscribe links, which lets do nothing else."""

    email = UnicodeAttribute()
    secret = UnicodeAttribute()
    unsubscribed = Json(tuple[Notification, ...], default=())


# ── claims and findings ──


@dataclass(frozen=True, slots=True)
class Told:
    """The last steps told at a customer, at a version."""

    steps: Mapping[str, int]
    version: int


def told(customer_id: str) -> Told:
    """What was told at a customer, strongly consistent."""
    item = tables.find(ToldItem, f"ALERTS#{customer_id}", "TOLD")
    return Told(item.body, int(item.version)) if item else Told({}, 0)


def claim(
    before: Told, steps: Mapping[str, int], finding: Finding, day: date, also: Callable[[TransactWrite], None]
) -> None:
    """Claim alerts: remember what is told and leave the finding in a day that is still open, or nothing.

    ``also`` adds puts and checks. Raises ConditionFailed if somebody else was at this customer, the day was closed meanwhile,
    or a condition of ``also`` failed.
    """
    customer_id = finding.customer_id
    item = ToldItem(f"ALERTS#{customer_id}", "TOLD", version=before.version + 1, body=dict(steps))
    unchanged = ToldItem.version == before.version if before.version else ToldItem.pk.does_not_exist()
    place = found_in(day, shard_of(customer_id))
    # Of one customer and day there can be several: the version tells them apart.
    found = FindingItem(
        place, f"FINDING#{customer_id}#{before.version + 1:08d}", body=finding, expires_at=_end(finding.found_at)
    )

    def fill(transaction: TransactWrite) -> None:
        transaction.condition_check(ClosedItem, place, "CLOSED", condition=ClosedItem.pk.does_not_exist())
        transaction.save(item, condition=unchanged)
        transaction.save(found)
        also(transaction)

    tables.transact(fill)


def shard_of(customer_id: str) -> int:
    """The part of a day that a customer's findings are in."""
    return zlib.crc32(customer_id.encode()) % SHARDS


def found_in(day: date, shard: int) -> str:
    """The partition of a part of a day."""
    return f"FOUND#{day}#{shard:02d}"


def is_closed(day: date, shard: int) -> bool:
    """Whether nothing is added to a part of a day any more."""
    return tables.find(ClosedItem, found_in(day, shard), "CLOSED") is not None


def close(day: date, shard: int, now: datetime) -> frozenset[int]:
    """Close a part of a day that was begun; returns all parts that are closed."""
    tables.write(ClosedItem(found_in(day, shard), "CLOSED", expires_at=_end(now)).save)
    run = RunItem("ALERT-RUNS", str(day))
    tables.write(lambda: run.update(actions=[RunItem.closed.add({shard})], condition=RunItem.pk.exists()))
    return frozenset(int(each) for each in run.closed or ())


def open_run(day: date, now: datetime) -> None:
    """Note that a day began; at the second time nothing happens."""
    run = RunItem("ALERT-RUNS", str(day), expires_at=_end(now))
    with suppress(tables.ConditionFailed):
        tables.write(lambda: run.save(condition=RunItem.pk.does_not_exist()))


def unfinished(before: date) -> list[date]:
    """The days before this one whose digests have not all been made, from the first day that is remembered on."""
    found: Any = tables.read(lambda: list(RunItem.query("ALERT-RUNS", RunItem.sk < str(before), consistent_read=True)))
    if not found:
        return []
    first, compiled = date.fromisoformat(found[0].sk), {item.sk for item in found if item.compiled_at is not None}
    days = (first + timedelta(days=n) for n in range((before - first).days))
    return [day for day in days if str(day) not in compiled]


def compiled(day: date, now: datetime) -> None:
    """Note that all digests of a day that was begun were made."""
    run = RunItem("ALERT-RUNS", str(day))
    done = RunItem.compiled_at.set(int(now.timestamp()))
    tables.write(lambda: run.update(actions=[done], condition=RunItem.pk.exists()))


@dataclass(frozen=True, slots=True)
class Found:
    """A finding in its place, and whether its events were published."""

    pk: str
    sk: str
    finding: Finding
    published: bool


def findings(day: date) -> Iterator[Found]:
    """All findings of a day, strongly consistent."""
    for shard in range(SHARDS):
        place = found_in(day, shard)
        for item in tables.read(partial(_findings_in, place)):
            yield Found(item.pk, item.sk, item.body, item.published_at is not None)


def _findings_in(place: str) -> list[Any]:
    return list(FindingItem.query(place, FindingItem.sk.startswith("FINDING#"), consistent_read=True))


def mark_published(found: Found, now: datetime) -> None:
    """Note that a finding's events were published."""
    item = FindingItem(found.pk, found.sk)
    done = FindingItem.published_at.set(int(now.timestamp()))
    tables.write(lambda: item.update(actions=[done], condition=FindingItem.pk.exists()))


# ── digests ──


def address_id(email: str) -> str:
    """By what an address is known in keys and links."""
    return digested(email_key(email), "address")[:32]


def put_digest(digest: Digest, day: date, now: datetime) -> None:
    """Freeze a digest; one that is there already stays."""
    item = DigestItem(*_digest_key(address_id(digest.recipient.email), day), body=digest, expires_at=_end(now))
    with suppress(tables.ConditionFailed):
        tables.write(lambda: item.save(condition=DigestItem.pk.does_not_exist()))


def begin_sending(address: str, day: date, now: datetime, until: datetime) -> Digest | None:
    """Take a digest in hand; None for one that was sent, or is in somebody's hands."""
    item = DigestItem(*_digest_key(address, day))
    free = DigestItem.sending_until.does_not_exist() | (DigestItem.sending_until <= int(now.timestamp()))
    condition = DigestItem.pk.exists() & DigestItem.sent_at.does_not_exist() & free
    try:
        tables.write(
            lambda: item.update(actions=[DigestItem.sending_until.set(int(until.timestamp()))], condition=condition)
        )
    except tables.ConditionFailed:
        return None
    return item.body  # type: ignore[no-any-return]


def is_sent(address: str, day: date) -> bool:
    """Whether there is nothing left to send."""
    item = tables.find(DigestItem, *_digest_key(address, day))
    return item is None or item.sent_at is not None


def end_sending(address: str, day: date, now: datetime, *, sent: bool) -> None:
    """Put a digest down: sent, or for the next try."""
    item = DigestItem(*_digest_key(address, day))
    done = DigestItem.sent_at.set(int(now.timestamp())) if sent else DigestItem.sending_until.remove()
    tables.write(lambda: item.update(actions=[done], condition=DigestItem.pk.exists()))


def _digest_key(address: str, day: date) -> tuple[str, str]:
    return f"DIGEST#{address}", str(day)


# ── addresses ──


@dataclass(frozen=True, slots=True)
class Address:
    """An address with what it does without, and the token of its unsubscribe links."""

    email: str
    unsubscribed: tuple[Notification, ...]
    token: str


def unsubscribed(email: str) -> tuple[Notification, ...]:
    """What an address does without."""
    item = tables.find(AddressItem, _address(address_id(email)), "ADDRESS")
    return item.unsubscribed if item else ()


def address(email: str) -> Address:
    """An address; at the first time it gets its secret."""
    key = _address(address_id(email))
    item = tables.find(AddressItem, key, "ADDRESS")
    if item is None:
        item = AddressItem(key, "ADDRESS", email=email_key(email), secret=new_secret(), unsubscribed=())
        try:
            tables.write(lambda: item.save(condition=AddressItem.pk.does_not_exist()))
        except tables.ConditionFailed:
            return address(email)
    return _of(item)


def find_address(token: str) -> Address | None:
    """The address whose unsubscribe link this token is from."""
    key, _, secret = token.partition(".")
    item = tables.find(AddressItem, _address(key), "ADDRESS")
    if item is None or not hmac.compare_digest(item.secret.encode(), secret.encode()):
        return None
    return _of(item)


def set_unsubscribed(email: str, kinds: tuple[Notification, ...], also: tables.Also = tables.nothing) -> None:
    """Say what an address does without, with what else is to be written."""
    address(email)
    item = AddressItem(_address(address_id(email)), "ADDRESS")
    said = AddressItem.unsubscribed.set(kinds)

    def fill(transaction: TransactWrite) -> None:
        transaction.update(item, actions=[said], condition=AddressItem.pk.exists())
        also(transaction)

    tables.transact(fill)


def _of(item: AddressItem) -> Address:
    return Address(item.email, item.unsubscribed, f"{item.pk.partition('#')[2]}.{item.secret}")


def _address(key: str) -> str:
    return f"ADDRESS#{key}"


def _end(now: datetime) -> int:
    return int((now + _KEPT).timestamp())
