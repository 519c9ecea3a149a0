"""The key set: which keys sign, which only verify, which are revoked; and rotation without a gap.

The life of a key: *published* (known to everybody, signs nothing yet) → *signing* (one per use) → *verifying* (signs
no more; goes on verifying for at least 400 days, since a server silent for months must be able to come back) → gone.
Keys of the use ``file`` sign licenses without an end, so they go on verifying until they are revoked. *Revoked* keys stay
listed as such for good.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

Use = Literal["server", "file", "key", "seat", "seal"]
Stage = Literal["published", "signing", "verifying", "revoked"]

#: How long a key that stopped signing goes on verifying in the cloud.
VERIFYING_PERIOD = timedelta(days=400)
#: What these signed is read for as long as there is a customer, so their keys go on verifying until they are revoked.
_VERIFYING_FOR_GOOD: frozenset[Use] = frozenset({"file", "seal"})
#: How long a new key is published before it may sign: longer than anybody caches the key set.
PUBLISHED_BEFORE_SIGNING = timedelta(hours=1)


class RotationError(Exception):
    """Raised when a key can't take the step that it is asked to; the message says why."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, the place of its private half (``kms:<key id>`` or ``secret:<name>``), and where it is in its life."""

    kid: str
    use: Use
    jwk: Mapping[str, str]
    signer: str
    stage: Stage
    since: datetime

    def may_verify(self, now: datetime) -> bool:
        """Whether the cloud still accepts what this key signed."""
        if self.stage == "verifying":
            return self.use in _VERIFYING_FOR_GOOD or now - self.since < VERIFYING_PERIOD
        return self.stage == "signing"


@dataclass(frozen=True, slots=True)
class KeySet:
    """All keys of a deployment. ``version`` rises by one with each change; nobody goes back to a lower one."""

    version: int = 0
    keys: tuple[Key, ...] = field(default=())

    def get(self, kid: str) -> Key | None:
        """The key with this id."""
        return next((key for key in self.keys if key.kid == kid), None)

    def signing(self, use: Use) -> Key | None:
        """The one key that signs for a use."""
        return next((key for key in self.keys if key.use == use and key.stage == "signing"), None)

    def payload(self, issuer: str, now: datetime) -> dict[str, Any]:
        """What the root key signs: version, time of issue, every public key, the revoked ones."""
        return {
            "iss": issuer,
            "version": self.version,
            "iat": int(now.timestamp()),
            "keys": [_public(key, use=key.use) for key in self._offered(now)],
            "revoked": [key.kid for key in self.keys if key.stage == "revoked"],
        }

    def jwks(self, now: datetime) -> dict[str, Any]:
        """The same keys as a JWK Set (RFC 7517) for third parties."""
        return {"keys": [_public(key, use="sig") for key in self._offered(now)]}

    def _offered(self, now: datetime) -> Iterable[Key]:
        return (key for key in self.keys if key.stage == "published" or key.may_verify(now))


def _public(key: Key, *, use: str) -> dict[str, str]:
    return {**{name: key.jwk[name] for name in ("kty", "crv", "x", "y")}, "alg": "ES256", "kid": key.kid, "use": use}


def publish(keys: KeySet, key: Key) -> KeySet:
    """Make a new key known. Raises RotationError if its id is known already."""
    if keys.get(key.kid):
        raise RotationError(f"Key {key.kid} is in the key set already.")
    return KeySet(keys.version + 1, (*keys.keys, replace(key, stage="published")))


def switch(keys: KeySet, kid: str, now: datetime, *, at_once: bool = False) -> KeySet:
    """Let a published key sign; the one that signed until now goes on verifying.

    Raises RotationError if the key is not published, or not for long enough that every cached key set has it
    (``at_once`` is for a first key, and for an emergency).
    """
    key = keys.get(kid)
    if key is None or key.stage != "published":
        raise RotationError(f"Key {kid} is not published: publish it first.")
    if not at_once and now - key.since < PUBLISHED_BEFORE_SIGNING:
        ready = key.since + PUBLISHED_BEFORE_SIGNING
        raise RotationError(
            f"Key {kid} is too new: not every cached key set has it yet. Switch from {ready:%H:%M} UTC."
        )
    stages: dict[str, Stage] = {kid: "signing"}
    if current := keys.signing(key.use):
        stages[current.kid] = "verifying"
    return _move(keys, stages, now)


def withdraw(keys: KeySet, kid: str) -> KeySet:
    """Take back a key that was published and never signed. One that signs is stopped by switching to another."""
    key = keys.get(kid)
    if key is None or key.stage != "published":
        raise RotationError(f"Key {kid} is not waiting to sign. To stop the signing key, switch to another.")
    return KeySet(keys.version + 1, tuple(each for each in keys.keys if each.kid != kid))


def revoke(keys: KeySet, kid: str, now: datetime) -> KeySet:
    """Let a key be accepted by nobody any more. Raises RotationError for the only signing key: switch first."""
    key = keys.get(kid)
    if key is None:
        raise RotationError(f"There is no key {kid}.")
    if key.stage == "signing":
        raise RotationError(f"Key {kid} is signing: switch to another first.")
    return _move(keys, {kid: "revoked"}, now)


def _move(keys: KeySet, stages: Mapping[str, Stage], now: datetime) -> KeySet:
    moved = (replace(key, stage=stages[key.kid], since=now) if key.kid in stages else key for key in keys.keys)
    return KeySet(keys.version + 1, tuple(moved))
