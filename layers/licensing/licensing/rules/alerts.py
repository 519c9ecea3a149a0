"""Alerts (F7): what ends or has fallen silent, which of it is due to be told, and to whom.

Every alert counts from a day: the last day of what ends, or the day of a server's last success. A *step* is a number of days from
that day: -14 is two weeks before an end, 1 the day after it, 7 the seventh silent day. What is due is a matter of today and of
what was told before, not of when a schedule ran: days without a run leave the most urgent step to be told, once, and the others
passed over.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Literal

from licensing.rules.accounts import Account, License
from licensing.rules.activation_keys import Key as ActivationKey
from licensing.rules.heartbeat import GRACE_DAYS, local_date
from licensing.rules.key_set import KeySet
from licensing.rules.people import Notification, OrganizationKind, Reseller, User, email_key
from licensing.rules.sequence import ServerState
from licensing.rules.vendor import AlertDays, Catalogue, Contact, Vendor

AlertKind = Literal["license", "trial", "care", "activation_key", "offline_license", "silence", "signing_key"]

#: What ended, or fell silent, so long ago is no news any more, however long nobody was told.
NEWS = timedelta(days=30)
#: The step of what has ended.
ENDED = 1
#: More than anybody has as contacts and users; the rest is not written to.
MOST_RECIPIENTS = 200
#: One e-mail shows so many alerts, the most urgent ones; of the others it says how many there are.
MOST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that ends, or a server that may be silent. ``day`` is one of the calendar of ``time_zone``.

    ``code`` is what people know it by beside its name: a license's code, a server's host name. ``facts`` are for those who read
    events by machine. Steps before ``known_since`` are not told: nobody could have known.
    """

    kind: AlertKind
    subject_id: str
    name: str
    code: str
    day: date
    time_zone: str
    known_since: date | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What is told once for each step: the subject, and the day it counts from."""
        return f"{self.kind}#{self.subject_id}#{self.day}"


@dataclass(frozen=True, slots=True)
class Alert:
    """A step that is due. ``days`` are from ``day`` to today: negative before an end; ``passed_over`` are earlier steps."""

    kind: AlertKind
    subject_id: str
    name: str
    code: str
    day: date
    step: int
    days: int
    passed_over: tuple[int, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def must_be_known(self) -> bool:
        """Whether those whom it stops learn of it whatever their preferences: an end that is here, a server about to be blocked."""
        return self.step >= (GRACE_DAYS if self.kind == "silence" else 0)

    @property
    def notification(self) -> Notification:
        """Which preference lets people do without it."""
        return "silence" if self.kind == "silence" else "expiry"


def steps(kind: AlertKind, days: AlertDays) -> tuple[int, ...]:
    """All steps of a kind, in time: those of the settings, and, whatever they say, those that must be known.

    These are for what ends its last day and the day after it, for a silent server its last day before it is blocked.
    """
    if kind == "silence":
        return tuple(sorted({*days.silent, GRACE_DAYS}))
    return (*sorted({0, *(-before for before in days.before)}), ENDED)


def due(subject: Subject, told: int | None, days: AlertDays, now: datetime) -> Alert | None:
    """The step to be told now, if any. ``told`` is the last one that was, of this subject and day."""
    today, all_steps = local_date(now, subject.time_zone), steps(subject.kind, days)
    if is_old(subject.day, all_steps, today):
        return None
    open_steps = [
        each
        for each in all_steps
        if subject.day + timedelta(days=each) <= today
        and (told is None or each > told)
        and (subject.known_since is None or subject.day + timedelta(days=each) >= subject.known_since)
    ]
    if not open_steps:
        return None
    *passed_over, step = open_steps
    return Alert(
        subject.kind, subject.subject_id, subject.name, subject.code, subject.day, step, (today - subject.day).days,
        tuple(passed_over), subject.facts,
    )  # fmt: skip


def is_old(day: date, all_steps: Sequence[int], today: date) -> bool:
    """Whether all that could be told of a day is no news any more."""
    return today - day > timedelta(days=all_steps[-1]) + NEWS


def due_alerts(
    subjects: Iterable[Subject], told: Mapping[str, int], days: AlertDays, now: datetime
) -> list[tuple[Subject, Alert]]:
    """What is due of all subjects, the most urgent first."""
    found = ((each, due(each, told.get(each.key), days, now)) for each in subjects)
    return sorted(((each, alert) for each, alert in found if alert), key=lambda pair: urgency(pair[1]))


def urgency(alert: Alert) -> tuple[int, str]:
    """By what alerts are sorted: what is over and what is silent, the longest first; then what ends next."""
    return -alert.days, alert.code


def remembered(told: Mapping[str, int], subjects: Iterable[Subject], days: AlertDays, now: datetime) -> dict[str, int]:
    """What was told, without what can't be due again: of other days, long ago."""
    current = {each.key for each in subjects}
    longest = timedelta(days=max(*steps("silence", days), ENDED)) + NEWS
    # A day of slack, since the calendars of the world differ by one.
    oldest = str(now.date() - longest - timedelta(days=1))
    return {key: step for key, step in told.items() if key in current or key.rpartition("#")[2] >= oldest}


# ── what there is to tell of ──


def watched_installations(account: Account, now: datetime) -> list[str]:
    """The installations whose silence means something: online, not disabled, with a license in force."""
    today = local_date(now, account.customer.time_zone)
    in_use = {at for each in account.licenses.values() if _in_force(each, today) for at in each.allocations}
    return [
        key
        for key, each in account.installations.items()
        if each.mode == "online" and not each.disabled and key in in_use
    ]


def _in_force(license: License, today: date) -> bool:
    begun = license.first_day is None or license.first_day <= today
    return license.state == "active" and begun and (license.last_day is None or license.last_day >= today)


def subjects_of(
    account: Account, servers: Mapping[str, ServerState], known_since: Mapping[str, date], catalogue: Catalogue
) -> Iterator[Subject]:
    """All of a customer's that ends, and those of ``servers`` that are held (they are the ones that are watched).

    ``known_since`` tells since when licenses are there, by their id. Nobody is told of what is locked, returned or refunded.
    """
    zone = account.customer.time_zone
    for license in account.licenses.values():
        if license.state not in ("active", "suspended"):
            continue
        product = catalogue.products.get(license.sku)
        name, kind = (product.name, product.type) if product else (license.sku, "subscription")
        facts, since = {"sku": license.sku, "type": kind}, known_since.get(license.license_id)
        if license.last_day:
            end: AlertKind = "trial" if kind == "trial" else "license"
            yield Subject(end, license.license_id, name, license.code, license.last_day, zone, since, facts)
        # Care of a license that has ended is of no use.
        if license.care_until and (license.last_day is None or license.care_until <= license.last_day):
            care = {**facts, "care": license.care or ""}
            yield Subject("care", license.license_id, name, license.code, license.care_until, zone, since, care)
    for key, installation in account.installations.items():
        grant = installation.offline
        if grant and grant.until and not installation.disabled:
            day = local_date(grant.until - timedelta(seconds=1), zone)
            since_then = local_date(grant.issued_at, zone)
            yield Subject("offline_license", key, installation.name, "", day, zone, since_then)
    for key, state in servers.items():
        if state.held and state.validated_at:
            of = state.report.time_zone
            name = account.installations[key].name
            yield Subject("silence", key, name, state.report.hostname, local_date(state.validated_at, of), of)


def activation_key(key: ActivationKey, imported_at: datetime, customer_name: str) -> Subject:
    """The key that a customer imported last (C11). It is known by its group, or where that has no name by the customer's."""
    since, facts = local_date(imported_at, key.time_zone), {"group": key.group}
    # A group that the vendor did not name is called by a customer's id.
    name = customer_name if key.group.startswith("cus_") else key.group
    return Subject("activation_key", key.key_id, name, "", key.last_day, key.time_zone, since, facts)


def signing_keys(key_set: KeySet, days: AlertDays) -> Iterator[Subject]:
    """The keys that sign, each with the day on which it is due to be replaced."""
    for key in key_set.keys:
        if key.stage == "signing":
            day = (key.since + timedelta(days=days.signing_key)).date()
            since = key.since.date()
            facts = {"use": key.use, "signing_since": str(since)}
            yield Subject("signing_key", key.kid, key.use, key.kid, day, "UTC", since, facts)


def still_ends(license: License, alert: Alert) -> bool:
    """Whether a license, or its care, ends on the day that an alert about it says."""
    day = license.care_until if alert.kind == "care" else license.last_day
    return day == alert.day and license.state in ("active", "suspended")


def is_still_silent(state: ServerState, alert: Alert) -> bool:
    """Whether nothing was heard of a server since the day that an alert about it says."""
    last = state.validated_at
    return state.held and last is not None and local_date(last, state.report.time_zone) <= alert.day


# ── to whom ──


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody who is written to: as one of the customer's, of its reseller's, or of the vendor's people."""

    email: str
    organization: OrganizationKind
    language: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class People:
    """An organization's people: its users, its contacts, the language of those who did not choose one."""

    kind: OrganizationKind
    users: Sequence[User] = ()
    contacts: Sequence[Contact] = ()
    language: str = "en"

    def recipients(self) -> Iterator[Recipient]:
        """All who can be written to."""
        for user in self.users:
            if user.email:
                yield Recipient(user.email, self.kind, user.language or self.language, user.name)
        for contact in self.contacts:
            if contact.email:
                yield Recipient(contact.email, self.kind, self.language, contact.name)


def people_of_vendor(vendor: Vendor, users: Sequence[User]) -> People:
    """The vendor's users and contact."""
    return People("vendor", users, (vendor.contact,))


def people_of_reseller(reseller: Reseller, users: Sequence[User]) -> People:
    """A reseller's users and contacts."""
    return People("reseller", users, reseller.contacts, reseller.language)


def recipients(organizations: Iterable[People]) -> tuple[Recipient, ...]:
    """Everybody in these organizations, each address once: as one of the first that it belongs to."""
    found: dict[str, Recipient] = {}
    for organization in organizations:
        for each in organization.recipients():
            found.setdefault(email_key(each.email), each)
    return tuple(found.values())[:MOST_RECIPIENTS]


def is_wanted(alert: Alert, organization: OrganizationKind, unsubscribed: Collection[Notification]) -> bool:
    """Whether somebody is written to about an alert. The customer's own people can't do without what stops them."""
    return alert.notification not in unsubscribed or (organization == "customer" and alert.must_be_known)


# ── findings and digests ──


@dataclass(frozen=True, slots=True)
class Finding:
    """What was due at one customer at one time, and who is told. ``customer_id`` is ``vendor`` for what is the vendor's own.

    ``seller`` is whom the customer turns to.
    """

    customer_id: str
    customer_name: str
    tax_id: str
    seller: str
    found_at: datetime
    alerts: tuple[Alert, ...]
    recipients: tuple[Recipient, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The alerts of one customer in somebody's digest; ``organization`` is what the reader is to that customer."""

    customer_id: str
    customer_name: str
    seller: str
    organization: OrganizationKind
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class Digest:
    """All that one person is told on one day, by customer, the most urgent first; ``more`` alerts are not shown."""

    recipient: Recipient
    groups: tuple[Group, ...]
    more: int = 0


def digests(findings: Iterable[Finding], day: date) -> dict[str, Digest]:
    """A day's digest for each address, by its key. The same findings, in whatever order, make the same digests."""
    told: dict[str, list[tuple[Finding, Recipient]]] = {}
    for finding in findings:
        seen = _seen_from(finding, day)
        for each in finding.recipients:
            told.setdefault(email_key(each.email), []).append((seen, each))
    return {key: _digest(pairs) for key, pairs in told.items()}


def _seen_from(finding: Finding, day: date) -> Finding:
    """A finding as its reader sees it: what was found the day before, and ended "tomorrow" then, ends today."""
    later = (day - finding.found_at.date()).days
    return replace(finding, alerts=tuple(replace(each, days=each.days + later) for each in finding.alerts))


def _most_urgent(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
    """The last step of each subject and day alone: the others say the same."""
    last = {(each.kind, each.subject_id, each.day): each for each in sorted(alerts, key=lambda each: each.step)}
    return tuple(sorted(last.values(), key=urgency))


def _digest(pairs: list[tuple[Finding, Recipient]]) -> Digest:
    pairs = sorted(pairs, key=lambda pair: (urgency(pair[0].alerts[0]), pair[0].customer_name, pair[0].customer_id))
    groups: dict[str, Group] = {}
    for finding, recipient in pairs:
        had = groups[finding.customer_id].alerts if finding.customer_id in groups else ()
        groups[finding.customer_id] = Group(
            finding.customer_id, finding.customer_name, finding.seller, recipient.organization,
            _most_urgent((*had, *finding.alerts)),
        )  # fmt: skip
    shown, more, room = list[Group](), 0, MOST_SHOWN
    for group in groups.values():
        if room:
            shown.append(_first(group, room))
        more += max(0, len(group.alerts) - room)
        room = max(0, room - len(group.alerts))
    return Digest(pairs[0][1], tuple(shown), more)


def _first(group: Group, room: int) -> Group:
    return Group(group.customer_id, group.customer_name, group.seller, group.organization, group.alerts[:room])


def event_id(customer_id: str, alert: Alert) -> str:
    """The id of an alert wherever it is told to machines: the same however often it is sent."""
    key = f"{customer_id}#{alert.kind}#{alert.subject_id}#{alert.day}#{alert.step}"
    return f"evt_{hashlib.sha256(key.encode()).hexdigest()[:32]}"
