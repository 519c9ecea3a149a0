"""Orders (B1, B2, B7): what a reseller bought for one final customer, and what becomes of it.

New licenses and expansions are locked until the order is unlocked, all lines at once. A line that renews takes effect at once.
"""

import hmac
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal

from licensing.errors import (
    LicenseUnknown,
    LicensingError,
    ModuleNotCompatible,
    NotRenewable,
    PeriodNotOnSale,
    ProductUnknown,
    RenewalTooLate,
)
from licensing.rules.accounts import Account, License
from licensing.rules.terms import last_day, renewed
from licensing.rules.vendor import Catalogue, Product

Kind = Literal["new", "renewal", "expansion"]
State = Literal["waiting", "unlocked", "cancelled"]
LineState = Literal["locked", "unlocked", "renewed", "cancelled"]
#: What is known of an e-mail's way to one recipient, in the order of what counts more.
DeliveryState = Literal["queued", "sent", "delivered", "bounced", "complained"]
_RANKS: Mapping[DeliveryState, int] = {"queued": 0, "sent": 1, "delivered": 2, "bounced": 3, "complained": 4}

#: How long after the unlocking the link passes the activation on.
_FORWARDED_FOR = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A line as the reseller orders it. ``quantity`` is in SKUs, ``years`` and ``care_years`` are whole years.

    ``license_code`` names the license that is renewed, or expanded. Without ``first_day`` a term begins when it is unlocked.
    """

    kind: Kind
    sku: str = ""
    quantity: int = 0
    years: int | None = None
    care: str | None = None
    care_years: int | None = None
    first_day: date | None = None
    modules: tuple[str, ...] = ()
    license_code: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it was taken in. ``quantity`` is in SKUs, ``units`` in the application's unit.

    ``license_code`` is the license that it made, or renewed; ``expands`` the one that it adds to.
    """

    kind: Kind
    license_id: str
    license_code: str
    sku: str
    product: str
    quantity: int
    units: int
    unit: str
    years: int | None = None
    care: str | None = None
    care_years: int | None = None
    #: Known dates. Those of a term that begins when it is unlocked come with that.
    first_day: date | None = None
    last_day: date | None = None
    care_until: date | None = None
    begins_unlocked: bool = False
    expands: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """An e-mail's way to one recipient."""

    email: str
    state: DeliveryState = "queued"
    at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Mailing:
    """One e-mail about an order, with a secret of its own. ``mailing_id`` is no secret."""

    mailing_id: str
    at: datetime
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """An order. The customer is told as the reseller named it: it may know no more of it."""

    order_id: str
    number: str
    reseller_id: str
    customer_id: str
    customer_name: str
    tax_id: str
    country: str
    ordered_at: datetime
    lines: tuple[Line, ...]
    mailings: tuple[Mailing, ...] = ()
    #: Of what was ordered, to know the same order when it comes again.
    content_hash: str = ""
    unlocked_at: datetime | None = None
    cancelled_at: datetime | None = None

    @property
    def state(self) -> State:
        """Where it stands. What only renews has nothing to unlock."""
        if self.cancelled_at:
            return "cancelled"
        return "unlocked" if self.unlocked_at else "waiting"

    @property
    def license_ids(self) -> tuple[str, ...]:
        """What the lines are about, each once."""
        return tuple(dict.fromkeys(line.license_id for line in self.lines))

    def state_of(self, line: Line) -> LineState:
        """Where a line stands. A renewal took effect at once, and stays when the order is cancelled."""
        if line.kind == "renewal":
            return "renewed"
        return "locked" if self.state == "waiting" else self.state


@dataclass(frozen=True, slots=True)
class ListedOrder:
    """An order as lists find it."""

    order_id: str
    number: str
    customer_name: str
    tax_id: str
    state: State

    def matches(self, search: str) -> bool:
        """Whether this is what somebody looks for: a part of the number, of the customer's name, or of its tax id."""
        wanted = search.strip().casefold()
        return any(wanted in text.casefold() for text in (self.number, self.customer_name, self.tax_id))


def listed(order: Order) -> ListedOrder:
    """What lists keep of an order."""
    return ListedOrder(order.order_id, order.number, order.customer_name, order.tax_id, order.state)


@dataclass(frozen=True, slots=True)
class Steps:
    """The four steps of an order (B1)."""

    delivered: bool
    unlocked: bool
    assigned: bool
    activated: bool


def number_key(number: str) -> str:
    """One spelling of an order number, however it is typed."""
    return " ".join(number.split()).casefold()


def is_number(order: Order, typed: str) -> bool:
    """Whether this is the order's number; takes the same time either way."""
    return hmac.compare_digest(number_key(order.number).encode(), number_key(typed).encode())


# ── intake ──

#: From a SKU to the id and code of a new license.
NewLicense = Callable[[str], tuple[str, str]]


def take_in(
    account: Account, wanted: Sequence[Wanted], catalogue: Catalogue, today: date, new_license: NewLicense
) -> tuple[Account, tuple[Line, ...]]:
    """The account with what is ordered in it, and the lines of the order.

    Raises the errors below; their member ``line`` counts from 1:

    ProductUnknown, LicenseUnknown, PeriodNotOnSale, ModuleNotCompatible, NotRenewable, RenewalTooEarly, RenewalTooLate.
    """
    lines: list[Line] = []
    for number, each in enumerate(wanted, 1):
        try:
            if each.kind == "renewal":
                license, line = _renewal(account, each, catalogue, today)
            else:
                license, line = _new(account, each, catalogue, today, new_license)
        except LicensingError as error:
            error.members = {"line": number, **error.members}
            raise
        account = replace(account, licenses={**account.licenses, license.license_id: license})
        lines.append(line)
    return account, tuple(lines)


def _renewal(account: Account, wanted: Wanted, catalogue: Catalogue, today: date) -> tuple[License, Line]:
    license = _named(account, wanted)
    product = catalogue.products[license.sku]
    if license.state in ("locked", "refunded", "returned"):
        raise NotRenewable(license_code=license.code)
    if wanted.years is not None:
        _check_period(product, wanted.years)
        if license.last_day is None:
            raise NotRenewable(license_code=license.code)
        term = renewed(license.last_day, wanted.years, today)
        # Care that lasts as long as the term goes on doing so, where the order says nothing else of it.
        with_term = wanted.care_years is None and license.care_until == license.last_day
        license = replace(license, last_day=term, care_until=term if with_term else license.care_until)
    if wanted.care_years is not None:
        if license.care_until is None:
            raise NotRenewable(license_code=license.code)
        license = replace(license, care_until=renewed(license.care_until, wanted.care_years, today))
    line = Line(
        "renewal", license.license_id, license.code, license.sku, product.name,
        max(1, license.quantity // product.units_per_sku), license.quantity,
        catalogue.applications[product.application].unit, wanted.years, license.care, wanted.care_years,
        license.first_day, license.last_day, license.care_until,
    )  # fmt: skip
    return license, line


def _new(
    account: Account, wanted: Wanted, catalogue: Catalogue, today: date, new_license: NewLicense
) -> tuple[License, Line]:
    expanded = _named(account, wanted) if wanted.kind == "expansion" else None
    product = catalogue.products.get(wanted.sku or (expanded.sku if expanded else ""))
    if product is None:
        raise ProductUnknown(sku=wanted.sku)
    if expanded and product.application != catalogue.products[expanded.sku].application:
        raise ProductUnknown(sku=wanted.sku)
    if unfit := sorted(set(wanted.modules) - set(catalogue.applications[product.application].modules)):
        raise ModuleNotCompatible(sku=product.sku, modules=", ".join(unfit))
    license_id, code = new_license(product.sku)
    license = License(
        license_id, code, product.sku, wanted.quantity * product.units_per_sku,
        care=wanted.care, modules=wanted.modules, state="locked",
    )  # fmt: skip
    if expanded and not (wanted.years or wanted.care_years) and (product.type == "perpetual" or expanded.last_day):
        license = _beside(license, expanded, product, wanted.first_day or today)
    else:
        _check_period(product, wanted.years)
        # Provisional where the term begins with unlocking: what is not perpetual has an end at any time.
        license = _begun(license, wanted.first_day or today, wanted.years, wanted.care_years)
    if license.last_day and license.last_day < today:
        raise RenewalTooLate(last_day=license.last_day.isoformat())
    begins_unlocked = wanted.first_day is None
    line = Line(
        wanted.kind, license_id, code, product.sku, product.name, wanted.quantity, license.quantity,
        catalogue.applications[product.application].unit, wanted.years, license.care, wanted.care_years,
        license.first_day, license.last_day, license.care_until, begins_unlocked,
        expanded.code if expanded else None,
    )  # fmt: skip
    return license, line


def _beside(license: License, expanded: License, product: Product, first_day: date) -> License:
    """An expansion without a period of its own: it ends with what it expands, and so does its care."""
    ends = None if product.type == "perpetual" else expanded.last_day
    if ends and ends < first_day:
        raise RenewalTooLate(last_day=ends.isoformat())
    care = license.care or expanded.care
    return replace(license, first_day=first_day, last_day=ends, care=care, care_until=expanded.care_until)


def _named(account: Account, wanted: Wanted) -> License:
    for license in account.licenses.values():
        if license.code == wanted.license_code:
            return license
    raise LicenseUnknown(license_code=wanted.license_code)


def _check_period(product: Product, years: int | None) -> None:
    on_sale = years is None if product.type == "perpetual" else years in product.periods
    if not on_sale:
        raise PeriodNotOnSale(sku=product.sku, periods=", ".join(map(str, product.periods)) or "–")


def _begun(license: License, first_day: date, years: int | None, care_years: int | None) -> License:
    """A license whose term begins on a day. The care of a term without years of its own lasts as long as the term."""
    ends = last_day(first_day, years) if years else None
    care = care_years or years
    cared = last_day(first_day, care) if license.care and care else None
    return replace(license, first_day=first_day, last_day=ends, care_until=cared)


# ── unlocking and cancelling ──


def unlock(account: Account, order: Order, now: datetime, today: date) -> tuple[Account, Order]:
    """All locked lines of an order unlocked: terms that waited for it begin today.

    Raises RenewalTooLate where what a line expands has ended meanwhile.
    """
    licenses, lines = dict(account.licenses), list[Line]()
    for line in order.lines:
        license = licenses.get(line.license_id)
        if line.kind != "renewal" and license and license.state == "locked":
            if line.begins_unlocked:
                license = _begins(license, line, today, licenses.values())
                line = replace(
                    line, first_day=license.first_day, last_day=license.last_day, care_until=license.care_until
                )
            licenses[license.license_id] = replace(license, state="active")
        lines.append(line)
    return replace(account, licenses=licenses), replace(order, lines=tuple(lines), unlocked_at=now)


def _begins(license: License, line: Line, today: date, licenses: Iterable[License]) -> License:
    if line.years or line.care_years:
        return _begun(license, today, line.years, line.care_years)
    # What it expands may have been renewed since it was ordered.
    expanded = next((each for each in licenses if each.code == line.expands), None)
    ends = expanded.last_day if expanded and license.last_day else license.last_day
    if ends and ends < today:
        raise RenewalTooLate(last_day=ends.isoformat())
    cared = expanded.care_until if expanded else license.care_until
    return replace(license, first_day=today, last_day=ends, care_until=cared)


def cancel(account: Account, order: Order, now: datetime) -> tuple[Account, Order]:
    """An order cancelled: its locked licenses are gone. What it renewed stays renewed."""
    locked = {
        line.license_id
        for line in order.lines
        if line.kind != "renewal"
        and line.license_id in account.licenses
        and account.licenses[line.license_id].state == "locked"
    }
    kept = {key: each for key, each in account.licenses.items() if key not in locked}
    return replace(account, licenses=kept), replace(order, cancelled_at=now)


# ── the e-mail's way, and the four steps ──


def mailed(order: Order, mailing_id: str, recipients: Sequence[str], now: datetime) -> Order:
    """An order with one e-mail more on its way."""
    mailing = Mailing(mailing_id, now, tuple(Delivery(email) for email in recipients))
    return replace(order, mailings=(*order.mailings, mailing))


def with_delivery(
    order: Order, mailing_id: str, email: str, state: DeliveryState, at: datetime, reason: str = ""
) -> Order:
    """An order that knows more of an e-mail's way; the same where this says nothing new. Events come twice, and late."""

    def told(delivery: Delivery) -> Delivery:
        if delivery.email.casefold() != email.casefold() or _RANKS[state] <= _RANKS[delivery.state]:
            return delivery
        return replace(delivery, state=state, at=at, reason=reason)

    mailings = tuple(
        replace(each, deliveries=tuple(told(delivery) for delivery in each.deliveries))
        if each.mailing_id == mailing_id
        else each
        for each in order.mailings
    )
    return replace(order, mailings=mailings)


def link_forwards(order: Order, now: datetime) -> bool:
    """Whether the unlock link passes the activation on: for two weeks from the unlocking. Later it shows the order only."""
    return order.state == "unlocked" and order.unlocked_at is not None and now < order.unlocked_at + _FORWARDED_FOR


def steps(order: Order, licenses: Mapping[str, License], active: Collection[str]) -> Steps:
    """How far an order is. ``licenses`` are those of its customer by id, ``active`` the installations with a server."""
    found = [licenses[key] for key in order.license_ids if key in licenses]
    unlocked = order.unlocked_at is not None
    reached = any(each.state in ("sent", "delivered") for mailing in order.mailings for each in mailing.deliveries)
    assigned = unlocked and bool(found) and all(license.allocations for license in found)
    activated = assigned and all(set(license.allocations) & set(active) for license in found)
    return Steps(reached, unlocked, assigned, activated)
