"""Server tokens and verdicts: what we sign, and what we accept back (api.md, "Server"; RFC 7519, RFC 8725)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt

from licensing.errors import InvalidToken
from licensing.key_ring import KeyRing
from licensing.rules.guards import Verdict
from licensing.rules.vendor import Vendor
from licensing.signing import unverified_header

AUDIENCE = "licensing"
_SERVER_TYP = "server+jwt"
_VERDICT_TYP = "verdict+jwt"
_REQUIRED = ("exp", "iat", "iss", "aud", "sub", "jti", "cus", "gen", "seq", "nonce", "fp")
#: A verdict is accepted while it is fresh; what it says holds until the next success.
_VERDICT_LIFE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ServerToken:
    """What a server token that we signed says; ``expired`` ones are good for coming back only."""

    text: str
    installation_id: str
    customer_id: str
    gen: int
    seq: int
    jkt: str | None
    fingerprint: Mapping[str, str]
    #: Epoch seconds.
    expires_at: int


@dataclass(frozen=True, slots=True)
class Grant:
    """All that goes into a server token."""

    installation_id: str
    customer_id: str
    gen: int
    seq: int
    issued_at: datetime
    validate_before: datetime
    next_validation_at: datetime
    nonce: str
    jkt: str | None
    fingerprint: Mapping[str, str]
    mode: str
    time_zone: str
    entitlements: list[dict[str, Any]]


def server_token(ring: KeyRing, issuer: str, grant: Grant, vendor: Vendor, now: datetime) -> str:
    """The signed server token. Equal grants say the same, down to ``jti``: it is made of installation, gen and seq."""
    issued = int(grant.issued_at.timestamp())
    claims = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": grant.installation_id,
        "cus": grant.customer_id,
        "gen": grant.gen,
        "seq": grant.seq,
        "jti": jti(grant.installation_id, grant.gen, grant.seq),
        "iat": issued,
        "nbf": issued,
        "exp": int(grant.validate_before.timestamp()),
        "nonce": grant.nonce,
        "fp": dict(grant.fingerprint),
        "mode": grant.mode,
        "tz": grant.time_zone,
        "nxt": int(grant.next_validation_at.timestamp()),
        "min": {"agent_version": vendor.agent.lowest, "app_version": vendor.lowest_app_version},
        "ent": grant.entitlements,
    }
    if grant.jkt:
        claims["cnf"] = {"jkt": grant.jkt}
    return ring.sign("server", _SERVER_TYP, claims, now)


def verdict(ring: KeyRing, issuer: str, token: ServerToken, nonce: str, no: Verdict, now: datetime) -> str:
    """The signed "no", bound to the request by its nonce and to the server's place in its sequence."""
    issued = int(now.timestamp())
    claims = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": token.installation_id,
        "cus": token.customer_id,
        "gen": token.gen,
        "seq": token.seq,
        "jti": f"{jti(token.installation_id, token.gen, token.seq)}.{nonce}",
        "iat": issued,
        "nbf": issued,
        "exp": issued + int(_VERDICT_LIFE.total_seconds()),
        "nonce": nonce,
        "code": no.code,
        "final": no.final,
    }
    return ring.sign("server", _VERDICT_TYP, claims, now)


def jti(installation_id: str, gen: int, seq: int) -> str:
    """The name of what an installation was given at this place of its sequence."""
    return f"{installation_id}.{gen}.{seq}"


def typ_of(text: str) -> str | None:
    """What a token says it is, unverified: only good for choosing who verifies it."""
    try:
        return str(unverified_header(text).get("typ"))
    except (jwt.PyJWTError, ValueError):
        return None


def read_server_token(ring: KeyRing, issuer: str, text: str, now: datetime) -> ServerToken:
    """Verify a server token: algorithm, key, type, issuer, audience, claims. Its end is not looked at, since an expired token
    is what a blocked server comes back with (api.md).

    Raises InvalidToken for every fault alike, and TemporarilyUnavailable when the keys can't be read.
    """
    try:
        header = unverified_header(text)
        key = ring.verification_key("server", str(header.get("kid")), now)
        if key is None or header.get("typ") != _SERVER_TYP or header.get("alg") != "ES256":
            raise InvalidToken
        claims = jwt.decode(
            text,
            key,
            algorithms=["ES256"],
            audience=AUDIENCE,
            issuer=issuer,
            # Time is ours to judge, by the deployment's clock.
            options={
                "require": list(_REQUIRED), "strict_aud": True,
                "verify_exp": False, "verify_iat": False, "verify_nbf": False,
            },
        )  # fmt: skip
        confirmation = claims.get("cnf")
        return ServerToken(
            text=text,
            installation_id=claims["sub"],
            customer_id=claims["cus"],
            gen=int(claims["gen"]),
            seq=int(claims["seq"]),
            jkt=confirmation["jkt"] if confirmation else None,
            fingerprint=dict(claims["fp"]),
            expires_at=int(claims["exp"]),
        )
    except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
        raise InvalidToken from error
