"""GET /v1/openapi.json: the contract, generated from the code when it was built (``make openapi``)."""

from functools import cache
from pathlib import Path

from aws_lambda_powertools.event_handler import Response
from licensing.http.api import api, entry, problems

app = api()


@cache
def _document() -> str:
    return Path(__file__).with_name("openapi.json").read_text(encoding="utf-8")


@app.get(
    "/v1/openapi.json",
    summary="This document",
    tags=["Anyone"],
    responses={
        200: {
            "description": "The OpenAPI 3.1 document of all routes.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        **problems(),
    },
)
def openapi() -> Response[str]:
    """Every route, body, error and example."""
    return Response(200, "application/json", _document(), {"Cache-Control": "public, max-age=300"})


handler = entry(app)
