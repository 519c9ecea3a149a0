"""The list of customers: the vendor's of all, a reseller's of its own."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import customers
from licensing.http.pages import page, visit

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]


@router.get("/portal/customers")
def show() -> Response[str]:
    """A page of the list, or what a search finds."""
    here = visit(router)
    search = here.query("search")
    found = customers.search(here.signed_in, search, here.query("cursor") or None, here.now)
    return page(here, "customers", found=found, search=search)
