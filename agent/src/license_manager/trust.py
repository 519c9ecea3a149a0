"""What is believed, and why: root key → key set → server token or verdict (F3, RFC 7515, RFC 8725).

TLS is not part of it. Every check names one algorithm and one `typ`; keys come from the key set alone, whatever the
header of a token says about `jku`, `x5u`, `jwk` or `x5c`.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from jwt.algorithms import ECAlgorithm

from .errors import Untrusted
from .texts import texts

ALGORITHM = "ES256"
AUDIENCE = "licensing"
KEY_SET_TYPE = "keys+jwt"
SERVER_TOKEN_TYPE = "server+jwt"  # noqa: S105  (a media type)
VERDICT_TYPE = "verdict+jwt"
LICENSE_TYPE = "license+jwt"
LEASE_TYPE = "seat-lease+jwt"
LEASE_AUDIENCE = "seat-leases"
LONGEST_TOKEN = 1024 * 1024

_COMMON_CLAIMS = ("iss", "aud", "sub", "cus", "gen", "seq", "jti", "iat", "nbf", "exp", "nonce")
SERVER_TOKEN_CLAIMS = (*_COMMON_CLAIMS, "fp", "mode", "tz", "nxt", "ent")
VERDICT_CLAIMS = (*_COMMON_CLAIMS, "code", "final")
LEASE_CLAIMS = ("iss", "aud", "sub", "exp", "ins")
LICENSE_CLAIMS = (*(name for name in _COMMON_CLAIMS if name != "exp"), "cnf", "fp", "mode", "tz", "ent")


@dataclass(frozen=True)
class KeySet:
    """The vendor's keys by `kid`: `keys` may sign server tokens and verdicts, `file_keys` license files, `seat_keys` leases of
    borrowed seats, and none does another's work. `raw` is the JWS they came in."""

    version: int
    keys: Mapping[str, EllipticCurvePublicKey]
    file_keys: Mapping[str, EllipticCurvePublicKey]
    seat_keys: Mapping[str, EllipticCurvePublicKey]
    revoked: frozenset[str]
    raw: str


@dataclass(frozen=True)
class Signed:
    """What server token and verdict have in common. `sequence` is (`gen`, `seq`); times are epoch seconds."""

    raw: str
    installation_id: str
    sequence: tuple[int, int]
    issued_at: int
    expires_at: int
    nonce: str


@dataclass(frozen=True)
class ServerToken(Signed):
    """A verified server token (`typ: server+jwt`)."""

    time_zone: str
    next_validation_at: int
    fingerprint: Mapping[str, str]
    key_thumbprint: str | None
    entitlements: tuple[Mapping[str, Any], ...]
    lowest_agent_version: str | None


@dataclass(frozen=True)
class Verdict(Signed):
    """A verified "no" (`typ: verdict+jwt`). A final one is in force until the next success (A5)."""

    code: str
    final: bool


@dataclass(frozen=True)
class License:
    """A verified license of a server without a network (`typ: license+jwt`, B9). `expires_at` is None where it has no end;
    `names` are for people: `customer`, `tax_id`, `installation`."""

    raw: str
    claims: Mapping[str, Any]
    installation_id: str
    sequence: tuple[int, int]
    issued_at: int
    expires_at: int | None
    nonce: str
    time_zone: str
    fingerprint: Mapping[str, str]
    key_thumbprint: str | None
    entitlements: tuple[Mapping[str, Any], ...]
    names: Mapping[str, str]


def b64url(content: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """The RFC 7638 thumbprint of an EC key. Raises KeyError when a part is missing."""
    canonical = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    return b64url(sha256(json.dumps(canonical, separators=(",", ":")).encode()).digest())


def public_key(jwk: Mapping[str, Any]) -> EllipticCurvePublicKey:
    """A P-256 public key from its JWK. Raises Untrusted for every other kind of key."""
    if jwk.get("kty") != "EC" or jwk.get("crv") != "P-256" or "d" in jwk or jwk.get("alg", ALGORITHM) != ALGORITHM:
        raise Untrusted("KEY_SET_INVALID", texts.KEY_NOT_USABLE)
    try:
        key = ECAlgorithm.from_jwk({name: jwk[name] for name in ("kty", "crv", "x", "y")})
    except (KeyError, TypeError, ValueError, jwt.InvalidKeyError) as error:
        raise Untrusted("KEY_SET_INVALID", texts.KEY_NOT_USABLE) from error
    if not isinstance(key, EllipticCurvePublicKey):
        raise Untrusted("KEY_SET_INVALID", texts.KEY_NOT_USABLE)
    return key


def _by_kid(jwks: Iterable[Mapping[str, Any]]) -> dict[str, EllipticCurvePublicKey]:
    """Keys by `kid`, where the thumbprint stands for a `kid` that is left out."""
    keys = {}
    for jwk in jwks:
        key = public_key(jwk)
        kid = jwk.get("kid") or thumbprint(jwk)
        if not isinstance(kid, str):
            raise Untrusted("KEY_SET_INVALID", texts.KEY_NOT_USABLE)
        keys[kid] = key
    return keys


def read_key_set(raw: str, root_keys: Sequence[Mapping[str, Any]], issuer: str) -> KeySet:
    """Verifies a key set against the pinned root keys. Raises Untrusted (`KEY_SET_FORGED` if no root signed it)."""
    try:
        claims = _open(
            raw, _by_kid(root_keys), typ=KEY_SET_TYPE, issuer=issuer, audience=None, required=("iss", "iat", "version")
        )
    except Untrusted as error:
        raise Untrusted("KEY_SET_FORGED", texts.KEY_SET_FORGED) from error
    version, keys, revoked = claims["version"], claims.get("keys"), claims.get("revoked", [])
    if not _is_whole(version) or not isinstance(keys, list) or not isinstance(revoked, list):
        raise Untrusted("KEY_SET_INVALID", texts.KEY_SET_INVALID)
    usable = [key for key in keys if isinstance(key, dict)]
    return KeySet(
        version,
        _by_kid(key for key in usable if key.get("use") == "server"),
        _by_kid(key for key in usable if key.get("use") == "file"),
        _by_kid(key for key in usable if key.get("use") == "seat"),
        frozenset(kid for kid in revoked if isinstance(kid, str)),
        raw,
    )


def read_server_token(raw: str, key_set: KeySet, issuer: str) -> ServerToken:
    """Verifies a server token's signature and shape. Whether it has run out is for the caller, who knows the time."""
    claims = _open_by(key_set, key_set.keys, raw, typ=SERVER_TOKEN_TYPE, issuer=issuer, required=SERVER_TOKEN_CLAIMS)
    fingerprint, entitlements, confirmation = claims["fp"], claims["ent"], claims.get("cnf")
    lowest = claims.get("min") or {}
    if (
        not isinstance(fingerprint, dict)
        or not isinstance(entitlements, list)
        or not all(isinstance(entitlement, dict) for entitlement in entitlements)
        or not isinstance(claims["tz"], str)
        or not _is_whole(claims["nxt"])
        or not isinstance(confirmation, dict | None)
        or not isinstance(lowest, dict)
    ):
        raise Untrusted("INVALID_TOKEN", texts.TOKEN_INVALID)
    return ServerToken(
        **_common(raw, claims),
        time_zone=claims["tz"],
        next_validation_at=claims["nxt"],
        fingerprint=fingerprint,
        key_thumbprint=confirmation.get("jkt") if confirmation else None,
        entitlements=tuple(entitlements),
        lowest_agent_version=lowest.get("agent_version"),
    )


def read_verdict(raw: str, key_set: KeySet, issuer: str) -> Verdict:
    """Verifies a verdict's signature and shape."""
    claims = _open_by(key_set, key_set.keys, raw, typ=VERDICT_TYPE, issuer=issuer, required=VERDICT_CLAIMS)
    if not isinstance(claims["code"], str) or not isinstance(claims["final"], bool):
        raise Untrusted("INVALID_TOKEN", texts.TOKEN_INVALID)
    return Verdict(**_common(raw, claims), code=claims["code"], final=claims["final"])


def read_license(raw: str, key_set: KeySet, issuer: str) -> License:
    """Verifies the license of a server without a network. Whether it has ended is for the caller, who knows the time."""
    claims = _open_by(key_set, key_set.file_keys, raw, typ=LICENSE_TYPE, issuer=issuer, required=LICENSE_CLAIMS)
    fingerprint, entitlements, confirmation = claims["fp"], claims["ent"], claims["cnf"]
    names = claims.get("names", {})
    if (
        not isinstance(fingerprint, dict)
        or not isinstance(entitlements, list)
        or not all(isinstance(entitlement, dict) for entitlement in entitlements)
        or not isinstance(confirmation, dict)
        or not isinstance(claims["tz"], str)
        or claims["mode"] != "offline"
        or not isinstance(names, dict)
        or not all(isinstance(name, str) for name in names.values())
    ):
        raise Untrusted("INVALID_TOKEN", texts.TOKEN_INVALID)
    common = _common(raw, {"exp": 0, **claims})
    return License(
        **{**common, "expires_at": claims.get("exp")},
        claims=claims,
        time_zone=claims["tz"],
        fingerprint=fingerprint,
        key_thumbprint=confirmation.get("jkt"),
        entitlements=tuple(entitlements),
        names=names,
    )


def read_lease(raw: str, key_set: KeySet, issuer: str) -> tuple[str, int]:
    """The installation for which a seat was borrowed, and until when (epoch seconds), by its signed lease.

    Whether it is over is for the caller, who knows the time.
    """
    claims = _open_by(
        key_set, key_set.seat_keys, raw, typ=LEASE_TYPE, issuer=issuer, required=LEASE_CLAIMS, audience=LEASE_AUDIENCE
    )
    if not isinstance(claims["ins"], str) or not _is_whole(claims["exp"]):
        raise Untrusted("INVALID_TOKEN", texts.TOKEN_INVALID)
    return claims["ins"], claims["exp"]


def kid_of(raw: str) -> str | None:
    """The `kid` a token claims, not verified: only good for asking whether the key set is too old to know it."""
    try:
        kid = jwt.get_unverified_header(raw).get("kid")
    except (jwt.InvalidTokenError, ValueError):  # the latter for half of a pair of characters, which JSON lets through
        return None
    return kid if isinstance(kid, str) else None


def peek(raw: str) -> dict[str, Any]:
    """What a token claims, not verified; empty for what is no token."""
    try:
        payload = raw.split(".")[1]
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def peek_installation(raw: str) -> str | None:
    """The `sub` a token claims, not verified: for showing only."""
    subject = peek(raw).get("sub")
    return subject if isinstance(subject, str) else None


def _open_by(
    key_set: KeySet,
    keys: Mapping[str, EllipticCurvePublicKey],
    raw: str,
    *,
    typ: str,
    issuer: str,
    required: Sequence[str],
    audience: str = AUDIENCE,
) -> dict[str, Any]:
    if kid_of(raw) in key_set.revoked:
        raise Untrusted("KEY_REVOKED", texts.KEY_REVOKED)
    return _open(raw, keys, typ=typ, issuer=issuer, audience=audience, required=required)


def _open(
    raw: str,
    keys: Mapping[str, EllipticCurvePublicKey],
    *,
    typ: str,
    issuer: str,
    audience: str | None,
    required: Sequence[str],
) -> dict[str, Any]:
    """The claims of a JWS that one of these keys signed, for this purpose (RFC 8725, sections 3.1–3.11)."""
    if not isinstance(raw, str) or len(raw) > LONGEST_TOKEN:
        raise Untrusted("INVALID_TOKEN", texts.TOKEN_INVALID)
    try:
        header = jwt.get_unverified_header(raw)
        if header.get("alg") != ALGORITHM or header.get("typ") != typ or "crit" in header or "b64" in header:
            raise Untrusted("INVALID_TOKEN", texts.TOKEN_INVALID)
        key = keys.get(str(header.get("kid")))
        if key is None:
            raise Untrusted("UNKNOWN_KEY", texts.UNKNOWN_KEY)
        # Time is judged by the caller: the wall clock of this machine may be wrong, and the nonce tells freshness.
        return jwt.decode(
            raw,
            key,
            algorithms=[ALGORITHM],
            issuer=issuer,
            audience=audience,
            options={
                "require": list(required),
                "strict_aud": audience is not None,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
        raise Untrusted("INVALID_TOKEN", texts.TOKEN_INVALID) from error


def _common(raw: str, claims: Mapping[str, Any]) -> dict[str, Any]:
    whole = [claims[name] for name in ("gen", "seq", "iat", "nbf", "exp")]
    if not all(_is_whole(number) for number in whole) or not all(
        isinstance(claims[name], str) for name in ("sub", "cus", "nonce", "jti")
    ):
        raise Untrusted("INVALID_TOKEN", texts.TOKEN_INVALID)
    return {
        "raw": raw,
        "installation_id": claims["sub"],
        "sequence": (claims["gen"], claims["seq"]),
        "issued_at": claims["iat"],
        "expires_at": claims["exp"],
        "nonce": claims["nonce"],
    }


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
