"""Customers as the vendor, resellers and their own people see and change them, by the API and in the portal (D5)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from licensing import loading, people
from licensing.store import accounts, tables
from licensing.store import people as store
from licensing.store import vendor as vendor_store
from licensing.store.operations import OperationItem

from tests.support.cloud import TAX_ID, VENDOR, Cloud, Server, problem
from tests.support.visitor import CAMILA, ENRICO, GIULIA, MARTA, PAOLO, Caller, links, signed_in

BODY = {
    "name": "Acme <b>S.A.S.</b>",
    "tax_id": "FR 40 303 265 045",
    "country": "FR",
    "time_zone": "Europe/Paris",
    "language": "en",
    "contacts": [{"name": "Zoé", "email": "zoe@acme.example"}],
}
NORDLJUS = "SE5565678900"


def officine() -> str:
    return accounts.find_by_tax_id(TAX_ID) or ""


def vendor(cloud: Cloud) -> Caller:
    return Caller(cloud, MARTA)


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["name"] for each in answer.json()["items"]]


def advance(cloud: Cloud, days: int) -> None:
    cloud.http.post(cloud.stack.sites[0].url + "/local/clock", json={"advance_days": days})


def actions(customer_id: str) -> list[str]:
    found = [item for item in OperationItem.scan() if item.pk.startswith(customer_id) and "#op_" in item.sk]
    return [item.action for item in sorted(found, key=lambda item: item.sk)]


# ── creating ──


def test_the_vendor_creates_a_customer(cloud: Cloud) -> None:
    answer = vendor(cloud).call("POST", "/v1/customers", BODY)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["tax_id"], made["reseller_ids"], made["deleted"]) == ("FR40303265045", [], False)
    assert vendor(cloud).call("GET", f"/v1/customers/{made['customer_id']}").json() == made
    assert actions(made["customer_id"]) == ["customer.created"]


def test_a_repeat_with_the_same_key_gets_the_first_answer(cloud: Cloud) -> None:
    first, second = (vendor(cloud).call("POST", "/v1/customers", BODY, idempotency_key="k1") for _ in range(2))
    assert first.json() == second.json()
    assert (first.status_code, second.status_code) == (201, 201)
    other = vendor(cloud).call("POST", "/v1/customers", BODY | {"name": "Other"}, idempotency_key="k1")
    assert problem(other) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert problem(vendor(cloud).call("POST", "/v1/customers", BODY)) == (409, "TAX_ID_EXISTS")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"tax_id": "IT01234567897"}, "TAX_ID_INVALID"),
        ({"time_zone": "Mars/Olympus"}, "INVALID_REQUEST"),
        ({"country": "Italy"}, "INVALID_REQUEST"),
        ({"language": "tlh"}, "INVALID_REQUEST"),
        ({"name": " "}, "INVALID_REQUEST"),
        ({"name": "x" * 129}, "INVALID_REQUEST"),
        ({"name": "a\u0000b"}, "INVALID_REQUEST"),
        ({"contacts": [{"email": "not an address"}]}, "EMAIL_INVALID"),
        ({"contacts": [{}] * 21}, "INVALID_REQUEST"),
        ({"customer_id": "cus_1"}, "INVALID_REQUEST"),
        ({"deleted": True}, "INVALID_REQUEST"),
    ],
    ids=str,
)
def test_a_customer_that_cannot_be(cloud: Cloud, change: dict[str, Any], code: str) -> None:
    assert problem(vendor(cloud).call("POST", "/v1/customers", BODY | change)) == (422, code)


def test_a_reseller_s_answer_does_not_tell_whether_a_customer_was_there(cloud: Cloud) -> None:
    reseller = Caller(cloud, PAOLO)
    new = reseller.call("POST", "/v1/customers", BODY)
    known = reseller.call("POST", "/v1/customers", BODY | {"tax_id": NORDLJUS, "country": "SE"})
    assert new.status_code == known.status_code == 202
    assert new.json() == {"tax_id": "FR40303265045", "accepted": True}
    assert known.json() == {"tax_id": NORDLJUS, "accepted": True}
    listed = names(reseller.call("GET", "/v1/customers"))
    assert BODY["name"] in listed
    assert "Nordljus Vård AB" not in listed


def test_the_vendor_is_asked_once_and_decides(cloud: Cloud) -> None:
    reseller, nordljus = Caller(cloud, PAOLO), accounts.find_by_tax_id(NORDLJUS) or ""
    for _ in range(2):
        assert reseller.call("POST", "/v1/customers", BODY | {"tax_id": NORDLJUS}).status_code == 202
    [(to, subject, path)] = links(cloud)
    assert to == "licenses@aurora.example"
    assert "Telefonia Padana" in subject
    assert path == f"/portal/customers/{nordljus}/details"
    assert actions(nordljus)[-1] == "customer.requested"
    visitor = signed_in(cloud, MARTA)
    assert "asks to manage this customer" in visitor.get(path).text
    [reseller_id] = store.customer_requests(nordljus)
    visitor.post(f"/portal/customers/{nordljus}/requests/{reseller_id}", {"answer": "grant"})
    assert "Nordljus Vård AB" in names(reseller.call("GET", "/v1/customers"))
    assert store.customer_requests(nordljus) == []


def test_a_declined_reseller_gets_nothing(cloud: Cloud) -> None:
    nordljus = accounts.find_by_tax_id(NORDLJUS) or ""
    Caller(cloud, PAOLO).call("POST", "/v1/customers", BODY | {"tax_id": NORDLJUS})
    visitor = signed_in(cloud, MARTA)
    visitor.get(f"/portal/customers/{nordljus}/details")
    [reseller_id] = store.customer_requests(nordljus)
    visitor.post(f"/portal/customers/{nordljus}/requests/{reseller_id}", {"answer": "decline"})
    assert Caller(cloud, PAOLO).call("GET", f"/v1/customers/{nordljus}").status_code == 404
    assert store.customer_requests(nordljus) == []


def test_a_reseller_s_own_customer_exists(cloud: Cloud) -> None:
    answer = Caller(cloud, PAOLO).call("POST", "/v1/customers", BODY | {"tax_id": TAX_ID})
    assert problem(answer) == (409, "TAX_ID_EXISTS")


def test_a_reseller_s_repeat_with_the_same_key_asks_once(cloud: Cloud) -> None:
    reseller = Caller(cloud, PAOLO)
    answers = [
        reseller.call("POST", "/v1/customers", BODY | {"tax_id": NORDLJUS}, idempotency_key="same").status_code
        for _ in range(2)
    ]
    assert answers == [202, 202]
    assert len(links(cloud)) == 1


# ── changing ──


def test_what_a_change_leaves_out_stays(cloud: Cloud) -> None:
    before = Caller(cloud, GIULIA).call("GET", f"/v1/customers/{officine()}").json()
    answer = Caller(cloud, GIULIA).call("PATCH", f"/v1/customers/{officine()}", {"name": "Officine Nuove S.p.A."})
    assert answer.json() == before | {"name": "Officine Nuove S.p.A."}
    assert names(vendor(cloud).call("GET", "/v1/customers?search=nuove")) == ["Officine Nuove S.p.A."]
    assert names(Caller(cloud, PAOLO).call("GET", "/v1/customers?search=lombarde")) == []


def test_only_the_vendor_says_whose_customers_are(cloud: Cloud) -> None:
    camila = store.find_by_email(CAMILA)
    assert camila
    body = {"reseller_ids": [camila.organization]}
    path = f"/v1/customers/{officine()}"
    assert problem(Caller(cloud, GIULIA).call("PATCH", path, body)) == (403, "FORBIDDEN")
    assert vendor(cloud).call("PATCH", path, body).status_code == 200
    assert Caller(cloud, CAMILA).call("GET", path).status_code == 200
    assert Caller(cloud, PAOLO).call("GET", path).status_code == 404
    unknown = vendor(cloud).call("PATCH", path, {"reseller_ids": ["res_0"]})
    assert problem(unknown) == (422, "INVALID_REQUEST")
    assert unknown.json()["errors"][0]["pointer"] == "/reseller_ids"


def test_contacts_are_replaced_as_a_whole(cloud: Cloud) -> None:
    path = f"/v1/customers/{officine()}/contacts"
    body = {"contacts": [{"name": "Nuova", "email": "nuova@officinelombarde.example", "phone": "+39 02", "url": ""}]}
    assert Caller(cloud, GIULIA).call("PUT", path, body).json() == body
    assert Caller(cloud, ENRICO).call("GET", path).json() == body
    assert store.customers_of_contact("NUOVA@officinelombarde.example") == [officine()]
    assert store.customers_of_contact(GIULIA) == []


def test_a_deleted_customer_s_people_are_out_and_its_servers_get_a_final_no(cloud: Cloud, server: Server) -> None:
    giulia = signed_in(cloud, GIULIA)
    assert vendor(cloud).call("DELETE", f"/v1/customers/{officine()}").status_code == 204
    assert giulia.get(f"/portal/customers/{officine()}/people").status_code == 404
    answer = server.validate().json()
    assert (answer["code"], answer["final"]) == ("CUSTOMER_DELETED", True)
    assert vendor(cloud).call("POST", f"/v1/customers/{officine()}/restore").json()["deleted"] is False
    assert giulia.get(f"/portal/customers/{officine()}/people").status_code == 200
    assert server.validate().json()["valid"]
    told = sorted(each for each in actions(officine()) if each.startswith("customer."))
    assert told[-2:] == ["customer.deleted", "customer.restored"]


def test_deleting_twice_is_told_once_and_keeps_the_first_day(cloud: Cloud) -> None:
    path = f"/v1/customers/{officine()}"
    vendor(cloud).call("DELETE", path)
    day = vendor(cloud).call("GET", path).json()["deleted_on"]
    advance(cloud, 3)
    vendor(cloud).call("DELETE", path)
    assert vendor(cloud).call("GET", path).json()["deleted_on"] == day
    assert actions(officine()).count("customer.deleted") == 1


# ── lists ──


def test_lists_hold_what_is_one_s_own(cloud: Cloud) -> None:
    assert len(names(vendor(cloud).call("GET", "/v1/customers"))) == 6
    assert set(names(Caller(cloud, PAOLO).call("GET", "/v1/customers"))) == {
        "Officine Lombarde S.p.A.", "Hotel Mirador del Turia S.A.", "Rheinhafen Spedition GmbH",
    }  # fmt: skip


@pytest.mark.parametrize("limit", [1, 2, 4])
@pytest.mark.parametrize("search", ["", "a"])
def test_pages_hold_each_customer_once_and_no_more_than_asked_for(cloud: Cloud, limit: int, search: str) -> None:
    whole = names(vendor(cloud).call("GET", f"/v1/customers?search={search}"))
    found: list[str] = []
    cursor = ""
    for _ in range(10):
        answer = vendor(cloud).call("GET", f"/v1/customers?limit={limit}&search={search}{cursor}")
        assert len(names(answer)) <= limit
        found += names(answer)
        if answer.json()["next_cursor"] is None:
            break
        cursor = f"&cursor={answer.json()['next_cursor']}"
    assert found == whole


def test_another_list_s_cursor_is_refused(cloud: Cloud) -> None:
    cursor = vendor(cloud).call("GET", "/v1/customers?limit=1").json()["next_cursor"]
    for wrong in (cursor, "nonsense", "e30=", "bnVsbA=="):
        answer = Caller(cloud, PAOLO).call("GET", f"/v1/customers?cursor={wrong}")
        assert problem(answer) == (422, "INVALID_REQUEST")


def test_an_expired_customer_leaves_the_default_list_after_90_days(cloud: Cloud) -> None:
    vendor(cloud).call("POST", "/v1/customers", BODY)  # never gets a license
    until = next(
        each["served_until"] for each in vendor(cloud).call("GET", "/v1/customers").json()["items"]
        if each["name"] == "Nordljus Vård AB"
    )  # fmt: skip
    days = (date.fromisoformat(until) - cloud.now.date()).days
    listed: dict[str, list[int]] = {"": [], "?state=active": [], "?state=expired": [], "?inactive=true": []}
    for day in (0, 1, 90, 91):
        cloud.stack.clock.reset()
        advance(cloud, days + day)
        for query, found in listed.items():
            if "Nordljus Vård AB" in names(vendor(cloud).call("GET", f"/v1/customers{query}")):
                found.append(day)
    assert listed == {"": [0, 1, 90], "?state=active": [0], "?state=expired": [1, 90], "?inactive=true": [0, 1, 90, 91]}
    assert BODY["name"] not in names(vendor(cloud).call("GET", "/v1/customers"))


def test_a_deleted_customer_stays_listed_as_such_for_90_days(cloud: Cloud) -> None:
    vendor(cloud).call("DELETE", f"/v1/customers/{officine()}")
    name = "Officine Lombarde S.p.A."
    assert name not in names(vendor(cloud).call("GET", "/v1/customers"))
    advance(cloud, 90)
    assert names(vendor(cloud).call("GET", "/v1/customers?state=deleted")) == [name]
    advance(cloud, 1)
    assert names(vendor(cloud).call("GET", "/v1/customers?state=deleted")) == []
    assert name in names(vendor(cloud).call("GET", "/v1/customers?inactive=true"))


def test_lists_tell_the_last_activity(cloud: Cloud, server: Server) -> None:
    [item] = vendor(cloud).call("GET", f"/v1/customers?search={TAX_ID}").json()["items"]
    assert item["last_activity"].startswith(f"{cloud.now:%Y-%m-%dT%H:}")
    assert item["served_until"] == "9999-12-31"


# ── people by the API ──


def test_people_by_the_api(cloud: Cloud) -> None:
    caller, base = Caller(cloud, GIULIA), f"/v1/customers/{officine()}"
    body = {"email": "anna@officinelombarde.example", "roles": ["contract_owner"]}
    sent = [caller.call("POST", f"{base}/invitations", body, idempotency_key="once") for _ in range(2)]
    assert [each.status_code for each in sent] == [202, 202]
    assert [to for to, _, _ in links(cloud)] == ["anna@officinelombarde.example"]
    [opened] = caller.call("GET", f"{base}/invitations").json()["items"]
    assert (opened["email"], opened["roles"], opened["invited_by"]) == (
        body["email"],
        ["contract_owner"],
        "Giulia Ferrario",
    )
    for _ in range(2):
        assert caller.call("DELETE", f"{base}/invitations/{opened['invitation_id']}").status_code == 204
    assert caller.call("GET", f"{base}/invitations").json()["items"] == []
    members = {each["email"]: each for each in caller.call("GET", f"{base}/roles").json()["items"]}
    enrico = members[ENRICO]["user_id"]
    changed = caller.call("PUT", f"{base}/roles/{enrico}", {"roles": ["administrator", "administrator"]})
    assert changed.json()["roles"] == ["administrator"]
    assert problem(caller.call("PUT", f"{base}/roles/{enrico}", {"roles": []})) == (422, "INVALID_REQUEST")
    assert caller.call("DELETE", f"{base}/roles/{enrico}").status_code == 204
    assert problem(caller.call("DELETE", f"{base}/roles/{enrico}")) == (404, "NOT_FOUND")
    last = caller.call("DELETE", f"{base}/roles/{members[GIULIA]['user_id']}")
    assert problem(last) == (409, "LAST_ADMINISTRATOR")


def test_another_customer_s_people_are_out_of_reach(cloud: Cloud) -> None:
    rafael = store.find_by_email("rafael.moreira@clinicaboavista.example")
    assert rafael
    for method, body in (("PUT", {"roles": ["contract_owner"]}), ("DELETE", None)):
        answer = Caller(cloud, GIULIA).call(method, f"/v1/customers/{officine()}/roles/{rafael.user_id}", body)
        assert problem(answer) == (404, "NOT_FOUND")
    people.change_profile(rafael, VENDOR, cloud.now, name="Rafael", language=None, unsubscribed=())


# ── the activation window ──


def test_while_the_window_is_open_the_tax_id_alone_is_enough(cloud: Cloud) -> None:
    caller, path = Caller(cloud, GIULIA), f"/v1/customers/{officine()}/activation-window"
    assert caller.call("GET", path).json() == {"open_until": None}
    until = caller.call("PUT", path, {"minutes": 60}).json()["open_until"]
    assert until == f"{cloud.now + timedelta(hours=1):%Y-%m-%dT%H:%M:}" + until[-3:]
    assert cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}).status_code == 200
    page = signed_in(cloud, ENRICO).get(f"/portal/customers/{officine()}/people").text
    assert "Open until" in page
    for _ in range(2):
        assert caller.call("DELETE", path).status_code == 204
    assert cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}).status_code == 202
    assert caller.call("GET", path).json() == {"open_until": None}
    assert sorted(each for each in actions(officine()) if each.startswith("window")) == [
        "window.closed",
        "window.opened",
    ]


@pytest.mark.parametrize("minutes", [4, 1441, -60, "60", 5.5])
def test_a_window_is_short(cloud: Cloud, minutes: Any) -> None:
    answer = Caller(cloud, GIULIA).call("PUT", f"/v1/customers/{officine()}/activation-window", {"minutes": minutes})
    if minutes == "60":
        assert answer.status_code in (200, 422)
    else:
        assert problem(answer) == (422, "INVALID_REQUEST")


# ── resellers, settings, catalogue ──


def test_the_vendor_keeps_resellers(cloud: Cloud) -> None:
    body = {"name": "Nouveau", "tax_id": "FR40303265045", "country": "FR", "contacts": [{"email": "n@nouveau.example"}]}
    made = vendor(cloud).call("POST", "/v1/resellers", body).json()
    assert (made["may_order"], made["language"]) == (False, "en")
    assert problem(vendor(cloud).call("POST", "/v1/resellers", body)) == (409, "TAX_ID_EXISTS")
    path = f"/v1/resellers/{made['reseller_id']}"
    assert vendor(cloud).call("PATCH", path, {"may_order": True}).json() == made | {"may_order": True}
    assert "Nouveau" in names(vendor(cloud).call("GET", "/v1/resellers"))
    assert sorted(actions(made["reseller_id"])) == ["reseller.changed", "reseller.created"]


def test_two_who_change_a_reseller_at_once_keep_both_changes(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = vendor(cloud).call("GET", "/v1/resellers").json()["items"]
    one = next(each for each in listed if each["may_order"])

    def withdraw() -> None:
        before = store.resellers()[one["reseller_id"]]
        store.put_reseller(before, replace(before, may_order=False), tables.nothing)

    before_writing(monkeypatch, store, "put_reseller", withdraw)
    answer = vendor(cloud).call("PATCH", f"/v1/resellers/{one['reseller_id']}", {"name": "Telefonia"})
    assert answer.json() == one | {"name": "Telefonia", "may_order": False}


def before_writing(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, somebody_else: Callable[[], Any]) -> None:
    """Let somebody else in between the next read and its write."""
    write = getattr(module, name)

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(module, name, write)
        somebody_else()
        return write(*arguments)

    monkeypatch.setattr(module, name, late)


def test_what_a_file_says_of_the_vendor_at_the_same_moment_stays(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = vendor(cloud).call("GET", "/v1/vendor-settings").json()
    settings.pop("languages")
    part = {"vendor": {"name": settings["name"], "offline_days": 90}}
    before_writing(monkeypatch, vendor_store, "put", lambda: loading.load(part, cloud.now))
    assert vendor(cloud).call("PUT", "/v1/vendor-settings", settings | {"notice_days": 45}).status_code == 200
    kept = vendor_store.get()
    assert (kept.notice_days, kept.offline_days) == (45, 90)


def test_the_vendor_s_settings_are_replaced_as_a_whole(cloud: Cloud) -> None:
    settings = vendor(cloud).call("GET", "/v1/vendor-settings").json()
    assert settings["validation_window"] == {"from": "10:00", "to": "14:00"}
    assert settings.pop("languages") == ["en", "it", "es", "pt-BR", "sv"]
    changed = settings | {"notice_days": 45, "validation_window": {"from": "09:00", "to": "12:00"}}
    assert vendor(cloud).call("PUT", "/v1/vendor-settings", changed).status_code == 200
    after = vendor(cloud).call("GET", "/v1/vendor-settings").json()
    assert (after["notice_days"], after["validation_window"]) == (45, {"from": "09:00", "to": "12:00"})


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"lowest_app_version": "Spring 1999"}, "/lowest_app_version"),
        ({"validation_window": {"from": "14:00", "to": "10:00"}}, "/validation_window"),
        ({"portal_url": "javascript:alert(1)"}, "/portal_url"),
        ({"notice_days": 400}, "/notice_days"),
        ({"unknown": 1}, "/unknown"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(cloud: Cloud, change: dict[str, Any], pointer: str) -> None:
    settings = vendor(cloud).call("GET", "/v1/vendor-settings").json()
    settings.pop("languages")
    answer = vendor(cloud).call("PUT", "/v1/vendor-settings", settings | change)
    assert problem(answer) == (422, "INVALID_REQUEST")
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_the_catalogue_is_read_by_sku(cloud: Cloud) -> None:
    products = Caller(cloud, "erp").call("GET", "/v1/products").json()["items"]
    assert len(products) == 21
    one = Caller(cloud, PAOLO).call("GET", "/v1/products/AQ-SUB-10").json()
    assert one in products
    assert (one["unit"], one["units_per_sku"], one["periods"]) == ("channels", 10, [1, 2, 3])
    assert problem(vendor(cloud).call("GET", "/v1/products/NO-SUCH")) == (404, "NOT_FOUND")


# ── overviews ──


def test_renewals_come_soonest_first_each_once(cloud: Cloud) -> None:
    page = signed_in(cloud, MARTA).get("/portal/renewals?days=60").text
    places = [page.index(code) for code in ("FX-9QHD-M3RN", "RP-5TVJ-8B6C", "AQ-9KTD-2W7N", "WC-4MZE-7Y2F")]
    assert places == sorted(places)
    assert page.count("RP-5TVJ-8B6C") == 1  # license and care end as one
    assert "AC-6XWN-3K9G" not in page  # has ended
    assert "IV-8RQB-5D7H" not in page  # is locked


def test_renewals_are_one_s_own(cloud: Cloud) -> None:
    page = signed_in(cloud, CAMILA).get("/portal/renewals?days=3650").text
    assert "PL-9DCK-3X5W" in page
    assert "RP-5TVJ-8B6C" not in page
    assert "Officine" not in page


def test_a_renewed_license_moves_in_the_list_and_a_returned_one_leaves_it(cloud: Cloud) -> None:
    from dataclasses import replace

    from licensing.store.vendor import catalogue

    account = accounts.read(officine())
    assert account
    key = next(key for key, each in account.licenses.items() if each.code == "RP-5TVJ-8B6C")
    renewed = replace(
        account.licenses[key], last_day=cloud.now.date() + timedelta(days=400), care=None, care_until=None
    )
    accounts.write(account, replace(account, licenses={**account.licenses, key: renewed}), catalogue())
    visitor = signed_in(cloud, MARTA)
    assert "RP-5TVJ-8B6C" not in visitor.get("/portal/renewals?days=399").text
    assert "RP-5TVJ-8B6C" in visitor.get("/portal/renewals?days=400").text
    account = accounts.read(officine())
    assert account
    returned = replace(account, licenses={**account.licenses, key: replace(renewed, state="returned", allocations={})})
    accounts.write(account, returned, catalogue())
    assert "RP-5TVJ-8B6C" not in visitor.get("/portal/renewals?days=3650").text


def test_long_lists_of_renewals_go_on(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    from licensing import overviews

    user = store.find_by_email(MARTA)
    assert user
    whole = overviews.coming_renewals(user, 3650, None, cloud.now).items
    monkeypatch.setattr(overviews, "_PAGE", 3)
    found: list[Any] = []
    cursor = None
    for _ in range(20):
        page = overviews.coming_renewals(user, 3650, cursor, cloud.now)
        assert len(page.items) <= 3
        found += page.items
        if (cursor := page.next_cursor) is None:
            break
    assert len(whole) > 10
    assert found == whole


def test_silent_servers_are_those_that_should_have_spoken(cloud: Cloud, server: Server) -> None:
    def shown(email: str, days: int = 3) -> bool:
        return "Milano" in signed_in(cloud, email).get(f"/portal/silent?days={days}").text

    assert not shown(MARTA)
    advance(cloud, 3)
    assert shown(MARTA)
    assert shown(PAOLO)
    assert not shown(CAMILA)
    assert not shown(MARTA, 4)
    advance(cloud, 9)
    assert "blocked" in signed_in(cloud, MARTA).get("/portal/silent").text
    server.deactivate()
    assert not shown(MARTA)


def test_a_walk_for_silent_servers_goes_on_where_it_stopped(
    cloud: Cloud, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from licensing import overviews

    advance(cloud, 5)
    monkeypatch.setattr(overviews, "_PAGE", 1)
    monkeypatch.setattr(overviews, "_LOOKED_THROUGH", 1)
    user = store.find_by_email(MARTA)
    assert user
    found: list[Any] = []
    cursor = None
    for _ in range(10):
        page = overviews.silent_servers(user, 3, cursor, cloud.now)
        found += page.items
        if (cursor := page.next_cursor) is None:
            break
    assert [each.name for each in found] == ["Milano"]


@pytest.mark.parametrize("path", ["/portal/silent", "/portal/renewals"])
@pytest.mark.parametrize("days", ["", "-1", "x", "99999999999", "٣"])
def test_a_number_of_days_that_is_none(cloud: Cloud, path: str, days: str) -> None:
    visitor = signed_in(cloud, MARTA)
    assert cloud.http.get(
        visitor.origin + path, params={"days": days}, headers={"cookie": f"__Host-session={visitor.cookie}"}
    ).status_code == 200  # fmt: skip


# ── the portal's forms ──


def test_the_vendor_creates_a_customer_in_the_portal(cloud: Cloud) -> None:
    visitor = signed_in(cloud, MARTA)
    fields = {
        "name": BODY["name"], "tax_id": BODY["tax_id"], "country": "FR", "time_zone": "Europe/Paris", "language": "en",
        "name_0": "Zoé", "email_0": "zoe@acme.example",
    }  # fmt: skip
    wrong = visitor.submit("/portal/customers/new", **fields | {"tax_id": "FR1"})
    assert wrong.status_code == 422
    assert "typing error" in wrong.text
    assert "zoe@acme.example" in wrong.text  # what was typed stays
    answer = visitor.submit("/portal/customers/new", **fields)
    location = answer.headers["location"]
    assert location.endswith("?done=customer-created")
    details = visitor.get(location.partition("?")[0] + "/details").text
    assert "Acme &lt;b&gt;S.A.S.&lt;/b&gt;" in details


def test_details_are_changed_in_the_portal(cloud: Cloud) -> None:
    visitor = signed_in(cloud, GIULIA)
    path = f"/portal/customers/{officine()}/details"
    fields = {"name": "Officine", "country": "IT", "time_zone": "Europe/Zurich", "language": "it"}
    assert visitor.submit(path, **fields | {"time_zone": "nowhere"}).status_code == 422
    assert visitor.submit(path, **fields).headers["location"] == f"{path}?done=saved"
    customer = accounts.get_customer(officine())
    assert customer
    assert (customer.name, customer.time_zone) == ("Officine", "Europe/Zurich")
    assert customer.reseller_ids  # a customer's form says nothing of them, so they stay


def test_log_retention_is_changed_in_the_portal(cloud: Cloud) -> None:
    visitor = signed_in(cloud, GIULIA)
    base = f"/portal/customers/{officine()}"
    answer = visitor.submit(f"{base}/log", f"{base}/log-retention", days="30")
    assert answer.headers["location"] == f"{base}/log?done=retention-announced"
    assert "kept for 30 days only" in visitor.get(f"{base}/log").text
    assert visitor.post(f"{base}/log-retention", {"days": "365"}).headers["location"] == f"{base}/log?done=saved"
    assert "days only" not in visitor.get(f"{base}/log").text
    assert visitor.post(f"{base}/log-retention", {"days": ""}).status_code == 422


def test_a_customer_is_deleted_only_where_that_was_ticked(cloud: Cloud) -> None:
    visitor = signed_in(cloud, MARTA)
    base = f"/portal/customers/{officine()}"
    visitor.submit(f"{base}/details", f"{base}/delete")
    customer = accounts.get_customer(officine())
    assert customer
    assert not customer.deleted
    visitor.post(f"{base}/delete", {"sure": "yes"})
    customer = accounts.get_customer(officine())
    assert customer
    assert customer.deleted
    assert "Restore this customer" in visitor.get(f"{base}/details").text


def test_the_list_s_filters_and_search(cloud: Cloud) -> None:
    visitor = signed_in(cloud, MARTA)
    assert "Officine Lombarde" in visitor.get("/portal/customers?search=00743110157").text
    assert "Officine Lombarde" not in visitor.get("/portal/customers?show=deleted").text
    assert visitor.get("/portal/customers?show=nonsense&cursor=x").status_code == 422
