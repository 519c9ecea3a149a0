"""The HTTP contract of customers, resellers and the vendor's settings: what users send and get (api.md, "User")."""

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from licensing.contract import Answer, Body, Flag, Text, TimeZone, Version, example, no_control_characters
from licensing.rules.retention import LONGEST_DAYS, SHORTEST_DAYS

_CONTACT = {"name": "Giulia Ferrario", "email": "giulia.ferrario@officinelombarde.example", "phone": "", "url": ""}
_CUSTOMER_ID = "cus_019a9c0f2d00c5a1b2"
_RESELLER_ID = "res_019a9c0f2d00c5a1b2"
_CUSTOMER = {
    "name": "Officine Lombarde S.p.A.",
    "tax_id": "IT00743110157",
    "country": "IT",
    "time_zone": "Europe/Rome",
    "language": "it",
    "contacts": [_CONTACT],
}
_RESELLER = {
    "name": "Telefonia Padana S.r.l.",
    "tax_id": "IT12345670017",
    "country": "IT",
    "language": "it",
    "contacts": [_CONTACT],
    "may_order": True,
    "may_assign_products": False,
}
_VENDOR = {
    "name": "Aurora Communications",
    "contact": _CONTACT,
    "portal_url": "https://licensing.aurora.example",
    "releases": ["Winter 2026", "Summer 2026"],
    "lowest_app_version": "Winter 2026",
    "agent": {"latest": "1.0.0", "lowest": "1.0.0", "download_url": None},
    "validation_window": {"from": "10:00", "to": "14:00"},
    "notice_days": 30,
    "alerts": {"before": [60, 30, 14, 7, 3, 1, 0], "silent": [3, 7, 10], "signing_key": 365},
}

# Stripped first, or a blank would be a name.
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=128, strip_whitespace=True), AfterValidator(no_control_characters)
]
TaxId = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$"), Field(description="ISO 3166")]
Tag = Literal["en", "it", "es", "pt-BR", "sv"]
Email = Annotated[str, StringConstraints(min_length=3, max_length=128)]
RoleName = Literal["administrator", "contract_owner"]
ListStateName = Literal["active", "expired", "deleted"]
TimeOfDay = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
ResellerId = Annotated[str, StringConstraints(pattern=r"^res_[0-9a-z]{1,60}$")]


class ContactBody(Body):
    """A person or a desk."""

    name: Annotated[Text, StringConstraints(max_length=128)] = ""
    email: Annotated[Text, StringConstraints(max_length=128)] = ""
    phone: Annotated[Text, StringConstraints(max_length=64)] = ""
    url: Annotated[Text, StringConstraints(max_length=256)] = ""


ContactList = Annotated[list[ContactBody], Field(max_length=20)]


class NewCustomer(Body):
    """A new customer. Its registered contacts get the one-time codes, and may register in the portal."""

    model_config = example(_CUSTOMER)

    name: Name
    tax_id: TaxId
    country: Country
    time_zone: TimeZone
    language: Tag = "en"
    contacts: ContactList = Field(default_factory=list)


class CustomerChange(Body):
    """What is to be otherwise; what is left out stays. Resellers are for the vendor to say."""

    model_config = example({"name": "Officine Lombarde S.r.l.", "language": "it"})

    name: Name | None = None
    country: Country | None = None
    time_zone: TimeZone | None = None
    language: Tag | None = None
    reseller_ids: Annotated[list[ResellerId], Field(max_length=20)] | None = None


class Contacts(Body):
    """All registered contacts of a customer."""

    model_config = example({"contacts": [_CONTACT]})

    contacts: ContactList


class Roles(Body):
    """What a person may do inside a customer: one role or both."""

    model_config = example({"roles": ["administrator"]})

    roles: Annotated[list[RoleName], Field(min_length=1, max_length=2)]


class NewInvitation(Body):
    """Invite an e-mail address. Inviting it again sends another link, and lets the earlier one end."""

    model_config = example(
        {"email": "enrico.galli@officinelombarde.example", "roles": ["contract_owner"], "language": "it"}
    )

    email: Email
    name: Annotated[Text, StringConstraints(max_length=128)] = ""
    roles: Annotated[list[RoleName], Field(min_length=1, max_length=2)]
    language: Tag | None = None


class WindowChange(Body):
    """For how many minutes from now the tax id alone is to be enough (A1)."""

    model_config = example({"minutes": 60})

    minutes: Annotated[int, Field(strict=True, ge=5, le=24 * 60)]


class NewReseller(Body):
    """A new reseller."""

    model_config = example(_RESELLER)

    name: Name
    tax_id: TaxId
    country: Country
    language: Tag = "en"
    contacts: ContactList = Field(default_factory=list)
    may_order: Flag = False
    may_assign_products: Flag = False


class ResellerChange(Body):
    """What is to be otherwise; what is left out stays."""

    model_config = example({"may_order": True})

    name: Name | None = None
    country: Country | None = None
    language: Tag | None = None
    contacts: ContactList | None = None
    may_order: Flag | None = None
    may_assign_products: Flag | None = None


class AgentSettings(Body):
    """The License Manager's versions: the newest, the lowest that is served, and where to get it (A8)."""

    latest: Version | None = None
    lowest: Version | None = None
    download_url: Annotated[Text, StringConstraints(max_length=256)] | None = None


class WindowSettings(Body):
    """When servers validate, in their own local time (A4)."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    start: TimeOfDay = Field("10:00", alias="from")
    end: TimeOfDay = Field("14:00", alias="to")


class AlertSettings(Body):
    """When alerts are due (F7): days before an end, days of silence; after how many days a signing key is to be replaced.

    The last day itself, the day after it, and a server's last day before it is blocked (10) are told whatever is said here.
    """

    before: Annotated[list[Annotated[int, Field(strict=True, ge=0, le=365)]], Field(max_length=20)]
    silent: Annotated[list[Annotated[int, Field(strict=True, ge=1, le=60)]], Field(max_length=20)]
    signing_key: Annotated[int, Field(strict=True, ge=30, le=3650)]


class VendorSettings(Body):
    """The vendor's settings, as a whole; ``alerts`` stay as they are where they are left out. ``releases`` are ordered, oldest
    first (B10).
    """

    model_config = example(_VENDOR)

    name: Name
    contact: ContactBody
    portal_url: Annotated[Text, StringConstraints(max_length=256, pattern=r"^https?://[^\s/]+$")]
    releases: Annotated[list[Name], Field(max_length=200)]
    lowest_app_version: Name | None = None
    agent: AgentSettings
    validation_window: WindowSettings
    notice_days: Annotated[int, Field(strict=True, ge=0, le=365)]
    alerts: AlertSettings | None = None


# ── answers ──


class ContactAnswer(Answer):
    """A person or a desk."""

    name: str
    email: str
    phone: str
    url: str


class ContactsAnswer(Answer):
    """All registered contacts of a customer."""

    model_config = example({"contacts": [_CONTACT]})

    contacts: list[ContactAnswer]


class CustomerAnswer(Answer):
    """A customer."""

    model_config = example(
        {**_CUSTOMER, "customer_id": _CUSTOMER_ID, "log_retention_days": 365, "deleted": False, "deleted_on": None,
         "reseller_ids": [_RESELLER_ID], "installation_ids": ["ins_019a9c0f2d00d4"]}
    )  # fmt: skip

    customer_id: str
    name: str
    tax_id: str
    country: str
    time_zone: str
    language: str
    contacts: list[ContactAnswer]
    log_retention_days: Annotated[int, Field(ge=SHORTEST_DAYS, le=LONGEST_DAYS)]
    deleted: bool
    deleted_on: date | None
    reseller_ids: list[str]
    installation_ids: list[str]


class CustomerRequested(Answer):
    """What a reseller is told, whether the tax id was new or not: a new customer is in its list at once, for one that is there
    already the vendor is asked.
    """

    model_config = example({"tax_id": "IT00743110157", "accepted": True})

    tax_id: str
    accepted: Literal[True] = True


class CustomerListed(Answer):
    """A customer in a list. ``served_until`` is null for one that never had a license, and 9999-12-31 for a perpetual one."""

    customer_id: str
    name: str
    tax_id: str
    country: str
    state: ListStateName
    served_until: date | None
    last_activity: datetime | None


class CustomerList(Answer):
    """A page of customers, by name."""

    model_config = example(
        {
            "items": [
                {"customer_id": _CUSTOMER_ID, "name": "Officine Lombarde S.p.A.", "tax_id": "IT00743110157", "country": "IT",
                 "state": "active", "served_until": "9999-12-31", "last_activity": "2026-11-22T10:41:17Z"}
            ],
            "next_cursor": None,
        }
    )  # fmt: skip

    items: list[CustomerListed]
    next_cursor: str | None


class MemberAnswer(Answer):
    """A person of a customer, and what it may do there."""

    user_id: str
    name: str
    email: str
    roles: list[RoleName]


class MemberList(Answer):
    """All people of a customer, by name."""

    model_config = example(
        {
            "items": [
                {"user_id": "4d2a0b1c-0000-4000-8000-1f2e3d4c5b6a", "name": "Giulia Ferrario",
                 "email": "giulia.ferrario@officinelombarde.example", "roles": ["administrator"]}
            ],
            "next_cursor": None,
        }
    )  # fmt: skip

    items: list[MemberAnswer]
    next_cursor: None = None


class InvitationAnswer(Answer):
    """An open invitation."""

    invitation_id: str
    email: str
    roles: list[RoleName]
    invited_by: str
    valid_until: datetime


class InvitationList(Answer):
    """All open invitations into a customer."""

    model_config = example(
        {
            "items": [
                {"invitation_id": "9f86d081884c7d65", "email": "enrico.galli@officinelombarde.example",
                 "roles": ["contract_owner"], "invited_by": "Giulia Ferrario", "valid_until": "2026-12-06T12:00:00Z"}
            ],
            "next_cursor": None,
        }
    )  # fmt: skip

    items: list[InvitationAnswer]
    next_cursor: None = None


class InvitationSent(Answer):
    """An e-mail with a link is on its way."""

    model_config = example({"email": "enrico.galli@officinelombarde.example", "valid_until": "2026-12-06T12:00:00Z"})

    email: str
    valid_until: datetime


class WindowAnswer(Answer):
    """The window in which the tax id alone is enough (A1); ``open_until`` is null while it is closed."""

    model_config = example({"open_until": "2026-11-22T13:00:00Z"})

    open_until: datetime | None


class ResellerAnswer(Answer):
    """A reseller."""

    model_config = example({**_RESELLER, "reseller_id": _RESELLER_ID})

    reseller_id: str
    name: str
    tax_id: str
    country: str
    language: str
    contacts: list[ContactAnswer]
    may_order: bool
    may_assign_products: bool


class ResellerList(Answer):
    """All resellers, by name."""

    model_config = example({"items": [{**_RESELLER, "reseller_id": _RESELLER_ID}], "next_cursor": None})

    items: list[ResellerAnswer]
    next_cursor: None = None


class VendorAnswer(Answer):
    """The vendor's settings, and the languages that there are."""

    model_config = example({**_VENDOR, "languages": ["en", "it", "es", "pt-BR", "sv"]})

    name: str
    contact: ContactAnswer
    portal_url: str
    releases: list[str]
    lowest_app_version: str | None
    agent: AgentSettings
    validation_window: WindowSettings
    notice_days: int
    alerts: AlertSettings
    languages: list[str]


class ProductAnswer(Answer):
    """A product: what is sold, and what it counts. ``periods`` are years."""

    model_config = example(
        {"sku": "AQ-SUB-10", "name": "Advanced Queueing subscription (10 channels)", "type": "subscription",
         "application": "advanced-queueing", "application_name": "Advanced Queueing", "unit": "channels", "units_per_sku": 10,
         "periods": [1, 2, 3], "metering": "server", "modules": ["callback"], "lowest_app_version": None, "cloud_services": True}
    )  # fmt: skip

    sku: str
    name: str
    type: Literal["perpetual", "subscription", "trial"]
    application: str
    application_name: str
    unit: str
    units_per_sku: int
    periods: list[int]
    metering: Literal["server", "concurrent", "named_user", "company"]
    modules: list[str]
    lowest_app_version: str | None
    cloud_services: bool


class ProductList(Answer):
    """All products, by SKU."""

    items: list[ProductAnswer]
    next_cursor: None = None
