"""Which customers a list shows, and as what (D5)."""

from datetime import date, timedelta
from typing import Literal

from licensing.rules.accounts import Listed

#: For so long a customer stays listed after its last service ended, or it was deleted.
STAYS = timedelta(days=90)

ListState = Literal["active", "expired", "deleted"]


def list_state(entry: Listed, today: date) -> ListState:
    """What a customer is listed as. One that never had a license is active: it is about to get one."""
    if entry.deleted:
        return "deleted"
    return "expired" if entry.served_until is not None and entry.served_until < today else "active"


def has_left(entry: Listed, created_on: date, today: date) -> bool:
    """Whether a customer has left the lists: without any service in force, or deleted, for more than 90 days."""
    ended = entry.deleted_on if entry.deleted else entry.served_until or created_on
    return ended is not None and today - ended > STAYS


def is_wanted(entry: Listed, created_on: date, today: date, state: ListState | None, inactive: bool) -> bool:
    """Whether a list shows a customer: the default one, that of a ``state``, and each with those that have left (``inactive``)."""
    if not inactive and has_left(entry, created_on, today):
        return False
    found = list_state(entry, today)
    return found == state if state else inactive or found != "deleted"
