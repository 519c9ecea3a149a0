"""The keys of a deployment: making them, and rotating them without a gap (api.md, "Keys that everything hangs on").

The root key signs the key set at each change, and nothing else; no function may use it.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from licensing import deployment
from licensing.operations import operation, record_in
from licensing.rules import key_set as rules
from licensing.rules.key_set import Key, KeySet, Stage, Use
from licensing.rules.operations import Origin
from licensing.rules.people import VENDOR
from licensing.signing import KmsSigner, PemSigner, jwk_of, sign_jws
from licensing.store import key_sets, seals
from pynamodb.transactions import TransactWrite

#: Functions may sign with keys that carry this tag, and with no others.
USE_TAG = "licensing:use"
#: What the vendor's log calls who keeps the keys, where no name is known.
KEEPER = Origin("vendor", "cloud-licensing")
#: What the log says of a key that came into a stage. One that only verifies from now on was followed by another.
_ACTIONS: Mapping[Stage, str] = {
    "published": "signing_key.published",
    "signing": "signing_key.switched",
    "revoked": "signing_key.revoked",
}
#: The vendor's own log is looked for from so long before its first keys on, not for years.
_BEFORE_THE_KEYS = timedelta(days=30)
KEY_SET_TYP = "keys+jwt"
#: What a deployment signs: server tokens, license files, seals of the operation log, activation keys, borrowed seats. Each has
#: a key of its own.
USES: tuple[Use, ...] = ("server", "file", "seal", "key", "seat")


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


def create(use: Use, signer: str, now: datetime, replica_regions: Iterable[str] = ()) -> Key:
    """Make a new signing key: ``kms`` in KMS, ``secret:<name>`` as a PEM in a secret of Secrets Manager.

    A key in KMS is a multi-Region key: Site 2 signs with its replica, under the same id. A secret replicates by itself.
    """
    kind, _, name = signer.partition(":")
    if kind == "kms" and not name:
        made = boto3.client("kms").create_key(
            KeySpec="ECC_NIST_P256",
            KeyUsage="SIGN_VERIFY",
            MultiRegion=True,
            Description=_description(use),
            Tags=_tags(use),
        )
        key_id = made["KeyMetadata"]["KeyId"]
        place, jwk = f"kms:{key_id}", jwk_of(KmsSigner(key_id).public_key())
    elif kind == "secret" and name and not name.startswith("arn:"):
        private = ec.generate_private_key(ec.SECP256R1())
        place, jwk = signer, jwk_of(private.public_key())
        _add_to_secret(name, jwk["kid"], private)
    else:
        raise ValueError("the signer is kms, or secret:<name>")
    public = {member: jwk[member] for member in ("kty", "crv", "x", "y")}
    key = Key(kid=jwk["kid"], use=use, jwk=public, signer=place, stage="published", since=now)
    for region in replica_regions:
        _replicate(key, region)
    return key


def _description(use: Use) -> str:
    return f"Cloud Licensing: signs for {use}"


def _tags(use: Use) -> list[Any]:
    return [{"TagKey": USE_TAG, "TagValue": use}]


def replicas(key: Key) -> set[str]:
    """The regions that hold a replica of a key in KMS."""
    kind, _, key_id = key.signer.partition(":")
    if kind != "kms":
        return set()
    known = boto3.client("kms").describe_key(KeyId=key_id)["KeyMetadata"].get("MultiRegionConfiguration", {})
    return {replica["Region"] for replica in known.get("ReplicaKeys", [])}


def _replicate(key: Key, region: str) -> bool:
    kind, _, key_id = key.signer.partition(":")
    if kind != "kms" or region in replicas(key):
        return False
    boto3.client("kms").replicate_key(
        KeyId=key_id, ReplicaRegion=region, Description=_description(key.use), Tags=_tags(key.use)
    )
    return True


def replicate(region: str) -> list[str]:
    """Replicate every key that signs, or waits to, where it is not yet: for a second site that came later. Returns their ids."""
    current = key_sets.get()
    keys = current.key_set.keys if current else ()
    return [key.kid for key in keys if key.stage in ("published", "signing") and _replicate(key, region)]


def _add_to_secret(secret_id: str, kid: str, private: ec.EllipticCurvePrivateKey) -> None:
    secrets = boto3.client("secretsmanager")
    known: Any = json.loads(secrets.get_secret_value(SecretId=secret_id)["SecretString"])
    if not isinstance(known, dict):
        raise ValueError(f"{secret_id} holds something else than keys; nothing was changed.")
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps({**known, kid: pem.decode()}))


def initialize(root: str, signer: str, now: datetime, replica_region: str | None = None, by: Origin = KEEPER) -> KeySet:
    """Make the first key set: one signing key for each use. Raises RotationError if there is a key set already."""
    if key_sets.get() is not None:
        raise rules.RotationError("There is a key set already. Publish a new key, and switch to it.")
    root_jwk(root)  # a root that can't be used is found out before a key is made that nobody knows
    first = KeySet()
    for use in USES:
        key = create(use, signer, now, [replica_region] if replica_region else [])
        first = rules.switch(rules.publish(first, key), key.kid, now, at_once=True)
    made = _sign_and_store(KeySet(), replace(first, version=1), root, by, now)
    if seals.head(VENDOR).sealed_through is None:
        seals.move_head(VENDOR, seals.Head(), (now - _BEFORE_THE_KEYS).date(), None)
    return made


def publish(root: str, use: Use, signer: str, now: datetime, by: Origin = KEEPER) -> Key:
    """Make a new key, with replicas where the one that signs has them, and publish it; it signs after ``switch``."""
    root_jwk(root)
    key = create(use, signer, now, _replicas_of_signing(use))
    change(root, now, lambda keys: rules.publish(keys, key), by)
    return key


def _replicas_of_signing(use: Use) -> set[str]:
    current = key_sets.get()
    signing = current.key_set.signing(use) if current else None
    return replicas(signing) if signing else set()


def switch(root: str, kid: str, now: datetime, *, at_once: bool = False, by: Origin = KEEPER) -> KeySet:
    """Let a published key sign. Raises RotationError, also where the other site could not sign with it."""
    current = key_sets.get()
    key = current.key_set.get(kid) if current else None
    if key and key.signer.startswith("kms:") and (missing := _replicas_of_signing(key.use) - replicas(key)):
        regions = ", ".join(sorted(missing))
        raise rules.RotationError(f"Key {kid} has no replica in {regions}. Run: cloud-licensing keys replicate REGION")
    return change(root, now, lambda keys: rules.switch(keys, kid, now, at_once=at_once), by)


def change(root: str, now: datetime, step: Callable[[KeySet], KeySet], by: Origin = KEEPER) -> KeySet:
    """Take a step with the current key set, sign the result by the root, and store it. Raises RotationError."""
    current = key_sets.get()
    if current is None:
        raise rules.RotationError("There is no key set yet. Make one with: cloud-licensing keys init")
    return _sign_and_store(current.key_set, step(current.key_set), root, by, now)


def _sign_and_store(before: KeySet, keys: KeySet, root: str, by: Origin, now: datetime) -> KeySet:
    signer = root_signer(root)
    kid = jwk_of(signer.public_key())["kid"]
    jws = sign_jws(keys.payload(deployment.issuer(), now), typ=KEY_SET_TYP, kid=kid, signer=signer)
    stages = {each.kid: (each.use, each.stage) for each in before.keys}
    moved = [
        operation(VENDOR, by, _ACTIONS[each.stage], now, each.kid, use=each.use)
        for each in keys.keys
        if each.stage in _ACTIONS and stages.get(each.kid) != (each.use, each.stage)
    ]
    gone = [
        operation(VENDOR, by, "signing_key.withdrawn", now, each.kid, use=each.use)
        for each in before.keys
        if keys.get(each.kid) is None
    ]

    def tell(transaction: TransactWrite) -> None:
        for told in (*moved, *gone):
            record_in(transaction, told)

    key_sets.put(key_sets.SignedKeySet(keys, jws), tell)
    return keys
