"""Webhooks: where the vendor's own systems are told of events (F7)."""

from typing import get_args

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import webhooks
from licensing.contract_alerts import NewWebhook, WebhookSecretAnswer
from licensing.errors import LicensingError, NotFound, TooManyWebhooks, WebhookUrlInvalid
from licensing.http.pages import Visit, explain, form, page, see_other, visit
from licensing.rules.alert_events import EventType
from licensing.rules.webhooks import MOST_WEBHOOKS

from functions.serve_portal import forms
from functions.serve_portal.forms import FormInvalid

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_PATH = "/portal/webhooks"


@router.get(_PATH)
def show() -> Response[str]:
    """The list, and the form for another."""
    return _show(visit(router))


def _show(
    here: Visit, error: LicensingError | None = None, told: WebhookSecretAnswer | None = None, url: str = ""
) -> Response[str]:
    found = webhooks.listed(here.signed_in)
    facts = {"error": explain(here.language, error)} if error else {}
    return page(
        here, "webhooks", error.status if error else 200, found=found.items, told=told, url=url,
        events=[each for each in get_args(EventType) if each != "Test"], most=MOST_WEBHOOKS, **facts,
    )  # fmt: skip


@router.post(_PATH)
def create() -> Response[str]:
    """Add one. Its secret is on this page and never again, so there is no other page to go on to."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    chosen = [name.partition(":")[2] for name in fields if name.startswith("event:")]
    try:
        body = forms.read(here, NewWebhook, {"url": fields.get("url", ""), "events": chosen})
        told = webhooks.create(user, body, here.by, here.now)
    except (FormInvalid, WebhookUrlInvalid, TooManyWebhooks) as error:
        return _show(here, error, url=fields.get("url", ""))
    return _show(here, told=told)


@router.post("/portal/webhooks/<webhook_id>")
def change(webhook_id: str) -> Response[str]:
    """Give it another secret, which is told this once; send it a test; delete it."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    match fields.get("do"):
        case "rotate":
            return _show(here, told=webhooks.rotate(user, webhook_id, here.by, here.now))
        case "test":
            webhooks.send_test(user, webhook_id, here.by, here.now)
            return see_other(here, _PATH, "webhook-tested")
        case "delete":
            webhooks.delete(user, webhook_id, here.by, here.now)
            return see_other(here, _PATH, "webhook-deleted")
    raise NotFound
