"""Many customers with long logs, and the nightly cleaning of them under faults: a queue that delivers twice and late, calls that
fail before or after they took effect, and workers that have hardly any time.
"""

import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from licensing import identity, log_cleanup
from licensing.errors import TemporarilyUnavailable
from licensing.operations import operation_id
from licensing.rules.accounts import Account, Customer
from licensing.rules.operations import Operation, Origin
from licensing.rules.vendor import Catalogue
from licensing.store import accounts
from licensing.store import operations as store
from licensing.store.operations import OperationItem
from moto.core.botocore_stubber import BotocoreStubber

from infra.local.stack import Stack
from infra.local.template import REGION

ZONES = ("Europe/Rome", "America/Sao_Paulo", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu")
KEPT_DAYS, HISTORY_DAYS, AGE = 10, 24, timedelta(days=30)


@dataclass
class Fleet:
    """Customers with their operations: those that are past, and those that must stay."""

    customer_ids: list[str] = field(default_factory=list)
    old: set[str] = field(default_factory=set)
    young: set[str] = field(default_factory=set)


def make(now: datetime, customers: int, operations: int, progress: Callable[[int], None] = lambda done: None) -> Fleet:
    """So many customers with so many operations between them, over the last 24 days; each keeps ten."""
    fleet, each = Fleet(), operations // customers
    for n in range(customers):
        customer_id = identity.new_id("cus", now - AGE)
        zone = ZONES[n % len(ZONES)]
        customer = Customer(customer_id, f"Customer {n}", f"T{n}", "IT", zone, log_retention_days=KEPT_DAYS)
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


class Night:
    """One night's cleaning. ``rate`` of the AWS calls fail, as many deliveries come twice; a worker has time for ``steps``."""

    def __init__(self, stack: Stack, seed: int, rate: float, steps: int) -> None:
        self.calls: Counter[str] = Counter()
        self.done = log_cleanup.Cleaned()
        self.deliveries = self.failures = self.redriven = 0
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
            with suppress(TemporarilyUnavailable), self._faults():
                log_cleanup.fan_out()
                break
        while self._deliver(now) or self._redrive():
            progress(self)

    def _deliver(self, now: datetime) -> bool:
        self._stack.aws.hurry_queues()
        messages = self._sqs.receive_message(QueueUrl=self._queue, VisibilityTimeout=0).get("Messages", [])
        for message in messages:
            self.deliveries += 1
            left = iter([True] * self._random.randint(1, self._steps))
            try:
                with self._faults():
                    self.done.add(log_cleanup.work(json.loads(message["Body"]), now, lambda: next(left, False)))  # noqa: B023
            except TemporarilyUnavailable:
                self.failures += 1
                continue
            if self._random.random() >= self._rate:  # else it is delivered once more
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return bool(messages)

    def _redrive(self) -> bool:
        messages = self._sqs.receive_message(QueueUrl=self._dead).get("Messages", [])
        for message in messages:
            self._sqs.send_message(QueueUrl=self._queue, MessageBody=message["Body"])
            self._sqs.delete_message(QueueUrl=self._dead, ReceiptHandle=message["ReceiptHandle"])
            self.redriven += 1
        return bool(messages)

    def _faults(self) -> Any:
        from contextlib import contextmanager

        real = BotocoreStubber.process_request

        def intercept(event: str, request: Any) -> None:
            _, service, operation = event.split(".", 2)
            self.calls[f"{service}.{operation}"] += 1
            chance = self._random.random()
            if chance < self._rate / 2:
                raise ConnectTimeoutError(endpoint_url=request.url)
            if chance < self._rate:
                real(BotocoreStubber(), request)
                raise ReadTimeoutError(endpoint_url=request.url)

        @contextmanager
        def failing() -> Any:
            self._stack.aws.interceptor = intercept
            try:
                yield
            finally:
                self._stack.aws.interceptor = None

        return failing()


def left(fleet: Fleet) -> set[str]:
    """The operations of the fleet that are still there."""
    return {item.sk.split("#")[1] for item in OperationItem.scan() if "#op_" in item.sk} & (fleet.old | fleet.young)


def midday() -> datetime:
    """A time at which no zone's midnight is near."""
    return datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
