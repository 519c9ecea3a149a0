"""Retention of the operation log (A9): sealing what is due and deleting what is past, for any number of customers.

The schedule puts a message for each part of the directory of customers into a queue. A worker takes its part customer by customer
until its time is up, and queues the rest. All that it does can be done twice, late, or by two at once.
"""

import gzip
import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.transactions import TransactWrite

from licensing import deployment
from licensing.errors import LicensingError, NotFound, TemporarilyUnavailable
from licensing.log_reading import as_record, kept
from licensing.operations import operation, record_in
from licensing.rules.operations import Origin
from licensing.rules.people import VENDOR
from licensing.rules.retention import last_day_past, oldest_kept
from licensing.rules.seals import Entry
from licensing.sealing import seal_next, signed_count, tombstone
from licensing.store import accounts, operations, people, seals, tables
from licensing.store.seals import Seal

logger = Logger(child=True)

CLEANER = Origin("schedule", "log-cleanup")
_BATCH = 25
_CUSTOMERS_PER_PAGE = 100
_SECONDS_BETWEEN_SHARDS = 50


def _pause() -> None:
    """Some 500 deletes a second at most: half of what one partition takes, so that the servers' own entries fit in."""
    time.sleep(random.uniform(0.03, 0.07))  # noqa: S311  jitter, not a secret


#: What happens between two batches of deletes.
pause: Callable[[], None] = _pause


@dataclass
class Cleaned:
    """What was done; ``complete`` where nothing is left that is due. ``deleted`` are the operations of the days cut."""

    sealed_days: int = 0
    deleted: int = 0
    cut_days: int = 0
    complete: bool = True


def fan_out() -> int:
    """Queue the work on every part of the directory, spread over a quarter of an hour, and on the vendor's and resellers' own logs.

    Returns the number of messages.
    """
    for shard in range(accounts.SHARDS):
        _send({"shard": shard, "after": ""}, delay=shard * _SECONDS_BETWEEN_SHARDS)
    own = [VENDOR, *people.resellers()]
    for owner in own:
        _send({"customer_id": owner})
    return accounts.SHARDS + len(own)


def work(message: dict[str, Any], now: datetime, going_on: Callable[[], bool], done: Cleaned) -> None:
    """Do what a message asks for until ``going_on`` says no, and queue what is left; ``done`` says how much, whatever is raised.

    A message names a part of the directory and the customer that was done last, or one customer. A customer that can't be done
    becomes a message of its own: it holds up nobody else, and ends in the dead-letter queue if it goes on like that.
    Raises TemporarilyUnavailable.
    """
    if "customer_id" in message:
        clean(message["customer_id"], now, going_on, done)
        if not done.complete:
            _send(message)
        return
    after = message["after"]
    while page := accounts.customer_ids(message["shard"], after, _CUSTOMERS_PER_PAGE):
        for customer_id in page:
            try:
                clean(customer_id, now, going_on, done)
            except Exception as error:  # whatever it is: with the next delivery it would hold up the others again
                code = error.code if isinstance(error, LicensingError) else type(error).__name__
                logger.warning("customer_not_cleaned", customer_id=customer_id, code=code, exc_info=True)
                _send({"customer_id": customer_id})
            if not done.complete:
                _send({**message, "after": after})
                return
            after = customer_id


def _send(message: dict[str, Any], delay: int = 0) -> None:
    try:
        deployment.aws_client("sqs").send_message(
            QueueUrl=deployment.log_cleanup_queue_url(), MessageBody=json.dumps(message), DelaySeconds=delay
        )
    except (ClientError, BotoCoreError) as error:
        raise TemporarilyUnavailable from error


def clean(
    customer_id: str, now: datetime, going_on: Callable[[], bool] = lambda: True, done: Cleaned | None = None
) -> Cleaned:
    """Seal a log's days that are due, and cut those that lie before its retention as a whole; adds to ``done``.

    The log is a customer's, or the vendor's or a reseller's own.
    Only sealed days are cut. Raises TemporarilyUnavailable; what was done until then stays done.
    """
    done = done or Cleaned()
    try:
        kept_days, time_zone = kept(customer_id, now)
    except NotFound:
        return done
    while sealed := tables.unraced(lambda: seal_next(customer_id, now)):
        done.sealed_days += sealed
        if not going_on():
            done.complete = False
            return done
    last = last_day_past(oldest_kept(kept_days, time_zone, now))
    cut_through = seals.head(customer_id).cut_through
    first = cut_through + timedelta(days=1) if cut_through else None
    for seal in seals.seals(customer_id, first, last):
        if seal.tombstone is not None:
            continue
        if not going_on():
            done.complete = False
            return done
        if not _cut(customer_id, seal, kept_days, now, going_on, done):
            done.complete = False
            return done
    return done


def _cut(
    customer_id: str, seal: Seal, kept_days: int, now: datetime, going_on: Callable[[], bool], done: Cleaned
) -> bool:
    """Archive and delete a day, and leave a tombstone; False where time was up before. The next time it goes on."""
    day = date.fromisoformat(seal.day)
    if deployment.archive_bucket() and not seal.archived:
        _archive(customer_id, day, seal.count)
    found = seal.found
    if found is None:
        found = seals.note_found(customer_id, day, operations.count(customer_id, day))
    while True:
        strays: list[Entry] = []
        batch = operations.page(customer_id, day, limit=_BATCH, strays=strays)
        operations.delete(customer_id, day, [*(stored.entry for stored in batch), *strays])
        if len(batch) < _BATCH:  # the last ones: nothing is added to a sealed day
            break
        if not going_on():
            return False
        pause()
    seals.delete_leaves(customer_id, day)
    sealed = signed_count(customer_id, seal, now)
    differs = found != sealed
    if differs:
        logger.warning("cut_does_not_fit_seal", customer_id=customer_id, day=seal.day, found=found, sealed=sealed)
    told = operation(
        customer_id, CLEANER, "log.cut", now, day=seal.day, entries=found, sealed=sealed if differs else None
    )
    mark = tombstone(customer_id, seal, kept_days, now)

    def fill(transaction: TransactWrite) -> None:
        seals.cut_in(transaction, customer_id, day, mark)
        record_in(transaction, told)

    with suppress(tables.ConditionFailed):  # somebody else was at it too, and faster
        tables.transact(fill)
        done.cut_days += 1
        done.deleted += found
    return True


def _archive(customer_id: str, day: date, sealed: int) -> None:
    """One compressed object of JSON Lines for a customer and day, under keys that Athena reads as partitions.

    It is noted before the first entry is deleted, so that no archive of half a day ever replaces that of the whole.
    """
    found = operations.page(customer_id, day)
    if len(found) < sealed and (seal := seals.get(customer_id, day)) and seal.archived:
        return  # somebody else archived it, and is deleting
    lines = "".join(json.dumps(as_record(each.operation), ensure_ascii=False) + "\n" for each in found)
    try:
        deployment.aws_client("s3").put_object(
            Bucket=deployment.archive_bucket(),
            Key=f"operations/day={day}/customer={customer_id}/operations.jsonl.gz",
            Body=gzip.compress(lines.encode(), mtime=0),
            ContentType="application/x-ndjson",
            ContentEncoding="gzip",
        )
    except (ClientError, BotoCoreError) as error:
        raise TemporarilyUnavailable from error
    seals.mark_archived(customer_id, day)
