"""Customers that are set up: a tax id and a license code are one customer's, however many set them up at once."""

from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

from licensing import customers, loading
from licensing.contract_customers import NewCustomer
from licensing.errors import TaxIdExists
from licensing.loading import LoadError
from licensing.rules.people import VENDOR, User
from licensing.store import accounts, vendor
from licensing.store.accounts import CustomerItem, LicenseItem, LookupItem
from licensing.store.operations import OperationItem

from tests.simulation.scenario import OPERATOR, Scenario
from tests.simulation.simulator import must

_TAX_IDS = ("SE5565678900", "FR40303265045")
_DESK = User("user-1", "desk@aurora.example", "Desk", VENDOR)


class SettingUp(Scenario):
    """Two load files that name the same tax ids and license codes, a third sets the same customers up by hand: each tax id and
    each code is one customer's, and who was interrupted can go on.
    """

    def begin(self) -> None:
        for n in range(2):
            self.actor(f"loader-{n}", self.load)
        self.actor("desk", self.create)

    def load(self) -> None:
        tax_id, shared = _TAX_IDS[self.pick(2)], self.pick(2) == 1
        with suppress(LoadError):
            self.ask("load", partial(self.loaded, tax_id, shared=shared), allowed=(LoadError,))

    def loaded(self, tax_id: str, *, shared: bool) -> None:
        loading.load({"customers": [document(tax_id, shared=shared)]}, self.now)

    def create(self) -> None:
        tax_id = _TAX_IDS[self.pick(2)]
        new = NewCustomer(name="By hand", tax_id=tax_id, country=tax_id[:2], time_zone="Europe/Rome", language="en")
        with suppress(TaxIdExists):
            self.ask("create", lambda: customers.create(_DESK, new, OPERATOR, self.now))

    def check(self) -> None:
        tax_ids = Counter(row.body.tax_id for row in self.cloud.rows(CustomerItem))
        codes = Counter(row.body.code for row in self.cloud.rows(LicenseItem))
        for each, times in (tax_ids + codes).items():
            must(times == 1, f"{each} is there {times} times")
        for customer in self.cloud.rows(CustomerItem):
            self.hold_claim(f"TAX#{customer.body.tax_id}", "TAX", customer.pk)
        for license in self.cloud.rows(LicenseItem):
            self.hold_claim(f"CODE#{license.body.code}", "CODE", license.body.license_id)
        created = Counter(row.subject_id for row in self.cloud.rows(OperationItem) if row.action == "customer.created")
        there = Counter(row.pk for row in self.cloud.rows(CustomerItem))
        must(created == there, f"{there} are there, and the log tells of {created}")

    def hold_claim(self, pk: str, sk: str, subject: str) -> None:
        lookup = self.cloud.find(LookupItem, pk, sk)
        must(lookup and lookup.subject_id == subject, f"{pk} leads to another one than {subject}")

    def finish(self) -> None:
        """Who loads the file once more completes what was left in parts."""
        sold = vendor.catalogue()
        for tax_id in _TAX_IDS:
            mine = [row.pk for row in self.cloud.rows(CustomerItem) if row.body.tax_id == tax_id]
            with suppress(LoadError):
                self.loaded(tax_id, shared=True)
            try:
                self.loaded(tax_id, shared=False)
            except LoadError as error:
                must(False, f"{tax_id} can't be loaded: {error}")
            self.check()
            account = accounts.read_by_tax_id(tax_id)
            assert account
            must(not mine or mine == [account.customer.customer_id], f"{tax_id} is another customer now")
            must(accounts.write(account, account, sold) == 0, "a projection is not as it should be")
        codes = {row.body.code for row in self.cloud.rows(LicenseItem)}
        must(_SHARED in codes, "a code that nobody has can't be loaded")


#: A code that two files may name.
_SHARED = "AQ-SHARED"


def document(tax_id: str, *, shared: bool) -> dict[str, Any]:
    """A customer with more items than one transaction takes here."""
    codes = [f"AQ-{tax_id}-{n}" for n in range(3)] + [_SHARED] * shared
    return {
        "name": f"Customer {tax_id}",
        "tax_id": tax_id,
        "country": tax_id[:2],
        "time_zone": "Europe/Rome",
        "installations": [{"name": name} for name in ("One", "Two", "Three")],
        "licenses": [{"code": code, "sku": "AQ", "quantity": 4, "allocations": {"One": 1}} for code in codes],
    }
