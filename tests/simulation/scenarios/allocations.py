"""The license matrix (B4, B5): several people change it at once; nothing is oversold, and nobody's change is lost silently."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from licensing import administration
from licensing.rules import accounts as rules
from licensing.rules.accounts import Account, AccountError
from licensing.store import accounts, vendor
from licensing.store.accounts import LicenseItem, SheetItem, StaleVersion
from licensing.store.standings import StandingItem

from tests.simulation.cloud import TAX_ID, Cloud
from tests.simulation.scenario import OPERATOR, Scenario
from tests.simulation.simulator import must

#: License id to installation id to quantity.
Matrix = Mapping[str, Mapping[str, int]]


def matrix_of(account: Account) -> Matrix:
    """Who has how much of what."""
    return {key: dict(each.allocations) for key, each in account.licenses.items()}


def instead(wanted: Matrix, now: Matrix) -> Matrix:
    """The change of somebody who saves the whole matrix."""
    return wanted


class Allocations(Scenario):
    """Two people save the matrix, a third disables a server. Each version follows from the one before by one person's change."""

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        return administration.find_account(TAX_ID), vendor.catalogue()

    def begin(self) -> None:
        account, self.catalogue = self.props
        self.customer_id = account.customer.customer_id
        self.account = account
        self.version, self.matrix = account.version, matrix_of(account)
        #: What somebody is about to make of the matrix at a version.
        self.intended: dict[int, list[Callable[[Matrix], Matrix]]] = {}
        self.history = {self.version: self.matrix}
        self.actor("buyer", self.buy)
        self.actor("administrator", self.buy)
        if self.pick(2):
            self.actor("technician", self.disable)

    def buy(self) -> None:
        for _ in range(1 + self.pick(3)):
            before = self.ask("read the matrix", lambda: accounts.read(self.customer_id))
            assert before
            self.pause((0, 60, 600)[self.pick(3)])
            license_id = sorted(before.licenses)[self.pick(2)]
            place = sorted(before.installations)[self.pick(2)]
            quantity = self.pick(9)
            after = self.assigned(before, license_id, place, quantity)
            try:
                rules.check(after, self.catalogue)
            except AccountError:
                continue  # more than the license has: the page says so
            wanted = matrix_of(after)
            self.intended.setdefault(before.version, []).append(partial(instead, wanted))
            try:
                save = partial(accounts.write, before, after, self.catalogue)
                written = self.ask(f"assign {quantity}", save, allowed=(StaleVersion,))
            except StaleVersion:
                must(self.version > before.version, "stale, although nobody changed it")
                continue
            if written:
                must(
                    self.history.get(before.version + 1) == wanted,
                    f"version {before.version + 1} is not what was saved",
                )

    @staticmethod
    def assigned(account: Account, license_id: str, place: str, quantity: int) -> Account:
        license = account.licenses[license_id]
        others = {key: n for key, n in license.allocations.items() if key != place}
        changed = replace(license, allocations=others | ({place: quantity} if quantity else {}))
        return replace(account, licenses={**account.licenses, license_id: changed})

    def disable(self) -> None:
        place = sorted(self.account.installations)[self.pick(2)]
        for version in range(self.version, self.version + 12):
            freed = self.intended.setdefault(version, [])
            freed.append(
                lambda now: {key: {at: n for at, n in each.items() if at != place} for key, each in now.items()}
            )
        self.ask("disable", lambda: administration.disable(self.customer_id, place, OPERATOR, self.now))
        if self.pick(2):
            for version in range(self.version, self.version + 12):
                self.intended.setdefault(version, []).append(lambda now: now)
            self.ask("enable", lambda: administration.enable(self.customer_id, place, OPERATOR, self.now))

    def check(self) -> None:
        sheet = self.cloud.find(SheetItem, self.customer_id, "SHEET")
        licenses = {row.body.license_id: row.body for row in self.cloud.rows(LicenseItem, self.customer_id)}
        for license in licenses.values():
            assigned = sum(license.allocations.values())
            must(assigned <= license.quantity, f"{license.code}: {assigned} of {license.quantity} are assigned")
        matrix = {key: dict(each.allocations) for key, each in licenses.items()}
        version = int(sheet.version) if sheet else 0
        if version == self.version:
            must(matrix == self.matrix, "the matrix changed without its version")
            return
        must(version == self.version + 1, f"version {version} follows {self.version}")
        follows = [change(self.matrix) for change in self.intended.get(self.version, [])]
        must(matrix in follows, f"version {version} is nobody's: somebody's change was lost")
        self.version, self.matrix = version, matrix
        self.history[version] = matrix
        self.hold_projections(licenses)

    def hold_projections(self, licenses: Mapping[str, Any]) -> None:
        for row in self.cloud.rows(StandingItem, self.customer_id):
            standing = row.body
            shown = {each.license_code: each.quantity for each in standing.entitlements}
            meant = {
                each.code: each.allocations[standing.installation_id]
                for each in licenses.values()
                if standing.installation_id in each.allocations
            }
            must(shown == meant, f"{standing.name} may use {shown}, and {meant} is assigned")

    def finish(self) -> None:
        account = accounts.read(self.customer_id)
        assert account
        must(accounts.write(account, account, self.catalogue) == 0, "a projection is not as it should be")
