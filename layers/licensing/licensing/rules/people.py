"""Who comes in: users with their organization and roles, resellers, invitations (B3)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from licensing.rules.vendor import Contact

#: The vendor's own organization; all others are a reseller's or a customer's id.
VENDOR = "vendor"

OrganizationKind = Literal["vendor", "reseller", "customer"]
Role = Literal["administrator", "contract_owner"]
#: E-mails that a person may do without.
Notification = Literal["orders", "expiry", "silence"]


@dataclass(frozen=True, slots=True)
class User:
    """A person, or a machine client, of one organization. Which one is kept on our side, where no user can edit it."""

    user_id: str
    email: str
    name: str
    organization: str
    #: Inside a customer.
    roles: tuple[Role, ...] = ()
    #: None: as the browser says.
    language: str | None = None
    unsubscribed: tuple[Notification, ...] = ()
    #: Raised to end all sessions: each belongs to the number that it began under.
    sessions: int = 0
    #: Raised by each change, so that none is lost to another that read the same.
    version: int = 0

    @property
    def kind(self) -> OrganizationKind:
        """What the user's organization is."""
        return organization_kind(self.organization)


def organization_kind(organization: str) -> OrganizationKind:
    """What an organization's id names."""
    if organization == VENDOR:
        return "vendor"
    return "reseller" if organization.startswith("res_") else "customer"


@dataclass(frozen=True, slots=True)
class Reseller:
    """A company that manages licenses of its customers. It may assign; the vendor may also let it order."""

    reseller_id: str
    name: str
    tax_id: str
    country: str
    language: str = "en"
    contacts: tuple[Contact, ...] = ()
    may_order: bool = False
    may_assign_products: bool = False


@dataclass(frozen=True, slots=True)
class Invitation:
    """A way in for one e-mail address, into one organization. Its secret is known to the e-mail's reader only."""

    email: str
    organization: str
    roles: tuple[Role, ...] = ()
    name: str = ""
    language: str = "en"
    #: The name of who invites, and the organization: a reseller's invitation is good as long as it manages the customer.
    invited_by: str = ""
    invited_from: str = ""
    #: For the registered contacts of the organization only, as long as this address is one.
    as_contact: bool = False


def is_contact(email: str, contacts: Iterable[Contact]) -> bool:
    """Whether an address is among registered contacts."""
    return email_key(email) in {email_key(each.email) for each in contacts if each.email}


def roles_by_reseller(roles: tuple[Role, ...], *, is_contact: bool, has_administrator: bool) -> tuple[Role, ...]:
    """What a reseller may make somebody of its customer: the first administrator, or one of its registered contacts;
    anybody else a contract owner. Otherwise it would let itself in, and stay after the customer has left it.
    """
    return roles if is_contact or not has_administrator else ("contract_owner",)


#: ASCII, since other letters fold into each other and one mailbox would be taken for another; as long as a user name may be.
_ATOM, _LABEL = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+", r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_EMAIL = re.compile(rf"{_ATOM}(\.{_ATOM})*@{_LABEL}(\.{_LABEL})+")
_LONGEST_EMAIL = 128


def is_email(text: str) -> bool:
    """Whether this is an e-mail address that an account can have."""
    address = email_key(text)
    return len(address) <= _LONGEST_EMAIL and bool(_EMAIL.fullmatch(address))


def email_key(email: str) -> str:
    """One spelling for each mailbox."""
    return email.strip().lower()
