"""Offline activation (B8, B9): what a server without a network may be given, what it goes without, and what its license holds.

An offline license can't be called back. So what it holds is held: nobody takes it away until the server's own receipt says that
it gave the license up, or until the end that the vendor set.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from licensing.rules.accounts import Account, AccountError, OfflineGrant, change_installation, standing
from licensing.rules.entitlements import Entitlement, Standing
from licensing.rules.heartbeat import local_date, start_of_day
from licensing.rules.reports import Report
from licensing.rules.vendor import Catalogue


@dataclass(frozen=True, slots=True)
class OfflineRequest:
    """A request file whose signature was verified: what the server says of itself, its nonce, and its new public key."""

    request_id: str
    issued_at: datetime
    nonce: str
    report: Report
    public_key: Mapping[str, str]


def online_only(standing: Standing) -> list[str]:
    """The codes of the licenses that require a server to be online, ended ones too: a renewal may bring them back (B8)."""
    return [each.license_code for each in standing.entitlements if each.type != "perpetual"]


def licensed(standing: Standing, now: datetime, app_version: str | None, releases: Sequence[str]) -> list[Entitlement]:
    """What a license file may hold: the perpetual licenses in force that this version of the suite may use."""
    return [each for each in standing.usable(now, app_version, releases) if each.type == "perpetual"]


def given_up(account: Account, installation_id: str, catalogue: Catalogue, now: datetime) -> list[Entitlement]:
    """The licenses in force whose cloud-connected services the installation would have online, and goes without offline."""
    online = change_installation(account, installation_id, lambda each: replace(each, mode="online"))
    where = standing(online, installation_id, catalogue)
    return [each for each in where.entitlements if each.cloud_services and each.phase(where.today(now)) == "in_force"]


def end(now: datetime, days: int | None, time_zone: str) -> datetime | None:
    """The instant (UTC) from which a license given now for so many days, today included, is over; None: never."""
    return None if days is None else start_of_day(local_date(now, time_zone) + timedelta(days=days), time_zone)


def take_offline(account: Account, installation_id: str, grant: OfflineGrant, now: datetime) -> Account:
    """The account in which an installation is offline, with this license out.

    It may have had another one before, on the same machine. That file still exists, so what it held, and for how long, counts
    until the receipt for the new one comes.
    """
    before = account.installations[installation_id].offline
    if before and before.is_out(now):
        quantities = dict(before.quantities)
        for license_id, quantity in grant.quantities.items():
            quantities[license_id] = max(quantity, quantities.get(license_id, 0))
        until = max(before.until, grant.until) if before.until and grant.until else None
        grant = replace(grant, quantities=quantities, until=until)
    return change_installation(account, installation_id, lambda each: replace(each, mode="offline", offline=grant))


def bring_back(account: Account, installation_id: str) -> Account:
    """The account after the receipt: nothing is out any more, and the installation may be activated online again."""
    return change_installation(account, installation_id, lambda each: replace(each, mode="online", offline=None))


def check_held(before: Account | None, after: Account, now: datetime) -> None:
    """Hold what offline licenses hold: no change but the receipt's takes it away while they are out.

    Raises AccountError for an allocation lowered, or an installation disabled, set online or removed.
    """
    for key, installation in before.installations.items() if before else ():
        grant = installation.offline
        if grant is None or not grant.is_out(now):
            continue
        held = after.installations.get(key)
        if (
            held is None
            or held.offline is None
            or held.mode != "offline"
            or (held.disabled and not installation.disabled)
        ):
            raise _still_out(installation.name, grant)
        for license_id, quantity in grant.quantities.items():
            license = after.licenses.get(license_id)
            if license is None or license.allocations.get(key, 0) < quantity:
                code = license.code if license else license_id
                raise AccountError(
                    f"{code}: {quantity} are held by {installation.name}. {_still_out(installation.name, grant)}"
                )


def check_release(account: Account, installation_id: str, now: datetime) -> None:
    """Hold an installation for the server whose offline license is out. Raises AccountError."""
    installation = account.installations[installation_id]
    if installation.offline and installation.offline.is_out(now):
        raise _still_out(installation.name, installation.offline)


def _still_out(name: str, grant: OfflineGrant) -> AccountError:
    until = f", or until {grant.until:%Y-%m-%d %H:%M} UTC" if grant.until else ""
    return AccountError(
        f"{name} is offline, with a license file that nobody can call back. What it holds stays as it is until the server's "
        f"deactivation receipt is handed in{until}."
    )
