"""The vendor's settings, and its catalogue, as users see and change them."""

from datetime import datetime, time

from licensing.contract_customers import (
    AgentSettings,
    AlertSettings,
    ProductAnswer,
    VendorAnswer,
    VendorSettings,
    WindowSettings,
)
from licensing.customers import checked_contacts, contact_answers
from licensing.errors import InvalidRequest, NotFound
from licensing.languages import LANGUAGES
from licensing.operations import operation, recording
from licensing.rules import access
from licensing.rules.heartbeat import Window
from licensing.rules.operations import Origin
from licensing.rules.people import VENDOR, User
from licensing.rules.vendor import AgentRelease, AlertDays, Catalogue, Product, Vendor, faults
from licensing.store import tables
from licensing.store import vendor as store


def read(user: User) -> VendorAnswer:
    """The settings. Raises Forbidden."""
    access.require(user, "vendor.read")
    return _answer(store.get())


def replace(user: User, body: VendorSettings, by: Origin, now: datetime) -> VendorAnswer:
    """Replace the settings; servers see them within a minute. Raises Forbidden, EmailInvalid, InvalidRequest."""
    access.require(user, "vendor.change")
    return tables.unraced(lambda: _replace(store.get(), body, by, now))


def _replace(before: Vendor, body: VendorSettings, by: Origin, now: datetime) -> VendorAnswer:
    window = body.validation_window
    alerts = body.alerts and AlertDays(tuple(body.alerts.before), tuple(body.alerts.silent), body.alerts.signing_key)
    vendor = Vendor(
        body.name,
        checked_contacts([body.contact])[0],
        body.portal_url,
        tuple(body.releases),
        body.lowest_app_version,
        AgentRelease(body.agent.latest, body.agent.lowest, body.agent.download_url),
        Window(time.fromisoformat(window.start), time.fromisoformat(window.end)),
        body.notice_days,
        before.offline_days,
        alerts or before.alerts,
    )
    if wrong := [{"in": "body", "pointer": f"/{member}", "detail": fault} for member, fault in faults(vendor)]:
        raise InvalidRequest(errors=wrong)
    store.put(before, vendor, recording(operation(VENDOR, by, "vendor.changed", now)))
    return _answer(vendor)


def products(user: User) -> list[ProductAnswer]:
    """All products, by SKU. Raises Forbidden."""
    access.require(user, "catalogue.read")
    catalogue = store.catalogue()
    return [_product(catalogue, each) for _, each in sorted(catalogue.products.items())]


def product(user: User, sku: str) -> ProductAnswer:
    """One product. Raises Forbidden, NotFound."""
    access.require(user, "catalogue.read")
    catalogue = store.catalogue()
    if sku not in catalogue.products:
        raise NotFound
    return _product(catalogue, catalogue.products[sku])


def _product(catalogue: Catalogue, product: Product) -> ProductAnswer:
    application = catalogue.applications[product.application]
    return ProductAnswer(
        sku=product.sku,
        name=product.name,
        type=product.type,
        application=application.id,
        application_name=application.name,
        unit=application.unit,
        units_per_sku=product.units_per_sku,
        periods=list(product.periods),
        metering=product.metering,
        modules=list(application.modules),
        lowest_app_version=product.lowest_app_version,
        cloud_services=product.cloud_services,
    )


def _answer(vendor: Vendor) -> VendorAnswer:
    agent, window = vendor.agent, vendor.window
    return VendorAnswer(
        name=vendor.name,
        contact=contact_answers([vendor.contact])[0],
        portal_url=vendor.portal_url,
        releases=list(vendor.releases),
        lowest_app_version=vendor.lowest_app_version,
        agent=AgentSettings(latest=agent.latest, lowest=agent.lowest, download_url=agent.download_url),
        validation_window=WindowSettings(start=f"{window.start:%H:%M}", end=f"{window.end:%H:%M}"),
        notice_days=vendor.notice_days,
        alerts=AlertSettings(
            before=list(vendor.alerts.before), silent=list(vendor.alerts.silent), signing_key=vendor.alerts.signing_key
        ),
        languages=list(LANGUAGES),
    )
