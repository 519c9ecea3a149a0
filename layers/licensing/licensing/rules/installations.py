"""What is to be seen of one server (B5), and what may be done to it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from licensing.errors import InstallationInUse, NameTaken, NotFound
from licensing.rules.accounts import Account, Freed, Installation, License, Status, change_installation, status
from licensing.rules.allocations import NOTICE, care_ends_soon, check_mode
from licensing.rules.entitlements import Phase
from licensing.rules.heartbeat import Rung, rung, silent_days, validate_before
from licensing.rules.sequence import ServerState, recent_heals
from licensing.rules.vendor import Application, Catalogue, Product


@dataclass(frozen=True, slots=True)
class Item:
    """A license on a server: how much of it, or how much it gave back with which its old token still runs."""

    license: License
    product: Product
    application: Application
    quantity: int
    phase: Phase
    ends_soon: bool
    care_ends_soon: bool
    freed: Freed | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """One installation as it stands, with what its server last said. ``silent`` is in days; None: nobody holds it."""

    installation: Installation
    status: Status
    state: ServerState
    silent: int | None
    rung: Rung | None
    #: The first instant (UTC) at which the server blocks itself.
    validate_before: datetime | None
    heals: int
    items: tuple[Item, ...]
    customer_id: str
    #: Whether it has an offline license that has not ended (B9).
    file_out: bool


def overview(
    account: Account, installation_id: str, state: ServerState | None, catalogue: Catalogue, now: datetime
) -> Overview:
    """What there is to know of an installation. Raises NotFound for one that is not this account's."""
    installation = account.installations.get(installation_id)
    if installation is None:
        raise NotFound
    state, silent, until = state or ServerState(), None, None
    if state.held and state.validated_at and installation.mode == "online":
        silent = silent_days(state.validated_at, now, state.report.time_zone)
        until = validate_before(state.validated_at, state.report.time_zone)
    return Overview(
        installation=installation,
        status=status(installation, state, now),
        state=state,
        silent=silent,
        rung=None if silent is None else rung(silent),
        validate_before=until,
        heals=len(recent_heals(state, now)),
        items=tuple(_items(account, installation_id, catalogue, now)),
        customer_id=account.customer.customer_id,
        file_out=installation.offline is not None and installation.offline.is_out(now),
    )


def _items(account: Account, installation_id: str, catalogue: Catalogue, now: datetime) -> list[Item]:
    today = account.customer.today(now)
    found = []
    for license in account.licenses.values():
        freed = license.freed.get(installation_id)
        if freed is not None and freed.until <= now:
            freed = None
        if license.state == "locked" or (installation_id not in license.allocations and freed is None):
            continue
        product, phase = catalogue.products[license.sku], license.phase(today)
        soon = license.last_day is not None and timedelta() <= license.last_day - today <= NOTICE
        quantity = license.allocations.get(installation_id, 0)
        application = catalogue.applications[product.application]
        care_soon = care_ends_soon(license, today)
        found.append(Item(license, product, application, quantity, phase, soon, care_soon, freed))
    return sorted(found, key=lambda item: (item.application.name.casefold(), item.license.code))


def add(account: Account, installation: Installation) -> Account:
    """The account with one installation more. Raises NameTaken."""
    _check_name(account, installation)
    return replace(account, installations={**account.installations, installation.installation_id: installation})


def change(account: Account, installation_id: str, members: Mapping[str, object], catalogue: Catalogue) -> Account:
    """The account with another name, purpose or mode of an installation. Raises NotFound, NameTaken, OfflineNotAllowed."""
    if installation_id not in account.installations:
        raise NotFound
    changed = replace(account.installations[installation_id], **members)  # type: ignore[arg-type]
    _check_name(account, changed)
    check_mode(account, changed, catalogue)
    return change_installation(account, installation_id, lambda _: changed)


def _check_name(account: Account, installation: Installation) -> None:
    key = installation.name.casefold()
    for each in account.installations.values():
        if each.installation_id != installation.installation_id and each.name.casefold() == key:
            raise NameTaken(name=each.name)


def remove(account: Account, installation_id: str, state: ServerState) -> Account:
    """The account without an installation that nobody ever activated. Raises NotFound, InstallationInUse."""
    installation = account.installations.get(installation_id)
    if installation is None:
        raise NotFound
    in_use = any(installation_id in license.allocations for license in account.licenses.values())
    if in_use or state != ServerState():
        raise InstallationInUse(installation=installation.name)
    return replace(
        account, installations={key: each for key, each in account.installations.items() if key != installation_id}
    )
