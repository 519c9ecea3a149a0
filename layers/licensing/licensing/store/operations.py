"""The operation log in the Operations table: one partition per customer, day (UTC) and site that wrote.

What is written in a day stays in that day's partition, whatever it tells of, so that a day can be sealed and cut as a whole.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from licensing import deployment, identity
from licensing.rules.operations import Operation
from licensing.rules.retention import LONGEST
from licensing.rules.seals import Personal, personal_hash
from licensing.store import tables
from licensing.store.attributes import Json

#: Every item has one writing site, so each has partitions of its own.
SITES = ("primary", "backup")
#: What nobody deleted, DynamoDB does: later than any retention can ask for it, so that it never cuts into a sealed day.
_BACKSTOP = LONGEST + timedelta(days=90)
#: For how long a key that was used once is remembered; longer than queues and streams deliver late.
_ONCE_KEPT = timedelta(days=30)


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
