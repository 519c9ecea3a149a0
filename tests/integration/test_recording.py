"""Every change that took effect is in the log exactly once, wherever the process dies; the log fails nothing (A9)."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from licensing import administration, loading, orders
from licensing.errors import OrderNumberWrong, TemporarilyUnavailable
from licensing.rules.operations import Origin
from licensing.store.operations import OperationItem
from licensing.store.servers import ServerItem

from infra.local.functions import FunctionFailed
from infra.local.template import REGION
from infra.operator import redrive
from tests.integration.test_failures import before_the_write, faults
from tests.support.cloud import TAX_ID, VENDOR, Cloud, Server, problem
from tests.support.visitor import GIULIA, Caller

_LOADED = (
    "customer.created", "order.received", "key.issued", "key.imported", "vendor.changed", "catalogue.changed",
    "reseller.created", "signing_key.switched",
)  # fmt: skip


def entries(cloud: Cloud) -> list[OperationItem]:
    """What was recorded since the demo data were loaded, by time."""
    cloud.work_off_streams()
    found = [item for item in OperationItem.scan() if "#op_" in item.sk and item.action not in _LOADED]
    return sorted(found, key=lambda item: (item.pk.split("#")[1], item.sk))


def actions(cloud: Cloud) -> dict[str, int]:
    return dict(Counter(item.action for item in entries(cloud)))


def ids() -> tuple[str, str]:
    account = administration.find_account(TAX_ID)
    return account.customer.customer_id, administration.find_installation(account, "Milano")


def test_an_entry_says_who_did_what_from_where_with_which_result(cloud: Cloud) -> None:
    server = Server(cloud)
    server.activate(cloud.token_of("Milano"))
    [entry] = entries(cloud)
    assert (entry.kind, entry.actor_id, entry.action, entry.result) == ("server", ids()[1], "server.activated", "DONE")
    assert (entry.personal.name, entry.personal.address) == ("Milano", "127.0.0.1")
    assert entry.details == {"gen": 1, "hostname": "host-a"}
    assert entry.request_id


def test_no_secret_is_in_the_log(cloud: Cloud, server: Server) -> None:
    new = administration.rotate_activation_token(*ids(), VENDOR, cloud.now)
    server.validate()
    cloud.work_off_streams()
    text = str([item.to_dynamodb_dict() for item in OperationItem.scan()])
    for secret in (new, server.token, *(token for _, _, token in cloud.stack.activation_tokens)):
        assert secret not in text


#: Each change of the vendor's, what must be there before, and what the log calls it.
CHANGES: dict[str, Callable[[Cloud], Any]] = {
    "installation.disabled": lambda cloud: administration.disable(*ids(), VENDOR, cloud.now),
    "installation.enabled": lambda cloud: administration.enable(*ids(), VENDOR, cloud.now),
    "installation.released": lambda cloud: administration.release_installation(*ids(), VENDOR, cloud.now),
    "clone.settled": lambda cloud: administration.settle_clone(*ids(), VENDOR, cloud.now),
    "token.rotated": lambda cloud: administration.rotate_activation_token(*ids(), VENDOR, cloud.now),
    "window.opened": lambda cloud: administration.open_window(TAX_ID, timedelta(hours=1), VENDOR, cloud.now),
    "log.retention_changed": lambda cloud: administration.set_log_retention(ids()[0], 30, VENDOR, cloud.now),
    "customer.changed": lambda cloud: loading.load(
        {"customers": [{**next(each for each in cloud.stack.document["customers"] if each["tax_id"] == TAX_ID),
                        "name": "Renamed"}]}, cloud.now, by=VENDOR,
    ),
}  # fmt: skip


def prepare(cloud: Cloud, action: str, server: Server) -> None:
    if action == "installation.enabled":
        administration.disable(*ids(), VENDOR, cloud.now)
    if action == "clone.settled":
        backup = server.token
        server.validate()
        server.token = backup
        server.validate()  # heals


@pytest.mark.parametrize("action", CHANGES)
@pytest.mark.parametrize("fault", ["conflict", "throttle", "timeout_before", "timeout_after"])
def test_a_change_is_told_once_whatever_happens_to_its_write(
    cloud: Cloud, server: Server, action: str, fault: str
) -> None:
    prepare(cloud, action, server)
    with faults(cloud, "dynamodb", fault, "TransactWriteItems", times=1) as hit:
        CHANGES[action](cloud)
    assert hit
    assert actions(cloud)[action] == 1


@pytest.mark.parametrize("action", CHANGES)
@pytest.mark.parametrize("fault", ["throttle", "timeout_before"])
def test_a_change_that_did_not_take_effect_is_not_told(cloud: Cloud, server: Server, action: str, fault: str) -> None:
    prepare(cloud, action, server)
    with faults(cloud, "dynamodb", fault, "TransactWriteItems"), pytest.raises(TemporarilyUnavailable):
        CHANGES[action](cloud)
    assert action not in actions(cloud)


@pytest.mark.parametrize("action", [each for each in CHANGES if each != "window.opened"])
def test_what_changes_nothing_is_not_told(cloud: Cloud, server: Server, action: str) -> None:
    prepare(cloud, action, server)
    CHANGES[action](cloud)
    if action != "token.rotated":
        CHANGES[action](cloud)
    assert actions(cloud)[action] == 1


def test_two_at_once_are_each_told(cloud: Cloud, server: Server) -> None:
    with before_the_write(cloud, "TransactWriteItems", lambda: CHANGES["token.rotated"](cloud)):
        CHANGES["installation.disabled"](cloud)
    told = actions(cloud)
    assert (told["token.rotated"], told["installation.disabled"]) == (1, 1)


def test_a_server_gives_itself_up(cloud: Cloud, server: Server) -> None:
    assert server.deactivate().status_code == 200
    assert server.deactivate().status_code == 200
    assert actions(cloud) == {"server.activated": 1, "server.deactivated": 1}


# ── behind the request: the stream ──


def test_validations_are_told_behind_the_request(cloud: Cloud, server: Server) -> None:
    for _ in range(3):
        cloud.stack.clock.advance(timedelta(days=1))
        assert server.validate().json()["valid"]
    told = [
        (item.details["seq"], item.personal.address) for item in entries(cloud) if item.action == "server.validated"
    ]
    assert sorted(told) == [(1, "127.0.0.1"), (2, "127.0.0.1"), (3, "127.0.0.1")]


def test_a_stream_delivered_again_tells_nothing_twice(cloud: Cloud, server: Server) -> None:
    before = len(list(OperationItem.scan()))
    server.validate()
    server.report["hostname"] = "moved"
    server.validate()
    cloud.work_off_streams()
    told = len(list(OperationItem.scan()))
    assert told == before + 2
    for stream in cloud.stack.streams:
        stream.rewind()
    assert cloud.work_off_streams() > 2
    assert actions(cloud)["server.validated"] == 2


def test_a_stream_delivered_after_its_day_may_be_sealed_goes_into_today_once(cloud: Cloud, server: Server) -> None:
    server.validate()
    happened = cloud.now
    cloud.stack.clock.advance(timedelta(days=5))
    for _ in range(2):
        assert actions(cloud)["server.validated"] == 1
        cloud.stack.clock.advance(timedelta(days=1))
        for stream in cloud.stack.streams:
            stream.rewind()
    [entry] = [item for item in entries(cloud) if item.action == "server.validated"]
    assert entry.pk.split("#")[1] == str((happened + timedelta(days=5)).date())
    assert abs(entry.happened_at - happened.timestamp()) < 10


@pytest.mark.parametrize("fault", ["throttle", "timeout_before", "timeout_after"])
def test_a_stream_in_trouble_delivers_again_and_nothing_is_lost_or_double(
    cloud: Cloud, server: Server, fault: str
) -> None:
    for _ in range(4):
        server.validate()
    with faults(cloud, "dynamodb", fault, "PutItem", times=9):
        for _ in range(12):
            cloud.work_off_streams()
    assert actions(cloud)["server.validated"] == 4


def test_each_site_tells_what_it_wrote_itself(cloud: Cloud, server: Server) -> None:
    server.site = 1
    assert server.validate().json()["valid"]
    [entry] = [item for item in entries(cloud) if item.action == "server.validated"]
    assert entry.pk.endswith("#backup")


def test_what_can_not_be_recorded_leaves_a_note_and_is_redriven(
    cloud: Cloud, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One record that always fails is found by halving; the others are recorded."""
    for _ in range(5):
        server.validate()
    client = boto3.client("sqs", region_name=REGION)
    queue = client.get_queue_url(QueueName="UnrecordedOperations")["QueueUrl"]
    handle = cloud.stack.functions.invoke

    def failing(function: Any, event: Any, site: Any) -> Any:
        images = [each["dynamodb"].get("NewImage", {}) for each in event["Records"]]
        if any(image.get("s") == {"N": "3"} for image in images):
            raise FunctionFailed("no")
        return handle(function, event, site)

    cloud.stack.functions.invoke = failing  # type: ignore[method-assign]
    try:
        for _ in range(60):
            cloud.work_off_streams()
    finally:
        cloud.stack.functions.invoke = handle  # type: ignore[method-assign]
    assert actions(cloud)["server.validated"] == 4
    monkeypatch.setenv("SITE", "primary")
    done = redrive.unrecorded(queue, cloud.now)
    # Both sites' functions failed at it; the second note tells of what is recorded by then.
    assert (done.messages, done.records, done.recorded, done.lost) == (2, 2, 1, 0)
    assert actions(cloud)["server.validated"] == 5
    assert "Messages" not in client.receive_message(QueueUrl=queue)


def test_healing_drift_and_suspicion_are_told(cloud: Cloud, server: Server) -> None:
    backup = server.token
    for _ in range(4):
        server.validate()
        server.token = backup
    assert server.validate().json()["code"] == "CLONE_SUSPECTED"
    told = actions(cloud)
    assert (told["server.healed"], told["server.clone_suspected"], told["server.refused"]) == (3, 1, 1)


# ── refusals ──


def to_the_next_hour(cloud: Cloud) -> None:
    cloud.stack.clock.advance((cloud.now + timedelta(hours=1)).replace(minute=0, second=0) - cloud.now)


def refusals(cloud: Cloud, action: str) -> list[str]:
    return [item.result for item in entries(cloud) if item.action == action]


def test_a_refusal_is_told_once_an_hour_however_often_it_is_asked_for(cloud: Cloud, server: Server) -> None:
    to_the_next_hour(cloud)
    administration.disable(*ids(), VENDOR, cloud.now)
    for _ in range(3):
        assert server.validate().json()["code"] == "INSTALLATION_DISABLED"
        cloud.stack.clock.advance(timedelta(seconds=1))
    assert refusals(cloud, "server.refused") == ["INSTALLATION_DISABLED"]
    to_the_next_hour(cloud)
    server.validate()
    assert refusals(cloud, "server.refused") == ["INSTALLATION_DISABLED"] * 2


def test_a_stolen_token_without_its_key_is_told_once_an_hour(cloud: Cloud, server: Server) -> None:
    to_the_next_hour(cloud)
    thief = Server(cloud, machine="b")
    thief.token = server.token
    for _ in range(3):
        assert problem(thief.validate()) == (401, "INVALID_PROOF")
    assert refusals(cloud, "server.proof_refused") == ["INVALID_PROOF"]
    [told] = [item for item in entries(cloud) if item.action == "server.proof_refused"]
    assert (told.kind, told.subject_id) == ("anyone", ids()[1])
    to_the_next_hour(cloud)
    thief.token = server.token[:-8] + "AAAAAAAA"  # nobody can say whose this is
    assert problem(thief.validate()) == (401, "INVALID_TOKEN")
    assert len(refusals(cloud, "server.proof_refused")) == 1
    assert cloud.stack.guard.refused == []


def test_a_wrong_order_number_is_told_once_an_hour(cloud: Cloud) -> None:
    to_the_next_hour(cloud)
    [order_id] = {
        item.subject_id for item in OperationItem.scan() if "#op_" in item.sk and item.action == "order.received"
    }
    for number in ("N-1", "N-2"):
        with pytest.raises(OrderNumberWrong):
            orders._unlock(order_id, number, cloud.now, Origin("anyone", address="192.0.2.9"))
    assert refusals(cloud, "order.unlock_refused") == ["ORDER_NUMBER_WRONG"]


def test_a_key_that_is_not_imported_is_told_with_who_tried(cloud: Cloud) -> None:
    answer = Caller(cloud, GIULIA).call("POST", "/v1/keys/preview", {"customer_id": ids()[0], "text": "x"})
    [told] = [item for item in entries(cloud) if item.action == "key.import_refused"]
    assert (told.kind, told.result) == ("customer", answer.json()["code"])
    assert cloud.stack.guard.refused == []


@pytest.mark.parametrize("fault", ["throttle", "timeout_before"])
def test_a_log_in_trouble_fails_no_answer(cloud: Cloud, server: Server, fault: str) -> None:
    administration.disable(*ids(), VENDOR, cloud.now)
    with faults(cloud, "dynamodb", fault, "TransactWriteItems") as hit:
        response = server.validate()
    assert response.json()["code"] == "INSTALLATION_DISABLED"
    assert response.json()["verdict"]
    assert 1 <= len(hit) <= 2


def test_a_refused_activation_is_told(cloud: Cloud, server: Server) -> None:
    assert Server(cloud, machine="b").activate(cloud.token_of("Milano")).status_code == 409
    assert [item.result for item in entries(cloud) if item.action == "server.activation_refused"] == [
        "INSTALLATION_TAKEN"
    ]


def test_a_restored_backup_of_an_unknown_customer_s_server_is_no_entry(cloud: Cloud, server: Server) -> None:
    """Deleting a server's item tells nothing: there is no image of what is."""
    before = actions(cloud)
    ServerItem(ids()[1]).delete()
    assert actions(cloud) == before
