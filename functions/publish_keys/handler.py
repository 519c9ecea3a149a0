"""GET /v1/keyset and GET /.well-known/jwks.json: the keys that everything hangs on (F3)."""

import json

from aws_lambda_powertools.event_handler import Response
from licensing import deployment
from licensing.errors import TemporarilyUnavailable
from licensing.http.api import api, entry, problems
from licensing.key_ring import ring

app = api()

#: Shorter than a key is published before it signs.
_CACHE = "public, max-age=300"


@app.get(
    "/v1/keyset",
    summary="The key set, signed by the root key",
    tags=["Anyone"],
    responses={
        200: {
            "description": "A compact JWS (`typ: keys+jwt`) by the root key: version, time of issue, public keys, revoked ones.",
            "content": {"application/jose": {"schema": {"type": "string"}}},
        },
        **problems(TemporarilyUnavailable),
    },
)
def keyset() -> Response[str]:
    """What License Managers pin the root for: an answer forged behind an installed CA does not verify."""
    signed = ring.current(deployment.now())
    return Response(200, "application/jose", signed.jws, {"Cache-Control": _CACHE})


@app.get(
    "/.well-known/jwks.json",
    summary="The same keys as a JWK Set (RFC 7517)",
    tags=["Anyone"],
    responses={
        200: {
            "description": "A JWK Set for third parties that verify our tokens.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        **problems(TemporarilyUnavailable),
    },
)
def jwks() -> Response[str]:
    """For verifying with any JOSE library; it is not signed, so pin the root and use the key set where it matters."""
    now = deployment.now()
    keys = ring.current(now).key_set.jwks(now)
    return Response(200, "application/json", json.dumps(keys), {"Cache-Control": _CACHE})


handler = entry(app)
