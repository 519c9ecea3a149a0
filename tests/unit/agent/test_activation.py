from __future__ import annotations

import httpx
import pytest
from license_manager import settings
from license_manager import state as states
from license_manager.errors import Refused, Unreachable, Untrusted
from license_manager.manager import CodeSent, Ticket

from tests.unit.agent.conftest import Site
from tests.unit.agent.fake_cloud import problem


def test_activates_by_token_and_says_first_validation(site: Site) -> None:
    outcome = site.activate()
    assert (outcome.ok, outcome.first, outcome.detail) == (True, True, "First validation")
    assert site.check().allowed


def test_activates_by_tax_id_code_and_choice(site: Site) -> None:
    with site.manager() as manager:
        sent = manager.request_activation("IT00743110157")
        assert isinstance(sent, CodeSent)
        ticket = manager.verify_code(sent.request_id, "123456")
        assert [installation.name for installation in ticket.installations] == ["Milano", "Bergamo"]
        outcome = manager.activate({"ticket": ticket.ticket, "installation_id": "ins_2"})
    assert outcome.ok
    assert site.state().labels["installation"]["name"] == "Bergamo"


def test_skips_the_code_within_a_window_that_the_customer_opened(site: Site) -> None:
    site.cloud.open_window = True
    with site.manager() as manager:
        assert isinstance(manager.request_activation("IT00743110157"), Ticket)


def test_wrong_code_tells_how_many_tries_are_left(site: Site) -> None:
    with site.manager() as manager, pytest.raises(Refused) as caught:
        manager.verify_code("req_1", "000000")
    assert caught.value.code == "CODE_WRONG"
    assert caught.value.members["tries_left"] == 4


def test_a_request_id_can_not_lead_to_another_path(site: Site) -> None:
    with site.manager() as manager, pytest.raises(Refused):
        manager.verify_code("../activations?x=", "123456")
    assert "/v1/activation-requests/..%2Factivations%3Fx%3D/verify" in str(site.cloud.requests[-1][1].url)


def test_lost_answer_is_asked_for_again_with_the_same_request(site: Site) -> None:
    site.cloud.lose_answers = 1
    with pytest.raises(Unreachable):
        site.activate()
    site.pass_time(30)
    outcome = site.activate()
    first, *rest = [body for number, body in site.cloud.posts("/v1/activations") if number == 1]
    assert rest == [first]
    assert outcome.first
    assert site.cloud.servers["ins_1"].gen == 1


@pytest.mark.parametrize("reached", [True, False])
def test_an_activation_that_was_answered_is_not_forgotten_where_the_key_set_is_not_to_be_had(
    site: Site, reached: bool
) -> None:
    def no_key_set(number: int, request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/v1/keyset":
            return None
        if not reached:
            raise httpx.ConnectError("refused", request=request)
        return problem(429, "TOO_MANY_REQUESTS", "Slowly.")

    site.cloud.intruder = no_key_set
    with pytest.raises(Unreachable):
        site.activate()
    site.cloud.intruder = None
    assert site.activate().first
    assert site.cloud.servers["ins_1"].gen == 1


def test_unanswered_activation_can_be_repeated_without_asking_anything(site: Site) -> None:
    site.cloud.lose_answers = 1
    with site.manager() as manager:
        with pytest.raises(Unreachable):
            manager.activate({"activation_token": "AT-MILANO"})
        assert manager.unanswered_activation()
        assert manager.repeat_activation().first
        assert not manager.unanswered_activation()


def test_the_nonce_is_on_disk_before_anything_is_sent(site: Site) -> None:
    seen = []

    def look(number: int, request: httpx.Request) -> None:
        if request.url.path == "/v1/activations":
            seen.append(site.raw_state()["activation"]["nonce"])

    site.cloud.intruder = look
    site.activate()
    assert seen == [site.cloud.posts("/v1/activations")[0][1]["nonce"]]


def test_late_answer_to_a_repeated_activation_is_validated_once_more(site: Site) -> None:
    site.cloud.lose_answers = 1
    with pytest.raises(Unreachable):
        site.activate()
    answer = next(iter(site.cloud.servers["ins_1"].answers.values()))
    site.pass_time(days=3)
    answer["server_time"] = "2026-11-25T11:00:00Z"
    outcome = site.activate()
    assert (outcome.detail, outcome.ok) == ("Operation completed", True)
    assert site.check().silent_days == 0


def test_another_target_makes_another_request(site: Site) -> None:
    with pytest.raises(Refused, match="not known"):
        site.activate("AT-WRONG")
    assert not site.manager().unanswered_activation()
    site.activate()
    (_, wrong), (_, right) = site.cloud.posts("/v1/activations")
    assert wrong["nonce"] != right["nonce"]


def test_taken_installation_is_refused_with_the_way_out(site: Site) -> None:
    server = site.cloud.servers["ins_1"]
    server.status, server.fingerprint = "active", {"machine_id": "other"}
    with pytest.raises(Refused, match="Release it in the portal") as caught:
        site.activate()
    assert caught.value.code == "INSTALLATION_TAKEN"


def test_the_machine_that_holds_an_installation_may_activate_it_again(site: Site) -> None:
    site.activate()
    (site.path / "state.json").unlink()
    assert site.activate().first
    assert site.state().floor == {"installation_id": "ins_1", "generation": 2, "sequence": 0}


def test_standby_site_is_named_when_it_turns_an_activation_down(site: Site) -> None:
    site.cloud.refuse_connection(1)
    with pytest.raises(Unreachable, match="Activation and deactivation are served by Site 1 only") as caught:
        site.activate()
    assert caught.value.retry_after == 60


def test_token_bound_to_another_key_is_refused(site: Site) -> None:
    def rebind(number: int, request: httpx.Request) -> httpx.Response | None:
        if number != 1 or request.url.path != "/v1/activations":
            return None
        answer = site.cloud._route(number, request).json()
        server = site.cloud.servers["ins_1"]
        claims = site.cloud.token_claims(server, answer["nonce"])
        answer["server_token"] = site.cloud.signer.sign({**claims, "cnf": {"jkt": "x" * 43}}, "server+jwt")
        return httpx.Response(201, json=answer)

    site.cloud.intruder = rebind
    with pytest.raises(Untrusted, match="another key"):
        site.activate()


def test_answer_about_another_installation_than_chosen_is_refused(site: Site) -> None:
    site.cloud.open_window = True
    with site.manager() as manager:
        ticket = manager.request_activation("IT00743110157")
        assert isinstance(ticket, Ticket)

        def swap(number: int, request: httpx.Request) -> httpx.Response | None:
            if number != 1 or request.url.path != "/v1/activations":
                return None
            answer = site.cloud._route(number, request).json()
            claims = site.cloud.token_claims(site.cloud.servers["ins_1"], answer["nonce"])
            answer["server_token"] = site.cloud.signer.sign({**claims, "sub": "ins_2"}, "server+jwt")
            return httpx.Response(201, json=answer)

        site.cloud.intruder = swap
        with pytest.raises(Untrusted, match="another installation"):
            manager.activate({"ticket": ticket.ticket, "installation_id": "ins_1"})


def test_activation_keeps_the_vendor_profile_for_later_commands(site: Site) -> None:
    manager = site.manager()
    manager._profile_content = b"{}"
    with manager:
        manager.activate({"activation_token": "AT-MILANO"})
    assert (site.path / "vendor.json").read_bytes() == b"{}"


def test_the_vendor_profile_is_there_before_a_product_can_see_the_token(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def crash(home: object, state: states.State) -> None:
        if state.server_token is not None:
            seen.append((site.path / "vendor.json").exists())
        kept(site.home, state)

    kept = states.save
    monkeypatch.setattr(states, "save", crash)
    manager = site.manager()
    manager._profile_content = b"{}"
    with manager:
        manager.activate({"activation_token": "AT-MILANO"})
    assert set(seen) == {True}


@pytest.mark.parametrize("code", ["APP_VERSION_TOO_OLD", "AGENT_VERSION_TOO_OLD"])
def test_a_refused_activation_is_asked_for_anew_with_what_has_changed(code: str, site: Site) -> None:
    site.home.prepare()
    settings.update(site.home, {"app_version": "Summer 2023"})
    site.cloud.intruder = lambda number, request: problem(403, code, "No.")
    with pytest.raises(Refused):
        site.activate()
    site.cloud.intruder = None
    settings.update(site.home, {"app_version": "Summer 2026"})
    site.computer.fingerprint["mac"] = "changed"
    assert site.activate().first
    (_, before), (_, after) = site.cloud.posts("/v1/activations")
    assert (before["app_version"], after["app_version"]) == ("Summer 2023", "Summer 2026")
    for changed in ("nonce", "public_key", "fingerprint"):
        assert before[changed] != after[changed]


def test_being_asked_to_slow_down_does_not_forget_an_activation_whose_answer_was_lost(site: Site) -> None:
    site.cloud.lose_answers = 1
    with pytest.raises(Unreachable):
        site.activate()
    site.cloud.intruder = lambda number, request: problem(429, "TOO_MANY_REQUESTS", "Slowly.")
    with pytest.raises(Refused):
        site.activate()
    site.cloud.intruder = None
    assert site.activate().first
    assert site.cloud.servers["ins_1"].gen == 1


def lose_answer_to_activation(site: Site, token: str) -> None:
    site.cloud.lose_answers = 1
    with pytest.raises(Unreachable):
        site.activate(token)


def test_a_validation_settles_an_activation_of_this_installation_whose_answer_was_lost(site: Site) -> None:
    site.activate()
    lose_answer_to_activation(site, "AT-MILANO")
    assert site.validate().first
    assert site.state().floor == {"installation_id": "ins_1", "generation": 2, "sequence": 0}
    assert site.validate().detail == "Operation completed"


def test_a_validation_goes_on_where_an_activation_never_arrived(site: Site) -> None:
    site.activate()
    site.cloud.refuse_connection(1)
    with pytest.raises(Unreachable):
        site.activate()
    assert not site.manager().unanswered_activation()
    assert site.validate().site == 2


def test_an_activation_whose_answer_was_lost_waits_for_site_1_while_the_product_works_on(site: Site) -> None:
    site.activate()
    lose_answer_to_activation(site, "AT-MILANO")
    site.cloud.refuse_connection(1)
    with pytest.raises(Unreachable, match="Site 1 can't be reached now"):
        site.validate()
    assert site.check().allowed
    site.cloud.down.clear()
    assert site.validate().first


def test_an_unanswered_activation_that_was_refused_after_all_lets_the_no_count(site: Site) -> None:
    site.activate()
    lose_answer_to_activation(site, "AT-MILANO")
    site.cloud.tokens.clear()
    assert site.validate().code == "INSTALLATION_RELEASED"
    assert not site.check().allowed


@pytest.mark.parametrize("arrives", [True, False])
def test_a_validation_never_turns_this_server_into_another_installation(arrives: bool, site: Site) -> None:
    site.activate()
    if not arrives:
        site.cloud.refuse_connection(1)
        site.cloud.refuse_connection(2)
    lose_answer_to_activation(site, "AT-BERGAMO")
    site.cloud.down.clear()
    site.cloud.lose_answers = 0
    assert site.validate().detail == "Operation completed"
    assert site.state().labels["installation"]["name"] == "Milano"
    assert site.activate("AT-BERGAMO").first


def test_a_released_server_does_not_become_another_installation_by_itself(site: Site) -> None:
    site.activate()
    lose_answer_to_activation(site, "AT-BERGAMO")
    site.cloud.servers["ins_1"].status = "available"
    with pytest.raises(Untrusted, match="another installation"):
        site.validate()
    assert site.activate("AT-BERGAMO").first


def test_an_activation_that_was_refused_does_not_stand_in_the_way_of_validations(site: Site) -> None:
    site.activate()
    with site.manager() as manager, pytest.raises(Refused):
        manager.activate({"activation_token": "AT-WRONG"})
    assert site.validate().detail == "Operation completed"
