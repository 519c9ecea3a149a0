"""Who may do what, to whom: one table (api.md, "User"). What is not yours does not exist for you."""

from collections.abc import Mapping
from typing import Literal

from licensing.errors import Forbidden, NotFound
from licensing.rules.accounts import Customer
from licensing.rules.people import VENDOR, User

Action = Literal[
    "customer.list",
    "customer.read",
    "customer.create",
    "customer.change",
    "customer.delete",
    "customer.resellers",
    "allocation.change",
    "installation.operate",
    "people.read",
    "people.invite",
    "people.manage",
    "window.open",
    "log.read",
    "personal_data.manage",
    "reseller.list",
    "reseller.read",
    "reseller.change",
    "team.manage",
    "catalogue.read",
    "order.read",
    "order.create",
    "order.change",
    "vendor.read",
    "vendor.change",
    "webhook.manage",
    "key.issue",
    "key.import",
    "company.manage",
    "pool.operate",
]
#: A user's place: its organization's kind, or its role inside a customer.
Place = Literal["vendor", "reseller", "administrator", "contract_owner"]

_ALL: frozenset[Place] = frozenset({"vendor", "reseller", "administrator", "contract_owner"})

ALLOWED: Mapping[Action, frozenset[Place]] = {
    "customer.list": frozenset({"vendor", "reseller"}),
    "customer.read": _ALL,
    "customer.create": frozenset({"vendor", "reseller"}),
    "customer.change": frozenset({"vendor", "administrator"}),
    "customer.delete": frozenset({"vendor"}),
    "customer.resellers": frozenset({"vendor"}),
    "allocation.change": frozenset({"vendor", "reseller", "administrator"}),
    "installation.operate": frozenset({"vendor", "reseller", "administrator"}),
    "people.read": _ALL,
    "people.invite": frozenset({"vendor", "reseller", "administrator"}),
    "people.manage": frozenset({"vendor", "administrator"}),
    "window.open": frozenset({"vendor", "administrator"}),
    "log.read": _ALL,
    "personal_data.manage": frozenset({"vendor", "administrator"}),
    "reseller.list": frozenset({"vendor"}),
    "reseller.read": frozenset({"vendor", "reseller"}),
    "reseller.change": frozenset({"vendor"}),
    "team.manage": frozenset({"vendor", "reseller"}),
    "catalogue.read": frozenset({"vendor", "reseller"}),
    "order.read": frozenset({"vendor", "reseller"}),
    "order.create": frozenset({"vendor", "reseller"}),
    "order.change": frozenset({"vendor", "reseller"}),
    "vendor.read": frozenset({"vendor"}),
    "vendor.change": frozenset({"vendor"}),
    "webhook.manage": frozenset({"vendor"}),
    "key.issue": frozenset({"vendor"}),
    "key.import": frozenset({"vendor", "administrator"}),
    "company.manage": frozenset({"vendor", "administrator"}),
    "pool.operate": frozenset({"vendor", "administrator"}),
}


def places(user: User) -> frozenset[Place]:
    """Where a user stands."""
    return frozenset(user.roles) if user.kind == "customer" else frozenset({user.kind})


def may(user: User, action: Action) -> bool:
    """Whether a user may do something to what is theirs."""
    return bool(ALLOWED[action] & places(user))


def require(user: User, action: Action, customer: Customer | None = None) -> None:
    """Let only those through who may, and only to their own customers.

    Raises:
        NotFound: the customer is not the user's own, nor its reseller's, whatever the user may otherwise.
        Forbidden: it is, and this is not for the user to do.
    """
    if customer is not None and not belongs(user, customer):
        raise NotFound
    if not may(user, action):
        raise Forbidden


def require_own(user: User, action: Action, organization: str) -> None:
    """The same for what belongs to an organization that is not a customer: a reseller's, or the vendor's.

    Raises NotFound for another's, Forbidden.
    """
    if user.organization not in (VENDOR, organization):
        raise NotFound
    if not may(user, action):
        raise Forbidden


def belongs(user: User, customer: Customer) -> bool:
    """Whether a customer is the user's own, its reseller's, or the vendor's."""
    match user.kind:
        case "vendor":
            return True
        case "reseller":
            return user.organization in customer.reseller_ids
        case "customer":
            return user.organization == customer.customer_id and not customer.deleted
