"""Doing without alerts, by the link of an e-mail: on a page, or with one click in a mail program (RFC 8058)."""

from urllib.parse import parse_qs

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import alert_preferences
from licensing.http.pages import Visit, form, page, see_other, visit
from licensing.http.requests import body_bytes

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]


@router.get("/portal/unsubscribe/<token>")
def show(token: str) -> Response[str]:
    """What the address does without; looking changes nothing, since mail scanners follow links."""
    here = visit(router)
    email, unsubscribed = alert_preferences.find(token)
    return page(here, "unsubscribe", email=email, unsubscribed=unsubscribed, kinds=alert_preferences.ALERT_KINDS)


@router.post("/portal/unsubscribe/<token>")
def change(token: str) -> Response[str]:
    """The form, or the mail program's one click, which has neither cookies nor a form token: its token is the address's."""
    here = visit(router)
    if _is_one_click(here):
        alert_preferences.unsubscribe(token, here.by, here.now)
        return Response(200, "text/plain; charset=utf-8", "")
    fields = form(here)
    kinds = tuple(each for each in alert_preferences.ALERT_KINDS if fields.get(each) != "on")
    alert_preferences.unsubscribe(token, here.by, here.now, kinds)
    return see_other(here, f"/portal/unsubscribe/{token}", "saved")


def _is_one_click(here: Visit) -> bool:
    # As a form of either kind (RFC 8058, section 3.2); this is all that it says.
    content = body_bytes(here.event)[:1000].decode(errors="replace")
    said = here.event.headers.get("content-type", "")
    if said.startswith("multipart/form-data"):
        return 'name="List-Unsubscribe"' in content and "One-Click" in content
    return parse_qs(content).get("List-Unsubscribe") == ["One-Click"]
