"""Resellers: for the vendor."""

from dataclasses import asdict
from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import resellers
from licensing.contract_customers import NewReseller, ResellerChange
from licensing.errors import EmailInvalid, LicensingError, TaxIdExists, TaxIdInvalid
from licensing.http.pages import Visit, explain, form, page, see_other, visit
from licensing.rules import access
from licensing.rules.people import Reseller

from functions.serve_portal import forms
from functions.serve_portal.forms import FormInvalid

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]


@router.get("/portal/resellers")
def show() -> Response[str]:
    """All of them."""
    here = visit(router)
    return page(here, "resellers", resellers=resellers.every(here.signed_in))


@router.get("/portal/resellers/new")
def new() -> Response[str]:
    """The form."""
    here = visit(router)
    access.require(here.signed_in, "reseller.change")
    return _form(here, None, {})


@router.post("/portal/resellers/new")
def create() -> Response[str]:
    """Add one."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    access.require(user, "reseller.change")
    try:
        body = forms.read(here, NewReseller, {**_said(fields), "tax_id": fields.get("tax_id", "")})
        made = resellers.create(user, body, here.by, here.now)
    except (FormInvalid, TaxIdInvalid, TaxIdExists, EmailInvalid) as error:
        return _form(here, None, fields, error)
    return see_other(here, f"/portal/teams/{made.reseller_id}", "saved")


@router.get("/portal/resellers/<reseller_id>")
def details(reseller_id: str) -> Response[str]:
    """One of them."""
    here = visit(router)
    access.require(here.signed_in, "reseller.change")
    return _form(here, resellers.get(here.signed_in, reseller_id), {})


@router.post("/portal/resellers/<reseller_id>")
def change(reseller_id: str) -> Response[str]:
    """Save the form."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    access.require(user, "reseller.change")
    try:
        resellers.change(user, reseller_id, forms.read(here, ResellerChange, _said(fields)), here.by, here.now)
    except (FormInvalid, EmailInvalid) as error:
        return _form(here, resellers.get(user, reseller_id), fields, error)
    return see_other(here, f"/portal/resellers/{reseller_id}", "saved")


def _form(
    here: Visit, reseller: Reseller | None, fields: dict[str, str], error: LicensingError | None = None
) -> Response[str]:
    facts = {"error": explain(here.language, error)} if error else {}
    shown = fields or (asdict(reseller) if reseller else {})
    return page(
        here, "reseller", error.status if error else 200, reseller=reseller, fields=shown,
        contacts=forms.contacts(fields) or (reseller.contacts if reseller else ()),
        countries=forms.countries(here.language), language_names=forms.languages(), **facts,
    )  # fmt: skip


def _said(fields: dict[str, str]) -> dict[str, Any]:
    return {
        **{name: fields.get(name, "") for name in ("name", "country", "language")},
        "contacts": forms.contacts(fields),
        "may_order": fields.get("may_order") == "yes",
        "may_assign_products": fields.get("may_assign_products") == "yes",
    }
