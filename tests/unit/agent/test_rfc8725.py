"""The attacks of RFC 8725 on each kind of signed text that the License Manager believes, one test each."""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from license_manager import trust
from license_manager.errors import Untrusted

from tests.support.mangling import b64url, parts, signed
from tests.unit.agent.fake_cloud import Key
from tests.unit.agent.test_parsers import FILE_SIGNER, KINDS, ROOT, SEAT_SIGNER, SIGNER

ATTACKER = Key(ec.derive_private_key(666, ec.SECP256R1()))
EACH = pytest.mark.parametrize("kind", KINDS)
REQUIRED = {
    "key set": ("iss", "iat", "version"),
    "server token": trust.SERVER_TOKEN_CLAIMS,
    "verdict": trust.VERDICT_CLAIMS,
    "license": trust.LICENSE_CLAIMS,
    "lease": trust.LEASE_CLAIMS,
}
WITH_AUDIENCE = [kind for kind in KINDS if "aud" in REQUIRED[kind]]


def refused(kind: str, raw: str, code: str = "INVALID_TOKEN") -> None:
    with pytest.raises(Untrusted) as caught:
        KINDS[kind][0](raw)
    assert caught.value.code == ("KEY_SET_FORGED" if kind == "key set" else code)


def resigned(kind: str, header: dict[str, Any] | None = None, claims: dict[str, Any] | None = None) -> str:
    """By the right key: what is wrong is what is said, and nothing else."""
    _, raw, said, key, _ = KINDS[kind]
    return signed(key.private, {**parts(raw)[0], **(header or {})}, said if claims is None else claims)


@EACH
def test_what_the_right_key_signed_is_believed(kind: str) -> None:
    KINDS[kind][0](resigned(kind))


@EACH
@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
def test_algorithm_none(kind: str, algorithm: str) -> None:
    _, raw, said, _, _ = KINDS[kind]
    content = f"{b64url(json.dumps({**parts(raw)[0], 'alg': algorithm}))}.{b64url(json.dumps(said))}"
    refused(kind, f"{content}.")
    refused(kind, f"{content}.{raw.rpartition('.')[2]}")


@EACH
def test_hs256_with_the_public_key_as_secret(kind: str) -> None:
    _, raw, said, key, _ = KINDS[kind]
    public = key.private.public_key()
    content = f"{b64url(json.dumps({**parts(raw)[0], 'alg': 'HS256'}))}.{b64url(json.dumps(said))}"
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(key.jwk).encode(),
    ):
        refused(kind, f"{content}.{b64url(hmac.digest(secret, content.encode(), sha256))}")


@EACH
def test_wrong_typ(kind: str) -> None:
    others = {each[4] for each in KINDS.values()} - {KINDS[kind][4]}
    for typ in (*others, "JWT", "dpop+jwt", "seat+jwt", "", None, KINDS[kind][4].upper()):
        refused(kind, resigned(kind, {"typ": typ}))


@pytest.mark.parametrize("kind", WITH_AUDIENCE)
def test_wrong_audience(kind: str) -> None:
    claims = KINDS[kind][2]
    for audience in ("seats", "activation-keys", [claims["aud"]], [claims["aud"], "seats"], "", None, 7):
        refused(kind, resigned(kind, claims={**claims, "aud": audience}))


@EACH
def test_wrong_issuer(kind: str) -> None:
    for issuer in ("https://other.example", "", None, ["x"]):
        refused(kind, resigned(kind, claims={**KINDS[kind][2], "iss": issuer}))


@EACH
@pytest.mark.parametrize("kid", ["attacker", "true"])
@pytest.mark.parametrize("pointer", ["jku", "x5u", "jwk", "x5c"])
def test_jku_and_other_keys_that_a_text_brings_or_points_at(kind: str, pointer: str, kid: str) -> None:
    values: dict[str, Any] = {"jwk": ATTACKER.jwk, "x5c": [base64.b64encode(b"certificate").decode()]}
    header = {**parts(KINDS[kind][1])[0], pointer: values.get(pointer, "https://attacker.example/keys")}
    if kid == "attacker":
        header["kid"] = ATTACKER.kid
    refused(
        kind, signed(ATTACKER.private, header, KINDS[kind][2]), "UNKNOWN_KEY" if kid == "attacker" else "INVALID_TOKEN"
    )


@EACH
@pytest.mark.parametrize(
    "extension", [{"exp2": 1, "crit": ["exp2"]}, {"b64": False, "crit": ["b64"]}, {"crit": []}], ids=str
)
def test_crit(kind: str, extension: dict[str, Any]) -> None:
    refused(kind, resigned(kind, extension))


@pytest.mark.parametrize(("kind", "claim"), [(kind, claim) for kind in KINDS for claim in REQUIRED[kind]])
def test_stripped_claims(kind: str, claim: str) -> None:
    refused(kind, resigned(kind, claims={name: value for name, value in KINDS[kind][2].items() if name != claim}))


@EACH
def test_a_foreign_key_under_a_true_key_id(kind: str) -> None:
    refused(kind, signed(ATTACKER.private, parts(KINDS[kind][1])[0], KINDS[kind][2]))


@EACH
def test_a_key_of_another_use(kind: str) -> None:
    for key in (ROOT, SIGNER, FILE_SIGNER, SEAT_SIGNER):
        if key is not KINDS[kind][3]:
            refused(
                kind, signed(key.private, {**parts(KINDS[kind][1])[0], "kid": key.kid}, KINDS[kind][2]), "UNKNOWN_KEY"
            )


@EACH
def test_a_changed_payload_under_the_old_signature(kind: str) -> None:
    head, _, signature = KINDS[kind][1].split(".")
    refused(kind, f"{head}.{b64url(json.dumps({**KINDS[kind][2], 'sub': 'ins_2'}))}.{signature}")
