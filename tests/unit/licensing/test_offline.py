"""What an offline license may hold, what it goes without, and what it holds until it is given back (B8, B9)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from licensing.rules import accounts, offline
from licensing.rules.accounts import Account, AccountError, Customer, Installation, License, OfflineGrant, standing
from licensing.rules.vendor import Application, Catalogue, Product

NOW = datetime(2026, 11, 22, 11, tzinfo=UTC)
CATALOGUE = Catalogue(
    {"fax": Application("fax", "Fax Server", "users")},
    {
        "P": Product("P", "fax", "Fax", "perpetual"),
        "L": Product("L", "fax", "Fax, local", "perpetual", cloud_services=False),
        "S": Product("S", "fax", "Fax by the year", "subscription"),
        "T": Product("T", "fax", "Fax to try", "trial"),
    },
)


def license(sku: str, quantity: int = 10, **changes: object) -> License:
    made = License(f"lic_{sku}", f"FX-{sku}", sku, quantity, {"ins_1": quantity}, last_day=None)
    return replace(made, **changes)  # type: ignore[arg-type]


def account(*licenses: License) -> Account:
    customer = Customer("cus_1", "Acme", "IT1", "IT", "Europe/Rome")
    installations = {key: Installation(key, name) for key, name in (("ins_1", "Milano"), ("ins_2", "Bergamo"))}
    return Account(customer, installations, {each.license_id: each for each in licenses})


def grant(gen: int = 1, until: datetime | None = None, **quantities: int) -> OfflineGrant:
    return OfflineGrant(f"ins_1.{gen}.0", gen, NOW, until, quantities)


def out(until: datetime | None = None) -> Account:
    return offline.take_offline(account(license("P")), "ins_1", grant(until=until, lic_P=10), NOW)


@pytest.mark.parametrize("sku", ["S", "T"])
@pytest.mark.parametrize("last_day", [date(2027, 1, 1), date(2020, 1, 1)])
def test_subscriptions_and_trials_are_for_online_servers_even_ended(sku: str, last_day: date) -> None:
    where = standing(account(license("P"), license(sku, last_day=last_day)), "ins_1", CATALOGUE)
    assert offline.online_only(where) == [f"FX-{sku}"]


def test_only_perpetual_licenses_in_force_go_into_a_file() -> None:
    held = account(
        license("P"),
        license("L", first_day=date(2027, 1, 1)),
        license("S", last_day=date(2027, 1, 1)),
    )
    found = offline.licensed(standing(held, "ins_1", CATALOGUE), NOW, None, ())
    assert [each.license_code for each in found] == ["FX-P"]


def test_what_is_given_up_is_what_has_cloud_services_online() -> None:
    held = account(license("P", care="GOLD"), license("L"))
    assert [each.license_code for each in offline.given_up(held, "ins_1", CATALOGUE, NOW)] == ["FX-P"]
    gone = offline.take_offline(held, "ins_1", grant(lic_P=10), NOW)
    assert [each.license_code for each in offline.given_up(gone, "ins_1", CATALOGUE, NOW)] == ["FX-P"]
    assert not any(each.cloud_services for each in standing(gone, "ins_1", CATALOGUE).entitlements)


def test_the_end_counts_today_and_is_a_midnight_where_the_customer_is() -> None:
    assert offline.end(NOW, None, "Europe/Rome") is None
    assert offline.end(NOW, 1, "Europe/Rome") == datetime(2026, 11, 22, 23, tzinfo=UTC)
    assert offline.end(NOW, 365, "Europe/Rome") == datetime(2027, 11, 21, 23, tzinfo=UTC)


def lowered(held: Account) -> Account:
    return replace(held, licenses={"lic_P": license("P", allocations={"ins_1": 9})})


def moved(held: Account) -> Account:
    return replace(held, licenses={"lic_P": license("P", allocations={"ins_2": 10})})


def set_online(held: Account) -> Account:
    return accounts.change_installation(held, "ins_1", lambda each: replace(each, mode="online"))


def disabled(held: Account) -> Account:
    return accounts.disable(held, "ins_1", None)


def removed(held: Account) -> Account:
    return replace(held, installations={"ins_2": held.installations["ins_2"]})


def license_removed(held: Account) -> Account:
    return replace(held, licenses={})


CHANGES = [
    lowered,
    moved,
    set_online,
    disabled,
    removed,
    license_removed,
    lambda held: offline.bring_back(held, "ins_1"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_nobody_takes_back_what_is_out(change: Callable[[Account], Account]) -> None:
    held = out()
    with pytest.raises(AccountError, match="Milano"):
        offline.check_held(held, change(held), NOW + timedelta(days=9999))
    until = NOW + timedelta(days=30)
    held = out(until)
    with pytest.raises(AccountError, match="2026-12-22"):
        offline.check_held(held, change(held), until - timedelta(seconds=1))
    offline.check_held(held, change(held), until)


def test_more_may_be_assigned_while_it_is_out() -> None:
    held = out()
    more = replace(held, licenses={"lic_P": license("P", quantity=20)})
    offline.check_held(held, more, NOW)


def test_a_release_waits_for_the_receipt_or_the_end() -> None:
    offline.check_release(account(), "ins_1", NOW)
    offline.check_release(out(NOW), "ins_1", NOW)
    with pytest.raises(AccountError, match="receipt"):
        offline.check_release(out(), "ins_1", NOW)


def test_a_second_license_on_the_same_machine_holds_what_the_first_one_does() -> None:
    short = grant(2, NOW + timedelta(days=5), lic_L=3)
    second = offline.take_offline(out(), "ins_1", short, NOW).installations["ins_1"].offline
    assert second
    assert (second.gen, second.until, second.quantities) == (2, None, {"lic_P": 10, "lic_L": 3})
    later = offline.take_offline(out(NOW + timedelta(days=9)), "ins_1", short, NOW).installations["ins_1"].offline
    assert later
    assert later.until == NOW + timedelta(days=9)
    ended = offline.take_offline(out(NOW), "ins_1", short, NOW).installations["ins_1"].offline
    assert ended == short


def test_after_the_receipt_everything_is_free() -> None:
    back = offline.bring_back(out(), "ins_1")
    assert (back.installations["ins_1"].mode, back.installations["ins_1"].offline) == ("online", None)
    for change in CHANGES:
        offline.check_held(back, change(back), NOW)
