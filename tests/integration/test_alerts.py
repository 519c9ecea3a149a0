"""Alerts (F7): each exactly once for everybody, wherever it dies and however often it runs; one readable e-mail a day."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import boto3
import jsonschema
import pytest
from licensing import alerts
from licensing.rules import alerts as rules
from licensing.rules.activation_keys import Key
from licensing.store import activation_keys
from licensing.store import alerts as store
from moto.core.botocore_stubber import BotocoreStubber

from infra.local.template import REGION
from tests.integration.test_failures import faults
from tests.support.alerts import (
    Subscriber,
    customer_id,
    mails,
    next_day,
    quiet,
    raised,
    run_schedule,
    schema_of,
    set_end,
    work_off,
)  # fmt: skip
from tests.support.cloud import TAX_ID, Cloud, Server, problem
from tests.support.visitor import ENRICO, GIULIA, MARTA, PAOLO, Caller, Visitor

#: A customer without reseller, and one of its licenses.
NORDLJUS, RECORDING = "SE5565678900", "CR-7JMF-4Q2D"
#: One of the customer's that the tests' server belongs to.
REPORTING = "RP-5TVJ-8B6C"
ELIN = "elin.akesson@nordljusvard.example"
#: Contacts without an account: the vendor's, and the reseller's.
DESK, ORDERS = "licenses@aurora.example", "ordini@telefoniapadana.example"


@pytest.fixture
def quiet_cloud(cloud: Cloud) -> Cloud:
    """In the morning of a day on which nothing ends."""
    today = cloud.now.date()
    cloud.set_time(f"{today + timedelta(days=1)}T05:00:00+00:00")
    quiet(cloud)
    return cloud


def today(cloud: Cloud) -> date:
    return cloud.now.date()


# ── a day ──


def test_an_end_is_told_to_customer_reseller_and_vendor_each_in_their_language(quiet_cloud: Cloud) -> None:
    set_end(quiet_cloud, REPORTING, today(quiet_cloud) + timedelta(days=14))
    run_schedule(quiet_cloud)
    sent = {mail.to: mail for mail in mails(quiet_cloud)}
    assert set(sent) == {GIULIA, ENRICO, PAOLO, ORDERS, MARTA, DESK}
    assert "Telefonia Padana S.r.l." in sent[GIULIA].text  # whom to ask
    assert "in the portal" in sent[MARTA].text
    assert 'lang="it"' in sent[GIULIA].html
    assert 'lang="en"' in sent[MARTA].html
    for mail in sent.values():
        assert REPORTING in mail.text
        assert REPORTING in mail.html
        assert f"/portal/customers/{customer_id(TAX_ID)}" in mail.text
    assert raised(quiet_cloud) == [(raised(quiet_cloud)[0][0], "14")]
    assert quiet_cloud.stack.guard.refused == []


def test_a_person_gets_one_email_a_day_grouped_by_customer(quiet_cloud: Cloud) -> None:
    for code, days in ((REPORTING, 7), ("AQ-7F3K-92MD", 30), ("HS-6NQP-2M8Z", 1)):
        set_end(quiet_cloud, code, today(quiet_cloud) + timedelta(days=days))
    run_schedule(quiet_cloud)
    [mail] = [mail for mail in mails(quiet_cloud) if mail.to == PAOLO]
    places = [
        mail.text.index(each) for each in ("Hotel Mirador", "HS-6NQP-2M8Z", "Officine", REPORTING, "AQ-7F3K-92MD")
    ]
    assert places == sorted(places)
    assert mail.subject.startswith("3 ")


def test_another_run_of_the_day_sends_nothing_more(quiet_cloud: Cloud) -> None:
    subscriber = Subscriber(quiet_cloud)
    set_end(quiet_cloud, REPORTING, today(quiet_cloud) + timedelta(days=14))
    run_schedule(quiet_cloud, times=2)
    run_schedule(quiet_cloud)
    next_day(quiet_cloud)
    run_schedule(quiet_cloud)
    assert Counter(mail.to for mail in mails(quiet_cloud)) == dict.fromkeys(
        (GIULIA, ENRICO, PAOLO, ORDERS, MARTA, DESK), 1
    )
    assert len(subscriber.events()) == 1
    assert len(raised(quiet_cloud)) == 1


def test_what_comes_after_the_day_s_digests_were_made_is_in_tomorrow_s(quiet_cloud: Cloud) -> None:
    run_schedule(quiet_cloud)
    set_end(quiet_cloud, REPORTING, today(quiet_cloud) + timedelta(days=14))
    run_schedule(quiet_cloud)
    assert mails(quiet_cloud) == []
    next_day(quiet_cloud)
    run_schedule(quiet_cloud)
    assert len(mails(quiet_cloud)) == 6
    assert len(raised(quiet_cloud)) == 1


def test_days_without_a_run_neither_skip_nor_burst(quiet_cloud: Cloud) -> None:
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=31))
    next_day(quiet_cloud, 26)
    subscriber = Subscriber(quiet_cloud)
    run_schedule(quiet_cloud)
    assert [(kind, each["threshold_days"], each["passed_over_days"], each["days_left"])
            for kind, each in subscriber.events()] == [("LicenseExpiring", 7, [30, 14], 5)]  # fmt: skip
    assert Counter(mail.to for mail in mails(quiet_cloud)) == dict.fromkeys((ELIN, MARTA, DESK), 1)


def test_a_day_whose_work_was_lost_is_made_good_by_the_next(quiet_cloud: Cloud) -> None:
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=14))
    alerts.find(customer_id(NORDLJUS), quiet_cloud.now)  # found, and then everything dies
    quiet_cloud.stack.aws.empty_queues()
    store.open_run(today(quiet_cloud), quiet_cloud.now)
    next_day(quiet_cloud)
    run_schedule(quiet_cloud)
    assert Counter(mail.to for mail in mails(quiet_cloud)) == dict.fromkeys((ELIN, MARTA, DESK), 1)


def test_an_end_that_moved_is_not_told(quiet_cloud: Cloud) -> None:
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=15))
    next_day(quiet_cloud)
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=380))
    run_schedule(quiet_cloud)
    assert mails(quiet_cloud) == []


def test_an_end_that_moves_between_the_look_and_the_claim_is_not_told(quiet_cloud: Cloud) -> None:
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=14))

    def renew(event: str, request: Any) -> None:
        if event.endswith("TransactWriteItems"):
            quiet_cloud.stack.aws.interceptor = None
            set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=380))

    quiet_cloud.stack.aws.interceptor = renew
    assert alerts.find(customer_id(NORDLJUS), quiet_cloud.now) == 0
    assert raised(quiet_cloud) == []


def test_an_end_that_moves_before_the_email_is_sent_is_not_in_it(quiet_cloud: Cloud) -> None:
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=14))
    with without_mail(quiet_cloud):
        run_schedule(quiet_cloud)
    quiet_cloud.stack.clock.advance(timedelta(minutes=11))
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=380))
    [digest] = [item for item in store.DigestItem.scan() if item.body and item.body.recipient.email == ELIN]
    alerts.send_digest(digest.pk.partition("#")[2], today(quiet_cloud), quiet_cloud.now)
    assert mails(quiet_cloud) == []


def test_a_customer_that_can_t_be_looked_at_holds_up_nobody(
    quiet_cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in (RECORDING, REPORTING):
        set_end(quiet_cloud, code, today(quiet_cloud) + timedelta(days=14))
    broken, look = customer_id(TAX_ID), alerts.accounts.look_at

    def look_at(of: str) -> Any:
        if of == broken:
            raise alerts.TemporarilyUnavailable
        return look(of)

    monkeypatch.setattr(alerts.accounts, "look_at", look_at)
    quiet_cloud.post("/local/schedules/FindExpiries/run", b"")
    for _ in range(60):
        quiet_cloud.work_off_queue()
    assert {mail.to for mail in mails(quiet_cloud)} == {ELIN, MARTA, DESK}


@pytest.mark.parametrize("whose", ["a customer's", "the vendor's"])
def test_a_document_that_nobody_expected_holds_up_nobody_else(
    quiet_cloud: Cloud, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    """It ends in the dead-letter queue, which raises an alarm. Once it is mended it is told by a redrive, as it is by then."""
    for code in (RECORDING, REPORTING):
        set_end(quiet_cloud, code, today(quiet_cloud) + timedelta(days=14))
    with monkeypatch.context() as broken:
        if whose == "the vendor's":
            broken.setattr(alerts.key_sets, "get", lambda: alerts.key_sets.missing)
        else:
            set_time_zone(customer_id(TAX_ID), "Mars/Olympus")
        run_schedule(quiet_cloud)
    others = (ELIN, MARTA, DESK) if whose == "a customer's" else (ELIN, MARTA, DESK, GIULIA, ENRICO, PAOLO, ORDERS)
    assert Counter(mail.to for mail in mails(quiet_cloud)) == dict.fromkeys(others, 1)
    set_time_zone(customer_id(TAX_ID), "Europe/Rome")
    next_day(quiet_cloud)
    assert redrive() == 1
    run_schedule(quiet_cloud)
    got = Counter(mail.to for mail in mails(quiet_cloud) if REPORTING in mail.text)
    assert got == dict.fromkeys((GIULIA, ENRICO, PAOLO, ORDERS, MARTA, DESK), 1)
    assert len(raised(quiet_cloud)) == 2


def set_time_zone(of: str, name: str) -> None:
    """Change a profile by hand, as no route does."""
    item = alerts.accounts.CustomerItem.get(of, "PROFILE")
    item.body = replace(item.body, time_zone=name)
    item.save()


def redrive() -> int:
    """Move what is in the dead-letter queue back, as StartMessageMoveTask does, which moto does not know."""
    client = boto3.client("sqs", region_name=REGION)
    dead, alive = (client.get_queue_url(QueueName=name)["QueueUrl"] for name in ("UnsentAlerts", "AlertQueue"))
    moved = 0
    while messages := client.receive_message(QueueUrl=dead, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            client.send_message(QueueUrl=alive, MessageBody=message["Body"])
            client.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
            moved += 1
    return moved


def test_it_goes_on_where_it_stopped_before_its_time_was_up(quiet_cloud: Cloud) -> None:
    for code in (RECORDING, REPORTING):
        set_end(quiet_cloud, code, today(quiet_cloud) + timedelta(days=14))
    sent: list[dict[str, Any]] = []
    original = alerts._send
    alerts._send = sent.extend  # type: ignore[assignment]
    try:
        alerts.begin(quiet_cloud.now)
        steps = 0
        while sent:
            steps += 1
            left = [1]  # one customer, finding or handful of digests at a time
            alerts.work(sent.pop(0), quiet_cloud.now, lambda left=left: bool(left and left.pop()))  # type: ignore[misc]
    finally:
        alerts._send = original
    assert steps > 20
    assert Counter(mail.to for mail in mails(quiet_cloud)) == dict.fromkeys(
        (GIULIA, ENRICO, PAOLO, ORDERS, MARTA, DESK, ELIN), 1
    )


# ── silence ──


@pytest.mark.slow
def test_a_silent_server_is_told_on_its_days_and_no_more_once_it_is_back(cloud: Cloud, server: Server) -> None:
    quiet(cloud)
    subscriber = Subscriber(cloud)
    for _ in range(8):
        next_day(cloud)
        run_schedule(cloud)
    assert [(kind, each["silent_days"]) for kind, each in subscriber.events()] == [
        ("ServerSilent", 3),
        ("ServerSilent", 7),
    ]
    assert server.validate().json()["valid"]
    for _ in range(3):
        next_day(cloud)
        run_schedule(cloud)
    assert [each["silent_days"] for _, each in subscriber.events()] == [3]
    text = next(mail for mail in mails(cloud) if mail.to == GIULIA).text
    assert "Milano" in text
    assert "host-a" in text


def test_looking_at_a_server_costs_half_a_read_unit(cloud: Cloud, server: Server) -> None:
    """State is read eventually consistent, and only of installations that are watched; an account by one query."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def note(event: str, request: Any) -> None:
        import json

        if ".dynamodb." in event:
            calls.append((event.rpartition(".")[2], json.loads(request.body)))

    quiet(cloud)
    finder = alerts._Finder(cloud.now)
    officine = customer_id(TAX_ID)
    finder.find(officine)  # reads settings, catalogue and resellers, once for a whole part of the directory
    cloud.stack.aws.interceptor = note
    try:
        finder.find(officine)
    finally:
        cloud.stack.aws.interceptor = None
    assert [name for name, _ in calls] == ["Query", "BatchGetItem", "GetItem"]  # the last one finds no activation key
    query, batch, _ = (body for _, body in calls)
    assert not query.get("ConsistentRead")
    [keys] = batch["RequestItems"].values()
    assert not keys.get("ConsistentRead")
    assert len(keys["Keys"]) == 2


# ── two at once ──


@contextmanager
def in_between(cloud: Cloud, operation: str, act: Callable[[], Any]) -> Iterator[None]:
    """Act once, before the next call of an operation takes effect."""

    def intercept(event: str, request: Any) -> None:
        if event.endswith(operation):
            cloud.stack.aws.interceptor = None
            act()

    cloud.stack.aws.interceptor = intercept
    try:
        yield
    finally:
        cloud.stack.aws.interceptor = None


def test_two_workers_at_one_customer_claim_once(quiet_cloud: Cloud) -> None:
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=14))
    nordljus = customer_id(NORDLJUS)
    with in_between(quiet_cloud, "TransactWriteItems", lambda: alerts.find(nordljus, quiet_cloud.now)):
        assert alerts.find(nordljus, quiet_cloud.now) == 0
    assert len(list(store.findings(today(quiet_cloud)))) == 1
    assert len(raised(quiet_cloud)) == 1


def test_nothing_is_added_to_a_day_whose_digests_are_being_made(quiet_cloud: Cloud) -> None:
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=14))
    nordljus, day, now = customer_id(NORDLJUS), today(quiet_cloud), quiet_cloud.now
    store.open_run(day, now)
    with in_between(quiet_cloud, "TransactWriteItems", lambda: store.close(day, store.shard_of(nordljus), now)):
        assert alerts.find(nordljus, now) == 1
    assert list(store.findings(day)) == []
    assert len(list(store.findings(day + timedelta(days=1)))) == 1


def test_two_workers_at_one_digest_send_it_once(quiet_cloud: Cloud) -> None:
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=14))
    alerts.find(customer_id(NORDLJUS), quiet_cloud.now)
    day, now, elin = today(quiet_cloud), quiet_cloud.now, store.address_id(ELIN)
    [finding] = store.findings(day)
    store.put_digest(rules.digests([finding.finding], day)[ELIN], day, now)

    def other() -> None:
        with pytest.raises(alerts.NotYet):
            alerts.send_digest(elin, day, now)

    with in_between(quiet_cloud, "SendEmail", other):
        alerts.send_digest(elin, day, now)
    alerts.send_digest(elin, day, now)
    assert [mail.to for mail in mails(quiet_cloud)] == [ELIN]


# ── wherever it dies ──


class Died(Exception):
    """What a process that is gone raises."""


@contextmanager
def dying(cloud: Cloud, at: int, after: bool) -> Iterator[list[str]]:
    """Die at one of the writes: before it, or after it took effect."""
    writes: list[str] = []
    real = BotocoreStubber.process_request

    def intercept(event: str, request: Any) -> None:
        called = event.rpartition(".")[2]
        if called.startswith(("Get", "Query", "BatchGet", "Receive", "DeleteMessage", "Describe", "List", "Scan")):
            return
        writes.append(called)
        if len(writes) == at + 1:
            if after:
                real(BotocoreStubber(), request)
            raise Died

    cloud.stack.aws.interceptor = intercept
    try:
        yield writes
    finally:
        cloud.stack.aws.interceptor = None


def work_on(cloud: Cloud) -> None:
    """What is queued, each time after the last worker is thought dead."""
    while cloud.work_off_queue():
        cloud.stack.clock.advance(timedelta(minutes=11))


@contextmanager
def without_mail(cloud: Cloud) -> Iterator[None]:
    """Whoever sends an e-mail dies."""

    def intercept(event: str, request: Any) -> None:
        if event.endswith("SendEmail"):
            raise Died

    cloud.stack.aws.interceptor = intercept
    try:
        yield
    finally:
        cloud.stack.aws.interceptor = None


def begin(cloud: Cloud) -> tuple[date, Subscriber]:
    """The morning on which one customer's license reaches a threshold, and a message to look at that customer."""
    cloud.stack.reset()
    cloud.set_time(f"{today(cloud) + timedelta(days=1)}T05:00:00+00:00")
    subscriber, day = Subscriber(cloud), today(cloud)
    set_end(cloud, RECORDING, day + timedelta(days=14), care=None, care_until=None)
    store.open_run(day, cloud.now)
    alerts._send([{"customer_id": customer_id(NORDLJUS)}])
    return day, subscriber


def go_on(cloud: Cloud, day: date) -> None:
    work_on(cloud)
    with suppress(Died):
        alerts._send([{"compile": str(day), "after": ""}])
    work_on(cloud)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.slow
def test_wherever_it_dies_each_alert_reaches_everybody_once(cloud: Cloud, after: bool) -> None:
    day, _ = begin(cloud)
    with dying(cloud, -1, after) as writes:
        go_on(cloud, day)
    assert writes.count("SendEmail") == 3
    for at, died_at in enumerate(list(writes)):
        day, subscriber = begin(cloud)
        with dying(cloud, at, after) as seen:
            go_on(cloud, day)
        assert seen[at] == died_at
        go_on(cloud, day)
        counted = Counter(mail.to for mail in mails(cloud))
        # Only where SES took it and nobody was left to note that, it goes out again: the same.
        unknown = died_at == "SendEmail" if after else at > 0 and writes[at - 1] == "SendEmail"
        assert set(counted) == {ELIN, MARTA, DESK}, (at, died_at)
        assert sorted(counted.values()) == [1, 1, 2 if unknown else 1], (at, died_at)
        assert len({detail["event_id"] for _, detail in subscriber.events()}) == 1, (at, died_at)
        assert len(raised(cloud)) == 1, (at, died_at)


def test_what_ended_in_the_dead_letter_queue_is_made_good_by_a_redrive(quiet_cloud: Cloud) -> None:
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=14))
    with without_mail(quiet_cloud):
        run_schedule(quiet_cloud)
    assert mails(quiet_cloud) == []
    quiet_cloud.stack.clock.advance(timedelta(minutes=11))
    assert redrive() == 3
    work_off(quiet_cloud)
    assert Counter(mail.to for mail in mails(quiet_cloud)) == dict.fromkeys((ELIN, MARTA, DESK), 1)


@pytest.mark.parametrize("fault", ["throttle", "conflict", "timeout_before", "timeout_after"])
def test_trouble_with_the_table_loses_and_doubles_nothing(quiet_cloud: Cloud, fault: str) -> None:
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=14))
    alerts._send([{"customer_id": customer_id(NORDLJUS)}])
    with faults(quiet_cloud, "dynamodb", fault, "TransactWriteItems", times=2) as hit:
        work_on(quiet_cloud)
    assert hit
    work_on(quiet_cloud)
    assert len(raised(quiet_cloud)) == 1


@pytest.mark.parametrize("service", ["eventbridge", "sesv2"])
@pytest.mark.parametrize("fault", ["throttle", "timeout_before"])
def test_trouble_with_mail_or_bus_is_tried_again(quiet_cloud: Cloud, service: str, fault: str) -> None:
    subscriber = Subscriber(quiet_cloud)
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=14))
    alerts.find(customer_id(NORDLJUS), quiet_cloud.now)
    store.open_run(today(quiet_cloud), quiet_cloud.now)
    alerts._send([{"compile": str(today(quiet_cloud)), "after": ""}])
    with faults(quiet_cloud, service, fault, times=4) as hit:
        work_on(quiet_cloud)
    assert hit
    work_on(quiet_cloud)
    assert Counter(mail.to for mail in mails(quiet_cloud)) == dict.fromkeys((ELIN, MARTA, DESK), 1)
    assert len(subscriber.events()) == 1


@pytest.mark.slow
def test_months_with_late_failed_and_doubled_runs_and_renewals_are_told_exactly(quiet_cloud: Cloud) -> None:
    """A part of the year that ``tests/simulation/alerts_year.py`` goes through."""
    from tests.simulation.alerts_year import simulate

    told = simulate(quiet_cloud, days=12, seed=7, within=16)
    assert told.expected
    assert told.mailed == told.expected
    assert told.published == told.expected


# ── events ──


def test_a_subscriber_gets_events_as_their_schemas_say(quiet_cloud: Cloud) -> None:
    subscriber = Subscriber(quiet_cloud)
    now = today(quiet_cloud)
    set_end(quiet_cloud, REPORTING, now + timedelta(days=14), care="GOLD", care_until=now + timedelta(days=7))
    set_end(quiet_cloud, "WC-4MZE-7Y2F", now + timedelta(days=3))
    run_schedule(quiet_cloud)
    got = subscriber.events()
    assert sorted(kind for kind, _ in got) == ["CareExpiring", "LicenseExpiring", "LicenseExpiring"]
    for kind, detail in got:
        jsonschema.validate(detail, schema_of(kind), format_checker=jsonschema.FormatChecker())


def test_a_signing_key_that_is_due_is_the_vendor_s_alone_to_know(quiet_cloud: Cloud) -> None:
    subscriber = Subscriber(quiet_cloud)
    next_day(quiet_cloud, 365 - 14)
    run_schedule(quiet_cloud)
    got = [detail for kind, detail in subscriber.events() if kind == "SigningKeyDue"]
    assert got
    assert {each["threshold_days"] for each in got} <= {14}
    assert {mail.to for mail in mails(quiet_cloud)} == {MARTA, DESK}


def put_key(cloud: Cloud, last_day: date, key_id: str, version: int) -> None:
    key = Key(key_id, customer_id(NORDLJUS), "Nordljus", version + 1, {NORDLJUS: "Nordljus Vård AB"}, today(cloud), last_day,
              "Europe/Stockholm", cloud.now)  # fmt: skip
    activation_keys.put_current(key, version, int(cloud.now.timestamp()), lambda transaction: None)


@pytest.mark.slow
def test_an_activation_key_is_told_until_the_renewed_one_is_imported(quiet_cloud: Cloud) -> None:
    subscriber = Subscriber(quiet_cloud)
    end = today(quiet_cloud) + timedelta(days=8)
    put_key(quiet_cloud, end, "key_1", 0)
    for _ in range(3):
        next_day(quiet_cloud)
        run_schedule(quiet_cloud)
    put_key(quiet_cloud, end + timedelta(days=365), "key_2", 1)
    for _ in range(6):
        next_day(quiet_cloud)
        run_schedule(quiet_cloud)
    got = subscriber.events()
    assert [(kind, each["key"]["key_id"], each["days_left"]) for kind, each in got] == [
        ("ActivationKeyExpiring", "key_1", 7)
    ]
    jsonschema.validate(got[0][1], schema_of("ActivationKeyExpiring"), format_checker=jsonschema.FormatChecker())
    assert Counter(mail.to for mail in mails(quiet_cloud)) == dict.fromkeys((ELIN, MARTA, DESK), 1)


# ── preferences ──


def test_everybody_says_which_alerts_they_do_without(quiet_cloud: Cloud) -> None:
    for name in (GIULIA, PAOLO, MARTA):
        caller = Caller(quiet_cloud, name)
        assert caller.call("PUT", "/v1/alert-preferences", {"unsubscribed": ["expiry"]}).status_code == 200
        assert caller.call("GET", "/v1/alert-preferences").json()["unsubscribed"] == ["expiry"]
    set_end(quiet_cloud, REPORTING, today(quiet_cloud) + timedelta(days=1))
    run_schedule(quiet_cloud)
    assert {mail.to for mail in mails(quiet_cloud)} == {ENRICO, ORDERS, DESK}
    next_day(quiet_cloud)  # the end is here: Giulia's own company must know
    run_schedule(quiet_cloud)
    assert Counter(mail.to for mail in mails(quiet_cloud)) == {ENRICO: 2, ORDERS: 2, DESK: 2, GIULIA: 1}


@pytest.mark.parametrize("body", [{}, {"unsubscribed": ["everything"]}, {"unsubscribed": [], "more": 1}])
def test_preferences_that_are_none_are_refused(cloud: Cloud, body: dict[str, Any]) -> None:
    assert problem(Caller(cloud, GIULIA).call("PUT", "/v1/alert-preferences", body)) == (422, "INVALID_REQUEST")
    assert Caller(cloud, None).call("GET", "/v1/alert-preferences").status_code == 401


def unsubscribe_link(cloud: Cloud, of: str) -> str:
    header = next(mail.headers["List-Unsubscribe"] for mail in mails(cloud) if mail.to == of)
    return "/portal" + str(header).strip("<>").partition("/portal")[2]


@pytest.fixture
def alerted(quiet_cloud: Cloud) -> Cloud:
    set_end(quiet_cloud, RECORDING, today(quiet_cloud) + timedelta(days=3))
    run_schedule(quiet_cloud)
    return quiet_cloud


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=b"])
def test_a_mail_program_unsubscribes_with_one_click(alerted: Cloud, content_type: str) -> None:
    assert next(iter(mails(alerted))).headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    multipart = b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'
    body = multipart if "multipart" in content_type else b"List-Unsubscribe=One-Click"
    answer = alerted.post(unsubscribe_link(alerted, MARTA), body, content_type=content_type)
    assert answer.status_code == 200  # no redirect (RFC 8058)
    assert alerted.post(unsubscribe_link(alerted, DESK), body, content_type=content_type).status_code == 200
    next_day(alerted, 2)
    run_schedule(alerted)
    assert Counter(mail.to for mail in mails(alerted)) == {ELIN: 2, MARTA: 1, DESK: 1}
    assert Caller(alerted, MARTA).call("GET", "/v1/alert-preferences").json()["unsubscribed"] == ["expiry", "silence"]


def test_the_page_of_the_link_lets_choose_and_looking_changes_nothing(alerted: Cloud) -> None:
    visitor, link = Visitor(alerted), unsubscribe_link(alerted, DESK)
    assert visitor.get(link).status_code == 200
    assert DESK in visitor.page
    assert store.unsubscribed(DESK) == ()
    assert visitor.post(link, {"expiry": "on"}).status_code == 303
    assert store.unsubscribed(DESK) == ("silence",)
    assert visitor.submit(link, silence="on", expiry="on").status_code == 303
    assert store.unsubscribed(DESK) == ()


@pytest.mark.parametrize(
    "change", [lambda link: link[:-1] + ("a" if link[-1] != "a" else "b"), lambda link: link[:-33]]
)
def test_a_link_that_is_not_the_one_sent_is_refused(alerted: Cloud, change: Any) -> None:
    link = change(unsubscribe_link(alerted, DESK))
    assert Visitor(alerted).get(link).status_code == 404
    one_click = alerted.post(link, b"List-Unsubscribe=One-Click", content_type="application/x-www-form-urlencoded")
    assert one_click.status_code == 404


def test_the_form_is_of_use_to_no_other_site(alerted: Cloud) -> None:
    visitor, link = Visitor(alerted), unsubscribe_link(alerted, DESK)
    visitor.get(link)
    assert visitor.post(link, {}, origin="https://evil.example").status_code == 403
    assert store.unsubscribed(DESK) == ()
