"""Proof of possession (F10): a DPoP proof (RFC 9449) with one claim more, ``bh``, the hash of the body.

A stolen token is worth nothing without the key that only its server has.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import jwt
from jwt.utils import base64url_encode

from licensing.errors import ClockSkewed, InvalidProof
from licensing.signing import public_key, thumbprint, unverified_header

#: How far (seconds) the time of a proof may be from ours.
TOLERANCE = 300
_MEMBERS = {"kty", "crv", "x", "y"}


@dataclass(frozen=True, slots=True)
class Request:
    """The request that a proof is to fit. ``url`` is as the client sees it."""

    method: str
    url: str
    body: bytes


def verify(
    proof: str | None, request: Request, *, now: datetime, jkt: str | None = None, token: str | None = None
) -> dict[str, str]:
    """Check a proof against its request, and return the public key (JWK) that made it.

    ``jkt`` is the thumbprint that the token is bound to; at activation there is neither token nor thumbprint yet.

    Raises:
        InvalidProof: there is none, or something in it does not fit.
        ClockSkewed: all fits, but it was made more than ``TOLERANCE`` seconds from ``now``.
    """
    if not proof:
        raise InvalidProof
    try:
        header = unverified_header(proof)
        jwk = _public_jwk(header)
        claims: dict[str, Any] = jwt.decode(
            proof,
            public_key(jwk["x"], jwk["y"]),
            algorithms=["ES256"],
            options={
                "require": ["jti", "htm", "htu", "iat", "bh"],
                "verify_iat": False, "verify_exp": False, "verify_nbf": False, "verify_aud": False,
            },
        )  # fmt: skip
        made_at = claims["iat"]
        if type(made_at) is not int or not 0 <= made_at < 2**40:
            raise InvalidProof
        fits = (
            claims["htm"] == request.method
            and _same_place(str(claims["htu"]), request.url)
            and _equal(claims["bh"], request.body)
            and (token is None or _equal(claims.get("ath"), token.encode()))
            and (jkt is None or hmac.compare_digest(thumbprint(jwk), jkt))
        )
    except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
        raise InvalidProof from error
    if not fits:
        raise InvalidProof
    if abs(now.timestamp() - made_at) > TOLERANCE:
        raise ClockSkewed(server_time=f"{now:%Y-%m-%dT%H:%M:%SZ}")
    return jwk


def _public_jwk(header: Mapping[str, Any]) -> dict[str, str]:
    jwk = header.get("jwk")
    if header.get("typ") != "dpop+jwt" or header.get("alg") != "ES256" or not isinstance(jwk, dict):
        raise InvalidProof
    # A proof that shows a private key was not made by our License Manager; nothing else belongs there either.
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or "d" in jwk:
        raise InvalidProof
    return {name: str(jwk[name]) for name in sorted(_MEMBERS)}


def _equal(claim: object, data: bytes) -> bool:
    digest = base64url_encode(hashlib.sha256(data).digest()).decode()
    return isinstance(claim, str) and claim.isascii() and hmac.compare_digest(claim, digest)


def _same_place(claimed: str, actual: str) -> bool:
    """Compare scheme, host and path (RFC 9449, section 4.3); a default port may be left out."""

    def place(url: str) -> tuple[str, str | None, int | None, str]:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme), parts.path

    return place(claimed) == place(actual)
