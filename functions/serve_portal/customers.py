"""Customers: the list (the vendor's of all, a reseller's of its own), a new one, its details."""

from typing import Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import customers
from licensing.contract_customers import CustomerAnswer, CustomerChange, NewCustomer
from licensing.errors import EmailInvalid, LicensingError, TaxIdExists, TaxIdInvalid
from licensing.http.pages import Visit, explain, form, page, see_other, visit
from licensing.rules import access
from licensing.rules.listing import ListState
from licensing.store import people as store

from functions.serve_portal import forms
from functions.serve_portal.forms import FormInvalid

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

#: What the list's filter offers: a state, and whether also those that have left.
_FILTERS: dict[str, tuple[ListState | None, bool]] = {
    "": (None, False),
    "expired": ("expired", False),
    "deleted": ("deleted", False),
    "all": (None, True),
}


@router.get("/portal/customers")
def show() -> Response[str]:
    """A page of the list, or what a search finds."""
    here = visit(router)
    search, chosen = here.query("search")[:128], here.query("show")
    state, inactive = _FILTERS.get(chosen, _FILTERS[""])
    cursor = here.query("cursor") or None
    found = customers.search(here.signed_in, search, cursor, here.now, state=state, inactive=inactive)
    return page(here, "customers", found=found, search=search, chosen=chosen, today=here.now.date())


@router.get("/portal/customers/new")
def new() -> Response[str]:
    """The form."""
    here = visit(router)
    access.require(here.signed_in, "customer.create")
    return _new(here, {})


@router.post("/portal/customers/new")
def create() -> Response[str]:
    """Create it; a reseller is told the same whether it was there already or not."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    try:
        body = forms.read(
            here, NewCustomer, {**_said(fields), "tax_id": fields.get("tax_id", ""), "contacts": forms.contacts(fields)}
        )
        made = customers.create(user, body, here.by, here.now)
    except (FormInvalid, TaxIdInvalid, TaxIdExists, EmailInvalid) as error:
        return _new(here, fields, error)
    if isinstance(made, CustomerAnswer):
        return see_other(here, f"/portal/customers/{made.customer_id}", "customer-created")
    return see_other(here, "/portal/customers", "customer-requested")


def _new(here: Visit, fields: dict[str, str], error: LicensingError | None = None) -> Response[str]:
    facts = {"error": explain(here.language, error)} if error else {}
    return page(
        here,
        "customer_new",
        error.status if error else 200,
        fields=fields,
        contacts=forms.contacts(fields),
        **_choices(here),
        **facts,
    )


def _said(fields: dict[str, str]) -> dict[str, str]:
    return {name: fields.get(name, "") for name in ("name", "country", "time_zone", "language")}


def _choices(here: Visit) -> dict[str, Any]:
    return {
        "countries": forms.countries(here.language),
        "time_zones": forms.time_zones(),
        "language_names": forms.languages(),
    }


# ── details ──


@router.get("/portal/customers/<customer_id>/details")
def details(customer_id: str) -> Response[str]:
    """What is known of a customer."""
    return _details(visit(router), customer_id)


def _details(here: Visit, customer_id: str, error: LicensingError | None = None) -> Response[str]:
    user = here.signed_in
    customer = customers.account_for(user, customer_id, "customer.read").customer
    decides = access.may(user, "customer.resellers")
    resellers = store.resellers() if decides else store.cached_resellers(here.now)
    facts = {"error": explain(here.language, error)} if error else {}
    return page(
        here, "customer_details", error.status if error else 200, customer=customer,
        resellers=resellers, managed_by=[resellers[key].name for key in customer.reseller_ids if key in resellers],
        requests=store.customer_requests(customer_id) if decides else [],
        **_choices(here), **facts,
    )  # fmt: skip


@router.post("/portal/customers/<customer_id>/details")
def change(customer_id: str) -> Response[str]:
    """Save the form."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    said: dict[str, Any] = dict(_said(fields))
    if access.may(user, "customer.resellers"):
        said["reseller_ids"] = [name.partition(":")[2] for name in fields if name.startswith("reseller:")]
    try:
        customers.change(user, customer_id, forms.read(here, CustomerChange, said), here.by, here.now)
    except FormInvalid as error:
        return _details(here, customer_id, error)
    return _back(here, customer_id, "saved")


@router.post("/portal/customers/<customer_id>/requests/<reseller_id>")
def answer_request(customer_id: str, reseller_id: str) -> Response[str]:
    """Let a reseller that asked for it manage this customer, or not."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    grant = fields.get("answer") == "grant"
    customers.answer_request(user, customer_id, reseller_id, grant, here.by, here.now)
    return _back(here, customer_id, "saved")


@router.post("/portal/customers/<customer_id>/delete")
def delete(customer_id: str) -> Response[str]:
    """Delete it, where that was ticked."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    customers.account_for(user, customer_id, "customer.delete")
    if fields.get("sure") != "yes":
        return _back(here, customer_id)
    customers.delete(user, customer_id, here.by, here.now)
    return _back(here, customer_id, "customer-deleted")


@router.post("/portal/customers/<customer_id>/restore")
def restore(customer_id: str) -> Response[str]:
    """Take a deletion back."""
    here = visit(router)
    user = here.signed_in
    form(here)
    customers.restore(user, customer_id, here.by, here.now)
    return _back(here, customer_id, "customer-restored")


def _back(here: Visit, customer_id: str, done: str = "") -> Response[str]:
    return see_other(here, f"/portal/customers/{customer_id}/details", done)
