"""The vendor's settings and catalogue."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from pynamodb.transactions import TransactWrite

from licensing.rules.vendor import Application, Catalogue, Product, Vendor
from licensing.store import tables
from licensing.store.attributes import Json
from licensing.store.cache import Cached
from licensing.store.tables import Item

#: Items of one transaction; DynamoDB takes 100.
_AT_A_TIME = 50


class VendorItem(Item, discriminator="vendor"):
    """The vendor's settings."""

    body = Json(Vendor)


class ApplicationItem(Item, discriminator="application"):
    """One application."""

    body = Json(Application)


class ProductItem(Item, discriminator="product"):
    """One product."""

    body = Json(Product)


def get() -> Vendor:
    """The vendor's settings; defaults where none were loaded."""
    item = tables.find(VendorItem, "VENDOR", "SETTINGS")
    return item.body if item else Vendor()


def put(before: Vendor, vendor: Vendor, also: tables.Also) -> None:
    """Replace the vendor's settings, with what else is to be written. Raises ConditionFailed if they are not any more as they
    were ``before``.
    """
    as_before = VendorItem.body == before
    if before == Vendor():
        as_before |= VendorItem.pk.does_not_exist()

    def fill(transaction: TransactWrite) -> None:
        transaction.save(VendorItem("VENDOR", "SETTINGS", body=vendor), condition=as_before)
        also(transaction)

    tables.transact(fill)
    forget()


def catalogue() -> Catalogue:
    """The whole catalogue, strongly consistent."""
    items = tables.read(lambda: list(Item.query("CATALOGUE", consistent_read=True)))
    return Catalogue(
        {item.body.id: item.body for item in items if isinstance(item, ApplicationItem)},
        {item.body.sku: item.body for item in items if isinstance(item, ProductItem)},
    )


def put_catalogue(
    wanted: Catalogue, also: Callable[[Sequence[str]], tables.Also] = lambda changed: tables.nothing
) -> None:  # fmt: skip
    """Add and replace applications and products that changed, some at a time. Interrupted, it is simply run again.

    ``also`` says what else to write with those that are named.
    """
    before = catalogue()
    items: list[tuple[str, Item]] = [
        (each.id, ApplicationItem("CATALOGUE", f"APP#{each.id}", body=each))
        for each in wanted.applications.values()
        if each != before.applications.get(each.id)
    ]
    items += [
        (each.sku, ProductItem("CATALOGUE", f"SKU#{each.sku}", body=each))
        for each in wanted.products.values()
        if each != before.products.get(each.sku)
    ]
    for start in range(0, len(items), _AT_A_TIME):
        part = items[start : start + _AT_A_TIME]
        tables.transact(partial(_put_all, [item for _, item in part], also([name for name, _ in part])))


def _put_all(items: Sequence[Item], also: tables.Also, transaction: TransactWrite) -> None:
    for item in items:
        transaction.save(item)
    also(transaction)


_settings = Cached(lambda: get())


def cached(now: datetime) -> Vendor:
    """The vendor's settings, at most a minute old: a validation does not read them each time."""
    return _settings(now)


def forget() -> None:
    """Read the settings anew at the next use."""
    _settings.forget()
