"""POST /v1/validations: the daily heartbeat (A4, A5)."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body
from licensing import deployment, validation
from licensing.contract import Validation, ValidationAnswer
from licensing.errors import ClockSkewed, InvalidProof, InvalidToken, TemporarilyUnavailable
from licensing.http.api import api, document, entry, problems
from licensing.http.requests import origin, saying, server_caller

app = api()


@app.post(
    "/v1/validations",
    summary="Validate a server",
    description=(
        'With `Authorization: Bearer <server token>` (an expired one too) and a DPoP proof. A "no" is 200 as well: '
        "`valid: false`, a code, and a signed verdict. The same nonce gets the same sequence, so a retry is always safe."
    ),
    tags=["Server"],
    compress=True,  # 18 KB for twenty entitlements: what goes out would cost more than all the rest
    security=[{"server_token": [], "proof": []}, {"server_token": []}],
    responses={
        200: document(ValidationAnswer, "Yes with a server token, or no with a verdict."),
        **problems(InvalidToken, InvalidProof, ClockSkewed, TemporarilyUnavailable, body=True),
    },
)
def validate_server(body: Annotated[Validation, Body()]) -> Response[str]:
    """Who calls, and may it go on?"""
    now = deployment.now()
    caller = server_caller(app, body.server_token, now)
    answer = validation.validate(caller.token, body, caller.public_key, now, origin(app), saying(app))
    return Response(200, "application/json", answer.model_dump_json())


handler = entry(app)
