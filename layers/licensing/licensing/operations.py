"""The operation log (A9): what every capability says when it has changed something, and reading it.

A change and its entry are one transaction, so neither is without the other wherever the process dies. What servers do daily is
recorded behind the request, from the State table's stream; what is refused changes nothing, and is recorded as well as it can be.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime

from aws_lambda_powertools import Logger
from pynamodb.transactions import TransactWrite

from licensing import identity
from licensing.errors import TemporarilyUnavailable
from licensing.rules.operations import Operation, Origin, brief
from licensing.rules.seals import SEALED_AFTER
from licensing.store import operations as store

logger = Logger(child=True)

#: What is delivered so late that its day may be sealed meanwhile goes into today.
_LATE = SEALED_AFTER / 2


def operation(
    customer_id: str,
    by: Origin,
    action: str,
    now: datetime,
    subject_id: str = "",
    result: str = "DONE",
    **details: str | int | None,
) -> Operation:
    """A new entry, with an id that sorts by time. Details that are None or empty are left out."""
    return Operation(identity.new_id("op", now), customer_id, now, by, action, subject_id, result, brief(details))


def operation_id(key: str, at: datetime) -> str:
    """The id of an entry that can be told more than once: the same for the same key and time, sorting by time too."""
    return f"op_{int(at.timestamp() * 1000):012x}{hashlib.sha256(key.encode()).hexdigest()[:20]}"


def record_in(transaction: TransactWrite, operation: Operation) -> None:
    """Add an entry to the transaction of the change that it tells of. It takes one of a transaction's 100 items."""
    store.put_in(transaction, operation)


def recording(operation: Operation) -> Callable[[TransactWrite], None]:
    """The same, for a store that asks for what else to write (``accounts.write(…, also=…)``)."""
    return lambda transaction: record_in(transaction, operation)


def record_refusal(operation: Operation, now: datetime) -> None:
    """Record a refusal, or go on without after a second or two: the answer does not depend on the log.

    It is folded: one entry for the same refusal to the same caller about the same thing in an hour (UTC). So nobody fills a log.
    """
    told = operation.customer_id, operation.by.id, operation.action, operation.subject_id, operation.result
    key = f"{' '.join(told)} {now:%Y-%m-%dT%H}"
    try:
        store.put_once(operation, key, now)
    except TemporarilyUnavailable:
        logger.warning("refusal_not_recorded", action=operation.action, code=operation.result)


def record(operation: Operation, now: datetime) -> bool:
    """Record an entry whose id is made of what it tells (``operation_id``), however often it is told. False if it was known.

    Raises TemporarilyUnavailable.
    """
    if now - operation.at < _LATE:
        return store.put(operation)
    return not store.exists(operation) and store.put_once(operation, operation.operation_id, now)
