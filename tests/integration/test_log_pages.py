"""The operation log by the API and in the portal: read, exported, verified, kept, and what it holds of a person (A9, F6)."""

import csv
import json
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from licensing import administration, people, sealing
from licensing.errors import StillMember
from licensing.rules.operation_texts import ACTIONS
from licensing.rules.operations import Operation, Origin
from licensing.store import operations as store
from licensing.store import people as people_store
from licensing.store.operations import OperationItem
from licensing.store.seals import HeadItem

from functions.read_operations import handler
from functions.serve_portal import log as portal
from tests.integration.test_log import daily, everything, happened, ids, seal_all
from tests.support.browser import Browser
from tests.support.cloud import TAX_ID, VENDOR, Cloud, problem
from tests.support.visitor import ENRICO, GIULIA, MARTA, Caller


@pytest.fixture
def customer(cloud: Cloud) -> str:
    """A customer with an empty log, at midday 40 days after it was made."""
    customer_id = administration.find_account(TAX_ID).customer.customer_id
    made = [stored.entry for stored in store.page(customer_id, cloud.now.date())]
    store.delete(customer_id, cloud.now.date(), made)
    midday = (cloud.now + timedelta(days=40)).replace(hour=12, minute=0, second=0)
    cloud.stack.clock.advance(midday - cloud.now)
    HeadItem(f"LOG#{customer_id}", "HEAD", sealed_through=str((cloud.now - timedelta(days=30)).date())).save()
    return customer_id


def alter(told: Operation) -> None:
    """Behind the log's back."""
    OperationItem.get(*store._key(told, told.at)).update(actions=[OperationItem.action.set("server.refused")])


def user_id(email: str) -> str:
    user = people_store.find_by_email(email)
    assert user
    return user.user_id


# ── the API ──


def pages(caller: Caller, path: str, **headers: str) -> list[httpx.Response]:
    """A list's pages, as its Link headers lead."""
    found = [caller.call("GET", path, **headers)]
    while link := found[-1].headers.get("link"):
        assert link.endswith('>; rel="next"')
        found.append(caller.call("GET", path.partition("?")[0] + link[1:].partition(">")[0], **headers))
    return found


def test_the_log_is_read_in_pages_newest_first(cloud: Cloud, customer: str) -> None:
    told = daily(cloud, customer, days=3, each=2)
    found = pages(Caller(cloud, GIULIA), f"/v1/customers/{customer}/operations?limit=4&action=server.")
    assert [each["operation_id"] for page in found for each in page.json()["items"]] == ids(reversed(told))
    assert found[0].json()["next_cursor"]
    assert found[-1].json()["next_cursor"] is None
    assert found[0].json()["items"][0]["at"] == f"{told[-1].at:%Y-%m-%dT%H:%M:%SZ}"
    assert cloud.stack.guard.refused == []


def test_filters_of_the_api_leave_what_was_asked_for(cloud: Cloud, customer: str) -> None:
    told = daily(cloud, customer, days=4)
    wanted = happened(customer, cloud.now - timedelta(hours=3), 9, VENDOR, action="installation.disabled", result="X")
    caller, base = Caller(cloud, MARTA), f"/v1/customers/{customer}/operations"

    def asked(query: str) -> list[str]:
        return [each["operation_id"] for each in caller.call("GET", f"{base}?{query}").json()["items"]]

    assert (
        asked(f"actor_kind={VENDOR.kind}")
        == asked("action=installation.")
        == asked("result=X")
        == [wanted.operation_id]
    )
    since, until = told[1].at.isoformat().replace("+00:00", "Z"), told[2].at.isoformat().replace("+00:00", "%2B00:00")
    assert asked(f"since={since}&until={until}") == [told[1].operation_id]


@pytest.mark.parametrize("accept", ["text/csv", "application/x-ndjson"])
def test_the_parts_of_an_export_are_one_file_oldest_first(cloud: Cloud, customer: str, accept: str) -> None:
    told = daily(cloud, customer, days=3, each=2)
    found = pages(Caller(cloud, GIULIA), f"/v1/customers/{customer}/operations?limit=4", accept=accept)
    assert len(found) == 2
    assert {page.headers["content-type"] for page in found} == {f"{accept}; charset=utf-8"}
    lines = "".join(page.text for page in found).splitlines()
    rows: Any = csv.DictReader(lines) if accept == "text/csv" else map(json.loads, lines)
    assert [row["operation_id"] for row in rows] == ids(told)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", None), ("*/*", None), ("application/json", None), ("image/png", None), ("text/csv;q=x", "csv"),
        ("text/csv", "csv"), ("TEXT/CSV; charset=utf-8", "csv"), ("application/jsonl", "jsonl"),
        ("application/json;q=0.5, text/csv", "csv"), ("text/csv;q=0, application/x-ndjson;q=0.1", "jsonl"),
    ],
)  # fmt: skip
def test_a_caller_gets_the_form_that_it_likes_best(accept: str, form: str | None) -> None:
    assert handler._accepted(accept) == form


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=1001", "since=2026-11-22T12:00:00", "since=0001-01-01T00:00:00%2B14:00", "actor_kind=nobody",
        "cursor=x", "seal?from=2026-11-22&to=2026-11-21", "seal?from=yesterday",
    ],
)  # fmt: skip
def test_what_no_log_can_be_asked_for_is_refused(cloud: Cloud, query: str) -> None:
    path = f"/v1/customers/{administration.find_account(TAX_ID).customer.customer_id}/operations"
    asked = f"{path}/{query}" if query.startswith("seal") else f"{path}?{query}"
    assert problem(Caller(cloud, GIULIA).call("GET", asked)) == (422, "INVALID_REQUEST")


def test_the_api_names_what_was_altered(cloud: Cloud, customer: str) -> None:
    told = daily(cloud, customer, days=8)
    seal_all(customer, cloud.now)
    path = f"/v1/customers/{customer}/operations/seal"
    intact = Caller(cloud, ENRICO).call("GET", path).json()
    assert (intact["intact"], intact["days"], intact["operations"], intact["findings"]) == (True, 5, 5, [])
    alter(told[2])
    found = Caller(cloud, ENRICO).call("GET", f"{path}?from={told[0].at:%Y-%m-%d}&to={told[-1].at:%Y-%m-%d}").json()
    assert not found["intact"]
    assert found["findings"] == [
        {"day": str(told[2].at.date()), "fault": "altered", "operation_id": told[2].operation_id}
    ]
    assert found["open_from"] == str(told[5].at.date())
    assert cloud.stack.guard.refused == []


@pytest.mark.parametrize("asked", ["to=0001-01-05", "from=0001-01-01&to=0001-01-01", "from=9999-12-31&to=9999-12-31"])
def test_a_range_at_the_end_of_time_is_empty(cloud: Cloud, customer: str, asked: str) -> None:
    answer = Caller(cloud, ENRICO).call("GET", f"/v1/customers/{customer}/operations/seal?{asked}")
    assert (answer.status_code, answer.json()["intact"], answer.json()["days"]) == (200, True, 0)


@pytest.mark.parametrize("bounds", [{"most_days": 2}, {"most_entries": 3}])
def test_a_look_that_stops_says_where_to_go_on_and_misses_nothing(
    cloud: Cloud, customer: str, bounds: dict[str, int]
) -> None:
    told = daily(cloud, customer, days=9, each=2)
    seal_all(customer, cloud.now)
    for each in (told[0], told[5], told[9]):
        alter(each)
    whole = sealing.verify(customer, date.min, cloud.now.date(), cloud.now)
    assert len(whole.findings) == 3
    first: date | None = told[0].at.date()
    parts = []
    while first:
        parts.append(sealing.verify(customer, first, cloud.now.date(), cloud.now, **bounds))
        assert not parts[-1].next_from or first < parts[-1].next_from
        first = parts[-1].next_from
    assert len(parts) == 3
    assert tuple(finding for part in parts for finding in part.findings) == whole.findings
    assert (sum(part.days for part in parts), sum(part.entries for part in parts)) == (whole.days, whole.entries)


def test_shortening_the_retention_is_announced_and_can_be_taken_back(cloud: Cloud, customer: str) -> None:
    cloud.stack.clock.stop()
    path, caller = f"/v1/customers/{customer}/log-retention", Caller(cloud, GIULIA)
    since = f"{cloud.now + timedelta(days=7):%Y-%m-%dT%H:%M:%S}"
    answer = caller.call("PUT", path, {"days": 30}).json()
    assert (answer["days"], answer["shortening"]["days"], answer["shortening"]["since"][:19]) == (365, 30, since)
    assert caller.call("PUT", path, {"days": 365}).json() == {"days": 365, "shortening": None}
    assert problem(caller.call("PUT", path, {"days": 0})) == (422, "INVALID_REQUEST")
    told = everything(customer, cloud.now)
    assert [each.action for each in told] == ["log.retention_changed"] * 2
    now = f"{cloud.now:%Y-%m-%dT%H:%M:%S}+00:00"
    assert [dict(each.details) for each in sorted(told, key=lambda each: str(each.details["days"]))] == [
        {"days": 30, "days_before": 365, "holds_from": f"{since}+00:00"},
        {"days": 365, "days_before": 365, "announced_before": 30, "holds_from": now},
    ]
    visitor = Browser(cloud).signed_in(GIULIA)
    visitor.get(f"/portal/customers/{customer}/log")
    assert "days kept 30, days kept before 365, holds from " in visitor.text


def test_personal_data_is_handed_out_and_erased_once_the_person_is_gone(cloud: Cloud, customer: str) -> None:
    enrico = user_id(ENRICO)
    for day in (5, 0):
        happened(
            customer,
            cloud.now - timedelta(days=day, hours=1),
            1,
            Origin("customer", enrico, "Enrico Galli", "192.0.2.7"),
        )
    daily(cloud, customer, days=2)
    seal_all(customer, cloud.now)
    path, caller = f"/v1/customers/{customer}/personal-data", Caller(cloud, GIULIA)
    found = caller.call("GET", f"{path}?user_id={enrico}").json()
    assert [each["email"] for each in found["people"]] == [ENRICO]
    assert [each["actor_name"] for each in found["operations"]] == ["Enrico Galli"] * 2
    assert {each["email"] for each in caller.call("GET", path).json()["people"]} == {GIULIA, ENRICO}

    assert problem(caller.call("DELETE", f"{path}?user_id={enrico}")) == (409, StillMember.code)
    people.remove(customer, enrico, VENDOR, cloud.now)
    assert caller.call("DELETE", f"{path}?user_id={enrico}").json() == {"erased": 2, "next_from": None}
    left = caller.call("GET", f"{path}?user_id={enrico}").json()
    assert (left["people"], {each["actor_name"] for each in left["operations"]}) == ([], {""})
    assert sealing.verify(customer, date.min, cloud.now.date(), cloud.now).findings == ()
    assert cloud.stack.guard.refused == []


def test_erasing_goes_on_where_it_stopped(cloud: Cloud, customer: str) -> None:
    person = Origin("customer", "usr-7", "Giulia Ferrario", "192.0.2.7")
    for day in range(5):
        happened(customer, cloud.now - timedelta(days=day, hours=1), 1, person)
    erased, first = 0, date.min
    for _ in range(3):
        count, following = sealing.erase_personal(customer, "usr-7", VENDOR, cloud.now, first=first, most_entries=2)
        erased, first = erased + count, following or date.max
    assert (erased, first) == (5, date.max)


# ── the portal ──


def test_the_log_is_read_in_words_and_unknown_actions_as_they_are(cloud: Cloud, customer: str) -> None:
    happened(customer, cloud.now - timedelta(hours=2), 1)
    happened(customer, cloud.now - timedelta(hours=1), 2, action="moon.landed", result="NOT_YET")
    visitor = Browser(cloud).signed_in(GIULIA)
    visitor.get(f"/portal/customers/{customer}/log")
    assert "Server validated" in visitor.text
    assert "server.validated " not in visitor.text
    assert "moon.landed" in visitor.text
    assert visitor.text.index("moon.landed host-a") < visitor.text.index("Server validated host-a")
    assert "NOT_YET" in visitor.text
    visitor.get(f"/portal/customers/{customer}/log?action=moon.&who=server&from=nonsense")
    assert "moon.landed host-a" in visitor.text
    assert "Server validated host-a" not in visitor.text
    visitor.get(f"/portal/customers/{customer}/log?to=2020-01-01")
    assert "Nothing found." in visitor.text


def test_a_day_of_the_log_is_the_customer_s_own(cloud: Cloud, customer: str) -> None:
    in_rome = (cloud.now - timedelta(days=3)).replace(hour=23, minute=30)
    happened(customer, in_rome)
    visitor = Browser(cloud).signed_in(GIULIA)
    for day, there in ((in_rome.date(), False), (in_rome.date() + timedelta(days=1), True)):
        visitor.get(f"/portal/customers/{customer}/log?from={day}&to={day}")
        assert ("Server validated host-a" in visitor.text) == there


def test_older_pages_and_parts_of_an_export_are_led_to(
    cloud: Cloud, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal, "_ON_A_PAGE", 2)
    monkeypatch.setattr(portal, "_IN_A_FILE", 2)
    told = daily(cloud, customer, days=3)
    visitor, base = Browser(cloud).signed_in(GIULIA), f"/portal/customers/{customer}/log"
    visitor.get(f"{base}?action=server.")
    assert visitor.page.count('<th scope="row">') == 2
    visitor.get(link(visitor, "Older"))
    assert visitor.page.count('<th scope="row">') == 1

    visitor.get(f"{base}?action=server.")
    visitor.get(link(visitor, "Export"))
    text = visitor.get(link(visitor, "CSV")).text
    visitor.get(f"{base}/export?action=server.")
    visitor.get(link(visitor, "Next part"))
    assert "2 operations are in the parts before." in visitor.text
    assert "This is the last part." in visitor.text
    file = visitor.get(link(visitor, "CSV"))
    assert file.headers["content-disposition"] == 'attachment; filename="operations-2.csv"'
    rows = list(csv.DictReader((text + file.text).splitlines()))
    assert [row["operation_id"] for row in rows] == ids(told)


def link(visitor: Browser, label: str) -> str:
    import re
    from html import unescape

    found = re.search(rf'<a [^>]*href="([^"]+)"[^>]*>{label}</a>', visitor.page)
    assert found, visitor.text
    return unescape(found[1])


def test_the_verify_page_says_what_was_altered(cloud: Cloud, customer: str) -> None:
    told = daily(cloud, customer, days=8)
    seal_all(customer, cloud.now)
    visitor, base = Browser(cloud).signed_in(GIULIA), f"/portal/customers/{customer}/log/verify"
    visitor.get(f"{base}?from={told[0].at:%Y-%m-%d}")
    assert "Nothing was altered, removed or added." in visitor.text
    alter(told[2])
    visitor.get(f"{base}?from={told[0].at:%Y-%m-%d}")
    assert "1 thing does not fit its seal." in visitor.text
    assert f"altered {told[2].operation_id}" in visitor.text
    visitor.get(f"{base}?from={cloud.now:%Y-%m-%d}")
    assert "No day of this range is sealed yet." in visitor.text
    assert cloud.stack.guard.refused == []


def test_webhooks_are_added_tried_given_new_secrets_and_deleted(cloud: Cloud) -> None:
    visitor = Browser(cloud).signed_in(MARTA)
    visitor.get("/portal/webhooks")
    assert visitor.post("/portal/webhooks", {"url": "http://169.254.169.254/"}).status_code == 422
    visitor.post("/portal/webhooks", {"url": "https://crm.aurora.example/x", "event:ServerSilent": "yes"})
    [first] = secrets(visitor)
    visitor.get("/portal/webhooks")
    assert secrets(visitor) == []
    assert "https://crm.aurora.example/x ServerSilent" in visitor.text
    webhook = visitor.page.partition('action="/portal/webhooks/')[2].partition('"')[0]
    visitor.post(f"/portal/webhooks/{webhook}", {"do": "rotate"})
    [second] = secrets(visitor)
    assert second != first
    visitor.post(f"/portal/webhooks/{webhook}", {"do": "test"})
    assert "A test event is on its way." in visitor.text
    visitor.post(f"/portal/webhooks/{webhook}", {"do": "delete"})
    assert "There are no webhooks yet." in visitor.text
    assert visitor.post(f"/portal/webhooks/{webhook}", {"do": "test"}).status_code == 404
    assert cloud.stack.guard.refused == []


def secrets(visitor: Browser) -> list[str]:
    import re

    return re.findall(r"whsec_[A-Za-z0-9+/=]+", visitor.page)


def test_actions_in_words_are_all_different() -> None:
    assert len(set(ACTIONS.values())) == len(ACTIONS)
