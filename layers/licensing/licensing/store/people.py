"""Users, their sessions, invitations and password resets; resellers. Secrets are kept as their digests only."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.transactions import TransactWrite

from licensing.identity import digest
from licensing.rules.people import Invitation, Reseller, User, email_key
from licensing.store import tables
from licensing.store.attributes import Json
from licensing.store.cache import Cached
from licensing.store.tables import Expiring, Item


class UserItem(Item, discriminator="user"):
    """A user by its id: what each request of theirs reads."""

    body = Json(User)
    version = NumberAttribute()


class MemberItem(Item, discriminator="member"):
    """The same user in its organization's partition, for listing."""

    body = Json(User)


class LoginItem(Item, discriminator="login"):
    """From an e-mail address to its user: one account for each address."""

    user_id = UnicodeAttribute()


class SessionItem(Expiring, discriminator="session"):
    """A session in the portal."""

    user_id = UnicodeAttribute()
    #: Good as long as the user's own number is the same.
    number = NumberAttribute()


class InvitationItem(Expiring, discriminator="invitation"):
    """An open invitation."""

    body = Json(Invitation)


class ResetItem(Expiring, discriminator="reset"):
    """A password reset that somebody asked for; it is the same for an address that nobody has."""

    email = UnicodeAttribute()


class ContactItem(Item, discriminator="contact"):
    """From a registered contact's e-mail address to its customer."""


class ResellerItem(Item, discriminator="reseller"):
    """One reseller, in one partition with all others: there are few."""

    reseller_id = UnicodeAttribute()
    body = Json(Reseller)


class CustomerRequestItem(Item, discriminator="customer_request"):
    """A reseller's wish to manage a customer that is there already: for the vendor to decide."""


def get(user_id: str) -> User | None:
    """A user, strongly consistent."""
    item = tables.find(UserItem, f"USER#{user_id}", "USER")
    return item.body if item else None


def find_by_email(email: str) -> User | None:
    """The user with this e-mail address."""
    item = tables.find(LoginItem, f"LOGIN#{email_key(email)}", "LOGIN")
    return get(item.user_id) if item else None


def members(organization: str) -> list[User]:
    """The users of an organization, by name."""
    found = _query(organization, "MEMBER#")
    return sorted((item.body for item in found if isinstance(item, MemberItem)), key=lambda user: user.name.casefold())


def put_in(transaction: TransactWrite, user: User, *, new: bool = False) -> None:
    """Write a user, in both places; the transaction fails if somebody else changed it since it was read.

    A new one takes its e-mail address: the transaction fails if somebody has it.
    """
    after = replace(user, version=user.version + 1)
    unchanged = UserItem.pk.does_not_exist() if new else UserItem.version == user.version
    transaction.save(MemberItem(user.organization, f"MEMBER#{user.user_id}", body=after))
    transaction.save(UserItem(f"USER#{user.user_id}", "USER", body=after, version=after.version), condition=unchanged)
    if new and user.email:
        login = LoginItem(f"LOGIN#{email_key(user.email)}", "LOGIN", user_id=user.user_id)
        transaction.save(login, condition=LoginItem.pk.does_not_exist())


def check_unchanged_in(transaction: TransactWrite, user: User) -> None:
    """Let a transaction fail if somebody else changed or deleted this user since it was read."""
    transaction.condition_check(
        UserItem, f"USER#{user.user_id}", "USER", condition=UserItem.version == user.version
    )  # fmt: skip


def delete_in(transaction: TransactWrite, user: User) -> None:
    """Forget a user; the transaction fails if somebody else changed it since it was read."""
    transaction.delete(UserItem(f"USER#{user.user_id}", "USER"), condition=UserItem.version == user.version)
    transaction.delete(MemberItem(user.organization, f"MEMBER#{user.user_id}"))
    if user.email:
        transaction.delete(LoginItem(f"LOGIN#{email_key(user.email)}", "LOGIN"))


# ── sessions ──


def put_session(secret: str, user: User, until: datetime) -> None:
    """Begin a session."""
    item = SessionItem(
        f"SESSION#{digest(secret)}", "SESSION", user_id=user.user_id,
        number=user.sessions, expires_at=int(until.timestamp()),
    )  # fmt: skip
    # Without a condition, which a repeat after a lost answer would fail: no two secrets are the same.
    tables.write(item.save)


def session_of(secret: str, now: datetime) -> User | None:
    """Whose session this is; None once it is over."""
    item = tables.find(SessionItem, f"SESSION#{digest(secret)}", "SESSION")
    if item is None or item.expires_at <= now.timestamp():
        return None
    user = get(item.user_id)
    return user if user and user.sessions == item.number else None


def delete_session(secret: str) -> None:
    """End a session."""
    tables.write(SessionItem(f"SESSION#{digest(secret)}", "SESSION").delete)


# ── invitations and resets ──


def invitation_key(secret: str) -> tuple[str, str]:
    """Where an invitation is kept."""
    return f"INVITATION#{reference(secret)}", "INVITATION"


def reference(secret: str) -> str:
    """What names an invitation where it is listed, and is no secret."""
    return digest(secret)


def put_invitation_in(transaction: TransactWrite, secret: str, invitation: Invitation, until: datetime) -> str:
    """Invite; also listed in the organization's partition, by the reference that is returned."""
    key = invitation_key(secret)
    expires_at = int(until.timestamp())
    transaction.save(InvitationItem(*key, body=invitation, expires_at=expires_at))
    transaction.save(InvitationItem(invitation.organization, key[0], body=invitation, expires_at=expires_at))
    return reference(secret)


def find_invitation(secret: str, now: datetime) -> Invitation | None:
    """An invitation that is still open."""
    item = tables.find(InvitationItem, *invitation_key(secret))
    return item.body if item and item.expires_at > now.timestamp() else None


def invitations(organization: str, now: datetime) -> Mapping[str, tuple[Invitation, datetime]]:
    """The open invitations into an organization with their ends, by their references."""
    return {
        item.sk.partition("#")[2]: (item.body, datetime.fromtimestamp(int(item.expires_at), now.tzinfo))
        for item in _query(organization, "INVITATION#")
        if isinstance(item, InvitationItem) and item.expires_at > now.timestamp()
    }


def withdraw_invitation_in(transaction: TransactWrite, organization: str, reference: str) -> None:
    """Let an invitation end now; the transaction fails if it is over, or another organization's."""
    transaction.delete(InvitationItem(organization, f"INVITATION#{reference}"), InvitationItem.pk.exists())
    transaction.delete(InvitationItem(f"INVITATION#{reference}", "INVITATION"))


def accept_invitation_in(transaction: TransactWrite, secret: str, organization: str) -> None:
    """Use an invitation up; the transaction fails if it is used or withdrawn."""
    key = invitation_key(secret)
    transaction.delete(InvitationItem(*key), condition=InvitationItem.pk.exists())
    transaction.delete(InvitationItem(organization, key[0]))


def reset_key(secret: str) -> tuple[str, str]:
    """Where a password reset is kept."""
    return f"RESET#{digest(secret)}", "RESET"


def put_reset_in(transaction: TransactWrite, secret: str, email: str, until: datetime) -> None:
    """Let a password be chosen anew."""
    item = ResetItem(*reset_key(secret), email=email_key(email), expires_at=int(until.timestamp()))
    transaction.save(item)


def find_reset(secret: str, now: datetime) -> str | None:
    """The e-mail address that an open reset is for."""
    item = tables.find(ResetItem, *reset_key(secret))
    return item.email if item and item.expires_at > now.timestamp() else None


def use_reset_in(transaction: TransactWrite, secret: str) -> None:
    """Use a reset up; the transaction fails if it is used."""
    transaction.delete(ResetItem(*reset_key(secret)), condition=ResetItem.pk.exists())


def customers_of_contact(email: str) -> list[str]:
    """The customers that have this address as a registered contact."""
    return [item.sk for item in _query(f"EMAIL#{email_key(email)}", "cus_") if isinstance(item, ContactItem)]


# ── resellers ──


def resellers() -> dict[str, Reseller]:
    """All resellers by id, strongly consistent."""
    return {item.body.reseller_id: item.body for item in _query("RESELLERS", "") if isinstance(item, ResellerItem)}


_resellers = Cached(lambda: resellers())


def cached_resellers(now: datetime) -> dict[str, Reseller]:
    """All resellers, at most a minute old."""
    return _resellers(now)


def forget() -> None:
    """Read the resellers anew at the next use."""
    _resellers.forget()


def put_reseller(before: Reseller | None, reseller: Reseller, also: tables.Also) -> None:
    """Write a reseller, with what else is to be written.

    Raises ConditionFailed if it is not any more as it was ``before``, or new and its tax id is taken.
    """
    item = ResellerItem("RESELLERS", f"TAX#{reseller.tax_id}", reseller_id=reseller.reseller_id, body=reseller)
    as_before = ResellerItem.body == before if before else ResellerItem.pk.does_not_exist()

    def fill(transaction: TransactWrite) -> None:
        transaction.save(item, condition=as_before)
        also(transaction)

    tables.transact(fill)
    forget()


def put_customer_request_in(transaction: TransactWrite, customer_id: str, reseller_id: str) -> None:
    """A reseller wants to manage a customer that is there already; the transaction fails if it asked before."""
    item = CustomerRequestItem(customer_id, f"REQUEST#{reseller_id}")
    transaction.save(item, condition=CustomerRequestItem.pk.does_not_exist())


def customer_requests(customer_id: str) -> list[str]:
    """The resellers that want to manage a customer and were not answered yet."""
    found = _query(customer_id, "REQUEST#")
    return [item.sk.partition("#")[2] for item in found if isinstance(item, CustomerRequestItem)]


def delete_customer_request(customer_id: str, reseller_id: str) -> None:
    """A reseller's request was answered."""
    tables.write(CustomerRequestItem(customer_id, f"REQUEST#{reseller_id}").delete)


def _query(pk: str, prefix: str) -> list[Any]:
    condition = Item.sk.startswith(prefix) if prefix else None
    return tables.read(lambda: list(Item.query(pk, condition, consistent_read=True)))
