"""The vendor: what it sells, and what it asks of every server."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from licensing.rules.entitlements import LicenseType
from licensing.rules.guards import Policy
from licensing.rules.heartbeat import Window

Metering = Literal["server", "concurrent", "named_user", "company"]


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom to turn to, or whom a message goes to."""

    name: str = ""
    email: str = ""
    phone: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class AgentRelease:
    """The License Manager's versions: the newest, where to get it, and the lowest that is still served (A8)."""

    latest: str | None = None
    lowest: str | None = None
    download_url: str | None = None


@dataclass(frozen=True, slots=True)
class AlertDays:
    """When alerts are due (F7): so many days before an end, and after so many days of a server's silence.

    ``signing_key``: so many days a key signs before it is due to be replaced.
    """

    before: tuple[int, ...] = (60, 30, 14, 7, 3, 1, 0)
    silent: tuple[int, ...] = (3, 7, 10)
    signing_key: int = 365


@dataclass(frozen=True, slots=True)
class Vendor:
    """The vendor's settings."""

    name: str = ""
    contact: Contact = field(default_factory=Contact)
    portal_url: str = ""
    #: Ordered, oldest first (B10).
    releases: tuple[str, ...] = ()
    lowest_app_version: str | None = None
    agent: AgentRelease = field(default_factory=AgentRelease)
    window: Window = field(default_factory=Window)
    #: From how many days before an end on every answer says so.
    notice_days: int = 30
    #: For how many days an offline license is good, the first included; None: for good (B9).
    offline_days: int | None = None
    alerts: AlertDays = field(default_factory=AlertDays)

    @property
    def policy(self) -> Policy:
        """What the guards ask."""
        return Policy(self.agent.lowest, self.lowest_app_version, self.releases)


def faults(vendor: Vendor) -> Iterator[tuple[str, str]]:
    """What is wrong with the settings as a whole: the member, and a sentence."""
    if vendor.lowest_app_version is not None and vendor.lowest_app_version not in vendor.releases:
        yield "lowest_app_version", f"{vendor.lowest_app_version} is not among the releases"
    if vendor.window.end <= vendor.window.start:
        yield "validation_window", "it must end later than it begins"


@dataclass(frozen=True, slots=True)
class Application:
    """What a person counts."""

    id: str
    name: str
    unit: str
    modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Product:
    """What is sold."""

    sku: str
    application: str
    name: str
    type: LicenseType
    units_per_sku: int = 1
    periods: tuple[int, ...] = ()
    metering: Metering = "server"
    lowest_app_version: str | None = None
    cloud_services: bool = True
    #: For a standby server only ("red." in the license table, B4).
    redundancy: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All applications by id, and products by SKU."""

    applications: Mapping[str, Application] = field(default_factory=dict)
    products: Mapping[str, Product] = field(default_factory=dict)
