"""Activation end to end, over HTTP (A1-A3, A7)."""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from licensing import administration, identity

from tests.support.cloud import TAX_ID, VENDOR, Cloud, Server, new_nonce, problem

UNKNOWN_TAX_ID = "IT12345670017"


def ask(cloud: Cloud, tax_id: str = TAX_ID, **headers: str) -> dict[str, Any]:
    response = cloud.post("/v1/activation-requests", {"tax_id": tax_id}, **headers)
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


def ticket_of(cloud: Cloud) -> dict[str, Any]:
    asked = ask(cloud)
    response = cloud.post(f"/v1/activation-requests/{asked['request_id']}/verify", {"code": cloud.mailed_code()})
    assert response.status_code == 200, response.text
    ticket: dict[str, Any] = response.json()
    return ticket


def with_ticket(server: Server, ticket: dict[str, Any], name: str, **changes: Any) -> Any:
    chosen = next(each for each in ticket["installations"] if each["name"] == name)
    body = {"ticket": ticket["ticket"], "installation_id": chosen["installation_id"]}
    return server.took(server.call("/v1/activations", {**body, **server.body(), "public_key": server.jwk, **changes}))


def test_by_tax_id_code_and_choice(cloud: Cloud) -> None:
    ticket = ticket_of(cloud)
    assert ticket["customer"] == {"name": "Officine Lombarde S.p.A.", "tax_id": TAX_ID}
    assert [(each["name"], each["status"]) for each in ticket["installations"]] == [
        ("Bergamo", "available"),
        ("Milano", "available"),
    ]
    server = Server(cloud, report={"databases": ["main"]})
    response = with_ticket(server, ticket, "Milano")
    assert response.status_code == 201, response.text
    answer = response.json()
    assert answer["first_validation"] is True
    assert answer["detail"] == "First validation"
    assert answer["installation"]["name"] == "Milano"
    assert answer["databases"] == [
        {"name": "main", "activated_at": f"{cloud.now.astimezone(ZoneInfo('Europe/Rome')):%Y-%m-%d}"}
    ]
    assert {each["unit"] for each in answer["entitlements"]} >= {"channels", "users"}
    assert server.validate().json()["detail"] == "Operation completed"
    statuses = {each["name"]: each["status"] for each in ticket_of(cloud)["installations"]}
    assert statuses == {"Milano": "active", "Bergamo": "available"}


def test_the_mail_goes_to_the_registered_contact_in_text_and_html(cloud: Cloud) -> None:
    ask(cloud)
    code = cloud.mailed_code()
    mail = cloud.get("/local/outbox").json()["items"][0]
    assert mail["to"] == ["giulia.ferrario@officinelombarde.example"]
    assert code in mail["text"]
    assert code in mail["html"]
    assert TAX_ID in mail["text"]


def test_an_unknown_tax_id_gets_the_same_answer_and_no_mail(cloud: Cloud) -> None:
    known, unknown = ask(cloud), ask(cloud, UNKNOWN_TAX_ID)
    assert known.keys() == unknown.keys()
    assert {**known, "request_id": ""} == {**unknown, "request_id": ""}
    assert len(known["request_id"]) == len(unknown["request_id"])
    code = cloud.mailed_code()
    assert len(cloud.get("/local/outbox").json()["items"]) == 1
    wrong = [
        cloud.post(
            f"/v1/activation-requests/{asked['request_id']}/verify", {"code": "000000" if code != "000000" else "1" * 6}
        )
        for asked in (known, unknown)
    ]
    assert wrong[0].json() == wrong[1].json()
    assert problem(wrong[0]) == (403, "CODE_WRONG")


def test_even_the_right_code_of_an_unknown_tax_id_is_wrong(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "new_code", lambda: "123456")
    path = f"/v1/activation-requests/{ask(cloud, UNKNOWN_TAX_ID)['request_id']}/verify"
    assert problem(cloud.post(path, {"code": "123456"})) == (403, "CODE_WRONG")


def test_an_unknown_tax_id_costs_the_same_aws_calls_as_a_known_one(cloud: Cloud) -> None:
    def calls(tax_id: str) -> list[str]:
        made: list[str] = []
        # What the queue's function does happens behind the answer.
        function = cloud.stack.functions.all["RequestActivation"]

        def note(event: str, request: Any) -> None:
            if cloud.stack.functions.running is function:
                made.append(event)

        cloud.stack.aws.interceptor = note
        try:
            ask(cloud, tax_id)
        finally:
            cloud.stack.aws.interceptor = None
        return made

    known = calls(TAX_ID)
    assert known
    assert known == calls(UNKNOWN_TAX_ID)


def test_a_mistyped_tax_id_is_caught_at_once(cloud: Cloud) -> None:
    response = cloud.post("/v1/activation-requests", {"tax_id": "IT00743110158"})
    assert problem(response) == (422, "TAX_ID_INVALID")


def test_three_requests_an_hour_known_or_not(cloud: Cloud) -> None:
    for tax_id in (TAX_ID, UNKNOWN_TAX_ID):
        for _ in range(3):
            ask(cloud, tax_id)
        response = cloud.post("/v1/activation-requests", {"tax_id": tax_id})
        assert problem(response) == (429, "TOO_MANY_REQUESTS")
        assert 3500 < int(response.headers["retry-after"]) <= 3600
    cloud.stack.clock.advance(timedelta(minutes=61))
    ask(cloud)


def test_five_tries_of_a_code_then_even_the_right_one_is_refused(cloud: Cloud) -> None:
    asked = ask(cloud)
    code = cloud.mailed_code()
    path = f"/v1/activation-requests/{asked['request_id']}/verify"
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    left = [cloud.post(path, {"code": wrong}).json()["tries_left"] for _ in range(5)]
    assert left == [4, 3, 2, 1, 0]
    assert problem(cloud.post(path, {"code": code})) == (410, "CODE_EXPIRED")


def test_twenty_tries_a_day_over_all_requests(cloud: Cloud) -> None:
    statuses = []
    for _ in range(5):
        asked = ask(cloud)
        path = f"/v1/activation-requests/{asked['request_id']}/verify"
        statuses += [problem(cloud.post(path, {"code": "999999"}))[1] for _ in range(5)]
        cloud.stack.clock.advance(timedelta(minutes=30))
    assert statuses[:20] == ["CODE_WRONG"] * 20
    assert set(statuses[20:]) == {"TOO_MANY_REQUESTS"}


def test_a_code_ends_after_ten_minutes(cloud: Cloud) -> None:
    asked = ask(cloud)
    code = cloud.mailed_code()
    cloud.stack.clock.advance(timedelta(minutes=10))
    response = cloud.post(f"/v1/activation-requests/{asked['request_id']}/verify", {"code": code})
    assert problem(response) == (410, "CODE_EXPIRED")


def test_a_request_that_nobody_made(cloud: Cloud) -> None:
    response = cloud.post("/v1/activation-requests/req_00000000000000/verify", {"code": "123456"})
    assert problem(response) == (410, "CODE_EXPIRED")


def test_a_ticket_is_good_for_one_server(cloud: Cloud) -> None:
    ticket = ticket_of(cloud)
    assert with_ticket(Server(cloud), ticket, "Milano").status_code == 201
    assert problem(with_ticket(Server(cloud, machine="b"), ticket, "Bergamo")) == (403, "TICKET_INVALID")


def test_a_ticket_ends_after_fifteen_minutes(cloud: Cloud) -> None:
    ticket = ticket_of(cloud)
    cloud.stack.clock.advance(timedelta(minutes=15))
    assert problem(with_ticket(Server(cloud), ticket, "Milano")) == (403, "TICKET_INVALID")


def test_a_ticket_opens_no_other_customer_s_installation(cloud: Cloud) -> None:
    ticket = ticket_of(cloud)
    other = Server(cloud)
    other.activate(cloud.token_of("São Paulo"))
    foreign = {**ticket, "installations": [{"name": "x", "installation_id": other.claims["sub"]}]}
    assert problem(with_ticket(Server(cloud), foreign, "x")) == (403, "TICKET_INVALID")


@pytest.mark.parametrize("broken", ["", "req_x", "req_x.", ".", "x" * 200])
def test_a_ticket_that_is_none(cloud: Cloud, broken: str) -> None:
    body = {**Server(cloud).body(), "ticket": broken, "installation_id": "ins_1"}
    assert cloud.post("/v1/activations", body).status_code in (403, 422)


def test_in_an_open_window_the_tax_id_is_enough(cloud: Cloud) -> None:
    administration.open_window(TAX_ID, timedelta(hours=1), VENDOR, cloud.now)
    response = cloud.post("/v1/activation-requests", {"tax_id": TAX_ID})
    assert response.status_code == 200
    assert with_ticket(Server(cloud), response.json(), "Milano").status_code == 201
    cloud.stack.clock.advance(timedelta(hours=1))
    assert cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}).status_code == 202


@pytest.mark.parametrize("pasted", ["x", "not a token", "«»", "a" * 256])
def test_whatever_else_is_pasted_is_no_activation_token(cloud: Cloud, pasted: str) -> None:
    assert problem(Server(cloud).activate(pasted)) == (403, "ACTIVATION_TOKEN_INVALID")


def test_by_activation_token(cloud: Cloud) -> None:
    response = Server(cloud).activate(cloud.token_of("Milano"))
    assert response.status_code == 201
    assert response.json()["customer"]["tax_id"] == TAX_ID


def test_a_rotated_activation_token_is_unknown(cloud: Cloud) -> None:
    account = administration.find_account(TAX_ID)
    installation = administration.find_installation(account, "Milano")
    new = administration.rotate_activation_token(account.customer.customer_id, installation, VENDOR, cloud.now)
    old = Server(cloud).activate(cloud.token_of("Milano"))
    assert problem(old) == (403, "ACTIVATION_TOKEN_INVALID")
    assert Server(cloud).activate(new).status_code == 201


def test_an_installation_taken_by_another_machine(cloud: Cloud, server: Server) -> None:
    assert problem(Server(cloud, machine="b").activate(cloud.token_of("Milano"))) == (409, "INSTALLATION_TAKEN")
    administration.release_installation(server.claims["cus"], server.claims["sub"], VENDOR, cloud.now)
    assert Server(cloud, machine="b").activate(cloud.token_of("Milano")).status_code == 201
    assert server.validate().json()["code"] == "INSTALLATION_RELEASED"


def test_the_same_machine_activates_again_after_losing_its_state(cloud: Cloud, server: Server) -> None:
    old = server.token
    again = Server(cloud)
    assert again.activate(cloud.token_of("Milano")).status_code == 201
    assert (again.claims["gen"], again.claims["seq"]) == (2, 0)
    server.token = old
    assert server.validate().json()["code"] == "INSTALLATION_RELEASED"


def test_a_repeated_activation_repeats_its_answer_until_the_first_validation(cloud: Cloud) -> None:
    server, nonce = Server(cloud), new_nonce()
    first = server.activate(cloud.token_of("Milano"), nonce=nonce).json()
    cloud.stack.clock.advance(timedelta(minutes=5))
    second = server.activate(cloud.token_of("Milano"), nonce=nonce).json()
    assert first["validate_before"] == second["validate_before"]
    assert (server.claims["gen"], server.claims["seq"]) == (1, 0)
    server.validate()
    late = Server(cloud, key=server.key).activate(cloud.token_of("Milano"), nonce=nonce)
    assert problem(late) == (409, "INSTALLATION_TAKEN")
    assert server.validate().json()["valid"]


@pytest.mark.parametrize("meanwhile", ["deactivated", "activated again", "eight validations"])
def test_an_activation_that_comes_twice_begins_one_generation(cloud: Cloud, meanwhile: str) -> None:
    server, nonce = Server(cloud), new_nonce()
    server.activate(cloud.token_of("Milano"), nonce=nonce)
    goes_on = server
    if meanwhile == "deactivated":
        server.deactivate()
    elif meanwhile == "activated again":
        goes_on = Server(cloud)
        goes_on.activate(cloud.token_of("Milano"))
    else:
        assert all(server.validate().json()["valid"] for _ in range(9))
    late = Server(cloud, key=server.key).activate(cloud.token_of("Milano"), nonce=nonce)
    assert problem(late) == (409, "INSTALLATION_TAKEN")
    assert goes_on.validate().json()["valid"] == (meanwhile != "deactivated")


def test_a_ticket_repeats_its_answer_however_late_and_begins_nothing_again(cloud: Cloud) -> None:
    ticket, server, nonce = ticket_of(cloud), Server(cloud), new_nonce()
    assert with_ticket(server, ticket, "Milano", nonce=nonce).status_code == 201
    cloud.stack.clock.advance(timedelta(hours=5))
    server.token = ""
    assert with_ticket(server, ticket, "Milano", nonce=nonce).status_code == 201
    server.validate()
    again = Server(cloud, key=server.key)
    assert with_ticket(again, ticket, "Milano", nonce=nonce).status_code in (403, 409)
    assert with_ticket(again, ticket, "Milano").status_code == 403
    assert server.validate().json()["valid"]


@pytest.mark.parametrize("way", ["token", "ticket"])
@pytest.mark.parametrize("with_key", [True, False])
def test_an_activation_overheard_gives_its_token_to_no_other_key(cloud: Cloud, way: str, with_key: bool) -> None:
    victim, thief, nonce = Server(cloud), Server(cloud), new_nonce()
    ticket = ticket_of(cloud)
    if way == "ticket":
        with_ticket(victim, ticket, "Milano", nonce=nonce)
    else:
        victim.activate(cloud.token_of("Milano"), nonce=nonce)
    if not with_key:
        thief.key = None
    changes = {} if with_key else {"public_key": None}
    if way == "ticket":
        body = victim.body(nonce)
        ids = {each["name"]: each["installation_id"] for each in ticket["installations"]}
        claim = {"ticket": ticket["ticket"], "installation_id": ids["Milano"]}
        stolen = thief.call("/v1/activations", {**claim, **body, "public_key": thief.jwk if with_key else None})
    else:
        stolen = thief.activate(cloud.token_of("Milano"), nonce=nonce, **changes)
    assert stolen.status_code in (403, 409), stolen.text
    assert victim.validate().json()["valid"]


def test_a_suspected_clone_is_not_cleared_by_activating_again(cloud: Cloud, server: Server) -> None:
    copy = Server(cloud, key=server.key, token=server.token)
    for each in (server, copy) * 3:
        cloud.stack.clock.advance(timedelta(days=1))
        last = each.validate().json()["code"]
    assert last == "CLONE_SUSPECTED"
    assert problem(Server(cloud).activate(cloud.token_of("Milano"))) == (403, "CLONE_SUSPECTED")


def test_what_can_not_succeed_does_not_use_up_the_owner_s_day(cloud: Cloud) -> None:
    asked = ask(cloud)
    path = f"/v1/activation-requests/{asked['request_id']}/verify"
    for _ in range(20):
        cloud.post(path, {"code": "999999"})
    ticket_of(cloud)


def test_an_idempotency_key_is_no_way_to_guess_a_code(cloud: Cloud) -> None:
    asked = ask(cloud)
    path, code = f"/v1/activation-requests/{asked['request_id']}/verify", cloud.mailed_code()
    first = cloud.post(path, {"code": code}, idempotency_key="k" * 20)
    assert cloud.post(path, {"code": code}, idempotency_key="k" * 20).text == first.text
    guesses = [problem(cloud.post(path, {"code": f"{n:06d}"}, idempotency_key="k" * 20))[1] for n in range(6)]
    assert guesses == ["CODE_WRONG"] * 4 + ["CODE_EXPIRED"] * 2


def test_an_idempotency_key_replays_the_first_answer(cloud: Cloud) -> None:
    assert ask(cloud, idempotency_key="one") == ask(cloud, idempotency_key="one")
    for _ in range(2):
        ask(cloud, idempotency_key="one")  # replays are no new tries
    reused = cloud.post("/v1/activation-requests", {"tax_id": f"{TAX_ID} "}, idempotency_key="one")
    assert problem(reused) == (422, "IDEMPOTENCY_KEY_REUSED")
    ask(cloud, UNKNOWN_TAX_ID, idempotency_key="one")  # somebody else, with the same idea of a key
    cloud.mailed_code()
    assert len(cloud.get("/local/outbox").json()["items"]) == 1


def test_an_activation_is_replayed_to_the_letter_by_its_idempotency_key(cloud: Cloud) -> None:
    server = Server(cloud)
    body = {"activation_token": cloud.token_of("Milano"), **server.body(), "public_key": server.jwk}
    first, second = (server.call("/v1/activations", body, idempotency_key="k" * 16) for _ in range(2))
    assert (first.status_code, first.text) == (second.status_code, second.text)


def test_activation_is_for_the_home_site(cloud: Cloud) -> None:
    server = Server(cloud, site=1)
    response = server.activate(cloud.token_of("Milano"))
    assert problem(response) == (503, "TEMPORARILY_UNAVAILABLE")
    assert response.headers["retry-after"]


def test_a_guard_refuses_an_activation_by_its_code(cloud: Cloud) -> None:
    response = Server(cloud).activate(cloud.token_of("Milano"), agent_version="0.0.1")
    assert problem(response) == (403, "AGENT_VERSION_TOO_OLD")


def test_a_client_without_a_key_sends_no_proof(cloud: Cloud) -> None:
    server = Server(cloud, key=None)
    assert server.activate(cloud.token_of("Milano")).status_code == 201
    assert "cnf" not in server.claims
    assert server.validate().json()["valid"]


def test_a_key_must_be_proven_at_activation(cloud: Cloud) -> None:
    server, other = Server(cloud), Server(cloud)
    response = server.activate(cloud.token_of("Milano"), public_key=other.jwk)
    assert problem(response) == (401, "INVALID_PROOF")
