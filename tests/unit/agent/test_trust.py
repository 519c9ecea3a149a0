"""The chain from the pinned root. The attacks of RFC 8725 are in test_rfc8725.py."""

from __future__ import annotations

from typing import Any

import pytest
from license_manager import trust
from license_manager.errors import Untrusted
from license_manager.trust import KeySet, read_key_set, read_server_token, read_verdict

from tests.unit.agent.fake_cloud import ISSUER, FakeCloud, Key


@pytest.fixture
def claims(cloud: FakeCloud) -> dict[str, Any]:
    server = cloud.servers["ins_1"]
    server.gen, server.jkt, server.fingerprint = 1, "j" * 43, {"mac": "m" * 43}
    return cloud.token_claims(server, "n" * 43)


@pytest.fixture
def key_set(cloud: FakeCloud) -> KeySet:
    return read_key_set(cloud.key_set(), [cloud.root.jwk], ISSUER)


def refused(raw: str, key_set: KeySet) -> str:
    with pytest.raises(Untrusted) as caught:
        read_server_token(raw, key_set, ISSUER)
    return caught.value.code


def test_a_token_signed_by_a_key_of_the_set_is_believed(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    token = read_server_token(cloud.signer.sign(claims, "server+jwt"), key_set, ISSUER)
    assert (token.installation_id, token.sequence, token.time_zone) == ("ins_1", (1, 0), "Europe/Rome")


def test_rfc8725_a_verdict_is_no_server_token_and_the_other_way_round(
    cloud: FakeCloud, key_set: KeySet, claims: Any
) -> None:
    with pytest.raises(Untrusted):
        read_verdict(cloud.signer.sign({**claims, "code": "X", "final": True}, "server+jwt"), key_set, ISSUER)


def test_rfc8725_jku_in_an_honest_token_is_ignored(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    raw = cloud.signer.sign(claims, "server+jwt", jku="https://attacker.example/keys")
    assert read_server_token(raw, key_set, ISSUER).installation_id == "ins_1"


@pytest.mark.parametrize("name", [name for name in trust.SERVER_TOKEN_CLAIMS if name not in {"fp", "mode"}])
@pytest.mark.parametrize("value", [None, True, -1, 1.5, {"a": []}, [1], 10**30])
def test_claims_of_the_wrong_shape_are_refused(
    name: str, value: Any, cloud: FakeCloud, key_set: KeySet, claims: Any
) -> None:
    assert refused(cloud.signer.sign({**claims, name: value}, "server+jwt"), key_set) == "INVALID_TOKEN"


@pytest.mark.parametrize("raw", ["", ".", "..", "a.b.c", "…", "e30.e30.", "x" * 2_000_000, "[" * 100_000])
def test_rubbish_is_refused(raw: str, key_set: KeySet) -> None:
    assert refused(raw, key_set) == "INVALID_TOKEN"


def test_the_root_key_signs_key_sets_only(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    assert refused(cloud.root.sign(claims, "server+jwt"), key_set) == "UNKNOWN_KEY"


def test_keys_for_other_uses_sign_no_server_token(cloud: FakeCloud, claims: Any) -> None:
    raw = cloud.key_set(keys=[{**cloud.signer.jwk, "use": "seat"}])
    assert refused(cloud.signer.sign(claims, "server+jwt"), read_key_set(raw, [cloud.root.jwk], ISSUER)) == (
        "UNKNOWN_KEY"
    )


def test_revoked_key_is_refused(cloud: FakeCloud, claims: Any) -> None:
    cloud.revoked = [cloud.signer.kid]
    key_set = read_key_set(cloud.key_set(), [cloud.root.jwk], ISSUER)
    assert refused(cloud.signer.sign(claims, "server+jwt"), key_set) == "KEY_REVOKED"


def test_key_set_of_another_root_is_forged(cloud: FakeCloud) -> None:
    for forged in (cloud.key_set(root=Key()), cloud.root.sign({"iss": ISSUER}, "keys+jwt"), "rubbish"):
        with pytest.raises(Untrusted) as caught:
            read_key_set(forged, [cloud.root.jwk], ISSUER)
        assert caught.value.code == "KEY_SET_FORGED"


def test_key_set_of_another_issuer_is_forged(cloud: FakeCloud) -> None:
    with pytest.raises(Untrusted):
        read_key_set(cloud.key_set(iss="https://other.example"), [cloud.root.jwk], ISSUER)


def test_any_of_several_pinned_roots_may_sign(cloud: FakeCloud) -> None:
    assert read_key_set(cloud.key_set(), [Key().jwk, cloud.root.jwk], ISSUER).version == 1


def test_only_p256_public_keys_are_used(cloud: FakeCloud) -> None:
    for wrong in (
        {"kty": "oct", "k": "c2VjcmV0"},
        {**cloud.signer.jwk, "crv": "P-384"},
        {**cloud.signer.jwk, "d": "AA"},
        {**cloud.signer.jwk, "alg": "ES384"},
        {**cloud.signer.jwk, "x": "AA"},
        {"kty": "EC", "crv": "P-256"},
    ):
        with pytest.raises(Untrusted):
            read_key_set(cloud.key_set(keys=[{**wrong, "use": "server"}]), [cloud.root.jwk], ISSUER)
