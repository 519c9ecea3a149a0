"""The key set in the Licensing table: what we know of the keys, and the text that the root signed."""

from dataclasses import dataclass

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.transactions import TransactWrite

from licensing.rules.key_set import KeySet
from licensing.store import tables
from licensing.store.attributes import Json
from licensing.store.tables import Item


class KeySetItem(Item, discriminator="key_set"):
    """One item, replaced as a whole under its version."""

    version = NumberAttribute()
    body = Json(KeySet)
    signed = UnicodeAttribute()


@dataclass(frozen=True, slots=True)
class SignedKeySet:
    """A key set, and the same as a JWS by the root key."""

    key_set: KeySet
    jws: str


def get() -> SignedKeySet | None:
    """The current key set; None before the first one was made."""
    item = tables.find(KeySetItem, "KEYSET", "KEYSET")
    return SignedKeySet(item.body, item.signed) if item else None


def put(signed: SignedKeySet, also: tables.Also = tables.nothing) -> None:
    """Replace the key set by its next version, with what else to write. Raises ConditionFailed if somebody else was faster."""
    version = signed.key_set.version
    item = KeySetItem("KEYSET", "KEYSET", version=version, body=signed.key_set, signed=signed.jws)
    follows = KeySetItem.version == version - 1 if version > 1 else KeySetItem.pk.does_not_exist()

    def fill(transaction: TransactWrite) -> None:
        transaction.save(item, condition=follows)
        also(transaction)

    tables.transact(fill)
