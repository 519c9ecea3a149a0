"""What is kept of a customer's people: handed out, and erased from the log when they are gone (F6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from licensing import sealing
from licensing.errors import StillMember
from licensing.log_reading import MOST_ENTRIES, Filters, Page, list_operations
from licensing.rules.accounts import Customer
from licensing.rules.operations import Origin
from licensing.rules.people import User, email_key
from licensing.rules.vendor import Contact
from licensing.store import people


@dataclass(frozen=True, slots=True)
class PersonalData:
    """Accounts, contacts, and a page of what they did."""

    people: Sequence[User]
    contacts: Sequence[Contact]
    operations: Page


def export(customer: Customer, user_id: str | None, limit: int, cursor: str | None, now: datetime) -> PersonalData:
    """What is kept of one person, or of all of a customer's people; of a person, contacts with the account's address.

    Raises InvalidRequest for a cursor of another list.
    """
    found = [each for each in people.members(customer.customer_id) if user_id in (None, each.user_id)]
    addresses = {email_key(each.email) for each in found}
    contacts = [each for each in customer.contacts if user_id is None or email_key(each.email) in addresses]
    told = list_operations(
        customer.customer_id, now, filters=Filters(actor_id=user_id or ""), limit=limit, cursor=cursor
    )
    return PersonalData(found, contacts, told)


def erase(customer_id: str, user_id: str, first: date, by: Origin, now: datetime) -> tuple[int, date | None]:
    """Erase a person's name and address from a customer's log, from a day on: from how many entries, and where to go on.

    Raises StillMember while the person has an account, with the customer or elsewhere: who does something is named.
    """
    if people.get(user_id) is not None:
        raise StillMember
    return sealing.erase_personal(customer_id, user_id, by, now, first=first, most_entries=MOST_ENTRIES)
