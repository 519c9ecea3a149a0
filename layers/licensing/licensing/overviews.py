"""What needs looking after over all customers of a user: servers that are silent, licenses and care that end."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from licensing import cursors
from licensing.customers import listing_of
from licensing.rules.accounts import Customer, License
from licensing.rules.heartbeat import Rung, rung, silent_days
from licensing.rules.people import User
from licensing.rules.sequence import ServerState
from licensing.store import accounts, renewals, servers
from licensing.store.renewals import Due
from licensing.store.vendor import catalogue

_PAGE = 50
#: Looked through in one request: customers for silent servers, dates for a reseller's renewals.
_LOOKED_THROUGH = 500


@dataclass(frozen=True, slots=True)
class Silent:
    """A server that has not validated for ``days`` days, by its own calendar."""

    customer: Customer
    installation_id: str
    name: str
    days: int
    rung: Rung
    validated_at: datetime
    hostname: str


@dataclass(frozen=True, slots=True)
class SilentPage:
    """Silent servers, by customer; what continues the walk, even where this part of it found none."""

    items: list[Silent]
    next_cursor: str | None


def silent_servers(user: User, days: int, cursor: str | None, now: datetime) -> SilentPage:
    """The user's customers' servers that have been silent for ``days`` or more. Raises Forbidden, InvalidRequest.

    Servers that are offline, disabled or released have nothing to say, and are not silent.
    """
    listing = listing_of(user)
    position, looked, more = cursors.read(cursor, listing, accounts.LISTED), 0, True
    found: list[Silent] = []
    while more and len(found) < _PAGE and looked < _LOOKED_THROUGH:
        entries, more = accounts.customers_of(listing, position, _PAGE)
        looked += len(entries)
        position = entries[-1][0] if entries else position
        states = servers.get_many([key for _, each in entries if not each.deleted for key in each.installation_ids])
        quiet = {key for key, state in states.items() if _silence(state, now) >= days}
        for _, each in entries:
            if quiet.intersection(each.installation_ids):
                found += _silent(each.customer_id, states, quiet, now)
    return SilentPage(found, cursors.text(position) if more else None)


def _silence(state: ServerState, now: datetime) -> int:
    if not state.held or state.validated_at is None:
        return -1
    return silent_days(state.validated_at, now, state.report.time_zone)


def _silent(customer_id: str, states: Mapping[str, ServerState], quiet: set[str], now: datetime) -> list[Silent]:
    account = accounts.read(customer_id)
    found = []
    for key, each in account.installations.items() if account else ():
        state = states.get(key)
        if account and state and state.validated_at and key in quiet and each.mode == "online" and not each.disabled:
            days = _silence(state, now)
            found.append(
                Silent(account.customer, key, each.name, days, rung(days), state.validated_at, state.report.hostname)
            )
    return found


@dataclass(frozen=True, slots=True)
class Renewal:
    """A license that ends, or whose care does (``what``), on ``day``, in ``days_left`` days."""

    customer: Customer
    license: License
    product: str
    what: str
    day: date
    days_left: int


@dataclass(frozen=True, slots=True)
class RenewalPage:
    """What ends, by date; and what continues."""

    items: list[Renewal]
    next_cursor: str | None


def coming_renewals(user: User, days: int, cursor: str | None, now: datetime) -> RenewalPage:
    """What of the user's customers ends within ``days`` from today (UTC), soonest first. Raises Forbidden, InvalidRequest."""
    listing, today = listing_of(user), now.date()
    theirs = None if listing == "CUSTOMERS" else _customer_ids(listing)
    until = today + timedelta(days=days)
    after = renewals.read_cursor(cursor, today, until)
    found: list[Due] = []
    looked, more = 0, True
    while more and len(found) < _PAGE and looked < _LOOKED_THROUGH:
        entries, more = renewals.due(after, until, _PAGE)
        for number, each in enumerate(entries, 1):
            after, looked = each.place, looked + 1
            if theirs is None or each.customer_id in theirs:
                found.append(each)
                if len(found) == _PAGE:
                    more = more or number < len(entries)
                    break
    customers = accounts.get_customers({each.customer_id for each in found})
    products = catalogue().products
    items = [
        Renewal(
            customers[each.customer_id], each.license,
            products[each.license.sku].name if each.license.sku in products else each.license.sku,
            each.what, each.day, (each.day - today).days,
        )
        for each in found
        if each.customer_id in customers and not customers[each.customer_id].deleted
    ]  # fmt: skip
    return RenewalPage(items, renewals.cursor(after) if more else None)


def _customer_ids(listing: str) -> set[str]:
    position, more = None, True
    found: set[str] = set()
    while more:
        entries, more = accounts.customers_of(listing, position, 1000)
        found |= {each.customer_id for _, each in entries}
        position = entries[-1][0] if entries else position
    return found
