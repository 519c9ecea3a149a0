"""The operation log in the Operations table: one partition per customer, day (UTC) and site that wrote.

What is written in a day stays in that day's partition, whatever it tells of, so that a day can be sealed and cut as a whole.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, cast

from aws_lambda_powertools import Logger
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from licensing import deployment, identity
from licensing.rules.operations import ActorKind, Operation, Origin
from licensing.rules.retention import LONGEST
from licensing.rules.seals import Entry, Personal, personal_hash, place_of
from licensing.store import tables
from licensing.store.attributes import Json

logger = Logger(child=True)

#: Every item has one writing site, so each has partitions of its own.
SITES = ("primary", "backup")
#: What nobody deleted, DynamoDB does: later than any retention can ask for it, so that it never cuts into a sealed day.
_BACKSTOP = LONGEST + timedelta(days=90)
#: For how long a key that was used once is remembered; longer than queues and streams deliver late.
_ONCE_KEPT = timedelta(days=30)
_UNREADABLE = "?"


class Record(Model):
    """An item of the Operations table."""

    class Meta(tables.Reach):
        table_name = deployment.operations_table()
        # The log is never what a request waits for: a second or two, and it goes on without.
        read_timeout_seconds = 1
        max_retry_attempts = 1

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class OperationItem(Record):
    """One entry of the log. Short attribute names: there is one entry for each validation of a fleet."""

    kind = UnicodeAttribute(attr_name="k")
    actor_id = UnicodeAttribute(attr_name="i", default="")
    action = UnicodeAttribute(attr_name="a")
    subject_id = UnicodeAttribute(attr_name="s", default="")
    result = UnicodeAttribute(attr_name="r")
    details = Json(Mapping[str, str | int], attr_name="d", null=True)
    request_id = UnicodeAttribute(attr_name="q", default="")
    #: When it happened (epoch seconds), where that is not when it was written.
    happened_at = NumberAttribute(attr_name="t", null=True)
    #: Who and where in person; can be erased, since the seal covers its salted hash only.
    personal = Json(Personal, attr_name="p", null=True)
    personal_hash = UnicodeAttribute(attr_name="h", null=True)
    expires_at = NumberAttribute()

    @classmethod
    def from_raw_data(cls, data: dict[str, Any]) -> "OperationItem":
        """An item as it was found; with its keys only, where somebody put into it what can't be read."""
        try:
            return super().from_raw_data(data)
        except (TypeError, ValueError):
            return cls(data["pk"]["S"], data["sk"]["S"], kind=_UNREADABLE)


class OnceItem(Record):
    """Remembers that something was recorded whose place in the log does not tell."""

    expires_at = NumberAttribute()


def put_in(transaction: TransactWrite, operation: Operation) -> None:
    """Add an entry to the transaction that makes the change it tells of."""
    transaction.save(_item(operation, operation.at))


def put(operation: Operation) -> bool:
    """Write an entry whose id and time are made of what it tells of; False where it is there already."""
    item = _item(operation, operation.at)
    try:
        tables.write(lambda: item.save(condition=OperationItem.pk.does_not_exist()))
    except tables.ConditionFailed:
        return False
    return True


def put_once(operation: Operation, key: str, now: datetime) -> bool:
    """Write an entry into today, unless one was written under this key before; False then."""
    mark = OnceItem(f"ONCE#{key}", "ONCE", expires_at=_epoch(now + _ONCE_KEPT))

    def fill(transaction: TransactWrite) -> None:
        transaction.save(mark, condition=OnceItem.pk.does_not_exist())
        transaction.save(_item(operation, now))

    try:
        tables.transact(fill, Record._get_connection().connection)
    except tables.ConditionFailed:
        return False
    return True


def exists(operation: Operation) -> bool:
    """Whether the entry is in its own place."""
    return tables.find(OperationItem, *_key(operation, operation.at)) is not None


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as it was found: for people, and for the seal. ``written`` is when it was written."""

    operation: Operation
    entry: Entry
    written: datetime


def page(
    customer_id: str,
    day: date,
    *,
    newest_first: bool = False,
    beyond: str | None = None,
    limit: int | None = None,
    strays: list[Entry] | None = None,
) -> list[Stored]:
    """A day's entries of both sites by time, from behind the sort key ``beyond`` on. Fewer than ``limit`` are the last.

    What nobody of us wrote, since it can't be read, is left out; it is added to ``strays`` on the way.
    """

    def query(site: str) -> list[Stored]:
        after = None
        if beyond is not None:
            after = OperationItem.sk < beyond if newest_first else OperationItem.sk > beyond
        items = OperationItem.query(
            partition(customer_id, day, site),
            after,
            consistent_read=True,
            page_size=limit,
            scan_index_forward=not newest_first,
        )
        return list(islice(_readable(items, site, strays), limit))

    found = [stored for site in SITES for stored in tables.read(partial(query, site))]
    found.sort(key=lambda each: each.entry.place, reverse=newest_first)
    return found[:limit]


def count(customer_id: str, day: date) -> int:
    """How many entries a day has, readable or not."""
    partitions = [partition(customer_id, day, site) for site in SITES]
    return sum(tables.read(partial(OperationItem.count, each, consistent_read=True)) for each in partitions)


def _readable(items: Iterable[OperationItem], site: str, strays: list[Entry] | None) -> Iterator[Stored]:
    for item in items:
        try:
            yield _stored(item)
        except (ValueError, OverflowError, OSError):
            logger.warning("entry_unreadable", partition=item.pk, sort_key=item.sk)
            if strays is not None:
                strays.append(Entry(place_of(item.sk, site), item.sk.partition("#")[2] or item.sk, {}))


def _stored(item: OperationItem) -> Stored:
    if item.kind == _UNREADABLE:
        raise ValueError(item.sk)
    customer_id, day, site = item.pk.split("#")
    clock, operation_id = item.sk.split("#")
    written = datetime.fromisoformat(f"{day}T{clock}+00:00")
    happened = item.happened_at
    name, address = (item.personal.name, item.personal.address) if item.personal else ("", "")
    operation = Operation(
        operation_id=operation_id,
        customer_id=customer_id,
        at=written if happened is None else datetime.fromtimestamp(happened, UTC),
        by=Origin(cast("ActorKind", item.kind), item.actor_id, name, address, item.request_id),
        action=item.action,
        subject_id=item.subject_id,
        result=item.result,
        details=item.details or {},
    )
    facts = {
        "kind": item.kind,
        "actor_id": item.actor_id,
        "action": item.action,
        "subject_id": item.subject_id,
        "result": item.result,
        "details": dict(item.details or {}),
        "request_id": item.request_id,
        "happened_at": None if happened is None else int(happened),
    }
    entry = Entry(place_of(item.sk, site), operation_id, facts, item.personal, item.personal_hash)
    return Stored(operation, entry, written)


def erase_personal(stored: Stored) -> None:
    """Take the personal part from an entry; its salted hash stays, and the day's seal holds."""
    sk, _, site = stored.entry.place.rpartition("#")
    item = OperationItem(partition(stored.operation.customer_id, stored.written.date(), site), sk)
    with suppress(tables.ConditionFailed):  # deleted meanwhile
        tables.write(
            lambda: item.update(actions=[OperationItem.personal.remove()], condition=OperationItem.pk.exists())
        )


def delete(customer_id: str, day: date, entries: Sequence[Entry]) -> None:
    """Delete at most 25 entries of a day; what is gone already is no matter."""

    def run() -> None:
        with OperationItem.batch_write() as batch:
            for entry in entries:
                sk, _, site = entry.place.rpartition("#")
                batch.delete(OperationItem(partition(customer_id, day, site), sk))

    tables.write(run)


def _key(operation: Operation, written: datetime) -> tuple[str, str]:
    written = written.astimezone(UTC)
    pk = partition(operation.customer_id, written.date(), deployment.site())
    return pk, f"{written:%H:%M:%S}#{operation.operation_id}"


def partition(customer_id: str, day: date, site: str) -> str:
    """Where a site writes what happens to a customer on a day."""
    return f"{customer_id}#{day}#{site}"


def _item(operation: Operation, written: datetime) -> OperationItem:
    by = operation.by
    personal = Personal(by.name, by.address, identity.new_salt()) if by.name or by.address else None
    return OperationItem(
        *_key(operation, written),
        kind=by.kind,
        actor_id=by.id,
        action=operation.action,
        subject_id=operation.subject_id,
        result=operation.result,
        details=dict(operation.details) or None,
        request_id=by.request_id,
        happened_at=_epoch(operation.at) if operation.at != written else None,
        personal=personal,
        personal_hash=personal_hash(personal) if personal else None,
        expires_at=_epoch(written + _BACKSTOP),
    )


def _epoch(at: datetime) -> int:
    return int(at.timestamp())
