"""The tables and how they are reached: one client, bounded patience, conflicts retried, trouble given a name."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.attributes import DiscriminatorAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.connection import Connection
from pynamodb.exceptions import PynamoDBException
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from licensing import deployment
from licensing.errors import TemporarilyUnavailable

T = TypeVar("T")

#: Adds to the transaction of a change what else is to be written with it.
Also = Callable[[TransactWrite], None]

_CONFLICTS = {"TransactionConflict", "TransactionConflictException", "TransactionInProgressException"}
_CONFLICT_TRIES = 5
_RACES = 4


class Reach:
    """How a table is reached; PynamoDB would wait half a minute."""

    region = deployment.region()
    connect_timeout_seconds = deployment.CONNECT_TIMEOUT
    read_timeout_seconds = deployment.READ_TIMEOUT
    max_retry_attempts = deployment.TRIES - 1


class Item(Model):
    """An item of the Licensing table. The partition is the customer, or what a look-up begins with."""

    class Meta(Reach):
        table_name = deployment.licensing_table()

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)
    kind = DiscriminatorAttribute()


class Expiring(Item):
    """An item that DynamoDB deletes some time after ``expires_at`` (epoch seconds); readers look at it themselves."""

    expires_at = NumberAttribute()


class ConditionFailed(Exception):
    """Raised when a write's condition did not hold: somebody was faster, or the facts are other than thought.

    ``failed`` are the places, in the order checks, deletes, puts, updates, of the transaction's failed conditions.
    """

    def __init__(self, failed: frozenset[int] = frozenset()) -> None:
        super().__init__(failed)
        self.failed = failed


@contextmanager
def _named_trouble() -> Iterator[None]:
    try:
        # The base model first: what derives from it shares its client, and each client is 40 ms of a cold start.
        Item._get_connection()
        yield
    except (PynamoDBException, BotoCoreError, ClientError) as error:
        raise TemporarilyUnavailable from error


def read(call: Callable[[], T]) -> T:
    """Run a read. Raises TemporarilyUnavailable when DynamoDB is throttled or does not answer."""
    with _named_trouble():
        return call()


def find(model: type["_M"], pk: str, sk: str | None = None, *, consistent: bool = True) -> "_M | None":
    """One item, strongly consistent unless an older one does; None where there is none."""

    def get() -> "_M | None":
        try:
            return model.get(pk, sk, consistent_read=consistent)
        except model.DoesNotExist:
            return None

    return read(get)


def write(call: Callable[[], T]) -> T:
    """Run a conditional write; conflicts with other writes are retried with jitter, failed conditions never.

    Raises ConditionFailed, or TemporarilyUnavailable when DynamoDB is throttled or does not answer. A write that took
    effect although its answer was lost fails its own condition when repeated: callers read again before they refuse.
    """
    with _named_trouble():
        for attempt in range(_CONFLICT_TRIES):
            try:
                return call()
            except PynamoDBException as error:
                reasons = _reasons(error)
                failed = frozenset(place for place, code in enumerate(reasons) if code.startswith("ConditionalCheck"))
                if failed:
                    raise ConditionFailed(failed) from error
                # A conflict is tried again without reading again: what a write builds upon is in its conditions (of an account,
                # its version), so they fail now if the other write changed that.
                if not _CONFLICTS.intersection(reasons) or attempt == _CONFLICT_TRIES - 1:
                    raise
            time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311  jitter, not a secret
    raise AssertionError("unreachable")


def unraced(attempt: Callable[[], T]) -> T:
    """Read, decide and write, anew whenever somebody else's write came in between.

    ``attempt`` raises ConditionFailed then. Raises TemporarilyUnavailable when that goes on.
    """
    for _ in range(_RACES):
        with suppress(ConditionFailed):
            return attempt()
    raise TemporarilyUnavailable


def _reasons(error: PynamoDBException) -> list[str]:
    reasons = [(reason.code or "") if reason else "" for reason in getattr(error, "cancellation_reasons", [])]
    # A timeout's cause has a response, and it is None, which PynamoDB's own property does not expect.
    response = getattr(error.cause, "response", None) or {}
    return reasons or [response.get("Error", {}).get("Code") or ""]


def transact(fill: Callable[[TransactWrite], None], connection: Connection | None = None) -> None:
    """Write all that ``fill`` puts into a transaction, or nothing (at most 100 items). Raises as ``write`` does.

    ``connection`` is one with another patience than usual.
    """

    def run() -> None:
        with TransactWrite(connection=connection or _connection()) as transaction:
            fill(transaction)

    write(run)


def nothing(transaction: TransactWrite) -> None:
    """What is written beside a change, where nothing is."""


def _connection() -> Connection:
    connection: Connection = Item._get_connection().connection
    return connection


_M = TypeVar("_M", bound=Model)
