"""Seats and keys over the API and in the portal: issue, preview, import, companies, live view, force release (C1, C7-C10, F5)."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from licensing import activation_keys, companies, seats
from licensing.rules.activation_keys import key_pool_id
from licensing.store import accounts, people
from licensing.store import seats as seat_store

from tests.support.browser import Browser
from tests.support.cloud import TAX_ID, Cloud, Server, problem
from tests.support.seats import Pool, Station, concurrent_pool, crowd
from tests.support.visitor import ENRICO, GIULIA, MARTA, PAOLO, RAFAEL, Caller

SECOND = "ESA28015865"
RAFAEL_S = "BR12345678000195"


@pytest.fixture(autouse=True)
def noon(cloud: Cloud) -> None:
    """Far from midnight, so that it is the same day here and there; after the demo's keys were issued."""
    cloud.set_time(f"{cloud.now.date() + timedelta(days=1)}T11:00:00+00:00")


@pytest.fixture
def customer_id(cloud: Cloud) -> str:
    found = accounts.find_by_tax_id(TAX_ID)
    assert found
    return found


def new_key(cloud: Cloud, customer_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "customer_id": customer_id,
        "companies": [{"tax_id": TAX_ID, "name": "Officine Lombarde"}, {"tax_id": SECOND, "name": "Officine Spagna"}],
        "concurrent": {"web-chat": 2},
        "support": ["sup*"],
        "first_day": f"{cloud.now.date()}",
        "last_day": f"{cloud.now.date() + timedelta(days=364)}",
        **changes,
    }


def issued(cloud: Cloud, customer_id: str, **changes: Any) -> tuple[str, str]:
    """A new key: its id and its text."""
    vendor = Caller(cloud, MARTA)
    answer = vendor.call("POST", "/v1/keys", new_key(cloud, customer_id, **changes))
    assert answer.status_code == 201, answer.text
    key_id = str(answer.json()["key_id"])
    return key_id, vendor.call("GET", f"/v1/keys/{key_id}/file").text


def imported(cloud: Cloud, customer_id: str, **changes: Any) -> str:
    """A key that the customer's administrator has imported; the id of its pool."""
    giulia = Caller(cloud, GIULIA)
    preview = giulia.call("POST", "/v1/keys/preview", {"text": issued(cloud, customer_id, **changes)[1]}).json()
    answer = giulia.call("POST", "/v1/keys/import", {"preview_id": preview["preview_id"], "confirm": True})
    assert answer.status_code == 200, answer.text
    seats.forget()
    return key_pool_id(customer_id, "web-chat")


@pytest.fixture
def pool(cloud: Cloud, server: Server, customer_id: str) -> Pool:
    return Pool(cloud, server, customer_id, imported(cloud, customer_id), "")


# ── the API ──


def test_a_key_goes_from_the_vendor_to_the_customer(cloud: Cloud, customer_id: str) -> None:
    vendor, giulia = Caller(cloud, MARTA), Caller(cloud, GIULIA)
    key_id, text = issued(cloud, customer_id)
    assert vendor.call("GET", "/v1/keys").json()["items"][0]["key_id"] == key_id
    of_one = vendor.call("GET", f"/v1/keys?customer_id={customer_id}").json()["items"]
    assert [each["key_id"] for each in of_one] == [key_id]

    preview = giulia.call("POST", "/v1/keys/preview", {"text": f"> {text}"})
    assert preview.status_code == 201, preview.text
    seen = preview.json()
    assert {each["tax_id"] for each in seen["added"]} == {TAX_ID, SECOND}
    assert seen["pools"] == [{"application": "web-chat", "before": 0, "after": 2}]
    assert activation_keys.current_key(customer_id, cloud.now) is None
    body = {"preview_id": seen["preview_id"], "confirm": False}
    assert problem(giulia.call("POST", "/v1/keys/import", body)) == (422, "INVALID_REQUEST")
    assert giulia.call("POST", "/v1/keys/import", body | {"confirm": True}).json()["key_id"] == key_id
    current = activation_keys.current_key(customer_id, cloud.now)
    assert current
    assert current.key.key_id == key_id


def test_the_list_of_all_keys_goes_on_where_it_ended(cloud: Cloud, customer_id: str) -> None:
    vendor = Caller(cloud, MARTA)
    made = [issued(cloud, customer_id)[0] for _ in range(2)]
    first = vendor.call("GET", "/v1/keys?limit=1").json()
    second = vendor.call("GET", f"/v1/keys?limit=1&cursor={first['next_cursor']}").json()
    assert {first["items"][0]["key_id"], second["items"][0]["key_id"]} == set(made)


def test_issuing_again_with_the_same_idempotency_key_is_one_key(cloud: Cloud, customer_id: str) -> None:
    vendor = Caller(cloud, MARTA)
    first, again = (
        vendor.call("POST", "/v1/keys", new_key(cloud, customer_id), idempotency_key="once").json() for _ in range(2)
    )
    assert first == again
    assert len(activation_keys.issued(customer_id)) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"companies": []},
        {"companies": [{"tax_id": "IT00743110158", "name": "x"}]},
        {"companies": [{"tax_id": TAX_ID, "name": "x"}] * 2},
        {"concurrent": {"web-chat": 0}},
        {"last_day": "2026-11-22"},
        {"lease_seconds": 59},
        {"more": 1},
    ],
)
def test_a_key_that_makes_no_sense_is_not_issued(cloud: Cloud, customer_id: str, changes: dict[str, Any]) -> None:
    answer = Caller(cloud, MARTA).call("POST", "/v1/keys", new_key(cloud, customer_id, **changes))
    assert problem(answer) == (422, "INVALID_REQUEST")
    assert activation_keys.issued(customer_id) == []


def test_another_customer_s_preview_is_nobody_s(cloud: Cloud, customer_id: str) -> None:
    _, text = issued(cloud, customer_id)
    preview_id = Caller(cloud, GIULIA).call("POST", "/v1/keys/preview", {"text": text}).json()["preview_id"]
    rafael = Caller(cloud, RAFAEL)
    body = {"preview_id": preview_id, "confirm": True}
    assert problem(rafael.call("POST", "/v1/keys/import", body)) == (404, "NOT_FOUND")
    assert problem(rafael.call("POST", "/v1/keys/preview", {"text": text})) == (403, "KEY_FOREIGN_COMPANY")
    body["preview_id"] = preview_id.partition(".")[0]
    assert problem(Caller(cloud, GIULIA).call("POST", "/v1/keys/import", body)) == (404, "NOT_FOUND")


def test_companies_are_set_up_within_the_key(cloud: Cloud, customer_id: str) -> None:
    giulia, path = Caller(cloud, GIULIA), f"/v1/customers/{customer_id}/companies"
    body = {"tax_id": SECOND, "name": "Officine Spagna"}
    assert problem(giulia.call("POST", path, body)) == (403, "KEY_MISSING")
    imported(cloud, customer_id, company_quota=1)
    for _ in range(2):
        assert giulia.call("POST", path, body, idempotency_key="a").status_code == 201
    assert problem(giulia.call("POST", path, body)) == (409, "TAX_ID_EXISTS")
    assert problem(giulia.call("POST", path, {"tax_id": TAX_ID, "name": "x"})) == (409, "COMPANY_LIMIT_REACHED")
    assert giulia.call("PATCH", f"{path}/{SECOND}", {"name": "Spagna"}).json()["name"] == "Spagna"
    listed = {each["tax_id"]: each for each in giulia.call("GET", path).json()["items"]}
    assert listed[SECOND] == {"tax_id": SECOND, "name": "Spagna", "set_up": True, "in_key": True}
    assert not listed[TAX_ID]["set_up"]
    assert giulia.call("DELETE", f"{path}/{SECOND}").status_code == 204
    assert problem(giulia.call("DELETE", f"{path}/{SECOND}")) == (404, "NOT_FOUND")


def test_use_denials_and_peak_over_the_api(cloud: Cloud, pool: Pool) -> None:
    giulia, path = Caller(cloud, GIULIA), f"/v1/pools/{pool.pool_id}"
    stations = crowd(pool, 3)
    assert [station.lease().status_code for station in stations] == [201, 201, 409]
    cloud.work_off_streams()
    while cloud.work_off_queue():
        pass
    pool.pass_seconds(5)
    found = giulia.call("GET", f"{path}/denials").json()["items"]
    assert [(each["os_user"], each["count"], each["capacity"]) for each in found] == [("user2", 1, 2)]
    used = giulia.call("GET", f"{path}/usage?from={cloud.now.date()}T00:00:00Z&step=3600").json()
    assert [each["most"] for each in used["items"]][-1] == 2
    assert used["step_seconds"] == 3600
    assert problem(giulia.call("GET", f"{path}/usage?from=2026-11-25T00:00:00")) == (422, "INVALID_REQUEST")
    assert problem(giulia.call("GET", f"{path}/usage?to=0001-01-05T00:00:00Z")) == (422, "INVALID_REQUEST")

    for station in stations[:2]:
        station.close()
    pool.pass_seconds(5)
    first = giulia.call("POST", f"{path}/peak-reset", idempotency_key="p").json()
    assert first["peak"] == 0
    pool.pass_seconds(5)
    assert giulia.call("POST", f"{path}/peak-reset", idempotency_key="p").json() == first
    assert problem(Caller(cloud, PAOLO).call("POST", f"{path}/peak-reset")) == (403, "FORBIDDEN")


# ── the portal ──


def test_a_key_is_issued_looked_at_and_imported_in_the_portal(cloud: Cloud, customer_id: str) -> None:
    home = f"/portal/customers/{customer_id}"
    marta = Browser(cloud).signed_in(MARTA)
    marta.get(f"{home}/keys/new")
    sent = {"companies": f"{TAX_ID} Officine\n{SECOND} Spagna", "concurrent": "web-chat 6", "days": "365"}
    sent |= {"lease_seconds": "600", "borrow_days": "30"}
    marta.post(f"{home}/keys/new", sent | {"concurrent": "web-chat none"})
    assert "Something is missing or not valid: Seats." in marta.text
    marta.post(f"{home}/keys/new", sent)
    assert "The key is issued." in marta.text
    (key,) = activation_keys.issued(customer_id)
    assert marta.get(f"{home}/keys/{key.key.key_id}/file").text == key.text

    giulia = Browser(cloud).signed_in(GIULIA)
    giulia.get(f"{home}/keys")
    assert "is issued and not imported yet" in giulia.text
    giulia.post(f"{home}/keys/preview", {"key": key.text.replace("A", "B")})
    assert "This is not a valid activation key" in giulia.text
    giulia.post(f"{home}/keys/preview", {"key": key.text})
    assert "Spagna" in giulia.text
    giulia.post(f"{home}/keys/import", {"preview_id": giulia.inputs()["preview_id"], "reset_peak": "yes"})
    assert "The key is imported, with all its companies." in giulia.text
    assert "0 / 6" in giulia.text
    giulia.post(f"{home}/keys/renewal")
    assert "It can be asked for from" in giulia.text
    giulia.post(f"{home}/keys/companies", {"do": "create", "tax_id": SECOND, "name": "Spagna"})
    assert companies.of(customer_id) == {SECOND: "Spagna"}
    giulia.post(f"{home}/keys/companies", {"do": "rename", "tax_id": SECOND, "name": "España"})
    assert companies.of(customer_id) == {SECOND: "España"}
    giulia.post(f"{home}/keys/companies", {"do": "remove", "tax_id": SECOND})
    assert companies.of(customer_id) == {}


def test_the_live_view_shows_who_is_in_and_administrators_free_seats(cloud: Cloud, pool: Pool) -> None:
    path = f"/portal/customers/{pool.customer_id}/pools/{pool.pool_id}"
    first = Station(pool, os_user="anna", terminal="TS-01", session="rdp-1")
    second = Station(pool, os_user="anna", terminal="TS-01", session="rdp-2")
    support = Station(pool, os_user="tech", terminal="PC-9", user_code="sup1")
    assert [station.lease().status_code for station in (first, second, support)] == [201] * 3
    assert first.lease("stock", "2").status_code == 200

    enrico = Browser(cloud).signed_in(ENRICO)
    enrico.get(path)
    for shown in ("anna", "rdp-2", "2 modules", "stock", "several sessions", "Restrict users to a single session"):
        assert shown in enrico.text
    assert "Support users, who use no seat" in enrico.text
    assert "/release" not in enrico.page

    giulia = Browser(cloud).signed_in(GIULIA)
    giulia.get(path)
    giulia.post(f"{path}/release", {"seat_id": first.seat["seat_id"]})
    assert "The seat is free." in giulia.text
    assert problem(first.heartbeat()) == (410, "SEAT_LOST")
    assert second.heartbeat().status_code == 200
    giulia.post(f"{path}/release", {"seat_id": first.seat["seat_id"]})
    assert "The seat is free." in giulia.text


def test_a_renewal_is_asked_for_from_day_thirty_on(cloud: Cloud, customer_id: str) -> None:
    imported(cloud, customer_id)
    cloud.stack.clock.advance(timedelta(days=340))
    giulia = Browser(cloud).signed_in(GIULIA)
    giulia.get(f"/portal/customers/{customer_id}/keys")
    giulia.post(f"/portal/customers/{customer_id}/keys/renewal")
    assert "The next key is on its way" in giulia.text
    mail = cloud.get("/local/outbox").json()["items"][0]
    assert "BEGIN ACTIVATION KEY" in mail["text"]


def test_the_demo_has_a_key_to_import(cloud: Cloud) -> None:
    customer_id = accounts.find_by_tax_id("ESA58818501") or ""
    text = Path(cloud.stack.key_file).read_text(encoding="utf-8")
    found = activation_keys.preview(customer_id, text, cloud.now)
    assert found.current
    assert (len(found.changes.added), len(found.changes.changed), found.seats()) == (1, 1, [("web-chat", 6, 8)])


def test_the_next_key_begins_with_all_that_the_last_one_says(cloud: Cloud, customer_id: str) -> None:
    """Group, lease time and borrowing too: a key of another group could not even be imported."""
    imported(cloud, customer_id, group="nord", lease_seconds=86_400, borrow_days=0)
    home = f"/portal/customers/{customer_id}"
    marta = Browser(cloud).signed_in(MARTA)
    marta.get(f"{home}/keys/new")
    shown = marta.inputs()
    assert (shown["group"], shown["lease_seconds"], shown["borrow_days"]) == ("nord", "86400", "0")
    for limits in ('min="60" max="86400"', 'min="0" max="365"', 'maxlength="64"'):
        assert limits in marta.page
    shown |= {"companies": f"{TAX_ID} Officine", "concurrent": "web-chat 6"}
    for name, wrong in (("lease_seconds", "59"), ("lease_seconds", ""), ("borrow_days", "366"), ("borrow_days", "x")):
        marta.post(f"{home}/keys/new", shown | {name: wrong})
        assert "Something is missing or not valid" in marta.text
        assert marta.inputs()[name] == wrong
    marta.post(f"{home}/keys/new", shown)
    assert "The key is issued." in marta.text
    newest = activation_keys.issued(customer_id)[0]
    assert (newest.key.group, newest.key.lease_seconds, newest.key.borrow_days) == ("nord", 86_400, 0)
    found = Caller(cloud, GIULIA).call("POST", "/v1/keys/preview", {"text": newest.text})
    assert found.status_code == 201, found.text


def test_a_key_without_group_is_of_that_of_the_last_one(cloud: Cloud, customer_id: str) -> None:
    issued(cloud, customer_id)
    first = activation_keys.issued(customer_id)[0].key
    assert first.group == customer_id
    issued(cloud, customer_id, group="nord")
    issued(cloud, customer_id)
    assert activation_keys.issued(customer_id)[0].key.group == "nord"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"])
def test_a_key_file_is_read_as_editors_save_it(cloud: Cloud, customer_id: str, encoding: str) -> None:
    _, text = issued(cloud, customer_id)
    saved = text.replace("\n", "\r\n")
    content = saved.encode(encoding) if encoding.startswith("utf-8") else f"\ufeff{saved}".encode(encoding)
    giulia = Browser(cloud).signed_in(GIULIA)
    giulia.get(f"/portal/customers/{customer_id}/keys")
    answer = cloud.http.post(
        f"{giulia.origin}/portal/customers/{customer_id}/keys/preview",
        data={"form_token": giulia.form_token, "key": ""},
        files={"key_file": ("key.txt", content, "text/plain")},
        headers={"origin": giulia.origin, "cookie": f"__Host-session={giulia.cookie}"},
    )
    assert "What this key changes" in answer.text


def refused_texts(cloud: Cloud, customer_id: str) -> Iterator[tuple[str, str]]:
    """Keys that are refused, each with the code; one is imported meanwhile."""
    day = cloud.now.date()
    _, text = issued(cloud, customer_id)
    yield "KEY_SIGNATURE_INVALID", text.replace("A", "B")
    ended = {"first_day": f"{day - timedelta(days=9)}", "last_day": f"{day - timedelta(days=1)}"}
    yield "KEY_EXPIRED", issued(cloud, customer_id, **ended)[1]
    yield "KEY_NOT_YET_VALID", issued(cloud, customer_id, first_day=f"{day + timedelta(days=1)}")[1]
    of_rafael = people.find_by_email(RAFAEL)
    assert of_rafael
    yield "KEY_FOREIGN_COMPANY", issued(cloud, of_rafael.organization, companies=[{"tax_id": RAFAEL_S, "name": "B"}])[1]
    imported(cloud, customer_id)
    yield "KEY_SUPERSEDED", text
    yield "KEY_MIXED_GROUPS", issued(cloud, customer_id, group="nord")[1]


def test_a_key_is_refused_with_the_vendor_s_contact(cloud: Cloud, customer_id: str) -> None:
    giulia, page, home = (
        Caller(cloud, GIULIA),
        Browser(cloud).signed_in(GIULIA),
        f"/portal/customers/{customer_id}/keys",
    )
    codes = []
    for code, text in refused_texts(cloud, customer_id):
        answer = giulia.call("POST", "/v1/keys/preview", {"text": text})
        assert problem(answer)[1] == code
        assert answer.json()["contact"] == {
            "name": "License desk", "email": "licenses@aurora.example", "phone": "+39 0584 000 100",
            "url": "https://aurora.example/support",
        }  # fmt: skip
        page.get(home)
        page.post(f"{home}/preview", {"key": text})
        said = "Turn to the vendor: License desk, licenses@aurora.example , +39 0584 000 100, https://aurora.example/support"
        assert said in page.text
        codes.append(code)
    assert sorted(codes) == sorted(each.code for each in activation_keys.REFUSALS)


def test_a_key_that_ended_since_it_was_looked_at_is_refused_with_the_contact(cloud: Cloud, customer_id: str) -> None:
    giulia = Caller(cloud, GIULIA)
    _, text = issued(cloud, customer_id, last_day=f"{cloud.now.date()}")
    cloud.set_time(f"{cloud.now.date()}T22:30:00+00:00")
    preview = giulia.call("POST", "/v1/keys/preview", {"text": text}).json()
    cloud.set_time(f"{cloud.now.date()}T23:10:00+00:00")  # Rome is an hour ahead
    answer = giulia.call("POST", "/v1/keys/import", {"preview_id": preview["preview_id"], "confirm": True})
    assert problem(answer) == (403, "KEY_EXPIRED")
    assert answer.json()["contact"]["email"] == "licenses@aurora.example"


def test_what_is_no_fault_of_the_key_names_no_contact(cloud: Cloud, customer_id: str) -> None:
    giulia, home = Browser(cloud).signed_in(GIULIA), f"/portal/customers/{customer_id}/keys"
    imported(cloud, customer_id)
    giulia.get(home)
    giulia.post(f"{home}/renewal")
    assert "It can be asked for from" in giulia.text
    assert "Turn to the vendor" not in giulia.text


# ── pools as users see them ──


@pytest.fixture
def license_pool(cloud: Cloud, server: Server) -> Pool:
    """Of a license, and nobody has used it yet."""
    return concurrent_pool(cloud, server, 3)


def test_a_customer_s_pools_are_those_of_its_key_and_of_its_licenses(
    cloud: Cloud, pool: Pool, license_pool: Pool
) -> None:
    path = f"/v1/customers/{pool.customer_id}/pools"
    assert Station(pool).lease().status_code == 201
    for email in (GIULIA, ENRICO, PAOLO, MARTA):
        answer = Caller(cloud, email).call("GET", path)
        assert answer.status_code == 200, answer.text
        found = {each["pool_id"]: each for each in answer.json()["items"]}
        of_key, of_license = found[pool.pool_id], found[license_pool.pool_id]
        assert (of_key["application"], of_key["installation_id"]) == ("web-chat", None)
        assert (of_key["capacity"], of_key["in_use"], of_key["peak"]) == (2, 1, 1)
        assert of_key["valid_until"] == f"{cloud.now.date() + timedelta(days=364)}"
        assert of_license["installation_id"] == license_pool.server.claims["sub"]
        assert (of_license["capacity"], of_license["in_use"], of_license["peak_since"]) == (3, 0, None)
        assert (of_license["valid_until"], of_license["lease_seconds"]) == ("2099-12-31", 600)
    first = Caller(cloud, GIULIA).call("GET", f"{path}?limit=2").json()
    rest = Caller(cloud, GIULIA).call("GET", f"{path}?cursor={first['next_cursor']}").json()
    assert len(first["items"]) == 2
    assert [each["pool_id"] for each in first["items"] + rest["items"]] == list(found)


def test_who_may_free_a_seat_learns_its_id_from_the_live_view(cloud: Cloud, pool: Pool) -> None:
    station = Station(pool, os_user="anna")
    assert station.lease().status_code == 201
    path = f"/v1/customers/{pool.customer_id}/pools/{pool.pool_id}/seats"
    for email in (ENRICO, PAOLO):
        [row] = Caller(cloud, email).call("GET", path).json()["items"]
        assert row["os_user"] == "anna"
        assert "seat_id" not in row
    giulia = Caller(cloud, GIULIA)
    [row] = giulia.call("GET", path).json()["items"]
    assert giulia.call("POST", f"/v1/pools/{pool.pool_id}/seats/{row['seat_id']}/release").status_code == 200
    assert giulia.call("GET", path).json() == {"items": [], "next_cursor": None}
    assert problem(station.heartbeat()) == (410, "SEAT_LOST")


def test_a_pool_that_nobody_has_used_is_empty_and_not_missing(cloud: Cloud, license_pool: Pool) -> None:
    customer_id, pool_id = license_pool.customer_id, license_pool.pool_id
    for email, whose in ((GIULIA, ""), (MARTA, f"?customer_id={customer_id}"), (PAOLO, f"?customer_id={customer_id}")):
        caller = Caller(cloud, email)
        for what in ("usage", "denials"):
            answer = caller.call("GET", f"/v1/pools/{pool_id}/{what}{whose}")
            assert (answer.status_code, answer.json().get("items")) == (200, []), answer.text
            assert caller.call("GET", f"/v1/pools/pool_00/{what}{whose}").status_code == 404
        assert caller.call("GET", f"/v1/customers/{customer_id}/pools/{pool_id}/seats").json()["items"] == []
    rafael = Caller(cloud, RAFAEL)
    for what in ("usage", "denials", f"usage?customer_id={customer_id}"):
        assert problem(rafael.call("GET", f"/v1/pools/{pool_id}/{what}")) == (404, "NOT_FOUND")
    assert seat_store.get_pool(pool_id) is None
    enrico = Browser(cloud).signed_in(ENRICO)
    enrico.get(f"/portal/customers/{customer_id}/pools/{pool_id}")
    for shown in ("0 of 3", "not used yet", "600 seconds", "Nobody."):
        assert shown in enrico.text
    assert "/lease-time" not in enrico.page


@pytest.mark.parametrize("used", [False, True])
def test_how_long_a_lease_lasts_is_said_for_the_pool_of_a_license(cloud: Cloud, license_pool: Pool, used: bool) -> None:
    giulia, path = Caller(cloud, GIULIA), f"/v1/pools/{license_pool.pool_id}/lease-time"
    if used:
        assert Station(license_pool, os_user="anna").lease().json()["lease_seconds"] == 600
    for wrong in ({"lease_seconds": 59}, {"lease_seconds": 86_401}, {"lease_seconds": "120"}, {}):
        assert problem(giulia.call("PUT", path, wrong)) == (422, "INVALID_REQUEST")
    answer = giulia.call("PUT", path, {"lease_seconds": 120})
    assert (answer.status_code, answer.json()["lease_seconds"], answer.json()["capacity"]) == (200, 120, 3)
    license_pool.forget()
    assert Station(license_pool).lease().json()["lease_seconds"] == 120
    assert giulia.call("PUT", path, {"lease_seconds": 120}).status_code == 200
    logged = giulia.call("GET", f"/v1/customers/{license_pool.customer_id}/operations").json()["items"]
    assert [each["action"] for each in logged].count("pool.lease_time_changed") == 1


def test_how_long_a_lease_lasts_is_said_on_the_pool_s_page(cloud: Cloud, license_pool: Pool, pool: Pool) -> None:
    giulia, home = Browser(cloud).signed_in(GIULIA), f"/portal/customers/{pool.customer_id}/pools"
    giulia.get(f"{home}/{license_pool.pool_id}")
    assert giulia.inputs()["lease_seconds"] == "600"
    for wrong in ("59", "", "1e3"):
        giulia.post(f"{home}/{license_pool.pool_id}/lease-time", {"lease_seconds": wrong})
        assert "Something is missing or not valid: Lease time in seconds." in giulia.text
    giulia.post(f"{home}/{license_pool.pool_id}/lease-time", {"lease_seconds": "3600"})
    assert "Saved." in giulia.text
    assert "3600 seconds" in giulia.text

    giulia.get(f"{home}/{pool.pool_id}")
    assert "600 seconds The activation key says so." in giulia.text
    assert "/lease-time" not in giulia.page
    giulia.post(f"{home}/{pool.pool_id}/lease-time", {"lease_seconds": "3600"})
    assert "Ask the vendor for a key that says otherwise." in giulia.text
    answer = Caller(cloud, GIULIA).call("PUT", f"/v1/pools/{pool.pool_id}/lease-time", {"lease_seconds": 3600})
    assert problem(answer) == (409, "LEASE_TIME_IN_KEY")


def test_a_page_of_the_live_view_that_is_gone_shows_the_last_row(cloud: Cloud, pool: Pool) -> None:
    assert [station.lease().status_code for station in crowd(pool, 2)] == [201, 201]
    enrico = Browser(cloud).signed_in(ENRICO)
    enrico.get(f"/portal/customers/{pool.customer_id}/pools/{pool.pool_id}?start=100")
    assert "PC-00001" in enrico.text
    assert "Nobody." not in enrico.text
    assert "Earlier" in enrico.text
