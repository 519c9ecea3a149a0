"""The vendor's settings and catalogue."""

from datetime import datetime

from pynamodb.transactions import TransactWrite

from licensing.rules.vendor import Application, Catalogue, Product, Vendor
from licensing.store import tables
from licensing.store.attributes import Json
from licensing.store.cache import Cached
from licensing.store.tables import Item


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


def put(vendor: Vendor) -> None:
    """Replace the vendor's settings."""
    tables.transact(lambda transaction: put_in(transaction, vendor))


def put_in(transaction: TransactWrite, vendor: Vendor) -> None:
    """The same as part of a transaction; ``forget`` afterwards."""
    transaction.save(VendorItem("VENDOR", "SETTINGS", body=vendor))


def catalogue() -> Catalogue:
    """The whole catalogue, strongly consistent."""
    items = tables.read(lambda: list(Item.query("CATALOGUE", consistent_read=True)))
    return Catalogue(
        {item.body.id: item.body for item in items if isinstance(item, ApplicationItem)},
        {item.body.sku: item.body for item in items if isinstance(item, ProductItem)},
    )


def put_catalogue(catalogue: Catalogue) -> None:
    """Add and replace applications and products. Interrupted, it is simply run again."""
    for application in catalogue.applications.values():
        tables.write(ApplicationItem("CATALOGUE", f"APP#{application.id}", body=application).save)
    for product in catalogue.products.values():
        tables.write(ProductItem("CATALOGUE", f"SKU#{product.sku}", body=product).save)


_settings = Cached(lambda: get())


def cached(now: datetime) -> Vendor:
    """The vendor's settings, at most a minute old: a validation does not read them each time."""
    return _settings(now)


def forget() -> None:
    """Read the settings anew at the next use."""
    _settings.forget()
