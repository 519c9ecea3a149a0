"""Answers kept for an Idempotency-Key, written in the transaction that they are the answer to (api.md, "Conventions")."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import BaseModel
from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.transactions import TransactWrite

from licensing.errors import IdempotencyKeyReused
from licensing.store import tables
from licensing.store.tables import Expiring

_KEPT = timedelta(hours=25)

#: Adds the answer to the transaction that it is the answer to.
Keep = Callable[[TransactWrite, BaseModel], None]


def keep_nothing(transaction: TransactWrite, answer: BaseModel) -> None:
    """For a caller that brought no key."""


class AnswerItem(Expiring, discriminator="answer"):
    """The first answer to a request that carried an Idempotency-Key."""

    body_hash = UnicodeAttribute()
    status = NumberAttribute()
    answer = UnicodeAttribute()


@dataclass(frozen=True, slots=True)
class Idempotency:
    """An Idempotency-Key in its scope (the caller and the route), with the hash of the body it came with."""

    scope: str
    key: str
    body: bytes

    @property
    def _place(self) -> tuple[str, str]:
        digest = hashlib.sha256(json.dumps([self.scope, self.key]).encode()).hexdigest()
        return f"IDEM#{digest}", "IDEM"

    @property
    def _body_hash(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    def replay(self, now: datetime) -> tuple[int, str] | None:
        """Status and answer given before; None the first time. Raises IdempotencyKeyReused for another body."""
        item = tables.find(AnswerItem, *self._place)
        if item is None or item.expires_at < now.timestamp():
            return None
        if item.body_hash != self._body_hash:
            raise IdempotencyKeyReused
        return int(item.status), item.answer

    def keep_in(self, transaction: TransactWrite, status: int, answer: str, now: datetime) -> None:
        """Keep the answer; lets the transaction fail if the same key came twice at once."""
        item = AnswerItem(
            *self._place,
            body_hash=self._body_hash,
            status=status,
            answer=answer,
            expires_at=int((now + _KEPT).timestamp()),
        )
        expired = AnswerItem.expires_at < int(now.timestamp())
        transaction.save(item, condition=AnswerItem.pk.does_not_exist() | expired)
