"""The keys in use: read from the key set, cached for a minute, and put to work."""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from jwt import PyJWK

from licensing.errors import TemporarilyUnavailable
from licensing.rules.key_set import Use
from licensing.signing import public_key, read_jws, sign_jws, signer_for
from licensing.store import key_sets

#: Much less than a key is published before it signs, so that nobody meets a signature by a key not yet known.
_CACHED = timedelta(minutes=1)
#: An unknown key id makes us look again, but not more often than this: anybody can make up key ids.
_LOOK_AGAIN = timedelta(seconds=5)

_signer_at = lru_cache(maxsize=8)(signer_for)


class KeyRing:
    """The key set of this deployment, as this process last read it."""

    def __init__(self) -> None:
        self._signed: key_sets.SignedKeySet | None = None
        self._read_at: datetime | None = None

    def current(self, now: datetime, at_most: timedelta = _CACHED) -> key_sets.SignedKeySet:
        """The key set, at most so old. Raises TemporarilyUnavailable before the first key set was made."""
        if self._signed is None or self._read_at is None or abs(now - self._read_at) > at_most:
            self._signed, self._read_at = key_sets.get(), now
        if self._signed is None:
            raise TemporarilyUnavailable
        return self._signed

    def sign(self, use: Use, typ: str, claims: dict[str, Any], now: datetime) -> str:
        """Claims signed by the key that signs for this use. Raises TemporarilyUnavailable when it can't be had."""
        key = self.current(now).key_set.signing(use)
        if key is None:
            raise TemporarilyUnavailable
        return sign_jws(claims, typ=typ, kid=key.kid, signer=_signer_at(key.signer, key.kid))

    def verification_key(self, use: Use, kid: str, now: datetime) -> PyJWK | None:
        """The public key with this id, if it may still verify for this use."""
        key = self.current(now).key_set.get(kid) or self.current(now, _LOOK_AGAIN).key_set.get(kid)
        if key is None or key.use != use or not key.may_verify(now):
            return None
        return public_key(key.jwk["x"], key.jwk["y"])

    def read(self, use: Use, typ: str, text: str, now: datetime) -> dict[str, Any] | None:
        """What was signed for a use, if a key that may still verify did; None for anything else."""
        return read_jws(text, typ=typ, key_of=lambda kid: self.verification_key(use, kid, now))

    def forget(self) -> None:
        """Read the key set, and the signers, anew at the next use."""
        self._signed = self._read_at = None
        _signer_at.cache_clear()


#: One for the process: what it holds is public, and the same for every caller.
ring = KeyRing()
