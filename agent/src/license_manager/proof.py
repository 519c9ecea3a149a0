"""The key pair of this server and the proofs it makes with it (F10, RFC 9449 with `bh` over the body)."""

from __future__ import annotations

import json
import secrets
from hashlib import sha256
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from .trust import ALGORITHM, b64url, thumbprint

PROOF_TYPE = "dpop+jwt"


def new_nonce() -> str:
    """256 random bits, 43 characters."""
    return secrets.token_urlsafe(32)


def new_private_key() -> str:
    """A new P-256 key pair as PKCS #8 PEM."""
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def public_jwk(private_key: str) -> dict[str, str]:
    """The public half: `kty`, `crv`, `x`, `y` and nothing else. Raises ValueError if the PEM is no P-256 key."""
    loaded = _load(private_key)
    jwk: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(loaded.public_key()))
    return {name: str(jwk[name]) for name in ("kty", "crv", "x", "y")}


def key_thumbprint(private_key: str) -> str:
    """The RFC 7638 thumbprint that a server token is bound to (`cnf.jkt`)."""
    return thumbprint(public_jwk(private_key))


def proof(private_key: str, *, method: str, url: str, body: bytes, token: str | None, now: float) -> str:
    """A proof for one request. `url` is without query; `token` is left out at activation, where there is none yet."""
    claims: dict[str, Any] = {
        "jti": secrets.token_urlsafe(16),
        "htm": method,
        "htu": url,
        "iat": int(now),
        "bh": b64url(sha256(body).digest()),
    }
    if token is not None:
        claims["ath"] = b64url(sha256(token.encode()).digest())
    return sign(private_key, claims, PROOF_TYPE, {"jwk": public_jwk(private_key)})


def sign(private_key: str, claims: dict[str, Any], typ: str, headers: dict[str, Any]) -> str:
    """A compact JWS by this server's key."""
    return jwt.encode(claims, _load(private_key), algorithm=ALGORITHM, headers={"typ": typ, **headers})


def _load(private_key: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(private_key.encode(), None)
    except (TypeError, ValueError) as error:
        raise ValueError("not a private key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a P-256 key")
    return key
