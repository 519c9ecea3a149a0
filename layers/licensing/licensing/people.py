"""People (B3): invitations, registration, sessions, passwords, roles.

A user belongs to an organization only by an invitation to the address that accepts it: from the vendor, a reseller or an
administrator, or, for the address of a customer's registered contact, from ourselves (``register``).
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from aws_lambda_powertools import Logger
from pydantic import BaseModel
from pynamodb.transactions import TransactWrite

from licensing import deployment, identity, mail, user_pool
from licensing.errors import AlreadyRegistered, LinkInvalid, NotFound, SignInFailed
from licensing.rules import limits
from licensing.rules.people import VENDOR, Invitation, Notification, Role, User, email_key
from licensing.store import accounts, tables
from licensing.store import limits as limit_store
from licensing.store import people as store
from licensing.store.vendor import cached as vendor_settings

logger = Logger(child=True)

SESSION_LIFE = timedelta(hours=12)
INVITATION_LIFE = timedelta(days=14)
RESET_LIFE = timedelta(hours=1)


class Message(BaseModel):
    """What the mail queue carries for an invitation or a password reset: to whom, and the secret of the link."""

    kind: str
    email: str
    secret: str


# ── sessions ──


def sign_in(email: str, password: str, now: datetime) -> str:
    """Begin a session for whoever has this password; returns its secret. Raises SignInFailed, TooManyRequests."""
    limit_store.count_try(limits.SIGN_INS, email_key(email), now)
    user = store.get(user_pool.sign_in(email, password))
    if user is None:
        raise SignInFailed
    return begin_session(user, now)


def begin_session(user: User, now: datetime) -> str:
    """Begin a session for a user who has shown to be it; returns its secret."""
    secret = identity.new_secret()
    store.put_session(secret, user.user_id, now, now + SESSION_LIFE)
    return secret


# ── invitations ──


def invite(invitation: Invitation, now: datetime) -> None:
    """Invite an e-mail address into an organization: the link in the e-mail is good for two weeks."""
    secret = identity.new_secret()
    _mail("invitation", invitation.email, secret)
    store.put_invitation(secret, invitation, now + INVITATION_LIFE)


def register(email: str, now: datetime) -> None:
    """Send an invitation to whom this address makes a registered contact of a customer. Whether it does is not told."""
    limit_store.count_try(limits.LINKS_BY_MAIL, email_key(email), now)
    _mail("registration", email_key(email), identity.new_secret())


def find_invitation(secret: str, now: datetime) -> Invitation:
    """The open invitation that a link names. Raises LinkInvalid."""
    invitation = store.find_invitation(secret, now)
    if invitation is None:
        raise LinkInvalid
    return invitation


def accept(secret: str, name: str, password: str, language: str, now: datetime) -> User:
    """Make the account that an invitation leads to. Dying before its end leaves an account that belongs nowhere, which the
    same link completes.

    Raises LinkInvalid, AlreadyRegistered, PasswordRefused.
    """
    invitation = find_invitation(secret, now)
    if store.find_by_email(invitation.email):
        raise AlreadyRegistered
    user_id = user_pool.put_user(invitation.email, password)
    user = User(
        user_id, email_key(invitation.email), name, invitation.organization, invitation.roles, language
    )  # fmt: skip

    def fill(transaction: TransactWrite) -> None:
        store.accept_invitation_in(transaction, secret, invitation.organization)
        store.put_in(transaction, user, new=True)

    try:
        tables.transact(fill)
    except tables.ConditionFailed as error:
        raise LinkInvalid from error
    logger.info("registered", user_id=user_id, organization=user.organization)
    return user


# ── passwords and profile ──


def request_reset(email: str, now: datetime) -> None:
    """Mail a link by which a new password is chosen, if anybody has this address; that is not told."""
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


def reset_password(secret: str, password: str, now: datetime) -> User:
    """Choose a new password; all sessions so far are over. Raises LinkInvalid, PasswordRefused."""
    user = find_reset(secret, now)
    user_pool.set_password(user.email, password)

    def fill(transaction: TransactWrite) -> None:
        store.use_reset_in(transaction, secret)
        store.put_in(transaction, replace(user, signed_out_at=now))

    try:
        tables.transact(fill)
    except tables.ConditionFailed as error:
        raise LinkInvalid from error
    return user


def change_password(user: User, current: str, password: str, now: datetime) -> None:
    """Replace a password by who knows it; all sessions so far are over. Raises SignInFailed, PasswordRefused, TooManyRequests."""
    limit_store.count_try(limits.SIGN_INS, email_key(user.email), now)
    user_pool.sign_in(user.email, current)
    user_pool.set_password(user.email, password)
    _put(replace(user, signed_out_at=now))


def change_profile(
    user: User, *, name: str, language: str | None, unsubscribed: tuple[Notification, ...]
) -> User:  # fmt: skip
    """Change what is a user's own: name, language, e-mails."""
    changed = replace(user, name=name, language=language, unsubscribed=unsubscribed)
    _put(changed)
    return changed


def change_roles(organization: str, user_id: str, roles: tuple[Role, ...]) -> None:
    """Say what a member of an organization may do. Raises NotFound for somebody else's."""
    _put(replace(_member(organization, user_id), roles=roles))


def remove(organization: str, user_id: str) -> None:
    """Take a member out of an organization: the account is gone, and with it its sessions. Raises NotFound."""
    user = _member(organization, user_id)
    store.delete(user)
    if user.email:
        user_pool.delete_user(user.email)


def _member(organization: str, user_id: str) -> User:
    user = store.get(user_id)
    if user is None or user.organization != organization:
        raise NotFound
    return user


def _put(user: User) -> None:
    tables.transact(lambda transaction: store.put_in(transaction, user))


# ── e-mails ──


def _mail(kind: str, email: str, secret: str) -> None:
    message = Message(kind=kind, email=email, secret=secret)
    mail.queue(deployment.mail_queue_url(), message.model_dump())


def send_invitation(message: Message, queued_at: float, now: datetime) -> None:
    """Mail an invitation. Raises NotYet, and what SES and DynamoDB raise."""
    invitation = store.find_invitation(message.secret, now)
    if invitation is None:
        mail.orphaned(queued_at)
        return
    name = _organization_name(invitation.organization, now)
    link = f"{vendor_settings(now).portal_url}/portal/invitations/{message.secret}"
    _send("invitation", invitation.email, invitation.language, now, link=link, organization=name, invitation=invitation)


def send_registration(message: Message, queued_at: float, now: datetime) -> None:
    """Invite a registered contact into its customer; drops an address that is none, and one that has its account."""
    known = store.find_by_email(message.email)
    if known is not None:
        link = f"{vendor_settings(now).portal_url}/portal/login"
        _send("registered_already", message.email, known.language, now, link=link)
        return
    for number, customer_id in enumerate(store.customers_of_contact(message.email)):
        customer = accounts.get_customer(customer_id)
        if customer is not None and not customer.deleted:
            # A secret of its own for each, and the same one when the message comes twice.
            secret = identity.digest(message.secret, str(number))
            invitation = Invitation(message.email, customer_id, ("administrator",), language=customer.language)
            store.put_invitation(secret, invitation, now + INVITATION_LIFE)
            send_invitation(Message(kind="invitation", email=message.email, secret=secret), queued_at, now)


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
SENDERS: dict[str, Callable[[Message, float, datetime], None]] = {
    "invitation": send_invitation,
    "registration": send_registration,
    "password_reset": send_password_reset,
}
