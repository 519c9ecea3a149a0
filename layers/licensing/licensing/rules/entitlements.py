"""What an installation may use, and what a person should be told about it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from licensing.rules.heartbeat import local_date, start_of_day
from licensing.rules.retention import Retention
from licensing.rules.versions import app_older
from licensing.texts import mark

LicenseType = Literal["perpetual", "subscription", "trial"]
#: ``locked`` until its order is unlocked (B2): invisible to the customer, and never projected to an installation.
LicenseState = Literal["active", "locked", "suspended", "refunded", "returned"]
Mode = Literal["online", "offline"]
Purpose = Literal["main", "test", "redundancy", "load"]
Phase = Literal["in_force", "upcoming", "suspended", "refunded", "ended"]


def phase(state: LicenseState, first_day: date | None, last_day: date | None, today: date) -> Phase:
    """Where a license stands on a day of the customer's calendar; the last day is included."""
    if state == "refunded":
        return "refunded"
    if state == "returned" or (last_day is not None and today > last_day):
        return "ended"
    if state == "suspended":
        return "suspended"
    if first_day is not None and today < first_day:
        return "upcoming"
    return "in_force"


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A quantity of an application, assigned to one installation, with all that validating it needs."""

    license_code: str
    application: str
    name: str
    unit: str
    quantity: int
    type: LicenseType
    state: LicenseState = "active"
    care: str | None = None
    care_until: date | None = None
    first_day: date | None = None
    last_day: date | None = None
    modules: tuple[str, ...] = ()
    cloud_services: bool = True
    lowest_app_version: str | None = None
    pool_id: str | None = None

    def phase(self, today: date) -> Phase:
        """Where its license stands on a day."""
        return phase(self.state, self.first_day, self.last_day, today)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an installation stands with its customer: all that a validation reads, in one item."""

    customer_id: str
    customer_name: str
    tax_id: str
    customer_time_zone: str
    installation_id: str
    name: str
    mode: Mode = "online"
    purpose: Purpose | None = None
    disabled: bool = False
    customer_deleted: bool = False
    log_retention: Retention = field(default_factory=Retention)
    entitlements: tuple[Entitlement, ...] = ()

    def today(self, now: datetime) -> date:
        """The date where the customer is: licenses begin and end by it."""
        return local_date(now, self.customer_time_zone)

    def usable(self, now: datetime, app_version: str | None, releases: Sequence[str]) -> list[Entitlement]:
        """The entitlements in force that this version of the suite may use (B10)."""
        today = self.today(now)
        return [
            each
            for each in self.entitlements
            if each.phase(today) == "in_force" and not app_older(app_version, each.lowest_app_version, releases)
        ]

    def starts_at(self, entitlement: Entitlement) -> datetime | None:
        """The first instant (UTC) of an entitlement; None: always."""
        return start_of_day(entitlement.first_day, self.customer_time_zone) if entitlement.first_day else None

    def ends_at(self, entitlement: Entitlement) -> datetime | None:
        """The instant (UTC) from which an entitlement is over; None: never."""
        if entitlement.last_day is None:
            return None
        return start_of_day(entitlement.last_day + timedelta(days=1), self.customer_time_zone)


@dataclass(frozen=True, slots=True)
class Message:
    """Something a person should know although, or because, the answer is what it is.

    ``detail`` is a marked text; ``facts`` and the members below fill its placeholders.
    """

    code: str
    detail: str
    license_code: str | None = None
    days_left: int | None = None
    version: str | None = None
    url: str | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


#: For how many days after its end a license is still worth a word.
_ENDED_MESSAGE_DAYS = 30


def messages(
    standing: Standing, now: datetime, *, notice_days: int, app_version: str | None, releases: Sequence[str]
) -> Iterator[Message]:
    """What is about to end, has just ended, is suspended or needs a newer suite."""
    today = standing.today(now)
    for each in standing.entitlements:
        phase = each.phase(today)
        if phase == "suspended":
            yield _message("LICENSE_SUSPENDED", mark("{name}: license {license_code} is suspended."), each)
        elif phase == "ended" and each.last_day and (today - each.last_day).days <= _ENDED_MESSAGE_DAYS:
            yield _message("LICENSE_EXPIRED", mark("{name}: license {license_code} ended on {last_day}."), each)
        elif phase == "in_force":
            if app_older(app_version, each.lowest_app_version, releases):
                detail = mark("{name} needs version {lowest} or later; this server runs {runs}.")
                yield _message("APP_VERSION_TOO_OLD", detail, each, lowest=each.lowest_app_version, runs=app_version)
            yield from _ending(each, "LICENSE_EXPIRING", _LICENSE_ENDS, each.last_day, today, notice_days)
            yield from _ending(each, "CARE_EXPIRING", _CARE_ENDS, each.care_until, today, notice_days)


#: Today, tomorrow, later.
_LICENSE_ENDS = (
    mark("{name}: the license {license_code} ends today."),
    mark("{name}: the license {license_code} ends tomorrow."),
    mark("{name}: the license {license_code} ends in {days_left} days, on {last_day}."),
)
_CARE_ENDS = (
    mark("{name}: the {care} care of {license_code} ends today."),
    mark("{name}: the {care} care of {license_code} ends tomorrow."),
    mark("{name}: the {care} care of {license_code} ends in {days_left} days, on {last_day}."),
)


def _ending(
    entitlement: Entitlement,
    code: str,
    details: tuple[str, str, str],
    last_day: date | None,
    today: date,
    notice_days: int,
) -> Iterator[Message]:
    if last_day is None or not 0 <= (left := (last_day - today).days) <= notice_days:
        return
    yield _message(code, details[min(left, 2)], entitlement, left, last_day=last_day, care=entitlement.care)


def _message(code: str, detail: str, about: Entitlement, days_left: int | None = None, **facts: object) -> Message:
    told = {"name": about.name, "last_day": about.last_day, **facts}
    return Message(code, detail, about.license_code, days_left, facts=told)
