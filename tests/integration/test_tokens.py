"""What the cloud accepts as a server: RFC 8725's attacks, and proofs of possession (F10; RFC 9449). One test each."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import boto3
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws as joserfc_jws
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey
from licensing.key_ring import ring
from licensing.store import key_sets

from infra.operator import keys
from tests.support.cloud import Cloud, Server, b64, new_nonce, problem


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def refused(server: Server, token: str) -> None:
    """Refused with a proof that fits the forged token, so that it is the token that is refused."""
    server.token = token
    assert problem(server.validate()) == (401, "INVALID_TOKEN")


def resigned(cloud: Cloud, token: str, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> str:
    """The token changed, with a true signature by the deployment's own key: a token of ours, made for another use."""
    header, claims = parts(token)
    change(header, claims)
    typ = header.pop("typ")
    return ring.sign("server", typ, claims, cloud.now)


def test_algorithm_none(server: Server) -> None:
    _, claims = parts(server.token)
    refused(server, jwt.encode(claims, None, "none", {"typ": "server+jwt", "kid": parts(server.token)[0]["kid"]}))


def test_algorithm_none_with_the_old_signature(server: Server) -> None:
    header, claims = parts(server.token)
    text = ".".join(b64(json.dumps(part).encode()) for part in ({**header, "alg": "none"}, claims))
    refused(server, f"{text}.{server.token.rpartition('.')[2]}")


def test_hs256_with_the_public_key_as_secret(cloud: Cloud, server: Server) -> None:
    header, claims = parts(server.token)
    public = ring.verification_key("server", header["kid"], cloud.now)
    assert public
    pem = public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = ".".join(b64(json.dumps(part).encode()) for part in ({**header, "alg": "HS256"}, claims))
    refused(server, f"{text}.{b64(hmac.new(pem, text.encode(), hashlib.sha256).digest())}")


def test_a_foreign_key_under_our_key_id(server: Server) -> None:
    header, claims = parts(server.token)
    refused(server, jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", header))


@pytest.mark.parametrize("pointer", ["jku", "x5u", "jwk", "x5c"])
def test_a_key_that_the_token_itself_brings_or_points_at(server: Server, pointer: str) -> None:
    _, claims = parts(server.token)
    foreign = ec.generate_private_key(ec.SECP256R1())
    value = server.jwk if pointer == "jwk" else ["AA=="] if pointer == "x5c" else "https://attacker.example/keys"
    refused(server, jwt.encode(claims, foreign, "ES256", {"typ": "server+jwt", "kid": "attacker", pointer: value}))


@pytest.mark.parametrize("typ", ["verdict+jwt", "seat+jwt", "JWT", ""])
def test_another_type_of_token(cloud: Cloud, server: Server, typ: str) -> None:
    refused(server, resigned(cloud, server.token, lambda header, claims: header.update(typ=typ)))


@pytest.mark.parametrize(("claim", "value"), [("aud", "seats"), ("iss", "https://other.example")])
def test_another_audience_or_issuer(cloud: Cloud, server: Server, claim: str, value: str) -> None:
    refused(server, resigned(cloud, server.token, lambda header, claims: claims.update({claim: value})))


@pytest.mark.parametrize("claim", ["exp", "iat", "iss", "aud", "sub", "jti", "cus", "gen", "seq", "nonce", "fp"])
def test_a_stripped_claim(cloud: Cloud, server: Server, claim: str) -> None:
    refused(server, resigned(cloud, server.token, lambda header, claims: claims.pop(claim) and None))


def test_a_tampered_token(server: Server) -> None:
    head, payload, signature = server.token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["ent"][0]["quantity"] = 10_000
    refused(server, f"{head}.{b64(json.dumps(claims).encode())}.{signature}")


@pytest.mark.parametrize("text", ["x", "a.b.c", "Bearer", "." * 50, "eyJhbGciOiJFUzI1NiJ9..", "A" * 5000])
def test_what_is_no_token_at_all(cloud: Cloud, server: Server, text: str) -> None:
    headers = {"authorization": f"Bearer {text}".encode().decode("latin-1")}
    assert problem(cloud.post("/v1/validations", server.body(), **headers)) == (401, "INVALID_TOKEN")


def test_no_token(cloud: Cloud, server: Server) -> None:
    assert problem(cloud.post("/v1/validations", server.body())) == (401, "INVALID_TOKEN")


# ── proofs ──


def validate_with_proof(server: Server, proof: str | None, body: dict[str, Any] | None = None) -> tuple[int, str]:
    content = json.dumps(body or server.body()).encode()
    headers = {"authorization": f"Bearer {server.token}"} | ({"dpop": proof} if proof else {})
    return problem(server.cloud.post("/v1/validations", content, **headers))


def test_a_stolen_token_without_its_key_is_worth_nothing(server: Server) -> None:
    thief = Server(server.cloud, token=server.token)
    assert problem(thief.validate()) == (401, "INVALID_PROOF")
    assert problem(thief.deactivate()) == (401, "INVALID_PROOF")
    assert validate_with_proof(server, None) == (401, "INVALID_PROOF")


@pytest.mark.parametrize(
    "claims",
    [
        {"htm": "GET"},
        {"htu": "http://127.0.0.1:1/v1/validations"},
        {"htu": "https://attacker.example/v1/validations"},
        {"ath": "A" * 43},
        {"ath": None},
        {"bh": "A" * 43},
        {"bh": 7},
        {"iat": "now"},
        {"iat": 1e300},
        {"iat": 10**400},
        {"iat": True},
        {"iat": -1},
        {"htu": ["x"]},
        {"htu": "http://[::1"},
    ],
    ids=str,
)
def test_a_proof_that_does_not_fit(server: Server, claims: dict[str, Any]) -> None:
    body = server.body()
    proof = server.proof("/v1/validations", json.dumps(body).encode(), **claims)
    assert validate_with_proof(server, proof, body) == (401, "INVALID_PROOF")


def test_a_proof_for_another_body(server: Server) -> None:
    proof = server.proof("/v1/validations", json.dumps(server.body()).encode())
    assert validate_with_proof(server, proof) == (401, "INVALID_PROOF")


@pytest.mark.parametrize("claim", ["jti", "htm", "htu", "iat", "bh"])
def test_a_proof_without_a_claim(server: Server, claim: str) -> None:
    body = server.body()
    made = jwt.decode(server.proof("/v1/validations", json.dumps(body).encode()), options={"verify_signature": False})
    del made[claim]
    assert server.key
    proof = jwt.encode(made, server.key, "ES256", {"typ": "dpop+jwt", "jwk": server.jwk})
    assert validate_with_proof(server, proof, body) == (401, "INVALID_PROOF")


@pytest.mark.parametrize(
    "header",
    [{"typ": "JWT"}, {"jwk": None}, {"jwk": {"kty": "oct", "k": "AA"}}, {"jwk": {"kty": "EC", "crv": "P-256"}}],
    ids=str,
)
def test_a_proof_with_a_wrong_header(server: Server, header: dict[str, Any]) -> None:
    body = server.body()
    content = json.dumps(body).encode()
    made = jwt.decode(server.proof("/v1/validations", content), options={"verify_signature": False})
    assert server.key
    proof = jwt.encode(made, server.key, "ES256", {"typ": "dpop+jwt", "jwk": server.jwk, **header})
    assert validate_with_proof(server, proof, body) == (401, "INVALID_PROOF")


@pytest.mark.parametrize("seconds", [-310, 310, 86_400 * 400])
def test_a_clock_far_off_is_told_our_time(server: Server, seconds: int) -> None:
    server.proof_seconds = seconds
    response = server.validate()
    assert problem(response) == (401, "CLOCK_SKEWED")
    assert response.json()["server_time"] == f"{server.cloud.now:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize("seconds", [-290, 290])
def test_a_clock_a_little_off_is_good_enough(server: Server, seconds: int) -> None:
    server.proof_seconds = seconds
    assert server.validate().json()["valid"]


# ── by a library that is not PyJWT ──


def test_joserfc_verifies_key_set_token_and_verdict_from_the_root_alone(cloud: Cloud, server: Server) -> None:
    root = ECKey.import_key(cloud.stack.vendor_profile["root_keys"][0])
    signed = joserfc_jws.deserialize_compact(cloud.get("/v1/keyset").text, root, algorithms=["ES256"])
    assert signed.headers()["typ"] == "keys+jwt"
    key_set = json.loads(signed.payload)
    assert key_set["iss"] == cloud.stack.vendor_profile["issuer"]
    offered = {each["kid"]: each for each in key_set["keys"] if each["use"] == "server"}

    def verified(token: str, typ: str) -> dict[str, Any]:
        kid = jwt.get_unverified_header(token)["kid"]
        # `use` says server here, which is ours to say (RFC 7517, section 4.2) and not joserfc's to know.
        key = ECKey.import_key({name: value for name, value in offered[kid].items() if name != "use"})
        decoded = joserfc_jwt.decode(token, key, algorithms=["ES256"])
        assert decoded.header["typ"] == typ
        rules = joserfc_jwt.JWTClaimsRegistry(
            now=lambda: int(cloud.now.timestamp()),
            iss={"essential": True, "value": key_set["iss"]},
            aud={"essential": True, "value": "licensing"},
            exp={"essential": True},
        )
        rules.validate(decoded.claims)
        return decoded.claims

    assert verified(server.token, "server+jwt")["sub"].startswith("ins_")
    verdict = server.validate(agent_version="0.0.1").json()["verdict"]
    assert verified(verdict, "verdict+jwt")["code"] == "AGENT_VERSION_TOO_OLD"


def test_the_jwks_verifies_the_same_tokens(cloud: Cloud, server: Server) -> None:
    jwks = jwt.PyJWKSet.from_dict(cloud.get("/.well-known/jwks.json").json())
    key = jwks[jwt.get_unverified_header(server.token)["kid"]]
    assert jwt.decode(server.token, key, algorithms=["ES256"], audience="licensing", options={"verify_exp": False})


# ── rotation ──


@pytest.fixture
def _rotating(cloud: Cloud) -> Iterator[None]:
    """Puts the key set back, which outlives the demo data."""
    remembered = key_sets.KeySetItem.get("KEYSET", "KEYSET")
    yield
    remembered.save()
    ring.forget()


@pytest.mark.usefixtures("_rotating")
def test_rotation_without_a_gap(cloud: Cloud, server: Server) -> None:
    root = f"kms:{cloud.stack.outputs['RootKeyArn']}"
    old = parts(server.token)[0]["kid"]
    new = keys.publish(root, "server", "kms", cloud.now)
    assert server.validate().json()["valid"]
    assert parts(server.token)[0]["kid"] == old
    cloud.stack.clock.advance(timedelta(hours=2))
    assert new.kid in [each["kid"] for each in cloud.get("/.well-known/jwks.json").json()["keys"]]
    keys.switch(root, new.kid, cloud.now)
    cloud.stack.clock.advance(timedelta(minutes=2))
    before = server.token
    assert server.validate().json()["valid"]  # shows a token by the old key, gets one by the new
    assert parts(server.token)[0]["kid"] == new.kid
    silent = Server(cloud, key=server.key, token=before)
    cloud.stack.clock.advance(timedelta(days=60))
    assert silent.validate().json()["valid"]
    keys.change(root, cloud.now, lambda current: keys.rules.revoke(current, old, cloud.now))
    cloud.stack.clock.advance(timedelta(minutes=2))
    refused(Server(cloud, key=server.key), before)
    assert silent.validate().json()["valid"]


@pytest.mark.usefixtures("_rotating")
def test_the_pem_side_of_the_signer_signs_as_well(cloud: Cloud, server: Server) -> None:
    root = f"kms:{cloud.stack.outputs['RootKeyArn']}"
    key = keys.publish(root, "server", "secret:licensing/signing-keys", cloud.now)
    cloud.stack.clock.advance(timedelta(hours=2))
    keys.switch(root, key.kid, cloud.now)
    cloud.stack.clock.advance(timedelta(minutes=2))
    assert server.validate().json()["valid"]
    assert parts(server.token)[0]["kid"] == key.kid
    assert server.validate(new_nonce()).json()["valid"]


@pytest.mark.usefixtures("_rotating")
def test_a_new_key_is_wherever_the_one_that_signs_is(cloud: Cloud) -> None:
    root, region = f"kms:{cloud.stack.outputs['RootKeyArn']}", "eu-west-3"
    alone = keys.publish(root, "server", "kms", cloud.now)
    assert keys.replicas(alone) == set()
    keys.replicate(region)
    assert keys.replicate(region) == []
    new = keys.publish(root, "server", "kms", cloud.now)
    assert keys.replicas(new) == {region}
    there = boto3.client("kms", region_name=region).get_public_key(KeyId=new.signer.removeprefix("kms:"))
    here = boto3.client("kms").get_public_key(KeyId=new.signer.removeprefix("kms:"))
    assert there["PublicKey"] == here["PublicKey"]


@pytest.mark.usefixtures("_rotating")
def test_a_key_that_the_other_site_could_not_sign_with_is_not_switched_to(cloud: Cloud) -> None:
    root = f"kms:{cloud.stack.outputs['RootKeyArn']}"
    lonely = keys.publish(root, "server", "kms", cloud.now)
    keys.replicate("eu-west-3")
    forgotten = keys.create("server", "kms", cloud.now)
    keys.change(root, cloud.now, lambda current: keys.rules.publish(current, forgotten))
    with pytest.raises(keys.rules.RotationError, match="no replica in eu-west-3"):
        keys.switch(root, forgotten.kid, cloud.now, at_once=True)
    keys.switch(root, lonely.kid, cloud.now, at_once=True)
