"""Many customers with long logs, and the nightly cleaning of them under faults: a queue that delivers twice and late, calls that
fail before or after they took effect, and workers that have hardly any time, or die.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from licensing import administration, identity, log_cleanup
from licensing.errors import TemporarilyUnavailable
from licensing.operations import operation, operation_id
from licensing.rules.accounts import Account, Customer
from licensing.rules.operations import Operation, Origin
from licensing.rules.vendor import Catalogue
from licensing.store import accounts
from licensing.store import operations as store
from licensing.store.operations import OperationItem
from moto.backends import get_backend

from infra.local.stack import Stack
from infra.local.template import ACCOUNT, REGION
from tests.support import faults
from tests.support.units import Meter

ZONES = ("Europe/Rome", "America/Sao_Paulo", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu")
KEPT_DAYS, HISTORY_DAYS, AGE = 10, 24, timedelta(days=30)
FAULTS = ("throttle", "timeout_before", "timeout_after", "unprocessed", "killed")


@dataclass
class Fleet:
    """Customers with their operations: those that are past once ten days are kept, and those that must stay."""

    customer_ids: list[str] = field(default_factory=list)
    old: set[str] = field(default_factory=set)
    young: set[str] = field(default_factory=set)


def make(
    now: datetime,
    customers: int,
    operations: int,
    progress: Callable[[int], None] = lambda done: None,
    kept_days: int = KEPT_DAYS,
) -> Fleet:
    """So many customers with so many operations between them, over the last 24 days."""
    fleet, each = Fleet(), operations // customers
    for n in range(customers):
        customer_id = identity.new_id("cus", now - AGE)
        zone = ZONES[n % len(ZONES)]
        customer = Customer(customer_id, f"Customer {n}", f"T{n}", "IT", zone, log_retention_days=kept_days)
        accounts.write(None, Account(customer), Catalogue())
        fleet.customer_ids.append(customer_id)
        cutoff = log_cleanup.last_day_past(log_cleanup.oldest_kept(KEPT_DAYS, zone, now))
        with OperationItem.batch_write() as batch:
            for k in range(each):
                day = k * HISTORY_DAYS // each

                at = (now - timedelta(days=HISTORY_DAYS - day)).replace(hour=k % 24, minute=k % 60, second=n % 60)
                told = Operation(
                    operation_id(f"{n} {k}", at), customer_id, at, Origin("server", f"ins_{n}", "host", "192.0.2.1"),
                    "server.validated", f"ins_{n}", details={"seq": k},
                )  # fmt: skip
                batch.save(store._item(told, at))
                (fleet.old if at.date() <= cutoff else fleet.young).add(told.operation_id)
        progress(n + 1)
    return fleet


def keep_ten_days(fleet: Fleet, now: datetime) -> None:
    """Shorten everybody's retention, as it is when the seven days of waiting are over."""

    def change(account: Account) -> Account:
        return replace(account, customer=replace(account.customer, log_retention_days=KEPT_DAYS))

    for customer_id in fleet.customer_ids:
        told = operation(customer_id, Origin("vendor", "bench"), "log.retention_changed", now, customer_id)
        administration.change_account(told, change)


class Killed(BaseException):
    """The function's time limit: no ``except`` of its own sees it."""


class Night:
    """One night's cleaning: ``rate`` of the AWS calls fail, as many deliveries come twice or late; time is for ``steps``."""

    def __init__(self, stack: Stack, seed: int, rate: float, steps: int) -> None:
        self.calls: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.done = log_cleanup.Cleaned()
        self.deliveries = self.failures = self.redriven = self.continuations = 0
        self.meter = Meter(_kind)
        self._late: list[str] = []
        self._random = random.Random(seed)
        self._rate, self._steps = rate, steps
        self._stack = stack
        self._sqs = boto3.client("sqs", region_name=REGION)
        urls = self._sqs.list_queues()["QueueUrls"]
        self._queue = next(url for url in urls if url.endswith("/LogCleanupQueue"))
        self._dead = next(url for url in urls if url.endswith("/UncleanedLogs"))

    def run(self, now: datetime, progress: Callable[["Night"], None] = lambda night: None) -> None:
        """Start the schedule, and work until both queues are empty; dead letters are redriven, as an operator would."""
        while True:
            with suppress(TemporarilyUnavailable, Killed), self._faults():
                log_cleanup.fan_out()
                break
        while self._deliver(now) or self._redrive() or self._deliver_late():
            progress(self)
        self.meter.settle()

    def waiting(self) -> int:
        """Messages in both queues."""
        queues = get_backend("sqs")[ACCOUNT][REGION].queues
        return sum(len(queues[name]._messages) for name in ("LogCleanupQueue", "UncleanedLogs"))

    def _deliver(self, now: datetime) -> bool:
        self._stack.aws.hurry_queues()
        messages = self._sqs.receive_message(QueueUrl=self._queue, VisibilityTimeout=0).get("Messages", [])
        for message in messages:
            self.deliveries += 1
            left = iter([True] * self._random.randint(1, self._steps))
            self.done.complete = True
            try:
                with self._faults():
                    log_cleanup.work(json.loads(message["Body"]), now, lambda: next(left, False), self.done)  # noqa: B023
            except (TemporarilyUnavailable, Killed):
                self.failures += 1
                continue
            self.continuations += not self.done.complete
            if self._random.random() < self._rate:
                self.met["delivered twice"] += 1
                continue
            if self._random.random() < self._rate:
                self._late.append(message["Body"])
            self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return bool(messages)

    def _deliver_late(self) -> bool:
        """What was delivered once already comes again, after everything else."""
        for body in self._late:
            self.met["delivered late"] += 1
            self._sqs.send_message(QueueUrl=self._queue, MessageBody=body)
        return bool(self._late and not self._late.clear())

    def _redrive(self) -> bool:
        messages = self._sqs.receive_message(QueueUrl=self._dead).get("Messages", [])
        for message in messages:
            self._sqs.send_message(QueueUrl=self._queue, MessageBody=message["Body"])
            self._sqs.delete_message(QueueUrl=self._dead, ReceiptHandle=message["ReceiptHandle"])
            self.redriven += 1
        return bool(messages)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        self._stack.aws.interceptor = self._intercept
        try:
            yield
        finally:
            self._stack.aws.interceptor = None

    def _intercept(self, event: str, request: Any) -> Any:
        _, service, called = event.split(".", 2)
        self.calls[f"{service}.{called}"] += 1
        fault = self._random.choice(FAULTS) if self._random.random() < self._rate else ""
        if (fault == "unprocessed" and called != "BatchWriteItem") or (fault == "throttle" and service == "s3"):
            fault = ""
        self.met.update([fault] if fault else [])
        if fault == "killed":
            raise Killed
        if fault in ("timeout_before", "throttle"):
            return faults.meet(fault, called, request)
        if fault == "unprocessed":
            return self._half(event, request)
        self.meter.note(event, request)
        return faults.meet(fault, called, request) if fault else None

    def _half(self, event: str, request: Any) -> Any:
        """DynamoDB takes the first half of a batch, and hands back the rest."""
        ((table, requests),) = json.loads(request.body)["RequestItems"].items()
        taken, rest = requests[: len(requests) // 2], requests[len(requests) // 2 :]
        if taken:
            request.body = json.dumps({"RequestItems": {table: taken}}).encode()
            self.meter.note(event, request)
            faults.carry_out(request)
        return faults.answer(request, 200, {"UnprocessedItems": {table: rest}})


def _kind(operation: str, table: str, partition: str) -> str:
    """What units are spent on: the partitions of entries are ``cus_…#day#site``."""
    if not partition.startswith("cus_") or partition.count("#") != 2:
        return "seals, heads, directory"
    return {"Query": "entries read", "BatchWriteItem": "entries deleted"}.get(operation, "entries written (log.cut)")


def left(fleet: Fleet) -> set[str]:
    """The operations of the fleet that are still there."""
    table = get_backend("dynamodb")[ACCOUNT][REGION].tables[OperationItem.Meta.table_name]
    found = {name.value.partition("#")[2] for part in table.items.values() for name in part}
    return found & (fleet.old | fleet.young)


def cut_in_log(fleet: Fleet) -> int:
    """How many operations the customers' logs say were deleted."""
    table = get_backend("dynamodb")[ACCOUNT][REGION].tables[OperationItem.Meta.table_name]
    cut = [
        json.loads(item.attrs["d"].value)["entries"]
        for pk, part in table.items.items()
        for item in part.values()
        if pk.value.partition("#")[0] in fleet.customer_ids
        and item.attrs.get("a")
        and item.attrs["a"].value == "log.cut"
    ]
    return sum(cut)


def midday() -> datetime:
    """A time at which no zone's midnight is near."""
    return datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
