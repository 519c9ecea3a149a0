"""Webhooks of the vendor, and everybody's alert preferences: for signed-in users (F7)."""

from collections.abc import Callable
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path
from licensing import alert_preferences, deployment, webhooks
from licensing.contract_alerts import (
    AlertPreferences,
    AlertPreferencesAnswer,
    NewWebhook,
    TestSent,
    WebhookList,
    WebhookSecretAnswer,
)
from licensing.errors import (
    Forbidden,
    IdempotencyKeyReused,
    LicensingError,
    NotFound,
    OnlyAtHomeSite,
    TooManyWebhooks,
    Unauthorized,
    WebhookUrlInvalid,
)
from licensing.http.api import api, document, entry, gone, problems
from licensing.http.requests import IdempotencyKey, once, origin, user_caller
from pydantic import BaseModel

app = api()

WebhookId = Annotated[str, Path(pattern=r"^whk_[0-9a-z]{1,60}$")]


def _described(
    answer: type[BaseModel] | None, what: str, *kinds: type[LicensingError], status: int = 200, body: bool = False
) -> dict[int, Any]:
    given: dict[int, Any] = {status: document(answer, what) if answer else {"description": what}}
    return given | problems(Unauthorized, OnlyAtHomeSite, *kinds, body=body)


def _route(
    method: str, path: str, summary: str, responses: dict[int, Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    decorate: Callable[[Callable[..., Any]], Callable[..., Any]] = app.route(
        path, method, summary=summary, tags=["User"], responses=responses, security=[{"user_token": []}]
    )
    return decorate


# ── webhooks ──


@_route(
    "POST",
    "/v1/webhooks",
    "Add a webhook",
    _described(
        WebhookSecretAnswer, "Added, with the secret that signs: it is told this once.", Forbidden, WebhookUrlInvalid,
        TooManyWebhooks, IdempotencyKeyReused, status=201, body=True,
    ),
)  # fmt: skip
def create_webhook(body: Annotated[NewWebhook, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
    """The vendor's only. Events come as in the Standard Webhooks specification: `webhook-id`, `webhook-timestamp`,
    `webhook-signature`, and `{"type", "timestamp", "data"}` as the body.
    """
    user, now = user_caller(app), deployment.now()
    return once(
        app, idempotency_key, user.user_id, now,
        lambda keep: webhooks.create(user, body, origin(app, user), now, keep), lambda answer: 201,
    )  # fmt: skip


@_route("GET", "/v1/webhooks", "List webhooks", _described(WebhookList, "All webhooks, oldest first.", Forbidden))
def list_webhooks() -> WebhookList:
    """Without their secrets."""
    return webhooks.listed(user_caller(app))


@_route(
    "DELETE",
    "/v1/webhooks/<webhook_id>",
    "Delete a webhook",
    _described(None, "Gone.", Forbidden, NotFound, status=204),
)
def delete_webhook(webhook_id: WebhookId) -> Response[str]:
    """What is on its way to it is dropped."""
    user = user_caller(app)
    webhooks.delete(user, webhook_id, origin(app, user), deployment.now())
    return gone()


@_route(
    "POST",
    "/v1/webhooks/<webhook_id>/rotate-secret",
    "Give a webhook a new secret",
    _described(WebhookSecretAnswer, "The new secret.", Forbidden, NotFound, IdempotencyKeyReused),
)
def rotate_secret(webhook_id: WebhookId, idempotency_key: IdempotencyKey = None) -> Response[str]:
    """For 24 hours the former secret signs too: `webhook-signature` then holds both signatures."""
    user, now = user_caller(app), deployment.now()
    return once(
        app, idempotency_key, user.user_id, now,
        lambda keep: webhooks.rotate(user, webhook_id, origin(app, user), now, keep), lambda answer: 200,
    )  # fmt: skip


@_route(
    "POST",
    "/v1/webhooks/<webhook_id>/test",
    "Send a test event",
    _described(
        TestSent, "An event of type `Test` is on its way.", Forbidden, NotFound, IdempotencyKeyReused, status=202
    ),
)
def send_test(webhook_id: WebhookId, idempotency_key: IdempotencyKey = None) -> Response[str]:
    """Whatever the webhook subscribed to."""
    user, now = user_caller(app), deployment.now()
    return once(
        app, idempotency_key, user.user_id, now,
        lambda keep: webhooks.send_test(user, webhook_id, origin(app, user), now, keep), lambda answer: 202,
    )  # fmt: skip


# ── preferences ──


@_route(
    "GET",
    "/v1/alert-preferences",
    "Read your alert preferences",
    _described(AlertPreferencesAnswer, "The kinds of e-mail that you do without."),
)
def read_preferences() -> AlertPreferencesAnswer:
    """Your own."""
    return alert_preferences.read(user_caller(app))


@_route(
    "PUT",
    "/v1/alert-preferences",
    "Change your alert preferences",
    _described(AlertPreferencesAnswer, "As they are now.", body=True),
)
def replace_preferences(body: Annotated[AlertPreferences, Body()]) -> AlertPreferencesAnswer:
    """A customer's own people are told of an end that is here, and of a server about to be blocked, nevertheless."""
    user = user_caller(app)
    return alert_preferences.replace(user, body, origin(app, user), deployment.now())


handler = entry(app)
