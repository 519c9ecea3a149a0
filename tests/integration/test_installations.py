"""Licenses, installations and allocations over the API (B4, B5, B8)."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from licensing import activation, administration, allocations
from licensing.contract import Activation
from licensing.errors import StaleVersion
from licensing.rules.accounts import Account
from licensing.rules.allocations import Cell, rows
from licensing.store import accounts, servers
from licensing.store.tables import Item
from licensing.store.vendor import catalogue

from tests.integration.test_failures import before_the_write, faults
from tests.support.cloud import TAX_ID, VENDOR, Cloud, Server, problem
from tests.support.visitor import GIULIA, Caller


class Here:
    """The customer of the tests, by the API of one of its users."""

    def __init__(self, cloud: Cloud, username: str = GIULIA) -> None:
        self.cloud, self.call = cloud, Caller(cloud, username).call
        self.customer_id = administration.find_account(TAX_ID).customer.customer_id
        self.path = f"/v1/customers/{self.customer_id}"

    @property
    def account(self) -> Account:
        account = accounts.read(self.customer_id)
        assert account
        return account

    def license(self, code: str) -> str:
        return next(key for key, each in self.account.licenses.items() if each.code == code)

    def server(self, name: str) -> str:
        return administration.find_installation(self.account, name)

    def one(self, name: str = "Milano") -> str:
        return f"{self.path}/installations/{self.server(name)}"

    def matrix(self) -> dict[str, Any]:
        response = self.call("GET", f"{self.path}/allocations")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def put(self, change: Callable[[dict[str, dict[str, int]]], object], **members: Any) -> Any:
        read = self.matrix()
        change(read["allocations"])
        body = {"version": read["version"], "allocations": read["allocations"], **members}
        return self.call("PUT", f"{self.path}/allocations", body)

    def assigned(self, code: str) -> dict[str, int]:
        license = self.account.licenses[self.license(code)]
        return {self.account.installations[at].name: n for at, n in license.allocations.items()}


@pytest.fixture
def here(cloud: Cloud) -> Here:
    return Here(cloud)


AQ, RED, CR, FAX, TRIAL, ENDED, LOCKED = (
    "AQ-7F3K-92MD", "AQ-5HRW-6PKC", "CR-2K8P-W4TX", "FX-9QHD-M3RN", "WC-4MZE-7Y2F", "AC-6XWN-3K9G", "IV-8RQB-5D7H",
)  # fmt: skip


# ── the matrix ──


def test_quantities_are_handed_out_in_one_save_and_reach_the_server_at_its_next_validation(
    here: Here, server: Server
) -> None:
    aq, milano, bergamo = here.license(AQ), here.server("Milano"), here.server("Bergamo")
    response = here.put(lambda matrix: matrix.update({aq: {milano: 22, bergamo: 18}}))
    assert response.status_code == 200, response.text
    assert here.assigned(AQ) == {"Milano": 22, "Bergamo": 18}
    assert response.json()["version"] == here.matrix()["version"] == here.account.version
    entitlements = server.validate().json()["entitlements"]
    assert [each["quantity"] for each in entitlements if each["license_code"] == AQ] == [22]


def test_what_is_left_out_gets_nothing(here: Here) -> None:
    assert here.put(lambda matrix: matrix.pop(here.license(AQ))).status_code == 200
    assert (here.assigned(AQ), here.assigned(FAX)) == ({}, {"Milano": 75, "Bergamo": 25})


def test_locked_licenses_are_invisible(here: Here) -> None:
    locked = here.license(LOCKED)
    assert locked not in here.matrix()["allocations"]
    assert LOCKED not in here.call("GET", f"{here.path}/licenses").text
    response = here.put(lambda matrix: matrix.update({locked: {here.server("Milano"): 1}}))
    assert problem(response) == (404, "NOT_FOUND")


def test_assigning_makes_the_activation_token(here: Here) -> None:
    created = here.call("POST", f"{here.path}/installations", {"name": "Roma"}).json()
    token = f"{here.path}/installations/{created['installation_id']}/activation-token"
    assert here.call("GET", token).json() == {"activation_token": None}
    here.put(lambda matrix: matrix[here.license(FAX)].update({here.server("Milano"): 65, here.server("Roma"): 10}))
    activation_token = here.call("GET", token).json()["activation_token"]
    assert Server(here.cloud, machine="roma").activate(activation_token).status_code == 201


@pytest.mark.parametrize("quantity", [-1, 1.5, 10**9 + 1, "10", True, None, 1e400, 10**400])
def test_a_quantity_that_is_none(here: Here, quantity: Any) -> None:
    body = f'{{"version": 1, "allocations": {{"{here.license(AQ)}": {{"{here.server("Milano")}": {quantity!r}}}}}}}'
    body = body.replace("'", '"').replace("True", "true").replace("None", "null").replace("inf", "1e400")
    token = here.cloud.stack.user_pool.token(GIULIA)
    assert token
    response = here.cloud.http.put(
        here.cloud.stack.sites[0].url + f"{here.path}/allocations",
        content=body,
        headers={"content-type": "application/json", "authorization": f"Bearer {token['access_token']}"},
    )
    assert response.status_code in (400, 422), response.text
    assert here.assigned(AQ) == {"Milano": 30, "Bergamo": 10}


def test_what_a_save_may_not_do(here: Here) -> None:
    aq, red, milano = here.license(AQ), here.license(RED), here.server("Milano")
    bergamo, ended, trial = here.server("Bergamo"), here.license(ENDED), here.license(TRIAL)
    offline = here.call("POST", f"{here.path}/installations", {"name": "Cave", "mode": "offline"}).json()
    cave = offline["installation_id"]
    refusals: list[tuple[dict[str, dict[str, int]], tuple[int, str]]] = [
        ({aq: {milano: 31, bergamo: 10}}, (409, "QUANTITY_EXCEEDED")),
        ({aq: {milano: 10**9}}, (409, "QUANTITY_EXCEEDED")),
        ({red: {milano: 1}}, (409, "REDUNDANCY_SERVER")),
        ({aq: {milano: 10}, red: {bergamo: 1}}, (200, "")),
        ({aq: {milano: 10, bergamo: 1}}, (409, "REDUNDANCY_SERVER")),
        ({ended: {bergamo: 3, milano: 1}}, (409, "LICENSE_OVER")),
        ({trial: {cave: 3}}, (409, "OFFLINE_NOT_ALLOWED")),
        ({here.license(FAX): {cave: 100}}, (200, "")),
        ({"lic_unknown": {milano: 1}}, (404, "NOT_FOUND")),
        ({aq: {"ins_unknown": 1}}, (404, "NOT_FOUND")),
        ({"x" * 5000: {milano: 1}}, (422, "INVALID_REQUEST")),
    ]  # fmt: skip
    for change, expected in refusals:
        before = here.account.licenses
        response = here.put(lambda matrix, change=change: matrix.update(change))
        found = problem(response) if response.is_error else (response.status_code, "")
        assert found == expected, change
        assert response.is_success or here.account.licenses == before


def test_nothing_of_another_customer_s_can_be_named(here: Here) -> None:
    other = administration.find_account("SE5565678900")
    (umea,), foreign = other.installations, next(iter(other.licenses))
    for change in ({foreign: {here.server("Milano"): 1}}, {here.license(AQ): {umea: 1}}):
        assert problem(here.put(lambda matrix, change=change: matrix.update(change))) == (404, "NOT_FOUND")
    path = f"{here.path}/installations/{umea}"
    for method, tail in [
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/disable"), ("POST", "/enable"), ("POST", "/release"),
        ("GET", "/activation-token"), ("POST", "/activation-token"), ("POST", "/clone-decision"),
    ]:  # fmt: skip
        body = {"PATCH": {"name": "Mine"}}.get(method, {"decision": "release"} if "clone" in tail else None)
        assert problem(here.call(method, path + tail, body)) == (404, "NOT_FOUND"), tail
    assert administration.find_account("SE5565678900") == other


def test_an_old_version_changes_nothing_and_is_told(here: Here) -> None:
    aq, milano = here.license(AQ), here.server("Milano")
    read = here.matrix()
    assert here.put(lambda matrix: matrix.update({aq: {milano: 5}})).status_code == 200
    body = {"version": read["version"], "allocations": {**read["allocations"], aq: {milano: 7}}}
    response = here.call("PUT", f"{here.path}/allocations", body)
    assert problem(response) == (409, "STALE_VERSION")
    assert response.json()["version"] == here.account.version
    assert here.assigned(AQ) == {"Milano": 5}


@pytest.mark.parametrize("fault", ["timeout_after", "timeout_before", "conflict"])
def test_a_save_whose_answer_is_lost_took_effect_once_and_says_so(here: Here, fault: str) -> None:
    aq, milano = here.license(AQ), here.server("Milano")
    with faults(here.cloud, "dynamodb", fault, "TransactWriteItems", times=1) as hit:
        response = here.put(lambda matrix: matrix.update({aq: {milano: 5}}))
    assert hit
    assert response.status_code == 200, response.text
    assert here.assigned(AQ) == {"Milano": 5}
    # Repeated with the version it was read at, it succeeds too.
    body = {"version": response.json()["version"] - 1, "allocations": response.json()["allocations"]}
    assert here.call("PUT", f"{here.path}/allocations", body).status_code == 200


def test_parallel_saves_never_exceed_a_license(here: Here) -> None:
    """Ten people each read the table and want all of it for their own server at once: one of them gets it."""
    aq = here.license(AQ)
    assert here.put(lambda matrix: matrix.update({aq: {}})).status_code == 200
    names = [f"Server {n}" for n in range(6)]
    servers = [
        here.call("POST", f"{here.path}/installations", {"name": name}).json()["installation_id"] for name in names
    ]
    for _ in range(4):
        read, begin = here.matrix(), threading.Barrier(len(servers))

        def save(at: str, read: dict[str, Any] = read, begin: threading.Barrier = begin) -> int:
            begin.wait(10)
            body = {"version": read["version"], "allocations": {**read["allocations"], aq: {at: 40}}}
            return int(here.call("PUT", f"{here.path}/allocations", body).status_code)

        with ThreadPoolExecutor(len(servers)) as pool:
            answers = list(pool.map(save, servers))
        assert sorted(answers)[0] == 200
        assert set(answers) <= {200, 409}
        assert answers.count(200) == 1 or here.assigned(AQ) == {}
        assert sum(here.assigned(AQ).values()) == 40
        for standing in here.account.standings.values():
            quantities = [each.quantity for each in standing.entitlements if each.license_code == AQ]
            assert quantities == ([40] if standing.name in here.assigned(AQ) else [])
        assert here.put(lambda matrix: matrix.update({aq: {}})).status_code == 200


def test_saves_that_all_read_before_any_writes_give_the_license_away_once(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst case of the above: without the version's condition, each server would be told that it has all of it."""
    aq, count = here.license(AQ), 6
    servers_of_all = [
        here.call("POST", f"{here.path}/installations", {"name": f"Server {n}"}).json()["installation_id"]
        for n in range(count)
    ]
    assert here.put(lambda matrix: matrix.update({aq: {}})).status_code == 200
    matrix = here.matrix()
    read, together, mine = accounts.read, threading.Barrier(count), threading.local()

    def read_together(customer_id: str) -> Account | None:
        account = read(customer_id)
        if not hasattr(mine, "has_read"):
            mine.has_read = True
            together.wait(20)
        return account

    def save(at: str) -> bool:
        wanted = {**matrix["allocations"], aq: {at: 40}}
        try:
            allocations.save(here.customer_id, matrix["version"], wanted, VENDOR, here.cloud.now)
        except StaleVersion:
            return False
        return True

    with monkeypatch.context() as patched, ThreadPoolExecutor(count) as pool:
        patched.setattr(accounts, "read", read_together)
        saved = list(pool.map(save, servers_of_all))
    assert saved.count(True) == 1
    told = [
        each.quantity
        for standing in here.account.standings.values()
        for each in standing.entitlements
        if each.license_code == AQ
    ]
    assert told == [40]


def while_it_is_read(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], times: int) -> None:
    """Let somebody else act when a query has brought the licenses of an account, and not yet its version (its next page)."""
    query, left = Item.query.__func__, times  # type: ignore[attr-defined]

    def paged(cls: Any, *conditions: Any, **options: Any) -> Any:
        nonlocal left
        for item in query(cls, *conditions, page_size=1, **options):
            if item.sk == "PROFILE" and left:
                still, left = left - 1, 0  # what the other reads is whole
                act()
                left = still
            yield item

    monkeypatch.setattr(Item, "query", classmethod(paged))


def test_licenses_and_version_of_a_read_that_goes_on_are_of_one_moment(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    milano, bergamo = here.server("Milano"), here.server("Bergamo")
    aq = here.account.licenses[here.license(AQ)]
    row = next(row for row in rows(here.account, catalogue(), here.cloud.now) if aq in row.licenses)

    def other() -> None:
        wanted = {key: each.allocations for key, each in here.account.licenses.items() if each.state != "locked"}
        wanted[aq.license_id] = {bergamo: 40}
        allocations.save(here.customer_id, here.account.version, wanted, VENDOR, here.cloud.now)

    while_it_is_read(monkeypatch, other, 1)
    cells = [Cell(row.row_id, milano, 30, 20), Cell(row.row_id, bergamo, 10, 10)]
    with pytest.raises(allocations.Overtaken):
        allocations.save_cells(here.customer_id, cells, VENDOR, here.cloud.now)
    assert here.assigned(AQ) == {"Bergamo": 40}


def test_an_account_that_changes_whenever_it_is_read_can_not_be_written(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(["Roma", "Torino", "Genova"])

    def other() -> None:
        administration.create_installation(here.customer_id, next(names), None, "online", VENDOR, here.cloud.now)

    while_it_is_read(monkeypatch, other, 3)
    before = here.account
    assert sorted(each.name for each in before.installations.values()) == ["Bergamo", "Milano", "Roma", "Torino"]
    assert here.account.version == before.version + 1
    after = replace(before, customer=replace(before.customer, name="Officine"))
    with pytest.raises(accounts.StaleVersion):
        accounts.write(before, after, catalogue())


def test_a_save_between_reading_and_writing_is_seen(here: Here) -> None:
    aq, milano, bergamo = here.license(AQ), here.server("Milano"), here.server("Bergamo")

    def disable() -> None:
        administration.disable(here.customer_id, bergamo, VENDOR, here.cloud.now)

    with before_the_write(here.cloud, "TransactWriteItems", disable):
        response = here.put(lambda matrix: matrix.update({aq: {milano: 5, bergamo: 35}}))
    assert problem(response) in [(409, "STALE_VERSION"), (409, "INSTALLATION_DISABLED")]
    assert here.assigned(AQ) == {"Milano": 30}


# ── installations ──


def test_a_server_is_added_changed_and_deleted(here: Here) -> None:
    created = here.call("POST", f"{here.path}/installations", {"name": " Roma ", "purpose": "redundancy"})
    assert created.status_code == 201, created.text
    one = f"{here.path}/installations/{created.json()['installation_id']}"
    shown = here.call("GET", one).json()
    assert (shown["name"], shown["purpose"], shown["status"]) == ("Roma", "redundancy", "available")
    changed = here.call("PATCH", one, {"name": "Roma 2", "purpose": None}).json()
    assert (changed["name"], changed["purpose"], changed["mode"]) == ("Roma 2", None, "online")
    assert here.call("DELETE", one).status_code == 204
    assert problem(here.call("GET", one)) == (404, "NOT_FOUND")
    assert created.json()["installation_id"] not in here.account.standings


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "  "}, {"name": "x" * 65}, {"name": "a\u0000"}, {"name": "a", "purpose": "fun"},
     {"name": "a", "mode": "sometimes"}, {"name": "a", "disabled": True}, {"name": ["a"]}],
    ids=str,
)  # fmt: skip
def test_a_server_that_can_not_be_added(here: Here, body: Any) -> None:
    assert problem(here.call("POST", f"{here.path}/installations", body)) == (422, "INVALID_REQUEST")
    if "name" in body:
        assert problem(here.call("PATCH", here.one(), body)) == (422, "INVALID_REQUEST")


def test_a_name_is_its_server_s_own(here: Here) -> None:
    assert problem(here.call("POST", f"{here.path}/installations", {"name": "milano"})) == (
        409, "INSTALLATION_NAME_TAKEN",
    )  # fmt: skip
    assert problem(here.call("PATCH", here.one("Bergamo"), {"name": "MILANO"})) == (409, "INSTALLATION_NAME_TAKEN")
    assert here.call("PATCH", here.one(), {"name": "MILANO"}).status_code == 200


@pytest.mark.parametrize("body", [{"name": None}, {"mode": None}])
def test_name_and_mode_are_never_nothing(here: Here, body: Any) -> None:
    assert problem(here.call("PATCH", here.one(), body)) == (422, "INVALID_REQUEST")


def test_a_repeated_post_adds_one_server(here: Here) -> None:
    answers = [
        here.call("POST", f"{here.path}/installations", {"name": "Roma"}, idempotency_key="once") for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    reused = here.call("POST", f"{here.path}/installations", {"name": "Lodi"}, idempotency_key="once")
    assert problem(reused) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(here.account.installations) == 3


def test_subscriptions_and_trials_keep_a_server_online(here: Here) -> None:
    response = here.call("PATCH", here.one(), {"mode": "offline"})
    assert problem(response) == (409, "OFFLINE_NOT_ALLOWED")
    assert {AQ, TRIAL} <= set(response.json()["licenses"])
    milano, bergamo = here.server("Milano"), here.server("Bergamo")
    here.put(lambda matrix: matrix.update({key: {} for key in matrix if key != here.license(FAX)}))
    here.put(lambda matrix: matrix.update({here.license(FAX): {milano: 50, bergamo: 50}}))
    assert here.call("PATCH", here.one(), {"mode": "offline"}).json()["mode"] == "offline"


def test_an_installation_that_was_used_is_not_deleted(here: Here, server: Server) -> None:
    assert problem(here.call("DELETE", here.one("Bergamo"))) == (409, "INSTALLATION_IN_USE")  # something is assigned
    here.put(lambda matrix: matrix.clear())
    assert here.call("DELETE", here.one("Bergamo")).status_code == 204
    assert server.deactivate().status_code == 200
    assert problem(here.call("DELETE", here.one())) == (409, "INSTALLATION_IN_USE")  # a server was there


def test_deleting_and_activating_at_once_leaves_no_server_without_installation(here: Here) -> None:
    """By ticket: it names an installation, and unlike the activation token does not go with it."""
    administration.open_window(TAX_ID, timedelta(hours=1), VENDOR, here.cloud.now)
    here.put(lambda matrix: matrix.clear())
    ticket = here.cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}).json()["ticket"]

    def claim(name: str, server: Server) -> dict[str, Any]:
        return {"ticket": ticket, "installation_id": here.server(name), **server.body()}

    def activate() -> None:
        license = here.license(FAX)
        for quantities in ({here.server("Milano"): 1}, {}):
            allocations.save(here.customer_id, here.account.version, {license: quantities}, VENDOR, here.cloud.now)
            if quantities:
                body = Activation.model_validate(claim("Milano", Server(here.cloud)))
                assert activation.activate_server(body, None, here.cloud.now).valid

    with before_the_write(here.cloud, "TransactWriteItems", activate):
        assert problem(here.call("DELETE", here.one())) == (409, "INSTALLATION_IN_USE")
    late = Server(here.cloud, key=None, machine="late")
    ticket = here.cloud.post("/v1/activation-requests", {"tax_id": TAX_ID}).json()["ticket"]
    bergamo = here.server("Bergamo")
    here.put(lambda matrix: matrix.update({here.license(FAX): {bergamo: 1}}))
    body = claim("Bergamo", late)

    def delete() -> None:
        allocations.save(here.customer_id, here.account.version, {}, VENDOR, here.cloud.now)
        administration.remove_installation(here.customer_id, bergamo, VENDOR, here.cloud.now)

    with before_the_write(here.cloud, "TransactWriteItems", delete):
        assert problem(late.call("/v1/activations", body)) == (403, "TICKET_INVALID")
    assert not servers.get(bergamo)[0].held


def test_a_disabled_server_gets_a_final_no_and_its_quantities_are_free_and_marked(here: Here, server: Server) -> None:
    disabled = here.call("POST", here.one() + "/disable").json()
    assert disabled["status"] == "disabled"
    freed = next(each for each in disabled["items"] if each["code"] == AQ)["freed"]
    assert freed["quantity"] == 30
    assert freed["until"] == disabled["validate_before"]
    answer = server.validate().json()
    assert (answer["valid"], answer["code"], answer["final"]) == (False, "INSTALLATION_DISABLED", True)
    bergamo = here.server("Bergamo")
    assert here.put(lambda matrix: matrix.update({here.license(AQ): {bergamo: 40}})).status_code == 200
    assert problem(here.put(lambda matrix: matrix.update({here.license(FAX): {here.server("Milano"): 1}}))) == (
        409, "INSTALLATION_DISABLED",
    )  # fmt: skip
    here.cloud.stack.clock.advance(timedelta(days=12))
    assert all(each["freed"] is None for each in here.call("GET", here.one()).json()["items"])
    assert here.call("POST", here.one() + "/enable").json()["status"] == "blocked"


def test_disabled_while_it_validates(here: Here, server: Server) -> None:
    def disable() -> None:
        administration.disable(here.customer_id, here.server("Milano"), VENDOR, here.cloud.now)

    with before_the_write(here.cloud, "UpdateItem", disable):
        first = server.validate()
    assert first.status_code == 200
    answer = server.validate().json()
    assert (answer["valid"], answer["final"]) == (False, True)
    # Whatever the last answer was, the mark lasts as long as a token that it may have carried.
    items = here.call("GET", here.one()).json()["items"]
    assert all(each["freed"] for each in items)


def test_released_and_rotated(here: Here, server: Server) -> None:
    assert here.call("POST", here.one() + "/release").json()["status"] == "available"
    assert server.validate().json()["code"] == "INSTALLATION_RELEASED"
    old = here.cloud.token_of("Milano")
    first = here.call("POST", here.one() + "/activation-token", idempotency_key="rotate").json()
    assert here.call("POST", here.one() + "/activation-token", idempotency_key="rotate").json() == first
    assert problem(Server(here.cloud, machine="b").activate(old)) == (403, "ACTIVATION_TOKEN_INVALID")
    assert Server(here.cloud, machine="b").activate(first["activation_token"]).status_code == 201


def suspect(server: Server) -> None:
    for _ in range(4):
        backup = server.token
        server.validate()
        server.token = backup
        server.validate()


@pytest.mark.parametrize(("decision", "code"), [("settle", "VALID"), ("release", "INSTALLATION_RELEASED")])
def test_a_suspected_clone_waits_for_a_decision(here: Here, server: Server, decision: str, code: str) -> None:
    suspect(server)
    assert server.validate().json()["code"] == "CLONE_SUSPECTED"
    assert here.call("GET", here.one()).json()["clone_suspected_at"]
    assert (
        here.call("POST", here.one() + "/clone-decision", {"decision": decision}).json()["clone_suspected_at"] is None
    )
    assert server.validate().json()["code"] == code


@pytest.mark.parametrize("body", [{}, {"decision": "maybe"}, {"decision": None}])
def test_a_decision_that_is_none(here: Here, body: Any) -> None:
    assert problem(here.call("POST", here.one() + "/clone-decision", body)) == (422, "INVALID_REQUEST")


def test_lists_go_on(here: Here) -> None:
    for name in ("licenses", "installations"):
        whole = here.call("GET", f"{here.path}/{name}").json()
        assert whole["next_cursor"] is None
        found, cursor = [], ""
        while cursor is not None:
            page = here.call("GET", f"{here.path}/{name}?limit=1" + (f"&cursor={cursor}" if cursor else "")).json()
            found += page["items"]
            cursor = page["next_cursor"]
        assert found == whole["items"]
        for query in ("limit=0", "limit=101", "limit=x", "cursor=x", "cursor=e30="):
            assert problem(here.call("GET", f"{here.path}/{name}?{query}"))[0] == 422
