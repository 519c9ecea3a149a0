"""What needs looking after over all customers: silent servers, renewals coming up."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import overviews
from licensing.http.pages import page, visit

from functions.serve_portal import forms

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]


@router.get("/portal/silent")
def silent() -> Response[str]:
    """Servers that have not validated for some days."""
    here = visit(router)
    days = forms.whole(here.query("days"), 1, 3650, 3)
    found = overviews.silent_servers(here.signed_in, days, here.query("cursor") or None, here.now)
    return page(here, "silent", found=found, days=days)


@router.get("/portal/renewals")
def renewals() -> Response[str]:
    """Licenses and care that end within some days."""
    here = visit(router)
    days = forms.whole(here.query("days"), 1, 3650, 60)
    found = overviews.coming_renewals(here.signed_in, days, here.query("cursor") or None, here.now)
    return page(here, "renewals", found=found, days=days)
