"""The catalogue-and-customers file: how a vendor begins with its own data, and keeps it current.

The file says how things are to be; loading it again changes what differs. What it does not mention stays as it is, down to
the single field.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from licensing import identity, retention_mail
from licensing.contract import TimeZone, Version
from licensing.errors import RedundancyServer, TaxIdInvalid
from licensing.operations import operation, recording
from licensing.rules import accounts as rules
from licensing.rules import offline, retention
from licensing.rules import vendor as vendor_rules
from licensing.rules.accounts import Account, AccountError, Customer, Installation, License
from licensing.rules.allocations import check_redundancy
from licensing.rules.operations import Origin
from licensing.rules.people import VENDOR, Reseller
from licensing.rules.retention import Retention
from licensing.rules.tax_ids import normalize
from licensing.rules.vendor import AlertDays
from licensing.store import accounts, people
from licensing.store import vendor as vendor_store
from licensing.store.tables import unraced

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

M = TypeVar("M", bound="DataclassInstance")

#: Whoever runs the vendor's command line.
LOADER = Origin("vendor", "cloud-licensing")


class LoadError(Exception):
    """Raised when a file can't be loaded; ``lines`` say what is wrong and where, ``report`` what was done before."""

    def __init__(self, lines: list[str], report: "LoadReport | None" = None) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.report = report or LoadReport()


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _tax_id(text: str) -> str:
    try:
        return normalize(text)
    except TaxIdInvalid as error:
        raise ValueError(error.detail) from error


Name = Annotated[str, StringConstraints(min_length=1, max_length=128, strip_whitespace=True)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9-]{3,39}$")]
Count = Annotated[int, Field(ge=1, le=10**9)]
TaxId = Annotated[str, AfterValidator(_tax_id)]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=254)]
Tag = Literal["en", "it", "es", "pt-BR", "sv"]
# Text, since YAML reads an unquoted 10:00 as the number 600.
TimeOfDay = Annotated[
    str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"), Field(description='for example "10:00", quoted')
]


class ContactPart(_Part):
    """A person or a desk."""

    name: str = ""
    email: Email | Literal[""] = ""
    phone: str = ""
    url: str = ""


class AgentPart(_Part):
    """The License Manager's versions."""

    latest: Version | None = None
    lowest: Version | None = None
    download_url: str | None = None


class WindowPart(_Part):
    """When servers validate, local time."""

    start: TimeOfDay = Field("10:00", alias="from")
    end: TimeOfDay = Field("14:00", alias="to")


class AlertsPart(_Part):
    """When alerts are due: days before an end, days of silence, days that a key signs."""

    before: Annotated[list[Annotated[int, Field(ge=0, le=365)]], Field(max_length=20)] = list(AlertDays().before)
    silent: Annotated[list[Annotated[int, Field(ge=1, le=60)]], Field(max_length=20)] = list(AlertDays().silent)
    signing_key: Annotated[int, Field(ge=30, le=3650)] = AlertDays().signing_key


class VendorPart(_Part):
    """The vendor's settings."""

    name: Name
    contact: ContactPart = ContactPart()
    portal_url: str = ""
    releases: list[Name] = []
    lowest_app_version: str | None = None
    agent: AgentPart = AgentPart()
    validation_window: WindowPart = WindowPart.model_validate({})
    notice_days: Annotated[int, Field(ge=0, le=365)] = 30
    offline_days: Annotated[int, Field(ge=1, le=36500)] | None = None
    alerts: AlertsPart = AlertsPart()


class ApplicationPart(_Part):
    """An application."""

    id: Slug
    name: Name
    unit: Name
    modules: list[Slug] = []


class ProductPart(_Part):
    """A product."""

    sku: Name
    application: Slug
    name: Name
    type: Literal["perpetual", "subscription", "trial"]
    units_per_sku: Count = 1
    periods: list[Count] = []
    metering: Literal["server", "concurrent", "named_user", "company"] = "server"
    lowest_app_version: str | None = None
    cloud_services: bool = True
    redundancy: bool = False


class InstallationPart(_Part):
    """An installation, known by its name within its customer."""

    name: Name
    mode: Literal["online", "offline"] = "online"
    purpose: Literal["main", "test", "redundancy", "load"] | None = None


class LicensePart(_Part):
    """A license, known by its code. ``quantity`` and allocations are in the application's units."""

    code: Code
    sku: Name
    quantity: Count
    care: str | None = None
    care_until: date | None = None
    first_day: date | None = None
    last_day: date | None = None
    modules: list[Slug] = []
    state: Literal["active", "locked", "suspended", "refunded", "returned"] = "active"
    allocations: dict[Name, Count] = {}


class ResellerPart(_Part):
    """A reseller, known by its tax id."""

    name: Name
    tax_id: TaxId
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    language: Tag = "en"
    contacts: list[ContactPart] = []
    may_order: bool = False
    may_assign_products: bool = False


class CustomerPart(_Part):
    """A customer, known by its tax id. ``resellers`` are named by theirs."""

    name: Name
    tax_id: TaxId
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    language: Tag = "en"
    time_zone: TimeZone
    resellers: list[TaxId] = []
    contacts: list[ContactPart] = []
    log_retention_days: Annotated[int, Field(ge=1, le=3650)] = 365
    installations: list[InstallationPart] = []
    licenses: list[LicensePart] = []


class Document(_Part):
    """The whole file; each part may be left out."""

    vendor: VendorPart | None = None
    applications: list[ApplicationPart] = []
    products: list[ProductPart] = []
    resellers: list[ResellerPart] = []
    customers: list[CustomerPart] = []


@dataclass
class LoadReport:
    """What a load did."""

    customers: dict[str, str] = field(default_factory=dict)
    #: For installations that got their activation token now: customer, installation, token.
    activation_tokens: list[tuple[str, str, str]] = field(default_factory=list)
    #: What was left out, and why.
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One line a customer, and the notes."""
        return [f"{name}: {what}" for name, what in self.customers.items()] + self.notes


def parse(document: Mapping[str, Any]) -> Document:
    """Check a file's content. Raises LoadError with every fault."""
    try:
        return Document.model_validate(document)
    except ValidationError as error:
        raise LoadError([f"{_place(each['loc'])}: {each['msg']}" for each in error.errors()]) from error


def _place(path: tuple[int | str, ...]) -> str:
    return re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, path))) or "the file"


def check(document: Mapping[str, Any], now: datetime) -> None:
    """Check a file as a whole, against what is loaded already; writes nothing. Raises LoadError with every fault."""
    parsed = parse(document)
    catalogue = _catalogue(parsed, vendor_store.catalogue())
    resellers = _resellers(parsed, people.resellers().values(), now, identity.new_id)
    faults = list(_faults(parsed, catalogue, resellers, _vendor(parsed.vendor, vendor_store.get())))
    for part in parsed.customers if not faults else ():
        try:
            before = accounts.read_by_tax_id(part.tax_id)
            _check(before, _account(part, before, resellers, now, identity.new_id, []), catalogue, now)
            accounts.check_claims(before, [each.code for each in part.licenses])
        except AccountError as error:
            faults.append(f"{part.name}: {error}")
        except accounts.Taken as error:
            faults.append(f"{part.name}: {error} belongs to another customer")
    if faults:
        raise LoadError(faults)


def load(
    document: Mapping[str, Any],
    now: datetime,
    *,
    by: Origin = LOADER,
    new_id: Callable[[str, datetime], str] = identity.new_id,
    progress: Callable[[str], None] = lambda name: None,
) -> LoadReport:
    """Load a file's content: the vendor and its catalogue, then customer by customer, each in one transaction (in stages
    where it is more than 100 items).

    The whole file is checked before anything is written. Interrupted, it is simply run again: it completes what is
    missing. ``progress`` is told each customer's name.

    Raises LoadError, TemporarilyUnavailable.
    """
    check(document, now)
    parsed = parse(document)
    catalogue = _catalogue(parsed, vendor_store.catalogue())
    if parsed.vendor:
        unraced(partial(_load_vendor, parsed.vendor, by, now))
    if parsed.applications or parsed.products:
        vendor_store.put_catalogue(
            catalogue,
            lambda changed: recording(operation(VENDOR, by, "catalogue.changed", now, changed=", ".join(changed))),
        )
    resellers = unraced(partial(_load_resellers, parsed, by, now, new_id))
    report = LoadReport()
    for part in parsed.customers:
        progress(part.name)
        _load_customer(part, catalogue, resellers, by, now, new_id, report)
    if parsed.applications or parsed.products:
        _project_others({part.tax_id for part in parsed.customers}, catalogue, by, now)
    return report


def _check(before: Account | None, after: Account, catalogue: vendor_rules.Catalogue, now: datetime) -> None:
    rules.check(after, catalogue)
    offline.check_held(before, after, now)
    try:
        check_redundancy(before, after, catalogue, after.customer.today(now))
    except RedundancyServer as error:
        raise AccountError(error.detail.format_map(error.members)) from error


def _catalogue(parsed: Document, known: vendor_rules.Catalogue) -> vendor_rules.Catalogue:
    applications, products = dict(known.applications), dict(known.products)
    for part in parsed.applications:
        application = applications.get(part.id, vendor_rules.Application(part.id, part.name, part.unit))
        applications[part.id] = _merged(application, part)
    for sold in parsed.products:
        product = products.get(sold.sku, vendor_rules.Product(sold.sku, sold.application, sold.name, sold.type))
        products[sold.sku] = _merged(product, sold)
    return vendor_rules.Catalogue(applications, products)


def _resellers(
    parsed: Document, before: Iterable[Reseller], now: datetime, new_id: Callable[[str, datetime], str]
) -> dict[str, Reseller]:
    """All resellers by tax id, as they are to be."""
    known = {each.tax_id: each for each in before}
    for part in parsed.resellers:
        contacts = tuple(_merged(vendor_rules.Contact(), each) for each in part.contacts)
        as_known = known.get(part.tax_id) or Reseller(new_id("res", now), part.name, part.tax_id, part.country)
        known[part.tax_id] = _merged(as_known, part, contacts=contacts)
    return known


def _merged(before: M, part: BaseModel, **converted: Any) -> M:
    """What was there before, with what a part of the file says of it.

    ``converted`` are members of another shape here; a member of the part that there is none of here is somebody else's.
    """
    said: dict[str, Any] = {}
    for name in part.model_fields_set & {each.name for each in fields(before)}:
        value = converted.get(name, getattr(part, name))
        said[name] = tuple(value) if isinstance(value, list) else value
    return replace(before, **said)


def _faults(
    parsed: Document,
    catalogue: vendor_rules.Catalogue,
    resellers: Mapping[str, Reseller],
    vendor: vendor_rules.Vendor,
) -> Iterator[str]:
    """What no single part can know: references between them, and doubles."""
    yield from (f"vendor: {member}: {fault}" for member, fault in vendor_rules.faults(vendor))
    for product in catalogue.products.values():
        if product.application not in catalogue.applications:
            yield f"product {product.sku}: there is no application {product.application}"
    yield from _doubles("customer", [part.tax_id for part in parsed.customers])
    yield from _doubles("license", [each.code for part in parsed.customers for each in part.licenses])
    yield from _doubles("reseller", [part.tax_id for part in parsed.resellers])
    for part in parsed.customers:
        for tax_id in part.resellers:
            if tax_id not in resellers:
                yield f"{part.name}: there is no reseller {tax_id}"
        yield from _doubles(f"{part.name}: installation", [each.name for each in part.installations])
        for each in part.licenses:
            if each.sku not in catalogue.products:
                yield f"{part.name}: license {each.code}: there is no product {each.sku}"


def _doubles(what: str, names: list[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{what} {name} stands in the file more than once"


def _vendor(part: VendorPart | None, before: vendor_rules.Vendor) -> vendor_rules.Vendor:
    if part is None:
        return before
    contact, agent = _merged(before.contact, part.contact), _merged(before.agent, part.agent)
    hours = {name: time.fromisoformat(getattr(part.validation_window, name)) for name in ("start", "end")}
    window, alerts = _merged(before.window, part.validation_window, **hours), _merged(before.alerts, part.alerts)
    return replace(_merged(before, part, contact=contact, agent=agent, alerts=alerts), window=window)


def _load_vendor(part: VendorPart, by: Origin, now: datetime) -> None:
    before = vendor_store.get()
    vendor = _vendor(part, before)
    if vendor != before:
        vendor_store.put(before, vendor, recording(operation(VENDOR, by, "vendor.changed", now)))


def _load_resellers(
    parsed: Document, by: Origin, now: datetime, new_id: Callable[[str, datetime], str]
) -> dict[str, Reseller]:
    known = people.resellers()
    wanted = _resellers(parsed, known.values(), now, new_id)
    for each in (wanted[part.tax_id] for part in parsed.resellers):
        before = known.get(each.reseller_id)
        if each == before:
            continue
        action = "reseller.changed" if before else "reseller.created"
        told = operation(each.reseller_id, by, action, now, each.reseller_id)
        people.put_reseller(before, each, recording(told))
    return wanted


def _load_customer(
    part: CustomerPart,
    catalogue: vendor_rules.Catalogue,
    resellers: Mapping[str, Reseller],
    by: Origin,
    now: datetime,
    new_id: Callable[[str, datetime], str],
    report: LoadReport,
) -> None:
    def attempt() -> None:
        before, notes = accounts.read_by_tax_id(part.tax_id), list[str]()
        try:
            after = _account(part, before, resellers, now, new_id, notes)
            _check(before, after, catalogue, now)
            action = "customer.changed" if before else "customer.created"
            changed = rules.differences(before, after)
            told = operation(after.customer.customer_id, by, action, now, after.customer.customer_id, **changed)
            if before:
                retention_mail.announce(before.customer, after.customer)
            written = accounts.write(before, after, catalogue, recording(told))
        except accounts.Taken as error:
            raise LoadError([f"{part.name}: {error} belongs to another customer"], report) from error
        except AccountError as error:
            raise LoadError([f"{part.name}: {error}"], report) from error
        had = before.installations if before else {}
        for key, each in after.installations.items():
            if each.activation_token and (key not in had or had[key].activation_token != each.activation_token):
                report.activation_tokens.append((part.name, each.name, each.activation_token))
        report.customers[part.name] = "created" if before is None else "changed" if written else "unchanged"
        report.notes += notes

    unraced(attempt)


def _account(
    part: CustomerPart,
    before: Account | None,
    resellers: Mapping[str, Reseller],
    now: datetime,
    new_id: Callable[[str, datetime], str],
    notes: list[str],
) -> Account:
    contacts = tuple(_merged(vendor_rules.Contact(), each) for each in part.contacts)
    known = (
        before.customer
        if before
        else Customer(new_id("cus", now), part.name, part.tax_id, part.country, part.time_zone)
    )
    customer = _merged(known, part, contacts=contacts, log_retention_days=known.log_retention_days)
    if "resellers" in part.model_fields_set:
        customer = replace(customer, reseller_ids=tuple(resellers[tax_id].reseller_id for tax_id in part.resellers))
    if "log_retention_days" in part.model_fields_set:
        # A new customer has no operations yet that a shorter time would take away.
        wanted = Retention(part.log_retention_days)
        customer = customer.keeping_log(retention.change(known.log_retention, wanted.days, now) if before else wanted)
    installations = dict(before.installations) if before else {}
    ids = {each.name: key for key, each in installations.items()}
    for place in part.installations:
        key = ids.setdefault(place.name, new_id("ins", now))
        installations[key] = _merged(installations.get(key, Installation(key, place.name)), place)
    licenses = dict(before.licenses) if before else {}
    codes = {each.code: key for key, each in licenses.items()}
    for entry in part.licenses:
        if strangers := entry.allocations.keys() - ids.keys():
            raise AccountError(f"{entry.code} is assigned to unknown installations: {', '.join(sorted(strangers))}.")
        key = codes.get(entry.code) or new_id("lic", now)
        license = licenses.get(key, License(key, entry.code, entry.sku, entry.quantity))
        licenses[key] = _license(entry, license, ids, now)
        for at in [at for at in licenses[key].allocations if installations[at].disabled]:
            # Disabling freed it (B5); a file that is loaded again must not take that back, nor stop at it.
            kept = {place: n for place, n in licenses[key].allocations.items() if place != at}
            licenses[key] = replace(licenses[key], allocations=kept)
            notes.append(f"{part.name}: {installations[at].name} is disabled, so {entry.code} is not assigned to it")
    account = Account(customer, installations, licenses, before.version if before else 0)
    return rules.with_activation_tokens(account, identity.new_secret)


def _license(entry: LicensePart, before: License, ids: Mapping[str, str], now: datetime) -> License:
    allocations = {ids[name]: quantity for name, quantity in entry.allocations.items()}
    after = _merged(before, entry, allocations=allocations)
    return after.allocated(after.allocations, now)


def _project_others(loaded: set[str], catalogue: vendor_rules.Catalogue, by: Origin, now: datetime) -> None:
    """Bring a change of the catalogue to the customers that the file does not name."""

    def project(customer_id: str) -> None:
        account = accounts.read(customer_id)
        if account and account.customer.tax_id not in loaded:
            told = operation(customer_id, by, "customer.changed", now, customer_id, catalogue="changed")
            accounts.write(account, account, catalogue, recording(told))

    for customer_id in accounts.all_customer_ids():
        unraced(partial(project, customer_id))
