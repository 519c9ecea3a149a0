"""/unlock/{secret}: the page that an order's e-mail leads to (B2). Nobody signs in; looking changes nothing.

Mail scanners open every link and submit forms: so the order number, which is on no page here, has to be typed.
"""

from aws_lambda_powertools.event_handler import Response
from licensing import orders
from licensing.contract_orders import Forward
from licensing.errors import (
    AlreadyUnlocked,
    EmailInvalid,
    ForwardingOver,
    InvalidRequest,
    LicensingError,
    OrderNumberWrong,
    TooManyRequests,
    UnlockLinkInvalid,
)
from licensing.http.pages import Visit, entry, explain, form, page, pages, see_other, visit
from licensing.rules.orders import link_forwards
from licensing.texts import mark
from pydantic import ValidationError

link = pages()


@link.get("/unlock")
def cut_off() -> Response[str]:
    """What is left of a link that a mail client cut off."""
    return _incomplete(visit(link))


@link.get("/unlock/<secret>")
def show(secret: str) -> Response[str]:
    """The order, and the form to unlock it; what goes on from there, once it is."""
    here = visit(link)
    try:
        return _page(here, secret)
    except UnlockLinkInvalid:
        return _incomplete(here)


@link.post("/unlock/<secret>")
def unlock(secret: str) -> Response[str]:
    """Unlock all lines, or invite somebody to go on."""
    here = visit(link)
    fields = form(here)
    number = fields.get("order_number", "")
    try:
        if "email" in fields:
            return _forward(here, secret, number, fields["email"])
        orders.unlock_by_link(_whole(secret), number, here.now, here.by)
    except UnlockLinkInvalid:
        return _incomplete(here)
    except (OrderNumberWrong, AlreadyUnlocked, EmailInvalid, ForwardingOver, TooManyRequests, InvalidRequest) as error:
        return _page(here, secret, error, fields.get("email", ""))
    return see_other(here, f"/unlock/{_whole(secret)}", "unlocked")


def _forward(here: Visit, secret: str, number: str, email: str) -> Response[str]:
    try:
        to = Forward(email=email).email
    except ValidationError as error:
        raise _AddressRefused from error
    orders.forward_by_link(_whole(secret), number, to, here.now, here.by)
    return see_other(here, f"/unlock/{_whole(secret)}", "forwarded")


class _AddressRefused(InvalidRequest):
    """Raised when what was typed is no e-mail address."""

    detail = mark("This is not an e-mail address.")


def _page(here: Visit, secret: str, error: LicensingError | None = None, email: str = "") -> Response[str]:
    found = orders.find_by_link(_whole(secret), here.now)
    told = {"error": explain(here.language, error)} if error and not isinstance(error, AlreadyUnlocked) else {}
    again = isinstance(error, AlreadyUnlocked)
    status = error.status if error else 200
    forwards = link_forwards(found.order, here.now)
    return page(here, "unlock", status, found=found, again=again, email=email, forwards=forwards, **told)


def _whole(secret: str) -> str:
    """The secret without what mail clients leave on the end of a link."""
    return secret.rstrip(".,;:!?'\")>]} ").lower()[:64]


def _incomplete(here: Visit) -> Response[str]:
    return page(here, "unlock_incomplete", UnlockLinkInvalid.status)


handler = entry(link)
