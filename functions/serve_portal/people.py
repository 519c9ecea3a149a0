"""People: of a customer with its contacts and its activation window; of the vendor or a reseller, as a team."""

from datetime import timedelta
from typing import Any, get_args

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import customers, people
from licensing.contract_customers import Contacts, Roles, WindowChange
from licensing.errors import (
    AlreadyRegistered,
    EmailInvalid,
    LastAdministrator,
    LicensingError,
    NotFound,
    TooManyRequests,
)
from licensing.http.pages import Visit, explain, form, page, see_other, visit
from licensing.rules import access
from licensing.rules.accounts import Customer
from licensing.rules.people import Invitation, Role, User
from licensing.store import activation_requests
from licensing.store import people as store

from functions.serve_portal import forms
from functions.serve_portal.forms import FormInvalid

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_WRONG = (AlreadyRegistered, EmailInvalid, FormInvalid, LastAdministrator, TooManyRequests)


# ── a customer's ──


@router.get("/portal/customers/<customer_id>/people")
def show(customer_id: str) -> Response[str]:
    """Who may do what, who is invited, who is registered."""
    here = visit(router)
    return _show(here, _customer(here, customer_id, "people.read"))


def _customer(here: Visit, customer_id: str, action: access.Action) -> Customer:
    return customers.account_for(here.signed_in, customer_id, action).customer


def _show(here: Visit, customer: Customer, error: LicensingError | None = None, **typed: Any) -> Response[str]:
    facts: dict[str, Any] = {"typed": {}, **typed} | ({"error": explain(here.language, error)} if error else {})
    return page(
        here, "customer_people", error.status if error else 200, customer=customer,
        members=store.members(customer.customer_id), invitations=store.invitations(customer.customer_id, here.now),
        window=activation_requests.window_until(customer.tax_id, here.now), language_names=forms.languages(), **facts,
    )  # fmt: skip


def _back(here: Visit, customer_id: str, done: str) -> Response[str]:
    return see_other(here, f"/portal/customers/{customer_id}/people", done)


@router.post("/portal/customers/<customer_id>/people/<user_id>")
def change_member(customer_id: str, user_id: str) -> Response[str]:
    """Change a person's roles, or remove it."""
    here = visit(router)
    customer, fields = _customer(here, customer_id, "people.manage"), form(here)
    try:
        if fields.get("do") == "remove":
            people.remove(customer_id, user_id, here.by, here.now)
            return _gone(here, user_id, f"/portal/customers/{customer_id}/people")
        people.change_roles(customer_id, user_id, _roles(here, fields), here.by, here.now)
    except _WRONG as error:
        return _show(here, customer, error)
    return _back(here, customer_id, "saved")


def _gone(here: Visit, user_id: str, back: str) -> Response[str]:
    if user_id == here.signed_in.user_id:
        return see_other(here, "/portal/login", "signed-out")
    return see_other(here, back, "person-removed")


def _roles(here: Visit, fields: dict[str, str]) -> tuple[Role, ...]:
    wanted = fields.get("roles", "").split()
    return tuple(forms.read(here, Roles, {"roles": [each for each in get_args(Role) if each in wanted]}).roles)


@router.post("/portal/customers/<customer_id>/invitations")
def invite(customer_id: str) -> Response[str]:
    """Invite a person."""
    here = visit(router)
    customer, fields = _customer(here, customer_id, "people.invite"), form(here)
    try:
        people.invite(_invitation(here, customer_id, fields, _roles(here, fields)), here.by, here.now)
    except _WRONG as error:
        return _show(here, customer, error, typed=fields)
    return _back(here, customer_id, "person-invited")


def _invitation(
    here: Visit, organization: str, fields: dict[str, str], roles: tuple[Role, ...] = ()
) -> Invitation:  # fmt: skip
    language = dict(forms.languages()).get(fields.get("language", "")) and fields["language"]
    return Invitation(
        fields.get("email", ""), organization, roles, fields.get("name", "")[:128], language or here.language.tag,
        here.signed_in.name, here.signed_in.organization,
    )  # fmt: skip


@router.post("/portal/customers/<customer_id>/invitations/<reference>")
def change_invitation(customer_id: str, reference: str) -> Response[str]:
    """Send it again, or withdraw it."""
    here = visit(router)
    customer, fields = _customer(here, customer_id, "people.invite"), form(here)
    try:
        done = _change_invitation(here, customer_id, reference, fields)
    except _WRONG as error:
        return _show(here, customer, error)
    return _back(here, customer_id, done)


def _change_invitation(here: Visit, organization: str, reference: str, fields: dict[str, str]) -> str:
    if fields.get("do") == "withdraw":
        people.withdraw_invitation(organization, reference, here.by, here.now)
        return "invitation-withdrawn"
    people.resend_invitation(organization, reference, here.by, here.now)
    return "person-invited"


@router.post("/portal/customers/<customer_id>/contacts")
def set_contacts(customer_id: str) -> Response[str]:
    """Replace the registered contacts."""
    here = visit(router)
    customer, fields = _customer(here, customer_id, "customer.change"), form(here)
    try:
        body = forms.read(here, Contacts, {"contacts": forms.contacts(fields)})
        customers.set_contacts(here.signed_in, customer_id, body.contacts, here.by, here.now)
    except _WRONG as error:
        return _show(here, customer, error)
    return _back(here, customer_id, "saved")


@router.post("/portal/customers/<customer_id>/activation-window")
def set_window(customer_id: str) -> Response[str]:
    """Open the window in which the tax id alone is enough, or close it (A1)."""
    here = visit(router)
    customer, fields = _customer(here, customer_id, "window.open"), form(here)
    if fields.get("do") == "close":
        customers.close_window(here.signed_in, customer_id, here.by, here.now)
        return _back(here, customer_id, "window-closed")
    try:
        asked = forms.whole(fields.get("minutes", ""), 0, 100_000, 0)
        minutes = forms.read(here, WindowChange, {"minutes": asked}).minutes
    except _WRONG as error:
        return _show(here, customer, error)
    customers.open_window(here.signed_in, customer_id, timedelta(minutes=minutes), here.by, here.now)
    return _back(here, customer_id, "window-opened")


# ── the vendor's and resellers' own ──


@router.get("/portal/teams/<organization>")
def show_team(organization: str) -> Response[str]:
    """Who is in it, and who is invited."""
    here = visit(router)
    return _show_team(here, organization)


def _show_team(here: Visit, organization: str, error: LicensingError | None = None, **typed: Any) -> Response[str]:
    access.require_own(here.signed_in, "team.manage", organization)
    facts: dict[str, Any] = {"typed": {}, **typed} | ({"error": explain(here.language, error)} if error else {})
    return page(
        here, "team", error.status if error else 200, organization=organization,
        reseller=store.resellers().get(organization), members=store.members(organization),
        invitations=store.invitations(organization, here.now), language_names=forms.languages(), **facts,
    )  # fmt: skip


def _team_of(here: Visit, organization: str) -> User:
    access.require_own(here.signed_in, "team.manage", organization)
    if organization.startswith("res_") and organization not in store.resellers():
        raise NotFound
    return here.signed_in


@router.post("/portal/teams/<organization>/invitations")
def invite_colleague(organization: str) -> Response[str]:
    """Invite a person."""
    here = visit(router)
    _team_of(here, organization)
    fields = form(here)
    try:
        people.invite(_invitation(here, organization, fields), here.by, here.now)
    except _WRONG as error:
        return _show_team(here, organization, error, typed=fields)
    return see_other(here, f"/portal/teams/{organization}", "person-invited")


@router.post("/portal/teams/<organization>/invitations/<reference>")
def change_colleagues_invitation(organization: str, reference: str) -> Response[str]:
    """Send it again, or withdraw it."""
    here = visit(router)
    _team_of(here, organization)
    fields = form(here)
    try:
        done = _change_invitation(here, organization, reference, fields)
    except _WRONG as error:
        return _show_team(here, organization, error)
    return see_other(here, f"/portal/teams/{organization}", done)


@router.post("/portal/teams/<organization>/people/<user_id>")
def remove_colleague(organization: str, user_id: str) -> Response[str]:
    """Remove a person, but not oneself: nobody locks themselves out."""
    here = visit(router)
    user = _team_of(here, organization)
    form(here)
    if user_id == user.user_id:
        return see_other(here, f"/portal/teams/{organization}")
    people.remove(organization, user_id, here.by, here.now)
    return _gone(here, user_id, f"/portal/teams/{organization}")
