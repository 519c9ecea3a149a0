"""The contract's bodies for licenses, installations and who gets how much (B4, B5)."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from licensing.contract import Answer, Body, CustomerName, GivenUp, InstallationId, Printable, example
from licensing.rules.accounts import Account
from licensing.rules.allocations import Row
from licensing.rules.installations import Item, Overview

LicenseId = Annotated[str, StringConstraints(pattern=r"^lic_[0-9A-Za-z]{1,60}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=64, strip_whitespace=True), Printable]
Quantity = Annotated[int, Field(ge=0, le=10**9, strict=True)]
Purpose = Literal["main", "test", "redundancy", "load"]
Mode = Literal["online", "offline"]
Phase = Literal["in_force", "upcoming", "suspended", "refunded", "ended"]

_INSTALLATION = "ins_019a9c0f2d00d4"
_LICENSE = "lic_019a9c0f2d00e1"
_FACTS = {"first_day": "2026-04-01", "last_day": "2027-03-31", "care": "GOLD", "care_until": "2027-03-31"}
_ROW_LICENSE = {
    "license_id": _LICENSE,
    "code": "AQ-7F3K-92MD",
    "sku": "AQ-SUB-10",
    "application": "advanced-queueing",
    "name": "Advanced Queueing",
    "unit": "channels",
    "type": "subscription",
    "redundancy": False,
    "quantity": 40,
    "assigned": 30,
    "allocations": {_INSTALLATION: 30},
    "freed": {},
    "modules": ["callback"],
    "state": "active",
    "phase": "in_force",
    **_FACTS,
}
_ONE = {
    "installation_id": _INSTALLATION,
    "name": "Milano",
    "mode": "online",
    "purpose": "main",
    "status": "active",
    "silent_days": 0,
    "rung": "ok",
    "last_validation_at": "2026-11-22T11:12:00Z",
    "validate_before": "2026-12-02T23:00:00Z",
    "clone_suspected_at": None,
    "hostname": "pbx-milano",
    "app_version": "Winter 2026",
    "agent_version": "1.0.0",
    "databases": {"main": "2026-11-22"},
    "items": [
        {
            "license_id": _LICENSE,
            "code": "AQ-7F3K-92MD",
            "name": "Advanced Queueing",
            "unit": "channels",
            "type": "subscription",
            "redundancy": False,
            "quantity": 30,
            "freed": None,
            "phase": "in_force",
            **_FACTS,
        }
    ],
}


class NewInstallation(Body):
    """A server to be added. Its name is unique within its customer."""

    model_config = example({"name": "Bergamo", "purpose": "redundancy"})

    name: Name
    purpose: Purpose | None = None
    mode: Mode = "online"


class InstallationChange(Body):
    """What is to be different; what is left out stays."""

    model_config = example({"name": "Bergamo 2", "purpose": None})

    name: Name | None = None
    purpose: Purpose | None = None
    mode: Mode | None = None

    @model_validator(mode="after")
    def _named(self) -> "InstallationChange":
        if {"name", "mode"} & {name for name, value in self.members().items() if value is None}:
            raise ValueError("name and mode can't be null")
        return self

    def members(self) -> dict[str, object]:
        """What was said."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class CloneDecision(Body):
    """``settle``: there is one server, and it goes on. ``release``: whichever activates next has the installation (A7)."""

    model_config = example({"decision": "settle"})

    decision: Literal["settle", "release"]


class OfflineRequest(Body):
    """The text of a server's request file (B9)."""

    model_config = example({"request": "eyJ0eXAiOiJvZmZsaW5lLXJlcXVlc3Qrand0In0.e30.c2ln"})

    request: Annotated[str, StringConstraints(min_length=1, max_length=16 * 1024)]


class OfflineReceipt(Body):
    """The text of a server's deactivation receipt (B9)."""

    model_config = example({"receipt": "eyJ0eXAiOiJkZWFjdGl2YXRpb24rand0In0.e30.c2ln"})

    receipt: Annotated[str, StringConstraints(min_length=1, max_length=16 * 1024)]


class OfflineTerms(Answer):
    """What an installation goes without offline, and the codes of the licenses that keep it online (B8)."""

    given_up: list[GivenUp]
    online_only: list[str]


class Allocations(Body):
    """The whole matrix: for each license, how much each installation gets. What is left out gets nothing."""

    model_config = example({"version": 7, "allocations": {_LICENSE: {_INSTALLATION: 30}}})

    version: Annotated[int, Field(ge=0, le=2**53, strict=True)]
    allocations: Annotated[
        dict[LicenseId, Annotated[dict[InstallationId, Quantity], Field(max_length=1000)]], Field(max_length=1000)
    ]


class FreedAnswer(Answer):
    """What a disabled server gave back, and until when its last token still runs with it."""

    quantity: int
    until: datetime


class LicenseAnswer(Answer):
    """A license, and who has how much of it by ``installation_id``."""

    model_config = example(_ROW_LICENSE)

    license_id: str
    code: str
    sku: str
    application: str
    name: str
    unit: str
    type: Literal["perpetual", "subscription", "trial"]
    redundancy: bool
    quantity: int
    assigned: int
    allocations: dict[str, int]
    freed: dict[str, FreedAnswer]
    care: str | None
    care_until: date | None
    first_day: date | None
    last_day: date | None
    modules: list[str]
    state: Literal["active", "locked", "suspended", "refunded", "returned"]
    phase: Phase


class LicensePage(Answer):
    """Some of a customer's licenses; ``next_cursor`` goes on."""

    items: list[LicenseAnswer]
    next_cursor: str | None


class ItemAnswer(Answer):
    """A license on an installation."""

    license_id: str
    code: str
    name: str
    unit: str
    type: Literal["perpetual", "subscription", "trial"]
    redundancy: bool
    quantity: int
    freed: FreedAnswer | None
    care: str | None
    care_until: date | None
    first_day: date | None
    last_day: date | None
    phase: Phase


class InstallationAnswer(Answer):
    """An installation as it stands, with what its server last said. ``silent_days`` are null where nobody holds it, or offline."""

    model_config = example(_ONE)

    installation_id: str
    name: str
    mode: Mode
    purpose: Purpose | None
    status: Literal["available", "active", "blocked", "disabled"]
    silent_days: int | None
    rung: Literal["ok", "warning", "grace", "blocked"] | None
    last_validation_at: datetime | None
    validate_before: datetime | None
    clone_suspected_at: datetime | None
    hostname: str
    app_version: str | None
    agent_version: str
    databases: dict[str, date]
    items: list[ItemAnswer]


class InstallationPage(Answer):
    """Some of a customer's installations; ``next_cursor`` goes on."""

    items: list[InstallationAnswer]
    next_cursor: str | None


class TokenAnswer(Answer):
    """The activation token, to be pasted into a server once; null until something is assigned."""

    model_config = example({"activation_token": "mfrggzdfmztwq2lknnwg23tpobyxe43u"})

    activation_token: str | None


class RowAnswer(Answer):
    """A row of the license table: all licenses of one application, type, term and care plan."""

    row_id: str
    application: str
    name: str
    unit: str
    type: Literal["perpetual", "subscription", "trial"]
    redundancy: bool
    care: str | None
    last_day: date | None
    over: bool
    ends_soon: bool
    quantity: int
    assigned: int
    allocations: dict[str, int]
    license_ids: list[str]


class AllocationsAnswer(Answer):
    """The matrix at a version: by license, as it is saved, and by row, as people see it."""

    model_config = example(
        {
            "version": 7,
            "customer": {"name": "Officine Lombarde S.p.A.", "tax_id": "IT00743110157"},
            "allocations": {_LICENSE: {_INSTALLATION: 30}},
            "rows": [
                {
                    "row_id": "advanced-queueing.5f2c09a1b7",
                    "application": "advanced-queueing",
                    "name": "Advanced Queueing",
                    "unit": "channels",
                    "type": "subscription",
                    "redundancy": False,
                    "care": "GOLD",
                    "last_day": "2027-03-31",
                    "over": False,
                    "ends_soon": False,
                    "quantity": 40,
                    "assigned": 30,
                    "allocations": {_INSTALLATION: 30},
                    "license_ids": [_LICENSE],
                }
            ],
        }
    )

    version: int
    customer: CustomerName
    allocations: dict[str, dict[str, int]]
    rows: list[RowAnswer]


# ── from rules to answers ──


def installation(seen: Overview) -> InstallationAnswer:
    """An installation, answered."""
    state = seen.state
    return InstallationAnswer(
        installation_id=seen.installation.installation_id,
        name=seen.installation.name,
        mode=seen.installation.mode,
        purpose=seen.installation.purpose,
        status=seen.status,
        silent_days=seen.silent,
        rung=seen.rung,
        last_validation_at=state.validated_at,
        validate_before=seen.validate_before,
        clone_suspected_at=state.suspected_at,
        hostname=state.report.hostname,
        app_version=state.report.app_version,
        agent_version=state.report.agent_version,
        databases=dict(state.databases),
        items=[_item(each) for each in seen.items],
    )


def _item(item: Item) -> ItemAnswer:
    license, freed = item.license, item.freed
    return ItemAnswer(
        license_id=license.license_id,
        code=license.code,
        name=item.application.name,
        unit=item.application.unit,
        type=item.product.type,
        redundancy=item.product.redundancy,
        quantity=item.quantity,
        freed=FreedAnswer(quantity=freed.quantity, until=freed.until) if freed else None,
        care=license.care,
        care_until=license.care_until,
        first_day=license.first_day,
        last_day=license.last_day,
        phase=item.phase,
    )


def licenses(row: Row, today: date) -> list[LicenseAnswer]:
    """The licenses of a row, answered."""
    return [
        LicenseAnswer(
            license_id=license.license_id,
            code=license.code,
            sku=license.sku,
            application=row.application.id,
            name=row.application.name,
            unit=row.application.unit,
            type=row.type,
            redundancy=row.redundancy,
            quantity=license.quantity,
            assigned=license.assigned,
            allocations=dict(license.allocations),
            freed={at: FreedAnswer(quantity=each.quantity, until=each.until) for at, each in license.freed.items()},
            care=license.care,
            care_until=license.care_until,
            first_day=license.first_day,
            last_day=license.last_day,
            modules=list(license.modules),
            state=license.state,
            phase=license.phase(today),
        )
        for license in row.licenses
    ]


def allocations(account: Account, rows: list[Row]) -> AllocationsAnswer:
    """The matrix, answered."""
    customer = account.customer
    return AllocationsAnswer(
        version=account.version,
        customer=CustomerName(name=customer.name, tax_id=customer.tax_id),
        allocations={each.license_id: dict(each.allocations) for row in rows for each in row.licenses},
        rows=[
            RowAnswer(
                row_id=row.row_id,
                application=row.application.id,
                name=row.application.name,
                unit=row.application.unit,
                type=row.type,
                redundancy=row.redundancy,
                care=row.care,
                last_day=row.last_day,
                over=row.over,
                ends_soon=row.ends_soon,
                quantity=row.total,
                assigned=row.used,
                allocations=dict(row.quantities),
                license_ids=[each.license_id for each in row.licenses],
            )
            for row in rows
        ],
    )
