"""Orders in the Licensing table: the order, the claim of its number, the lists that find it, the digests of its secrets."""

from typing import Any

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.transactions import TransactWrite

from licensing.identity import digest, same
from licensing.rules.orders import ListedOrder, Order, listed, number_key
from licensing.store import tables
from licensing.store.attributes import Json
from licensing.store.tables import Item

_LONGEST_ID = 64


class OrderItem(Item, discriminator="order"):
    """One order. Every change of it raises the version by one, under condition."""

    version = NumberAttribute()
    body = Json(Order)


class NumberItem(Item, discriminator="order-number"):
    """From a reseller's order number to the order: each is taken once, for good."""

    order_id = UnicodeAttribute()


class ListedOrderItem(Item, discriminator="listed-order"):
    """An order in a list: the vendor's of all, or that of its reseller. Sorted by when it came."""

    body = Json(ListedOrder)


class UnlockItem(Item, discriminator="unlock"):
    """From an unlock link to its order. The half of the digest in the key finds it, the whole is compared."""

    digest = UnicodeAttribute()
    order_id = UnicodeAttribute()


def mailing_id(secret: str) -> str:
    """By what an e-mail with this secret is known; it tells nothing of the secret."""
    return digest(secret)[:32]


def get(order_id: str) -> tuple[Order, int] | None:
    """An order and its version, strongly consistent; None for what is no id of ours, too."""
    if len(order_id) > _LONGEST_ID:
        return None
    item = tables.find(OrderItem, *_key(order_id))
    return (item.body, int(item.version)) if item else None


def get_many(order_ids: list[str]) -> list[Order]:
    """Orders in this order, those that are there."""
    items: Any = tables.read(lambda: list(OrderItem.batch_get([_key(each) for each in order_ids])))
    found = {item.body.order_id: item.body for item in items}
    return [found[each] for each in order_ids if each in found]


def find_by_number(reseller_id: str, number: str) -> str | None:
    """The order that a reseller's number belongs to."""
    item = tables.find(NumberItem, *_number(reseller_id, number))
    return item.order_id if item else None


def find_by_secret(secret: str) -> str | None:
    """The order that an unlock link is for."""
    item = tables.find(UnlockItem, f"UNLOCK#{mailing_id(secret)}", "UNLOCK")
    return item.order_id if item and same(secret, item.digest) else None


def put_in(transaction: TransactWrite, order: Order, version: int) -> None:
    """Write an order in all its places (three puts); the transaction fails if it is not at ``version`` any more.

    Version 0 is a new order, which claims its number too: the transaction fails if the reseller has used it.
    """
    unchanged = OrderItem.version == version if version else OrderItem.pk.does_not_exist()
    transaction.save(OrderItem(*_key(order.order_id), version=version + 1, body=order), condition=unchanged)
    for pk in (listing(None), listing(order.reseller_id)):
        transaction.save(ListedOrderItem(pk, order.order_id, body=listed(order)))
    if version == 0:
        claim = NumberItem(*_number(order.reseller_id, order.number), order_id=order.order_id)
        transaction.save(claim, condition=NumberItem.pk.does_not_exist())


def put_secret_in(transaction: TransactWrite, secret: str, order_id: str) -> None:
    """Let a secret unlock an order, as long as it can be."""
    item = UnlockItem(f"UNLOCK#{mailing_id(secret)}", "UNLOCK", digest=digest(secret), order_id=order_id)
    transaction.save(item)


def put_delivery(order: Order, version: int) -> None:
    """Write what became of an order's e-mails, and nothing else. Raises ConditionFailed as above."""
    item = OrderItem(*_key(order.order_id), version=version + 1, body=order)
    tables.write(lambda: item.save(condition=OrderItem.version == version))


def listing(reseller_id: str | None) -> str:
    """The list of a reseller's orders; of all for None."""
    return f"ORDERS#{reseller_id}" if reseller_id else "ORDERS"


def page(listing: str, position: dict[str, Any] | None, limit: int) -> tuple[list[ListedOrder], Any]:
    """A part of a list, newest first, and what continues it, or None."""

    def query() -> tuple[list[ListedOrder], Any]:
        found = ListedOrderItem.query(listing, limit=limit, last_evaluated_key=position, scan_index_forward=False)
        items = [item.body for item in found]
        return items, found.last_evaluated_key

    return tables.read(query)


def _key(order_id: str) -> tuple[str, str]:
    return f"ORDER#{order_id}", "ORDER"


def _number(reseller_id: str, number: str) -> tuple[str, str]:
    return f"ORDERNO#{reseller_id}", number_key(number)
