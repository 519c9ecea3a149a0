"""What an installation may use, and what a person should be told about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from licensing.rules.heartbeat import local_date, start_of_day
from licensing.rules.retention import Retention
from licensing.rules.versions import app_older

LicenseType = Literal["perpetual", "subscription", "trial"]
#: ``locked`` until its order is unlocked (B2): invisible to the customer, and never projected to an installation.
LicenseState = Literal["active", "locked", "suspended", "refunded", "returned"]
Mode = Literal["online", "offline"]
Purpose = Literal["main", "test", "redundancy", "load"]
Phase = Literal["in_force", "upcoming", "suspended", "refunded", "ended"]


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
        """Where the license stands on a day of the customer's calendar; the last day is included."""
        if self.state == "refunded":
            return "refunded"
        if self.state == "returned" or (self.last_day is not None and today > self.last_day):
            return "ended"
        if self.state == "suspended":
            return "suspended"
        if self.first_day is not None and today < self.first_day:
            return "upcoming"
        return "in_force"


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
    """Something a person should know although, or because, the answer is what it is."""

    code: str
    detail: str
    license_code: str | None = None
    days_left: int | None = None
    version: str | None = None
    url: str | None = None


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
            detail = f"{each.name}: license {each.license_code} is suspended."
            yield Message("LICENSE_SUSPENDED", detail, each.license_code)
        elif phase == "ended" and each.last_day and (today - each.last_day).days <= _ENDED_MESSAGE_DAYS:
            detail = f"{each.name}: license {each.license_code} ended on {each.last_day}."
            yield Message("LICENSE_EXPIRED", detail, each.license_code)
        elif phase == "in_force":
            if app_older(app_version, each.lowest_app_version, releases):
                detail = (
                    f"{each.name} needs version {each.lowest_app_version} or later; this server runs {app_version}."
                )
                yield Message("APP_VERSION_TOO_OLD", detail, each.license_code)
            yield from _ending(each, "LICENSE_EXPIRING", "license", each.last_day, today, notice_days)
            yield from _ending(each, "CARE_EXPIRING", f"{each.care} care", each.care_until, today, notice_days)


def _ending(
    entitlement: Entitlement, code: str, what: str, last_day: date | None, today: date, notice_days: int
) -> Iterator[Message]:
    if last_day is None or not 0 <= (left := (last_day - today).days) <= notice_days:
        return
    when = "today" if left == 0 else "tomorrow" if left == 1 else f"in {left} days, on {last_day}"
    detail = f"{entitlement.name}: the {what} of {entitlement.license_code} ends {when}."
    yield Message(code, detail, entitlement.license_code, left)
