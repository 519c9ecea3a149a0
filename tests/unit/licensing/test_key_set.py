"""Rotation without a gap."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from licensing.rules.key_set import Key, KeySet, RotationError, publish, revoke, switch, withdraw

NOW = datetime(2026, 11, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=2)


def key(kid: str, since: datetime = NOW) -> Key:
    jwk = {"kty": "EC", "crv": "P-256", "x": "x", "y": "y"}
    return Key(kid, "server", jwk, f"kms:{kid}", "published", since)


ONE = switch(publish(KeySet(), key("one")), "one", NOW, at_once=True)
TWO = publish(ONE, key("two"))


def kids(keys: KeySet, now: datetime) -> list[str]:
    return [each["kid"] for each in keys.payload("iss", now)["keys"]]


def test_a_key_is_known_before_it_signs() -> None:
    assert kids(TWO, NOW) == ["one", "two"]
    signing = TWO.signing("server")
    assert signing is not None
    assert signing.kid == "one"
    with pytest.raises(RotationError, match="too new"):
        switch(TWO, "two", NOW + timedelta(minutes=5))


def test_the_old_key_goes_on_verifying_for_400_days() -> None:
    rotated = switch(TWO, "two", LATER)
    old, new = rotated.get("one"), rotated.signing("server")
    assert old is not None
    assert new is not None
    assert new.kid == "two"
    assert old.may_verify(LATER + timedelta(days=399))
    assert not old.may_verify(LATER + timedelta(days=400))
    assert kids(rotated, LATER + timedelta(days=399)) == ["one", "two"]
    assert kids(rotated, LATER + timedelta(days=400)) == ["two"]


def test_a_published_key_verifies_nothing_yet() -> None:
    waiting = TWO.get("two")
    assert waiting is not None
    assert not waiting.may_verify(LATER)


def test_each_step_raises_the_version_by_one() -> None:
    assert [KeySet().version, TWO.version, switch(TWO, "two", LATER).version] == [0, 3, 4]


def test_a_revoked_key_is_listed_as_such_and_verifies_nothing() -> None:
    revoked = revoke(switch(TWO, "two", LATER), "one", LATER)
    assert revoked.payload("iss", LATER)["revoked"] == ["one"]
    assert kids(revoked, LATER) == ["two"]
    gone = revoked.get("one")
    assert gone is not None
    assert not gone.may_verify(LATER)


def test_the_signing_key_is_neither_withdrawn_nor_revoked() -> None:
    with pytest.raises(RotationError, match="switch"):
        withdraw(TWO, "one")
    with pytest.raises(RotationError, match="switch"):
        revoke(TWO, "one", NOW)


def test_a_waiting_key_can_be_withdrawn() -> None:
    assert kids(withdraw(TWO, "two"), NOW) == ["one"]


def test_a_key_is_published_once() -> None:
    with pytest.raises(RotationError, match="already"):
        publish(TWO, replace(key("two"), stage="signing"))


def test_the_jwks_has_the_same_keys_in_the_standard_s_words() -> None:
    assert [(each["kid"], each["use"]) for each in TWO.jwks(NOW)["keys"]] == [("one", "sig"), ("two", "sig")]


def test_a_key_that_signed_license_files_verifies_until_it_is_revoked() -> None:
    files = [replace(key(kid), use="file") for kid in ("one", "two")]
    keys = switch(publish(switch(publish(KeySet(), files[0]), "one", NOW, at_once=True), files[1]), "two", LATER)
    years_later = LATER + timedelta(days=4000)
    assert kids(keys, years_later) == ["one", "two"]
    assert kids(revoke(keys, "one", years_later), years_later) == ["two"]
