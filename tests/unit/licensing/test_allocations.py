"""The license table: rows, the spreading of their quantities, and what a save may not do (B4)."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from licensing.errors import (
    InstallationDisabled,
    LicenseOver,
    LicensingError,
    NotFound,
    OfflineLicenseOut,
    OfflineNotAllowed,
    QuantityExceeded,
    RedundancyExceeded,
    RedundancyServer,
)
from licensing.rules.accounts import Account, Customer, Freed, Installation, License, OfflineGrant
from licensing.rules.allocations import Cell, Merge, assign, by_license, check_mode, merge, moved, rows, spread
from licensing.rules.vendor import Application, Catalogue, Product

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TODAY = NOW.date()
LAST = date(2027, 3, 31)
CATALOGUE = Catalogue(
    {"queueing": Application("queueing", "Advanced Queueing", "channels"), "fax": Application("fax", "Fax", "users")},
    {
        "AQ": Product("AQ", "queueing", "Queueing", "subscription"),
        "AQ-RED": Product("AQ-RED", "queueing", "Queueing standby", "subscription", redundancy=True),
        "AQ-TRIAL": Product("AQ-TRIAL", "queueing", "Queueing trial", "trial"),
        "FX": Product("FX", "fax", "Fax", "perpetual"),
    },
)
SERVERS = ("ins_a", "ins_b", "ins_c")


def license(key: str, quantity: int = 10, sku: str = "AQ", **members: Any) -> License:
    last_day = None if sku == "FX" else LAST
    return License(key, key.upper(), sku, quantity, **{"care": "GOLD", "last_day": last_day, **members})


def account(*licenses: License, **servers: Installation) -> Account:
    installations = {key: Installation(key, key) for key in SERVERS} | servers
    customer = Customer("cus_1", "Officine", "IT00743110157", "IT", "Europe/Rome")
    return Account(customer, installations, {each.license_id: each for each in licenses})


def assigned(account: Account) -> dict[str, dict[str, int]]:
    return {key: dict(each.allocations) for key, each in account.licenses.items() if each.allocations}


def save(before: Account, **allocations: dict[str, int]) -> Account:
    return assign(before, allocations, CATALOGUE, NOW)


# ── rows ──


def test_licenses_of_one_application_type_term_and_care_plan_are_one_row() -> None:
    licenses = [
        license("one", allocations={"ins_a": 3}), license("two", 5, allocations={"ins_a": 1, "ins_b": 2}),
        license("silver", care="SILVER"), license("later", last_day=LAST + timedelta(days=1)),
        license("standby", sku="AQ-RED"), license("trial", sku="AQ-TRIAL"), license("fax", sku="FX"),
    ]  # fmt: skip
    found = rows(account(*licenses), CATALOGUE, NOW)
    assert [[each.license_id for each in row.licenses] for row in found] == [
        ["one", "two"], ["trial"], ["silver"], ["later"], ["standby"], ["fax"],
    ]  # fmt: skip
    assert (found[0].total, found[0].used, dict(found[0].quantities)) == (15, 6, {"ins_a": 4, "ins_b": 2})
    assert len({row.row_id for row in found}) == 6


def test_a_locked_license_is_in_no_row_and_can_not_be_assigned() -> None:
    before = account(license("locked", state="locked"))
    assert rows(before, CATALOGUE, NOW) == []
    with pytest.raises(NotFound):
        save(before, locked={"ins_a": 1})


def test_what_is_over_stays_in_a_row_of_its_own_at_the_end() -> None:
    ended, refunded = license("ended", last_day=TODAY - timedelta(days=1)), license("refunded", state="refunded")
    last_today, running = license("last", last_day=TODAY), license("running")
    found = rows(account(ended, refunded, last_today, running), CATALOGUE, NOW)
    assert [(row.licenses[0].license_id, row.over, row.phase) for row in found] == [
        ("last", False, "in_force"), ("running", False, "in_force"), ("ended", True, "ended"), ("refunded", True, "refunded"),
    ]  # fmt: skip


@pytest.mark.parametrize(("days", "soon"), [(-1, False), (0, True), (60, True), (61, False)])
def test_what_ends_within_sixty_days_stands_out(days: int, soon: bool) -> None:
    [row] = rows(account(license("one", last_day=TODAY + timedelta(days=days))), CATALOGUE, NOW)
    assert row.ends_soon is soon


@pytest.mark.parametrize(
    ("care_until", "last_day", "soon"),
    [
        (-1, None, True),
        (0, None, True),
        (60, None, True),
        (61, None, False),
        (60, 61, True),
        (60, 60, False),
        (-9, -1, False),
    ],
)
def test_care_that_ends_before_its_license_stands_out(care_until: int, last_day: int | None, soon: bool) -> None:
    end = None if last_day is None else TODAY + timedelta(days=last_day)
    one = license("one", sku="FX", care_until=TODAY + timedelta(days=care_until), last_day=end)
    two = license("two", sku="FX", care_until=TODAY + timedelta(days=400), last_day=end)
    [row] = rows(account(one, two), CATALOGUE, NOW)
    assert (row.care_ends_soon, row.care_until) == (soon, one.care_until)


def test_a_row_keeps_its_id_while_quantities_and_servers_change() -> None:
    before = account(license("one"), license("two"))
    after = save(before, one={"ins_a": 3})
    assert rows(before, CATALOGUE, NOW)[0].row_id == rows(after, CATALOGUE, NOW)[0].row_id


def test_what_a_disabled_server_gave_back_is_marked_until_its_token_has_run_out() -> None:
    freed = {"ins_a": Freed(4, NOW + timedelta(days=1)), "ins_b": Freed(2, NOW)}
    before = account(license("one", freed=freed))
    assert dict(rows(before, CATALOGUE, NOW)[0].freed) == {"ins_a": freed["ins_a"]}
    after = save(before, one={"ins_b": 10})  # free at once (B5), and marked all the same
    assert dict(rows(after, CATALOGUE, NOW)[0].freed) == {"ins_a": freed["ins_a"]}
    assert rows(save(before, one={"ins_a": 1}), CATALOGUE, NOW)[0].freed == {}


# ── spreading ──


def spread_over(before: Account, **wanted: int) -> dict[str, dict[str, int]]:
    [row] = rows(before, CATALOGUE, NOW)
    given = spread(row, wanted, {})
    return {key: {at: n for at, n in each.items() if n} for key, each in given.items()}


LONGER = {"care_until": date(2028, 1, 1)}


def test_what_is_missing_comes_from_what_the_server_has_then_from_the_longest_lasting() -> None:
    before = account(license("short", allocations={"ins_a": 2}), license("long", **LONGER), license("longer", **LONGER))
    assert spread_over(before, ins_a=9) == {"short": {"ins_a": 9}, "long": {}, "longer": {}}
    assert spread_over(before, ins_b=15) == {"short": {"ins_a": 2}, "long": {"ins_b": 10}, "longer": {"ins_b": 5}}


def test_what_is_too_much_is_taken_from_what_ends_first() -> None:
    before = account(license("short", allocations={"ins_a": 4}), license("long", allocations={"ins_a": 4}, **LONGER))
    assert spread_over(before, ins_a=6) == {"short": {"ins_a": 2}, "long": {"ins_a": 4}}
    assert spread_over(before, ins_a=3) == {"short": {}, "long": {"ins_a": 3}}


def test_what_one_server_gives_another_can_have_in_the_same_save() -> None:
    before = account(license("one", allocations={"ins_b": 10}))
    assert spread_over(before, ins_a=10, ins_b=0) == {"one": {"ins_a": 10}}


def test_what_a_license_file_holds_is_not_taken_away() -> None:
    out = Installation("ins_a", "a", "offline", offline=OfflineGrant("jti", 1, NOW, quantities={"short": 3}))
    before = account(
        license("short", sku="FX", allocations={"ins_a": 4}),
        license("long", sku="FX", allocations={"ins_a": 4}, **LONGER),
        ins_a=out,
    )
    [row] = rows(before, CATALOGUE, NOW)

    def wish(quantity: int) -> Account:
        return save(before, **by_license(before, [row], [Cell(row.row_id, "ins_a", 8, quantity)], NOW))

    assert assigned(wish(4)) == {"short": {"ins_a": 3}, "long": {"ins_a": 1}}
    with pytest.raises(OfflineLicenseOut):
        wish(2)
    with pytest.raises(OfflineLicenseOut):
        save(before, short={"ins_a": 2})


def test_a_row_has_no_more_than_its_licenses() -> None:
    with pytest.raises(QuantityExceeded) as refused:
        spread_over(account(license("one"), license("two", allocations={"ins_b": 5})), ins_a=16)
    assert dict(refused.value.members) | {"row": ""} == {
        "license": "Advanced Queueing",
        "row": "",
        "assigned": 21,
        "quantity": 20,
    }


quantities = st.dictionaries(st.sampled_from(SERVERS), st.integers(0, 25))


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.lists(quantities, max_size=6))
@settings(max_examples=150, deadline=None)
def test_no_sequence_of_saves_exceeds_a_license_and_each_server_gets_what_was_said(
    sizes: list[int], saves: list[dict[str, int]]
) -> None:
    now = account(*(license(f"l{n}", size, care_until=LAST + timedelta(days=n % 3)) for n, size in enumerate(sizes)))
    for wanted in saves:
        [row] = rows(now, CATALOGUE, NOW)
        cells = [Cell(row.row_id, at, row.quantities.get(at, 0), n) for at, n in wanted.items()]
        expected = {at: n for at, n in {**row.quantities, **wanted}.items() if n}
        try:
            now = save(now, **by_license(now, [row], cells, NOW))
        except QuantityExceeded:
            assert sum(expected.values()) > sum(sizes)
        else:
            assert dict(rows(now, CATALOGUE, NOW)[0].quantities) == expected
        for each in now.licenses.values():
            assert 0 <= sum(each.allocations.values()) <= each.quantity
            assert all(n > 0 for n in each.allocations.values())


USABLE: list[dict[str, Any]] = [{}, {"first_day": TODAY + timedelta(days=9)}, {"state": "suspended"}]


@given(
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from([0, 1, 2])), min_size=1, max_size=5),
    st.lists(quantities, max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_what_can_be_used_is_given_first_and_taken_last(
    sizes: list[tuple[int, int]], saves: list[dict[str, int]]
) -> None:
    ranks = {f"l{n}": rank for n, (_, rank) in enumerate(sizes)}
    now = account(
        *(
            license(f"l{n}", size, care_until=LAST + timedelta(days=n), **USABLE[rank])
            for n, (size, rank) in enumerate(sizes)
        )
    )
    for wanted in saves:
        [row] = rows(now, CATALOGUE, NOW)
        try:
            after = save(now, **spread(row, wanted, {}))
        except QuantityExceeded:
            continue
        for key, rank in ranks.items():
            for at in SERVERS:
                more = after.licenses[key].allocations.get(at, 0) - now.licenses[key].allocations.get(at, 0)
                for other, theirs in ranks.items():
                    if more > 0 and theirs < rank:
                        assert after.licenses[other].assigned == after.licenses[other].quantity
                    if more < 0 and theirs > rank:
                        assert at not in after.licenses[other].allocations
        now = after


@given(quantities)
@settings(max_examples=50, deadline=None)
def test_saving_what_is_there_moves_nothing_between_licenses(wanted: dict[str, int]) -> None:
    before = account(license("one", 60), license("two", 60, **LONGER))
    [row] = rows(before, CATALOGUE, NOW)
    after = save(before, **spread(row, wanted, {}))
    [row] = rows(after, CATALOGUE, NOW)
    assert save(after, **spread(row, row.quantities, {})) == after


# ── what a save may not do ──


ENDED = license("one", allocations={"ins_a": 4}, last_day=TODAY - timedelta(days=1))


@pytest.mark.parametrize(
    ("before", "wanted", "refusal"),
    [
        (account(license("one")), {"one": {"ins_a": 6, "ins_b": 5}}, QuantityExceeded),
        (account(license("one")), {"two": {"ins_a": 1}}, NotFound),
        (account(license("one")), {"one": {"ins_z": 1}}, NotFound),
        (account(license("one"), ins_a=Installation("ins_a", "a", disabled=True)), {"one": {"ins_a": 1}}, InstallationDisabled),
        (account(ENDED), {"one": {"ins_a": 5}}, LicenseOver),
        (account(license("one", state="refunded")), {"one": {"ins_a": 1}}, LicenseOver),
        (account(license("one"), ins_a=Installation("ins_a", "a", mode="offline")), {"one": {"ins_a": 1}}, OfflineNotAllowed),
    ],
)  # fmt: skip
def test_a_save_is_refused(before: Account, wanted: dict[str, dict[str, int]], refusal: type[LicensingError]) -> None:
    with pytest.raises(refusal):
        save(before, **wanted)


def test_a_perpetual_license_may_go_to_an_offline_server_and_what_is_over_may_be_taken_back() -> None:
    offline = Installation("ins_a", "a", mode="offline")
    assert assigned(save(account(license("fax", sku="FX"), ins_a=offline), fax={"ins_a": 2})) == {"fax": {"ins_a": 2}}
    assert assigned(save(account(ENDED), one={"ins_a": 3})) == {"one": {"ins_a": 3}}


def test_a_server_with_a_subscription_stays_online() -> None:
    before = account(license("one", allocations={"ins_a": 4}))
    for at, allowed in (("ins_a", False), ("ins_b", True)):
        offline = Installation(at, at, mode="offline")
        if allowed:
            check_mode(before, offline, CATALOGUE)
        else:
            with pytest.raises(OfflineNotAllowed) as refused:
                check_mode(before, offline, CATALOGUE)
            assert refused.value.members["licenses"] == ["ONE"]


# ── redundancy ──

MAIN = license("main", 10, allocations={"ins_a": 10})
STANDBY = license("standby", 20, "AQ-RED")


def test_redundancy_is_for_another_server_than_the_main_product_s() -> None:
    before = account(MAIN, STANDBY)
    assert assigned(save(before, standby={"ins_b": 10}))["standby"] == {"ins_b": 10}
    with pytest.raises(RedundancyServer):
        save(before, standby={"ins_a": 1})
    with pytest.raises(RedundancyServer):
        save(save(before, standby={"ins_b": 10}), main={"ins_b": 1})
    # They may change places in one save.
    swapped = save(save(before, standby={"ins_b": 10}), main={"ins_b": 10}, standby={"ins_a": 10})
    assert assigned(swapped) == {"main": {"ins_b": 10}, "standby": {"ins_a": 10}}


def test_redundancy_is_never_more_in_total_than_the_main_product() -> None:
    with pytest.raises(RedundancyExceeded):
        save(account(MAIN, STANDBY), standby={"ins_b": 6, "ins_c": 5})
    with pytest.raises(RedundancyExceeded):
        save(account(STANDBY, license("fax", sku="FX")), standby={"ins_b": 1})


def test_the_standby_may_be_assigned_while_the_main_server_is_out_of_service() -> None:
    assert assigned(save(account(license("main", 10), STANDBY), standby={"ins_b": 10})) == {"standby": {"ins_b": 10}}


def test_what_was_wrong_already_does_not_stop_its_mending() -> None:
    wrong = account(
        license("main", 10, allocations={"ins_a": 5}), license("standby", 20, "AQ-RED", allocations={"ins_a": 15})
    )  # fmt: skip
    assert assigned(save(wrong, standby={"ins_a": 12}))["standby"] == {"ins_a": 12}
    with pytest.raises(RedundancyServer):
        save(wrong, standby={"ins_a": 15, "ins_c": 5})


# ── two people at once ──

ROW = rows(account(license("one", 20, allocations={"ins_a": 5})), CATALOGUE, NOW)[0]
KEY = (ROW.row_id, "ins_a")


@pytest.mark.parametrize(
    ("shown", "wanted", "expected"),
    [
        (5, 7, Merge()),
        (4, 5, Merge()),  # both want the same, or the save comes twice
        (4, 4, Merge(elsewhere={KEY: 5})),
        (4, 7, Merge(conflicts={KEY: 5})),
    ],
)
def test_each_cell_is_merged_by_what_was_seen(shown: int, wanted: int, expected: Merge) -> None:
    assert merge([ROW], SERVERS, [Cell(*KEY, shown, wanted)]) == expected


@pytest.mark.parametrize("place", [("queueing.gone", "ins_a"), (ROW.row_id, "ins_gone")])
def test_a_wish_for_what_is_gone_is_told_and_what_was_not_wished_is_not(place: tuple[str, str]) -> None:
    wish = Cell(*place, 1, 2)
    assert merge([ROW], SERVERS, [wish, Cell(*place, 1, 1)]) == Merge(gone=(wish,))


def test_a_save_says_what_it_moved() -> None:
    before = account(license("one", allocations={"ins_a": 3, "ins_b": 2}))
    assert list(moved(before, save(before, one={"ins_a": 1, "ins_c": 4}))) == [
        "ONE: ins_a 3 → 1, ins_b 2 → 0, ins_c 0 → 4"
    ]
