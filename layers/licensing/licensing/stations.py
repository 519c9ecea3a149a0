"""Stations: who asks for a seat (api.md, "Stations don't hold the server's token").

The License Manager hands each station a *seat token*, signed by the server's own key, so the server's public key that was
registered at its activation is what verifies it. What is known of the server is at most a minute old: a token of a disabled or
released installation is of no use a minute later.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt

from licensing.errors import ClockSkewed, InvalidToken, NotFound, Refused, SilentTooLong
from licensing.rules.entitlements import Standing
from licensing.rules.guards import GUARDS
from licensing.rules.heartbeat import validate_before
from licensing.rules.sequence import ServerState
from licensing.signing import public_key, unverified_header
from licensing.store import servers, standings
from licensing.tokens import ServerToken

AUDIENCE = "seats"
TYP = "seat+jwt"
#: The longest life of a seat token, and how far its clock may be ahead of ours, in seconds.
LONGEST_LIFE, TOLERANCE = 900, 300
_REQUIRED = ["iss", "cus", "aud", "iat", "exp"]
_CACHED = timedelta(minutes=1)
_MOST_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """An installation in whose name a station, or the server itself, asks."""

    customer_id: str
    installation_id: str
    standing: Standing


@dataclass(frozen=True, slots=True)
class _Known:
    state: ServerState
    standing: Standing | None
    read_at: datetime


_known: dict[tuple[str, str], _Known] = {}


def forget() -> None:
    """Look at every server anew at its next request."""
    _known.clear()


def by_seat_token(text: str, now: datetime) -> Caller:
    """The caller that a seat token names.

    Raises:
        InvalidToken: altered, foreign, of another type, or the installation is not held by that server (any more).
        ClockSkewed: all fits, but it has run out or is from the future.
        Refused, SilentTooLong: as for ``by_server_token``.
    """
    try:
        header = unverified_header(text)
        if header.get("typ") != TYP or header.get("alg") != "ES256":
            raise InvalidToken
        named: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
        customer_id, installation_id = named["cus"], named["iss"]
        if not isinstance(customer_id, str) or not isinstance(installation_id, str):
            raise InvalidToken
        # Only what can be one of ours is looked up: anybody can name anything.
        if not customer_id.startswith("cus_") or not installation_id.startswith("ins_") or len(text) > 4096:
            raise InvalidToken
        known = _look(customer_id, installation_id, now)
        if (key := known.state.public_key) is None:
            raise InvalidToken
        claims: dict[str, Any] = jwt.decode(
            text,
            public_key(key["x"], key["y"]),
            algorithms=["ES256"],
            audience=AUDIENCE,
            options={
                "require": _REQUIRED,
                "strict_aud": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
        made, ends = claims["iat"], claims["exp"]
    except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
        raise InvalidToken from error
    if type(made) is not int or type(ends) is not int or not 0 < ends - made <= LONGEST_LIFE:
        raise InvalidToken
    if made > now.timestamp() + TOLERANCE or ends <= now.timestamp():
        raise ClockSkewed(server_time=f"{now:%Y-%m-%dT%H:%M:%SZ}")
    return _caller(known, customer_id, installation_id, now)


def by_server_token(token: ServerToken, now: datetime) -> Caller:
    """The caller that a server token names; here an expired one is of no use.

    Raises InvalidToken, Refused (the installation is disabled, or its customer deleted), SilentTooLong.
    """
    known = _look(token.customer_id, token.installation_id, now)
    if token.expires_at <= now.timestamp():
        raise SilentTooLong
    if token.gen < known.state.gen:
        raise InvalidToken
    return _caller(known, token.customer_id, token.installation_id, now)


def _look(customer_id: str, installation_id: str, now: datetime) -> _Known:
    key = customer_id, installation_id
    known = _known.get(key)
    if known is None or abs(now - known.read_at) >= _CACHED:
        if len(_known) >= _MOST_CACHED:
            _known.clear()
        standing = standings.get(customer_id, installation_id)
        state = servers.get(installation_id)[0] if standing else ServerState()
        known = _known[key] = _Known(state, standing, now)
    return known


def _caller(known: _Known, customer_id: str, installation_id: str, now: datetime) -> Caller:
    state, standing = known.state, known.standing
    if standing is None or not state.held or state.validated_at is None:
        raise InvalidToken
    if standing.disabled:
        raise _refusal("INSTALLATION_DISABLED")
    if standing.customer_deleted:
        raise _refusal("CUSTOMER_DELETED")
    if standing.mode == "online" and now >= validate_before(state.validated_at, state.report.time_zone):
        raise SilentTooLong
    return Caller(customer_id, installation_id, standing)


def _refusal(code: str) -> Refused:
    return Refused(code, next(guard.detail for guard in GUARDS if guard.code == code))


def fresh_standing(caller: Caller) -> Standing:
    """Where the caller's installation stands right now. Raises NotFound where it is gone."""
    standing = standings.get(caller.customer_id, caller.installation_id)
    if standing is None:
        raise NotFound
    return standing
