"""Customers as users see and change them: whose they are, found by name or tax id, with their state and last activity (D5)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from aws_lambda_powertools import Logger
from pydantic import BaseModel
from pynamodb.transactions import TransactWrite

from licensing import administration, cursors, deployment, identity, mail
from licensing.contract_customers import (
    ContactAnswer,
    ContactBody,
    CustomerAnswer,
    CustomerChange,
    CustomerListed,
    CustomerRequested,
    MemberAnswer,
    NewCustomer,
)
from licensing.errors import EmailInvalid, InvalidRequest, NotFound, TaxIdExists
from licensing.operations import operation, record_in
from licensing.people import withdraw_invitations
from licensing.rules import access
from licensing.rules.access import Action
from licensing.rules.accounts import Account, Customer, Listed
from licensing.rules.listing import ListState, is_wanted, list_state
from licensing.rules.operations import Origin
from licensing.rules.people import VENDOR, User, is_contact, is_email
from licensing.rules.tax_ids import normalize
from licensing.rules.vendor import Contact
from licensing.store import accounts, activation_requests, people, servers, tables
from licensing.store.idempotency import Keep, keep_nothing
from licensing.store.vendor import cached as vendor_settings
from licensing.store.vendor import catalogue

logger = Logger(child=True)

_PAGE = 25
#: A search looks through this many customers in one request; what continues it is told.
_LOOKED_THROUGH = 1000


# ── reading ──


@dataclass(frozen=True, slots=True)
class Found:
    """A customer with what it is listed as, and when one of its servers last validated."""

    listed: Listed
    state: ListState
    last_activity: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of customers, and what continues it."""

    items: list[Found]
    next_cursor: str | None


def account_for(user: User, customer_id: str, action: Action) -> Account:
    """A customer's account for a user who may do ``action`` to it. Raises NotFound, Forbidden."""
    # Other partitions of the table can be large, and none of them is a customer.
    account = accounts.read(customer_id) if customer_id.startswith("cus_") and len(customer_id) <= 64 else None
    if account is None:
        raise NotFound
    access.require(user, action, account.customer)
    return account


def listing_of(user: User) -> str:
    """Which list of customers is the user's. Raises Forbidden."""
    access.require(user, "customer.list")
    return "CUSTOMERS" if user.organization == VENDOR else user.organization


def search(
    user: User,
    text: str,
    cursor: str | None,
    now: datetime,
    *,
    state: ListState | None = None,
    inactive: bool = False,
    limit: int = _PAGE,
) -> Page:
    """The customers of the user whose name or tax id holds ``text``, by name. Raises Forbidden, InvalidRequest."""
    listing, today = listing_of(user), now.date()
    position, looked = cursors.read(cursor, listing, accounts.LISTED), 0
    found: list[Listed] = []
    more = True
    while more and len(found) < limit and looked < _LOOKED_THROUGH:
        entries, more = accounts.customers_of(listing, position, 2 * limit)
        for number, (place, entry) in enumerate(entries, 1):
            position, looked = place, looked + 1
            created_on = identity.made_at(entry.customer_id).date()
            if entry.matches(text) and is_wanted(entry, created_on, today, state, inactive):
                found.append(entry)
                if len(found) == limit:
                    more = more or number < len(entries)
                    break
    activity = last_activity(found)
    return Page(
        [Found(each, list_state(each, today), activity.get(each.customer_id)) for each in found],
        cursors.text(position) if more else None,
    )


def last_activity(entries: Iterable[Listed]) -> dict[str, datetime]:
    """When a server of each customer last validated, where one has."""
    owners = {key: entry.customer_id for entry in entries for key in entry.installation_ids}
    latest: dict[str, datetime] = {}
    for key, state in servers.get_many(owners).items():
        if validated_at := state.validated_at:
            owner = owners[key]
            latest[owner] = max(validated_at, latest.get(owner, validated_at))
    return latest


# ── creating ──


def create(
    user: User, body: NewCustomer, by: Origin, now: datetime, keep: Keep = keep_nothing
) -> CustomerAnswer | CustomerRequested:
    """Create a customer: the vendor for itself, a reseller among its own.

    A reseller gets the same answer for a tax id that is somebody's already; the vendor is asked then, once, whether it may
    manage that customer.

    Raises Forbidden, TaxIdInvalid, EmailInvalid, and TaxIdExists for the vendor's or the reseller's own.
    """
    access.require(user, "customer.create")
    tax_id, contacts = normalize(body.tax_id), checked_contacts(body.contacts)
    reseller_id = None if user.organization == VENDOR else user.organization
    customer = Customer(
        identity.new_id("cus", now), body.name, tax_id, body.country, body.time_zone, body.language, contacts,
        reseller_ids=(reseller_id,) if reseller_id else (),
    )  # fmt: skip
    answer = CustomerRequested(tax_id=tax_id) if reseller_id else customer_answer(Account(customer))
    told = operation(customer.customer_id, by, "customer.created", now, customer.customer_id)

    def also(transaction: TransactWrite) -> None:
        record_in(transaction, told)
        keep(transaction, answer)

    try:
        if (existing := accounts.find_by_tax_id(tax_id)) is None:
            accounts.write(None, Account(customer), catalogue(), also)
            return answer
    except accounts.Taken:  # somebody was faster
        existing = accounts.find_by_tax_id(tax_id)
    if existing is None or reseller_id is None:
        raise TaxIdExists
    _request(existing, reseller_id, by, now, lambda transaction: keep(transaction, answer))
    return answer


class RequestMessage(BaseModel):
    """What the mail queue carries when a reseller wants to manage a customer that is there already."""

    kind: Literal["customer_request"] = "customer_request"
    customer_id: str
    reseller_id: str


def _request(customer_id: str, reseller_id: str, by: Origin, now: datetime, also: tables.Also) -> None:
    customer = accounts.get_customer(customer_id)
    if customer is None or reseller_id in customer.reseller_ids:
        raise TaxIdExists  # its own, which it may know
    told = operation(customer_id, by, "customer.requested", now, reseller_id)

    def attempt() -> None:
        asked = reseller_id in people.customer_requests(customer_id)
        if not asked:
            message = RequestMessage(customer_id=customer_id, reseller_id=reseller_id)
            mail.queue(deployment.mail_queue_url(), message.model_dump())

        def fill(transaction: TransactWrite) -> None:
            if not asked:
                people.put_customer_request_in(transaction, customer_id, reseller_id)
            record_in(transaction, told)
            also(transaction)

        tables.transact(fill)

    tables.unraced(attempt)


def send_request(message: RequestMessage, queued_at: float, now: datetime) -> None:
    """Mail the vendor's contact that a reseller wants to manage a customer. Raises NotYet, and what SES and DynamoDB raise."""
    if message.reseller_id not in people.customer_requests(message.customer_id):
        mail.orphaned(queued_at)
        return
    vendor = vendor_settings(now)
    customer = accounts.get_customer(message.customer_id)
    reseller = people.resellers().get(message.reseller_id)
    if customer is None or reseller is None or not vendor.contact.email:
        logger.warning("nobody_to_ask", customer_id=message.customer_id, reseller_id=message.reseller_id)
        return
    recipients = [vendor.contact.email]
    link = f"{vendor.portal_url}/portal/customers/{customer.customer_id}/details"
    facts = {"customer": customer, "reseller": reseller, "link": link}
    mail.send(mail.compose("customer_request", None, vendor, recipients, facts), recipients, vendor)
    logger.info("mailed", template="customer_request")


# ── changing ──


def change(user: User, customer_id: str, body: CustomerChange, by: Origin, now: datetime) -> Account:
    """Change what is said of a customer; what is left out stays. Raises NotFound, Forbidden, InvalidRequest."""
    account = account_for(user, customer_id, "customer.change")
    said = body.model_dump(exclude_none=True, exclude={"reseller_ids"})
    if body.reseller_ids is not None and set(body.reseller_ids) != set(account.customer.reseller_ids):
        access.require(user, "customer.resellers", account.customer)
        known = people.resellers().values()
        if unknown := set(body.reseller_ids) - {each.reseller_id for each in known}:
            fault = {"in": "body", "pointer": "/reseller_ids", "detail": f"unknown: {', '.join(sorted(unknown))}"}
            raise InvalidRequest(errors=[fault])
        said["reseller_ids"] = tuple(dict.fromkeys(body.reseller_ids))
    return _change(customer_id, by, "customer.changed", now, lambda each: replace(each, **said), said)


def answer_request(user: User, customer_id: str, reseller_id: str, grant: bool, by: Origin, now: datetime) -> None:
    """Let a reseller that asked for it manage a customer, or not. Raises NotFound, Forbidden."""
    account = account_for(user, customer_id, "customer.resellers")
    if reseller_id not in people.customer_requests(customer_id):
        raise NotFound
    if grant and reseller_id not in account.customer.reseller_ids:
        _change(
            customer_id, by, "customer.changed", now,
            lambda each: replace(each, reseller_ids=tuple(dict.fromkeys([*each.reseller_ids, reseller_id]))),
            ["reseller_ids"],
        )  # fmt: skip
    # Dying before this leaves the question, which is answered again.
    people.delete_customer_request(customer_id, reseller_id)


def set_contacts(user: User, customer_id: str, contacts: list[ContactBody], by: Origin, now: datetime) -> Account:
    """Replace a customer's registered contacts; open invitations of those taken out end.

    Raises NotFound, Forbidden, EmailInvalid.
    """
    before = account_for(user, customer_id, "customer.change").customer.contacts
    checked = checked_contacts(contacts)
    after = _change(
        customer_id, by, "customer.changed", now, lambda each: replace(each, contacts=checked), ["contacts"]
    )  # fmt: skip
    for each in before:  # dying before this leaves invitations of contacts that are none: nobody can accept them
        if each.email and not is_contact(each.email, checked):
            withdraw_invitations(customer_id, each.email, now)
    return after


def checked_contacts(contacts: Iterable[ContactBody]) -> tuple[Contact, ...]:
    """Contacts that can be written to. Raises EmailInvalid."""
    checked = tuple(Contact(each.name, each.email.strip(), each.phone, each.url) for each in contacts)
    if any(each.email and not is_email(each.email) for each in checked):
        raise EmailInvalid
    return checked


def delete(user: User, customer_id: str, by: Origin, now: datetime) -> Account:
    """Delete a customer: its people are out, its servers get a final no. It can be restored. Raises NotFound, Forbidden."""
    account_for(user, customer_id, "customer.delete")

    def deleted(customer: Customer) -> Customer:
        return customer if customer.deleted else replace(customer, deleted=True, deleted_on=now.date())

    return _change(customer_id, by, "customer.deleted", now, deleted)


def restore(user: User, customer_id: str, by: Origin, now: datetime) -> Account:
    """Take a deletion back; a server that got its final no is activated again. Raises NotFound, Forbidden."""
    account_for(user, customer_id, "customer.delete")

    def restored(customer: Customer) -> Customer:
        return replace(customer, deleted=False, deleted_on=None)

    return _change(customer_id, by, "customer.restored", now, restored)


def _change(
    customer_id: str,
    by: Origin,
    action: str,
    now: datetime,
    changed: Callable[[Customer], Customer],
    members: Iterable[str] = (),
) -> Account:
    told = operation(customer_id, by, action, now, customer_id, changed=", ".join(members))
    return administration.change_account(told, lambda account: replace(account, customer=changed(account.customer)))


# ── the activation window (A1) ──


def window_until(user: User, customer_id: str, now: datetime) -> datetime | None:
    """Until when the tax id alone is enough; None while it is not. Raises NotFound, Forbidden."""
    account = account_for(user, customer_id, "customer.read")
    return activation_requests.window_until(account.customer.tax_id, now)


def open_window(user: User, customer_id: str, duration: timedelta, by: Origin, now: datetime) -> datetime:
    """Let the tax id alone be enough for so long; returns the end. Raises NotFound, Forbidden."""
    account = account_for(user, customer_id, "window.open")
    return administration.open_window(account.customer.tax_id, duration, by, now)


def close_window(user: User, customer_id: str, by: Origin, now: datetime) -> None:
    """Close the window at once. Raises NotFound, Forbidden."""
    account = account_for(user, customer_id, "window.open")
    administration.close_window(account.customer.tax_id, by, now)


# ── answers ──


def customer_answer(account: Account) -> CustomerAnswer:
    """A customer as the API shows it."""
    customer = account.customer
    return CustomerAnswer(
        customer_id=customer.customer_id,
        name=customer.name,
        tax_id=customer.tax_id,
        country=customer.country,
        time_zone=customer.time_zone,
        language=customer.language,
        contacts=contact_answers(customer.contacts),
        log_retention_days=customer.log_retention_days,
        deleted=customer.deleted,
        deleted_on=customer.deleted_on,
        reseller_ids=list(customer.reseller_ids),
        installation_ids=list(account.installations),
    )


def member_answer(user: User) -> MemberAnswer:
    """A person of a customer as the API tells of it."""
    return MemberAnswer(user_id=user.user_id, name=user.name, email=user.email, roles=list(user.roles))


def contact_answers(contacts: Iterable[Contact]) -> list[ContactAnswer]:
    """Contacts as the API shows them."""
    return [ContactAnswer(name=each.name, email=each.email, phone=each.phone, url=each.url) for each in contacts]


def listed_answer(found: Found) -> CustomerListed:
    """A customer of a list as the API shows it."""
    return CustomerListed(
        customer_id=found.listed.customer_id,
        name=found.listed.name,
        tax_id=found.listed.tax_id,
        country=found.listed.country,
        state=found.state,
        served_until=found.listed.served_until,
        last_activity=found.last_activity,
    )
