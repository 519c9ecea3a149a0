"""Which alerts a person does without: by the API, in the portal, and by the link of an e-mail (RFC 8058)."""

from datetime import datetime
from typing import get_args

from pynamodb.transactions import TransactWrite

from licensing import people
from licensing.contract_alerts import AlertPreferences, AlertPreferencesAnswer
from licensing.errors import LinkInvalid
from licensing.operations import operation, record_in
from licensing.rules.operations import Origin
from licensing.rules.people import VENDOR, Notification, User
from licensing.store import alerts as store
from licensing.store import people as people_store

KINDS: tuple[Notification, ...] = get_args(Notification)
#: What the link of an alert is about.
ALERT_KINDS: tuple[Notification, ...] = ("expiry", "silence")
#: A transaction has 100 items at most.
_MOST_LOGS = 90


def of_email(email: str) -> tuple[Notification, ...]:
    """What is not sent to an address: as its user says, or, where it has no account, as was said by a link."""
    user = people_store.find_by_email(email)
    return user.unsubscribed if user else store.unsubscribed(email)


def read(user: User) -> AlertPreferencesAnswer:
    """A user's own."""
    return AlertPreferencesAnswer(unsubscribed=list(user.unsubscribed), kinds=list(KINDS))


def replace(user: User, body: AlertPreferences, by: Origin, now: datetime) -> AlertPreferencesAnswer:
    """Change a user's own."""
    said = tuple(each for each in KINDS if each in body.unsubscribed)
    people.change_profile(user, by, now, name=user.name, language=user.language, unsubscribed=said)
    return AlertPreferencesAnswer(unsubscribed=list(said), kinds=list(KINDS))


def find(token: str) -> tuple[str, tuple[Notification, ...]]:
    """The address of an unsubscribe link, and what it does without. Raises LinkInvalid."""
    address = store.find_address(token)
    if address is None:
        raise LinkInvalid
    return address.email, of_email(address.email)


def unsubscribe(
    token: str, by: Origin, now: datetime, kinds: tuple[Notification, ...] = ALERT_KINDS
) -> None:  # fmt: skip
    """Let an address do without these alerts, and get the others; what else it said stays. Raises LinkInvalid.

    Where nobody has an account with the address, the logs of the customers that have it as a contact tell of it; the vendor's own
    where none has.
    """
    email, before = find(token)
    said = tuple(each for each in KINDS if each in (kinds if each in ALERT_KINDS else before))
    if user := people_store.find_by_email(email):
        people.change_profile(user, by, now, name=user.name, language=user.language, unsubscribed=said)
    else:
        if set(said) == set(before):
            return
        person = Origin("anyone", "", email, by.address, by.request_id)
        owners = people_store.customers_of_contact(email)[:_MOST_LOGS] or [VENDOR]
        without = ", ".join(said)

        def tell(transaction: TransactWrite) -> None:
            for owner in owners:
                told = operation(owner, person, "alert.preferences_changed", now, unsubscribed=without)
                record_in(transaction, told)

        store.set_unsubscribed(email, said, tell)
