"""POST /v1/activation-requests: begin an activation by tax id (A1)."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body
from licensing import activation, deployment
from licensing.contract import ActivationRequest, CodeSent, Ticket
from licensing.errors import IdempotencyKeyReused, TaxIdInvalid, TemporarilyUnavailable, TooManyRequests
from licensing.http.api import api, document, entry, problems
from licensing.http.requests import IdempotencyKey, once
from licensing.rules.tax_ids import normalize

app = api()


@app.post(
    "/v1/activation-requests",
    summary="Ask for a one-time code",
    tags=["Anyone"],
    responses={
        202: document(CodeSent, "A code is on its way, if anybody has this tax id; the answer doesn't tell."),
        200: document(Ticket, "The customer opened a window: no code is needed."),
        **problems(TaxIdInvalid, TooManyRequests, IdempotencyKeyReused, TemporarilyUnavailable, body=True),
    },
)
def request_activation(
    body: Annotated[ActivationRequest, Body()], idempotency_key: IdempotencyKey = None
) -> Response[str]:
    """Three an hour per tax id, known or not."""
    now = deployment.now()
    return once(
        app,
        idempotency_key,
        normalize(body.tax_id),
        now,
        lambda keep: activation.request(body, now, keep),
        lambda answer: 202 if isinstance(answer, CodeSent) else 200,
    )


handler = entry(app)
