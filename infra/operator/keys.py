"""The keys of a deployment: making them, and rotating them without a gap (api.md, "Keys that everything hangs on").

The root key signs the key set at each change, and nothing else; no function may use it.
"""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from licensing import deployment
from licensing.rules import key_set as rules
from licensing.rules.key_set import Key, KeySet, Use
from licensing.signing import KmsSigner, PemSigner, jwk_of, sign_jws
from licensing.store import key_sets

#: Functions may sign with keys that carry this tag, and with no others.
USE_TAG = "licensing:use"
KEY_SET_TYP = "keys+jwt"


def root_signer(root: str) -> KmsSigner | PemSigner:
    """The root key at ``kms:<key>`` or ``file:<path of a PEM>``."""
    kind, _, name = root.partition(":")
    if kind == "kms":
        return KmsSigner(name)
    if kind == "file":
        return PemSigner(Path(name).read_bytes())
    raise ValueError("the root is kms:<key> or file:<path>")


def root_jwk(root: str) -> dict[str, str]:
    """The root's public key, to be pinned by License Managers and products."""
    return jwk_of(root_signer(root).public_key())


def create(use: Use, signer: str, now: datetime, replica_region: str | None = None) -> Key:
    """Make a new signing key: ``kms`` in KMS, ``secret:<name>`` as a PEM in a secret of Secrets Manager.

    A key in KMS is a multi-Region key: Site 2 signs with its replica in ``replica_region``, under the same id. A secret
    replicates by itself.
    """
    kind, _, name = signer.partition(":")
    if kind == "kms" and not name:
        key_id = _create_in_kms(use, replica_region)
        place, jwk = f"kms:{key_id}", jwk_of(KmsSigner(key_id).public_key())
    elif kind == "secret" and name and not name.startswith("arn:"):
        private = ec.generate_private_key(ec.SECP256R1())
        place, jwk = signer, jwk_of(private.public_key())
        _add_to_secret(name, jwk["kid"], private)
    else:
        raise ValueError("the signer is kms, or secret:<name>")
    public = {member: jwk[member] for member in ("kty", "crv", "x", "y")}
    return Key(kid=jwk["kid"], use=use, jwk=public, signer=place, stage="published", since=now)


def _create_in_kms(use: Use, replica_region: str | None) -> str:
    kms = boto3.client("kms")
    tags: list[Any] = [{"TagKey": USE_TAG, "TagValue": use}]
    description = f"Cloud Licensing: signs for {use}"
    made = kms.create_key(
        KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", MultiRegion=True, Description=description, Tags=tags
    )
    key_id: str = made["KeyMetadata"]["KeyId"]
    if replica_region:
        kms.replicate_key(KeyId=key_id, ReplicaRegion=replica_region, Description=description, Tags=tags)
    return key_id


def _add_to_secret(secret_id: str, kid: str, private: ec.EllipticCurvePrivateKey) -> None:
    secrets = boto3.client("secretsmanager")
    known: Any = json.loads(secrets.get_secret_value(SecretId=secret_id)["SecretString"])
    if not isinstance(known, dict):
        raise ValueError(f"{secret_id} holds something else than keys; nothing was changed.")
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps({**known, kid: pem.decode()}))


def initialize(root: str, signer: str, now: datetime, replica_region: str | None = None) -> KeySet:
    """Make the first key set: one key that signs server tokens. Raises RotationError if there is a key set already."""
    if key_sets.get() is not None:
        raise rules.RotationError("There is a key set already. Publish a new key, and switch to it.")
    root_jwk(root)  # a root that can't be used is found out before a key is made that nobody knows
    key = create("server", signer, now, replica_region)
    return _sign_and_store(rules.switch(rules.publish(KeySet(), key), key.kid, now, at_once=True), 1, root, now)


def publish(root: str, use: Use, signer: str, now: datetime, replica_region: str | None = None) -> Key:
    """Make a new key and publish it; it signs after ``switch``."""
    root_jwk(root)
    key = create(use, signer, now, replica_region)
    change(root, now, lambda keys: rules.publish(keys, key))
    return key


def change(root: str, now: datetime, step: Callable[[KeySet], KeySet]) -> KeySet:
    """Take a step with the current key set, sign the result by the root, and store it. Raises RotationError."""
    current = key_sets.get()
    if current is None:
        raise rules.RotationError("There is no key set yet. Make one with: cloud-licensing keys init")
    return _sign_and_store(step(current.key_set), current.key_set.version + 1, root, now)


def _sign_and_store(keys: KeySet, version: int, root: str, now: datetime) -> KeySet:
    signer = root_signer(root)
    keys = KeySet(version, keys.keys)
    kid = jwk_of(signer.public_key())["kid"]
    jws = sign_jws(keys.payload(deployment.issuer(), now), typ=KEY_SET_TYP, kid=kid, signer=signer)
    key_sets.put(key_sets.SignedKeySet(keys, jws))
    return keys
