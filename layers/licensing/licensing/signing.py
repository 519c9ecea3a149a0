"""The ``Signer`` seam: an ECDSA P-256 signature by a key in KMS, or by a PEM key from Secrets Manager.

KMS keeps the private key where nobody reads it and costs by the signature; a PEM key suits large fleets and tests.
"""

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import jwt
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from jwt.utils import der_to_raw_signature

from licensing import deployment
from licensing.errors import TemporarilyUnavailable


class Signer(Protocol):
    """Signs bytes with one private key."""

    def sign(self, message: bytes) -> bytes:
        """The raw signature r || s, 64 bytes (RFC 7518, section 3.4). Raises TemporarilyUnavailable."""
        ...


class PemSigner:
    """A private key at hand."""

    def __init__(self, pem: bytes) -> None:
        key = serialization.load_pem_private_key(pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("the signing key is no P-256 key")
        self._key = key

    def sign(self, message: bytes) -> bytes:
        """See Signer."""
        return der_to_raw_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())), self._key.curve)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The other half."""
        return self._key.public_key()


class KmsSigner:
    """A key that never leaves KMS. The digest is sent, because KMS takes at most 4,096 bytes of a raw message."""

    def __init__(self, key_id: str) -> None:
        self._key_id = key_id
        self._kms = deployment.aws_client("kms")

    def sign(self, message: bytes) -> bytes:
        """See Signer."""
        try:
            der = self._kms.sign(
                KeyId=self._key_id,
                Message=hashlib.sha256(message).digest(),
                MessageType="DIGEST",
                SigningAlgorithm="ECDSA_SHA_256",
            )["Signature"]
        except (ClientError, BotoCoreError) as error:
            raise TemporarilyUnavailable from error
        return der_to_raw_signature(der, ec.SECP256R1())

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The other half."""
        key = serialization.load_der_public_key(self._kms.get_public_key(KeyId=self._key_id)["PublicKey"])
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise ValueError("the KMS key is no P-256 key")
        return key


def signer_for(place: str, kid: str) -> Signer:
    """The signer at a place that the key set names: ``kms:<key id>`` or ``secret:<name of a secret holding kid to PEM>``.

    Names, not ARNs: each site finds its own region's replica by them.
    Raises TemporarilyUnavailable when the secret can't be read, or does not hold the key (yet).
    """
    kind, _, name = place.partition(":")
    if kind == "kms":
        return KmsSigner(name)
    try:
        secret = deployment.aws_client("secretsmanager").get_secret_value(SecretId=name)
        pem = json.loads(secret["SecretString"])[kid]
    except (ClientError, BotoCoreError, KeyError, ValueError) as error:
        raise TemporarilyUnavailable from error
    return PemSigner(pem.encode())


class _Es256(ECAlgorithm):
    """PyJWT's ES256 with the private half behind a Signer."""

    def __init__(self) -> None:
        super().__init__(hashes.SHA256, ec.SECP256R1)

    def prepare_key(self, key: Any) -> Any:
        return key

    def check_key_length(self, key: Any) -> str | None:
        return None

    def sign(self, msg: bytes, key: Signer) -> bytes:  # type: ignore[override]
        return key.sign(msg)


#: Private: PyJWT's own registry of algorithms stays as it is.
_jws = jwt.PyJWS(algorithms=[])
_jws.register_algorithm("ES256", _Es256())


def sign_jws(payload: dict[str, Any], *, typ: str, kid: str, signer: Signer) -> str:
    """A compact JWS (RFC 7515) of a JSON payload, ES256."""
    text = json.dumps(payload, separators=(",", ":")).encode()
    return _jws.encode(text, signer, algorithm="ES256", headers={"typ": typ, "kid": kid})  # type: ignore[arg-type]


def unverified_header(text: str) -> dict[str, Any]:
    """A compact JWS's header, of which nothing is verified yet. Raises jwt.DecodeError.

    The rest is not looked at: a server token is 8 KB, and whoever wants to know more decodes it whole to verify it.
    """
    return jwt.get_unverified_header(f"{text.partition('.')[0]}..")


def read_jws(text: str, *, typ: str, key_of: Callable[[str], jwt.PyJWK | None]) -> dict[str, Any] | None:
    """The JSON payload of a compact JWS, ES256, of this type, by a key that ``key_of`` knows by its id; None for any other."""
    try:
        header = unverified_header(text)
        key = key_of(str(header.get("kid")))
        if key is None or header.get("typ") != typ:
            return None
        payload = json.loads(jwt.PyJWS().decode(text, key, algorithms=["ES256"]))
    except (jwt.PyJWTError, ValueError):
        return None
    return payload if isinstance(payload, dict) else None


@lru_cache(maxsize=256)
def public_key(x: str, y: str) -> jwt.PyJWK:
    """A P-256 key that verifies ES256, by its coordinates; parsed once for those that come again. Raises jwt.PyJWTError."""
    return jwt.PyJWK({"kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES256"})


def jwk_of(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """A public key as a JWK, with its thumbprint (RFC 7638) as ``kid``."""
    jwk: dict[str, str] = ECAlgorithm.to_jwk(key, as_dict=True)
    return {**jwk, "kid": thumbprint(jwk)}


def thumbprint(jwk: dict[str, str]) -> str:
    """The SHA-256 thumbprint of an EC key (RFC 7638)."""
    required = {name: jwk[name] for name in ("crv", "kty", "x", "y")}
    digest = hashlib.sha256(json.dumps(required, separators=(",", ":"), sort_keys=True).encode()).digest()
    return jwt.utils.base64url_encode(digest).decode()
