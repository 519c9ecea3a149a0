"""Customers as users see them: whose they are, found by name or tax id, with their state and last activity."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from licensing import cursors
from licensing.errors import NotFound
from licensing.rules import access
from licensing.rules.access import Action
from licensing.rules.accounts import Account, Listed
from licensing.rules.people import VENDOR, User
from licensing.store import accounts, servers

_PAGE = 25
#: A search looks through this many customers in one request; what continues it is told.
_LOOKED_THROUGH = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """A customer with when one of its servers last validated."""

    listed: Listed
    last_activity: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of customers, and what continues it."""

    items: list[Found]
    next_cursor: str | None


def account_for(user: User, customer_id: str, action: Action) -> Account:
    """A customer's account for a user who may do ``action`` to it. Raises NotFound, Forbidden."""
    account = accounts.read(customer_id)
    if account is None:
        raise NotFound
    access.require(user, action, account.customer)
    return account


def search(user: User, text: str, cursor: str | None, now: datetime, limit: int = _PAGE) -> Page:
    """The customers of the user whose name or tax id holds ``text``, by name. Raises Forbidden, InvalidRequest."""
    access.require(user, "customer.list")
    listing = "CUSTOMERS" if user.organization == VENDOR else user.organization
    found: list[Listed] = []
    position, looked = cursors.read(cursor, listing), 0
    while True:
        entries, position = accounts.customers_of(listing, position, limit - len(found) if not text else limit)
        found += [entry for entry in entries if entry.matches(text)]
        looked += len(entries)
        if position is None or len(found) >= limit or looked >= _LOOKED_THROUGH:
            break
    activity = _last_activity(found)
    return Page([Found(entry, activity.get(entry.customer_id)) for entry in found], cursors.text(position))


def _last_activity(entries: Iterable[Listed]) -> dict[str, datetime]:
    owners = {key: entry.customer_id for entry in entries for key in entry.installation_ids}
    latest: dict[str, datetime] = {}
    for key, state in servers.get_many(owners).items():
        if validated_at := state.validated_at:
            owner = owners[key]
            latest[owner] = max(validated_at, latest.get(owner, validated_at))
    return latest
