"""People (B3): invitations, registration, sessions, passwords, roles.

A user belongs to an organization only by an invitation to the address that accepts it: from the vendor, a reseller or an
administrator, or, for the address of a customer's registered contact, from ourselves (``register``).
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from aws_lambda_powertools import Logger
from pydantic import BaseModel
from pynamodb.transactions import TransactWrite

from licensing import deployment, identity, mail, user_pool
from licensing.errors import (
    AlreadyRegistered,
    EmailInvalid,
    InvalidRequest,
    LastAdministrator,
    LinkInvalid,
    NotFound,
    SignInFailed,
)
from licensing.operations import operation, record_in
from licensing.rules import limits
from licensing.rules.operations import Origin
from licensing.rules.people import (
    VENDOR,
    Invitation,
    Notification,
    Role,
    User,
    email_key,
    is_contact,
    is_email,
    organization_kind,
    roles_by_reseller,
)
from licensing.store import accounts, tables
from licensing.store import limits as limit_store
from licensing.store import people as store
from licensing.store.vendor import cached as vendor_settings

logger = Logger(child=True)

SESSION_LIFE = timedelta(hours=12)
INVITATION_LIFE = timedelta(days=14)
RESET_LIFE = timedelta(hours=1)


Kind = Literal["invitation", "registration", "password_reset"]


class Message(BaseModel):
    """What the mail queue carries for an invitation or a password reset: to whom, and the secret of the link."""

    kind: Kind
    email: str
    secret: str


class AccessRequest(BaseModel):
    """What the mail queue carries when somebody without an invitation is to be let into a customer that has people already."""

    kind: Literal["access_request"] = "access_request"
    email: str
    customer_id: str
    reseller_id: str


# ── sessions ──


def sign_in(email: str, password: str, now: datetime) -> str:
    """Begin a session for whoever has this password; returns its secret. Raises SignInFailed, TooManyRequests."""
    if not is_email(email):
        raise SignInFailed
    limit_store.count_try(limits.SIGN_INS, email_key(email), now)
    user_pool.sign_in(email, password)
    user = store.find_by_email(
        email
    )  # and not by the account's id, which is another once a lost account was made again
    if user is None:
        raise SignInFailed
    return begin_session(user, now)


def begin_session(user: User, now: datetime) -> str:
    """Begin a session for a user who has shown to be it; returns its secret."""
    secret = identity.new_secret()
    store.put_session(secret, user, now + SESSION_LIFE)
    return secret


# ── invitations ──


def invite(
    invitation: Invitation, by: Origin, now: datetime, also: tables.Also = tables.nothing
) -> None:  # fmt: skip
    """Invite an e-mail address into an organization: the link in the e-mail is good for two weeks, an earlier one not any more.

    An address that has an account elsewhere is invited all the same: who is known is not told. What a reseller may make of
    somebody is ``rules.people.roles_by_reseller``.

    Raises EmailInvalid, AlreadyRegistered, TooManyRequests.
    """
    invitation = replace(invitation, email=email_key(invitation.email))
    secret = _check_invitation(invitation, now)
    invitation = replace(invitation, roles=_granted(invitation))
    _mail("invitation", invitation.email, secret)
    _put_invitation(secret, invitation, by, now, also)


def invite_by_hand(invitation: Invitation, by: Origin, now: datetime) -> str:
    """The same without an e-mail: the link's path, for an operator to hand over. Raises as ``invite`` does."""
    invitation = replace(invitation, email=email_key(invitation.email))
    secret = _check_invitation(invitation, now)
    _put_invitation(secret, invitation, by, now)
    return _link(secret)


def _check_invitation(invitation: Invitation, now: datetime) -> str:
    if not is_email(invitation.email):
        raise EmailInvalid
    if organization_kind(invitation.organization) == "customer" and not invitation.roles:
        raise InvalidRequest  # of a customer's people, everybody has a role
    known = store.find_by_email(invitation.email)
    if known and known.organization == invitation.organization:
        raise AlreadyRegistered
    limit_store.check(limits.INVITATIONS, invitation.organization, now)
    return identity.new_secret()


def _put_invitation(
    secret: str, invitation: Invitation, by: Origin, now: datetime, also: tables.Also = tables.nothing
) -> None:
    earlier = _open_invitations(invitation.organization, invitation.email, now)

    def fill(transaction: TransactWrite) -> None:
        reference = store.put_invitation_in(transaction, secret, invitation, now + INVITATION_LIFE)
        roles = ", ".join(invitation.roles)
        record_in(transaction, operation(invitation.organization, by, "person.invited", now, reference, roles=roles))
        also(transaction)

    limit_store.counting(limits.INVITATIONS, invitation.organization, now, fill)
    for reference in earlier:  # dying here leaves two links, each good for the same
        _withdraw(invitation.organization, reference)


def _open_invitations(organization: str, email: str, now: datetime) -> list[str]:
    found = store.invitations(organization, now)
    return [key for key, (each, _) in found.items() if each.email == email_key(email)]


def withdraw_invitations(organization: str, email: str, now: datetime) -> None:
    """Let all open invitations of an address end: none may lead back in who is out."""
    for reference in _open_invitations(organization, email, now):
        _withdraw(organization, reference)


def withdraw_invitation(organization: str, reference: str, by: Origin, now: datetime) -> None:
    """Let an open invitation end now; one that is over, or another organization's, is left alone."""
    told = operation(organization, by, "person.uninvited", now, reference)
    _withdraw(organization, reference, lambda transaction: record_in(transaction, told))


def _withdraw(organization: str, reference: str, also: tables.Also = tables.nothing) -> None:
    def fill(transaction: TransactWrite) -> None:
        store.withdraw_invitation_in(transaction, organization, reference)
        also(transaction)

    with suppress(tables.ConditionFailed):
        tables.transact(fill)


def resend_invitation(organization: str, reference: str, by: Origin, now: datetime) -> None:
    """Invite the same person anew: another link, another two weeks. Raises NotFound, and what ``invite`` raises."""
    if reference not in (opened := store.invitations(organization, now)):
        raise NotFound
    invite(opened[reference][0], by, now)


def register(email: str, now: datetime) -> None:
    """Send an invitation to whom this address makes a registered contact of a customer. Whether it does is not told.

    Raises TooManyRequests.
    """
    if not is_email(email):
        return
    limit_store.count_try(limits.LINKS_BY_MAIL, email_key(email), now)
    _mail("registration", email_key(email), identity.new_secret())


def ask_for_access(email: str, customer_id: str, reseller_id: str) -> None:
    """Ask a customer's administrators to invite somebody; where it has none, the reseller that ordered for it."""
    message = AccessRequest(email=email_key(email), customer_id=customer_id, reseller_id=reseller_id)
    mail.queue(deployment.mail_queue_url(), message.model_dump())


def find_invitation(secret: str, now: datetime) -> Invitation:
    """The open invitation that a link names, with the roles that it still gives. Raises LinkInvalid."""
    invitation = store.find_invitation(secret, now)
    if invitation is None or not _stands(invitation):
        raise LinkInvalid
    return replace(invitation, roles=_granted(invitation))


def _stands(invitation: Invitation) -> bool:
    """Whether what an invitation rests on is still so: the address a registered contact, the reseller the customer's."""
    by_reseller = _is_by_reseller(invitation)
    if not (by_reseller or invitation.as_contact):
        return True
    if organization_kind(invitation.organization) == "reseller":
        reseller = store.resellers().get(invitation.organization)
        return reseller is not None and is_contact(invitation.email, reseller.contacts)
    customer = accounts.get_customer(invitation.organization)
    if customer is None or (by_reseller and invitation.invited_from not in customer.reseller_ids):
        return False
    return not invitation.as_contact or is_contact(invitation.email, customer.contacts)


def _rests_on_customer(invitation: Invitation) -> bool:
    of_customer = organization_kind(invitation.organization) == "customer"
    return of_customer and (invitation.as_contact or _is_by_reseller(invitation))


def _is_by_reseller(invitation: Invitation) -> bool:
    of_customer = organization_kind(invitation.organization) == "customer"
    return of_customer and organization_kind(invitation.invited_from) == "reseller"


def _granted(invitation: Invitation) -> tuple[Role, ...]:
    """The roles that an invitation gives now: a reseller's may say more than is its to give."""
    if "administrator" not in invitation.roles or not _is_by_reseller(invitation):
        return invitation.roles
    customer = accounts.get_customer(invitation.organization)
    return roles_by_reseller(
        invitation.roles,
        is_contact=customer is not None and is_contact(invitation.email, customer.contacts),
        has_administrator=any("administrator" in each.roles for each in store.members(invitation.organization)),
    )


def accept(secret: str, name: str, password: str, language: str, by: Origin, now: datetime) -> User:
    """Make the account that an invitation leads to. Dying before its end leaves an account that belongs nowhere, which the
    same link completes.

    Raises LinkInvalid, AlreadyRegistered, PasswordRefused.
    """
    user_pool.check_password(password)

    def attempt() -> User:
        seen = store.find_invitation(secret, now)
        rests_on = accounts.read(seen.organization) if seen and _rests_on_customer(seen) else None
        invitation = find_invitation(secret, now)
        if store.find_by_email(invitation.email):
            raise AlreadyRegistered
        user_id = user_pool.put_user(invitation.email, password)
        user = User(
            user_id, email_key(invitation.email), name, invitation.organization, invitation.roles, language
        )  # fmt: skip
        joined = replace(by, kind=user.kind, id=user_id, name=name)
        told = operation(user.organization, joined, "person.joined", now, user_id, roles=", ".join(user.roles))

        def fill(transaction: TransactWrite) -> None:
            if rests_on:
                accounts.check_unchanged_in(transaction, rests_on)
            store.accept_invitation_in(transaction, secret, invitation.organization)
            store.put_in(transaction, user, new=True)
            record_in(transaction, told)

        tables.transact(fill)
        return user

    user = tables.unraced(attempt)
    user_id = user.user_id
    logger.info("registered", user_id=user_id, organization=user.organization)
    withdraw_invitations(user.organization, user.email, now)  # dying before this leaves it to the person's removal
    return _reread(user_id)


def _reread(user_id: str) -> User:
    user = store.get(user_id)
    if user is None:
        raise NotFound
    return user


# ── passwords and profile ──


def request_reset(email: str, now: datetime) -> None:
    """Mail a link by which a new password is chosen, if anybody has this address; that is not told. Raises TooManyRequests."""
    if not is_email(email):
        return
    secret = identity.new_secret()
    limit_store.check(limits.LINKS_BY_MAIL, email_key(email), now)
    _mail("password_reset", email_key(email), secret)

    def fill(transaction: TransactWrite) -> None:
        store.put_reset_in(transaction, secret, email, now + RESET_LIFE)

    limit_store.counting(limits.LINKS_BY_MAIL, email_key(email), now, fill)


def find_reset(secret: str, now: datetime) -> User:
    """Whose password a link lets choose anew. Raises LinkInvalid."""
    email = store.find_reset(secret, now)
    user = store.find_by_email(email) if email else None
    if user is None:
        raise LinkInvalid
    return user


def reset_password(secret: str, password: str, by: Origin, now: datetime) -> User:
    """Choose a new password; all sessions so far are over. Dying before its end leaves the link good, to be used again.

    Raises LinkInvalid, PasswordRefused.
    """
    user_pool.check_password(password)
    user = find_reset(secret, now)
    by = replace(by, kind=user.kind, id=user.user_id, name=user.name)
    _end_sessions(lambda: find_reset(secret, now), by, now)
    user_pool.put_user(user.email, password)  # an account that got lost is made again
    try:
        tables.transact(lambda transaction: store.use_reset_in(transaction, secret))
    except tables.ConditionFailed as error:
        raise LinkInvalid from error
    user_pool.sign_out(user.email)
    return _reread(user.user_id)


def change_password(user: User, current: str, password: str, by: Origin, now: datetime) -> User:
    """Replace a password by who knows it; all sessions so far are over. Dying before its end leaves the old password, with which
    it can be done again.

    Raises SignInFailed, PasswordRefused, TooManyRequests.
    """
    user_pool.check_password(password)
    limit_store.count_try(limits.SIGN_INS, email_key(user.email), now)
    user_pool.sign_in(user.email, current)
    _end_sessions(lambda: _reread(user.user_id), by, now)
    user_pool.set_password(user.email, password)
    user_pool.sign_out(user.email)
    return _reread(user.user_id)


def _end_sessions(find: Callable[[], User], by: Origin, now: datetime) -> None:
    """End all sessions of who is about to have another password: dying in between may leave no session of a thief's.

    ``find`` is asked again when another write came between.
    """

    def attempt() -> None:
        user = find()
        told = operation(user.organization, by, "person.password_changed", now, user.user_id)

        def fill(transaction: TransactWrite) -> None:
            store.put_in(transaction, replace(user, sessions=user.sessions + 1))
            record_in(transaction, told)

        tables.transact(fill)

    tables.unraced(attempt)


def change_profile(
    user: User, by: Origin, now: datetime, *, name: str, language: str | None, unsubscribed: tuple[Notification, ...]
) -> User:
    """Change what is a user's own: name, language, e-mails."""

    def attempt() -> User:
        before = _reread(user.user_id)
        changed = replace(before, name=name, language=language, unsubscribed=unsubscribed)

        def fill(transaction: TransactWrite) -> None:
            store.put_in(transaction, changed)
            if set(before.unsubscribed) != set(unsubscribed):
                without = ", ".join(unsubscribed)
                told = operation(
                    user.organization, by, "alert.preferences_changed", now, user.user_id, unsubscribed=without
                )
                record_in(transaction, told)

        tables.transact(fill)
        return changed

    return tables.unraced(attempt)


# ── members ──


def add_client(client_id: str, name: str, by: Origin, now: datetime) -> None:
    """Make a machine client of the user pool known as one of the vendor's. Raises AlreadyRegistered."""
    user = User(client_id, "", name, VENDOR)

    def fill(transaction: TransactWrite) -> None:
        store.put_in(transaction, user, new=True)
        record_in(transaction, operation(VENDOR, by, "person.joined", now, client_id))

    try:
        tables.transact(fill)
    except tables.ConditionFailed as error:
        raise AlreadyRegistered from error


def change_roles(organization: str, user_id: str, roles: tuple[Role, ...], by: Origin, now: datetime) -> User:
    """Say what a member of a customer may do (one role at least). Raises NotFound for somebody else's, LastAdministrator."""

    def attempt() -> User:
        before = _member(organization, user_id)
        after = replace(before, roles=roles)
        remaining = _remaining_administrator(before, after)

        def fill(transaction: TransactWrite) -> None:
            if remaining:
                store.check_unchanged_in(transaction, remaining)
            store.put_in(transaction, after)
            record_in(
                transaction, operation(organization, by, "person.roles_changed", now, user_id, roles=", ".join(roles))
            )

        if before.roles != roles:
            tables.transact(fill)
        return after

    return tables.unraced(attempt)


def remove(organization: str, user_id: str, by: Origin, now: datetime) -> None:
    """Take a member out of an organization: the account is gone, with its sessions and what invitations it has left.

    Raises NotFound, LastAdministrator.
    """
    # Before: to a member they are good for nothing, and none is left when this dies before its end.
    withdraw_invitations(organization, _member(organization, user_id).email, now)

    def attempt() -> User:
        user = _member(organization, user_id)
        remaining = _remaining_administrator(user, None)

        def fill(transaction: TransactWrite) -> None:
            if remaining:
                store.check_unchanged_in(transaction, remaining)
            store.delete_in(transaction, user)
            record_in(transaction, operation(organization, by, "person.removed", now, user_id))

        tables.transact(fill)
        return user

    user = tables.unraced(attempt)
    # Who was invited again meanwhile has the account already that would be deleted here.
    if user.email and store.find_by_email(user.email) is None:
        user_pool.delete_user(user.email)


def _remaining_administrator(before: User, after: User | None) -> User | None:
    """Who stays an administrator of a customer when another ceases to be one. Raises LastAdministrator for nobody."""
    ceases = "administrator" in before.roles and not (after and "administrator" in after.roles)
    if before.kind != "customer" or not ceases:
        return None
    for each in store.members(before.organization):
        if each.user_id != before.user_id and "administrator" in each.roles:
            return each
    raise LastAdministrator


def _member(organization: str, user_id: str) -> User:
    user = store.get(user_id)
    if user is None or user.organization != organization:
        raise NotFound
    return user


# ── e-mails ──


def _mail(kind: Kind, email: str, secret: str) -> None:
    message = Message(kind=kind, email=email, secret=secret)
    mail.queue(deployment.mail_queue_url(), message.model_dump())


def _link(secret: str) -> str:
    return f"/portal/invitations/{secret}"


def send_invitation(message: Message, queued_at: float, now: datetime) -> None:
    """Mail an invitation. Raises NotYet, and what SES and DynamoDB raise."""
    invitation = store.find_invitation(message.secret, now)
    if invitation is None:
        mail.orphaned(queued_at)
        return
    name = _organization_name(invitation.organization, now)
    link = vendor_settings(now).portal_url + _link(message.secret)
    _send("invitation", invitation.email, invitation.language, now, link=link, organization=name, invitation=invitation)


def send_registration(message: Message, queued_at: float, now: datetime) -> None:
    """Invite a registered contact into its customer; drops an address that is none, and one that has its account."""
    known = store.find_by_email(message.email)
    if known is not None:
        link = f"{vendor_settings(now).portal_url}/portal/login"
        _send("registered_already", message.email, known.language, now, link=link)
        return
    for customer_id in store.customers_of_contact(message.email):
        customer = accounts.get_customer(customer_id)
        if customer is not None and not customer.deleted:
            # A secret of its own for each, and the same one when the message comes twice.
            secret = identity.digest(message.secret, customer_id)
            invitation = Invitation(
                message.email, customer_id, ("administrator",), language=customer.language, as_contact=True
            )
            until, earlier = now + INVITATION_LIFE, _open_invitations(customer_id, message.email, now)
            tables.transact(partial(_put_invitation_in, secret=secret, invitation=invitation, until=until))
            for reference in earlier:
                if reference != store.reference(secret):
                    _withdraw(customer_id, reference)
            send_invitation(Message(kind="invitation", email=message.email, secret=secret), queued_at, now)


def _put_invitation_in(transaction: TransactWrite, secret: str, invitation: Invitation, until: datetime) -> None:
    store.put_invitation_in(transaction, secret, invitation, until)


def send_password_reset(message: Message, queued_at: float, now: datetime) -> None:
    """Mail the link to a new password, to whom it concerns. Raises NotYet, and what SES and DynamoDB raise."""
    if store.find_reset(message.secret, now) is None:
        mail.orphaned(queued_at)
        return
    user = store.find_by_email(message.email)
    if user is None:
        return
    link = f"{vendor_settings(now).portal_url}/portal/reset/{message.secret}"
    _send("password_reset", user.email, user.language, now, link=link, user=user)


def send_access_request(message: AccessRequest, now: datetime) -> None:
    """Mail who may invite into a customer that somebody wants to be. Raises what SES and DynamoDB raise."""
    customer = accounts.get_customer(message.customer_id)
    if customer is None or customer.deleted:
        return
    recipients = [each.email for each in store.members(message.customer_id) if "administrator" in each.roles]
    if not recipients and (reseller := store.resellers().get(message.reseller_id)):
        recipients = [each.email for each in reseller.contacts if each.email]
    if not recipients:
        logger.warning("nobody_to_ask", customer_id=message.customer_id)
        return
    vendor = vendor_settings(now)
    link = f"{vendor.portal_url}/portal/customers/{customer.customer_id}/people"
    facts = {"customer": customer, "email": message.email, "link": link}
    mail.send(mail.compose("access_request", customer.language, vendor, recipients, facts), recipients, vendor)
    logger.info("mailed", template="access_request")


def _send(template: str, email: str, tag: str | None, now: datetime, **facts: object) -> None:
    vendor = vendor_settings(now)
    mail.send(mail.compose(template, tag, vendor, [email], facts), [email], vendor)
    logger.info("mailed", template=template)


def _organization_name(organization: str, now: datetime) -> str:
    if organization == VENDOR:
        return vendor_settings(now).name
    if reseller := store.cached_resellers(now).get(organization):
        return reseller.name
    customer = accounts.get_customer(organization)
    return customer.name if customer else ""


#: What sends each kind of message.
SENDERS: dict[Kind, Callable[[Message, float, datetime], None]] = {
    "invitation": send_invitation,
    "registration": send_registration,
    "password_reset": send_password_reset,
}
