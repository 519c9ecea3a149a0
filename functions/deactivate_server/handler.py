"""POST /v1/deactivations: a server gives itself up."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body
from licensing import deactivation, deployment
from licensing.contract import Deactivation, DeactivationAnswer
from licensing.errors import (
    ClockSkewed,
    IdempotencyKeyReused,
    InvalidProof,
    InvalidToken,
    Refused,
    TemporarilyUnavailable,
)
from licensing.http.api import api, document, entry, problems
from licensing.http.requests import IdempotencyKey, once, origin, server_caller

app = api()


@app.post(
    "/v1/deactivations",
    summary="Deactivate a server",
    tags=["Server"],
    security=[{"server_token": [], "proof": []}, {"server_token": []}],
    responses={
        200: document(DeactivationAnswer, "The installation is available again."),
        **problems(
            InvalidToken, InvalidProof, ClockSkewed, Refused, IdempotencyKeyReused, TemporarilyUnavailable, body=True
        ),
    },
)
def deactivate_server(body: Annotated[Deactivation, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
    """The installation goes back to `available`. An expired token is good for this too; a repeat succeeds again."""
    now = deployment.now()
    token = server_caller(app, body.server_token, now).token
    return once(
        app,
        idempotency_key,
        token.installation_id,
        now,
        lambda keep: deactivation.deactivate(token, body, now, keep, origin(app)),
        lambda answer: 200,
    )


handler = entry(app)
