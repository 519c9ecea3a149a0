"""The /local pages: what they answer, and whom they refuse."""

import html
import json
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from infra.local.functions import FunctionFailed
from infra.local.stack import Stack
from infra.local.template import Function, Trigger

RAW = """\
From: Licenses <licenses@aurora.example>
To: a@b.example
Subject: =?utf-8?q?Caff=C3=A8_<script>?=
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="=="

--==
Content-Type: text/plain; charset="utf-8"

Your code is 123456
--==
Content-Type: text/html; charset="utf-8"

<p>Your code is "123456"</p><script>alert(1)</script>
--==--
"""


def mail(message_id: str = "one", raw: str = RAW) -> SimpleNamespace:
    return SimpleNamespace(id=message_id, source="s@x", destinations=["a@b.example", "a@b.example"], raw_data=raw)


@pytest.fixture
def outbox(stack: Stack) -> list[Any]:
    return stack.aws.sent_mail


def test_the_outbox_is_empty_at_first(client: httpx.Client) -> None:
    assert client.get("/local/outbox").json() == {"items": [], "next_cursor": None}
    assert "Nothing was sent yet" in client.get("/local/outbox", headers={"accept": "text/html"}).text


def test_the_outbox_shows_the_newest_first(client: httpx.Client, outbox: list[Any], stack: Stack) -> None:
    stack.clock.set(datetime(2027, 3, 1, 12, tzinfo=UTC))
    outbox.append(mail("one"))
    outbox.append(mail("two"))
    newest, oldest = client.get("/local/outbox").json()["items"]
    assert (newest["message_id"], oldest["message_id"]) == ("two", "one")
    assert newest["subject"] == "Caffè <script>"
    assert newest["to"] == ["a@b.example"]
    assert newest["text"] == "Your code is 123456"
    assert newest["sent_at"].startswith("2027-03-01T12:00:")


def test_a_mail_s_html_is_shown_in_a_frame_without_rights(client: httpx.Client, outbox: list[Any]) -> None:
    outbox.append(mail())
    page = client.get("/local/outbox", headers={"accept": "text/html"})
    frame = re.search(r"<iframe ([^>]*)>", page.text)
    assert frame
    assert 'sandbox=""' in frame[1]
    assert "&lt;script&gt;alert(1)" in frame[1]
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r'(src|href)="(https?:)?//', page.text)


def test_a_mail_can_be_read_as_text(client: httpx.Client, outbox: list[Any]) -> None:
    outbox.append(mail())
    page = client.get("/local/outbox?message=one&part=text", headers={"accept": "text/html"}).text
    assert "<pre>Your code is 123456" in page
    assert "<iframe" not in page


def test_a_mail_that_is_gone_is_404(client: httpx.Client) -> None:
    answer = client.get("/local/outbox?message=none", headers={"accept": "text/html"})
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("body", "moved"),
    [
        ({"advance_days": 3}, timedelta(days=3)),
        ({"advance_seconds": 90}, timedelta(seconds=90)),
        ({"advance_days": -1}, timedelta(days=-1)),
    ],
)
def test_the_clock_moves_and_runs_on(client: httpx.Client, body: dict[str, int], moved: timedelta) -> None:
    answer = client.post("/local/clock", json=body).json()
    assert answer["offset_seconds"] == moved.total_seconds()
    now = datetime.fromisoformat(client.get("/local/clock").json()["now"])
    assert abs(now - datetime.now(UTC) - moved) < timedelta(seconds=10)


def test_the_clock_can_be_set_and_all_functions_see_it(client: httpx.Client) -> None:
    client.post("/local/clock", json={"now": "2027-02-03T10:00:00+02:00"})
    assert client.get("/v1/ping").json()["server_time"].startswith("2027-02-03T08:00:")


def test_days_add_up(client: httpx.Client) -> None:
    client.post("/local/clock", json={"advance_days": 3})
    assert client.post("/local/clock", json={"advance_days": 4}).json()["offset_seconds"] == 7 * 86400


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ([], ""),
        ({"advance_days": 1, "advance_seconds": 1}, ""),
        ({"days": 1}, ""),
        ({"advance_days": "1"}, "/advance_days"),
        ({"advance_days": True}, "/advance_days"),
        ({"advance_days": 1.5}, "/advance_days"),
        ({"advance_days": 10**30}, "/advance_days"),
        ({"advance_seconds": -(10**12)}, "/advance_seconds"),
        ({"now": None}, "/now"),
        ({"now": "tomorrow"}, "/now"),
        ({"now": "2027-02-03T10:00:00"}, "/now"),
        ({"now": "2027-02-30T10:00:00Z"}, "/now"),
        ({"now": "20270203T100000Z"}, "/now"),
        ({"now": "2150-01-01T00:00:00Z"}, "/now"),
    ],
)
def test_a_clock_that_cannot_be_is_422(client: httpx.Client, body: Any, pointer: str) -> None:
    answer = client.post("/local/clock", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["code"] == "INVALID_REQUEST"
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]
    assert client.get("/local/clock").json()["offset_seconds"] == 0


@pytest.mark.parametrize(
    ("content", "status"), [(b"{", 400), (b"[" * 50_000, 400), (b"\xff", 400), (b" " * 70_000, 413)]
)
def test_a_body_that_is_no_json_is_refused(client: httpx.Client, content: bytes, status: int) -> None:
    answer = client.post("/local/clock", content=content)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_demo_user_gets_a_token_that_the_gateway_takes(client: httpx.Client, stack: Stack) -> None:
    users = client.get("/local/users").json()["items"]
    assert {user["group"] for user in users} == {"vendor", "reseller", "customer"}
    for user in users:
        token = client.post(f"/local/users/{user['username']}/token").json()["access_token"]
        claims = stack.user_pool.claims(f"Bearer {token}")
        assert claims
        assert stack.user_pool.claims(f"Bearer {token[:-8]}AAAAAAAA") is None
    assert client.post("/local/users/anna/token").json()["code"] == "NOT_FOUND"


def test_the_template_s_schedules_are_listed_and_one_that_is_none_is_not_found(client: httpx.Client) -> None:
    listed = {each["name"] for each in client.get("/local/schedules").json()["items"]}
    assert listed >= {"RenewKeysDaily", "CleanLogs", "FindExpiries"}
    answer = client.post("/local/schedules/nightly/run")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


def test_a_schedule_runs_when_it_is_asked_to(
    client: httpx.Client, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    nightly = Trigger("Nightly", "ScheduleV2", {"ScheduleExpression": "cron(0 3 * * ? *)"})
    function = Function("Tidy", "tidy.handler", 10, 128, {}, (nightly,))
    monkeypatch.setattr(stack.functions, "all", {"Tidy": function})
    monkeypatch.setattr(stack, "invoke", lambda function, event: {"deleted": 3})
    (item,) = client.get("/local/schedules").json()["items"]
    assert item == {"name": "Nightly", "function": "Tidy", "schedule": "cron(0 3 * * ? *)"}
    assert client.post("/local/schedules/Nightly/run").json() == {"result": {"deleted": 3}}

    def fail(function: Function, event: object) -> None:
        raise FunctionFailed("Tidy: ValueError: no")

    monkeypatch.setattr(stack, "invoke", fail)
    assert client.post("/local/schedules/Nightly/run").json()["code"] == "SCHEDULE_FAILED"


PAGE = {"accept": "text/html,application/xhtml+xml"}


def readable(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def test_the_schedules_page_says_what_each_does_when_and_that_it_has_not_run(client: httpx.Client) -> None:
    client.post("/local/reset")
    page = client.get("/local/schedules", headers=PAGE)
    text = readable(page.text)
    assert "Seals and cleans the operation logs of all customers." in text
    assert "Every day at 02:30 UTC, or up to 60 minutes later cron(30 2 * * ? *)" in text
    assert text.count("Last run here Not yet") == text.count("Run now") == 3


def test_a_schedule_is_run_by_its_button_and_the_page_tells_what_came_of_it(
    client: httpx.Client, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.clock.set(datetime(2027, 3, 1, 12, tzinfo=UTC))
    own = {**PAGE, "origin": stack.sites[0].url}
    answer = client.post("/local/schedules/CleanLogs/run", headers=own)
    assert (answer.status_code, answer.headers["location"]) == (303, "/local/schedules#CleanLogs")
    told = readable(client.get("/local/schedules", headers=PAGE).text)
    assert re.search(r"Last run here 2027-03-01 12:00:\d\d UTC Result Done; queued: [0-9]+; DaysSealed: [1-9]", told)

    def fail(function: Function, event: object) -> None:
        raise FunctionFailed("Tidy: ValueError: <no>")

    monkeypatch.setattr(stack, "invoke", fail)
    assert client.post("/local/schedules/CleanLogs/run", headers=own).status_code == 303
    page = client.get("/local/schedules", headers=PAGE).text
    assert "Failed: Tidy: ValueError: &lt;no&gt;" in page
    client.post("/local/reset")
    assert "Failed" not in client.get("/local/schedules", headers=PAGE).text


def test_the_mails_that_a_schedule_sent_are_counted(client: httpx.Client, stack: Stack) -> None:
    client.post("/local/clock", json={"advance_days": 30})
    client.post("/local/schedules/FindExpiries/run")
    sent = len(client.get("/local/outbox").json()["items"])
    assert sent
    assert f"e-mails sent: {sent}" in readable(client.get("/local/schedules", headers=PAGE).text)


def test_the_schedules_page_moves_the_clock(client: httpx.Client, stack: Stack) -> None:
    assert client.post("/local/clock", data={"advance_days": "7"}, headers=PAGE).status_code == 303
    assert stack.clock.offset == timedelta(days=7)
    assert "UTC (moved)" in readable(client.get("/local/schedules", headers=PAGE).text)
    assert client.post("/local/clock", data={"advance_days": "x"}, headers=PAGE).status_code == 422
    assert client.post("/local/clock", content=b"\xff", headers=PAGE).status_code == 422


def test_the_pages_let_no_form_go_elsewhere_and_say_where_theirs_come_from(client: httpx.Client) -> None:
    headers = client.get("/local/schedules", headers=PAGE).headers
    assert "form-action 'self'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/local", "/local/", "/local/nothing", "/local/outbox/1"])
def test_other_local_pages_are_404_problems(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example", "10.0.0.1", ""])
@pytest.mark.parametrize(("method", "path"), [("GET", "/local/outbox"), ("POST", "/local/reset"), ("GET", "/")])
def test_a_name_that_is_not_this_machine_s_is_refused(client: httpx.Client, host: str, method: str, path: str) -> None:
    answer = client.request(method, path, headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


@pytest.mark.parametrize("host", ["localhost", "localhost:8001", "127.0.0.1:9", "[::1]:8001"])
def test_this_machine_s_names_are_welcome(client: httpx.Client, host: str) -> None:
    assert client.get("/local/outbox", headers={"host": host}).status_code == 200


def test_a_form_on_a_page_from_elsewhere_is_refused(client: httpx.Client, stack: Stack) -> None:
    for origin in ("https://evil.example", "null"):
        answer = client.post("/local/clock", content=b'{"advance_days": 3}', headers={"origin": origin})
        assert answer.status_code == 403
    assert not stack.clock.offset
    assert client.post("/local/reset", headers={"origin": stack.sites[0].url}).status_code == 200


def test_the_index_names_every_customer_and_page(client: httpx.Client, stack: Stack) -> None:
    page = client.get("/").text
    for customer in stack.document["customers"]:
        assert customer["tax_id"] in page
    for link in ("/local/outbox", "/v1/openapi.json", stack.sites[1].url, stack.aws_url):
        assert link in page


def test_json_is_not_cached(client: httpx.Client) -> None:
    assert client.get("/local/clock").headers["cache-control"] == "no-store"
    assert json.loads(client.get("/local/clock").content)
