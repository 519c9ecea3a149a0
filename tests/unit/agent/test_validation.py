from __future__ import annotations

import json
from typing import Any

import httpx
import jwt
import pytest
from license_manager import journal, settings
from license_manager.errors import NotActivated, Refused, StateDamaged, Unreachable, Untrusted
from license_manager.reporting import report

from tests.unit.agent.conftest import Site
from tests.unit.agent.fake_cloud import ISSUER, SITES, Key, problem


def test_validation_completes_and_moves_on(site: Site) -> None:
    site.activate()
    site.pass_time(days=1)
    outcome = site.validate()
    assert (outcome.detail, outcome.first, outcome.site) == ("Operation completed", False, 1)
    assert site.state().floor == {"installation_id": "ins_1", "generation": 1, "sequence": 1}


def test_changed_quantities_arrive_with_nobody_doing_anything(site: Site) -> None:
    site.activate()
    site.cloud.entitlements[0]["quantity"] = 30
    site.validate()
    assert site.check().quantity("advanced-queueing") == 30


def test_a_token_too_long_for_a_header_goes_in_the_body(site: Site) -> None:
    many = [{**site.cloud.entitlements[0], "license_code": f"AQ-MANY-{n:04d}"} for n in range(60)]
    site.cloud.entitlements = many
    site.activate()
    assert site.validate().ok
    site.manager().deactivate()
    assert site.cloud.servers["ins_1"].status == "available"


def test_needs_an_activation_first(site: Site) -> None:
    with pytest.raises(NotActivated):
        site.validate()


def test_lost_answer_repeats_the_nonce(site: Site) -> None:
    site.activate()
    site.cloud.lose_answers = 2
    with pytest.raises(Unreachable):
        site.validate()
    site.validate()
    nonces = [body["nonce"] for _, body in site.cloud.posts("/v1/validations")]
    assert len(nonces) == 3
    assert len(set(nonces)) == 1
    assert site.cloud.servers["ins_1"].seq == 1


def test_each_validation_that_was_answered_takes_a_new_nonce(site: Site) -> None:
    site.activate()
    site.validate()
    site.validate()
    (_, first), (_, second) = site.cloud.posts("/v1/validations")
    assert first["nonce"] != second["nonce"]


@pytest.mark.parametrize("status", [401, 403, 422, 429, 500, 503])
def test_what_is_not_signed_keeps_the_nonce(status: int, site: Site) -> None:
    site.activate()
    site.cloud.intruder = lambda number, request: problem(status, "INVALID_TOKEN", "No.")
    with pytest.raises((Refused, Unreachable)):
        site.validate()
    nonce = site.raw_state()["pending"]["nonce"]
    site.cloud.intruder = None
    site.validate()
    assert {body["nonce"] for _, body in site.cloud.posts("/v1/validations")} == {nonce}
    assert site.state().pending is None


def test_fails_over_with_the_same_nonce_and_a_proof_of_its_own(site: Site) -> None:
    site.activate()
    site.cloud.refuse_connection(1)
    outcome = site.validate()
    assert outcome.site == 2
    (one, first), (two, second) = site.cloud.posts("/v1/validations")
    assert (one, two) == (1, 2)
    assert first["nonce"] == second["nonce"]
    proofs = {request.headers["dpop"] for _, request in site.cloud.requests[-2:]}
    assert len(proofs) == 2


def test_returns_to_site_1_by_itself(site: Site) -> None:
    site.activate()
    site.cloud.refuse_connection(1)
    assert site.validate().site == 2
    site.cloud.down.clear()
    assert site.validate().site == 1


def test_server_errors_fail_over(site: Site) -> None:
    site.activate()
    site.cloud.intruder = lambda number, request: httpx.Response(502, text="bad") if number == 1 else None
    assert site.validate().site == 2


def test_answers_are_not_failed_over(site: Site) -> None:
    site.activate()
    site.cloud.intruder = lambda number, request: problem(401, "INVALID_TOKEN", "Not known.")
    with pytest.raises(Refused, match="Not known"):
        site.validate()
    assert [number for number, _ in site.cloud.posts("/v1/validations")] == [1]


def test_manual_choice_sticks(site: Site) -> None:
    site.activate()
    settings.save(site.home, settings.Settings(site="2"))
    assert site.validate().site == 2
    site.cloud.refuse_connection(2)
    with pytest.raises(Unreachable):
        site.validate()
    assert {number for number, _ in site.cloud.posts("/v1/validations")} == {2}


def test_unreachable_names_each_site_and_its_fault(site: Site) -> None:
    site.activate()
    site.cloud.refuse_connection(1)
    site.cloud.refuse_connection(2)
    with pytest.raises(Unreachable, match=r"Site 1: site1.* refuses .* Site 2: site2.* refuses"):
        site.validate()
    assert "refuses the connection" in site.state().last_attempt["detail"]  # type: ignore[index]


def test_a_final_no_beats_grace_at_once(site: Site) -> None:
    site.activate()
    site.cloud.no = ("INSTALLATION_DISABLED", True)
    outcome = site.validate()
    assert (outcome.ok, outcome.code, outcome.final) == (False, "INSTALLATION_DISABLED", True)
    check = site.check()
    assert (check.allowed, check.status, check.code) == (False, "refused", "INSTALLATION_DISABLED")
    assert "licenses@aurora.example" in check.reason


def test_success_after_a_final_no_unblocks(site: Site) -> None:
    site.activate()
    site.cloud.no = ("INSTALLATION_DISABLED", True)
    site.validate()
    site.cloud.no = None
    assert site.validate().ok
    assert site.check().allowed


def test_any_other_no_only_withholds_a_fresh_token(site: Site) -> None:
    site.activate()
    site.cloud.no = ("NO_LICENSE", False)
    site.pass_time(days=1)
    site.validate()
    check = site.check()
    assert (check.allowed, check.status, check.code) == (True, "ok", "NO_LICENSE")
    site.pass_time(days=10)
    site.validate()
    assert (site.check().allowed, site.check().status) == (False, "blocked")


def test_a_no_is_asked_about_again_within_a_day(site: Site) -> None:
    site.activate()
    site.cloud.no = ("NO_LICENSE", False)
    site.validate()
    state = site.state()
    assert state.next_validation_at == site.cloud.now + 86400


def rewrite(site: Site, change: Any) -> None:
    """Lets somebody in between change each validation's answer."""

    def intruder(number: int, request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/v1/validations":
            return None
        answer = site.cloud._route(number, request).json()
        change(answer)
        return httpx.Response(200, json=answer)

    site.cloud.intruder = intruder


def claims_now(site: Site, answer: dict[str, Any]) -> dict[str, Any]:
    return site.cloud.token_claims(site.cloud.servers["ins_1"], answer["nonce"])


def test_a_forged_yes_changes_nothing(site: Site) -> None:
    site.activate()
    before = site.raw_state()["server_token"]
    forger = Key()
    rewrite(site, lambda answer: answer.update(server_token=forger.sign(claims_now(site, answer), "server+jwt")))
    with pytest.raises(Untrusted):
        site.validate()
    state = site.raw_state()
    assert state["server_token"] == before
    assert state["pending"]["kind"] == "validation"


def test_an_unsigned_no_changes_nothing(site: Site) -> None:
    site.activate()
    no = {"valid": False, "code": "CUSTOMER_DELETED", "final": True, "detail": "Gone."}
    rewrite(site, lambda answer: (answer.clear(), answer.update(no)))
    with pytest.raises(Untrusted):
        site.validate()
    assert site.check().allowed


def test_only_the_outstanding_nonce_is_accepted(site: Site) -> None:
    site.activate()
    site.validate()
    old = site.raw_state()["server_token"]
    rewrite(site, lambda answer: answer.update(server_token=old))
    with pytest.raises(Untrusted, match="another request"):
        site.validate()


def test_never_a_lower_sequence(site: Site) -> None:
    site.activate()
    site.validate()
    site.validate()

    def lower(answer: dict[str, Any]) -> None:
        answer["server_token"] = site.cloud.signer.sign({**claims_now(site, answer), "seq": 1}, "server+jwt")

    rewrite(site, lower)
    with pytest.raises(Untrusted, match="older"):
        site.validate()


def test_a_restored_table_that_moves_forward_again_is_accepted(site: Site) -> None:
    site.activate()
    site.validate()
    site.cloud.servers["ins_1"].seq = 7
    site.edit_state(server_token=site.raw_state()["server_token"])
    rewrite(
        site,
        lambda answer: answer.update(
            valid=True, server_token=site.cloud.signer.sign(claims_now(site, answer), "server+jwt")
        ),
    )
    site.cloud.servers["ins_1"].seq = 1
    assert site.validate().ok


def test_key_set_is_fetched_once_a_day(site: Site) -> None:
    def fetched() -> int:
        return sum(1 for _, request in site.cloud.requests if request.url.path == "/v1/keyset")

    site.activate()
    site.validate()
    assert fetched() == 1
    site.pass_time(days=1.1)
    site.validate()
    assert fetched() == 2


def test_unknown_key_leads_to_a_fresh_key_set(site: Site) -> None:
    site.activate()
    site.cloud.signer = Key()
    site.cloud.published.append(site.cloud.signer)
    site.cloud.key_set_version = 2
    assert site.validate().ok


def test_a_key_revoked_since_is_refused(site: Site) -> None:
    site.activate()
    site.pass_time(days=1.1)
    site.cloud.revoked = [site.cloud.signer.kid]
    site.cloud.key_set_version = 2
    with pytest.raises(Untrusted, match="revoked"):
        site.validate()
    assert site.check().code == "KEY_REVOKED"


def test_key_set_never_goes_back_to_a_lower_version(site: Site) -> None:
    site.cloud.key_set_version = 5
    site.cloud.revoked = ["stolen"]
    site.activate()
    site.cloud.key_set_version = 4
    site.cloud.revoked = []
    site.pass_time(days=1.1)
    assert site.validate().ok
    kept = site.manager().state().key_set
    assert kept is not None
    assert jwt.decode(kept, options={"verify_signature": False})["version"] == 5
    stolen = Key()
    site.cloud.published.append(stolen)
    site.cloud.signer = stolen
    with pytest.raises(Untrusted, match="older list of keys"):
        site.validate()


def test_forged_key_set_behind_an_installed_ca_is_refused(site: Site) -> None:
    site.activate()
    forger = Key()

    def forge(number: int, request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/v1/keyset":
            forged = site.cloud.key_set(root=Key(), keys=[{**forger.jwk, "use": "server"}], version=99)
            return httpx.Response(200, text=forged, headers={"content-type": "application/jose"})
        if request.url.path == "/v1/validations":
            answer = site.cloud._route(number, request).json()
            answer["server_token"] = forger.sign(claims_now(site, answer), "server+jwt")
            return httpx.Response(200, json=answer)
        return None

    site.cloud.intruder = forge
    with pytest.raises(Untrusted, match="was not signed by the vendor's root") as caught:
        site.validate()
    assert caught.value.exit_code == 1
    assert ISSUER not in caught.value.detail
    assert site.check().allowed


def test_clock_that_is_off_is_corrected_once_and_told(site: Site) -> None:
    site.activate()
    site.computer.wall += 7200
    outcome = site.validate()
    assert outcome.ok
    assert [number for number, _ in site.cloud.posts("/v1/validations")] == [1, 1]
    assert outcome.notes == ("This server's clock is 2 hours ahead of the vendor's. Set it right (NTP).",)


def test_a_site_that_always_says_the_clock_is_off_is_not_asked_for_ever(site: Site) -> None:
    site.activate()
    skewed = problem(401, "CLOCK_SKEWED", "Off.", server_time="2030-01-01T00:00:00Z")
    site.cloud.intruder = lambda number, request: skewed
    with pytest.raises(Refused) as caught:
        site.validate()
    assert caught.value.code == "CLOCK_SKEWED"
    assert len(site.cloud.posts("/v1/validations")) == 2


def test_late_answer_to_an_old_nonce_is_validated_once_more(site: Site) -> None:
    site.activate()
    site.cloud.lose_answers = 2
    with pytest.raises(Unreachable):
        site.validate()
    site.pass_time(days=2)
    for answer in site.cloud.servers["ins_1"].answers.values():
        answer["server_time"] = "2026-11-24T11:00:00Z"
    outcome = site.validate()
    assert site.cloud.servers["ins_1"].seq == 2
    assert site.check().silent_days == 0
    assert "validated once more" in outcome.notes[0]


def test_damaged_state_is_kept_and_activation_offered(site: Site) -> None:
    site.activate()
    (site.path / "state.json").write_bytes(b'{"format": 1, "server_tok')
    with pytest.raises(StateDamaged, match=r"copy is kept as .*state\.damaged-20261122T110000Z\.json.* Activate"):
        site.validate()
    assert (site.path / "state.damaged-20261122T110000Z.json").read_bytes() == b'{"format": 1, "server_tok'
    assert site.activate().first


def test_sends_what_the_product_reported(site: Site) -> None:
    site.activate()
    report(app_version="Winter 2020", databases=["orders"], usage={"calls": 7}, home=site.path)
    site.validate()
    body = site.cloud.posts("/v1/validations")[-1][1]
    assert (body["app_version"], body["databases"], body["usage"]) == ("Winter 2020", ["orders"], {"calls": 7})


def test_request_says_who_asks_and_follows_no_redirect(site: Site) -> None:
    site.activate()
    request = site.cloud.requests[-1][1]
    assert request.headers["user-agent"].startswith("license-manager/")
    elsewhere = httpx.Response(307, headers={"location": f"{SITES[0]}/elsewhere"})
    site.cloud.intruder = lambda number, request: elsewhere
    with pytest.raises(Unreachable, match="Something else answered"):
        site.validate()


def test_endless_answer_is_cut(site: Site) -> None:
    site.activate()
    flood = httpx.Response(200, content=b" " * 2_000_000, headers={"content-type": "application/json"})
    site.cloud.intruder = lambda number, request: flood
    with pytest.raises(Unreachable, match="too large"):
        site.validate()


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"valid": true}', b"[" * 50_000])
def test_rubbish_with_status_200_changes_nothing(body: bytes, site: Site) -> None:
    site.activate()
    before = site.raw_state()["server_token"]
    site.cloud.intruder = lambda number, request: httpx.Response(
        200, content=body, headers={"content-type": "application/json"}
    )
    with pytest.raises((Unreachable, Untrusted)):
        site.validate()
    assert site.raw_state()["server_token"] == before


def test_deactivation_gives_the_installation_back_and_forgets_the_token(site: Site) -> None:
    site.activate()
    with site.manager() as manager:
        assert manager.deactivate() == "Milano"
    state = site.raw_state()
    assert (state["server_token"], state["private_key"], state["pending"]) == (None, None, None)
    assert site.cloud.servers["ins_1"].status == "available"
    assert site.activate().first


def test_deactivation_settles_a_lost_validation_first(site: Site) -> None:
    site.activate()
    site.cloud.lose_answers = 2
    with pytest.raises(Unreachable):
        site.validate()
    with site.manager() as manager:
        manager.deactivate()
    assert site.cloud.requests[-2][1].url.path == "/v1/validations"


def test_deactivation_settles_an_activation_whose_answer_was_lost(site: Site) -> None:
    site.activate()
    site.cloud.lose_answers = 1
    with pytest.raises(Unreachable):
        site.activate()
    with site.manager() as manager:
        assert manager.deactivate() == "Milano"
    assert site.cloud.servers["ins_1"].status == "available"


def test_json_of_a_filter_in_between_is_not_the_vendors_answer(site: Site) -> None:
    site.activate()
    blocked = httpx.Response(451, json={"message": "legal", "code": "BLOCKED"})
    site.cloud.intruder = lambda number, request: blocked if number == 1 else None
    assert site.validate().site == 2


def test_what_can_not_be_written_down_is_not_sent(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.activate()
    site.cloud.lose_answers = 2
    with pytest.raises(Unreachable):
        site.validate()
    sent = len(site.cloud.requests)
    full = OSError(28, "No space left on device")
    monkeypatch.setattr("license_manager.home.Home.write", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match="No space"):
        site.validate()
    assert len(site.cloud.requests) == sent


def test_every_command_is_logged_and_no_secret_is(site: Site) -> None:
    site.activate()
    site.validate()
    site.cloud.refuse_connection(1)
    site.cloud.refuse_connection(2)
    with pytest.raises(Unreachable):
        site.validate()
    entries = journal.entries(site.home)
    assert [(entry["command"], entry["result"]) for entry in entries] == [
        ("activate", "ok"),
        ("validate", "ok"),
        ("validate", "failed"),
    ]
    text = json.dumps(entries)
    state = site.raw_state()
    for secret in ("AT-MILANO", state["server_token"], state["private_key"], state["pending"]["nonce"]):
        assert secret not in text


def test_what_the_cloud_says_can_not_move_the_cursor(site: Site) -> None:
    site.cloud.messages = [{"code": "X", "detail": "\x1b[2Jgone\r\nnew"}]
    assert site.activate().messages == ("[2Jgone  new",)
