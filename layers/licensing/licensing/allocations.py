"""Handing out quantities to servers (B4): each save is one transaction, all or nothing, or it is refused with its reason."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from licensing import identity
from licensing.errors import NotFound, StaleVersion, TooManyChanges
from licensing.operations import operation, recording
from licensing.rules import allocations as rules
from licensing.rules.accounts import Account, with_activation_tokens
from licensing.rules.allocations import Allocations, Cell, Merge
from licensing.rules.operations import Origin
from licensing.rules.vendor import Catalogue
from licensing.store import accounts, tables
from licensing.store.vendor import catalogue
from licensing.texts import mark


class Overtaken(StaleVersion):
    """Raised when somebody else saved quantities since a person looked; ``merge`` says which, for the person to decide."""

    detail = mark(
        "Somebody else saved quantities meanwhile. Marked fields show theirs and yours: correct them, and save again."
    )

    def __init__(self, merge: Merge) -> None:
        super().__init__()
        self.merge = merge


def save(customer_id: str, version: int, allocations: Allocations, by: Origin, now: datetime) -> Account:
    """Make these all of a customer's allocations, by license, if its account is still at ``version``. Returns the account.

    Saving what is there already succeeds at any version, so a save whose answer was lost can be repeated.

    Raises StaleVersion, TooManyChanges, and what ``rules.assign`` raises.
    """

    def attempt() -> Account:
        before, sold = _account(customer_id), catalogue()
        nothing: Allocations = {key: {} for key, license in before.licenses.items() if license.state != "locked"}
        after = rules.assign(before, {**nothing, **allocations}, sold, now)
        if after != before and before.version != version:
            raise StaleVersion(version=before.version)
        return _write(before, after, sold, by, now)

    return tables.unraced(attempt)


def save_cells(customer_id: str, cells: Sequence[Cell], by: Origin, now: datetime) -> Account:
    """Save what a person changed in the table's rows, seen as ``cells`` say. Returns the account.

    Raises Overtaken where somebody else changed some of these quantities meanwhile; TooManyChanges, and what ``rules.assign``
    raises.
    """

    def attempt() -> Account:
        before, sold = _account(customer_id), catalogue()
        current = rules.rows(before, sold, now)
        merge = rules.merge(current, before.installations, cells)
        if merge.needed:
            raise Overtaken(merge)
        after = rules.assign(before, rules.by_license(before, current, cells, now), sold, now)
        return _write(before, after, sold, by, now)

    return tables.unraced(attempt)


def _account(customer_id: str) -> Account:
    account = accounts.read(customer_id)
    if account is None:
        raise NotFound
    return account


def _write(before: Account, after: Account, sold: Catalogue, by: Origin, now: datetime) -> Account:
    if after == before:
        return before
    after = with_activation_tokens(after, identity.new_secret)
    customer_id = after.customer.customer_id
    changes = "; ".join(rules.moved(before, after))
    told = operation(customer_id, by, "allocations.changed", now, customer_id, changes=changes)
    try:
        accounts.write(before, after, sold, recording(told), whole=True)
    except accounts.TooLarge as error:
        raise TooManyChanges from error
    return replace(after, version=before.version + 1)
