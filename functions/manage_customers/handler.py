"""Customers with their people, resellers, the vendor's settings, and the catalogue to read: for signed-in users."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path, Query
from licensing import administration, customers, deployment, people, resellers, vendor_settings
from licensing.contract_customers import (
    Contacts,
    ContactsAnswer,
    CustomerAnswer,
    CustomerChange,
    CustomerList,
    CustomerRequested,
    InvitationAnswer,
    InvitationList,
    InvitationSent,
    ListStateName,
    MemberAnswer,
    MemberList,
    NewCustomer,
    NewInvitation,
    NewReseller,
    ProductAnswer,
    ProductList,
    ResellerAnswer,
    ResellerChange,
    ResellerList,
    Roles,
    VendorAnswer,
    VendorSettings,
    WindowAnswer,
    WindowChange,
)
from licensing.contract_log import RetentionAnswer, RetentionChange, ShorteningAnswer
from licensing.errors import (
    AlreadyRegistered,
    EmailInvalid,
    Forbidden,
    IdempotencyKeyReused,
    LastAdministrator,
    LicensingError,
    NotFound,
    OnlyAtHomeSite,
    TaxIdExists,
    TaxIdInvalid,
    TooManyRequests,
    Unauthorized,
)
from licensing.http.api import api, document, entry, gone, problems
from licensing.http.requests import IdempotencyKey, once, origin, user_caller
from licensing.rules.people import Invitation
from licensing.store import people as store
from pydantic import BaseModel

app = api()

CustomerId = Annotated[str, Path(pattern=r"^cus_[0-9a-z]{1,60}$")]
ResellerId = Annotated[str, Path(pattern=r"^res_[0-9a-z]{1,60}$")]
UserId = Annotated[str, Path(pattern=r"^[0-9A-Za-z-]{1,128}$")]
InvitationId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
Sku = Annotated[str, Path(pattern=r"^[\x20-\x7e]{1,128}$")]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=1000)]


def _described(
    answer: type[BaseModel] | None, what: str, *kinds: type[LicensingError], status: int = 200, body: bool = False
) -> dict[int, Any]:
    """What a route answers, and what it may refuse beside what every route of a user may."""
    given: dict[int, Any] = {status: document(answer, what) if answer else {"description": what}}
    return given | problems(Unauthorized, Forbidden, NotFound, OnlyAtHomeSite, *kinds, body=body)


def _route(
    method: str, path: str, summary: str, responses: dict[int, Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    decorate: Callable[[Callable[..., Any]], Callable[..., Any]] = app.route(
        path, method, summary=summary, tags=["User"], responses=responses, security=[{"user_token": []}]
    )
    return decorate


# ── customers ──


@_route("GET", "/v1/customers", "List customers", _described(CustomerList, "A page of customers, by name."))
def list_customers(
    search: Annotated[str, Query(max_length=128)] = "",
    state: Annotated[ListStateName | None, Query()] = None,
    inactive: Annotated[bool, Query()] = False,
    limit: Limit = 25,
    cursor: Cursor = None,
) -> CustomerList:
    """The vendor's all, a reseller's own. Without `state` all but deleted ones; `inactive=true` adds those without any service,
    or deleted, for more than 90 days. A page may be empty and still go on.
    """
    user, now = user_caller(app), deployment.now()
    page = customers.search(user, search, cursor, now, state=state, inactive=inactive, limit=limit)
    return CustomerList(items=[customers.listed_answer(each) for each in page.items], next_cursor=page.next_cursor)


@_route(
    "POST",
    "/v1/customers",
    "Create a customer",
    {
        201: document(CustomerAnswer, "Created."),
        202: document(CustomerRequested, "Accepted, from a reseller."),
        **problems(Unauthorized, Forbidden, OnlyAtHomeSite, TaxIdInvalid, EmailInvalid, TaxIdExists, IdempotencyKeyReused,
                   body=True),
    },
)  # fmt: skip
def create_customer(body: Annotated[NewCustomer, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
    """The vendor gets the customer. A reseller gets 202 whether the tax id was new or not: a new customer is in its list at once,
    for one that is there already the vendor is asked.
    """
    user, now = user_caller(app), deployment.now()
    return once(
        app, idempotency_key, user.user_id, now,
        lambda keep: customers.create(user, body, origin(app, user), now, keep),
        lambda answer: 201 if isinstance(answer, CustomerAnswer) else 202,
    )  # fmt: skip


@_route("GET", "/v1/customers/<customer_id>", "Read a customer", _described(CustomerAnswer, "The customer."))
def read_customer(customer_id: CustomerId) -> CustomerAnswer:
    """What is known of it, beside its licenses."""
    return customers.customer_answer(customers.account_for(user_caller(app), customer_id, "customer.read"))


@_route(
    "PATCH", "/v1/customers/<customer_id>", "Change a customer", _described(CustomerAnswer, "The customer.", body=True)
)
def change_customer(customer_id: CustomerId, body: Annotated[CustomerChange, Body()]) -> CustomerAnswer:
    """What is left out stays. `reseller_ids` are for the vendor to say."""
    user = user_caller(app)
    account = customers.change(user, customer_id, body, origin(app, user), deployment.now())
    return customers.customer_answer(account)


@_route("DELETE", "/v1/customers/<customer_id>", "Delete a customer", _described(None, "Deleted.", status=204))
def delete_customer(customer_id: CustomerId) -> Response[str]:
    """Its people are out, its servers get a final no. It can be restored."""
    user = user_caller(app)
    customers.delete(user, customer_id, origin(app, user), deployment.now())
    return gone()


@_route(
    "POST", "/v1/customers/<customer_id>/restore", "Restore a customer", _described(CustomerAnswer, "The customer.")
)
def restore_customer(customer_id: CustomerId) -> CustomerAnswer:
    """Takes a deletion back; repeating it changes nothing."""
    user = user_caller(app)
    return customers.customer_answer(customers.restore(user, customer_id, origin(app, user), deployment.now()))


@_route("GET", "/v1/customers/<customer_id>/contacts", "List contacts", _described(ContactsAnswer, "Its contacts."))
def read_contacts(customer_id: CustomerId) -> ContactsAnswer:
    """The registered contacts: they get one-time codes, and may register in the portal."""
    account = customers.account_for(user_caller(app), customer_id, "customer.read")
    return ContactsAnswer(contacts=customers.contact_answers(account.customer.contacts))


@_route(
    "PUT", "/v1/customers/<customer_id>/contacts", "Replace contacts",
    _described(ContactsAnswer, "Its contacts.", EmailInvalid, body=True),
)  # fmt: skip
def replace_contacts(customer_id: CustomerId, body: Annotated[Contacts, Body()]) -> ContactsAnswer:
    """All of them at once."""
    user = user_caller(app)
    account = customers.set_contacts(user, customer_id, body.contacts, origin(app, user), deployment.now())
    return ContactsAnswer(contacts=customers.contact_answers(account.customer.contacts))


# ── people of a customer ──


@_route("GET", "/v1/customers/<customer_id>/roles", "List people", _described(MemberList, "Its people, by name."))
def list_roles(customer_id: CustomerId) -> MemberList:
    """Who may do what."""
    customers.account_for(user_caller(app), customer_id, "people.read")
    return MemberList(items=[customers.member_answer(each) for each in store.members(customer_id)])


@_route(
    "PUT", "/v1/customers/<customer_id>/roles/<user_id>", "Change a person's roles",
    _described(MemberAnswer, "The person.", LastAdministrator, body=True),
)  # fmt: skip
def change_roles(customer_id: CustomerId, user_id: UserId, body: Annotated[Roles, Body()]) -> MemberAnswer:
    """One administrator stays, whatever comes at the same moment."""
    user = user_caller(app)
    customers.account_for(user, customer_id, "people.manage")
    roles = tuple(dict.fromkeys(body.roles))
    return customers.member_answer(
        people.change_roles(customer_id, user_id, roles, origin(app, user), deployment.now())
    )


@_route(
    "DELETE", "/v1/customers/<customer_id>/roles/<user_id>", "Remove a person",
    _described(None, "Removed.", LastAdministrator, status=204),
)  # fmt: skip
def remove_member(customer_id: CustomerId, user_id: UserId) -> Response[str]:
    """The account is gone, and with it its sessions."""
    user = user_caller(app)
    customers.account_for(user, customer_id, "people.manage")
    people.remove(customer_id, user_id, origin(app, user), deployment.now())
    return gone()


@_route(
    "GET", "/v1/customers/<customer_id>/invitations", "List invitations",
    _described(InvitationList, "The open invitations."),
)  # fmt: skip
def list_invitations(customer_id: CustomerId) -> InvitationList:
    """Those that were neither used nor withdrawn, and have not ended."""
    customers.account_for(user_caller(app), customer_id, "people.read")
    return InvitationList(
        items=[
            InvitationAnswer(
                invitation_id=key,
                email=each.email,
                roles=list(each.roles),
                invited_by=each.invited_by,
                valid_until=until,
            )
            for key, (each, until) in store.invitations(customer_id, deployment.now()).items()
        ]
    )


@_route(
    "POST", "/v1/customers/<customer_id>/invitations", "Invite a person",
    _described(InvitationSent, "An e-mail is on its way.", EmailInvalid, AlreadyRegistered, TooManyRequests,
               IdempotencyKeyReused, status=202, body=True),
)  # fmt: skip
def invite(
    customer_id: CustomerId, body: Annotated[NewInvitation, Body()], idempotency_key: IdempotencyKey = None
) -> Response[str]:
    """By an e-mail with a link. Inviting an address again sends another link, and lets the earlier one end.

    A reseller makes an administrator of the first one and of registered contacts; anybody else it invites is a contract owner.
    """
    user, now = user_caller(app), deployment.now()
    customer = customers.account_for(user, customer_id, "people.invite").customer
    invitation = Invitation(
        body.email,
        customer_id,
        tuple(dict.fromkeys(body.roles)),
        body.name,
        body.language or customer.language,
        user.name,
        user.organization,
    )
    answer = InvitationSent(email=body.email, valid_until=now + people.INVITATION_LIFE)

    def send(keep: Any) -> InvitationSent:
        people.invite(invitation, origin(app, user), now, lambda transaction: keep(transaction, answer))
        return answer

    return once(app, idempotency_key, user.user_id, now, send, lambda _: 202)


@_route(
    "DELETE", "/v1/customers/<customer_id>/invitations/<invitation_id>", "Withdraw an invitation",
    _described(None, "Withdrawn.", status=204),
)  # fmt: skip
def withdraw_invitation(customer_id: CustomerId, invitation_id: InvitationId) -> Response[str]:
    """Its link ends now; also when it had ended before."""
    user = user_caller(app)
    customers.account_for(user, customer_id, "people.invite")
    people.withdraw_invitation(customer_id, invitation_id, origin(app, user), deployment.now())
    return gone()


# ── the activation window (A1) ──


@_route(
    "GET", "/v1/customers/<customer_id>/activation-window", "Read the activation window",
    _described(WindowAnswer, "Until when it is open."),
)  # fmt: skip
def read_window(customer_id: CustomerId) -> WindowAnswer:
    """While it is open, the tax id alone is enough to activate."""
    return WindowAnswer(open_until=customers.window_until(user_caller(app), customer_id, deployment.now()))


@_route(
    "PUT", "/v1/customers/<customer_id>/activation-window", "Open the activation window",
    _described(WindowAnswer, "Until when it is open.", body=True),
)  # fmt: skip
def open_window(customer_id: CustomerId, body: Annotated[WindowChange, Body()]) -> WindowAnswer:
    """From now for so many minutes; an open one gets another end."""
    user = user_caller(app)
    duration = timedelta(minutes=body.minutes)
    return WindowAnswer(
        open_until=customers.open_window(user, customer_id, duration, origin(app, user), deployment.now())
    )


@_route(
    "DELETE", "/v1/customers/<customer_id>/activation-window", "Close the activation window",
    _described(None, "Closed.", status=204),
)  # fmt: skip
def close_window(customer_id: CustomerId) -> Response[str]:
    """At once."""
    user = user_caller(app)
    customers.close_window(user, customer_id, origin(app, user), deployment.now())
    return gone()


# ── its log (A9) ──


@_route(
    "PUT", "/v1/customers/<customer_id>/log-retention", "Change the log's retention",
    _described(RetentionAnswer, "The retention as it is now.", body=True),
)  # fmt: skip
def change_log_retention(customer_id: CustomerId, body: Annotated[RetentionChange, Body()]) -> RetentionAnswer:
    """Longer takes effect at once. Shorter is announced by e-mail, waits seven days, and can be taken back meanwhile."""
    user, now = user_caller(app), deployment.now()
    customers.account_for(user, customer_id, "customer.change")
    kept = administration.set_log_retention(customer_id, body.days, origin(app, user), now)
    waiting = kept.shortening if kept.shortening and kept.shortening.since > now else None
    return RetentionAnswer(
        days=kept.in_force(now),
        shortening=ShorteningAnswer(days=waiting.days, since=waiting.since) if waiting else None,
    )


# ── resellers ──


@_route("GET", "/v1/resellers", "List resellers", _described(ResellerList, "All resellers, by name."))
def list_resellers() -> ResellerList:
    """For the vendor."""
    return ResellerList(items=[resellers.reseller_answer(each) for each in resellers.every(user_caller(app))])


@_route(
    "POST", "/v1/resellers", "Add a reseller",
    _described(ResellerAnswer, "Added.", TaxIdInvalid, EmailInvalid, TaxIdExists, IdempotencyKeyReused, status=201, body=True),
)  # fmt: skip
def create_reseller(body: Annotated[NewReseller, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
    """For the vendor."""
    user, now = user_caller(app), deployment.now()
    return once(
        app, idempotency_key, user.user_id, now,
        lambda keep: resellers.create(user, body, origin(app, user), now, keep), lambda _: 201,
    )  # fmt: skip


@_route("GET", "/v1/resellers/<reseller_id>", "Read a reseller", _described(ResellerAnswer, "The reseller."))
def read_reseller(reseller_id: ResellerId) -> ResellerAnswer:
    """The vendor any, a reseller itself."""
    return resellers.reseller_answer(resellers.get(user_caller(app), reseller_id))


@_route(
    "PATCH", "/v1/resellers/<reseller_id>", "Change a reseller",
    _described(ResellerAnswer, "The reseller.", EmailInvalid, body=True),
)  # fmt: skip
def change_reseller(reseller_id: ResellerId, body: Annotated[ResellerChange, Body()]) -> ResellerAnswer:
    """For the vendor. What is left out stays."""
    user = user_caller(app)
    return resellers.reseller_answer(resellers.change(user, reseller_id, body, origin(app, user), deployment.now()))


# ── the vendor ──


@_route("GET", "/v1/vendor-settings", "Read the vendor's settings", _described(VendorAnswer, "The settings."))
def read_settings() -> VendorAnswer:
    """For the vendor."""
    return vendor_settings.read(user_caller(app))


@_route(
    "PUT", "/v1/vendor-settings", "Replace the vendor's settings",
    _described(VendorAnswer, "The settings.", EmailInvalid, body=True),
)  # fmt: skip
def replace_settings(body: Annotated[VendorSettings, Body()]) -> VendorAnswer:
    """For the vendor. Servers see them within a minute."""
    user = user_caller(app)
    return vendor_settings.replace(user, body, origin(app, user), deployment.now())


@_route("GET", "/v1/products", "List products", _described(ProductList, "All products, by SKU."))
def list_products() -> ProductList:
    """For the vendor and resellers."""
    return ProductList(items=vendor_settings.products(user_caller(app)))


@_route("GET", "/v1/products/<sku>", "Read a product", _described(ProductAnswer, "The product."))
def read_product(sku: Sku) -> ProductAnswer:
    """For the vendor and resellers."""
    return vendor_settings.product(user_caller(app), sku)


handler = entry(app)
