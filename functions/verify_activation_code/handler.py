"""POST /v1/activation-requests/{request_id}/verify: exchange the one-time code for a ticket (A1, A2)."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path
from licensing import activation, deployment
from licensing.contract import CodeEntry, Ticket
from licensing.errors import (
    CodeExpired,
    CodeWrong,
    IdempotencyKeyReused,
    NotFound,
    TemporarilyUnavailable,
    TooManyRequests,
)
from licensing.http.api import api, document, entry, problems
from licensing.http.requests import IdempotencyKey, once

app = api()


@app.post(
    "/v1/activation-requests/<request_id>/verify",
    summary="Enter the one-time code",
    tags=["Anyone"],
    responses={
        200: document(Ticket, "Who you are, and the installations to choose from."),
        **problems(
            CodeWrong, CodeExpired, NotFound, TooManyRequests, IdempotencyKeyReused, TemporarilyUnavailable, body=True
        ),
    },
)
def verify_code(
    request_id: Annotated[str, Path(pattern=r"^[\x21-\x7e]{1,64}$")],
    body: Annotated[CodeEntry, Body()],
    idempotency_key: IdempotencyKey = None,
) -> Response[str]:
    """Five tries per code, twenty a day per tax id; each is counted before it is compared."""
    now = deployment.now()
    return once(
        app,
        idempotency_key,
        body.code,
        now,
        lambda keep: activation.verify(request_id, body, now, keep),
        lambda answer: 200,
    )


handler = entry(app)
