"""POST /v1/activations: give an installation to a server (A2, A3, A7)."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body
from licensing import activation, deployment
from licensing.contract import Activation, ValidationAnswer
from licensing.errors import (
    ActivationTokenInvalid,
    ClockSkewed,
    IdempotencyKeyReused,
    InstallationTaken,
    InvalidProof,
    Refused,
    TemporarilyUnavailable,
    TicketInvalid,
)
from licensing.http.api import api, document, entry, problems
from licensing.http.requests import IdempotencyKey, new_key, once, origin, saying

app = api()


@app.post(
    "/v1/activations",
    summary="Activate a server",
    tags=["Anyone"],
    responses={
        201: document(ValidationAnswer, "Activated: the first server token."),
        **problems(
            InvalidProof,
            ClockSkewed,
            TicketInvalid,
            ActivationTokenInvalid,
            Refused,
            InstallationTaken,
            IdempotencyKeyReused,
            TemporarilyUnavailable,
            body=True,
        ),
    },
)
def activate_server(body: Annotated[Activation, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
    """By `activation_token`, or by `ticket` and chosen `installation_id`. With a `public_key` goes a DPoP proof by it.

    The same token or ticket, nonce and machine repeat their answer until the first validation.
    """
    now = deployment.now()
    key = new_key(app, body.public_key.model_dump() if body.public_key else None, now)
    scope = body.activation_token or body.ticket or ""
    return once(
        app,
        idempotency_key,
        scope,
        now,
        lambda keep: activation.activate_server(body, key, now, keep, origin(app), saying(app)),
        lambda answer: 201,
    )


handler = entry(app)
