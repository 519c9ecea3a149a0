"""Alerts (F7): each exactly once for each recipient and threshold, however often, late or badly anything of it runs."""

import email
import email.policy
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from botocore.exceptions import BotoCoreError, ClientError
from licensing import administration, alerts, loading
from licensing.languages import language
from licensing.store import alerts as store
from licensing.store import tables
from licensing.store.accounts import CustomerItem, LicenseItem
from licensing.store.alerts import ClosedItem, DigestItem, FindingItem
from licensing.store.operations import OperationItem

from tests.simulation.cloud import DOCUMENT, TAX_ID, Cloud, Mail
from tests.simulation.scenario import Scenario
from tests.simulation.simulator import BEGIN, must

#: The rule once more, in its own words: so many days before an end, and the day after it.
STEPS = (-60, -30, -14, -7, -3, -1, 0, 1)
DAYS = 4
_DESK, _GIULIA, _ELIN = "licenses@aurora.example", "giulia@officine.example", "elin@nordljus.example"
_OTHER = "SE5565678900"
#: License code to its customer, and the days from the beginning to its end.
_LICENSES = {"SU-1000": (TAX_ID, 4), "SU-2000": (TAX_ID, 9), "SU-3000": (_OTHER, 2)}
_PEOPLE = {TAX_ID: {_GIULIA, _DESK}, _OTHER: {_ELIN, _DESK}}
_IN_HAND = timedelta(minutes=10)

#: License code, the day that it was said to end on, step.
Claim = tuple[str, date, int]


@dataclass
class _Work:
    """What a worker has in hand, since which step of the run; ``hurried`` if its time was up before it was done."""

    message: dict[str, Any]
    since: int
    at: datetime
    hurried: bool = False


class Alerts(Scenario):
    """Days on which the schedule runs twice, late or never, workers that die and get everything out of order and again, a clerk who
    renews, a reader who unsubscribes, and a customer whose document can't be worked with for a while: nothing is told twice, left
    out, told in bursts, or told of what was renewed, and nobody else waits.
    """

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        products = [{"sku": "SU", "application": "queueing", "name": "Queueing", "type": "subscription"}]
        first = BEGIN.date()
        other = {
            "name": "Nordljus Vård AB",
            "tax_id": _OTHER,
            "country": "SE",
            "time_zone": "America/Los_Angeles",
            "contacts": [{"name": "Elin Åkesson", "email": _ELIN}],
            "installations": [{"name": "Luleå"}],
        }
        customers = {TAX_ID: DOCUMENT["customers"][0], _OTHER: other}
        for tax_id, customer in customers.items():
            licenses = [
                {"code": code, "sku": "SU", "quantity": 3, "last_day": first + timedelta(days=days)}
                for code, (of, days) in _LICENSES.items()
                if of == tax_id
            ]
            customers[tax_id] = {**customer, "licenses": licenses}
        loading.load({"products": products, "customers": list(customers.values())}, BEGIN)
        return {tax_id: administration.find_account(tax_id).customer for tax_id in customers}, customers

    def begin(self) -> None:
        self.customers, self.documents = self.props
        first = BEGIN.date()
        #: Each license's ends, with the step of the run since which it holds.
        self.ends = {code: [(0, first + timedelta(days=days))] for code, (_, days) in _LICENSES.items()}
        self.claims: dict[Claim, datetime] = {}
        self.findings: set[tuple[str, str]] = set()
        self.seen = 0
        self.mails: Counter[tuple[str, Claim]] = Counter()
        self.sent_last: dict[tuple[str, str], tuple[_Work, datetime]] = {}
        self.unsubscribed: dict[str, int] = {}
        self.at_work: dict[str, list[_Work]] = {}
        self.in_hand: dict[str, str] = {}
        self.over = False
        self.people()

    def people(self) -> None:
        """Name the actors."""
        self.actor("schedule", self.days)
        for n in range(2):
            self.actor(f"worker-{n}", partial(self.work, f"worker-{n}"))
        self.actor("clerk", self.renew)
        if self.pick(2):
            self.actor("reader", self.unsubscribe)
        if self.pick(2):
            self.actor("vandal", self.spoil)

    # ── who acts ──

    def days(self) -> None:
        """Every day at four, as EventBridge Scheduler does it: once, twice, late, or not at all."""
        for day in range(1, DAYS + 1):
            self.until_morning(day)
            match self.pick(5, 0.5):
                case 0:
                    self.ask("the schedule", lambda: alerts.begin(self.now))
                case 1:
                    self.ask("the schedule", lambda: alerts.begin(self.now))
                    self.ask("the schedule again", lambda: alerts.begin(self.now))
                case 2:
                    self.pause(3600 * (1 + self.pick(23)))
                    self.ask("the schedule, late", lambda: alerts.begin(self.now))
        self.over = True

    def until_morning(self, day: int) -> None:
        morning = BEGIN.replace(hour=4) + timedelta(days=day)
        self.pause(max(0, (morning - self.now).total_seconds()))

    def work(self, name: str) -> None:
        """Take messages in any order, as Lambda's mapping does: what it dies over comes again, and so does some that was done."""
        idle = 0
        while idle < 3:
            if name not in self.in_hand:
                if not self.cloud.queue:
                    idle += self.over
                    self.pause(1800)
                    continue
                self.in_hand[name] = self.cloud.queue.pop(self.pick(len(self.cloud.queue), 0.3)).body
            idle = 0
            message = json.loads(self.in_hand[name])
            failed = False
            # Who can't be worked with fails alone, never with a part.
            alone: tuple[type[Exception], ...] = () if "shard" in message else (ZoneInfoNotFoundError,)
            trouble = (*_TROUBLE, *alone)
            try:
                self.ask(_brief(message), partial(self.serve, message, 1 + self.pick(8)), allowed=trouble)
            except trouble:
                failed = True
            if failed or self.pick(2, 0.05):
                self.cloud.queue.append(Mail(self.in_hand[name], self.now.timestamp()))
                self.pause(600 if failed else 0)
            del self.in_hand[name]

    def renew(self) -> None:
        """Renew, or let end earlier, as the schedule runs or some time later."""
        for _ in range(self.pick(4)):
            self.until_morning(1 + self.pick(DAYS))
            code = sorted(self.ends)[self.pick(len(self.ends))]
            day = self.now.date() + timedelta(days=(365, 3, 1)[self.pick(3)])
            self.ask("renew", partial(self.set_end, code, day))

    def set_end(self, code: str, day: date) -> None:
        tax_id = _LICENSES[code][0]
        license = {"code": code, "sku": "SU", "quantity": 3, "last_day": day}
        loading.load({"customers": [{**self.documents[tax_id], "licenses": [license]}]}, self.now)

    def unsubscribe(self) -> None:
        self.until_morning(1 + self.pick(DAYS))
        address = (_DESK, _GIULIA)[self.pick(2)]
        self.unsubscribed[address] = 0
        self.ask("unsubscribe", lambda: store.set_unsubscribed(address, ("expiry",)))
        self.unsubscribed[address] = self.simulation.steps

    def spoil(self) -> None:
        """Give a customer's document an unknown time zone, and mend it hours or days later."""
        self.until_morning(self.pick(DAYS))
        self.ask("spoil", lambda: self.set_time_zone("Mars/Olympus"))
        self.pause(3600 * (1 + self.pick(48)))
        self.ask("mend", lambda: self.set_time_zone(self.customers[_OTHER].time_zone))

    def set_time_zone(self, name: str) -> None:
        item = tables.find(CustomerItem, self.customers[_OTHER].customer_id, "PROFILE")
        assert item
        item.body = replace(item.body, time_zone=name)
        tables.write(item.save)

    # ── a worker's work ──

    def serve(self, message: dict[str, Any], steps: int) -> None:
        left = iter([True] * steps)
        work = _Work(message, self.simulation.steps, self.now)

        def going_on() -> bool:
            work.hurried = not next(left, False)
            return not work.hurried

        name = self.running
        self.at_work.setdefault(name, []).append(work)
        try:
            alerts.work(message, work.at, going_on)
        finally:
            self.at_work[name].remove(work)
        if work.hurried:
            left_over = [{**json.loads(each.body), "after": ""} for each in self.cloud.queue]
            must({**message, "after": ""} in left_over, f"time is up, and nobody goes on with {message}")
        else:
            self.looked(work)

    def looked(self, work: _Work) -> None:
        """Who has looked at a part of the directory leaves nothing due: it is claimed, or its customer is queued."""
        waiting = [json.loads(each.body) for each in self.cloud.queue] + [*map(json.loads, self.in_hand.values())]
        for tax_id, customer in self.customers.items():
            alone = {"customer_id": customer.customer_id}
            part = store.shard_of(customer.customer_id) == work.message.get("shard")
            looked_at = part and customer.customer_id > work.message["after"] and alone not in waiting
            if looked_at or work.message == alone:
                for code, ends in self.ends.items():
                    if _LICENSES[code][0] == tax_id and ends[-1][0] <= work.since:
                        step = nearest(ends[-1][1], self.local(customer, work.at))
                        must(
                            step is None or self.is_told(code, ends[-1][1], step),
                            f"{code} was looked at, {step} is untold",
                        )

    def is_told(self, code: str, day: date, step: int) -> bool:
        return any(claim[:2] == (code, day) and claim[2] >= step for claim in self.claims)

    @staticmethod
    def local(customer: Any, at: datetime) -> date:
        return at.astimezone(ZoneInfo(customer.time_zone)).date()

    # ── what must hold ──

    def check(self) -> None:
        match self.simulation.trace[-1].what.partition(" ")[0]:
            case "TransactWriteItems":  # all that moves an end or claims an alert
                self.note_ends()
                self.note_claims()
                self.note_findings()
            case "SendEmail":
                self.note_mails(self.at_work[self.running][-1])
            case "PutEvents":
                self.check_events()

    @property
    def running(self) -> str:
        return self.simulation.running.name if self.simulation.running else ""

    def note_ends(self) -> None:
        for customer in self.customers.values():
            for row in self.cloud.rows(LicenseItem, customer.customer_id):
                code, day = row.body.code, row.body.last_day
                if code in self.ends and day and day != self.ends[code][-1][1]:
                    self.ends[code].append((self.simulation.steps, day))

    def note_claims(self) -> None:
        """An alert is claimed once, at its time, as the most urgent one of an end that still is."""
        found = Counter[Claim]()
        for tax_id, customer in self.customers.items():
            for row in self.cloud.rows(OperationItem, f"{customer.customer_id}#"):
                if row.action == "alert.raised" and row.details:
                    code, day = str(row.details["of"]), date.fromisoformat(str(row.details["day"]))
                    at = datetime.fromisoformat(f"{row.pk.split('#')[1]}T{row.sk.split('#')[0]}+00:00")
                    today = self.local(customer, at)
                    step = int(row.details["threshold"]) * (1 if today > day else -1)
                    claim = code, day, step
                    found[claim] += 1
                    must(_LICENSES[code][0] == tax_id, f"{code} is told to somebody else's people")
                    if claim not in self.claims:
                        must(self.ends[code][-1][1] == day, f"{claim} is claimed, and ends on {self.ends[code][-1][1]}")
                        must(
                            step == nearest(day, today),
                            f"{claim} is claimed on {today}: {nearest(day, today)} is nearest",
                        )
                        must(not self.is_told(code, day, step), f"{claim} is claimed after a more urgent one")
                        self.claims[claim] = at
        must(all(times == 1 for times in found.values()), f"claimed twice: {found}")

    def note_findings(self) -> None:
        """Nothing is added to a part of a day that is closed: who is told of it may have been decided already."""
        found = {(row.pk, row.sk) for row in self.cloud.rows(FindingItem, "FOUND#")}
        for place, _ in found - self.findings:
            must(
                self.cloud.find(ClosedItem, place, "CLOSED") is None, f"a finding is added to {place}, which is closed"
            )
        self.findings = found

    def note_mails(self, work: _Work) -> None:
        """An e-mail is of a digest that is not noted as sent, nobody else has in hand, and of what ended at some moment since."""
        for sent in self.cloud.sent_mail[self.seen :]:
            mail = email.message_from_string(sent.raw_data, policy=email.policy.default)
            address, day = work.message["digest"], work.message["of"]
            item = self.cloud.find(DigestItem, f"DIGEST#{address}", day)
            must(item, f"a digest that is not there is sent: {work.message}")
            assert item
            must(item.sent_at is None or not self.running, f"the digest of {day} is sent to {mail['to']} again")
            must(str(mail["to"]) == item.body.recipient.email, f"{mail['to']} gets somebody else's digest")
            before = self.sent_last.get((address, day))
            if before and before[0] is not work:  # a call is repeated at once where its answer was lost
                must(self.now >= before[1] + _IN_HAND, f"two send the digest of {day} to {mail['to']}")
            self.sent_last[address, day] = work, self.now
            lines = mail.get_body(("plain",)).get_content().splitlines()  # type: ignore[union-attr]
            spoken = language(item.body.recipient.language)
            for alert in (alert for group in item.body.groups for alert in group.alerts):
                if not any(f"({alert.code})" in line and spoken.date(alert.day) in line for line in lines):
                    continue  # it does not stand any more, or is not wanted
                claim = alert.code, alert.day, alert.step
                must(claim in self.claims, f"{claim} is mailed, and nobody claimed it")
                must(self.held_since(alert.code, alert.day, work.since), f"{claim} is mailed after the renewal")
                unwanted = self.unsubscribed.get(str(mail["to"])) and not _must_be_known(str(mail["to"]), alert.step)
                must(
                    not unwanted or self.unsubscribed[str(mail["to"])] > work.since,
                    f"{mail['to']} does without {claim}",
                )
                if before is None or before[0] is not work:
                    self.mails[str(mail["to"]), claim] += 1
        self.seen = len(self.cloud.sent_mail)

    def held_since(self, code: str, day: date, since: int) -> bool:
        """Whether a license ended on a day at some moment from a step of the run on."""
        until = [step for step, _ in self.ends[code][1:]] + [self.simulation.steps + 1]
        return any(end == day and last >= since for (_, end), last in zip(self.ends[code], until, strict=True))

    def check_events(self) -> None:
        """The events on the bus are of what was claimed, and the same one says the same."""
        told: dict[str, Any] = {}
        for detail in self.cloud.events:
            must(told.setdefault(detail["event_id"], detail) == detail, f"an event says two things: {detail}")
        for detail in told.values():
            must(_claim_of(detail) in self.claims, f"published, and not claimed: {detail}")
        must(len(told) == len({_claim_of(each) for each in told.values()}), "one alert is two events")

    # ── in the end ──

    def finish(self) -> None:
        """Two quiet days make everything good."""
        self.cloud.queue += (Mail(each, self.now.timestamp()) for each in self.in_hand.values())
        for later in range(1, 3):
            self.simulation.now = BEGIN.replace(hour=20) + timedelta(
                days=max(DAYS + later, (self.now - BEGIN).days + 1)
            )
            alerts.begin(self.now)
            for _ in range(300):
                if not self.cloud.queue:
                    break
                self.calmly(json.loads(self.cloud.queue.pop(0).body))
            must(not self.cloud.queue, "the queue does not run empty")
        published = {_claim_of(each) for each in self.cloud.events}
        for claim in self.claims:
            must(claim in published, f"{claim} is not published")
            code, day, step = claim
            people = _PEOPLE[_LICENSES[code][0]]
            for address in people if self.ends[code] == [(0, day)] else ():
                wanted = _must_be_known(address, step) or address not in self.unsubscribed
                # Of two steps of one end in a digest, the more urgent one is told.
                mailed = any(self.mails[address, (code, day, each)] for each in STEPS if each >= step)
                must(mailed or not wanted, f"{claim} is not mailed to {address}")
        for code, ends in self.ends.items():
            due = nearest(ends[-1][1], self.local(self.customers[_LICENSES[code][0]], self.now))
            must(due is None or self.is_told(code, ends[-1][1], due), f"{code}: {due} is told to nobody")

    def calmly(self, message: dict[str, Any]) -> None:
        sent, work = len(self.cloud.sent_mail), _Work(message, self.simulation.steps, self.now)
        digest = self.cloud.find(DigestItem, f"DIGEST#{message.get('digest')}", message.get("of", ""))
        try:
            alerts.work(message, self.now, lambda: True)
        except alerts.NotYet:
            self.cloud.queue.append(Mail(json.dumps(message), self.now.timestamp()))
            self.simulation.now += _IN_HAND
        must(
            len(self.cloud.sent_mail) == sent or (digest and digest.sent_at is None),
            "a digest is sent again in the end",
        )
        self.note_mails(work)
        self.note_claims()
        self.check_events()


class ClosedParts(Alerts):
    """A customer that could not be looked at is looked at alone, while its part of the directory is closed: what is found then goes
    into that day or the next, never into what is closed.
    """

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        props = super().prepare(cloud)
        store.open_run(BEGIN.date() + timedelta(days=1), BEGIN)
        return props

    def people(self) -> None:
        customer_id = self.customers[TAX_ID].customer_id
        day, shard = str(BEGIN.date() + timedelta(days=1)), store.shard_of(customer_id)
        self.actor("worker-0", partial(self.look, {"customer_id": customer_id}))
        self.actor("worker-1", partial(self.look, {"day": day, "shard": shard, "after": customer_id}))

    def look(self, message: dict[str, Any]) -> None:
        self.until_morning(1)
        with suppress(*_TROUBLE):
            self.ask(_brief(message), partial(self.serve, message, 8), allowed=_TROUBLE)

    def finish(self) -> None:
        """What becomes of findings is told by ``Alerts``."""


_TROUBLE: tuple[type[Exception], ...] = (alerts.NotYet, ClientError, BotoCoreError)


def nearest(day: date, today: date) -> int | None:
    """The step that is due today: the last one since the license was there."""
    known = BEGIN.date()
    due = [step for step in STEPS if known <= day + timedelta(days=step) <= today]
    return due[-1] if due and today - day <= timedelta(days=31) else None


def _claim_of(detail: dict[str, Any]) -> Claim:
    step = detail["threshold_days"] * (1 if detail["days_left"] < 0 else -1)
    return detail["license"]["license_code"], date.fromisoformat(detail["last_day"]), step


def _must_be_known(address: str, step: int) -> bool:
    """The customer's own people can't do without an end that is here."""
    return step >= 0 and address != _DESK


def _brief(message: dict[str, Any]) -> str:
    return "work " + " ".join(f"{name} {str(value)[-12:]}" for name, value in message.items())
