"""The bodies of the order routes, with their limits; the file of orders has the same (api.md, "User")."""

from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from licensing.contract import Answer, Body, Day, Text, TimeZone, example
from licensing.errors import EmailInvalid, TaxIdInvalid
from licensing.rules.orders import DeliveryState, Kind, LineState, State, Wanted
from licensing.rules.people import is_email
from licensing.rules.tax_ids import normalize

MOST_LINES = 30
MOST_ORDERS = 100

_LINE = {"kind": "new", "sku": "AQ-SUB-10", "quantity": 2, "years": 1, "care": "GOLD"}
_ORDER = {
    "order_number": "TP-2026-0815",
    "reseller": "IT12345670017",
    "customer": {"tax_id": "IT00743110157"},
    "recipients": ["ordini@telefoniapadana.example"],
    "lines": [_LINE, {"kind": "renewal", "license_code": "RP-5TVJ-8B6C", "years": 1}],
}
_TAKEN = {
    "order_id": "ord_019a9c0f2d00d4",
    "order_number": "TP-2026-0815",
    "state": "waiting",
    "ordered_at": "2026-11-22T12:00:00Z",
    "unlocked_at": None,
    "cancelled_at": None,
    "reseller": {"name": "Telefonia Padana S.r.l.", "tax_id": "IT12345670017"},
    "customer": {"name": "Officine Lombarde S.p.A.", "tax_id": "IT00743110157", "country": "IT"},
    "steps": {"delivered": True, "unlocked": False, "assigned": False, "activated": False},
    "lines": [
        {
            "kind": "new",
            "state": "locked",
            "license_code": "AQ-7F3K-92MD",
            "sku": "AQ-SUB-10",
            "product": "Advanced Queueing subscription (10 channels)",
            "quantity": 2,
            "units": 20,
            "unit": "channels",
            "care": "GOLD",
            "first_day": None,
            "last_day": None,
            "care_until": None,
            "expands": None,
        }
    ],
    "deliveries": [
        {"email": "ordini@telefoniapadana.example", "state": "delivered", "at": "2026-11-22T12:00:04Z", "reason": ""}
    ],
}


def _tax_id(text: str) -> str:
    try:
        return normalize(text)
    except TaxIdInvalid as error:
        raise ValueError(error.detail) from error


def _email(text: str) -> str:
    if not is_email(text):
        raise ValueError(EmailInvalid.detail)
    return text


TaxId = Annotated[str, AfterValidator(_tax_id)]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=128, strip_whitespace=True)]
OrderNumber = Annotated[Text, StringConstraints(min_length=1, max_length=64, strip_whitespace=True)]
Email = Annotated[str, StringConstraints(max_length=128), AfterValidator(_email)]
#: Far beyond every honest order, and within what a calendar can add years to.
FirstDay = Annotated[Day, Field(ge=date(2000, 1, 1), le=date(2100, 12, 31))]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Language = Literal["en", "it", "es", "pt-BR", "sv"]
Sku = Annotated[Text, StringConstraints(min_length=1, max_length=64)]
Code = Annotated[Text, StringConstraints(min_length=1, max_length=64, strip_whitespace=True, to_upper=True)]
Quantity = Annotated[int, Field(strict=True, ge=1, le=100_000, description="In SKUs.")]
Years = Annotated[int, Field(strict=True, ge=1, le=10)]
CarePlan = Annotated[Text, StringConstraints(min_length=1, max_length=32)]
Module = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class NewContact(Body):
    """Who may register for a new customer."""

    name: Name = ""
    email: Email


class OrderedFor(Body):
    """The final customer. All but the tax id is for one that is new."""

    tax_id: TaxId
    name: Name | None = None
    country: Country | None = None
    time_zone: TimeZone | None = None
    language: Language | None = None
    contact: NewContact | None = None


class NewLine(Body):
    """A line: a new license, the renewal of a named one (or of its care plan), or the expansion of a named one.

    An expansion without `years` ends with what it expands. Without `first_day` a term begins when it is unlocked.
    """

    kind: Kind = "new"
    sku: Sku | None = None
    quantity: Quantity | None = None
    years: Years | None = None
    care: CarePlan | None = None
    care_years: Years | None = None
    first_day: FirstDay | None = None
    modules: Annotated[tuple[Module, ...], Field(max_length=50)] = ()
    license_code: Code | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        renews = self.kind == "renewal"
        if (self.license_code is None) != (self.kind == "new"):
            raise ValueError("license_code names what is renewed or expanded, and stands in no other line")
        if renews and (self.sku or self.quantity or self.care or self.first_day or self.modules):
            raise ValueError("a renewal takes license_code, years and care_years only")
        if renews and not (self.years or self.care_years):
            raise ValueError("a renewal needs years, care_years, or both")
        if not renews and self.quantity is None:
            raise ValueError("quantity is missing")
        if self.kind == "new" and self.sku is None:
            raise ValueError("sku is missing")
        if self.kind == "new" and self.care and not (self.years or self.care_years):
            raise ValueError("care needs years or care_years")
        if not renews and self.care_years and not self.care:
            raise ValueError("care_years needs care")
        return self

    def wanted(self) -> Wanted:
        """The same as plain data."""
        return Wanted(
            self.kind, self.sku or "", self.quantity or 0, self.years, self.care, self.care_years, self.first_day,
            self.modules, self.license_code,
        )  # fmt: skip


class NewOrder(Body):
    """An order. `reseller` is its tax id; a reseller may leave it out. Without `recipients` the e-mail goes to the reseller."""

    model_config = example(_ORDER)

    order_number: OrderNumber
    reseller: TaxId | None = None
    customer: OrderedFor
    recipients: Annotated[tuple[Email, ...], Field(max_length=10)] = ()
    lines: Annotated[list[NewLine], Field(min_length=1, max_length=MOST_LINES)]


class OrderFile(Body):
    """A file of orders."""

    orders: Annotated[list[NewOrder], Field(min_length=1, max_length=MOST_ORDERS)]


class Resend(Body):
    """To whom an order's e-mail goes once more; to whom it went before where none are named."""

    model_config = example({"recipients": ["ordini@telefoniapadana.example"]})

    recipients: Annotated[tuple[Email, ...], Field(max_length=10)] = ()


class Unlock(Body):
    """The reseller's order number."""

    model_config = example({"order_number": "TP-2026-0815"})

    order_number: OrderNumber


class Forward(Body):
    """Who is invited to assign and activate."""

    model_config = example({"email": "giulia.ferrario@officinelombarde.example"})

    email: Email


class OrderingReseller(Answer):
    """The reseller."""

    name: str
    tax_id: str


class OrderedCustomer(Answer):
    """The final customer, as the order names it."""

    name: str
    tax_id: str
    country: str


class OrderSteps(Answer):
    """The four steps."""

    delivered: bool
    unlocked: bool
    assigned: bool
    activated: bool


class OrderLine(Answer):
    """A line. `quantity` is in SKUs, `units` in the application's `unit`. Days that come with unlocking are null."""

    kind: Kind
    state: LineState
    license_code: str
    sku: str
    product: str
    quantity: int
    units: int
    unit: str
    care: str | None
    first_day: date | None
    last_day: date | None
    care_until: date | None
    expands: str | None


class OrderDelivery(Answer):
    """The newest e-mail's way to one recipient."""

    email: str
    state: DeliveryState
    at: datetime | None
    reason: str


class OrderAnswer(Answer):
    """An order."""

    model_config = example(_TAKEN)

    order_id: str
    order_number: str
    state: State
    ordered_at: datetime
    unlocked_at: datetime | None
    cancelled_at: datetime | None
    reseller: OrderingReseller
    customer: OrderedCustomer
    steps: OrderSteps
    lines: list[OrderLine]
    deliveries: list[OrderDelivery]


class Orders(Answer):
    """A page of orders, newest first."""

    items: list[OrderAnswer]
    next_cursor: str | None


class Forwarded(Answer):
    """The invitation is on its way, if the address may have one."""

    model_config = example({"delivery": "email"})

    delivery: Literal["email"] = "email"
