"""Order, unlock, activate: intake by API and file, the e-mail, the page that its link leads to (B1, B2, B7)."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.awsrequest import AWSResponse
from licensing import administration, orders
from licensing.contract_orders import NewOrder
from licensing.errors import AlreadyUnlocked, OrderCancelled, OrderExists
from licensing.rules.heartbeat import local_date
from licensing.rules.operations import Origin
from licensing.rules.orders import Order
from licensing.rules.people import VENDOR as VENDOR_ORGANIZATION
from licensing.rules.people import User
from licensing.store import orders as store
from licensing.store import people
from licensing.store.operations import OperationItem
from licensing.store.orders import ListedOrderItem, OrderItem, UnlockItem
from licensing.store.tables import Item
from moto.backends import get_backend
from moto.core.botocore_stubber import MockRawResponse
from typer.testing import CliRunner

from infra.local.template import ACCOUNT, REGION
from infra.operator.cli import app
from tests.integration.test_failures import before_the_write, faults
from tests.support.cloud import TAX_ID, VENDOR, Cloud, Server, problem
from tests.support.form_browser import (
    OTHER_RESELLER_USER,
    PASSWORD,
    RESELLER_USER,
    VENDOR_USER,
    Browser,
    text_of,
    token_of,
)

RESELLER = "IT12345670017"
ERP = User("erp", "", "ERP", VENDOR_ORGANIZATION)


def body(number: str = "TP-1", **changes: Any) -> dict[str, Any]:
    lines = [{"kind": "new", "sku": "AQ-SUB-10", "quantity": 2, "years": 1, "care": "GOLD"}]
    return {"order_number": number, "reseller": RESELLER, "customer": {"tax_id": TAX_ID}, "lines": lines, **changes}


def stranger(tax_id: str = "FR40303265045", **changes: Any) -> dict[str, Any]:
    """A customer that nobody has heard of."""
    named = {"name": "Acme S.A.", "country": "FR", "time_zone": "Europe/Paris", "language": "en"}
    return {"tax_id": tax_id, **named, **changes}


class Api:
    """The API, as one of the demo's users."""

    def __init__(self, cloud: Cloud, username: str = "erp") -> None:
        self._cloud, self._base = cloud, cloud.stack.sites[0].url
        token = cloud.http.post(f"{self._base}/local/users/{username}/token").json()["access_token"]
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
        content = json.dumps(body).encode() if body is not None else None
        return self._cloud.http.request(method, self._base + path, content=content, headers=named)

    def order(self, number: str = "TP-1", **changes: Any) -> Any:
        response = self("POST", "/v1/orders", body(number, **changes))
        assert response.status_code == 201, response.text
        return response.json()


@pytest.fixture
def erp(cloud: Cloud) -> Api:
    return Api(cloud)


def account() -> Any:
    return administration.find_account(TAX_ID)


def license_of(code: str) -> Any:
    return next((each for each in account().licenses.values() if each.code == code), None)


def mails(cloud: Cloud) -> list[Any]:
    while cloud.work_off_queue():
        pass
    items: list[Any] = cloud.get("/local/outbox").json()["items"]
    return items


def link(cloud: Cloud) -> str:
    """The path of the newest unlock link in the outbox."""
    found = re.search(r"https?://[^/\s]+(/unlock/\S+)", mails(cloud)[0]["text"])
    assert found
    return found[1]


def told(action: str) -> int:
    return len([item for item in OperationItem.scan() if "#op_" in item.sk and item.action == action])


def stored(order_id: str) -> Order:
    found = store.get(order_id)
    assert found
    return found[0]


# ── intake ──


def test_an_order_makes_locked_licenses_renews_at_once_and_mails_the_reseller(cloud: Cloud, erp: Api) -> None:
    lines = [
        {"sku": "AQ-SUB-10", "quantity": 2, "years": 1, "care": "GOLD"},
        {"kind": "expansion", "license_code": "AQ-7F3K-92MD", "quantity": 1},
        {"kind": "renewal", "license_code": "RP-5TVJ-8B6C", "years": 1},
    ]
    before = license_of("RP-5TVJ-8B6C").last_day
    taken = erp.order(lines=lines)
    new, expansion, renewal = taken["lines"]
    assert re.fullmatch(r"AQ-[2-9A-Z]{4}-[2-9A-Z]{4}", new["license_code"])
    assert [each["state"] for each in taken["lines"]] == ["locked", "locked", "renewed"]
    assert (new["units"], new["last_day"], expansion["last_day"]) == (20, None, None)
    assert license_of(new["license_code"]).state == "locked"
    assert license_of("RP-5TVJ-8B6C").last_day.year == before.year + 1
    assert renewal["last_day"] == str(license_of("RP-5TVJ-8B6C").last_day)
    assert taken["steps"] == {"delivered": False, "unlocked": False, "assigned": False, "activated": False}

    [mail] = mails(cloud)
    assert mail["to"] == ["ordini@telefoniapadana.example"]
    for said in (
        "Officine Lombarde S.p.A.",
        "Italia",
        "Telefonia Padana",
        "TP-1",
        "AQ-SUB-10",
        new["license_code"],
        "/unlock/",
    ):
        assert said in mail["text"]
        assert said in mail["html"]
    assert mail["html"].count("<a ") == 1
    shown = erp("GET", f"/v1/orders/{taken['order_id']}").json()
    assert shown["steps"]["delivered"]
    assert shown["deliveries"][0]["state"] == "sent"


def test_a_renewal_reaches_the_server_at_its_next_validation(cloud: Cloud, server: Server, erp: Api) -> None:
    before = license_of("RP-5TVJ-8B6C").last_day
    erp.order(lines=[{"kind": "renewal", "license_code": "RP-5TVJ-8B6C", "years": 1}])
    entitlements = {each["license_code"]: each for each in server.validate().json()["entitlements"]}
    assert entitlements["RP-5TVJ-8B6C"]["last_day"] == str(before.replace(year=before.year + 1))


def test_an_order_that_only_renews_has_nothing_to_unlock(cloud: Cloud, erp: Api) -> None:
    taken = erp.order(lines=[{"kind": "renewal", "license_code": "RP-5TVJ-8B6C", "years": 1}])
    assert taken["state"] == "unlocked"
    [mail] = mails(cloud)
    assert "/unlock/" not in mail["text"] + mail["html"]


def test_an_unknown_customer_is_made_and_the_reseller_manages_it(cloud: Cloud, erp: Api) -> None:
    named = stranger(contact={"name": "Jeanne", "email": "jeanne@acme.example"})
    erp.order(customer=named)
    customer = administration.find_account("FR40303265045").customer
    assert (customer.name, customer.country, customer.time_zone) == ("Acme S.A.", "FR", "Europe/Paris")
    assert [people.resellers()[key].tax_id for key in customer.reseller_ids] == [RESELLER]
    assert [each.email for each in customer.contacts] == ["jeanne@acme.example"]


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"lines": [{"sku": "NONE", "quantity": 1}]}, 422, "PRODUCT_UNKNOWN"),
    ({"lines": [{"sku": "AQ-SUB-10", "quantity": 1, "years": 7}]}, 422, "PERIOD_NOT_ON_SALE"),
    ({"lines": [{"kind": "renewal", "license_code": "XX-0000-0000", "years": 1}]}, 422, "LICENSE_UNKNOWN"),
    ({"lines": [{"kind": "renewal", "license_code": "AC-6XWN-3K9G", "years": 1}]}, 409, "RENEWAL_TOO_LATE"),
    ({"lines": [{"kind": "renewal", "license_code": "RP-5TVJ-8B6C", "years": 1}] * 2}, 409, "RENEWAL_TOO_EARLY"),
    ({"lines": [{"kind": "renewal", "license_code": "IV-8RQB-5D7H", "years": 1}]}, 409, "NOT_RENEWABLE"),
    ({"reseller": "IT00743110157"}, 422, "RESELLER_UNKNOWN"),
    ({"reseller": None}, 422, "RESELLER_UNKNOWN"),
    ({"reseller": "BR11222333000181"}, 403, "ORDERING_NOT_ALLOWED"),
    ({"customer": {"tax_id": "FR40303265045"}}, 422, "CUSTOMER_DETAILS_MISSING"),
    ({"customer": {"tax_id": "IT00743110158"}}, 422, "INVALID_REQUEST"),
    ({"customer": stranger(name="Acme\r\nBcc: x@y.example")}, 422, "INVALID_REQUEST"),
    ({"customer": stranger(time_zone="Europe/Nowhere")}, 422, "INVALID_REQUEST"),
    ({"order_number": "TP\r\n1"}, 422, "INVALID_REQUEST"),
    ({"order_number": "x" * 65}, 422, "INVALID_REQUEST"),
    ({"recipients": ["a,b@c.example"]}, 422, "INVALID_REQUEST"),
    ({"recipients": ["a@b.example\r\nBcc: x@y.example"]}, 422, "INVALID_REQUEST"),
    ({"lines": []}, 422, "INVALID_REQUEST"),
    ({"lines": body()["lines"] * 31}, 422, "INVALID_REQUEST"),
    ({"lines": [{"sku": "AQ-PERP-10", "quantity": 0}]}, 422, "INVALID_REQUEST"),
    ({"lines": [{"sku": "AQ-PERP-10", "quantity": 1.5}]}, 422, "INVALID_REQUEST"),
    ({"lines": [{"sku": "AQ-PERP-10", "quantity": "1"}]}, 422, "INVALID_REQUEST"),
    ({"lines": [{"sku": "AQ-PERP-10", "quantity": True}]}, 422, "INVALID_REQUEST"),
    ({"lines": [{"sku": "AQ-PERP-10", "quantity": 1, "care": "GOLD"}]}, 422, "INVALID_REQUEST"),
    ({"lines": [{"kind": "renewal", "license_code": "RP-5TVJ-8B6C"}]}, 422, "INVALID_REQUEST"),
    ({"lines": [{"kind": "renewal", "license_code": "RP-5TVJ-8B6C", "years": 1, "quantity": 2}]}, 422, "INVALID_REQUEST"),
    ({"unlocked": True}, 422, "INVALID_REQUEST"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "status", "code"), REFUSED)
def test_what_is_not_right_is_refused_and_leaves_nothing_behind(
    cloud: Cloud, erp: Api, changes: dict[str, Any], status: int, code: str
) -> None:
    before = account(), len(list(Item.scan()))
    assert problem(erp("POST", "/v1/orders", body(**changes))) == (status, code)
    assert (account(), len(list(Item.scan()))) == before
    assert mails(cloud) == []


def test_thirty_lines_are_one_transaction(cloud: Cloud, erp: Api) -> None:
    taken = erp.order(lines=body()["lines"] * 30, customer=stranger())
    assert len({each["license_code"] for each in taken["lines"]}) == 30
    assert unlocked(cloud, link(cloud), "TP-1")
    states = {each.state for each in administration.find_account("FR40303265045").licenses.values()}
    assert states == {"active"}


def test_a_number_is_taken_once_per_reseller_however_it_is_written(cloud: Cloud, erp: Api) -> None:
    first = erp.order("TP-1")
    again = erp("POST", "/v1/orders", body(" tp-1"))
    assert problem(again) == (409, "ORDER_EXISTS")
    assert again.json()["order_id"] == first["order_id"]
    assert len(mails(cloud)) == 1


def test_two_intakes_of_one_number_at_once_make_one_order(cloud: Cloud) -> None:
    taken: list[Any] = []

    def twin() -> None:
        taken.append(orders.take_in(ERP, NewOrder.model_validate(body()), cloud.now, VENDOR))

    with before_the_write(cloud, "TransactWriteItems", twin), pytest.raises(OrderExists):
        orders.take_in(ERP, NewOrder.model_validate(body()), cloud.now, VENDOR)
    [order] = taken
    assert [each.code for each in account().licenses.values() if each.state == "locked"].count(
        order.lines[0].license_code
    ) == 1
    assert len(mails(cloud)) == 1
    assert told("order.received") == 2  # and the demo's


def test_a_replay_gets_the_first_answer(cloud: Cloud, erp: Api) -> None:
    answers = [erp("POST", "/v1/orders", body(), idempotency_key="k" * 20) for _ in range(3)]
    assert {(each.status_code, each.text) for each in answers} == {(201, answers[0].text)}
    assert problem(erp("POST", "/v1/orders", body("TP-2"), idempotency_key="k" * 20)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(mails(cloud)) == 1


@pytest.mark.parametrize("fault", ["timeout_after", "conflict", "throttle", "timeout_before"])
def test_an_intake_survives_trouble_and_is_not_doubled(cloud: Cloud, erp: Api, fault: str) -> None:
    before = len(account().licenses)
    with faults(cloud, "dynamodb", fault, "TransactWriteItems", times=1) as hit:
        taken = erp.order()
    assert hit
    assert len(account().licenses) == before + 1
    assert license_of(taken["lines"][0]["license_code"]).state == "locked"
    assert len(mails(cloud)) == 1
    assert told("order.received") == 2


@pytest.mark.parametrize("key", ["k" * 20, None])
@pytest.mark.slow
def test_dying_between_any_two_calls_loses_nothing_and_doubles_nothing(cloud: Cloud, key: str | None) -> None:
    """The process is gone before its n-th call to AWS, for every n; then the ERP tries again."""
    headers = {"idempotency_key": key} if key else {}
    died = 0
    for number in range(1, 40):
        cloud.stack.reset()
        erp, calls = Api(cloud), 0

        def die(event: str, request: Any, last: int = number) -> None:
            nonlocal calls
            calls += 1
            if calls >= last:
                raise KeyboardInterrupt

        cloud.stack.aws.interceptor = die
        try:
            with pytest.raises(KeyboardInterrupt):
                orders.take_in(ERP, NewOrder.model_validate(body()), cloud.now, VENDOR)
            died += 1
        except pytest.fail.Exception:
            cloud.stack.aws.interceptor = None
            break
        finally:
            cloud.stack.aws.interceptor = None
        again = erp("POST", "/v1/orders", body(), **headers)
        assert again.status_code == 201, again.text
        assert len([each for each in account().licenses.values() if each.state == "locked"]) == 2  # and the demo's
        assert len(mails(cloud)) == 1
    assert died >= 5


def test_a_message_whose_order_never_came_about_mails_nothing(cloud: Cloud) -> None:
    with faults(cloud, "dynamodb", "timeout_before", "TransactWriteItems"), pytest.raises(Exception, match="TEMP"):
        orders.take_in(ERP, NewOrder.model_validate(body()), cloud.now, VENDOR)
    assert cloud.work_off_queue() == 1
    assert cloud.get("/local/outbox").json()["items"] == []


@pytest.mark.parametrize("fault", ["timeout_before", "timeout_after"])
def test_an_e_mail_that_fails_is_tried_again(cloud: Cloud, erp: Api, fault: str) -> None:
    taken = erp.order()
    with faults(cloud, "sesv2", fault, times=3):
        cloud.work_off_queue()
    assert mails(cloud)
    assert stored(taken["order_id"]).mailings[0].deliveries[0].state == "sent"


def test_an_e_mail_that_ses_refuses_for_good_is_told_on_the_order(cloud: Cloud, erp: Api) -> None:
    taken = erp.order()

    def refused(event: str, request: Any) -> AWSResponse | None:
        if event != "before-send.sesv2.SendEmail":
            return None
        body = json.dumps({"message": "Missing final '@domain'"}).encode()
        headers = {"x-amzn-errortype": "BadRequestException", "content-type": "application/json"}
        return AWSResponse(request.url, 400, headers, MockRawResponse(body))  # type: ignore[arg-type]

    cloud.stack.aws.interceptor = refused
    try:
        cloud.work_off_queue()
    finally:
        cloud.stack.aws.interceptor = None
    [delivery] = stored(taken["order_id"]).mailings[0].deliveries
    assert (delivery.state, delivery.reason) == ("bounced", "BadRequestException")
    assert cloud.work_off_queue() == 0


def test_a_message_delivered_twice_mails_once(cloud: Cloud, erp: Api) -> None:
    erp.order()
    [queue] = [each for name, each in get_backend("sqs")[ACCOUNT][REGION].queues.items() if name.endswith("-Mail")]
    copy = queue._messages[0].body
    assert len(mails(cloud)) == 1
    import boto3

    boto3.client("sqs", region_name=REGION).send_message(QueueUrl=cloud.stack.functions.all["SendMail"].environment[
        "MAIL_QUEUE_URL"], MessageBody=copy)  # fmt: skip
    assert len(mails(cloud)) == 1


# ── who may, and whose ──


def test_a_reseller_orders_for_itself_and_sees_its_own_orders_only(cloud: Cloud, erp: Api) -> None:
    reseller, other = Api(cloud, RESELLER_USER), Api(cloud, OTHER_RESELLER_USER)
    taken = reseller.order(reseller=None)
    assert taken["reseller"]["tax_id"] == RESELLER
    assert problem(reseller("POST", "/v1/orders", body("TP-2", reseller="BR11222333000181"))) == (
        422,
        "RESELLER_UNKNOWN",
    )
    assert problem(other("POST", "/v1/orders", body(reseller=None))) == (403, "ORDERING_NOT_ALLOWED")
    assert {each["order_number"] for each in reseller("GET", "/v1/orders").json()["items"]} == {"TP-1", "TP-2026-1187"}
    assert other("GET", "/v1/orders").json()["items"] == []
    assert len(erp("GET", "/v1/orders").json()["items"]) == 2


FOREIGN: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("DELETE", "", None),
    ("POST", "/resend", {}),
    ("POST", "/unlock", {"order_number": "TP-1"}),
    ("POST", "/forward", {"email": "a@b.example"}),
]


@pytest.mark.parametrize(("method", "suffix", "sent"), FOREIGN)
@pytest.mark.parametrize("username", [OTHER_RESELLER_USER, "giulia.ferrario@officinelombarde.example"])
def test_somebody_else_s_order_is_not_there(
    cloud: Cloud, erp: Api, method: str, suffix: str, sent: Any, username: str
) -> None:
    order_id = erp.order()["order_id"]
    foreign = Api(cloud, username)(method, f"/v1/orders/{order_id}{suffix}", sent)
    unknown = Api(cloud, username)(method, f"/v1/orders/ord_0123456789{suffix}", sent)
    assert problem(foreign) == problem(unknown) == (404, "NOT_FOUND")
    assert foreign.json() == unknown.json()
    assert stored(order_id).state == "waiting"


def test_without_a_token_nothing_is_answered(cloud: Cloud) -> None:
    assert cloud.get("/v1/orders").status_code == 401
    assert cloud.post("/v1/orders", body()).status_code == 401


def test_an_order_for_another_reseller_s_customer_tells_nothing_of_it(cloud: Cloud) -> None:
    """Known or not, the answer has the same shape and says what the reseller said; licenses can't be named."""
    reseller = Api(cloud, RESELLER_USER)
    taken = [
        reseller.order(str(number), reseller=None, customer=stranger(tax_id))
        for number, tax_id in enumerate(("FR40303265045", "BR12345678000195"))
    ]
    assert [each["customer"]["name"] for each in taken] == ["Acme S.A."] * 2
    assert taken[0].keys() == taken[1].keys()
    assert problem(
        reseller("POST", "/v1/orders", body("3", reseller=None, customer={"tax_id": "BR12345678000195"}))
    ) == (422, "CUSTOMER_DETAILS_MISSING")
    named = [{"kind": "expansion", "license_code": "AQ-3GWT-6N8V", "quantity": 1}]
    refused = reseller(
        "POST", "/v1/orders", body("4", reseller=None, customer=stranger("BR12345678000195"), lines=named)
    )
    assert problem(refused) == (422, "LICENSE_UNKNOWN")
    customer = administration.find_account("BR12345678000195").customer
    assert customer.name == "Clínica Boa Vista Ltda."
    assert [people.resellers()[key].tax_id for key in customer.reseller_ids] == ["BR11222333000181"]


def test_the_list_is_filtered_searched_and_goes_on(cloud: Cloud, erp: Api) -> None:
    for number in range(5):
        erp.order(f"A-{number}")
        cloud.stack.clock.advance(timedelta(seconds=1))
    mails(cloud)
    erp.order("B-1", customer=stranger())
    unlocked(cloud, link(cloud), "B-1")
    first = erp("GET", "/v1/orders?limit=3&state=open").json()
    assert [each["order_number"] for each in first["items"]] == ["A-4", "A-3", "A-2"]
    rest = erp("GET", f"/v1/orders?limit=3&state=open&cursor={first['next_cursor']}").json()
    assert [each["order_number"] for each in rest["items"]] == ["A-1", "A-0", "TP-2026-1187"]
    assert [each["order_number"] for each in erp("GET", "/v1/orders?search=acme").json()["items"]] == ["B-1"]
    foreign = Api(cloud, OTHER_RESELLER_USER)("GET", f"/v1/orders?cursor={first['next_cursor']}")
    assert problem(foreign) == (422, "INVALID_REQUEST")


# ── the unlock page ──


def unlocked(cloud: Cloud, path: str, number: str) -> httpx.Response:
    browser = Browser(cloud)
    return browser.send(browser.get(path), order_number=number)


def test_looking_changes_nothing_and_the_number_is_on_no_page(cloud: Cloud, erp: Api) -> None:
    taken = erp.order("SECRET-NUMBER-4711")
    path, browser = link(cloud), Browser(cloud)
    before = account()
    page = browser.get(path)
    assert page.status_code == 200
    for said in ("Officine Lombarde", "Telefonia Padana", taken["lines"][0]["license_code"], "locked"):
        assert said in text_of(page)
    assert "4711" not in page.text
    assert path.rpartition("/")[2] not in page.text
    assert account() == before
    assert page.headers["referrer-policy"] == "strict-origin"
    assert page.headers["cache-control"] == "no-store"


def test_the_number_and_the_button_unlock_all_lines_and_again_says_since_when(cloud: Cloud, erp: Api) -> None:
    taken = erp.order(lines=body()["lines"] * 3)
    path = link(cloud)
    page = unlocked(cloud, path, " tp-1 ")
    assert page.status_code == 200
    said = text_of(page)
    assert "Sign in" in said
    assert "Register" in said
    assert "Forward the activation" in said
    states = [license_of(each["license_code"]) for each in taken["lines"]]
    assert {each.state for each in states} == {"active"}
    assert {each.first_day for each in states} == {local_date(cloud.now, "Europe/Rome")}
    assert told("order.unlocked") == 1
    cloud.stack.clock.advance(timedelta(days=3))
    again = unlocked_again(cloud, path)
    assert again.status_code == 409
    assert "unlocked since" in text_of(again)
    assert told("order.unlocked") == 1


def unlocked_again(cloud: Cloud, path: str) -> httpx.Response:
    browser = Browser(cloud)
    return browser.post(path, form_token=token_of(browser.get(path)), order_number="TP-1")


def test_a_wrong_number_unlocks_nothing_and_tries_are_limited(cloud: Cloud, erp: Api) -> None:
    taken = erp.order()
    path = link(cloud)
    answers = [unlocked(cloud, path, f"TP-{number}").status_code for number in range(2, 12)]
    assert answers == [403] * 10
    assert unlocked(cloud, path, "TP-1").status_code == 429
    assert license_of(taken["lines"][0]["license_code"]).state == "locked"
    cloud.stack.clock.advance(timedelta(hours=1))
    assert unlocked(cloud, path, "TP-1").status_code == 200


def test_a_scanner_that_opens_links_and_sends_forms_unlocks_nothing(cloud: Cloud, erp: Api) -> None:
    erp.order()
    path, browser = link(cloud), Browser(cloud)
    page = browser.get(path)
    values = dict(re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', page.text))
    for filled in ({}, {"order_number": "test@example.com"}, {"order_number": page.text[:60]}):
        assert browser.post(path, **{**values, **filled}).status_code == 403
    assert cloud.http.post(browser.site + path).status_code == 403
    assert cloud.http.request("HEAD", browser.site + path).status_code == 404
    assert stored(orders.find_by_link(path.rpartition("/")[2], cloud.now).order.order_id).state == "waiting"


def test_a_form_from_elsewhere_unlocks_nothing(cloud: Cloud, erp: Api) -> None:
    taken = erp.order()
    path, browser = link(cloud), Browser(cloud)
    token = token_of(browser.get(path))
    foreign = cloud.http.post(
        browser.site + path, data={"form_token": token, "order_number": "TP-1"},
        headers={"cookie": browser.cookie, "origin": "https://evil.example"},
    )  # fmt: skip
    without = cloud.http.post(browser.site + path, data={"order_number": "TP-1"}, headers={"origin": browser.site})
    assert (foreign.status_code, without.status_code) == (403, 403)
    assert stored(taken["order_id"]).state == "waiting"


@pytest.mark.parametrize("damage", [lambda path: path[:-5], lambda path: "/unlock", lambda path: path[:-1] + "0"])
def test_a_link_that_was_cut_off_gets_a_page_that_helps(cloud: Cloud, erp: Api, damage: Callable[[str], str]) -> None:
    erp.order()
    page = Browser(cloud).get(damage(link(cloud)))
    assert page.status_code == 404
    assert "Copy the whole link" in text_of(page)
    assert "UNLOCK_LINK_INVALID" in text_of(page)


def test_what_mail_clients_leave_on_a_link_does_not_matter(cloud: Cloud, erp: Api) -> None:
    erp.order()
    path = link(cloud)
    for left in (".", ")", "%3E", ","):
        assert Browser(cloud).get(path + left).status_code == 200


def test_two_unlock_at_once_and_it_happens_once(cloud: Cloud, erp: Api) -> None:
    taken = erp.order()
    secret, now = link(cloud).rpartition("/")[2], cloud.now

    def twin() -> None:
        orders.unlock_by_link(secret, "TP-1", now - timedelta(seconds=1), Origin("anyone"))

    # The first transaction counts the try.
    seen = 0

    def act(event: str, request: Any) -> None:
        nonlocal seen
        if event.endswith("TransactWriteItems"):
            seen += 1
            if seen == 2:
                cloud.stack.aws.interceptor = None
                twin()

    cloud.stack.aws.interceptor = act
    with pytest.raises(AlreadyUnlocked):
        orders.unlock_by_link(secret, "TP-1", now, Origin("anyone"))
    assert seen == 2
    assert told("order.unlocked") == 1
    assert license_of(taken["lines"][0]["license_code"]).state == "active"


@pytest.mark.parametrize("fault", ["timeout_after", "conflict", "throttle", "timeout_before"])
def test_unlocking_survives_trouble(cloud: Cloud, erp: Api, fault: str) -> None:
    taken = erp.order()
    with faults(cloud, "dynamodb", fault, "TransactWriteItems", times=2) as hit:
        response = erp("POST", f"/v1/orders/{taken['order_id']}/unlock", {"order_number": "TP-1"})
    assert hit
    assert response.status_code == 200, response.text
    assert told("order.unlocked") == 1


def test_unlocking_that_is_given_up_unlocks_no_line(cloud: Cloud, erp: Api) -> None:
    taken = erp.order(lines=body()["lines"] * 3)
    with faults(cloud, "dynamodb", "timeout_before", "TransactWriteItems"):
        response = erp("POST", f"/v1/orders/{taken['order_id']}/unlock", {"order_number": "TP-1"})
    assert problem(response) == (503, "TEMPORARILY_UNAVAILABLE")
    assert {license_of(each["license_code"]).state for each in taken["lines"]} == {"locked"}
    assert stored(taken["order_id"]).state == "waiting"


def test_a_user_unlocks_once_and_a_replay_gets_the_first_answer(cloud: Cloud, erp: Api) -> None:
    route = f"/v1/orders/{erp.order()['order_id']}/unlock"
    sent = {"order_number": "TP-1"}
    assert problem(erp("POST", route, {"order_number": "TP-2"})) == (403, "ORDER_NUMBER_WRONG")
    answers = [erp("POST", route, sent, idempotency_key="u" * 20) for _ in range(2)]
    assert answers[0].text == answers[1].text
    assert answers[0].json()["lines"][0]["last_day"] is not None
    again = erp("POST", route, sent)
    assert problem(again) == (409, "ALREADY_UNLOCKED")
    assert again.json()["unlocked_at"] == answers[0].json()["unlocked_at"]


def test_a_locked_license_reaches_no_server(cloud: Cloud, server: Server, erp: Api) -> None:
    code = erp.order()["lines"][0]["license_code"]
    assert code not in server.validate().text


# ── the secret ──


def test_the_secret_is_kept_as_its_digest_only_and_is_in_no_log(cloud: Cloud, erp: Api) -> None:
    erp.order()
    path = link(cloud)
    secret = path.rpartition("/")[2]
    unlocked(cloud, path, "wrong")
    unlocked(cloud, path, "TP-1")
    with faults(cloud, "dynamodb", "timeout_before"):
        Browser(cloud).get(path)
    assert len(secret) * 5 >= 128
    kept = str(
        [item.to_dynamodb_dict() for item in Item.scan()] + [item.to_dynamodb_dict() for item in OperationItem.scan()]
    )
    assert secret not in kept
    assert secret not in (cloud.stack.directory / "functions.log").read_text()
    assert len(list(UnlockItem.scan())) == 2  # and the demo's


def test_the_stack_s_own_lines_do_not_show_a_secret(cloud: Cloud) -> None:
    shown: list[str] = []
    cloud.stack._report = lambda site, method, path, status, ms: shown.append(path)
    try:
        cloud.get(f"/unlock/{'a' * 32}")
        cloud.get("/v1/ping")
    finally:
        cloud.stack._report = None
    assert shown == ["/unlock/…", "/v1/ping"]


# ── resend, cancel, forward ──


def test_sending_again_makes_a_new_link_and_the_first_stays_good(cloud: Cloud, erp: Api) -> None:
    order_id = erp.order()["order_id"]
    first = link(cloud)
    answer = erp("POST", f"/v1/orders/{order_id}/resend", {"recipients": ["right@telefoniapadana.example"]})
    assert answer.json()["deliveries"][0]["email"] == "right@telefoniapadana.example"
    second = link(cloud)
    assert mails(cloud)[0]["to"] == ["right@telefoniapadana.example"]
    assert first != second
    assert Browser(cloud).get(first).status_code == Browser(cloud).get(second).status_code == 200
    assert unlocked(cloud, first, "TP-1").status_code == 200


@pytest.mark.parametrize("fault", ["timeout_after", "conflict", "throttle", "timeout_before"])
def test_sending_again_survives_trouble_and_sends_once(cloud: Cloud, erp: Api, fault: str) -> None:
    order_id = erp.order()["order_id"]
    assert len(mails(cloud)) == 1
    with faults(cloud, "dynamodb", fault, "TransactWriteItems", times=1) as hit:
        assert erp("POST", f"/v1/orders/{order_id}/resend", {}).status_code == 200
    assert hit
    assert len(mails(cloud)) == 2
    assert len(stored(order_id).mailings) == 2


def test_mails_of_an_order_are_limited(cloud: Cloud, erp: Api) -> None:
    route = f"/v1/orders/{erp.order()['order_id']}/resend"
    assert [erp("POST", route, {}).status_code for _ in range(6)] == [200] * 5 + [429]


def test_a_cancelled_order_takes_its_licenses_and_links_with_it(cloud: Cloud, erp: Api) -> None:
    lines = [*body()["lines"], {"kind": "renewal", "license_code": "RP-5TVJ-8B6C", "years": 1}]
    taken = erp.order(lines=lines)
    path = link(cloud)
    renewed = license_of("RP-5TVJ-8B6C")
    answers = [erp("DELETE", f"/v1/orders/{taken['order_id']}") for _ in range(2)]
    assert [each.status_code for each in answers] == [200, 200]
    assert [each["state"] for each in answers[0].json()["lines"]] == ["cancelled", "renewed"]
    assert license_of(taken["lines"][0]["license_code"]) is None
    assert license_of("RP-5TVJ-8B6C") == renewed
    assert told("order.cancelled") == 1
    page = Browser(cloud).get(path)
    assert (page.status_code, "ORDER_CANCELLED" in page.text) == (410, True)
    for suffix, sent in (
        ("/unlock", {"order_number": "TP-1"}),
        ("/resend", {}),
        ("/forward", {"email": "a@b.example"}),
    ):
        assert problem(erp("POST", f"/v1/orders/{taken['order_id']}{suffix}", sent)) == (410, "ORDER_CANCELLED")
    assert problem(erp("POST", "/v1/orders", body())) == (409, "ORDER_EXISTS")


def test_what_is_unlocked_can_not_be_cancelled(cloud: Cloud, erp: Api) -> None:
    taken = erp.order()
    unlocked(cloud, link(cloud), "TP-1")
    assert problem(erp("DELETE", f"/v1/orders/{taken['order_id']}")) == (409, "ALREADY_UNLOCKED")
    assert license_of(taken["lines"][0]["license_code"]).state == "active"


def test_cancelled_before_it_was_mailed_it_is_not_mailed(cloud: Cloud, erp: Api) -> None:
    erp("DELETE", f"/v1/orders/{erp.order()['order_id']}")
    assert mails(cloud) == []


def test_unlocked_and_cancelled_at_once_only_one_of_them_happens(cloud: Cloud, erp: Api) -> None:
    taken = erp.order()
    user = User("u", "", "", VENDOR_ORGANIZATION)
    with (
        before_the_write(
            cloud,
            "TransactWriteItems",
            lambda: orders.unlock(user, taken["order_id"], "TP-1", cloud.now, VENDOR) and None,
        ),
        pytest.raises(AlreadyUnlocked),
    ):
        orders.cancel(user, taken["order_id"], cloud.now, VENDOR)
    assert license_of(taken["lines"][0]["license_code"]).state == "active"


def after_the_look_at_the_order(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    real, first = orders.accounts.read, [True]

    def read(customer_id: str) -> Any:
        if first:
            first.clear()
            act()
        return real(customer_id)

    monkeypatch.setattr(orders.accounts, "read", read)


@pytest.mark.parametrize("done", ["unlock", "cancel"])
def test_what_was_unlocked_or_cancelled_between_two_looks_is_told(
    cloud: Cloud, erp: Api, monkeypatch: pytest.MonkeyPatch, done: str
) -> None:
    taken, now = erp.order(), cloud.now
    user, order_id = User("u", "", "", VENDOR_ORGANIZATION), taken["order_id"]

    def unlock(at: datetime) -> Any:
        return orders.unlock(user, order_id, "TP-1", at, VENDOR)

    def cancel(at: datetime) -> Any:
        return orders.cancel(user, order_id, at, VENDOR)

    first, second = (unlock, cancel) if done == "unlock" else (cancel, unlock)
    refusal = AlreadyUnlocked if done == "unlock" else OrderCancelled
    after_the_look_at_the_order(monkeypatch, lambda: first(now))
    with pytest.raises(refusal):
        second(now + timedelta(seconds=3))
    assert stored(order_id).state == {"unlock": "unlocked", "cancel": "cancelled"}[done]


def test_two_who_unlock_are_told_one_time(cloud: Cloud, erp: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    order_id, user = erp.order()["order_id"], User("u", "", "", VENDOR_ORGANIZATION)
    after_the_look_at_the_order(monkeypatch, lambda: orders.unlock(user, order_id, "TP-1", cloud.now, VENDOR))
    with pytest.raises(AlreadyUnlocked):
        orders.unlock(user, order_id, "TP-1", cloud.now + timedelta(seconds=3), VENDOR)


def test_forwarding_invites_and_never_sends_the_link(cloud: Cloud, erp: Api) -> None:
    erp.order(customer=stranger())
    path = link(cloud)
    browser = Browser(cloud)
    page = browser.send(browser.get(path), order_number="TP-1")
    assert browser.send(page, order_number="wrong", email="luc@acme.example").status_code == 403
    assert browser.send(page, order_number="TP-1", email="luc").status_code == 422
    assert browser.send(page, order_number="TP-1", email="luc@acme.example").status_code == 200
    [mail, _] = mails(cloud)
    assert mail["to"] == ["luc@acme.example"]
    assert "/portal/invitations/" in mail["text"]
    assert path.rpartition("/")[2] not in json.dumps(mail)
    assert told("order.forwarded") == 1


def test_nothing_is_forwarded_before_it_is_unlocked(cloud: Cloud, erp: Api) -> None:
    erp.order(customer=stranger())
    browser = Browser(cloud)
    page = browser.get(link(cloud))
    assert browser.send(page, order_number="TP-1", email="luc@acme.example").status_code == 403
    assert len(mails(cloud)) == 1


def test_who_does_not_manage_a_customer_lets_nobody_into_it_but_its_registered_contacts(cloud: Cloud) -> None:
    """An order for somebody else's customer is no way in: not for the reseller itself, nor for whom it names."""
    reseller = Api(cloud, RESELLER_USER)
    order_id = reseller.order(reseller=None, customer=stranger("BR12345678000195"))["order_id"]
    mails(cloud)
    for email in ("thief@telefoniapadana.example", "rafael.moreira@clinicaboavista.example"):
        assert reseller("POST", f"/v1/orders/{order_id}/forward", {"email": email}).status_code == 202
    assert [each["to"] for each in mails(cloud)[:-1]] == [["rafael.moreira@clinicaboavista.example"]]


def by_link(cloud: Cloud, path: str, email: str) -> None:
    browser = Browser(cloud)
    assert browser.send(browser.get(path), order_number="TP-1", email=email).status_code == 200


def test_a_link_makes_a_stranger_no_administrator_but_asks_those_there_are(cloud: Cloud, erp: Api) -> None:
    erp.order()
    path = link(cloud)
    browser = Browser(cloud)
    page = browser.send(browser.get(path), order_number="TP-1")
    mailed = len(mails(cloud))
    assert browser.send(page, order_number="TP-1", email="mallory@x.example").status_code == 200
    [mail, *_] = mails(cloud)
    assert len(mails(cloud)) == mailed + 1
    assert mail["to"] == ["giulia.ferrario@officinelombarde.example"]
    assert "mallory@x.example" in mail["text"]
    assert f"/portal/customers/{account().customer.customer_id}/people" in mail["text"]
    assert not people.invitations(account().customer.customer_id, cloud.now)


def test_a_link_makes_a_registered_contact_administrator(cloud: Cloud, erp: Api) -> None:
    named = stranger(contact={"name": "Luc", "email": "luc@acme.example"})
    erp.order(customer=named)
    path = link(cloud)
    unlocked(cloud, path, "TP-1")
    by_link(cloud, path, "Luc@acme.example")
    assert mails(cloud)[0]["to"] == ["luc@acme.example"]
    customer_id = administration.find_account(named["tax_id"]).customer.customer_id
    [(invitation, _)] = people.invitations(customer_id, cloud.now).values()
    assert (invitation.roles, invitation.as_contact) == (("administrator",), True)


def test_a_link_makes_a_stranger_a_contract_owner_where_there_is_nobody(cloud: Cloud, erp: Api) -> None:
    erp.order(customer=stranger())
    path = link(cloud)
    unlocked(cloud, path, "TP-1")
    for _ in range(2):
        by_link(cloud, path, "luc@acme.example")
    customer_id = administration.find_account("FR40303265045").customer.customer_id
    [(invitation, _)] = people.invitations(customer_id, cloud.now).values()
    assert invitation.roles == ("contract_owner",)


def test_a_link_lets_the_reseller_s_contacts_into_its_team(cloud: Cloud, erp: Api) -> None:
    order_id = erp.order()["order_id"]
    path = link(cloud)
    unlocked(cloud, path, "TP-1")
    by_link(cloud, path, "ordini@telefoniapadana.example")
    [(invitation, _)] = people.invitations(stored(order_id).reseller_id, cloud.now).values()
    assert (invitation.email, invitation.roles) == ("ordini@telefoniapadana.example", ())
    assert not people.invitations(account().customer.customer_id, cloud.now)


def test_a_link_forwards_for_two_weeks_and_shows_the_order_only_from_then_on(cloud: Cloud, erp: Api) -> None:
    erp.order()
    path = link(cloud)
    unlocked(cloud, path, "TP-1")
    browser = Browser(cloud)
    page = browser.get(path)
    assert 'name="email"' in page.text
    cloud.http.post(cloud.stack.sites[0].url + "/local/clock", json={"advance_days": 14})
    mailed = len(mails(cloud))
    refused = browser.send(page, order_number="TP-1", email="mallory@x.example")
    assert refused.status_code == 410
    assert 'name="email"' not in refused.text
    page = browser.get(path)
    assert page.status_code == 200
    assert "<form" not in page.text.partition("<main")[2].partition("</main>")[0]
    assert len(mails(cloud)) == mailed


# ── what becomes of the e-mail ──


def event(
    cloud: Cloud, order_id: str, kind: str, email: str = "ordini@telefoniapadana.example", **changes: Any
) -> None:
    """Put what SES tells into the queue, as EventBridge does."""
    import boto3

    mailing_id = stored(order_id).mailings[-1].mailing_id
    at = "2026-11-25T12:00:00.000Z"
    details: dict[str, Any] = {
        "delivery": {"timestamp": at, "recipients": [email], "smtpResponse": "250 ok"},
        "bounce": {
            "timestamp": at, "bounceType": "Permanent", "bounceSubType": "General",
            "bouncedRecipients": [{"emailAddress": email, "diagnosticCode": "smtp; 550 <b>unknown</b>"}],
        },
        "complaint": {"timestamp": at, "complainedRecipients": [{"emailAddress": email}], "complaintFeedbackType": "abuse"},
        "reject": {"reason": "Bad content"},
    }  # fmt: skip
    tags = {"order": [order_id], "mailing": [mailing_id], "ses:configuration-set": ["licensing"]}
    mail = {"timestamp": at, "destination": [email], "messageId": "m", "tags": tags}
    detail = {"eventType": kind.capitalize(), "mail": mail, kind: details[kind], **changes}
    url = boto3.client("sqs", region_name=REGION).get_queue_url(QueueName="MailEventQueue")["QueueUrl"]
    message = {"version": "0", "source": "aws.ses", "detail-type": f"Email {kind}", "detail": detail}
    boto3.client("sqs", region_name=REGION).send_message(QueueUrl=url, MessageBody=json.dumps(message))


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        (["delivery"], "delivered"),
        (["bounce", "bounce", "delivery"], "bounced"),
        (["delivery", "complaint", "complaint"], "complained"),
        (["reject"], "bounced"),
    ],
)
def test_what_becomes_of_an_e_mail_is_recorded_once_and_the_worst_stays(
    cloud: Cloud, erp: Api, kinds: list[str], state: str
) -> None:
    order_id = erp.order()["order_id"]
    mails(cloud)
    for kind in kinds:
        event(cloud, order_id, kind, "Ordini@TelefoniaPadana.example")
    while cloud.work_off_queue():
        pass
    answer = erp("GET", f"/v1/orders/{order_id}").json()
    assert [each["state"] for each in answer["deliveries"]] == [state]
    version = OrderItem.get(f"ORDER#{order_id}", "ORDER").version
    event(cloud, order_id, kinds[0])
    cloud.work_off_queue()
    assert OrderItem.get(f"ORDER#{order_id}", "ORDER").version == version


@pytest.mark.parametrize("fault", ["throttle", "conflict", "timeout_before", "timeout_after"])
def test_an_event_in_trouble_is_not_lost(cloud: Cloud, erp: Api, fault: str) -> None:
    order_id = erp.order()["order_id"]
    mails(cloud)
    event(cloud, order_id, "bounce")
    with faults(cloud, "dynamodb", fault, "PutItem", times=4):
        for _ in range(4):
            cloud.work_off_queue()
    assert stored(order_id).mailings[0].deliveries[0].state == "bounced"


def test_an_event_that_comes_before_its_order_says_sent_counts(cloud: Cloud, erp: Api) -> None:
    order_id = erp.order()["order_id"]
    event(cloud, order_id, "bounce")
    assert mails(cloud)
    assert stored(order_id).mailings[0].deliveries[0].state == "bounced"


# ── the portal ──


def test_the_portal_lists_shows_and_works_on_orders(cloud: Cloud, erp: Api) -> None:
    order_id = erp.order()["order_id"]
    mails(cloud)
    event(cloud, order_id, "bounce")
    cloud.work_off_queue()
    for username in (VENDOR_USER, RESELLER_USER):
        browser = Browser(cloud).sign_in(username)
        listed = browser.get("/portal/orders")
        assert "TP-1" in text_of(listed)
        assert "TP-1" not in text_of(browser.get("/portal/orders?search=nobody"))
        shown = browser.get(f"/portal/orders/{order_id}")
        assert "came back" in text_of(shown)
        assert "&lt;b&gt;unknown" in shown.text
    page = browser.send(shown, to=f"/portal/orders/{order_id}/resend", recipients="new@telefoniapadana.example")
    assert "on its way once more" in text_of(page)
    assert mails(cloud)[0]["to"] == ["new@telefoniapadana.example"]
    page = browser.send(page, to=f"/portal/orders/{order_id}/resend", recipients="nonsense")
    assert page.status_code == 422
    page = browser.send(shown, to=f"/portal/orders/{order_id}/cancel")
    assert "The order is cancelled." in text_of(page)
    assert "TP-1" not in text_of(browser.get("/portal/orders"))
    assert "TP-1" in text_of(browser.get("/portal/orders?state=all"))


def test_the_portal_shows_nobody_else_s_orders(cloud: Cloud, erp: Api) -> None:
    order_id = erp.order()["order_id"]
    assert Browser(cloud).get("/portal/orders").headers["location"].startswith("/portal/login")
    other = Browser(cloud).sign_in(OTHER_RESELLER_USER)
    login = other.get("/portal/orders")
    assert "TP-1" not in login.text
    assert other.get(f"/portal/orders/{order_id}").status_code == 404
    for action in ("resend", "cancel", "forward"):
        sent = other.send(
            login, to=f"/portal/orders/{order_id}/{action}", email="a@b.example", recipients="a@b.example"
        )
        assert sent.status_code == 404
    customer = Browser(cloud)
    customer.send(customer.get("/portal/login"), email="giulia.ferrario@officinelombarde.example", password=PASSWORD)
    assert customer.get("/portal/orders").status_code == 403
    assert customer.get(f"/portal/orders/{order_id}").status_code == 404
    assert customer.get("/portal/orders/upload").status_code == 403


HOSTILE = '<script>alert(1)</script> & "Söhne"'


def test_html_in_names_is_text_on_pages_and_in_e_mails(cloud: Cloud, erp: Api) -> None:
    order_id = erp.order("<i>1</i>", customer=stranger(name=HOSTILE))["order_id"]
    path = link(cloud)
    [mail] = mails(cloud)
    assert HOSTILE in mail["text"]
    assert HOSTILE in " ".join(mail["subject"].split())
    browser = Browser(cloud).sign_in(VENDOR_USER)
    for html in (
        mail["html"], browser.get(path).text, browser.get("/portal/orders").text, browser.get(f"/portal/orders/{order_id}").text,
    ):  # fmt: skip
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
        assert "<script>alert" not in html
        assert "<i>1" not in html


FILE = """
orders:
  - order_number: F-1
    reseller: IT12345670017
    customer: {tax_id: IT00743110157}
    lines: [{sku: CD-PERP-100, quantity: 1}]
  - order_number: F-2
    reseller: IT12345670017
    customer: {tax_id: FR40303265045, name: Acme, country: FR, time_zone: Europe/Paris, language: en}
    lines: [{sku: CD-PERP-100, quantity: 1}]
"""


def test_a_file_is_loaded_in_the_portal_and_again_changes_nothing(cloud: Cloud) -> None:
    browser = Browser(cloud).sign_in(RESELLER_USER)
    page = browser.get("/portal/orders/upload")
    first = browser.upload(page, FILE)
    assert text_of(first).count("taken in, its e-mail is on its way") == 2, text_of(first)
    again = browser.upload(page, FILE)
    assert text_of(again).count("was taken in before") == 2
    assert len(mails(cloud)) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("CD-PERP-100", "NONE"), "F-1 , line 1: There is no product NONE"),
        (("F-2", "F-1"), "There is an order F-1"),
        (("quantity: 1", "quantity: 1.5"), "orders[0].lines[0].quantity"),
        (("orders:", "orders: ["), "neither YAML nor JSON"),
        (("FR40303265045", "IT00743110158"), "orders[1].customer.tax_id"),
    ],
)  # fmt: skip
def test_a_file_with_a_fault_loads_nothing_of_it(cloud: Cloud, change: tuple[str, str], said: str) -> None:
    browser = Browser(cloud).sign_in(RESELLER_USER)
    before = len(list(Item.scan()))
    answer = browser.upload(browser.get("/portal/orders/upload"), FILE.replace(*change))
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert len(list(Item.scan())) == before
    assert mails(cloud) == []


def test_a_file_whose_loading_was_interrupted_is_completed_by_loading_it_again(cloud: Cloud) -> None:
    browser = Browser(cloud).sign_in(RESELLER_USER)
    page = browser.get("/portal/orders/upload")
    seen = 0

    def interrupt(name: str, request: Any) -> None:
        nonlocal seen
        seen += name.endswith("TransactWriteItems")
        if seen == 2:
            raise KeyboardInterrupt

    cloud.stack.aws.interceptor = interrupt
    from licensing import order_files

    user = User("r", "", "", next(key for key, each in people.resellers().items() if each.tax_id == RESELLER))
    with pytest.raises(KeyboardInterrupt):
        order_files.load(user, order_files.parse(FILE), cloud.now, VENDOR)
    cloud.stack.aws.interceptor = None
    answer = text_of(browser.upload(page, FILE))
    assert "F-1 : was taken in before" in answer
    assert "F-2 : taken in" in answer
    assert len(mails(cloud)) == 2


@pytest.fixture
def command(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs ``cloud-licensing orders …``; a text that begins a new line is the content of a file."""
    monkeypatch.setenv("DEPLOYMENT", "licensing")
    monkeypatch.setenv("ISSUER", "")
    monkeypatch.delenv("MAIL_QUEUE_URL", raising=False)
    file = tmp_path / "orders.yaml"

    def run(*words: str) -> Any:
        for word in words:
            if word.startswith("\n"):
                file.write_text(word)
        return CliRunner().invoke(app, ["orders", *(str(file) if word.startswith("\n") else word for word in words)])

    return run


def test_the_vendor_works_on_orders_from_a_command_line(cloud: Cloud, command: Callable[..., Any]) -> None:
    loaded = command("load", FILE)
    assert loaded.exit_code == 0, loaded.output
    assert loaded.output.count("taken in, its e-mail is on its way") == 2
    assert command("load", FILE).output.count("was taken in before") == 2
    assert len(mails(cloud)) == 2
    listed = command("list", "--search", "F-").output
    assert all(said in listed for said in ("F-1", "F-2", "Telefonia Padana", "waiting", "delivered"))
    shown = command("show", "f-1").output
    assert all(
        said in shown for said in ("CD-PERP-100", "100 users", "locked", "ordini@telefoniapadana.example", "sent")
    )
    assert command("resend", "F-1", "--to", "new@telefoniapadana.example").exit_code == 0
    assert mails(cloud)[0]["to"] == ["new@telefoniapadana.example"]
    assert "Cancelled." in command("cancel", "F-1").output
    assert "F-1" not in command("list").output
    assert "F-1" in command("list", "--all").output
    for words in (("show", "F-9"), ("cancel", "ord_0"), ("resend", "F-1"), ("resend", "F-2", "--to", "nonsense")):
        refused = command(*words)
        assert (refused.exit_code, refused.output.count("\n") <= 5) == (1, True), refused.output


def test_a_faulty_file_is_refused_on_the_command_line_with_every_fault(command: Callable[..., Any]) -> None:
    refused = command("load", FILE.replace("CD-PERP-100", "NONE"))
    assert refused.exit_code == 1
    assert refused.output.count("line 1: There is no product NONE") == 2
    assert "Nothing was loaded." in refused.output


def test_lists_are_a_projection_of_the_orders(cloud: Cloud, erp: Api) -> None:
    erp.order()
    listed = [(item.pk.partition("#")[0], item.body.number) for item in ListedOrderItem.scan()]
    assert sorted(listed) == [("ORDERS", "TP-1")] * 2 + [("ORDERS", "TP-2026-1187")] * 2


def test_the_demo_s_order_waits(cloud: Cloud, erp: Api) -> None:
    [order] = erp("GET", "/v1/orders").json()["items"]
    assert (order["order_number"], order["state"]) == ("TP-2026-1187", "waiting")
    assert order["steps"]["delivered"]
    license = license_of("IV-8RQB-5D7H")
    assert (license.state, license.quantity, license.modules) == ("locked", 8, ("text-to-speech",))
    assert license.last_day > cloud.now.date()
