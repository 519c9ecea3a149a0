"""The template's schedules: none of them runs by itself here, each can be run now."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from infra.local.functions import FunctionFailed
from infra.local.template import Function, Trigger

if TYPE_CHECKING:
    from infra.local.stack import Stack

_DAILY = re.compile(r"cron\((\d+) (\d+) \* \* \? \*\)")


@dataclass(frozen=True)
class Run:
    """How a schedule ran. ``at`` is by the stack's clock; ``failure`` says why, if it failed.

    ``counted`` has the metrics that it wrote, and those of the functions that took what it queued; ``mails`` is how many were sent.
    """

    at: datetime
    result: Any = None
    failure: str = ""
    counted: Counter[str] = field(default_factory=Counter)
    mails: int = 0


@dataclass(frozen=True)
class Schedule:
    """One of them, and its last run here, if any."""

    function: Function
    trigger: Trigger
    last_run: Run | None

    @property
    def name(self) -> str:
        """As in the template."""
        return self.trigger.name

    @property
    def expression(self) -> str:
        """EventBridge Scheduler's."""
        return str(self.trigger.properties["ScheduleExpression"])

    @property
    def when(self) -> str:
        """The expression in words, where it is a daily one."""
        daily = _DAILY.fullmatch(self.expression)
        return f"Every day at {int(daily[2]):02}:{int(daily[1]):02} UTC" if daily else self.expression

    @property
    def description(self) -> str:
        """What it does."""
        return str(self.trigger.properties.get("Description", ""))

    @property
    def window(self) -> int | None:
        """The minutes within which it starts, if it is flexible."""
        window: int | None = self.trigger.properties.get("FlexibleTimeWindow", {}).get("MaximumWindowInMinutes")
        return window


class Schedules:
    """All schedules of a stack, with how each ran last since the start, or since the last reset."""

    def __init__(self, stack: "Stack") -> None:
        self._stack = stack
        self._last_runs: dict[str, Run] = {}

    def __iter__(self) -> Iterator[Schedule]:
        """In the template's order."""
        for function, trigger in self._stack.functions.triggers("ScheduleV2"):
            yield Schedule(function, trigger, self._last_runs.get(trigger.name))

    def run(self, schedule: Schedule) -> Run:
        """Run one, with all that it queues."""
        at, log, mails = self._stack.clock(), self._stack.directory / "functions.log", self._stack.aws.sent_mail
        before, sent = log.stat().st_size, len(mails)
        try:
            result = self._stack.run_schedule(schedule.function)
            with log.open("rb") as file:
                file.seek(before)
                counted = _metrics(file.read().decode("utf-8", "replace"))
            run = Run(at, result, counted=counted, mails=len(mails) - sent)
        except FunctionFailed as failure:
            run = Run(at, failure=str(failure))
        self._last_runs[schedule.name] = run
        return run

    def forget(self) -> None:
        """Nothing ran yet."""
        self._last_runs.clear()


def _metrics(log: str) -> Counter[str]:
    """The sums of all metrics in a log: lines in CloudWatch's embedded metric format."""
    sums: Counter[str] = Counter()
    for line in log.splitlines():
        if line.startswith('{"_aws"'):
            document = json.loads(line)
            for directive in document["_aws"]["CloudWatchMetrics"]:
                for metric in directive["Metrics"]:
                    values = document[metric["Name"]]
                    sums[metric["Name"]] += round(sum(values) if isinstance(values, list) else values)
    return sums
