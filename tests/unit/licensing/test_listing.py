"""Which customers a list shows (D5)."""

from datetime import date, timedelta

import pytest
from licensing.rules.accounts import Account, Customer, License, LicenseState, Listed, listed
from licensing.rules.listing import ListState, has_left, is_wanted, list_state

TODAY = date(2026, 11, 25)


def entry(served_until: date | None = None, deleted_on: date | None = None) -> Listed:
    return Listed("cus_1", "Acme", "FR40303265045", "FR", deleted_on is not None, (), deleted_on, served_until)


def days_ago(days: int) -> date:
    return TODAY - timedelta(days=days)


@pytest.mark.parametrize(
    ("served_until", "state"),
    [(None, "active"), (date.max, "active"), (TODAY, "active"), (days_ago(1), "expired"), (days_ago(500), "expired")],
)
def test_the_last_day_of_the_last_service_is_included(served_until: date | None, state: ListState) -> None:
    assert list_state(entry(served_until), TODAY) == state


def test_deleted_is_deleted_whatever_it_still_has() -> None:
    assert list_state(entry(date.max, deleted_on=TODAY), TODAY) == "deleted"


@pytest.mark.parametrize(("days", "left"), [(0, False), (90, False), (91, True)])
def test_ninety_days_after_service_deletion_or_creation_a_customer_leaves(days: int, left: bool) -> None:
    assert has_left(entry(served_until=days_ago(days)), days_ago(1000), TODAY) is left
    assert has_left(entry(date.max, deleted_on=days_ago(days)), days_ago(1000), TODAY) is left
    assert has_left(entry(), days_ago(days), TODAY) is left


def test_with_perpetual_service_a_customer_stays() -> None:
    assert not has_left(entry(date.max), days_ago(5000), TODAY)


@pytest.mark.parametrize(
    ("state", "inactive", "shown"),
    [
        (None, False, ["active", "expired"]),
        ("active", False, ["active"]),
        ("expired", False, ["expired"]),
        ("deleted", False, ["deleted"]),
        (None, True, ["active", "expired", "deleted", "long expired", "long deleted"]),
        ("expired", True, ["expired", "long expired"]),
        ("deleted", True, ["deleted", "long deleted"]),
    ],
)
def test_what_each_list_shows(state: ListState | None, inactive: bool, shown: list[str]) -> None:
    customers = {
        "active": entry(TODAY),
        "expired": entry(days_ago(10)),
        "deleted": entry(TODAY, deleted_on=days_ago(10)),
        "long expired": entry(days_ago(100)),
        "long deleted": entry(TODAY, deleted_on=days_ago(100)),
    }
    wanted = [name for name, each in customers.items() if is_wanted(each, days_ago(1000), TODAY, state, inactive)]
    assert wanted == shown


@pytest.mark.parametrize(
    ("state", "counts"),
    [("active", True), ("locked", True), ("suspended", True), ("refunded", False), ("returned", False)],
)
def test_what_may_still_be_used_counts_as_service(state: LicenseState, counts: bool) -> None:
    license = License("lic_1", "CODE", "SKU", 1, last_day=TODAY, state=state)
    account = Account(Customer("cus_1", "Acme", "FR40303265045", "FR", "Europe/Paris"), licenses={"lic_1": license})
    assert listed(account).served_until == (TODAY if counts else None)


def test_one_perpetual_license_is_enough() -> None:
    licenses = {"1": License("1", "A", "S", 1, last_day=TODAY), "2": License("2", "B", "S", 1)}
    account = Account(Customer("cus_1", "Acme", "FR40303265045", "FR", "Europe/Paris"), licenses=licenses)
    assert listed(account).served_until == date.max
