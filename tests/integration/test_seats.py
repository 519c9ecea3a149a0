"""Seats over HTTP (C2-C8, C11, C13, F1)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from licensing import administration, operations, seat_use, seats
from licensing.errors import NotFound
from licensing.key_ring import ring
from licensing.rules import seats as rules
from licensing.store import seats as store
from licensing.store.operations import OperationItem

from tests.integration.test_failures import faults
from tests.support.cloud import VENDOR, Cloud, Server, problem
from tests.support.seats import Pool, Station, concurrent_pool, crowd


@pytest.fixture
def pool(cloud: Cloud, server: Server) -> Iterator[Pool]:
    yield concurrent_pool(cloud, server, 3)
    assert not cloud.stack.guard.refused


# ── leasing ──


def test_seats_are_given_out_up_to_the_limit_and_no_further(pool: Pool) -> None:
    answers = [station.lease() for station in crowd(pool, 4)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 409]
    assert [answer.json()["in_use"] for answer in answers] == [1, 2, 3, 3]
    refused = answers[-1].json()
    assert problem(answers[-1]) == (409, "SEAT_LIMIT_REACHED")
    assert refused["capacity"] == 3
    assert 1 <= refused["retry_after"] <= 60


@pytest.mark.parametrize("quantity", [10, 40])
def test_also_where_quota_has_to_move_between_segments(cloud: Cloud, server: Server, quantity: int) -> None:
    pool = concurrent_pool(cloud, server, quantity)
    stations = crowd(pool, quantity + 5)
    codes = [station.lease().status_code for station in stations]
    assert codes == [201] * quantity + [409] * 5
    assert pool.in_use() == quantity
    assert stations[0].close().status_code == 204
    assert stations[-1].lease().status_code == 201
    assert sum(each.quota for each in store.segments(pool.pool_id)) == quantity


def test_a_station_never_takes_two_seats_and_its_modules_ride_on_one(pool: Pool) -> None:
    station = Station(pool)
    first = station.lease("billing", "1").json()
    again = station.lease("billing", "1")
    other = station.lease("stock", "2")
    assert (again.status_code, other.status_code) == (200, 200)
    assert {first["seat_id"], again.json()["seat_id"], other.json()["seat_id"]} == {first["seat_id"]}
    assert pool.in_use() == 1
    (row,) = seats.live(pool.customer_id, pool.pool_id, pool.cloud.now, with_ids=True)
    assert row.modules == ["billing", "stock"]


def test_names_in_another_case_are_the_same_station(pool: Pool) -> None:
    Station(pool, os_user="GIULIA", terminal="pc-1").lease()
    assert Station(pool, os_user="giulia", terminal="PC-1").lease().status_code == 200


def test_each_remote_session_is_its_own_station_and_marked(pool: Pool) -> None:
    for session in ("2", "3"):
        assert Station(pool, terminal="TS-01", session=session).lease().status_code == 201
    Station(pool, os_user="marco", session="local").lease()
    rows = seats.live(pool.customer_id, pool.pool_id, pool.cloud.now, with_ids=False)
    assert [(row.os_user, row.session, row.several_sessions) for row in rows] == [
        ("giulia.ferrario", "2", True),
        ("giulia.ferrario", "3", True),
        ("marco", "local", False),
    ]


def test_the_last_module_that_closes_frees_the_seat(pool: Pool) -> None:
    station = Station(pool)
    station.lease("billing", "1")
    station.lease("stock", "2")
    assert station.close("?module=billing&instance=1").status_code == 204
    assert pool.in_use() == 1
    assert station.close("?module=billing&instance=1").status_code == 204
    assert pool.in_use() == 1
    assert station.close("?module=stock&instance=2").status_code == 204
    assert pool.in_use() == 0


def test_a_killed_module_holds_the_seat_no_longer_than_its_lease(pool: Pool) -> None:
    station = Station(pool)
    station.lease("billing", "killed")
    station.lease("stock", "2")
    for _ in range(3):
        pool.pass_seconds(300)
        assert station.heartbeat("?module=stock&instance=2").status_code == 200
    (row,) = seats.live(pool.customer_id, pool.pool_id, pool.cloud.now, with_ids=False)
    assert row.modules == ["stock"]
    station.close("?module=stock&instance=2")
    assert pool.in_use() == 0


def test_a_heartbeat_opens_no_module_again_that_was_closed(pool: Pool) -> None:
    station = Station(pool)
    station.lease("billing", "1")
    station.lease("stock", "2")
    station.close("?module=billing&instance=1")
    assert station.heartbeat("?module=billing&instance=1").status_code == 200
    (row,) = seats.live(pool.customer_id, pool.pool_id, pool.cloud.now, with_ids=False)
    assert row.modules == ["stock"]
    station.close("?module=stock&instance=2")
    assert pool.in_use() == 0


@pytest.mark.parametrize("query", ["module=a%00b&instance=1", "module=a&instance=%1b[31m", "module=a", "instance=1"])
def test_a_module_is_named_in_print_and_with_its_instance(pool: Pool, query: str) -> None:
    station = Station(pool)
    station.lease()
    assert problem(station.heartbeat(f"?{query}")) == (422, "INVALID_REQUEST")
    assert problem(station.close(f"?{query}")) == (422, "INVALID_REQUEST")


def test_a_module_s_name_is_the_same_with_spaces_around_it(pool: Pool) -> None:
    station = Station(pool)
    station.lease(" billing ", "1")
    station.close("?module=%20billing%20&instance=1")
    assert pool.in_use() == 0


def test_a_lease_is_no_shorter_in_the_cloud_than_where_it_is_counted(pool: Pool) -> None:
    pool.cloud.stack.clock.advance(timedelta(milliseconds=790))
    answer = Station(pool).lease().json()
    until = datetime.fromisoformat(answer["lease_until"])
    assert pool.cloud.now + timedelta(seconds=answer["lease_seconds"]) <= until


def test_a_web_module_shares_the_desktop_s_seat_by_its_secret_and_takes_its_own_without(pool: Pool) -> None:
    desktop = Station(pool)
    desktop.lease()
    browser = Station(pool, os_user="", terminal="", session="b-77", user_code="GF12")
    shared = browser.lease("web-orders", "w1", share_secret=desktop.seat["share_secret"])
    assert shared.status_code == 200
    assert shared.json()["seat_id"] == desktop.seat["seat_id"]
    alone = Station(pool, os_user="", terminal="", session="b-78", user_code="GF12").lease("web-orders", "w2")
    wrong = Station(pool, os_user="", terminal="", session="b-79", user_code="GF12").lease(
        "web-orders", "w3", share_secret=desktop.seat["share_secret"][:-2] + "xx"
    )
    assert (alone.status_code, wrong.status_code) == (201, 201)
    assert pool.in_use() == 3


def test_the_secret_of_a_seat_that_ended_opens_nothing(pool: Pool) -> None:
    desktop = Station(pool)
    desktop.lease()
    secret = desktop.seat["share_secret"]
    desktop.close()
    desktop.lease()
    browser = Station(pool, os_user="", terminal="", session="b-1", user_code="GF12")
    assert browser.lease(share_secret=secret).status_code == 201


def test_another_company_of_the_customer_is_refused(pool: Pool) -> None:
    assert problem(Station(pool, company="BR12345678000195").lease()) == (403, "KEY_FOREIGN_COMPANY")
    assert problem(Station(pool, company="IT00743110158").lease()) == (422, "TAX_ID_INVALID")


# ── leases end ──


def test_a_lapsed_seat_can_be_had_within_the_second_and_its_heartbeat_never_revives(pool: Pool) -> None:
    first, *others = crowd(pool, 4)
    late = others.pop()
    for station in (first, *others):
        station.lease()
    pool.pass_seconds(599)
    assert late.lease().status_code == 409
    for station in others:
        assert station.heartbeat().status_code == 200
    pool.pass_seconds(1)
    assert late.lease().status_code == 201
    assert problem(first.heartbeat()) == (410, "SEAT_LOST")
    assert first.close().status_code == 204
    assert problem(first.heartbeat()) == (410, "SEAT_LOST")
    assert pool.in_use() == 3


def test_a_heartbeat_after_the_end_does_not_revive_even_where_nobody_wanted_the_seat(pool: Pool) -> None:
    station = Station(pool)
    station.lease()
    pool.pass_seconds(600)
    assert problem(station.heartbeat()) == (410, "SEAT_LOST")
    again = station.lease()
    assert again.status_code == 201
    assert again.json()["seat_id"] != ""


def test_an_old_seat_id_never_touches_a_later_lease(pool: Pool) -> None:
    station = Station(pool)
    old = station.lease().json()["seat_id"]
    station.close()
    station.lease()
    assert station.close(seat_id=old).status_code == 204
    assert problem(station.heartbeat(seat_id=old)) == (410, "SEAT_LOST")
    assert pool.in_use() == 1


def test_a_release_that_comes_twice_or_late_changes_nothing(pool: Pool) -> None:
    station, other = Station(pool), Station(pool, os_user="other")
    station.lease()
    assert [station.close().status_code for _ in range(2)] == [204, 204]
    station.lease()
    other.lease()
    pool.pass_seconds(600)
    assert station.close().status_code == 204
    other.lease()
    assert station.close().status_code == 204
    assert pool.in_use() == 1


def test_the_lease_time_is_the_pool_s(pool: Pool) -> None:
    Station(pool).lease()
    seats.set_lease_seconds(pool.customer_id, pool.pool_id, 60, VENDOR, pool.cloud.now)
    pool.forget()
    assert Station(pool, os_user="marco").lease().json()["lease_seconds"] == 60
    seats.set_lease_seconds(pool.customer_id, pool.pool_id, 10**9, VENDOR, pool.cloud.now)
    pool.forget()
    assert Station(pool, os_user="anna").lease().json()["lease_seconds"] == 86_400


def test_no_lease_outlives_its_license_and_the_last_days_are_told(cloud: Cloud, pool: Pool) -> None:
    last_day = cloud.now.astimezone(ZoneInfo("Europe/Rome")).date().isoformat()  # where the license's customer is
    pool.allocate(3, last_day=last_day)
    pool.forget()
    answer = Station(pool).lease().json()
    assert answer["warnings"][0]["code"] == "LICENSE_EXPIRING"
    assert answer["warnings"][0]["days_left"] == 0
    ends_at = pool.look().pool.ends_at
    assert ends_at is not None
    cloud.stack.clock.set(ends_at)
    pool.pass_seconds(-10)
    station = Station(pool, os_user="late")
    assert station.lease().json()["lease_seconds"] <= 10
    pool.pass_seconds(10)
    assert problem(station.heartbeat()) == (403, "EXPIRED")
    assert problem(Station(pool, os_user="later").lease()) == (403, "EXPIRED")


def test_a_whole_reconnect_after_an_outage_does_not_double_seats(pool: Pool) -> None:
    stations = crowd(pool, 3)
    for station in stations:
        station.lease()
    pool.pass_seconds(550)
    assert [station.lease().status_code for station in stations] == [200] * 3
    pool.pass_seconds(700)
    assert [station.lease().status_code for station in stations] == [201] * 3
    assert pool.in_use() == 3


# ── capacity changes ──


@pytest.mark.parametrize("before", [6, pytest.param(30, marks=pytest.mark.slow)])
def test_a_reduced_quantity_lets_holders_finish_and_seats_nobody_until_use_is_below(
    cloud: Cloud, server: Server, before: int
) -> None:
    pool = concurrent_pool(cloud, server, before)
    holders = crowd(pool, before)
    for station in holders:
        assert station.lease().status_code == 201
    pool.allocate(3)
    pool.forget()
    newcomer = Station(pool, os_user="newcomer")
    assert newcomer.lease().status_code == 409
    assert all(station.heartbeat().status_code == 200 for station in holders)
    while len(holders) > 3:
        assert newcomer.lease().status_code == 409, len(holders)
        debt = pool.look().undealt
        holders.pop().close()
        assert pool.look().undealt >= debt
    assert newcomer.lease().status_code == 409
    holders.pop().close()
    assert newcomer.lease().status_code == 201
    assert pool.in_use() == 3
    state = pool.look()
    assert state.undealt + sum(each.quota for each in store.segments(pool.pool_id)) == 3


def test_a_pool_that_grows_is_divided_while_its_seats_are_held(cloud: Cloud, server: Server) -> None:
    pool = concurrent_pool(cloud, server, 8)
    stations = crowd(pool, 60)
    for station in stations[:8]:
        assert station.lease().status_code == 201
    assert stations[8].lease().status_code == 409
    pool.allocate(60)
    pool.forget()
    assert [station.lease().status_code for station in stations] == [200] * 8 + [201] * 52
    assert all(station.heartbeat().status_code == 200 for station in stations)
    assert len(store.segments(pool.pool_id)) == 16
    assert pool.in_use() == 60


def test_a_process_that_knows_the_old_division_finds_seats_all_the_same(cloud: Cloud, server: Server) -> None:
    pool = concurrent_pool(cloud, server, 8)
    station = Station(pool)
    station.lease()
    known = dict(seats._pools)
    seats.open_pool(rules_pool(pool, capacity=60), cloud.now)
    seats._pools.update(known)
    assert station.heartbeat().status_code == 200
    assert station.close().status_code == 204
    assert pool.in_use() == 0


def rules_pool(pool: Pool, **changes: Any) -> rules.Pool:
    return replace(pool.look().pool, **changes)


def test_nothing_allocated_is_no_pool(pool: Pool) -> None:
    Station(pool).lease()
    pool.allocate(0)
    pool.forget()
    assert problem(Station(pool).lease()) == (404, "NOT_FOUND")


def test_a_suspended_license_seats_nobody(pool: Pool) -> None:
    pool.allocate(3, state="suspended")
    pool.forget()
    assert problem(Station(pool).lease()) == (403, "LICENSE_SUSPENDED")


# ── who asks ──


def test_the_server_itself_may_ask_with_its_token_and_proof(pool: Pool) -> None:
    body = Station(pool).ask()
    assert pool.server.call("/v1/seats", body).status_code == 201
    assert problem(pool.server.call("/v1/seats", body, dpop="")) == (401, "INVALID_PROOF")


@pytest.mark.parametrize(
    ("claims", "header"),
    [
        ({"aud": "licensing"}, {}),
        ({"aud": ["seats", "licensing"]}, {}),
        ({"iss": "ins_unknown"}, {}),
        ({"cus": "cus_unknown"}, {}),
        ({"exp": None}, {}),
        ({"iat": None}, {}),
        ({"iat": "now"}, {}),
        ({"iat": -1}, {}),
        ({}, {"typ": "server+jwt"}),
        ({}, {"typ": None}),
    ],
)
def test_a_seat_token_that_says_something_else_is_refused(
    pool: Pool, claims: dict[str, Any], header: dict[str, Any]
) -> None:
    assert problem(Station(pool, token_changes=claims, header=header).lease()) == (401, "INVALID_TOKEN")


def test_a_seat_token_lives_fifteen_minutes_at_most(pool: Pool) -> None:
    now = int(pool.cloud.now.timestamp())
    assert problem(Station(pool, token_changes={"exp": now + 901}).lease()) == (401, "INVALID_TOKEN")
    assert problem(Station(pool, token_changes={"iat": now - 800, "exp": now - 1}).lease()) == (401, "CLOCK_SKEWED")
    assert problem(Station(pool, token_changes={"iat": now + 400, "exp": now + 900}).lease()) == (401, "CLOCK_SKEWED")


def test_altered_and_foreign_seat_tokens_are_refused(pool: Pool) -> None:
    station = Station(pool)
    good = station.token()
    head, payload, signature = good.split(".")
    unsigned = jwt.encode({"iss": "x"}, None, "none", {"typ": "seat+jwt"})
    symmetric = jwt.encode(
        jwt.decode(good, options={"verify_signature": False}), "k" * 32, "HS256", {"typ": "seat+jwt"}
    )
    for token in (f"{head}.{payload}.{signature[:-6]}AAAAAA", f"{head}.{payload}.", "x", "a.b.c", unsigned, symmetric):
        assert problem(station.call("POST", "/v1/seats", station.ask(), token)) == (401, "INVALID_TOKEN"), token
    assert problem(Station(pool, key=ec.generate_private_key(ec.SECP256R1())).lease()) == (401, "INVALID_TOKEN")
    assert station.lease().status_code == 201


def test_a_released_and_a_disabled_installation_are_out_within_a_minute(pool: Pool) -> None:
    station = Station(pool)
    station.lease()
    installation = pool.server.claims["sub"]
    administration.disable(pool.customer_id, installation, VENDOR, pool.cloud.now)
    pool.pass_seconds(60)
    assert problem(station.heartbeat()) == (403, "INSTALLATION_DISABLED")
    administration.enable(pool.customer_id, installation, VENDOR, pool.cloud.now)
    administration.release_installation(pool.customer_id, installation, VENDOR, pool.cloud.now)
    pool.pass_seconds(60)
    assert problem(station.heartbeat()) == (401, "INVALID_TOKEN")


def test_a_server_silent_for_ten_days_seats_nobody(pool: Pool) -> None:
    pool.pass_seconds(11 * 86_400)
    assert problem(Station(pool).lease()) == (403, "SILENT_TOO_LONG")
    assert problem(pool.server.call("/v1/seats", Station(pool).ask())) == (403, "SILENT_TOO_LONG")


def test_another_customer_s_pool_looks_like_none(cloud: Cloud, pool: Pool) -> None:
    mine = Station(pool)
    mine.lease()
    stranger = Server(cloud, machine="b")
    stranger.activate(cloud.token_of("Valencia"))
    foreign = Station(Pool(cloud, stranger, stranger.claims["cus"], pool.pool_id, ""), company="ESA58818501")
    assert problem(foreign.lease()) == (404, "NOT_FOUND")
    for answer in (
        foreign.heartbeat(seat_id=mine.seat["seat_id"]),
        foreign.close(seat_id=mine.seat["seat_id"]),
        foreign.call("GET", f"/v1/pools/{pool.pool_id}"),
        foreign.call("GET", f"/v1/pools/{pool.pool_id}/seats"),
        foreign.call("POST", f"/v1/seats/{mine.seat['seat_id']}/borrow", {"days": 1}),
        foreign.call("POST", f"/v1/seats/{mine.seat['seat_id']}/return"),
    ):
        assert problem(answer) == (404, "NOT_FOUND")
    for look in (
        lambda: seats.state_of(stranger.claims["cus"], pool.pool_id, cloud.now),
        lambda: seats.live(stranger.claims["cus"], pool.pool_id, cloud.now, with_ids=True),
        lambda: seats.force_release(stranger.claims["cus"], pool.pool_id, mine.seat["seat_id"], VENDOR, cloud.now),
        lambda: seat_use.reset_peak(stranger.claims["cus"], pool.pool_id, VENDOR, cloud.now),
        lambda: seat_use.usage(stranger.claims["cus"], pool.pool_id, cloud.now, cloud.now, cloud.now),
        lambda: seat_use.denials(stranger.claims["cus"], pool.pool_id, cloud.now, cloud.now),
    ):
        with pytest.raises(NotFound):
            look()
    assert pool.in_use() == 1


def test_a_pool_of_another_installation_looks_like_none(cloud: Cloud, pool: Pool) -> None:
    Station(pool).lease()
    other = Server(cloud, machine="b")
    other.activate(cloud.token_of("Bergamo"))
    elsewhere = Station(Pool(cloud, other, pool.customer_id, pool.pool_id, ""))
    assert problem(elsewhere.lease()) == (404, "NOT_FOUND")


def test_a_made_up_seat_id_is_not_found(pool: Pool) -> None:
    station = Station(pool)
    seat = station.lease().json()["seat_id"]
    for wrong in (seat[:-1] + ("A" if seat[-1] != "A" else "B"), "sea_x", seat.replace(".g", ".s"), "sea_" + "a" * 100):
        assert problem(station.heartbeat(seat_id=wrong)) == (404, "NOT_FOUND")
        assert problem(station.close(seat_id=wrong)) == (404, "NOT_FOUND")
    assert problem(station.heartbeat(seat_id="sea_%C3%A9"))[1] in ("INVALID_REQUEST", "NOT_FOUND")
    assert pool.in_use() == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"os_user": ""},
        {"terminal": ""},
        {"terminal": "  "},
        {"session": ""},
        {"os_user": "", "terminal": "", "user_code": ""},
        {"os_user": "x" * 129},
        {"module": ""},
        {"module": "x" * 65},
        {"instance": ""},
        {"os_user": "a\x00b"},
        {"terminal": "a\nb"},
        {"session": "a\x1fb"},
        {"user_code": "a\u202eb"},
        {"pool_id": "pool_../x"},
        {"unknown": 1},
        {"os_user": None},
        {"os_user": 5},
        {"share_secret": "x" * 65},
        {"company_tax_id": ""},
    ],
)
def test_station_fields_that_are_empty_huge_or_not_printable_are_refused(pool: Pool, changes: dict[str, Any]) -> None:
    assert problem(Station(pool).lease(**changes))[1] in ("INVALID_REQUEST", "MALFORMED_JSON")


def test_long_names_in_any_script_are_taken(pool: Pool) -> None:
    answer = Station(pool, os_user="電" * 128, terminal="Ω" * 128, user_code="ß" * 64).lease("ж" * 64, "é" * 64)
    assert answer.status_code == 201
    (row,) = seats.live(pool.customer_id, pool.pool_id, pool.cloud.now, with_ids=False)
    assert (row.os_user, row.modules) == ("電" * 128, ["ж" * 64])


# ── looking, and stepping in ──


def test_a_pool_shows_capacity_use_and_validity_also_before_its_first_seat(pool: Pool) -> None:
    station = Station(pool)
    before = station.call("GET", f"/v1/pools/{pool.pool_id}").json()
    assert (before["capacity"], before["in_use"], before["peak"]) == (3, 0, 0)
    station.lease()
    after = station.call("GET", f"/v1/pools/{pool.pool_id}").json()
    assert (after["in_use"], after["valid_until"]) == (1, "2099-12-31")
    named = station.call("GET", "/v1/pools").json()["items"]
    assert {"pool_id": pool.pool_id, "application": "attendant-console"} in named


def test_stations_see_who_is_in_but_not_what_releases_them(pool: Pool) -> None:
    for station in crowd(pool, 3):
        station.lease()
    page = station.call("GET", f"/v1/pools/{pool.pool_id}/seats?limit=2").json()
    assert [row["os_user"] for row in page["items"]] == ["user0", "user1"]
    assert not any("seat_id" in row for row in page["items"])
    rest = station.call("GET", f"/v1/pools/{pool.pool_id}/seats?limit=2&cursor={page['next_cursor']}").json()
    assert ([row["os_user"] for row in rest["items"]], rest["next_cursor"]) == (["user2"], None)


def test_an_administrator_can_release_a_seat(pool: Pool) -> None:
    station = Station(pool)
    station.lease()
    (row,) = seats.live(pool.customer_id, pool.pool_id, pool.cloud.now, with_ids=True)
    assert row.seat_id is not None
    for _ in range(2):
        seats.force_release(pool.customer_id, pool.pool_id, row.seat_id, VENDOR, pool.cloud.now)
    assert problem(station.heartbeat()) == (410, "SEAT_LOST")
    assert pool.in_use() == 0


def test_a_borrowed_seat_counts_until_it_is_returned_and_nobody_can_release_it(pool: Pool) -> None:
    station = Station(pool)
    seat = station.lease().json()["seat_id"]
    borrowed = station.call("POST", f"/v1/seats/{seat}/borrow", {"days": 3})
    assert borrowed.status_code == 200, borrowed.text
    again = station.call("POST", f"/v1/seats/{seat}/borrow", {"days": 1}).json()
    assert again["borrowed_until"] == borrowed.json()["borrowed_until"]
    pool.pass_seconds(2 * 86_400)
    assert pool.in_use() == 1
    assert station.heartbeat().json()["borrowed"]
    assert station.heartbeat().json()["lease_until"] == borrowed.json()["borrowed_until"]
    assert problem(station.close()) == (409, "SEAT_BORROWED")
    with pytest.raises(seats.SeatBorrowed):
        seats.force_release(pool.customer_id, pool.pool_id, seat, VENDOR, pool.cloud.now)
    for _ in range(2):
        assert station.call("POST", f"/v1/seats/{seat}/return").status_code == 200
    assert pool.in_use() == 0


def test_a_borrowed_seat_ends_by_itself_and_its_lease_is_signed(pool: Pool) -> None:
    station = Station(pool)
    seat = station.lease().json()["seat_id"]
    lease = station.call("POST", f"/v1/seats/{seat}/borrow", {"days": 3}).json()["lease"]
    header = jwt.get_unverified_header(lease)
    key = ring.verification_key("seat", header["kid"], pool.cloud.now)
    assert key is not None
    claims = jwt.decode(
        lease, key, ["ES256"], audience="seat-leases", options={"verify_nbf": False, "verify_iat": False}
    )
    assert (header["typ"], claims["sub"], claims["exp"] - claims["iat"]) == ("seat-lease+jwt", seat, 3 * 86_400)
    pool.pass_seconds(3 * 86_400)
    assert pool.in_use() == 0
    assert problem(station.heartbeat()) == (410, "SEAT_LOST")


def test_borrowing_has_a_limit(pool: Pool) -> None:
    station = Station(pool)
    seat = station.lease().json()["seat_id"]
    for days in (31, 366):
        assert problem(station.call("POST", f"/v1/seats/{seat}/borrow", {"days": days})) == (
            409,
            "BORROWING_NOT_ALLOWED",
        )
    for days in (0, -1, 367, 1.5, "x"):
        assert problem(station.call("POST", f"/v1/seats/{seat}/borrow", {"days": days})) == (422, "INVALID_REQUEST")


# ── behind the requests ──


def test_the_peak_is_the_most_seats_ever_used_at_once(cloud: Cloud, server: Server) -> None:
    pool = concurrent_pool(cloud, server, 20)
    stations = crowd(pool, 12)
    for station in stations[:9]:
        station.lease()
    pool.pass_seconds(60)
    for station in stations[:6]:
        station.close()
    pool.pass_seconds(60)
    for station in stations[9:]:
        station.lease()
    cloud.work_off_streams()
    shown = stations[0].call("GET", f"/v1/pools/{pool.pool_id}").json()
    assert (shown["in_use"], shown["peak"]) == (6, 9)
    pool.pass_seconds(60)
    reset_at = cloud.now
    seat_use.reset_peak(pool.customer_id, pool.pool_id, VENDOR, reset_at)
    for stream in cloud.stack.streams:
        stream.rewind()
    cloud.work_off_streams()
    shown = stations[0].call("GET", f"/v1/pools/{pool.pool_id}").json()
    assert shown["peak"] == 6
    assert shown["peak_since"] == reset_at.isoformat().replace("+00:00", "Z")


def test_a_reset_of_the_peak_that_comes_late_leaves_a_newer_one_alone(pool: Pool) -> None:
    Station(pool).lease()
    late, newer = pool.cloud.now, pool.cloud.now + timedelta(seconds=5)
    seat_use.reset_peak(pool.customer_id, pool.pool_id, VENDOR, newer)
    use = seat_use.reset_peak(pool.customer_id, pool.pool_id, VENDOR, late)
    assert use.since == int(newer.timestamp())


def test_lapsed_seats_do_not_count_for_the_peak(cloud: Cloud, server: Server) -> None:
    pool = concurrent_pool(cloud, server, 20)
    for station in crowd(pool, 5):
        station.lease()
    pool.pass_seconds(600)
    for n in range(3):
        Station(pool, os_user=f"late{n}").lease()
    cloud.work_off_streams()
    assert seats.state_of(pool.customer_id, pool.pool_id, cloud.now).peak == 5


def test_the_peak_is_found_though_the_stream_tells_of_it_when_all_have_left(pool: Pool) -> None:
    one, two = crowd(pool, 2)
    one.lease()  # makes the pool
    one.close()
    before, changes = store.get_segment(pool.pool_id, 0), []
    for act in (one.lease, two.lease, one.close, two.close):
        pool.pass_seconds(60)
        act()
        after, at = store.get_segment(pool.pool_id, 0), int(pool.cloud.now.timestamp())
        changes.append(seat_use.Change(before, after, at, f"{at}"))
        before = after
    for part in (changes[:2], changes[2:3], changes[3:]):
        seat_use.record(pool.pool_id, part, pool.cloud.now)
    assert seats.state_of(pool.customer_id, pool.pool_id, pool.cloud.now).peak == 2


def test_use_over_time_is_told_by_steps_up_to_now(cloud: Cloud, server: Server) -> None:
    cloud.set_time("2027-01-05T09:00:00+00:00")
    server.validate()
    pool = concurrent_pool(cloud, server, 20)
    begin = cloud.now
    stations = crowd(pool, 7)
    for station in stations[:4]:
        station.lease()
    cloud.work_off_streams()
    pool.pass_seconds(300)
    for station in stations:
        station.lease()
    pool.pass_seconds(300)
    for station in stations[1:]:
        station.close()
    stations[0].heartbeat()
    cloud.work_off_streams()
    pool.pass_seconds(300)
    steps = seat_use.usage(pool.customer_id, pool.pool_id, begin, cloud.now, cloud.now)
    assert [each.most for each in steps] == [4, 7, 1]
    assert [
        each.most for each in seat_use.usage(pool.customer_id, pool.pool_id, begin, cloud.now, cloud.now, step=900)
    ] == [7]


def test_refusals_that_were_in_vain_remain_and_those_soon_satisfied_are_folded_away(cloud: Cloud, pool: Pool) -> None:
    begin = cloud.now
    holders = crowd(pool, 3)
    for station in holders:
        station.lease()
    lucky, unlucky = Station(pool, os_user="lucky"), Station(pool, os_user="unlucky")
    for _ in range(3):
        assert lucky.lease().status_code == 409
        assert unlucky.lease().status_code == 409
        pool.pass_seconds(20)
    holders[0].close()
    assert lucky.lease().status_code == 201
    pool.pass_seconds(100)
    lucky.close()
    cloud.work_off_streams()
    while cloud.work_off_queue():
        pass
    found = seat_use.denials(pool.customer_id, pool.pool_id, begin, cloud.now)
    assert [(each.who.os_user, each.count, each.in_use, each.capacity) for each in found] == [("unlucky", 3, 3, 3)]
    assert found[0].company_tax_id == "IT00743110157"


@pytest.mark.parametrize("dies", [False, True])
def test_a_denial_that_comes_again_in_other_company_is_told_once(
    cloud: Cloud, pool: Pool, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    Station(pool).lease()
    at = int(cloud.now.timestamp())
    denied = [
        seat_use.Denied(
            pool_id=pool.pool_id, station=f"st{n}", who=(f"user-{n}", "PC", "", ""), company="c",
            at=at + n, in_use=3, capacity=3,
        )
        for n in range(4)
    ]  # fmt: skip
    with monkeypatch.context() as patched:
        if dies:  # between what is kept and the log
            patched.setattr(operations, "record", lambda operation, now: None)
        seat_use.record_denials(denied[:3], cloud.now)
    seat_use.record_denials(denied[2:], cloud.now)
    seat_use.record_denials(denied[:2], cloud.now)
    told = [each.details["times"] for each in OperationItem.scan() if each.action == "seat.denied"]
    assert sorted(told) == [1, 3]
    assert len(seat_use.denials(pool.customer_id, pool.pool_id, cloud.now, cloud.now + timedelta(minutes=1))) == 4


def test_a_queue_in_trouble_refuses_all_the_same(cloud: Cloud, pool: Pool) -> None:
    for station in crowd(pool, 3):
        station.lease()
    with faults(cloud, "sqs", "timeout_before") as hit:
        assert Station(pool).lease().status_code == 409
    assert hit


# ── at the same moment ──


@pytest.mark.parametrize("fault", ["timeout_after", "timeout_before", "throttle", "conflict"])
@pytest.mark.parametrize("operation", ["PutItem", "UpdateItem", "TransactWriteItems"])
def test_trouble_at_any_write_gives_one_seat(cloud: Cloud, server: Server, fault: str, operation: str) -> None:
    pool = concurrent_pool(cloud, server, 10)
    stations = crowd(pool, 11)
    stations[0].lease()
    with faults(cloud, "dynamodb", fault, operation, times=1):
        for station in stations[:10]:
            answer = station.lease()
            while answer.status_code == 503:
                answer = station.lease()
            assert answer.is_success, answer.text
        assert stations[0].heartbeat().status_code == 200
        assert stations[9].close().status_code == 204
    assert pool.in_use() == 9
    assert stations[10].lease().status_code == 201
    assert stations[9].lease().status_code == 409
