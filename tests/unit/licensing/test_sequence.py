"""Lost answers, copies, restored backups, restored tables and lagging sites (A7, F2)."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from licensing.rules.reports import Report
from licensing.rules.sequence import (
    Presented,
    ServerState,
    activate,
    decide,
    nonce_hash,
    release,
    settle,
    suspect,
    take,
)

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def report(machine: str = "a") -> Report:
    return Report(fingerprint={name: f"{machine}/{name}" for name in ("id", "mac", "cpu", "disk", "board")})


@dataclass
class Copy:
    """One copy of a server's state directory."""

    gen: int = 1
    seq: int = 0
    machine: str = "a"
    token_machine: str = "a"

    def presents(self, nonce: str) -> Presented:
        return Presented(self.gen, self.seq, nonce, report(self.machine), report(self.token_machine).fingerprint)


class Cloud:
    """A cloud of one installation, a day passing at each validation."""

    def __init__(self) -> None:
        self.now = NOON
        state = activate(ServerState(), Presented(0, 0, "first", report(), {}), NOON)
        assert isinstance(state, ServerState)
        self.state = state
        self.nonces = 0

    def validates(self, copy: Copy, nonce: str | None = None, *, answered: bool = True) -> str:
        self.now += timedelta(days=1)
        self.nonces += 1
        presented = copy.presents(nonce or f"nonce-{self.nonces}")
        step = decide(self.state, presented, self.now)
        if step.kind in ("advance", "heal"):
            self.state = take(self.state, step, presented)
        elif step.kind == "suspect":
            self.state = suspect(self.state, self.now)
        if answered and step.kind in ("advance", "heal", "repeat"):
            copy.gen, copy.seq = step.gen, step.seq
        return step.kind


def test_a_healthy_server_advances_by_one_each_day() -> None:
    cloud, server = Cloud(), Copy()
    assert [cloud.validates(server) for _ in range(30)] == ["advance"] * 30
    assert cloud.state.seq == server.seq == 30


def test_a_lost_answer_is_repeated_with_the_same_sequence_and_time() -> None:
    cloud, server = Cloud(), Copy()
    cloud.validates(server, "kept", answered=False)
    step = decide(cloud.state, server.presents("kept"), cloud.now + timedelta(hours=1))
    assert (step.kind, step.seq, step.at) == ("repeat", 1, cloud.now)


def test_the_nonce_of_a_token_already_taken_repeats_too() -> None:
    cloud, server = Cloud(), Copy()
    cloud.validates(server, "kept")
    assert cloud.validates(server, "kept") == "repeat"
    assert server.seq == 1


def test_the_previous_token_is_good_only_with_the_nonce_that_consumed_it() -> None:
    cloud, server = Cloud(), Copy()
    cloud.validates(server, "kept", answered=False)
    assert decide(cloud.state, server.presents("kept"), cloud.now).kind == "repeat"
    assert decide(cloud.state, server.presents("other"), cloud.now).kind == "heal"


def test_eight_nonces_are_remembered() -> None:
    cloud, server = Cloud(), Copy()
    for n in range(9):
        cloud.validates(server, f"n{n}")
    kinds = {n: decide(cloud.state, Copy(seq=n).presents(f"n{n}"), cloud.now).kind for n in range(9)}
    assert [n for n, kind in kinds.items() if kind == "repeat"] == list(range(1, 9))


def test_copies_on_alternate_days_are_found_out() -> None:
    cloud, one = Cloud(), Copy()
    cloud.validates(one)
    other = replace(one)
    kinds = [cloud.validates(copy) for _ in range(4) for copy in (one, other)]
    assert kinds[:5] == ["advance", "heal", "heal", "heal", "suspect"]
    assert set(kinds[4:]) == {"suspect"}


def test_a_restored_backup_heals_and_goes_on() -> None:
    cloud, server = Cloud(), Copy()
    backup = replace(server)
    for _ in range(5):
        cloud.validates(server)
    assert cloud.validates(backup) == "heal"
    assert [cloud.validates(backup) for _ in range(10)] == ["advance"] * 10


def test_a_backup_restored_each_month_is_never_accused() -> None:
    cloud, server = Cloud(), Copy()
    for _ in range(12):
        backup = replace(server)
        kinds = [cloud.validates(server) for _ in range(31)]
        assert "suspect" not in kinds
        server = backup


def test_the_answer_to_a_healing_lost_on_its_way_heals_once() -> None:
    cloud, server = Cloud(), Copy()
    backup = replace(server)
    for _ in range(5):
        cloud.validates(server)
    assert cloud.validates(backup, "kept", answered=False) == "heal"
    assert cloud.validates(backup, "kept") == "repeat"
    assert len(cloud.state.heals) == 1


def test_a_restored_table_moves_forward_and_accuses_nobody() -> None:
    cloud, server = Cloud(), Copy()
    cloud.validates(server)
    remembered = cloud.state
    for _ in range(20):
        cloud.validates(server)
    cloud.state = remembered
    assert [cloud.validates(server) for _ in range(5)] == ["advance"] * 5
    assert cloud.state.heals == ()


def test_a_lost_table_takes_the_token_s_word_for_generation_and_machine() -> None:
    cloud, server = Cloud(), Copy(gen=3)
    cloud.state = ServerState()
    assert cloud.validates(server) == "advance"
    assert (cloud.state.gen, cloud.state.held) == (3, True)


def test_a_lost_table_does_not_open_the_door_to_another_machine() -> None:
    cloud, thief = Cloud(), Copy(gen=3, machine="b")
    cloud.state = ServerState()
    assert cloud.validates(thief) == "mismatch"
    assert cloud.state == ServerState()


def test_a_lagging_site_accuses_nobody_on_the_way_there_and_back() -> None:
    home, server = Cloud(), Copy()
    for _ in range(5):
        home.validates(server)
    lagging = Cloud()
    lagging.state, lagging.now = home.state, home.now
    home.validates(server, "kept", answered=False)  # Site 1 dies before it answers
    assert lagging.validates(server, "kept") == "advance"
    assert lagging.validates(server) == "advance"
    assert home.validates(server) == "advance"
    assert home.state.heals == lagging.state.heals == ()


def test_a_wrong_machine_is_refused_and_changes_nothing() -> None:
    cloud, server = Cloud(), Copy()
    cloud.validates(server)
    before = cloud.state
    assert cloud.validates(replace(server, machine="b", seq=0)) == "mismatch"
    assert cloud.state == before


def test_an_earlier_generation_is_released() -> None:
    cloud, server = Cloud(), Copy()
    again = activate(release(cloud.state), server.presents("again"), NOON)
    assert isinstance(again, ServerState)
    cloud.state = again
    assert cloud.state.gen == 2
    assert cloud.validates(server) == "released"


def test_a_released_installation_knows_nobody() -> None:
    cloud, server = Cloud(), Copy()
    cloud.state = release(cloud.state)
    assert cloud.validates(server) == "released"


def test_under_suspicion_nobody_goes_on_until_somebody_decides() -> None:
    cloud, server = Cloud(), Copy()
    cloud.validates(server)
    cloud.state = suspect(cloud.state, cloud.now)
    assert cloud.validates(server) == "suspect"
    cloud.state = settle(cloud.state)
    assert cloud.validates(server) == "advance"


def test_another_machine_can_not_take_a_held_installation() -> None:
    cloud = Cloud()
    presented = Presented(0, 0, "n", report("b"), {})
    assert activate(cloud.state, presented, NOON) == "taken"


def test_the_same_machine_may_activate_again_after_losing_its_state() -> None:
    cloud = Cloud()
    again = activate(cloud.state, Presented(0, 0, "new", report(), {}), NOON)
    assert isinstance(again, ServerState)
    assert (again.gen, again.seq) == (2, 0)


def test_an_activation_is_repeated_until_the_first_validation() -> None:
    cloud, server = Cloud(), Copy()
    presented = Presented(0, 0, "first", report(), {})
    assert activate(cloud.state, presented, NOON) == "repeat"
    cloud.validates(server)
    assert activate(cloud.state, presented, NOON) == "taken"


def test_an_activation_overheard_is_not_repeated_for_another_key() -> None:
    presented = Presented(0, 0, "first", report(), {}, {"kty": "EC", "x": "thief"})
    assert activate(Cloud().state, presented, NOON) == "taken"


def test_under_suspicion_nobody_activates_again() -> None:
    cloud = Cloud()
    cloud.state = suspect(cloud.state, NOON)
    assert activate(cloud.state, Presented(0, 0, "new", report(), {}), NOON) == "suspect"


def test_drift_is_enrolled_a_component_at_a_time() -> None:
    cloud, server = Cloud(), Copy()
    fingerprint = dict(report().fingerprint)
    for name in fingerprint:
        fingerprint[name] = "new"
        presented = replace(server.presents(f"drift-{name}"), report=Report(fingerprint=dict(fingerprint)))
        step = decide(cloud.state, presented, cloud.now)
        assert step.kind == "advance"
        cloud.state = take(cloud.state, step, presented)
        server.seq = step.seq


@pytest.mark.parametrize("databases", [("main",), ("main", "archive")])
def test_a_database_keeps_the_day_of_its_first_report(databases: tuple[str, ...]) -> None:
    cloud, server = Cloud(), Copy()
    for n in range(3):
        presented = replace(server.presents(f"n{n}"), report=replace(report(), databases=databases))
        step = decide(cloud.state, presented, NOON + timedelta(days=n))
        cloud.state = take(cloud.state, step, presented)
        server.seq = step.seq
    assert dict.fromkeys(databases, NOON.date()) == cloud.state.databases


def test_hashes_of_nonces_differ() -> None:
    assert nonce_hash("a") != nonce_hash("b")
