"""Limits on tries: the times that count are one item, and each try a conditional write of it."""

import random
from collections.abc import Callable
from datetime import datetime

from pynamodb.attributes import ListAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.transactions import TransactWrite

from licensing.errors import TemporarilyUnavailable, TooManyRequests
from licensing.rules.limits import Limit, admit
from licensing.store import tables
from licensing.store.tables import Expiring

_RACES = 6


class LimitItem(Expiring, discriminator="limit"):
    """The times (epoch seconds, oldest first) of what counts towards a limit."""

    times = ListAttribute[int]()


def count_try(limit: Limit, subject: str, now: datetime) -> None:
    """Count one try, before anything is compared. Raises TooManyRequests, uncounted, when the limit is reached."""
    counting(limit, subject, now, lambda transaction: None)


def check(limit: Limit, subject: str, now: datetime) -> None:
    """Look whether a try would be admitted, to spare the work before it is counted. Raises TooManyRequests."""
    _admitted(limit, subject, now)


def counting(limit: Limit, subject: str, now: datetime, fill: Callable[[TransactWrite], None]) -> None:
    """Write what ``fill`` adds, and count a try with it in the same transaction.

    Raises TooManyRequests when the limit is reached, ConditionFailed when a condition of ``fill`` failed.
    """
    for _ in range(_RACES):
        counted, unchanged = _admitted(limit, subject, now)

        # Puts come in the order of the calls, so the limit's own condition is the first of them.
        def write(transaction: TransactWrite, item: LimitItem = counted, condition: Condition = unchanged) -> None:
            transaction.save(item, condition=condition)
            fill(transaction)

        try:
            tables.transact(write)
        except tables.ConditionFailed as error:
            if 0 not in error.failed:
                raise
            continue
        return
    raise TemporarilyUnavailable(retry_after=random.randint(1, 5))  # noqa: S311  jitter, not a secret


def _admitted(limit: Limit, subject: str, now: datetime) -> tuple[LimitItem, Condition]:
    key = (f"LIMIT#{limit.name}#{subject}", "LIMIT")
    epoch = int(now.timestamp())
    item = tables.find(LimitItem, *key)
    times, wait = admit(limit, item.times if item else [], epoch)
    if wait is not None:
        raise TooManyRequests(retry_after=wait)
    counted = LimitItem(*key, times=times, expires_at=epoch + int(limit.period.total_seconds()))
    return counted, LimitItem.times == item.times if item else LimitItem.pk.does_not_exist()
