"""Sealing and cleaning the operation log (A9, F6): whatever dies, comes twice or late, all that is past goes and nothing else."""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from licensing import administration, log_cleanup, sealing
from licensing.operations import operation_id
from licensing.rules.operations import Operation, Origin
from licensing.store import operations as store
from licensing.store.operations import OperationItem

from tests.simulation.cloud import TAX_ID, Cloud
from tests.simulation.scenario import OPERATOR, Scenario
from tests.simulation.simulator import BEGIN, must

KEPT_DAYS, HISTORY_DAYS, EACH = 2, 9, 2
#: So many of them are past when the night begins.
OLD_DAYS = 7


class Retention(Scenario):
    """Two nights at once, and workers with hardly any time: days are sealed and cut whole, each once, and the seal holds."""

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        customer_id = administration.find_account(TAX_ID).customer.customer_id
        at_first = {row.sk.partition("#")[2]: BEGIN.date() for row in cloud.rows(OperationItem, f"{customer_id}#")}
        administration.set_log_retention(customer_id, KEPT_DAYS, OPERATOR, BEGIN)
        entries = dict(at_first)
        for n in range(HISTORY_DAYS * EACH):
            at = BEGIN + timedelta(days=n // EACH, minutes=n)
            told = Operation(
                operation_id(f"told {n}", at), customer_id, at, Origin("server", "ins_1", "host"), "server.validated"
            )
            store.put(told)
            entries[told.operation_id] = at.date()
        return customer_id, entries

    def begin(self) -> None:
        self.customer_id, self.entries = self.props
        self.in_hand: dict[str, str] = {}
        self.nights = 0
        for n in range(1 + self.pick(2)):
            self.actor(f"night-{n}", self.night, after=86400 * (OLD_DAYS + 3))
        for n in range(2):
            self.actor(f"worker-{n}", partial(self.work, f"worker-{n}"), after=86400 * (OLD_DAYS + 3))

    def night(self) -> None:
        self.ask("the schedule", log_cleanup.fan_out)
        self.nights += 1

    def work(self, name: str) -> None:
        """Take messages, as Lambda's mapping does: what it dies over comes again."""
        idle = 0
        while idle < 20:
            if name not in self.in_hand:
                if not self.cloud.queue:
                    idle += self.nights > 0
                    self.pause(60)
                    continue
                self.in_hand[name] = self.cloud.queue.pop(0).body
            idle = 0
            message = json.loads(self.in_hand[name])
            self.ask("clean", partial(self.clean, message, 1 + self.pick(6)))
            del self.in_hand[name]

    def clean(self, message: dict[str, Any], steps: int) -> None:
        left = iter([True] * steps)
        log_cleanup.work(message, self.now, lambda: next(left, False), log_cleanup.Cleaned())

    def left(self) -> tuple[set[str], Counter[str]]:
        """The entries that are there, and how often each day is said to be cut."""
        there, cut = set[str](), Counter[str]()
        for row in self.cloud.rows(OperationItem, f"{self.customer_id}#"):
            if row.action == "log.cut" and row.details:
                cut[str(row.details["day"])] += 1
            there.add(row.sk.partition("#")[2])
        return there, cut

    def past(self, day: date) -> bool:
        """Whether a day (UTC) ended before the customer's midnight, so many days ago. Rome is an hour ahead in winter."""
        today = (self.now + timedelta(hours=1)).date()
        midnight = datetime(today.year, today.month, today.day, tzinfo=UTC) - timedelta(days=KEPT_DAYS, hours=1)
        return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) <= midnight

    def check(self) -> None:
        there, cut = self.left()
        for operation, day in self.entries.items():
            must(operation in there or self.past(day), f"{operation} of {day} is gone before its time")
        must(all(times == 1 for times in cut.values()), f"days are cut twice: {cut}")

    def finish(self) -> None:
        if not self.nights or self.in_hand or self.cloud.queue:  # when somebody was left out, to tell a failure shorter
            return
        there, cut = self.left()
        old = {each: day for each, day in self.entries.items() if day < (BEGIN + timedelta(days=OLD_DAYS)).date()}
        must(not old.keys() & there, f"{len(old.keys() & there)} old operations are left")
        must(set(map(str, old.values())) <= cut.keys(), f"of {set(old.values())} were cut {cut}")
        found = sealing.verify(self.customer_id, date.min, self.now.date(), self.now).findings
        must(not found, f"the seal does not hold: {found}")
