"""The chain from the pinned root, and the attacks of RFC 8725, one test each."""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from license_manager import trust
from license_manager.errors import Untrusted
from license_manager.trust import KeySet, read_key_set, read_server_token, read_verdict

from tests.unit.agent.fake_cloud import ISSUER, FakeCloud, Key, b64url


@pytest.fixture
def claims(cloud: FakeCloud) -> dict[str, Any]:
    server = cloud.servers["ins_1"]
    server.gen, server.jkt, server.fingerprint = 1, "j" * 43, {"mac": "m" * 43}
    return cloud.token_claims(server, "n" * 43)


@pytest.fixture
def key_set(cloud: FakeCloud) -> KeySet:
    return read_key_set(cloud.key_set(), [cloud.root.jwk], ISSUER)


def by_hand(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = [b64url(json.dumps(part).encode()) for part in (header, claims)]
    return ".".join([*parts, b64url(signature)])


def refused(raw: str, key_set: KeySet) -> str:
    with pytest.raises(Untrusted) as caught:
        read_server_token(raw, key_set, ISSUER)
    return caught.value.code


def test_a_token_signed_by_a_key_of_the_set_is_believed(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    token = read_server_token(cloud.signer.sign(claims, "server+jwt"), key_set, ISSUER)
    assert (token.installation_id, token.sequence, token.time_zone) == ("ins_1", (1, 0), "Europe/Rome")


def test_rfc8725_algorithm_none_is_refused(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    for algorithm in ("none", "None", "nOnE"):
        raw = by_hand({"typ": "server+jwt", "alg": algorithm, "kid": cloud.signer.kid}, claims)
        assert refused(raw, key_set) == "INVALID_TOKEN"


def test_rfc8725_hs256_with_the_public_key_is_refused(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    pem = cloud.signer.private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    unsigned = by_hand({"typ": "server+jwt", "alg": "HS256", "kid": cloud.signer.kid}, claims).rpartition(".")[0]
    raw = f"{unsigned}.{b64url(hmac.digest(pem, unsigned.encode(), sha256))}"
    assert refused(raw, key_set) == "INVALID_TOKEN"


def test_rfc8725_wrong_typ_is_refused(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    for typ in ("JWT", "verdict+jwt", "keys+jwt", "dpop+jwt", "seat+jwt"):
        assert refused(cloud.signer.sign(claims, typ), key_set) == "INVALID_TOKEN"


def test_rfc8725_a_verdict_is_no_server_token_and_the_other_way_round(
    cloud: FakeCloud, key_set: KeySet, claims: Any
) -> None:
    with pytest.raises(Untrusted):
        read_verdict(cloud.signer.sign({**claims, "code": "X", "final": True}, "server+jwt"), key_set, ISSUER)


def test_rfc8725_wrong_audience_is_refused(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    for audience in ("seats", ["licensing", "seats"], ["licensing"], None):
        assert refused(cloud.signer.sign({**claims, "aud": audience}, "server+jwt"), key_set) == "INVALID_TOKEN"


def test_rfc8725_wrong_issuer_is_refused(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    raw = cloud.signer.sign({**claims, "iss": "https://other.example"}, "server+jwt")
    assert refused(raw, key_set) == "INVALID_TOKEN"


def test_rfc8725_key_addresses_in_the_header_are_never_followed(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    attacker = Key()
    headers: list[dict[str, Any]] = [
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/chain"},
        {"jwk": attacker.jwk},
        {"x5c": [base64.b64encode(b"certificate").decode()]},
    ]
    for header in headers:
        assert refused(attacker.sign(claims, "server+jwt", **header), key_set) == "UNKNOWN_KEY"
        borrowed = attacker.sign(claims, "server+jwt", **{**header, "kid": cloud.signer.kid})
        assert refused(borrowed, key_set) == "INVALID_TOKEN"


def test_rfc8725_jku_in_an_honest_token_is_ignored(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    raw = cloud.signer.sign(claims, "server+jwt", jku="https://attacker.example/keys")
    assert read_server_token(raw, key_set, ISSUER).installation_id == "ins_1"


def test_rfc8725_critical_headers_are_refused(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    for header in ({"crit": ["exp"], "exp": 1}, {"crit": []}, {"crit": ["b64"], "b64": True}):
        assert refused(cloud.signer.sign(claims, "server+jwt", **header), key_set) == "INVALID_TOKEN"


@pytest.mark.parametrize("name", trust.SERVER_TOKEN_CLAIMS)
def test_rfc8725_stripped_claims_are_refused(name: str, cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    stripped = {key: value for key, value in claims.items() if key != name}
    assert refused(cloud.signer.sign(stripped, "server+jwt"), key_set) == "INVALID_TOKEN"


@pytest.mark.parametrize("name", [name for name in trust.SERVER_TOKEN_CLAIMS if name not in {"fp", "mode"}])
@pytest.mark.parametrize("value", [None, True, -1, 1.5, {"a": []}, [1], 10**30])
def test_claims_of_the_wrong_shape_are_refused(
    name: str, value: Any, cloud: FakeCloud, key_set: KeySet, claims: Any
) -> None:
    assert refused(cloud.signer.sign({**claims, name: value}, "server+jwt"), key_set) == "INVALID_TOKEN"


def test_rfc8725_foreign_key_is_refused(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    assert refused(Key().sign(claims, "server+jwt"), key_set) == "UNKNOWN_KEY"
    assert refused(Key().sign(claims, "server+jwt", kid=cloud.signer.kid), key_set) == "INVALID_TOKEN"


def test_rfc8725_changed_payload_is_refused(cloud: FakeCloud, key_set: KeySet, claims: Any) -> None:
    header, _, signature = cloud.signer.sign(claims, "server+jwt").split(".")
    longer = b64url(json.dumps({**claims, "exp": 4102444800}).encode())
    assert refused(f"{header}.{longer}.{signature}", key_set) == "INVALID_TOKEN"


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
