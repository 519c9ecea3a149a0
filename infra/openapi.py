"""Writes the OpenAPI 3.1 document of all functions to where ``describe_api`` serves it from (``make openapi``).

A test holds the file against the code, so that it can't fall behind.
"""

import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

from aws_lambda_powertools.event_handler.openapi.merge import OpenAPIMerge
from aws_lambda_powertools.event_handler.openapi.models import APIKey, HTTPBearer, Server

FUNCTIONS = Path(__file__).resolve().parents[1] / "functions"
DOCUMENT = FUNCTIONS / "describe_api" / "openapi.json"

_PARAMETER = re.compile(r"{(\w+)}")

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

#: What a route answers, or was sent, that names a thing: the routes below that thing are linked from it.
_NAMED: dict[str, dict[str, str]] = {
    "POST /v1/customers": {"customer_id": "$response.body#/customer_id"},
    "POST /v1/customers/{customer_id}/installations": {"installation_id": "$response.body#/installation_id"},
    "POST /v1/customers/{customer_id}/companies": {"tax_id": "$response.body#/tax_id"},
    "POST /v1/resellers": {"reseller_id": "$response.body#/reseller_id"},
    "POST /v1/orders": {"order_id": "$response.body#/order_id"},
    "POST /v1/keys": {"key_id": "$response.body#/key_id"},
    "GET /v1/customers/{customer_id}/pools": {"pool_id": "$response.body#/items/0/pool_id"},
    "POST /v1/webhooks": {"webhook_id": "$response.body#/webhook_id"},
    "POST /v1/activation-requests": {"request_id": "$response.body#/request_id"},
    "POST /v1/seats": {"seat_id": "$response.body#/seat_id", "pool_id": "$request.body#/pool_id"},
    "GET /v1/pools": {"pool_id": "$response.body#/items/0/pool_id"},
}

#: What a route answers that another one takes in its body.
_HANDED_ON: dict[tuple[str, str], dict[str, Any]] = {
    ("POST /v1/activation-requests/{request_id}/verify", "POST /v1/activations"): {
        "ticket": "$response.body#/ticket", "installation_id": "$response.body#/installations/0/installation_id",
    },
    ("POST /v1/activations", "POST /v1/validations"): {"server_token": "$response.body#/server_token"},
    ("POST /v1/validations", "POST /v1/validations"): {"server_token": "$response.body#/server_token"},
    ("POST /v1/validations", "POST /v1/deactivations"): {"server_token": "$response.body#/server_token"},
    ("POST /v1/keys/preview", "POST /v1/keys/import"): {"preview_id": "$response.body#/preview_id", "confirm": True},
    ("GET /v1/pools", "POST /v1/seats"): {"pool_id": "$response.body#/items/0/pool_id"},
}  # fmt: skip

#: What API Gateway itself answers, before any function: no problem document, and nobody can change it.
_AT_THE_GATEWAY = {"type": "object", "required": ["message"], "properties": {"message": {"type": "string"}}}


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
    operations = {
        f"{method.upper()} {path}": operation
        for path, of in merged["paths"].items()
        for method, operation in of.items()
    }
    for operation in operations.values():
        operation["responses"].get("204", {}).pop("content", None)
        operation["responses"]["431"] = {"$ref": "#/components/responses/HeadersTooLarge"}
        if {"user_token": []} in operation.get("security", ()):
            operation["responses"]["401"]["content"]["application/json"] = {"schema": _AT_THE_GATEWAY}
    merged["components"]["responses"] = {
        "HeadersTooLarge": {
            "description": "Request line and headers are over 10,240 bytes.",
            "content": {"application/json": {"schema": _AT_THE_GATEWAY}},
        }
    }
    _link(operations, merged["components"]["schemas"])
    return merged


def _link(operations: dict[str, dict[str, Any]], schemas: dict[str, Any]) -> None:
    """Say which answer leads to which request (OpenAPI 3.1, Link Object)."""

    def add(source: str, target: str, link: dict[str, Any]) -> None:
        name = operations[target]["operationId"]
        taken = re.findall(r"\$response\.body#/(\w+)", json.dumps(link))
        for status, answer in operations[source]["responses"].items():
            kind = (
                answer.get("content", {})
                .get("application/json", {})
                .get("schema", {})
                .get("$ref", "")
                .rpartition("/")[2]
            )
            if status < "300" and schemas.get(kind, {}).get("properties", {}).keys() >= set(taken):
                answer.setdefault("links", {})[name] = {"operationId": name, **link}

    for source, named in _NAMED.items():
        known = {name: f"$request.path.{name}" for name in _PARAMETER.findall(source)} | named
        for target in operations:
            taken = set(_PARAMETER.findall(target))
            if taken & named.keys() and taken <= known.keys():
                add(source, target, {"parameters": {name: known[name] for name in sorted(taken)}})
    for (source, target), body in _HANDED_ON.items():
        add(source, target, {"requestBody": body})


def text() -> str:
    """The same as it is kept in the file."""
    return json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(text(), encoding="utf-8")
