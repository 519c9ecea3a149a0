"""The attacks of RFC 8725 on each kind of signed text that the cloud believes, one test each."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from licensing import activation_keys, offline, proofs, signing, stations, tokens
from licensing.errors import (
    InvalidProof,
    InvalidToken,
    KeySignatureInvalid,
    OfflineFileAltered,
    OfflineFileDamaged,
    OfflineFileWrong,
)
from licensing.rules import activation_keys as key_rules

from tests.support.mangling import b64url, parts, signed
from tests.unit.licensing.test_parsers import (
    ISSUER,
    KEY_CLAIMS,
    KEY_TOKEN,
    NOW,
    OFFLINE_CLAIMS,
    OFFLINE_REQUEST,
    PROOF,
    PROOF_CLAIMS,
    REQUEST,
    RING,
    SEAT_CLAIMS,
    SEAT_TOKEN,
    SERVER_JWK,
    SERVER_KEY,
    TOKEN,
    TOKEN_CLAIMS,
    ring,  # noqa: F401  a fixture, for every test here too
)


@dataclass
class Kind:
    """A kind of signed text: how it is read, one of it, who signs it, and which claims it can't do without."""

    read: Callable[[str], Any]
    text: str
    claims: dict[str, Any]
    key: ec.EllipticCurvePrivateKey
    refusals: tuple[type[Exception], ...]
    required: tuple[str, ...] = ()
    audience: bool = False
    issuer: bool = False
    #: Where the header shows the key that signed, as RFC 9449 has it.
    shows_its_key: bool = False


_OFFLINE = (OfflineFileAltered, OfflineFileDamaged, OfflineFileWrong)
_RECEIPT_CLAIMS = {"iss": "ins_1", "gen": 1, "license": "ins_1.1.0", "jti": "r2", "iat": 1795348800}
_SEAL_CLAIMS = {"iss": ISSUER, "sub": "cus_1", "iat": 1795348800, "day": "2026-11-20", "root": "00", "count": 1}


def _receipt(text: str) -> Any:
    compact, _ = offline._unpack(text, offline._RECEIPT_TYP)
    return offline._verified(compact, offline._RECEIPT_TYP, dict(SERVER_JWK))


def _seal(text: str) -> Any:
    if (claims := RING.read("seal", "seal+jwt", text, NOW)) is None:
        raise LookupError
    return claims


KINDS = {
    "server token": Kind(
        lambda text: tokens.read_server_token(RING, ISSUER, text, NOW), TOKEN, TOKEN_CLAIMS, RING.private, (InvalidToken,),
        tokens._REQUIRED, audience=True, issuer=True,
    ),
    "seat token": Kind(
        lambda text: stations.by_seat_token(text, NOW), SEAT_TOKEN, SEAT_CLAIMS, RING.private, (InvalidToken,),
        tuple(stations._REQUIRED), audience=True,
    ),
    "proof": Kind(
        lambda text: proofs.verify(text, REQUEST, now=NOW, jkt=signing.thumbprint(SERVER_JWK)), PROOF, PROOF_CLAIMS, SERVER_KEY,
        (InvalidProof,), ("jti", "htm", "htu", "iat", "bh"), shows_its_key=True,
    ),
    "activation key": Kind(
        lambda text: activation_keys.read(key_rules.wrap(text), NOW), KEY_TOKEN, KEY_CLAIMS, RING.private, (KeySignatureInvalid,),
        key_rules.REQUIRED, audience=True, issuer=True,
    ),
    "offline request": Kind(
        offline.read_request, OFFLINE_REQUEST, OFFLINE_CLAIMS, SERVER_KEY, _OFFLINE,
        ("iat", "jti", "nonce", "fp", "hostname", "tz", "agent_version"), shows_its_key=True,
    ),
    "deactivation receipt": Kind(
        _receipt, signed(SERVER_KEY, {"alg": "ES256", "typ": "deactivation+jwt"}, _RECEIPT_CLAIMS), _RECEIPT_CLAIMS, SERVER_KEY,
        _OFFLINE, ("iat", "jti"),
    ),
    "seal": Kind(_seal, RING.sign("seal", "seal+jwt", _SEAL_CLAIMS, NOW), _SEAL_CLAIMS, RING.private, (LookupError,)),
}  # fmt: skip
ATTACKER = ec.derive_private_key(666, ec.SECP256R1())
TYPES = {parts(kind.text)[0]["typ"] for kind in KINDS.values()}
EACH = pytest.mark.parametrize("name", KINDS)


def refused(kind: Kind, text: str) -> None:
    with pytest.raises(kind.refusals):
        kind.read(text)


def resigned(kind: Kind, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """By the right key: what is wrong is what is said, and nothing else."""
    return signed(kind.key, {**parts(kind.text)[0], **(header or {})}, {**kind.claims, **claims})


@EACH
def test_what_the_right_key_signed_is_believed(name: str) -> None:
    assert KINDS[name].read(resigned(KINDS[name]))


@EACH
@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
def test_algorithm_none(name: str, algorithm: str) -> None:
    kind = KINDS[name]
    content = f"{b64url(json.dumps({**parts(kind.text)[0], 'alg': algorithm}))}.{b64url(json.dumps(kind.claims))}"
    refused(kind, f"{content}.")
    refused(kind, f"{content}.{kind.text.rpartition('.')[2]}")


@EACH
def test_hs256_with_the_public_key_as_secret(name: str) -> None:
    kind = KINDS[name]
    public = kind.key.public_key()
    content = f"{b64url(json.dumps({**parts(kind.text)[0], 'alg': 'HS256'}))}.{b64url(json.dumps(kind.claims))}"
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(signing.jwk_of(public)).encode(),
    ):
        refused(kind, f"{content}.{b64url(hmac.digest(secret, content.encode(), hashlib.sha256))}")


@EACH
def test_wrong_typ(name: str) -> None:
    true = parts(KINDS[name].text)[0]["typ"]
    for typ in (
        *(TYPES - {true}),
        "verdict+jwt",
        "license+jwt",
        "keys+jwt",
        "tombstone+jwt",
        "JWT",
        "",
        None,
        true.upper(),
    ):
        refused(KINDS[name], resigned(KINDS[name], {"typ": typ}))


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.audience])
def test_wrong_audience(name: str) -> None:
    true = KINDS[name].claims["aud"]
    for audience in ("seat-leases", "x", [true], [true, "x"], "", None, 7):
        refused(KINDS[name], resigned(KINDS[name], aud=audience))


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.issuer])
def test_wrong_issuer(name: str) -> None:
    for issuer in ("https://other.example", "", None, [ISSUER]):
        refused(KINDS[name], resigned(KINDS[name], iss=issuer))


@EACH
@pytest.mark.parametrize("kid", ["attacker", "true"])
@pytest.mark.parametrize("pointer", ["jku", "x5u", "jwk", "x5c"])
def test_jku_and_other_keys_that_a_text_brings_or_points_at(name: str, pointer: str, kid: str) -> None:
    kind = KINDS[name]
    attacker = signing.jwk_of(ATTACKER.public_key())
    if kind.shows_its_key and pointer == "jwk":
        return  # the key of whoever asks is shown there; that it is the server's own, `jkt` says, and the license that it gets
    values: dict[str, Any] = {"jwk": attacker, "x5c": [base64.b64encode(b"certificate").decode()]}
    header = {**parts(kind.text)[0], pointer: values.get(pointer, "https://attacker.example/keys")}
    if kid == "attacker":
        header["kid"] = attacker["kid"]
    refused(kind, signed(ATTACKER, header, kind.claims))


def test_a_proof_by_another_key_than_the_token_s() -> None:
    jwk = {name: value for name, value in signing.jwk_of(ATTACKER.public_key()).items() if name != "kid"}
    refused(KINDS["proof"], signed(ATTACKER, {**parts(PROOF)[0], "jwk": jwk}, PROOF_CLAIMS))


@EACH
@pytest.mark.parametrize(
    "extension", [{"exp2": 1, "crit": ["exp2"]}, {"b64": False, "crit": ["b64"]}, {"crit": []}], ids=str
)
def test_crit(name: str, extension: dict[str, Any]) -> None:
    refused(KINDS[name], resigned(KINDS[name], extension))


@pytest.mark.parametrize(("name", "claim"), [(name, claim) for name, kind in KINDS.items() for claim in kind.required])
def test_stripped_claims(name: str, claim: str) -> None:
    kind = KINDS[name]
    left = {said: value for said, value in kind.claims.items() if said != claim}
    refused(kind, signed(kind.key, parts(kind.text)[0], left))


@EACH
def test_a_foreign_key_under_a_true_header(name: str) -> None:
    refused(KINDS[name], signed(ATTACKER, parts(KINDS[name].text)[0], KINDS[name].claims))


@EACH
def test_a_changed_payload_under_the_old_signature(name: str) -> None:
    head, _, signature = KINDS[name].text.split(".")
    refused(KINDS[name], f"{head}.{b64url(json.dumps({**KINDS[name].claims, 'jti': 'x'}))}.{signature}")
