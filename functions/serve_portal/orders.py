"""Orders: the vendor's of all resellers, a reseller's own (B1)."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import order_files, orders
from licensing.contract_orders import Forward, Resend
from licensing.errors import InvalidRequest, LicensingError
from licensing.http.pages import Visit, explain, form, page, see_other, visit
from licensing.order_files import FileRefused
from licensing.rules import access
from licensing.store import accounts
from licensing.texts import mark
from pydantic import ValidationError

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]


@router.get("/portal/orders")
def show_list() -> Response[str]:
    """A page of the list: what waits to be unlocked, or all; or what a search finds among them."""
    here = visit(router)
    search, state = here.query("search"), "all" if here.query("state") == "all" else "open"
    found = orders.search(
        here.signed_in, search, "all" if state == "all" else "open", here.query("cursor") or None, here.now
    )
    return page(here, "orders", found=found, search=search, state=state)


@router.get("/portal/orders/upload")
def choose_file() -> Response[str]:
    """The form."""
    here = visit(router)
    access.require(here.signed_in, "order.create")
    return page(here, "order_upload", faults=[], loaded=[], text="")


@router.post("/portal/orders/upload")
def upload() -> Response[str]:
    """All orders of a file, or what is wrong with it."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    access.require(user, "order.create")
    text = fields.get("file") or fields.get("text", "")
    try:
        loaded = order_files.load(user, order_files.parse(text), here.now, here.by)
    except FileRefused as refused:
        faults = [
            (each, explain(here.language, each.error) if each.error else here.language.translations.gettext(each.text))
            for each in refused.faults
        ]
        return page(here, "order_upload", InvalidRequest.status, faults=faults, loaded=[], text=text)
    return page(here, "order_upload", faults=[], loaded=loaded, text="")


@router.get("/portal/orders/<order_id>")
def show(order_id: str) -> Response[str]:
    """One order, with what can be done to it."""
    return _page(visit(router), order_id)


def _page(here: Visit, order_id: str, error: LicensingError | None = None) -> Response[str]:
    user = here.signed_in
    found = orders.show(user, order_id, here.now)
    customer = accounts.get_customer(found.order.customer_id)
    theirs = customer is not None and access.belongs(user, customer)
    told = {"error": explain(here.language, error)} if error else {}
    return page(here, "order", error.status if error else 200, found=found, theirs=theirs, **told)


@router.post("/portal/orders/<order_id>/resend")
def resend(order_id: str) -> Response[str]:
    """Its e-mail once more, to the addresses in the form."""
    here = visit(router)
    fields, user = form(here), here.signed_in
    try:
        recipients = Resend(recipients=tuple(fields.get("recipients", "").replace(",", " ").split())).recipients
        orders.resend(user, order_id, recipients, here.now, here.by)
    except ValidationError:
        return _page(here, order_id, _AddressRefused())
    except LicensingError as error:
        return _page(here, order_id, error)
    return see_other(here, f"/portal/orders/{order_id}", "order-resent")


@router.post("/portal/orders/<order_id>/cancel")
def cancel(order_id: str) -> Response[str]:
    """Its locked licenses are gone."""
    here = visit(router)
    form(here)
    try:
        orders.cancel(here.signed_in, order_id, here.now, here.by)
    except LicensingError as error:
        return _page(here, order_id, error)
    return see_other(here, f"/portal/orders/{order_id}", "order-cancelled")


@router.post("/portal/orders/<order_id>/forward")
def forward(order_id: str) -> Response[str]:
    """An invitation to go on with it."""
    here = visit(router)
    fields, user = form(here), here.signed_in
    try:
        orders.forward(user, order_id, Forward(email=fields.get("email", "")).email, here.now, here.by)
    except ValidationError:
        return _page(here, order_id, _AddressRefused())
    except LicensingError as error:
        return _page(here, order_id, error)
    return see_other(here, f"/portal/orders/{order_id}", "order-forwarded")


class _AddressRefused(InvalidRequest):
    """Raised when what was typed is no e-mail address."""

    detail = mark("This is not an e-mail address.")
