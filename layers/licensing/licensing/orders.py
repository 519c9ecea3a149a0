"""Orders, from intake to activation (B1, B2, B7): one e-mail, one unlocking, four steps.

An order and what it does to its customer's account are one transaction, and the e-mail is queued before it: wherever the process
dies, no order is without its e-mail, and no e-mail without its order.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError
from pydantic import BaseModel
from pynamodb.transactions import TransactWrite

from licensing import cursors, deployment, identity, mail, people
from licensing.contract_orders import (
    NewOrder,
    OrderAnswer,
    OrderDelivery,
    OrderedCustomer,
    OrderingReseller,
    OrderLine,
    OrderSteps,
)
from licensing.errors import (
    AlreadyRegistered,
    AlreadyUnlocked,
    CustomerDeleted,
    CustomerDetailsMissing,
    EmailInvalid,
    ForwardingOver,
    LicensingError,
    NotFound,
    OrderCancelled,
    OrderExists,
    OrderingNotAllowed,
    OrderNumberWrong,
    RecipientMissing,
    ResellerUnknown,
    UnlockLinkInvalid,
)
from licensing.operations import operation, record_in, record_refusal
from licensing.rules import access, limits
from licensing.rules import orders as rules
from licensing.rules.accounts import Account, Customer
from licensing.rules.heartbeat import local_date
from licensing.rules.operations import Operation, Origin
from licensing.rules.orders import DeliveryState, ListedOrder, Order, Steps
from licensing.rules.people import VENDOR, Invitation, Reseller, User, email_key, is_contact, is_email
from licensing.rules.vendor import Contact
from licensing.store import accounts, servers, tables
from licensing.store import limits as limit_store
from licensing.store import orders as store
from licensing.store import people as people_store
from licensing.store.idempotency import Keep, keep_nothing
from licensing.store.vendor import cached as vendor_settings
from licensing.store.vendor import catalogue

logger = Logger(child=True)

_PAGE = 25
#: A search looks through this many orders in one request; what continues it is told.
_LOOKED_THROUGH = 500

Filter = Literal["open", "all"]
_KeepOrder = Callable[[TransactWrite, Order], None]


class Message(BaseModel):
    """What the mail queue carries for an order: which, and the secret of the link."""

    kind: Literal["order"] = "order"
    order_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class Found:
    """An order with how far it is, and who ordered it."""

    order: Order
    steps: Steps
    reseller: Reseller


@dataclass(frozen=True, slots=True)
class Page:
    """A page of orders, newest first, and what continues it."""

    items: list[Found]
    next_cursor: str | None


# ── intake ──


def reseller_of(user: User, body: NewOrder) -> Reseller:
    """Who orders: the caller itself, or whom the vendor names. Raises Forbidden, ResellerUnknown, OrderingNotAllowed."""
    access.require(user, "order.create")
    resellers = people_store.resellers()
    if user.organization == VENDOR:
        found = next((each for each in resellers.values() if each.tax_id == body.reseller), None)
    else:
        found = resellers.get(user.organization)
        if found and body.reseller not in (None, found.tax_id):
            raise ResellerUnknown
    if found is None:
        raise ResellerUnknown
    if not found.may_order:
        raise OrderingNotAllowed
    return found


def take_in(
    user: User,
    body: NewOrder,
    now: datetime,
    by: Origin,
    keep: Keep = keep_nothing,
    new_code: Callable[[str], str] = identity.new_license_code,
) -> OrderAnswer:
    """Take an order in: its licenses are locked, what it renews is renewed at once, its e-mail is on its way.

    A customer that is not there yet is made, and the reseller manages it. A reseller that orders for somebody else's customer
    gets the same answer, so that nobody learns who is a customer; it does not get to see more of it than its own order.

    Raises:
        OrderExists: the reseller has used this number before.
        Forbidden, ResellerUnknown, OrderingNotAllowed, CustomerDetailsMissing, CustomerDeleted, RecipientMissing, and what
        ``rules.orders.take_in`` raises.
    """
    reseller = reseller_of(user, body)
    recipients = _recipients(body.recipients, reseller)
    order_id, secret = identity.new_id("ord", now), identity.new_secret()
    queued = False

    def attempt() -> OrderAnswer:
        nonlocal queued
        if known := store.find_by_number(reseller.reseller_id, body.order_number):
            if known != order_id:
                raise OrderExists(order_number=body.order_number, order_id=known)
            return answer(_shown([_get(order_id)[0]], now)[0])  # it took effect, and we were not told
        before = accounts.read_by_tax_id(body.customer.tax_id)
        after, order = _taken_in(user, reseller, body, before, order_id, now, new_code)
        order = rules.mailed(order, store.mailing_id(secret), recipients, now)
        taken = answer(Found(order, rules.steps(order, after.licenses, ()), reseller))
        told = _told(order, by, "order.received", now, reseller=reseller.name, lines=len(order.lines))

        def also(transaction: TransactWrite) -> None:
            store.put_in(transaction, order, 0)
            store.put_secret_in(transaction, secret, order_id)
            record_in(transaction, told)
            keep(transaction, taken)

        if not queued:
            _queue(order_id, secret)
            queued = True
        _write(before, after, also)
        return taken

    return tables.unraced(attempt)


def check(user: User, bodies: Iterable[NewOrder], now: datetime) -> list[str | LicensingError | None]:
    """Look whether all these orders could be taken in, one after the other; writes nothing.

    Returns for each None, or what ``take_in`` would raise, or the id of the very same order that was taken in before.
    """
    seen: dict[str, Account | None] = {}
    numbers: set[tuple[str, str]] = set()

    def look(body: NewOrder) -> str | None:
        reseller = reseller_of(user, body)
        _recipients(body.recipients, reseller)
        taken = store.find_by_number(reseller.reseller_id, body.order_number)
        key = reseller.reseller_id, rules.number_key(body.order_number)
        if key in numbers or (taken and _get(taken)[0].content_hash != _content_hash(body)):
            raise OrderExists(order_number=body.order_number)
        numbers.add(key)
        if taken is None:
            tax_id = body.customer.tax_id
            before = seen.get(tax_id) or accounts.read_by_tax_id(tax_id)
            seen[tax_id], _ = _taken_in(user, reseller, body, before, "", now, identity.new_license_code)
        return taken

    found: list[str | LicensingError | None] = []
    for body in bodies:
        try:
            found.append(look(body))
        except LicensingError as error:
            found.append(error)
    return found


def _recipients(wanted: Sequence[str], reseller: Reseller) -> list[str]:
    found = wanted or [contact.email for contact in reseller.contacts if contact.email]
    if not found:
        raise RecipientMissing
    return list({email_key(email): email for email in found}.values())


def _taken_in(
    user: User,
    reseller: Reseller,
    body: NewOrder,
    before: Account | None,
    order_id: str,
    now: datetime,
    new_code: Callable[[str], str],
) -> tuple[Account, Order]:
    account = _account(user, reseller, body, before, now)
    theirs = reseller.reseller_id in account.customer.reseller_ids
    # What a reseller does not manage it can't name either.
    seen = account if theirs else replace(account, licenses={})
    today = local_date(now, account.customer.time_zone)

    def new_license(sku: str) -> tuple[str, str]:
        return identity.new_id("lic", now), new_code(sku)

    after, lines = rules.take_in(seen, [each.wanted() for each in body.lines], catalogue(), today, new_license)
    customer = account.customer
    order = Order(
        order_id, body.order_number, reseller.reseller_id, customer.customer_id,
        customer.name if theirs else body.customer.name or "", customer.tax_id,
        customer.country if theirs else body.customer.country or "", now, lines,
        content_hash=_content_hash(body),
        unlocked_at=now if all(line.kind == "renewal" for line in lines) else None,
    )  # fmt: skip
    return replace(account, licenses={**account.licenses, **after.licenses}), order


def _account(user: User, reseller: Reseller, body: NewOrder, before: Account | None, now: datetime) -> Account:
    """The customer's account: with the reseller among who manages it, where the order may bring that about."""
    named = body.customer
    theirs = before is not None and reseller.reseller_id in before.customer.reseller_ids
    if before is None or not (theirs or user.organization == VENDOR):
        if not (named.name and named.country and named.time_zone and named.language):
            raise CustomerDetailsMissing
        if before is not None:
            return before
        contacts = (Contact(named.contact.name, named.contact.email),) if named.contact else ()
        return Account(
            Customer(
                identity.new_id("cus", now), named.name, named.tax_id, named.country, named.time_zone, named.language,
                contacts, reseller_ids=(reseller.reseller_id,),
            )
        )  # fmt: skip
    if before.customer.deleted:
        raise CustomerDeleted
    if theirs:
        return before
    linked = (*before.customer.reseller_ids, reseller.reseller_id)
    return replace(before, customer=replace(before.customer, reseller_ids=linked))


def _content_hash(body: NewOrder) -> str:
    return hashlib.sha256(body.model_dump_json(exclude_defaults=True).encode()).hexdigest()


# ── reading ──


def show(user: User, order_id: str, now: datetime) -> Found:
    """An order. Raises NotFound for somebody else's, Forbidden."""
    order, _ = _for(user, order_id, "order.read")
    return _shown([order], now)[0]


def search(
    user: User, text: str, show: Filter, cursor: str | None, now: datetime, limit: int = _PAGE
) -> Page:  # fmt: skip
    """The user's orders whose number, customer's name or tax id holds ``text``, newest first; ``open`` ones wait to be unlocked.

    Raises Forbidden, InvalidRequest.
    """
    access.require(user, "order.read")
    listing = store.listing(None if user.organization == VENDOR else user.organization)
    found: list[ListedOrder] = []
    position, looked = cursors.read(cursor, listing), 0
    while True:
        entries, position = store.page(listing, position, limit - len(found))
        found += [each for each in entries if each.matches(text) and (show == "all" or each.state == "waiting")]
        looked += len(entries)
        if position is None or len(found) >= limit or looked >= _LOOKED_THROUGH:
            break
    orders = store.get_many([each.order_id for each in found])
    return Page(_shown(orders, now), cursors.text(position))


def _shown(orders: list[Order], now: datetime) -> list[Found]:
    """Orders with how far they are: two reads, however many."""
    keys = {(order.customer_id, license_id) for order in orders for license_id in order.license_ids}
    licenses = accounts.get_licenses(sorted(keys)) if keys else {}
    assigned = {at for license in licenses.values() for at in license.allocations}
    active = {key for key, state in servers.get_many(assigned).items() if state.held} if assigned else set()
    resellers = people_store.cached_resellers(now)
    return [
        Found(order, rules.steps(order, licenses, active), resellers.get(order.reseller_id) or _unknown(order))
        for order in orders
    ]


def _unknown(order: Order) -> Reseller:
    return Reseller(order.reseller_id, "", "", "")


def answer(found: Found) -> OrderAnswer:
    """An order as the API tells it. The customer's id is left out: it would tell a reseller since when it is one."""
    order, steps = found.order, found.steps
    waits = order.state == "waiting"
    return OrderAnswer(
        order_id=order.order_id,
        order_number=order.number,
        state=order.state,
        ordered_at=order.ordered_at,
        unlocked_at=order.unlocked_at,
        cancelled_at=order.cancelled_at,
        reseller=OrderingReseller(name=found.reseller.name, tax_id=found.reseller.tax_id),
        customer=OrderedCustomer(name=order.customer_name, tax_id=order.tax_id, country=order.country),
        steps=OrderSteps(
            delivered=steps.delivered, unlocked=steps.unlocked, assigned=steps.assigned, activated=steps.activated
        ),
        lines=[
            OrderLine(
                kind=line.kind,
                state=order.state_of(line),
                license_code=line.license_code,
                sku=line.sku,
                product=line.product,
                quantity=line.quantity,
                units=line.units,
                unit=line.unit,
                care=line.care,
                first_day=None if waits and line.begins_unlocked else line.first_day,
                last_day=None if waits and line.begins_unlocked else line.last_day,
                care_until=None if waits and line.begins_unlocked else line.care_until,
                expands=line.expands,
            )
            for line in order.lines
        ],
        deliveries=[
            OrderDelivery(email=each.email, state=each.state, at=each.at, reason=each.reason)
            for each in (order.mailings[-1].deliveries if order.mailings else ())
        ],
    )


# ── the unlock link ──


def find_by_link(secret: str, now: datetime) -> Found:
    """The order that an unlock link is for; changes nothing. Raises UnlockLinkInvalid, OrderCancelled."""
    order_id = store.find_by_secret(secret)
    if order_id is None:
        raise UnlockLinkInvalid
    order, _ = _get(order_id)
    if order.cancelled_at:
        raise OrderCancelled
    return _shown([order], now)[0]


def unlock_by_link(secret: str, number: str, now: datetime, by: Origin) -> Order:
    """Unlock all lines of an order by its link and its number.

    Raises UnlockLinkInvalid, OrderNumberWrong, TooManyRequests, AlreadyUnlocked, OrderCancelled, CustomerDeleted.
    """
    return _unlock(find_by_link(secret, now).order.order_id, number, now, by)


def unlock(
    user: User, order_id: str, number: str, now: datetime, by: Origin, keep: Keep = keep_nothing
) -> OrderAnswer:  # fmt: skip
    """The same by who manages the order. Raises NotFound and Forbidden too."""
    _for(user, order_id, "order.change")

    def kept(transaction: TransactWrite, order: Order) -> None:
        keep(transaction, answer(_shown_unlocked(order, now)))

    return answer(_shown_unlocked(_unlock(order_id, number, now, by, kept), now))


def _shown_unlocked(order: Order, now: datetime) -> Found:
    reseller = people_store.cached_resellers(now).get(order.reseller_id) or _unknown(order)
    return Found(order, rules.steps(order, {}, ()), reseller)


def _unlock(order_id: str, number: str, now: datetime, by: Origin, keep: _KeepOrder | None = None) -> Order:
    limit_store.count_try(limits.UNLOCKS, order_id, now)  # before anything is compared
    tried = False

    def attempt() -> Order:
        nonlocal tried
        order, version = _get(order_id)
        if tried and order.unlocked_at == now:
            return order  # it took effect, and we were not told
        _require_waiting(order)
        if not rules.is_number(order, number):
            raise _wrong_number(order, by, now)
        before = accounts.read(order.customer_id)
        if before is None or before.customer.deleted:
            raise CustomerDeleted
        after, unlocked = rules.unlock(before, order, now, local_date(now, before.customer.time_zone))
        told = _told(order, by, "order.unlocked", now, lines=len(order.lines))

        def also(transaction: TransactWrite) -> None:
            store.put_in(transaction, unlocked, version)
            record_in(transaction, told)
            if keep:
                keep(transaction, unlocked)

        tried = True
        _write(before, after, also)
        return unlocked

    return tables.unraced(attempt)


def _require_waiting(order: Order) -> None:
    if order.cancelled_at:
        raise OrderCancelled
    if order.unlocked_at:
        raise AlreadyUnlocked(unlocked_at=order.unlocked_at.strftime("%Y-%m-%dT%H:%M:%SZ"))


# ── resend, cancel, forward ──


def resend(
    user: User, order_id: str, recipients: Sequence[str], now: datetime, by: Origin, keep: Keep = keep_nothing
) -> OrderAnswer:
    """Mail an order once more, with a new secret; the earlier ones stay good. Where nobody is named, to whom it went before.

    Raises NotFound, Forbidden, OrderCancelled, TooManyRequests.
    """
    secret = identity.new_secret()
    queued = False

    def attempt() -> OrderAnswer:
        nonlocal queued
        order, version = _for(user, order_id, "order.change")
        if any(each.mailing_id == store.mailing_id(secret) for each in order.mailings):
            return answer(_shown([order], now)[0])  # it took effect, and we were not told
        if order.cancelled_at:
            raise OrderCancelled
        limit_store.check(limits.ORDER_MAILS, order_id, now)
        to = recipients or [each.email for each in order.mailings[-1].deliveries]
        again = rules.mailed(order, store.mailing_id(secret), to, now)
        taken = answer(replace(_shown([order], now)[0], order=again))

        def fill(transaction: TransactWrite) -> None:
            store.put_in(transaction, again, version)
            store.put_secret_in(transaction, secret, order_id)
            record_in(transaction, _told(order, by, "order.resent", now))
            keep(transaction, taken)

        if not queued:
            _queue(order_id, secret)
            queued = True
        limit_store.counting(limits.ORDER_MAILS, order_id, now, fill)
        return taken

    return tables.unraced(attempt)


def cancel(user: User, order_id: str, now: datetime, by: Origin) -> OrderAnswer:
    """Cancel an order that waits to be unlocked: its locked licenses are gone, its links dead. What it renewed stays renewed,
    and the answer says so. Cancelled again, it stays cancelled.

    Raises NotFound, Forbidden, AlreadyUnlocked.
    """

    def attempt() -> OrderAnswer:
        order, version = _for(user, order_id, "order.change")
        if order.cancelled_at is None:
            _require_waiting(order)
            before = accounts.read(order.customer_id)
            if before is None:
                raise NotFound
            after, order = rules.cancel(before, order, now)
            told = _told(order, by, "order.cancelled", now)

            def also(transaction: TransactWrite) -> None:
                store.put_in(transaction, order, version)
                record_in(transaction, told)

            _write(before, after, also)
        return answer(_shown([order], now)[0])

    return tables.unraced(attempt)


def forward(user: User, order_id: str, email: str, now: datetime, by: Origin) -> None:
    """Invite somebody to assign and activate what an order unlocked. Never the link itself.

    Raises NotFound, Forbidden, OrderCancelled, TooManyRequests.
    """
    order, _ = _for(user, order_id, "order.change")
    customer = _forwarded(order, now, by)
    if order.reseller_id in customer.reseller_ids:
        _invite(
            Invitation(
                email, customer.customer_id, ("administrator",), language=customer.language,
                invited_by=user.name, invited_from=user.organization,
            ), now, by,
        )  # fmt: skip
    else:  # who does not manage a customer lets nobody into it but its registered contacts
        people.register(email, now)


def forward_by_link(secret: str, number: str, email: str, now: datetime, by: Origin) -> None:
    """The same by who has the link, and knows the number: for two weeks from the unlocking.

    Whoever has a link may be anybody. So it makes administrators of nobody but the customer's registered contacts, and lets the
    reseller's own contacts into its team. Another address is invited as the contract owner of a customer that has no people yet;
    where there are people, its administrators are asked. The answer is the same for all.

    Raises EmailInvalid, UnlockLinkInvalid, OrderNumberWrong, TooManyRequests, OrderCancelled, ForwardingOver.
    """
    if not is_email(email):
        raise EmailInvalid
    order = find_by_link(secret, now).order
    limit_store.count_try(limits.UNLOCKS, order.order_id, now)
    if order.unlocked_at is None or not rules.is_number(order, number):
        raise _wrong_number(order, by, now)
    if not rules.link_forwards(order, now):
        raise ForwardingOver
    customer = _forwarded(order, now, by)
    reseller = people_store.resellers().get(order.reseller_id)
    members = people_store.members(customer.customer_id)
    if is_contact(email, customer.contacts):
        people.register(email, now)
    elif reseller and is_contact(email, reseller.contacts):
        _invite(Invitation(email, reseller.reseller_id, language=reseller.language, as_contact=True), now, by)
    elif order.reseller_id not in customer.reseller_ids or any(each.email == email_key(email) for each in members):
        people.register(email, now)
    elif members:
        people.ask_for_access(email, customer.customer_id, order.reseller_id)
    else:
        _invite(
            Invitation(
                email, customer.customer_id, ("contract_owner",), language=customer.language, invited_from=order.reseller_id
            ), now, by,
        )  # fmt: skip


def _forwarded(order: Order, now: datetime, by: Origin) -> Customer:
    """Whose licenses are forwarded, which is counted and recorded."""
    if order.cancelled_at:
        raise OrderCancelled
    customer = accounts.get_customer(order.customer_id)
    if customer is None or customer.deleted:
        raise CustomerDeleted
    told = _told(order, by, "order.forwarded", now)
    limit_store.counting(limits.FORWARDS, order.order_id, now, lambda transaction: record_in(transaction, told))
    return customer


def _invite(invitation: Invitation, now: datetime, by: Origin) -> None:
    try:
        people.invite(invitation, by, now)
    except AlreadyRegistered:  # which is told to the address only
        people.register(invitation.email, now)


# ── the e-mail ──


def _queue(order_id: str, secret: str) -> None:
    mail.queue(deployment.mail_queue_url(), Message(order_id=order_id, secret=secret).model_dump())


#: What SES says of a message that no repetition will make it take, such as one to an address that can't be.
_REFUSED_FOR_GOOD = {"BadRequestException", "MessageRejected"}


def send(message: Message, queued_at: float, now: datetime) -> None:
    """Mail an order to its recipients. Delivered twice, it is mailed once, unless the process died in between.

    Raises NotYet, and what SES and DynamoDB raise.
    """
    if store.find_by_secret(message.secret) != message.order_id:
        mail.orphaned(queued_at)
        return
    order, _ = _get(message.order_id)
    mailing_id = store.mailing_id(message.secret)
    mailing = next(each for each in order.mailings if each.mailing_id == mailing_id)
    account = accounts.read(order.customer_id)
    if account:
        # An intake that renews on a hundred servers is more than one transaction; this completes one that died within.
        _write(account, account, None)
    if order.cancelled_at or all(each.state != "queued" for each in mailing.deliveries):
        return
    vendor, reseller = vendor_settings(now), people_store.cached_resellers(now).get(order.reseller_id)
    recipients = [each.email for each in mailing.deliveries]
    facts = {
        "order": order,
        "reseller": reseller or _unknown(order),
        "link": f"{vendor.portal_url}/unlock/{message.secret}" if order.state == "waiting" else "",
    }
    composed = mail.compose("order", reseller.language if reseller else None, vendor, recipients, facts)
    state: DeliveryState = "sent"
    reason = ""
    try:
        mail.send(composed, recipients, vendor, {"order": order.order_id, "mailing": mailing_id})
    except ClientError as error:
        if error.response["Error"]["Code"] not in _REFUSED_FOR_GOOD:
            raise
        state, reason = "bounced", error.response["Error"]["Code"]
    for email in recipients:
        record_delivery(order.order_id, mailing_id, email, state, now, reason)
    logger.info("order_mailed", order_id=order.order_id, state=state)


def record_delivery(
    order_id: str, mailing_id: str, email: str, state: DeliveryState, at: datetime, reason: str = ""
) -> bool:
    """Record what became of an order's e-mail; False where it tells nothing new, or of no order of ours."""

    def attempt() -> bool:
        found = store.get(order_id)
        if found is None:
            return False
        order, version = found
        told = rules.with_delivery(order, mailing_id, email, state, at, reason)
        if told == order:
            return False
        store.put_delivery(told, version)
        return True

    return tables.unraced(attempt)


# ── in common ──


def _get(order_id: str) -> tuple[Order, int]:
    found = store.get(order_id)
    if found is None:
        raise NotFound
    return found


def _for(user: User, order_id: str, action: access.Action) -> tuple[Order, int]:
    """An order and its version for a user who may do ``action`` to it: the vendor to all, a reseller to its own."""
    found = store.get(order_id)
    if found is None or user.organization not in (VENDOR, found[0].reseller_id):
        raise NotFound
    access.require(user, action)
    return found


def _wrong_number(order: Order, by: Origin, now: datetime) -> OrderNumberWrong:
    wrong = OrderNumberWrong()
    told = operation(
        order.customer_id, by, "order.unlock_refused", now, order.order_id, wrong.code, number=order.number
    )
    record_refusal(told, now)
    return wrong


def _told(order: Order, by: Origin, action: str, now: datetime, **details: str | int | None) -> Operation:
    return operation(order.customer_id, by, action, now, order.order_id, "DONE", number=order.number, **details)


def _write(before: Account | None, after: Account, also: tables.Also | None) -> None:
    """Write what an order does to its customer's account, and with it ``also``; that by itself where the account stays as it is,
    since somebody else may have unlocked or cancelled the order between our two looks.
    """
    try:
        written = accounts.write(before, after, catalogue(), also)
    except accounts.Taken as error:  # a code that somebody has, or a customer that came about meanwhile: anew
        raise tables.ConditionFailed from error
    if also and not written:
        tables.transact(also)
