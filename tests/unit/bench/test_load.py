"""What the load on the local stack finds wrong, where something is."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest

from tests.bench import load
from tests.bench.load_clients import Key, Seen
from tests.support.documented import PROBLEM, Documented

VALIDATED: Key = ("server.validated", "ins_1", 1, 1)
CLOSED: Key = ("seat.closed", "pool_1", "PC-1", "session-1")


def test_an_operation_that_took_effect_is_in_the_log_once() -> None:
    seen = Seen(known={VALIDATED})
    assert load.compare(seen, Counter([VALIDATED])) == []
    assert load.compare(seen, Counter()) == ["lost: server.validated ins_1 1 1"]
    assert load.compare(seen, Counter([VALIDATED, VALIDATED])) == ["2 times: server.validated ins_1 1 1"]


def test_an_operation_whose_answer_was_lost_may_be_in_the_log_and_no_other() -> None:
    logged = Counter([VALIDATED])
    assert load.compare(Seen(uncertain=Counter({"server.validated": 1})), logged) == []
    assert load.compare(Seen(), logged) == ["1 times server.validated of nobody; 0 answers were lost"]


def test_a_lease_may_end_by_itself_if_somebody_asked_for_it() -> None:
    assert load.compare(Seen(asked={CLOSED[1:]}), Counter([CLOSED])) == []
    assert load.compare(Seen(), Counter([CLOSED])) != []


@pytest.mark.parametrize("missing", [("server.activated", 2), ("server.deactivated", 1), ("server.validated", 1, 2)])
def test_each_sequence_that_was_taken_is_in_the_log(missing: tuple[str | int, ...]) -> None:
    action, *number = missing
    gone: Key = (action, "ins_1", *number)
    logged: set[Key] = {
        ("server.activated", "ins_1", 1), ("server.validated", "ins_1", 1, 1), ("server.validated", "ins_1", 1, 2),
        ("server.validated", "ins_1", 1, 3), ("server.deactivated", "ins_1", 1), ("server.activated", "ins_1", 2),
    }  # fmt: skip
    states = {"ins_1": SimpleNamespace(gen=2, seq=0, held=True)}
    assert load.gaps(logged, states) == []
    assert load.gaps(logged - {gone}, states) == [f"not in the log: {' '.join(map(str, gone))}"]


def test_memory_is_flat_where_only_rows_came() -> None:
    def look(resident: float, size: float) -> load.Memory:
        return load.Memory("", resident, 0, size)

    assert load.is_flat([look(200, 10), look(300, 20), look(340, 60)])
    assert not load.is_flat([look(200, 10), look(300, 20), look(340, 20)])


def problem(status: int, code: str) -> bytes:
    return json.dumps({"status": status, "code": code}).encode()


@pytest.mark.parametrize(
    ("route", "status", "kind", "body"),
    [
        ("POST /v1/validations", 200, "application/json", b"{}"),
        ("POST /v1/validations", 503, PROBLEM, problem(503, "TEMPORARILY_UNAVAILABLE")),
        ("GET /v1/keyset", 200, "application/jose", b"e30.e30.x"),
        ("DELETE /v1/seats/sea_1.2", 204, "text/plain;charset=UTF-8", b""),
        ("GET /v1/pools", 431, "application/json", b'{"message": "Request Header Fields Too Large"}'),
    ],
)
def test_answers_that_the_document_knows(route: str, status: int, kind: str, body: bytes) -> None:
    assert Documented.here().fault(*route.split(" "), status, kind, body) == ""


@pytest.mark.parametrize(
    ("route", "status", "kind", "body"),
    [
        ("POST /v1/nothing", 200, "application/json", b"{}"),
        ("POST /v1/validations", 409, PROBLEM, problem(409, "SEAT_LIMIT_REACHED")),
        ("POST /v1/seats", 409, PROBLEM, problem(409, "INSTALLATION_TAKEN")),
        ("POST /v1/seats", 409, PROBLEM, problem(500, "SEAT_LIMIT_REACHED")),
        ("POST /v1/validations", 500, "application/json", b'{"message": "Internal Server Error"}'),
        ("DELETE /v1/seats/sea_1.2", 204, "text/plain", b"done"),
    ],
)
def test_answers_that_the_document_does_not_know(route: str, status: int, kind: str, body: bytes) -> None:
    assert Documented.here().fault(*route.split(" "), status, kind, body)
