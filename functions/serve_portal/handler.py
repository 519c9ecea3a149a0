"""The portal: every page that people sign in for (B3). One module a group of pages."""

from aws_lambda_powertools.event_handler import Response
from licensing.http.pages import entry, pages, static

from functions.serve_portal import (
    customers,
    keys,
    licenses,
    log,
    me,
    offline,
    orders,
    overviews,
    people,
    pools,
    resellers,
    servers,
    sign_in,
    unsubscribe,
    webhooks,
)

portal = pages()
for module in (
    sign_in,
    me,
    customers,
    licenses,
    log,
    offline,
    servers,
    keys,
    pools,
    orders,
    people,
    resellers,
    overviews,
    unsubscribe,
    webhooks,
):
    portal.include_router(module.router)


@portal.get("/portal/static/<name>")
def files(name: str) -> Response[str]:
    """Style sheet, scripts, drawings."""
    return static(name)


handler = entry(portal)
