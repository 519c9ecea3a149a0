"""The license table (B4): which quantity of which license goes to which server.

People see and change rows, one per application, type, term and care plan; a row stands for all its licenses. Servers get licenses.
So a row's quantity for a server is spread over the row's licenses here, the same way each time, and what a save may not do is
told here too.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from licensing.errors import (
    InstallationDisabled,
    LicenseOver,
    NotFound,
    OfflineLicenseOut,
    OfflineNotAllowed,
    QuantityExceeded,
    RedundancyExceeded,
    RedundancyServer,
)
from licensing.rules.accounts import Account, Freed, Installation, License
from licensing.rules.entitlements import LicenseType, Phase
from licensing.rules.vendor import Application, Catalogue

#: What ends within so many days stands out.
NOTICE = timedelta(days=60)
_OVER: frozenset[Phase] = frozenset({"ended", "refunded"})
#: What can be used is given out before what can't be used yet, and that before what is suspended.
_USABLE: Mapping[Phase, int] = {"in_force": 0, "upcoming": 1, "suspended": 2}

#: Quantities by installation, by license.
Allocations = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Row:
    """The licenses of one application, type, term and care plan: what is in force first, then the longest-lasting.

    ``row_id`` begins with the application's id and stays the same as long as what makes the row does. ``phases`` are those of the
    licenses, in their order.
    """

    row_id: str
    application: Application
    type: LicenseType
    redundancy: bool
    care: str | None
    last_day: date | None
    licenses: tuple[License, ...]
    phases: tuple[Phase, ...]
    #: Whether nothing of it can be assigned any more.
    over: bool
    ends_soon: bool
    #: The first day on which care of one of its licenses ends; and whether that stands out.
    care_until: date | None
    care_ends_soon: bool
    quantities: Mapping[str, int]
    #: What disabled servers gave back and still run with (B5), by installation.
    freed: Mapping[str, Freed]

    @property
    def total(self) -> int:
        """What its licenses have."""
        return sum(license.quantity for license in self.licenses)

    @property
    def used(self) -> int:
        """What is assigned."""
        return sum(self.quantities.values())

    @property
    def phase(self) -> Phase | None:
        """That of all its licenses; None where they differ."""
        return self.phases[0] if len(set(self.phases)) == 1 else None


def rows(account: Account, catalogue: Catalogue, now: datetime) -> list[Row]:
    """The table's rows: by application, what is over last. Locked licenses are not among them (B2)."""
    today = account.customer.today(now)
    found: dict[tuple[object, ...], list[License]] = {}
    for license in account.licenses.values():
        if license.state != "locked":
            product = catalogue.products[license.sku]
            over = license.phase(today) in _OVER
            key = (product.application, product.type, license.last_day, license.care, product.redundancy, over)
            found.setdefault(key, []).append(license)
    made = [_row(key, licenses, catalogue, today, now) for key, licenses in found.items()]
    return sorted(
        made,
        key=lambda row: (
            row.over, row.application.name.casefold(), row.redundancy, row.last_day or date.max, row.care or "", row.type
        ),
    )  # fmt: skip


def _row(key: tuple[object, ...], licenses: Iterable[License], catalogue: Catalogue, today: date, now: datetime) -> Row:
    ordered = tuple(sorted(licenses, key=lambda license: (_USABLE.get(license.phase(today), 0), _lasting(license))))
    product = catalogue.products[ordered[0].sku]
    quantities: dict[str, int] = {}
    freed: dict[str, Freed] = {}
    for license in ordered:
        for at, quantity in license.allocations.items():
            quantities[at] = quantities.get(at, 0) + quantity
        for at, what in license.freed.items():
            if what.until > now:
                had = freed.get(at, Freed(0, what.until))
                freed[at] = Freed(had.quantity + what.quantity, max(had.until, what.until))
    phases = tuple(license.phase(today) for license in ordered)
    last_day, over = ordered[0].last_day, phases[0] in _OVER
    return Row(
        row_id=f"{product.application}.{hashlib.sha256(repr(key).encode()).hexdigest()[:10]}",
        application=catalogue.applications[product.application],
        type=product.type,
        redundancy=product.redundancy,
        care=ordered[0].care,
        last_day=last_day,
        licenses=ordered,
        phases=phases,
        over=over,
        ends_soon=last_day is not None and not over and last_day - today <= NOTICE,
        care_until=min((license.care_until for license in ordered if license.care_until), default=None),
        care_ends_soon=any(care_ends_soon(license, today) for license in ordered),
        quantities=quantities,
        freed=freed,
    )


def care_ends_soon(license: License, today: date) -> bool:
    """Whether care ends soon or has ended, of a license that goes on without it. Where both end as one, the license's end tells."""
    if license.care_until is None or license.phase(today) in _OVER:
        return False
    goes_on = license.last_day is None or license.care_until < license.last_day
    return goes_on and license.care_until - today <= NOTICE


def _lasting(license: License) -> tuple[date, date, str]:
    """Sorts what lasts longest first. Within a row licenses end on one day; their care plans and first days may differ."""
    care_until = license.care_until or date.min
    return date.min + (date.max - care_until), license.first_day or date.min, license.code


def held(account: Account, now: datetime) -> Allocations:
    """What license files that are out hold of each license (B9): nobody takes it away."""
    found: dict[str, dict[str, int]] = {}
    for at, installation in account.installations.items():
        if installation.offline and installation.offline.is_out(now):
            for key, quantity in installation.offline.quantities.items():
                found.setdefault(key, {})[at] = quantity
    return found


def spread(row: Row, wanted: Mapping[str, int], kept: Allocations) -> dict[str, dict[str, int]]:
    """What each of the row's licenses gives to each server, so that the servers named in ``wanted`` get their quantities.

    The rule: what is too much is taken from the row's last license, a suspended one or the one that ends its care first; what is
    missing comes from licenses in force, of these from what the server has already, then from the longest-lasting; after these
    from upcoming and suspended ones. What is ``kept`` by a license file that is out stays.

    Raises QuantityExceeded where the row has less.
    """
    given = {license.license_id: dict(license.allocations) for license in row.licenses}

    def at(server: str) -> int:
        return sum(each.get(server, 0) for each in given.values())

    for server in sorted(wanted):
        for license in reversed(row.licenses):
            has = given[license.license_id].get(server, 0)
            stays = kept.get(license.license_id, {}).get(server, 0)
            if (taken := min(at(server) - wanted[server], has - stays)) > 0:
                given[license.license_id][server] = has - taken
    for server in sorted(wanted):
        ranked = sorted(
            zip(row.phases, row.licenses, strict=True),
            key=lambda each: (_USABLE.get(each[0], 0), not given[each[1].license_id].get(server)),
        )
        for _, license in ranked:
            own = given[license.license_id]
            if (more := min(wanted[server] - at(server), license.quantity - sum(own.values()))) > 0:
                own[server] = own.get(server, 0) + more
    if any(at(server) < quantity for server, quantity in wanted.items()):
        assigned = sum({**row.quantities, **wanted}.values())
        raise QuantityExceeded(license=row.application.name, row=row.row_id, assigned=assigned, quantity=row.total)
    return given


def assign(account: Account, allocations: Allocations, catalogue: Catalogue, now: datetime) -> Account:
    """The account with these allocations, by license; licenses that are not named keep theirs.

    Raises:
        NotFound: there is no such license (a locked one is none, B2) or installation.
        QuantityExceeded: a license has less.
        InstallationDisabled, LicenseOver: something new would go to a disabled server, or come from what has ended.
        OfflineNotAllowed: a subscription or trial would go to a server that is offline (B8).
        OfflineLicenseOut: less than a license file that is out holds.
        RedundancyServer: see ``check_redundancy``.
    """
    licenses, out = dict(account.licenses), held(account, now)
    for key, quantities in allocations.items():
        license = licenses.get(key)
        if license is None or license.state == "locked" or quantities.keys() - account.installations.keys():
            raise NotFound
        if dict(license.allocations) != {at: quantity for at, quantity in quantities.items() if quantity}:
            licenses[key] = license.allocated(quantities, now)
            _check_license(account, license, licenses[key], catalogue, account.customer.today(now))
            for at, kept in out.get(key, {}).items():
                if quantities.get(at, 0) < kept:
                    raise OfflineLicenseOut(installation=account.installations[at].name)
    after = replace(account, licenses=licenses)
    check_redundancy(account, after, catalogue, account.customer.today(now))
    return after


def _check_license(account: Account, before: License, after: License, catalogue: Catalogue, today: date) -> None:
    if after.assigned > after.quantity:
        raise QuantityExceeded(license=after.code, assigned=after.assigned, quantity=after.quantity)
    for at, quantity in after.allocations.items():
        if quantity <= before.allocations.get(at, 0):
            continue
        installation = account.installations[at]
        if installation.disabled:
            raise InstallationDisabled(installation=installation.name)
        if after.phase(today) in _OVER:
            raise LicenseOver(license=after.code)
        if installation.mode == "offline" and catalogue.products[after.sku].type != "perpetual":
            raise OfflineNotAllowed(reason="ONLINE_REQUIRED", licenses=[after.code])


def check_redundancy(before: Account | None, after: Account, catalogue: Catalogue, today: date) -> None:
    """Hold the rule on redundancy licenses (B4), for what a change adds: what was wrong already must not stop its mending.

    Never on a server that holds the main product of the application. Never more in total than the customer has of it; that it
    *has*, since the main server may have been disabled at the very moment in which the other takes over.

    Raises RedundancyServer, RedundancyExceeded.
    """
    had, has = _Redundancy(before or Account(after.customer), catalogue, today), _Redundancy(after, catalogue, today)
    for application, servers in has.both.items():
        if added := servers - had.both.get(application, set()):
            name = min(after.installations[at].name for at in added)
            raise RedundancyServer(application=catalogue.applications[application].name, installation=name)
    for application, assigned in has.standby.items():
        if assigned > max(has.owned.get(application, 0), had.standby.get(application, 0)):
            raise RedundancyExceeded(
                application=catalogue.applications[application].name,
                assigned=assigned,
                quantity=has.owned.get(application, 0),
            )


class _Redundancy:
    """What a customer has of each application, and has assigned of its redundancy licenses."""

    def __init__(self, account: Account, catalogue: Catalogue, today: date) -> None:
        self.owned: dict[str, int] = {}
        self.standby: dict[str, int] = {}
        main: dict[str, set[str]] = {}
        standby: dict[str, set[str]] = {}
        for license in account.licenses.values():
            if license.state == "locked" or license.phase(today) in _OVER:
                continue
            product = catalogue.products[license.sku]
            (standby if product.redundancy else main).setdefault(product.application, set()).update(license.allocations)
            counted, quantity = (
                (self.standby, license.assigned) if product.redundancy else (self.owned, license.quantity)
            )
            counted[product.application] = counted.get(product.application, 0) + quantity
        self.both = {application: standby[application] & main.get(application, set()) for application in standby}


def online_only(account: Account, installation_id: str, catalogue: Catalogue) -> list[str]:
    """The codes of what is assigned to an installation and requires it to be online (B8)."""
    return sorted(
        license.code
        for license in account.licenses.values()
        if installation_id in license.allocations and catalogue.products[license.sku].type != "perpetual"
    )


def check_mode(account: Account, installation: Installation, catalogue: Catalogue) -> None:
    """Hold an installation online that has subscriptions or trials (B8). Raises OfflineNotAllowed."""
    if installation.mode == "offline" and (codes := online_only(account, installation.installation_id, catalogue)):
        raise OfflineNotAllowed(reason="ONLINE_REQUIRED", licenses=codes)


# ── two people at once ──


@dataclass(frozen=True, slots=True)
class Cell:
    """One quantity of the table as a person saw it, and as they want it."""

    row_id: str
    installation_id: str
    shown: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Merge:
    """What a save is up against: where ``theirs``, somebody else's values since, meet our own wishes.

    ``conflicts`` were changed by both; ``elsewhere`` by the others only; ``gone`` are wishes for what is not there any more.
    """

    conflicts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    elsewhere: Mapping[tuple[str, str], int] = field(default_factory=dict)
    gone: Sequence[Cell] = ()

    @property
    def needed(self) -> bool:
        """Whether a person has to look."""
        return bool(self.conflicts or self.elsewhere or self.gone)


def merge(current: Iterable[Row], servers: Iterable[str], cells: Iterable[Cell]) -> Merge:
    """Compare what a person saw with what is there. What both want the same is no conflict, nor is a save that comes twice."""
    quantities = {row.row_id: row.quantities for row in current}
    known = set(servers)
    conflicts: dict[tuple[str, str], int] = {}
    elsewhere: dict[tuple[str, str], int] = {}
    gone: list[Cell] = []
    for cell in cells:
        if cell.row_id not in quantities or cell.installation_id not in known:
            if cell.wanted != cell.shown:
                gone.append(cell)
            continue
        theirs = quantities[cell.row_id].get(cell.installation_id, 0)
        if theirs not in (cell.shown, cell.wanted):
            (elsewhere if cell.wanted == cell.shown else conflicts)[cell.row_id, cell.installation_id] = theirs
    return Merge(conflicts, elsewhere, tuple(gone))


def by_license(account: Account, current: Iterable[Row], cells: Iterable[Cell], now: datetime) -> Allocations:
    """What a person's cells come to, license by license; rows in which nothing changes are left out.

    Raises QuantityExceeded, and OfflineLicenseOut where a license file that is out holds more than is wanted.
    """
    wanted: dict[str, dict[str, int]] = {}
    for cell in cells:
        if cell.wanted != cell.shown:
            wanted.setdefault(cell.row_id, {})[cell.installation_id] = cell.wanted
    found: dict[str, dict[str, int]] = {}
    out = held(account, now)
    for row in current:
        for at, quantity in wanted.get(row.row_id, {}).items():
            if quantity < sum(out.get(license.license_id, {}).get(at, 0) for license in row.licenses):
                raise OfflineLicenseOut(installation=account.installations[at].name)
        if row.row_id in wanted:
            found |= spread(row, wanted[row.row_id], out)
    return found


def moved(before: Account, after: Account) -> Iterator[str]:
    """What a save changed, for people: ``AQ-7F3K-92MD: Milano 30 → 20``."""
    for key, license in after.licenses.items():
        had = before.licenses[key].allocations
        changes = [
            f"{after.installations[at].name} {had.get(at, 0)} → {license.allocations.get(at, 0)}"
            for at in sorted(had.keys() | license.allocations.keys())
            if had.get(at, 0) != license.allocations.get(at, 0)
        ]
        if changes:
            yield f"{license.code}: {', '.join(changes)}"
