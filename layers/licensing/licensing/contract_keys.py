"""The bodies of the routes about activation keys, companies and pools, with their limits (api.md, "User")."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from licensing.contract import Answer, Body, Day, Flag, Text, example
from licensing.contract_orders import TaxId
from licensing.rules.activation_keys import Key
from licensing.rules.seats import (
    BORROW_DAYS,
    DEFAULT_LEASE,
    LONGEST_BORROWING,
    LONGEST_LEASE,
    MOST_SEATS,
    SHORTEST_LEASE,
)

MOST_COMPANIES = 2000

CustomerId = Annotated[str, StringConstraints(pattern=r"^cus_[0-9A-Za-z]{1,60}$")]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=128, strip_whitespace=True)]
Application = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
LeaseSeconds = Annotated[int, Field(strict=True, ge=SHORTEST_LEASE, le=LONGEST_LEASE)]
SupportUser = Annotated[Text, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]

_COMPANIES = [
    {"tax_id": "IT00743110157", "name": "Officine Lombarde S.p.A."},
    {"tax_id": "BR12345678000195", "name": "Officine Brasil Ltda."},
]
_NEW = {
    "customer_id": "cus_019a9c0f2d00a1",
    "companies": _COMPANIES,
    "concurrent": {"erp": 6},
    "company_quota": 2,
    "support": ["sup*"],
    "first_day": "2026-11-22",
    "last_day": "2027-11-21",
}
_KEY = {
    "key_id": "key_019a9c0f2d00d4",
    "serial": 1,
    "group": "cus_019a9c0f2d00a1",
    "time_zone": "Europe/Rome",
    "issued_at": "2026-11-22T12:00:00Z",
    "lease_seconds": DEFAULT_LEASE,
    "borrow_days": BORROW_DAYS,
    **_NEW,
}


class Company(Body):
    """A company of a group."""

    tax_id: TaxId
    name: Name


class NewKey(Body):
    """What a key is to say (C1). ``support`` are user codes, or prefixes that end in ``*``; days are of the customer's calendar."""

    model_config = example(_NEW)

    customer_id: CustomerId
    companies: Annotated[tuple[Company, ...], Field(min_length=1, max_length=MOST_COMPANIES)]
    concurrent: Annotated[
        dict[Application, Annotated[int, Field(strict=True, ge=1, le=MOST_SEATS)]],
        Field(max_length=50, description="Seats by application."),
    ] = Field(default_factory=dict)
    company_quota: Annotated[
        int | None,
        Field(strict=True, ge=1, le=MOST_COMPANIES, description="How many companies may be set up; null: all."),
    ] = None
    support: Annotated[tuple[SupportUser, ...], Field(max_length=50)] = ()
    first_day: Day
    last_day: Day
    group: Annotated[
        Text, StringConstraints(max_length=64), Field(description="Empty: that of the customer's last key.")
    ] = ""
    lease_seconds: LeaseSeconds = DEFAULT_LEASE
    borrow_days: Annotated[int, Field(strict=True, ge=0, le=LONGEST_BORROWING)] = BORROW_DAYS

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.last_day < self.first_day:
            raise ValueError("last_day comes before first_day")
        if len({each.tax_id for each in self.companies}) < len(self.companies):
            raise ValueError("a company is named twice")
        return self


class KeyAnswer(Answer):
    """What a key says."""

    model_config = example(_KEY)

    key_id: str
    customer_id: str
    group: str
    serial: int
    companies: list[Company]
    concurrent: dict[str, int]
    company_quota: int | None
    support: list[str]
    first_day: date
    last_day: date
    time_zone: str
    issued_at: datetime
    lease_seconds: int
    borrow_days: int


class Keys(Answer):
    """A page of keys."""

    items: list[KeyAnswer]
    next_cursor: str | None = None


class KeyText(Body):
    """A key as it was mailed or pasted. ``customer_id`` may be left out: a user's own customer, or the one that the key names."""

    model_config = example({"text": "-----BEGIN ACTIVATION KEY-----\neyJ…\n-----END ACTIVATION KEY-----"})

    customer_id: CustomerId | None = None
    text: Annotated[str, StringConstraints(min_length=1, max_length=400_000)]


class PoolChange(Answer):
    """The seats of an application before and after."""

    application: str
    before: int
    after: int


class PreviewAnswer(Answer):
    """What importing a key would do (C9). ``replaces`` is the current key's id."""

    preview_id: str
    key: KeyAnswer
    replaces: str | None
    added: list[Company]
    changed: list[Company]
    removed: list[Company]
    kept: int
    pools: list[PoolChange]


class KeyImport(Body):
    """Confirm a preview."""

    model_config = example({"preview_id": "pre_019a9c0f2d00.cus_019a9c0f2d00a1", "confirm": True, "reset_peak": False})

    preview_id: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_.]{1,140}$")]
    confirm: Literal[True]
    reset_peak: Flag = False


class RenewalRequest(Body):
    """Ask for the key of the next year. A customer's own people leave ``customer_id`` out."""

    customer_id: CustomerId | None = None


class RenewalAnswer(Answer):
    """The key of the next year is mailed to the customer's registered contacts."""

    key_id: str
    first_day: date
    last_day: date


class CompanyChange(Body):
    """A company's other name."""

    name: Name


class CompanyAnswer(Answer):
    """A company: whether it was set up, and whether the current key names it (C10)."""

    tax_id: str
    name: str
    set_up: bool
    in_key: bool


class Companies(Answer):
    """The companies that the current key names, and those that were set up."""

    items: list[CompanyAnswer]
    next_cursor: str | None = None


class CustomerPool(Answer):
    """How a pool of a customer stands (C8, C12). ``installation_id``: where its license is assigned; null: it is the activation
    key's. ``peak_since`` is null before the first use.
    """

    pool_id: str
    application: str
    installation_id: str | None
    capacity: int
    in_use: int
    support_in_use: int
    peak: int
    peak_since: datetime | None
    valid_from: date | None
    valid_until: date | None
    days_left: int | None
    lease_seconds: int


class CustomerPools(Answer):
    """A page of a customer's pools, by application."""

    items: list[CustomerPool]
    next_cursor: str | None = None


class LeaseTime(Body):
    """How long a lease lasts without a heartbeat."""

    model_config = example({"lease_seconds": 120})

    lease_seconds: LeaseSeconds


class PeakAnswer(Answer):
    """The peak counts from now on."""

    pool_id: str
    peak: int
    peak_since: datetime


class ReleaseAnswer(Answer):
    """The seat is free."""

    pool_id: str
    seat_id: str


class UseStepAnswer(Answer):
    """The most seats in use at once in the time that begins at ``at``."""

    at: datetime
    most: int


class UsageAnswer(Answer):
    """How a pool was used."""

    pool_id: str
    step_seconds: int
    items: list[UseStepAnswer]


class DenialAnswer(Answer):
    """A station that was refused in vain (F5)."""

    os_user: str
    terminal: str
    session: str
    user_code: str
    company_tax_id: str | None
    count: int
    first: datetime
    last: datetime
    in_use: int
    capacity: int


class Denials(Answer):
    """A page of true denials, the newest first."""

    items: list[DenialAnswer]
    next_cursor: str | None = None


def key_answer(key: Key) -> KeyAnswer:
    """A key as it is answered."""
    return KeyAnswer(
        key_id=key.key_id,
        customer_id=key.customer_id,
        group=key.group,
        serial=key.serial,
        companies=company_list(key.companies),
        concurrent=dict(key.concurrent),
        company_quota=key.company_quota,
        support=list(key.support),
        first_day=key.first_day,
        last_day=key.last_day,
        time_zone=key.time_zone,
        issued_at=key.issued_at,
        lease_seconds=key.lease_seconds,
        borrow_days=key.borrow_days,
    )


def company_list(companies: Mapping[str, str]) -> list[Company]:
    """Names by tax id, as they are answered: in the order of the tax ids."""
    # What was signed once is shown as it is, whatever today's limits are.
    return [Company.model_construct(tax_id=tax_id, name=name) for tax_id, name in sorted(companies.items())]
