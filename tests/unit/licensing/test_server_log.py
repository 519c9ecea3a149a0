"""What one write of a server's state tells the log."""

from dataclasses import replace
from datetime import UTC, datetime

from licensing.rules.reports import Report
from licensing.rules.sequence import ServerState, release, settle, suspect
from licensing.rules.server_log import events

THEN = datetime(2026, 11, 22, 12, tzinfo=UTC)
BEFORE = ServerState(gen=2, seq=7, held=True, report=Report({"cpu": "a", "mac": "b"}), validated_at=THEN)
AFTER = replace(BEFORE, seq=8)


def told(before: ServerState, after: ServerState) -> list[str]:
    return [event.action for event in events(before, after)]


def test_a_validation() -> None:
    [event] = events(BEFORE, AFTER)
    assert (event.action, event.at, event.details) == ("server.validated", THEN, {"gen": 2, "seq": 8})


def test_a_heal_is_told_beside_its_validation_and_only_once() -> None:
    healed = replace(AFTER, heals=(THEN,))
    assert told(BEFORE, healed) == ["server.validated", "server.healed"]
    assert told(healed, replace(healed, seq=9, validated_at=THEN.replace(hour=13))) == ["server.validated"]


def test_drift_names_the_components() -> None:
    [_, event] = events(BEFORE, replace(AFTER, report=Report({"cpu": "a", "mac": "c", "disk": "d"})))
    assert (event.action, event.details) == ("server.fingerprint_changed", {"components": "disk, mac"})


def test_suspicion_is_told_once() -> None:
    suspected = suspect(BEFORE, THEN)
    assert told(BEFORE, suspected) == ["server.clone_suspected"]
    assert told(suspected, suspected) == []


def test_a_generation_that_a_restored_table_had_forgotten_is_a_validation() -> None:
    assert told(ServerState(), replace(BEFORE, gen=3, seq=4)) == ["server.validated"]


def test_what_is_told_where_it_is_decided_is_not_told_again() -> None:
    activated = replace(BEFORE, gen=3, seq=0)
    assert told(ServerState(), replace(BEFORE, gen=1, seq=0)) == []
    assert told(BEFORE, activated) == []
    assert told(BEFORE, release(BEFORE)) == []
    assert told(suspect(BEFORE, THEN), settle(suspect(BEFORE, THEN))) == []
