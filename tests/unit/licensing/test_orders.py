"""Orders: what lines become, when terms begin and end, and what is told of an e-mail (B1, B2, B7, D6)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licensing.errors import (
    LicenseUnknown,
    ModuleNotCompatible,
    NotRenewable,
    PeriodNotOnSale,
    ProductUnknown,
    RenewalTooEarly,
    RenewalTooLate,
)
from licensing.rules.accounts import Account, Customer, License
from licensing.rules.orders import (
    Order,
    Wanted,
    cancel,
    is_number,
    mailed,
    steps,
    take_in,
    unlock,
    with_delivery,
)
from licensing.rules.terms import last_day, renewed
from licensing.rules.vendor import Application, Catalogue, Product

TODAY = date(2026, 11, 25)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CATALOGUE = Catalogue(
    {
        "queueing": Application("queueing", "Queueing", "channels", ("callback",)),
        "fax": Application("fax", "Fax", "users"),
    },
    {
        "AQ-SUB": Product("AQ-SUB", "queueing", "Queueing", "subscription", 10, (1, 3)),
        "AQ-PERP": Product("AQ-PERP", "queueing", "Queueing", "perpetual", 10),
        "FX-PERP": Product("FX-PERP", "fax", "Fax", "perpetual", 25),
    },
)
OLD = License(
    "lic_old", "AQ-OLD", "AQ-SUB", 20, {"ins_1": 20}, care="GOLD", care_until=date(2027, 3, 31),
    first_day=date(2026, 4, 1), last_day=date(2027, 3, 31),
)  # fmt: skip
BOUGHT = License("lic_perp", "AQ-BOUGHT", "AQ-PERP", 10, first_day=date(2020, 1, 1))
ACCOUNT = Account(
    Customer("cus_1", "Acme", "IT00743110157", "IT", "Europe/Rome"),
    licenses={each.license_id: each for each in (OLD, BOUGHT)},
)


def taken(*wanted: Wanted, account: Account = ACCOUNT, today: date = TODAY) -> tuple[Account, Order]:
    numbers = count(1)

    def new_license(sku: str) -> tuple[str, str]:
        number = next(numbers)
        return f"lic_{number}", f"{sku}-{number}"

    after, lines = take_in(account, wanted, CATALOGUE, today, new_license)
    order = Order("ord_1", "TP-1", "res_1", "cus_1", "Acme", "IT00743110157", "IT", NOW, lines)
    return after, order


def new(**members: Any) -> Wanted:
    return Wanted(**{"kind": "new", "sku": "AQ-SUB", "quantity": 2, "years": 1, **members})


def renewal(**members: Any) -> Wanted:
    return Wanted(**{"kind": "renewal", "license_code": "AQ-OLD", "years": 1, **members})


def expansion(**members: Any) -> Wanted:
    return Wanted(**{"kind": "expansion", "license_code": "AQ-OLD", "quantity": 1, **members})


# ── terms ──


@pytest.mark.parametrize(
    ("first", "years", "last"),
    [
        (date(2019, 8, 8), 1, date(2020, 8, 7)),
        (date(2024, 2, 29), 1, date(2025, 2, 28)),
        (date(2023, 3, 1), 1, date(2024, 2, 29)),
        (date(2026, 1, 1), 3, date(2028, 12, 31)),
    ],
)
def test_a_term_ends_the_day_before_its_anniversary(first: date, years: int, last: date) -> None:
    assert last_day(first, years) == last


@given(st.dates(date(2000, 1, 1), date(2090, 1, 1)), st.integers(1, 5), st.integers(1, 5), st.integers(0, 365))
def test_a_renewed_term_is_as_long_as_one_bought_at_once(first: date, years: int, more: int, before: int) -> None:
    ends = last_day(first, years)
    at_once = last_day(first, years + more)
    assert abs((renewed(ends, more, ends - timedelta(days=before)) - at_once).days) <= 1  # 29 February


@pytest.mark.parametrize(("days", "refusal"), [(-1, RenewalTooLate), (366, RenewalTooEarly)])
def test_renewing_is_for_the_last_365_days_the_last_included(days: int, refusal: type[Exception]) -> None:
    for allowed in (0, 365):
        renewed(TODAY + timedelta(days=allowed), 1, TODAY)
    with pytest.raises(refusal):
        renewed(TODAY + timedelta(days=days), 1, TODAY)


# ── intake ──


def test_a_new_line_is_a_locked_license_in_units_with_its_care() -> None:
    account, order = taken(new(care="GOLD", modules=("callback",)))
    license = account.licenses["lic_1"]
    assert (license.state, license.quantity, license.modules, license.care) == ("locked", 20, ("callback",), "GOLD")
    assert (order.lines[0].quantity, order.lines[0].units, order.lines[0].unit) == (2, 20, "channels")
    assert order.state_of(order.lines[0]) == "locked"


def test_a_renewal_extends_term_and_care_at_once_and_touches_nothing_else() -> None:
    account, order = taken(renewal(care_years=1))
    assert account.licenses["lic_old"] == replace(OLD, last_day=date(2028, 3, 31), care_until=date(2028, 3, 31))
    assert order.state_of(order.lines[0]) == "renewed"


def test_care_that_lasts_as_long_as_the_term_goes_on_with_it() -> None:
    account, order = taken(renewal())
    assert account.licenses["lic_old"] == replace(OLD, last_day=date(2028, 3, 31), care_until=date(2028, 3, 31))
    assert order.lines[0].care_until == date(2028, 3, 31)
    shorter = replace(OLD, care_until=date(2026, 12, 31))
    account, _ = taken(renewal(), account=replace(ACCOUNT, licenses={"lic_old": shorter}))
    assert account.licenses["lic_old"].care_until == date(2026, 12, 31)


def test_a_term_that_is_over_before_it_begins_is_not_sold() -> None:
    with pytest.raises(RenewalTooLate):
        taken(new(first_day=date(2020, 1, 1)))


def test_an_expansion_ends_with_what_it_expands_renewed_meanwhile_or_not() -> None:
    account, order = taken(expansion())
    renewed_meanwhile = replace(OLD, last_day=date(2028, 3, 31), care_until=date(2028, 3, 31))
    later = replace(account, licenses={**account.licenses, "lic_old": renewed_meanwhile})
    unlocked, _ = unlock(later, order, NOW, TODAY)
    assert unlocked.licenses["lic_1"].last_day == unlocked.licenses["lic_1"].care_until == date(2028, 3, 31)
    with pytest.raises(RenewalTooLate):
        unlock(account, order, NOW, date(2027, 4, 1))


def test_the_care_plan_alone_can_be_renewed() -> None:
    account, _ = taken(renewal(years=None, care_years=2))
    assert account.licenses["lic_old"] == replace(OLD, care_until=date(2029, 3, 31))


def test_an_expansion_without_a_period_ends_with_what_it_expands() -> None:
    account, order = taken(expansion())
    license = account.licenses["lic_1"]
    assert (license.state, license.quantity) == ("locked", 10)
    assert (license.last_day, license.care, license.care_until) == (OLD.last_day, "GOLD", OLD.care_until)
    assert order.lines[0].expands == "AQ-OLD"
    assert account.licenses["lic_old"] == OLD


@pytest.mark.parametrize(
    ("wanted", "refusal"),
    [
        (new(sku="NONE"), ProductUnknown),
        (new(years=2), PeriodNotOnSale),
        (new(years=None), PeriodNotOnSale),
        (new(sku="AQ-PERP"), PeriodNotOnSale),
        (new(modules=("mail-gateway",)), ModuleNotCompatible),
        (renewal(license_code="AQ-NONE"), LicenseUnknown),
        (renewal(years=2), PeriodNotOnSale),
        (renewal(license_code="AQ-BOUGHT", years=None, care_years=1), NotRenewable),
        (expansion(license_code="AQ-NONE"), LicenseUnknown),
        (expansion(sku="FX-PERP"), ProductUnknown),
    ],
)
def test_a_line_that_does_not_fit_is_refused_by_its_number(wanted: Wanted, refusal: type[Any]) -> None:
    with pytest.raises(refusal) as refused:
        taken(new(), wanted)
    assert refused.value.members["line"] == 2


@pytest.mark.parametrize("state", ["locked", "returned", "refunded"])
def test_only_what_runs_is_renewed(state: Any) -> None:
    account = replace(ACCOUNT, licenses={"lic_old": replace(OLD, state=state)})
    with pytest.raises(NotRenewable):
        taken(renewal(), account=account)


def test_an_ended_license_is_not_expanded_to_its_end() -> None:
    with pytest.raises(RenewalTooLate):
        taken(expansion(), today=date(2027, 4, 1))


# ── unlocking and cancelling ──


def test_a_term_without_a_first_day_begins_when_it_is_unlocked_however_late() -> None:
    account, order = taken(new(care="GOLD"))
    later = TODAY + timedelta(days=200)
    after, unlocked = unlock(account, order, NOW, later)
    license = after.licenses["lic_1"]
    assert (license.state, license.first_day, license.last_day) == ("active", later, last_day(later, 1))
    assert license.care_until == license.last_day
    assert (unlocked.lines[0].last_day, unlocked.state) == (license.last_day, "unlocked")


def test_a_term_with_a_first_day_keeps_it() -> None:
    account, order = taken(new(first_day=date(2026, 12, 1)))
    after, _ = unlock(account, order, NOW, date(2027, 2, 1))
    assert (after.licenses["lic_1"].first_day, after.licenses["lic_1"].last_day) == (
        date(2026, 12, 1),
        date(2027, 11, 30),
    )


def test_an_expansion_unlocked_late_still_ends_with_what_it_expands() -> None:
    account, order = taken(expansion())
    after, _ = unlock(account, order, NOW, date(2027, 1, 1))
    assert (after.licenses["lic_1"].first_day, after.licenses["lic_1"].last_day) == (date(2027, 1, 1), OLD.last_day)


def test_unlocking_leaves_what_the_vendor_decided_meanwhile() -> None:
    account, order = taken(new(), new())
    refunded = replace(account.licenses["lic_1"], state="refunded")
    after, _ = unlock(replace(account, licenses={**account.licenses, "lic_1": refunded}), order, NOW, TODAY)
    assert (after.licenses["lic_1"].state, after.licenses["lic_2"].state) == ("refunded", "active")


def test_cancelling_takes_locked_licenses_and_keeps_renewals() -> None:
    account, order = taken(new(), renewal())
    after, cancelled = cancel(account, order, NOW)
    assert set(after.licenses) == {"lic_old", "lic_perp"}
    assert after.licenses["lic_old"].last_day == date(2028, 3, 31)
    assert [cancelled.state_of(line) for line in cancelled.lines] == ["cancelled", "renewed"]


@pytest.mark.parametrize("typed", ["TP-1", " tp-1 ", "Tp-1"])
def test_an_order_number_is_right_however_it_is_typed(typed: str) -> None:
    assert is_number(taken(new())[1], typed)
    assert not is_number(taken(new())[1], typed + "0")


# ── the e-mail, and the steps ──


def events() -> Iterator[Any]:
    yield from ("sent", "delivered", "bounced", "complained")


@given(st.lists(st.sampled_from(list(events())), min_size=1, max_size=12))
def test_in_whatever_order_events_come_the_one_that_counts_most_stays(states: list[Any]) -> None:
    order = mailed(taken(new())[1], "m1", ["a@b.example", "c@d.example"], NOW)
    for state in states:
        order = with_delivery(order, "m1", "A@b.example", state, NOW)
        assert with_delivery(order, "m1", "a@b.example", state, NOW) == order  # it tells nothing new
    worst = max(states, key=list(events()).index)
    assert [each.state for each in order.mailings[0].deliveries] == [worst, "queued"]


def test_an_event_of_another_e_mail_changes_nothing() -> None:
    order = mailed(taken(new())[1], "m1", ["a@b.example"], NOW)
    assert with_delivery(order, "m2", "a@b.example", "bounced", NOW) == order
    assert with_delivery(order, "m1", "x@y.example", "bounced", NOW) == order


def test_the_four_steps_follow_one_another() -> None:
    account, order = taken(new(), new())
    reached = [steps(order, account.licenses, ())]
    order = with_delivery(mailed(order, "m1", ["a@b.example"], NOW), "m1", "a@b.example", "sent", NOW)
    reached.append(steps(order, account.licenses, ()))
    account, order = unlock(account, order, NOW, TODAY)
    reached.append(steps(order, account.licenses, ()))
    for key in ("lic_1", "lic_2"):
        given_out = replace(account.licenses[key], allocations={"ins_1": 20})
        account = replace(account, licenses={**account.licenses, key: given_out})
        reached.append(steps(order, account.licenses, ()))
    reached.append(steps(order, account.licenses, {"ins_1"}))
    flags = [(each.delivered, each.unlocked, each.assigned, each.activated) for each in reached]
    assert [sum(each) for each in flags] == [0, 1, 2, 2, 3, 4]


def test_an_e_mail_that_came_back_did_not_arrive() -> None:
    order = mailed(taken(new())[1], "m1", ["a@b.example"], NOW)
    bounced = with_delivery(order, "m1", "a@b.example", "bounced", NOW)
    assert not steps(bounced, {}, ()).delivered
