"""A customer with all that it has: installations, licenses, and which of them goes where.

Changes are made on an ``Account`` as a whole, and written as a whole or not at all (``store.accounts``), so that the sums below
hold at every moment.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal

from licensing.errors import NotFound
from licensing.rules.entitlements import Entitlement, LicenseState, Mode, Phase, Purpose, Standing, phase
from licensing.rules.heartbeat import local_date, rung, silent_days
from licensing.rules.retention import Retention, Shortening
from licensing.rules.sequence import ServerState
from licensing.rules.vendor import Catalogue, Contact

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Status = Literal["available", "active", "blocked", "disabled"]


class AccountError(Exception):
    """Raised when a change would break a rule of the account; the message names the rule and the thing."""


@dataclass(frozen=True, slots=True)
class Customer:
    """A company that uses the products."""

    customer_id: str
    name: str
    tax_id: str
    country: str
    time_zone: str
    language: str = "en"
    contacts: tuple[Contact, ...] = ()
    log_retention_days: int = 365
    log_retention_shortening: Shortening | None = None
    deleted: bool = False
    #: The day (UTC) on which it was.
    deleted_on: date | None = None
    #: Who manages its licenses, beside itself.
    reseller_ids: tuple[str, ...] = ()

    def today(self, now: datetime) -> date:
        """The date where the customer is: its licenses begin and end by it."""
        return local_date(now, self.time_zone)

    @property
    def log_retention(self) -> Retention:
        """For how long its operations are kept."""
        return Retention(self.log_retention_days, self.log_retention_shortening)

    def keeping_log(self, retention: Retention) -> "Customer":
        """The customer with another retention."""
        return replace(self, log_retention_days=retention.days, log_retention_shortening=retention.shortening)


@dataclass(frozen=True, slots=True)
class OfflineGrant:
    """An offline license that is out (B9): its ``jti`` and generation, and what it holds of each license, by id.

    ``until`` is when it ends (UTC); None: only a deactivation receipt ends it.
    """

    jti: str
    gen: int
    issued_at: datetime
    until: datetime | None = None
    quantities: Mapping[str, int] = field(default_factory=dict)

    def is_out(self, now: datetime) -> bool:
        """Whether what it holds is still held."""
        return self.until is None or now < self.until


@dataclass(frozen=True, slots=True)
class Installation:
    """One server of one customer. The activation token is shown in the portal, so it is kept readable."""

    installation_id: str
    name: str
    mode: Mode = "online"
    purpose: Purpose | None = None
    disabled: bool = False
    activation_token: str | None = None
    #: The last offline license, until its receipt comes back.
    offline: OfflineGrant | None = None


@dataclass(frozen=True, slots=True)
class Freed:
    """A quantity that a disabled server gave back, and until when (UTC) its last token still runs (B5)."""

    quantity: int
    until: datetime


@dataclass(frozen=True, slots=True)
class License:
    """A right to a quantity of an application, and how much of it is assigned to which installation."""

    license_id: str
    code: str
    sku: str
    quantity: int
    allocations: Mapping[str, int] = field(default_factory=dict)
    freed: Mapping[str, Freed] = field(default_factory=dict)
    care: str | None = None
    care_until: date | None = None
    first_day: date | None = None
    last_day: date | None = None
    modules: tuple[str, ...] = ()
    state: LicenseState = "active"

    @property
    def assigned(self) -> int:
        """How much of it is assigned."""
        return sum(self.allocations.values())

    def phase(self, today: date) -> Phase:
        """Where it stands on a day of the customer's calendar."""
        return phase(self.state, self.first_day, self.last_day, today)

    def allocated(self, allocations: Mapping[str, int], now: datetime) -> "License":
        """The license with other allocations. What a disabled server gave back stays marked while its token runs (B5)."""
        given = {at: quantity for at, quantity in allocations.items() if quantity}
        freed = {at: what for at, what in self.freed.items() if what.until > now and at not in given}
        return replace(self, allocations=given, freed=freed)


@dataclass(frozen=True, slots=True)
class Account:
    """The whole of a customer, at a version."""

    customer: Customer
    installations: Mapping[str, Installation] = field(default_factory=dict)
    licenses: Mapping[str, License] = field(default_factory=dict)
    version: int = 0
    #: The projections as they were found; ``standing`` says how they should be.
    standings: Mapping[str, Standing] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    """A customer as lists show it."""

    customer_id: str
    name: str
    tax_id: str
    country: str
    deleted: bool = False
    installation_ids: tuple[str, ...] = ()
    deleted_on: date | None = None
    #: The last day of its last license, ``date.max`` for a perpetual one; None where it never had any.
    served_until: date | None = None

    def matches(self, search: str) -> bool:
        """Whether this is what somebody looks for: a part of the name, or of the tax id."""
        wanted = search.strip().casefold()
        return wanted in self.name.casefold() or wanted.replace(" ", "") in self.tax_id.casefold()


def listed(account: Account) -> Listed:
    """What lists show of a customer."""
    customer = account.customer
    kept = (license for license in account.licenses.values() if license.state not in ("returned", "refunded"))
    return Listed(
        customer.customer_id, customer.name, customer.tax_id, customer.country, customer.deleted,
        tuple(account.installations), customer.deleted_on,
        max((license.last_day or date.max for license in kept), default=None),
    )  # fmt: skip


def check(account: Account, catalogue: Catalogue) -> None:
    """Hold what must be true of each license. Raises AccountError.

    Nobody is assigned more than the license has, nor to a server that is not there; modules fit the application; what is
    not perpetual ends, and not before it begins.
    """
    for license in account.licenses.values():
        if license.assigned > license.quantity:
            raise AccountError(f"{license.code}: {license.assigned} are assigned, the license has {license.quantity}.")
        if strangers := license.allocations.keys() - account.installations.keys():
            raise AccountError(f"{license.code}: assigned to unknown installations {sorted(strangers)}.")
        product = catalogue.products[license.sku]
        if unfit := set(license.modules) - set(catalogue.applications[product.application].modules):
            raise AccountError(f"{license.code}: no such modules: {', '.join(sorted(unfit))}.")
        if product.type != "perpetual" and license.last_day is None:
            raise AccountError(f"{license.code}: a {product.type} needs a last_day.")
        if license.first_day and license.last_day and license.last_day < license.first_day:
            raise AccountError(f"{license.code}: last_day comes before first_day.")


def standing(account: Account, installation_id: str, catalogue: Catalogue) -> Standing:
    """All that validating an installation needs, in one piece. Locked and returned licenses are not part of it (B2)."""
    installation = account.installations[installation_id]
    customer = account.customer
    assigned = [
        _entitlement(license, installation, catalogue)
        for license in sorted(account.licenses.values(), key=lambda each: each.code)
        if installation_id in license.allocations and license.state not in ("locked", "returned")
    ]
    return Standing(
        customer_id=customer.customer_id,
        customer_name=customer.name,
        tax_id=customer.tax_id,
        customer_time_zone=customer.time_zone,
        installation_id=installation_id,
        name=installation.name,
        mode=installation.mode,
        purpose=installation.purpose,
        disabled=installation.disabled,
        customer_deleted=customer.deleted,
        log_retention=customer.log_retention,
        entitlements=tuple(assigned),
    )


def _entitlement(license: License, installation: Installation, catalogue: Catalogue) -> Entitlement:
    product = catalogue.products[license.sku]
    application = catalogue.applications[product.application]
    return Entitlement(
        license_code=license.code,
        application=application.id,
        name=application.name,
        unit=application.unit,
        quantity=license.allocations[installation.installation_id],
        type=product.type,
        state=license.state,
        care=license.care,
        care_until=license.care_until,
        first_day=license.first_day,
        last_day=license.last_day,
        modules=license.modules,
        # An offline installation gets no cloud-connected services (B8).
        cloud_services=product.cloud_services and installation.mode == "online",
        lowest_app_version=product.lowest_app_version,
        pool_id=pool_id(license.license_id, installation.installation_id) if product.metering == "concurrent" else None,
    )


def pool_id(*parts: str) -> str:
    """The seats of a license on an installation, or of a customer's key for an application: their pool is always the same."""
    return f"pool_{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:24]}"


def status(installation: Installation, server: ServerState | None, now: datetime) -> Status:
    """What the portal shows of an installation; ``blocked`` by the same ladder that the server itself counts (A5)."""
    if installation.disabled:
        return "disabled"
    if server is None or not server.held or server.validated_at is None:
        return "available"
    if installation.mode == "offline":
        ended = installation.offline is not None and not installation.offline.is_out(now)
        return "blocked" if ended else "active"
    silent = silent_days(server.validated_at, now, server.report.time_zone)
    return "blocked" if rung(silent) == "blocked" else "active"


def disable(account: Account, installation_id: str, token_until: datetime | None) -> Account:
    """Disable an installation and free its quantities, marked until the last token has run out (B5)."""

    def free(license: License) -> License:
        if installation_id not in license.allocations:
            return license
        kept = {key: n for key, n in license.allocations.items() if key != installation_id}
        freed = dict(license.freed)
        if token_until is not None:
            freed[installation_id] = Freed(license.allocations[installation_id], token_until)
        return replace(license, allocations=kept, freed=freed)

    disabled = change_installation(account, installation_id, lambda each: replace(each, disabled=True))
    return replace(disabled, licenses={key: free(license) for key, license in account.licenses.items()})


def change_installation(
    account: Account, installation_id: str, change: Callable[[Installation], Installation]
) -> Account:
    """The account with one installation changed. Raises NotFound if it is not there."""
    if installation_id not in account.installations:
        raise NotFound
    installations = dict(account.installations)
    installations[installation_id] = change(installations[installation_id])
    return replace(account, installations=installations)


def with_activation_tokens(account: Account, new_secret: Callable[[], str]) -> Account:
    """The account in which every installation that something is assigned to has an activation token (B5)."""
    assigned = {key for license in account.licenses.values() for key in license.allocations}
    installations = {
        key: replace(each, activation_token=new_secret()) if key in assigned and not each.activation_token else each
        for key, each in account.installations.items()
    }
    return replace(account, installations=installations)


def differences(before: Account | None, after: Account) -> dict[str, str]:
    """What a change changed, for people, by name and never by value: values may be secret, or somebody's address."""
    had = before or Account(after.customer)
    found = {
        "customer": _fields(had.customer, after.customer),
        "installations": _members(
            {key: each.name for key, each in after.installations.items()}, had.installations, after.installations
        ),
        "licenses": _members({key: each.code for key, each in after.licenses.items()}, had.licenses, after.licenses),
    }
    return {name: text for name, text in found.items() if text}


def _members(
    names: Mapping[str, str], before: "Mapping[str, DataclassInstance]", after: "Mapping[str, DataclassInstance]"
) -> str:
    changed = (
        f"{names[key]} ({_fields(before[key], each)})" if key in before else f"{names[key]} (new)"
        for key, each in after.items()
        if before.get(key) != each
    )
    return ", ".join(changed)


def _fields(before: "DataclassInstance", after: "DataclassInstance") -> str:
    return ", ".join(each.name for each in fields(after) if getattr(before, each.name) != getattr(after, each.name))
