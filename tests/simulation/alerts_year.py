"""A year of alerts, day by day: runs that fail, come late or twice, deliveries that come twice, renewals in between.

    python -m tests.simulation.alerts_year [days] [seed]

What is expected is worked out by a second, simpler account of the rule. Each alert has to reach each recipient exactly once, by
e-mail and as an event, and no other may.
"""

import tests.conftest  # noqa: F401  the tables' names, before the library is imported

# isort: split
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
from licensing.rules.vendor import AlertDays
from licensing.store import accounts

from infra.local.functions import FunctionFailed
from infra.local.stack import Stack
from tests.simulation import quick
from tests.support.alerts import Subscriber, customer_id, mails, quiet, run_schedule, set_end, work_off
from tests.support.cloud import Cloud
from tests.support.visitor import MARTA

#: Licenses that are renewed and end, by code, with the tax id of their customer.
LICENSES = {
    "RP-5TVJ-8B6C": "IT00743110157",
    "AQ-7F3K-92MD": "IT00743110157",
    "HS-6NQP-2M8Z": "ESA58818501",
    "CR-7JMF-4Q2D": "SE5565678900",
}
_OLDEST_NEWS = 31


@dataclass
class Told:
    """What was expected, and what came: how often each license, end and step was told to each recipient, and published."""

    expected: Counter[tuple[str, date, int]] = field(default_factory=Counter)
    mailed: Counter[tuple[str, date, int]] = field(default_factory=Counter)
    published: Counter[tuple[str, date, int]] = field(default_factory=Counter)
    runs: int = 0
    failed: int = 0
    recipients: set[str] = field(default_factory=set)


def simulate(
    cloud: Cloud, days: int, seed: int, within: int = 62, progress: Callable[[int], None] = lambda day: None
) -> Told:
    """Go through the days. Nothing but LICENSES may end in the meantime; at first they do ``within`` so many days."""
    chance, told = random.Random(seed), Told()
    subscriber = Subscriber(cloud, "Year")
    begin = cloud.now.date()
    ends: dict[str, date] = {}
    for code in LICENSES:
        ends[code] = begin + timedelta(days=chance.randint(3, within))
        set_end(cloud, code, ends[code], care=None, care_until=None)
    nearest: dict[tuple[str, date], int] = {}
    # Thresholds from before a license was there are not told.
    since = {code: _made_on(code, tax_id) for code, tax_id in LICENSES.items()}
    for day in range(days):
        progress(day)
        cloud.set_time(f"{cloud.now.date() + timedelta(days=1)}T04:{chance.randint(10, 50)}:00+00:00")
        today = cloud.now.date()
        for code in LICENSES:
            left = (ends[code] - today).days
            if chance.random() < (0.3 if -5 < left < 0 else 0.01):
                ends[code] = max(ends[code], today) + timedelta(days=chance.choice([20, 45, 90]))
                set_end(cloud, code, ends[code], care=None, care_until=None)
        fate = chance.choice(["runs", "runs", "runs", "runs", "twice", "fails", "lost", "late"])
        if fate == "fails":
            told.failed += 1
            continue
        _note_expected(told, ends, today, nearest, since)
        told.runs += 1
        if fate == "lost":
            _lose_the_queue(cloud)
        run_schedule(cloud, 2 if fate == "twice" else 1)
        if fate == "late":
            cloud.stack.clock.advance(timedelta(hours=9))
            run_schedule(cloud)
    cloud.set_time(f"{cloud.now.date() + timedelta(days=1)}T04:30:00+00:00")
    _note_expected(told, ends, cloud.now.date(), nearest, since)
    run_schedule(cloud)
    _count(cloud, subscriber, told)
    return told


def _made_on(code: str, tax_id: str) -> date:
    """The day, in its customer's calendar, that a license was made on: its id begins with the moment."""
    account = accounts.read(customer_id(tax_id))
    assert account
    license_id = next(key for key, each in account.licenses.items() if each.code == code)
    made_at = datetime.fromtimestamp(int(license_id.partition("_")[2][:12], 16) / 1000, UTC)
    return made_at.astimezone(ZoneInfo(account.customer.time_zone)).date()


def _note_expected(
    told: Told, ends: dict[str, date], today: date, nearest: dict[tuple[str, date], int], since: dict[str, date]
) -> None:
    for code, end in ends.items():
        left = (end - today).days
        steps = [n for n in (*AlertDays().before, -1) if left <= n and end - timedelta(days=n) >= since[code]]
        if steps and left >= -_OLDEST_NEWS and nearest.get((code, end), 1000) > min(steps):
            nearest[code, end] = min(steps)
            told.expected[code, end, min(steps)] = 1


def _lose_the_queue(cloud: Cloud) -> None:
    """A run whose first workers die, and whose messages come again."""
    cloud.post("/local/schedules/FindExpiries/run", b"")
    invoke, deaths = cloud.stack.functions.invoke, [0]

    def failing(function, event, site):  # type: ignore[no-untyped-def]
        deaths[0] += 1
        if deaths[0] % 3 == 0:
            invoke(function, event, site)  # it did its work, and died before it could say so
            raise FunctionFailed("died")
        return invoke(function, event, site)

    cloud.stack.functions.invoke = failing  # type: ignore[method-assign]
    try:
        for _ in range(40):
            if not cloud.work_off_queue():
                break
    finally:
        cloud.stack.functions.invoke = invoke  # type: ignore[method-assign]
    work_off(cloud)


def _count(cloud: Cloud, subscriber: Subscriber, told: Told) -> None:
    seen: set[str] = set()
    for kind, detail in subscriber.events():
        if kind in ("LicenseExpiring", "LicenseExpired") and detail["event_id"] not in seen:
            seen.add(detail["event_id"])  # the bus delivers at least once: subscribers drop what they have seen
            step = detail["threshold_days"] * (-1 if kind == "LicenseExpired" else 1)
            told.published[detail["license"]["license_code"], date.fromisoformat(detail["last_day"]), step] += 1
    steps = {(code, str(end), step) for code, end, step in told.published}
    by_recipient: dict[str, Counter[tuple[str, date, int]]] = {}
    for mail in mails(cloud):
        for code in re.findall(r"\(([A-Z]{2}-[0-9A-Z]{4}-[0-9A-Z]{4})\)", mail.text):
            by_recipient.setdefault(mail.to, Counter())[code, date.min, 0] += 1
    told.recipients = set(by_recipient)
    # Per recipient and license, as many lines as alerts; which alert a line is, its event says.
    for code, tax_id in LICENSES.items():
        alerts = [key for key in told.published if key[0] == code]
        account = accounts.read(customer_id(tax_id))
        assert account
        audience = {contact.email for contact in account.customer.contacts} | {MARTA}
        audience |= {each for each, lines in by_recipient.items() if lines[code, date.min, 0]}
        if {by_recipient.get(each, Counter())[code, date.min, 0] for each in audience} == {len(alerts)}:
            told.mailed.update({key: told.published[key] for key in alerts})
    assert len(steps) == len(told.published)


def main(days: int, seed: int) -> None:
    """Run it, and print what came of it."""

    def say(day: int) -> None:
        print(f"\rday {day} of {days}", end="", file=sys.stderr, flush=True)

    with ExitStack() as open_:
        directory = Path(open_.enter_context(tempfile.TemporaryDirectory())) / "stack"
        stack = open_.enter_context(Stack(directory=directory))
        quick.install(open_)
        stack.queues.stop()
        cloud = Cloud(stack, open_.enter_context(httpx.Client(trust_env=False, timeout=60)))
        quiet(cloud)
        told = simulate(cloud, days, seed, progress=say)
    print(file=sys.stderr)
    missed, extra = told.expected - told.mailed, told.mailed - told.expected
    print(f"{days} days, seed {seed}: {told.runs} runs, {told.failed} failed days")
    print(f"expected {sum(told.expected.values())} alerts, published {sum(told.published.values())}")
    print(f"missed {sum(missed.values())}, too many {sum(extra.values())}")
    if missed or extra or told.published != told.expected:
        sys.exit(f"missed {missed}\nextra {extra}\npublished {told.published - told.expected}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 365, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
