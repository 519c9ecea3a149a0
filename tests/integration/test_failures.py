"""Failure is input: throttled, conflict, timed out before or after it took effect."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from licensing import activation, administration, tokens, validation
from licensing.contract import Activation, ActivationRequest, Validation
from licensing.key_ring import ring
from licensing.store import servers
from licensing.store.idempotency import Idempotency
from pydantic import BaseModel
from pynamodb.transactions import TransactWrite

from tests.support.cloud import TAX_ID, VENDOR, Cloud, Server, new_nonce, problem
from tests.support.faults import meet


@contextmanager
def faults(cloud: Cloud, service: str, fault: str, operation: str = "", times: int = 1000) -> Iterator[list[str]]:
    """Let the next calls fail: ``throttle``, ``conflict``, ``timeout_before`` or ``timeout_after`` (it took effect)."""
    hit: list[str] = []

    def intercept(event: str, request: Any) -> Any:
        _, called_service, called = event.split(".", 2)
        if called_service != service or not called.startswith(operation) or len(hit) >= times:
            return None
        hit.append(called)
        return meet(fault, called, request)

    cloud.stack.aws.interceptor = intercept
    try:
        yield hit
    finally:
        cloud.stack.aws.interceptor = None


def state() -> Any:
    account = administration.find_account(TAX_ID)
    return servers.get(administration.find_installation(account, "Milano"))[0]


@pytest.mark.parametrize("service", ["dynamodb", "kms"])
@pytest.mark.parametrize("fault", ["throttle", "timeout_before"])
def test_a_service_in_trouble_is_503_and_a_retry_succeeds(
    cloud: Cloud, server: Server, service: str, fault: str
) -> None:
    nonce = new_nonce()
    with faults(cloud, service, fault) as hit:
        response = server.validate(nonce)
    assert hit
    assert problem(response) == (503, "TEMPORARILY_UNAVAILABLE")
    assert int(response.headers["retry-after"]) > 0
    assert server.validate(nonce).json()["valid"]
    assert state().seq == 1


@pytest.mark.parametrize("operation", ["GetItem", "UpdateItem"])
def test_an_answer_lost_after_commit_is_found_again_at_once(cloud: Cloud, server: Server, operation: str) -> None:
    with faults(cloud, "dynamodb", "timeout_after", operation, times=1) as hit:
        assert server.validate().json()["valid"]
    assert hit == [operation]
    assert (state().seq, server.claims["seq"], state().heals) == (1, 1, ())


def test_conflicts_are_retried(cloud: Cloud, server: Server) -> None:
    with faults(cloud, "dynamodb", "conflict", "UpdateItem", times=2) as hit:
        assert server.validate().json()["valid"]
    assert len(hit) == 2
    assert state().seq == 1


@pytest.mark.parametrize("fault", ["timeout_after", "conflict", "throttle", "timeout_before"])
def test_an_activation_survives_trouble_and_is_not_doubled(cloud: Cloud, fault: str) -> None:
    server = Server(cloud)
    with faults(cloud, "dynamodb", fault, "TransactWriteItems", times=1) as hit:
        response = server.activate(cloud.token_of("Milano"))
    assert hit
    assert response.status_code == 201, response.text
    assert (state().gen, state().seq) == (1, 0)


@pytest.mark.parametrize("fault", ["timeout_after", "throttle"])
def test_an_activation_given_up_is_repeated_by_its_nonce(cloud: Cloud, fault: str) -> None:
    server, nonce = Server(cloud), new_nonce()
    with faults(cloud, "dynamodb", fault, "TransactWriteItems"):
        assert problem(server.activate(cloud.token_of("Milano"), nonce=nonce)) == (503, "TEMPORARILY_UNAVAILABLE")
    assert server.activate(cloud.token_of("Milano"), nonce=nonce).status_code == 201
    assert (state().gen, state().seq) == (1, 0)


def test_a_queue_in_trouble_counts_no_try_and_loses_no_mail(cloud: Cloud) -> None:
    with faults(cloud, "sqs", "timeout_before"):
        for _ in range(4):
            response = cloud.post("/v1/activation-requests", {"tax_id": TAX_ID})
            assert problem(response) == (503, "TEMPORARILY_UNAVAILABLE")
    assert cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}).status_code == 202
    assert len(cloud.mailed_code()) == 6


def test_dying_between_the_message_and_the_request_sends_no_mail(cloud: Cloud) -> None:
    with faults(cloud, "dynamodb", "timeout_before", "TransactWriteItems"):
        cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}, idempotency_key="k" * 20)
    asked = cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}, idempotency_key="k" * 20)
    code = cloud.mailed_code()
    assert len(cloud.get("/local/outbox").json()["items"]) == 1
    verified = cloud.post(f"/v1/activation-requests/{asked.json()['request_id']}/verify", {"code": code})
    assert verified.status_code == 200


def test_mail_that_fails_is_tried_again(cloud: Cloud) -> None:
    cloud.post("/v1/activation-requests", {"tax_id": TAX_ID})
    with faults(cloud, "sesv2", "timeout_before"):
        assert cloud.work_off_queue() == 1
    assert cloud.get("/local/outbox").json()["items"] == []
    assert len(cloud.mailed_code()) == 6


@contextmanager
def before_the_write(cloud: Cloud, operation: str, act: Callable[[], None]) -> Iterator[None]:
    """Let somebody else act after all was read, and before the write."""

    def intercept(event: str, request: Any) -> None:
        if event.endswith(operation):
            cloud.stack.aws.interceptor = None
            act()

    cloud.stack.aws.interceptor = intercept
    try:
        yield
    finally:
        cloud.stack.aws.interceptor = None


def test_a_twin_that_validates_between_read_and_write_takes_no_sequence_twice(cloud: Cloud, server: Server) -> None:
    token = tokens.read_server_token(ring, cloud.stack.vendor_profile["issuer"], server.token, cloud.now)

    def twin() -> None:
        body = Validation.model_validate(server.body(hostname="moved"))
        assert validation.validate(token, body, None, cloud.now).valid

    with before_the_write(cloud, "PutItem", twin):
        assert server.validate(hostname="moved as well").json()["valid"]
    assert state().seq == server.claims["seq"] == 2
    assert len(state().heals) == 1


def test_a_release_between_read_and_write_is_not_undone(cloud: Cloud, server: Server) -> None:
    account = administration.find_account(TAX_ID)
    milano = administration.find_installation(account, "Milano")
    with before_the_write(
        cloud,
        "PutItem",
        lambda: administration.release_installation(account.customer.customer_id, milano, VENDOR, cloud.now),
    ):
        assert server.validate(hostname="moved").json()["code"] == "INSTALLATION_RELEASED"
    assert not state().held


def test_a_token_rotated_between_read_and_write_activates_nothing(cloud: Cloud) -> None:
    account = administration.find_account(TAX_ID)
    milano = administration.find_installation(account, "Milano")

    def rotate() -> None:
        administration.rotate_activation_token(account.customer.customer_id, milano, VENDOR, cloud.now)

    with before_the_write(cloud, "TransactWriteItems", rotate):
        response = Server(cloud).activate(cloud.token_of("Milano"))
    assert problem(response) == (403, "ACTIVATION_TOKEN_INVALID")
    assert not state().held


def test_a_ticket_used_twice_at_once_activates_one_server(cloud: Cloud) -> None:
    administration.open_window(TAX_ID, timedelta(hours=1), VENDOR, cloud.now)
    ticket = cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}).json()
    ids = {each["name"]: each["installation_id"] for each in ticket["installations"]}

    def body(server: Server, name: str) -> dict[str, Any]:
        return {"ticket": ticket["ticket"], "installation_id": ids[name], **server.body()}

    def elsewhere() -> None:
        claimed = Activation.model_validate(body(Server(cloud, machine="b"), "Bergamo"))
        assert activation.activate_server(claimed, None, cloud.now).valid

    server = Server(cloud, key=None)
    with before_the_write(cloud, "TransactWriteItems", elsewhere):
        response = server.call("/v1/activations", body(server, "Milano"))
    assert problem(response) == (403, "TICKET_INVALID")
    assert not state().held


def test_tries_counted_at_once_are_all_counted(cloud: Cloud) -> None:
    ask = ActivationRequest(tax_id=TAX_ID)
    with before_the_write(cloud, "TransactWriteItems", lambda: activation.request(ask, cloud.now) and None):
        assert cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}).status_code == 202
    assert cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}).status_code == 202
    assert problem(cloud.post("/v1/activation-requests", {"tax_id": TAX_ID})) == (429, "TOO_MANY_REQUESTS")


def test_the_same_idempotency_key_twice_at_once_does_the_work_once(cloud: Cloud) -> None:
    key = "k" * 20
    twins: list[Any] = []

    def twin() -> None:
        scope = Idempotency(f"POST /v1/activation-requests\n{TAX_ID}", key, json.dumps({"tax_id": TAX_ID}).encode())

        def keep(transaction: TransactWrite, answer: BaseModel) -> None:
            scope.keep_in(transaction, 202, answer.model_dump_json(), cloud.now)

        twins.append(activation.request(ActivationRequest(tax_id=TAX_ID), cloud.now, keep))

    with before_the_write(cloud, "TransactWriteItems", twin):
        answer = cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}, idempotency_key=key)
    assert answer.json()["request_id"] == twins[0].request_id
    cloud.mailed_code()
    assert len(cloud.get("/local/outbox").json()["items"]) == 1


def test_the_same_key_twice_at_once_gets_the_first_answer_where_nothing_was_left_to_do(cloud: Cloud) -> None:
    """The slower one finds its activation begun already, and must not answer it in its own words."""
    server, token, key, twins = Server(cloud), cloud.token_of("Milano"), "k" * 20, list[str]()
    body = {"activation_token": token, "public_key": server.jwk, **server.body()}

    def twin() -> None:
        scope = Idempotency(f"POST /v1/activations\n{token}", key, json.dumps(body).encode())

        def keep(transaction: TransactWrite, answer: BaseModel) -> None:
            twins.append(answer.model_dump_json())
            scope.keep_in(transaction, 201, twins[0], cloud.now)

        activation.activate_server(Activation.model_validate(body), server.jwk, cloud.now, keep)

    with before_the_write(cloud, "TransactWriteItems", twin):
        answer = server.call("/v1/activations", body, idempotency_key=key)
    assert (answer.status_code, answer.text) == (201, twins[0])


def test_a_key_is_kept_also_where_nothing_was_left_to_do(cloud: Cloud, server: Server) -> None:
    assert server.deactivate().status_code == 200
    body = {"nonce": new_nonce()}
    first = server.call("/v1/deactivations", body, idempotency_key="k" * 20)
    cloud.stack.clock.advance(timedelta(seconds=2))
    assert server.call("/v1/deactivations", body, idempotency_key="k" * 20).text == first.text
    other = server.call("/v1/deactivations", {"nonce": new_nonce()}, idempotency_key="k" * 20)
    assert problem(other) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_two_machines_at_once_get_one_installation(cloud: Cloud) -> None:
    """The second one reads before the first one writes, and writes after it."""
    first, second = Server(cloud), Server(cloud, machine="b")
    body = Activation.model_validate({"activation_token": cloud.token_of("Milano"), **first.body()})

    def first_in() -> None:
        assert activation.activate_server(body, None, cloud.now).valid

    with before_the_write(cloud, "TransactWriteItems", first_in):
        response = second.activate(cloud.token_of("Milano"))
    assert problem(response) == (409, "INSTALLATION_TAKEN")
    assert state().report.hostname == "host-a"
