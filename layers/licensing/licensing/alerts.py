"""Alerts (F7): find what is due, once; tell it on the bus and by webhook; make one e-mail of it for each person and day.

A day goes like this. The schedule queues the parts of the directory of customers. A worker looks at its part customer by customer,
claims what is due, and closes the part. The last part to be closed queues the day's compilation: events are published, and what
each person is told is frozen as a digest. Then every digest is sent. What dies is delivered again, and finds done what was done.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.transactions import TransactWrite

from licensing import alert_mail, deployment, identity, webhooks
from licensing.errors import TemporarilyUnavailable
from licensing.operations import operation, record_in
from licensing.rules import alerts as rules
from licensing.rules.alert_events import EventType, event
from licensing.rules.alerts import Alert, Digest, Finding, People, Subject, people_of_reseller, people_of_vendor
from licensing.rules.heartbeat import local_date
from licensing.rules.operations import Operation, Origin
from licensing.rules.people import VENDOR, Reseller
from licensing.rules.vendor import Catalogue, Vendor
from licensing.store import accounts, activation_keys, key_sets, people, servers, tables
from licensing.store import alerts as store
from licensing.store import vendor as vendor_store

logger = Logger(child=True)

FINDER = Origin("schedule", "find-expiries")
#: ``source`` of our events on the bus.
EVENT_SOURCE = "cloud-licensing"
#: A transaction holds so many alerts, each with its operation, beside a few other items; the rest goes into the next one.
_AT_ONCE = 80
_CUSTOMERS_PER_PAGE = 100
#: The most that EventBridge and SQS take in one call.
_BATCH = 10


class NotYet(Exception):
    """Raised when somebody else has a digest in hand; the message is to be delivered again."""


def begin(now: datetime) -> int:
    """Queue the look at all customers, and what earlier days left undone. Returns the number of messages.

    Run twice, everything is done once.
    """
    today = now.date()
    left = store.unfinished(today)
    for day in left:
        # Their own parts will not get further: what those would have found, today's find.
        store.open_run(day, now)
        for shard in range(accounts.SHARDS):
            store.close(day, shard, now)
    store.open_run(today, now)
    messages: list[dict[str, Any]] = [{"compile": str(day), "after": ""} for day in left]
    messages += [{"day": str(today), "shard": shard, "after": ""} for shard in range(accounts.SHARDS)]
    _send(messages)
    return len(messages)


def work(message: Mapping[str, Any], now: datetime, going_on: Callable[[], bool]) -> None:
    """Do what a message asks for until ``going_on`` says no, and queue what is left.

    Raises TemporarilyUnavailable, NotYet, and what SES raises: the message is to be delivered again.
    """
    match message:
        case {"day": day, "shard": shard, "after": after}:
            _look_at_part(date.fromisoformat(day), shard, after, now, going_on)
        case {"customer_id": customer_id}:
            _Finder(now).find(customer_id)
        case {"compile": day, "after": after}:
            _compile(date.fromisoformat(day), after, now, going_on)
        case {"digest": address, "of": day}:
            send_digest(address, date.fromisoformat(day), now)
        case _:
            raise ValueError("not a message about alerts")


def _send(messages: list[dict[str, Any]]) -> None:
    for start in range(0, len(messages), _BATCH):
        part = messages[start : start + _BATCH]
        entries = [{"Id": str(n), "MessageBody": json.dumps(each)} for n, each in enumerate(part)]
        try:
            answer = deployment.aws_client("sqs").send_message_batch(
                QueueUrl=deployment.alert_queue_url(), Entries=entries
            )
        except (ClientError, BotoCoreError) as error:
            raise TemporarilyUnavailable from error
        if answer.get("Failed"):
            raise TemporarilyUnavailable


# ── finding ──


def _look_at_part(day: date, shard: int, after: str, now: datetime, going_on: Callable[[], bool]) -> None:
    finder = _Finder(now)
    if shard == 0 and not after:
        _look_at(VENDOR, finder)
    while page := accounts.customer_ids(shard, after, _CUSTOMERS_PER_PAGE):
        for customer_id in page:
            if not going_on():
                _send([{"day": str(day), "shard": shard, "after": after}])
                return
            _look_at(customer_id, finder)
            after = customer_id
    if len(store.close(day, shard, now)) == accounts.SHARDS:
        _send([{"compile": str(day), "after": ""}])


def _look_at(customer_id: str, finder: "_Finder") -> None:
    try:
        finder.find(customer_id)
    except Exception:
        # Whatever it is (a document that nobody expected too), it holds up nobody else: it is tried again by itself, ends in the
        # dead-letter queue if it goes on like that, and that raises AlertsUnsent.
        logger.exception("customer_not_looked_at", customer_id=customer_id)
        _send([{"customer_id": customer_id}])


def find(customer_id: str, now: datetime) -> int:
    """Claim what is due at a customer, or at the vendor; returns how many alerts. Raises TemporarilyUnavailable."""
    return _Finder(now).find(customer_id)


class _Finder:
    """What looking at many customers reads once: settings, catalogue, resellers, and the people of vendor and resellers."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._people: dict[str, People] = {}

    @cached_property
    def _vendor(self) -> Vendor:
        return vendor_store.get()

    @cached_property
    def _catalogue(self) -> Catalogue:
        return vendor_store.catalogue()

    @cached_property
    def _resellers(self) -> dict[str, Reseller]:
        return people.resellers()

    def find(self, customer_id: str) -> int:
        """Claim what is due at a customer, or of the vendor's own, in as many transactions as it takes."""
        attempt = self._attempt_signing_keys if customer_id == VENDOR else lambda: self._attempt(customer_id)
        total = 0
        while found := tables.unraced(attempt):
            total += found
        return total

    def _attempt(self, customer_id: str) -> int:
        now = self._now
        looked_at = accounts.look_at(customer_id)
        if looked_at is None or looked_at[0].customer.deleted:
            return 0
        account, users = looked_at
        customer = account.customer
        states = servers.get_many(rules.watched_installations(account, now))
        since = {key: day for key in account.licenses if (day := _made_on(key, customer.time_zone))}
        subjects = list(rules.subjects_of(account, states, since, self._catalogue))
        if imported := activation_keys.current(customer_id):
            at = datetime.fromtimestamp(imported.imported_at, UTC)
            subjects.append(rules.activation_key(imported.key, at, customer.name))
        resellers = [self._resellers[each] for each in customer.reseller_ids if each in self._resellers]

        def finding(alerts: tuple[Alert, ...]) -> Finding:
            own = People("customer", users, customer.contacts, customer.language)
            organizations = [own, *map(self._people_of, resellers), self._people_of(None)]
            seller = resellers[0].name if resellers else self._vendor.name
            recipients = rules.recipients(organizations)
            return Finding(customer_id, customer.name, customer.tax_id, seller, now, alerts, recipients)

        # An end that moves between the look and the claim is not told.
        return self._claim(customer_id, subjects, finding, lambda it: accounts.check_unchanged_in(it, account))

    def _attempt_signing_keys(self) -> int:
        signed = key_sets.get()
        subjects = list(rules.signing_keys(signed.key_set, self._vendor.alerts)) if signed else []

        def finding(alerts: tuple[Alert, ...]) -> Finding:
            recipients = rules.recipients([self._people_of(None)])
            return Finding(VENDOR, self._vendor.name, "", self._vendor.name, self._now, alerts, recipients)

        return self._claim(VENDOR, subjects, finding, lambda transaction: None)

    def _claim(
        self,
        customer_id: str,
        subjects: list[Subject],
        finding: Callable[[tuple[Alert, ...]], Finding],
        check_in: Callable[[TransactWrite], None],
    ) -> int:
        now, days = self._now, self._vendor.alerts
        if not rules.due_alerts(subjects, {}, days, now):
            return 0  # whatever was told before: on most days it ends here
        told = store.told(customer_id)
        due = rules.due_alerts(subjects, told.steps, days, now)[:_AT_ONCE]
        if not due:
            return 0
        found = finding(tuple(alert for _, alert in due))
        steps = rules.remembered(told.steps, subjects, days, now) | {each.key: alert.step for each, alert in due}

        def also(transaction: TransactWrite) -> None:
            check_in(transaction)
            for alert in found.alerts:
                record_in(transaction, _told(found, alert))

        store.claim(told, steps, found, _open_day(customer_id, now), also)
        logger.info("alerts_found", customer_id=customer_id, alerts=len(due))
        return len(due)

    def _people_of(self, reseller: Reseller | None) -> People:
        key = reseller.reseller_id if reseller else VENDOR
        if key not in self._people:
            users = people.members(key)
            self._people[key] = (
                people_of_reseller(reseller, users) if reseller else people_of_vendor(self._vendor, users)
            )
        return self._people[key]


def _told(found: Finding, alert: Alert) -> Operation:
    over = ", ".join(str(abs(step)) for step in alert.passed_over)
    return operation(
        found.customer_id, FINDER, "alert.raised", found.found_at, alert.subject_id,
        kind=alert.kind, of=alert.code, day=str(alert.day), threshold=abs(alert.step), passed_over=over,
        recipients=len(found.recipients),
    )  # fmt: skip


def _open_day(customer_id: str, now: datetime) -> date:
    """Where findings go: into today, or, where its digests are being made already, into tomorrow."""
    today, shard = now.date(), store.shard_of(customer_id)
    return today + timedelta(days=1) if store.is_closed(today, shard) else today


def _made_on(license_id: str, time_zone: str) -> date | None:
    try:
        return local_date(identity.made_at(license_id), time_zone)
    except ValueError:
        return None


# ── compiling ──


def _compile(day: date, after: str, now: datetime, going_on: Callable[[], bool]) -> None:
    """Publish a closed day's events, freeze its digests, and queue them."""
    found = list(store.findings(day))
    for each in found:
        if not each.published:
            if not going_on():
                _send([{"compile": str(day), "after": after}])
                return
            publish([event(each.finding, alert) for alert in each.finding.alerts])
            store.mark_published(each, now)
    made = rules.digests((each.finding for each in found), day)
    digests = {store.address_id(key): each for key, each in made.items()}
    queued: list[str] = []
    for address in sorted(key for key in digests if key > after):
        store.put_digest(digests[address], day, now)
        queued.append(address)
        if len(queued) == _BATCH:
            _queue_digests(queued, day)
            after, queued = address, []
            if not going_on():
                _send([{"compile": str(day), "after": after}])
                return
    _queue_digests(queued, day)
    store.compiled(day, now)
    logger.info("alerts_compiled", day=str(day), findings=len(found), digests=len(digests))


def _queue_digests(addresses: list[str], day: date) -> None:
    _send([{"digest": each, "of": str(day)} for each in addresses])


def publish(events: list[tuple[EventType, dict[str, Any]]]) -> None:
    """Put events on the bus, and queue them for webhooks. Raises TemporarilyUnavailable.

    Dying in between, or before that is noted, publishes them again, under the same ids.
    """
    for start in range(0, len(events), _BATCH):
        entries = [
            {
                "Source": EVENT_SOURCE,
                "DetailType": event_type,
                "Detail": json.dumps(detail, ensure_ascii=False),
                "EventBusName": deployment.event_bus(),
            }
            for event_type, detail in events[start : start + _BATCH]
        ]
        try:
            answer = deployment.aws_client("events").put_events(Entries=entries)
        except (ClientError, BotoCoreError) as error:
            raise TemporarilyUnavailable from error
        if answer["FailedEntryCount"]:
            raise TemporarilyUnavailable
    webhooks.publish(events)


# ── sending ──

#: Longer than a worker can be at one digest; after that it is thought dead.
_IN_HAND = timedelta(minutes=10)


def send_digest(address: str, day: date, now: datetime) -> None:
    """Send a digest: what still stands of it and its reader does not do without. It is sent once.

    Where SES took it and that was not noted, because its answer was lost or whoever was at it died, it is sent again, the same, ten
    minutes later: nobody can know. Raises NotYet while somebody else is at it, and what SES raises.
    """
    digest = store.begin_sending(address, day, now, now + _IN_HAND)
    if digest is None:
        if store.is_sent(address, day):
            return
        raise NotYet
    try:
        alert_mail.send(_standing(digest), day, vendor_store.cached(now), now)
    except ClientError:  # SES said no: it was not sent
        store.end_sending(address, day, now, sent=False)
        raise
    store.end_sending(address, day, now, sent=True)
    logger.info("digest_sent", address=address, day=str(day), alerts=sum(len(each.alerts) for each in digest.groups))


def _standing(digest: Digest) -> Digest:
    """A digest without what came to nothing since it was found: a renewed license, a server that came back."""
    pairs = [(group.customer_id, alert) for group in digest.groups for alert in group.alerts]
    licenses = accounts.get_licenses({(of, each.subject_id) for of, each in pairs if each.kind in _LICENSES})
    states = servers.get_many({each.subject_id for _, each in pairs if each.kind == "silence"})

    def stands(customer_id: str, alert: Alert) -> bool:
        if alert.kind in _LICENSES:
            license = licenses.get(alert.subject_id)
            return license is not None and rules.still_ends(license, alert)
        if alert.kind == "activation_key":
            imported = activation_keys.current(customer_id)
            return imported is not None and imported.key.key_id == alert.subject_id
        state = states.get(alert.subject_id)
        return alert.kind != "silence" or (state is not None and rules.is_still_silent(state, alert))

    groups = [
        _with(group, [each for each in group.alerts if stands(group.customer_id, each)]) for group in digest.groups
    ]
    return Digest(digest.recipient, tuple(group for group in groups if group.alerts), digest.more)


_LICENSES = ("license", "trial", "care")


def _with(group: rules.Group, alerts: Iterable[Alert]) -> rules.Group:
    return rules.Group(group.customer_id, group.customer_name, group.seller, group.organization, tuple(alerts))
