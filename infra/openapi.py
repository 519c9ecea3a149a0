"""Writes the OpenAPI 3.1 document of all functions to where ``describe_api`` serves it from (``make openapi``).

A test holds the file against the code, so that it can't fall behind.
"""

import importlib
import json
import os
from pathlib import Path
from typing import Any

from aws_lambda_powertools.event_handler.openapi.merge import OpenAPIMerge
from aws_lambda_powertools.event_handler.openapi.models import APIKey, HTTPBearer, Server

FUNCTIONS = Path(__file__).resolve().parents[1] / "functions"
DOCUMENT = FUNCTIONS / "describe_api" / "openapi.json"

_DESCRIPTION = """\
How servers activate, validate every day, and give themselves up.

Errors are RFC 9457 problem documents with a stable `code`. Times are RFC 3339 UTC. Unknown fields are refused.
A server that activated with a key sends a DPoP proof (RFC 9449) with each request: header `DPoP`, claims
`htm htu iat jti ath` and `bh`, the base64url SHA-256 of the body. At activation there is no `ath` yet.
POSTs take an `Idempotency-Key`; a replay returns the first answer for 24 hours.
"""

_SCHEMES: dict[str, Any] = {
    "server_token": HTTPBearer(description="The server token of the last answer, an expired one too."),
    "user_token": HTTPBearer(description="An access token of the user pool, of a person or of a machine client."),
    "seat_token": HTTPBearer(description="A station's token, signed by its server's own key: 15 minutes at most."),
    "proof": APIKey.model_validate(
        {"name": "DPoP", "in": "header", "description": "A proof of possession (RFC 9449) with the claim `bh`."}
    ),
}


def document() -> dict[str, Any]:
    """The document, made from the resolvers of all functions."""
    # The names of tables are read at import, and of no interest here.
    for name in ("LICENSING_TABLE", "STATE_TABLE", "OPERATIONS_TABLE", "SEATS_TABLE"):
        os.environ.setdefault(name, name)
    os.environ.setdefault("AWS_REGION", "eu-south-1")
    merge = OpenAPIMerge(
        title="Cloud Licensing",
        version="1",
        description=_DESCRIPTION,
        openapi_version="3.1.0",
        servers=[Server(url="/", description="The site that served this document")],
        security_schemes=_SCHEMES,
    )
    for handler in sorted(FUNCTIONS.glob("*/handler.py")):
        module = importlib.import_module(f"functions.{handler.parent.name}.handler")
        if app := getattr(module, "app", None):
            merge.add_schema(app.get_openapi_schema(openapi_version="3.1.0", security_schemes=_SCHEMES))
    merged: dict[str, Any] = json.loads(merge.get_openapi_json_schema())
    # The framework's own errors, which no route of ours answers with.
    for unused in ("HTTPValidationError", "ResponseValidationError", "ValidationError"):
        merged["components"]["schemas"].pop(unused, None)
    return merged


def text() -> str:
    """The same as it is kept in the file."""
    return json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(text(), encoding="utf-8")
