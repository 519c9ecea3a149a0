"""The daily validation end to end, over HTTP (A3-A8, B5, B7, B10)."""

import json
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from licensing import administration, loading
from licensing.rules.accounts import Account
from licensing.store import key_sets, servers
from licensing.store.servers import ServerItem

from tests.support.cloud import TAX_ID, VENDOR, Cloud, Server, component, new_nonce, problem


def account() -> Account:
    return administration.find_account(TAX_ID)


def milano() -> str:
    return administration.find_installation(account(), "Milano")


def test_each_day_a_fresh_token(cloud: Cloud, server: Server) -> None:
    for day in range(1, 15):
        cloud.stack.clock.advance(timedelta(days=1))
        answer = server.validate().json()
        assert answer["valid"]
        assert answer["first_validation"] is False
        assert (server.claims["gen"], server.claims["seq"]) == (1, day)
        assert answer["nonce"] == server.claims["nonce"]


def test_an_answer_is_compressed_for_whoever_takes_that(cloud: Cloud, server: Server) -> None:
    def answered(coding: str) -> tuple[str | None, int, bool]:
        content = json.dumps(server.body()).encode()
        headers = {"authorization": f"Bearer {server.token}", "dpop": server.proof("/v1/validations", content)}
        response = cloud.post("/v1/validations", content, **headers, accept_encoding=coding)
        server.took(response)
        return (
            response.headers.get("content-encoding"),
            int(response.headers["content-length"]),
            response.json()["valid"],
        )

    plain, packed = answered("identity"), answered("gzip, deflate")
    assert plain[::2] == (None, True)
    assert packed[::2] == ("gzip", True)
    assert packed[1] < plain[1] / 2


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles"])
def test_the_token_ends_with_day_ten_where_the_server_is(cloud: Cloud, server: Server, zone: str) -> None:
    cloud.set_time("2027-01-05T12:00:00+00:00")
    answer = server.validate(time_zone=zone).json()
    ends = {"Pacific/Kiritimati": "2027-01-16T10:00:00Z", "America/Los_Angeles": "2027-01-16T08:00:00Z"}[zone]
    assert answer["validate_before"] == ends
    assert datetime.fromtimestamp(server.claims["exp"], UTC) == datetime.fromisoformat(ends)
    assert answer["next_validation_at"][:10] in ("2027-01-06", "2027-01-07")


def test_the_cloud_shows_blocked_from_the_second_the_token_ends(cloud: Cloud, server: Server) -> None:
    def shown() -> str:
        return administration.servers_of(account(), cloud.now)[milano()][0]

    end = datetime.fromtimestamp(server.claims["exp"], UTC)
    cloud.stack.clock.set(end - timedelta(seconds=1))
    assert shown() == "active"
    cloud.stack.clock.set(end)
    assert shown() == "blocked"


def test_a_blocked_server_comes_back_with_its_expired_token(cloud: Cloud, server: Server) -> None:
    cloud.stack.clock.advance(timedelta(days=60))
    assert server.validate().json()["valid"]


def test_a_lost_answer_is_repeated_and_nothing_is_doubled(cloud: Cloud, server: Server) -> None:
    token, nonce = server.token, new_nonce()
    server.validate(nonce)
    first = server.claims
    cloud.stack.clock.advance(timedelta(minutes=10))
    server.token = token
    server.validate(nonce)
    assert server.claims == first


def test_a_nonce_that_was_taken_with_the_token_that_it_gave_is_repeated_too(cloud: Cloud, server: Server) -> None:
    nonce = new_nonce()
    server.validate(nonce)
    first = server.claims
    cloud.stack.clock.advance(timedelta(minutes=10))
    server.validate(nonce)
    assert server.claims == first


def test_copies_of_one_state_directory_on_alternate_days_are_found_out(cloud: Cloud, server: Server) -> None:
    other = Server(cloud, key=server.key, token=server.token)
    codes = []
    for _ in range(3):
        for copy in (server, other):
            cloud.stack.clock.advance(timedelta(days=1))
            codes.append(copy.validate().json()["code"])
    assert codes == ["VALID"] * 4 + ["CLONE_SUSPECTED"] * 2
    administration.settle_clone(account().customer.customer_id, milano(), VENDOR, cloud.now)
    assert server.validate().json()["valid"]


def test_a_restored_backup_heals_and_is_told(cloud: Cloud, server: Server) -> None:
    backup = server.token
    for _ in range(4):
        cloud.stack.clock.advance(timedelta(days=1))
        server.validate()
    server.token = backup
    answer = server.validate().json()
    assert answer["valid"]
    assert "BACKUP_RESTORED" in [each["code"] for each in answer["messages"]]
    assert server.validate().json()["messages"] == [
        each for each in answer["messages"] if each["code"] != "BACKUP_RESTORED"
    ]


def test_a_restored_table_accuses_nobody(cloud: Cloud, server: Server) -> None:
    state, _version = servers.get(milano())
    for _ in range(5):
        cloud.stack.clock.advance(timedelta(days=1))
        server.validate()
    _, current = servers.get(milano())
    servers.put(milano(), state, current, account().customer.customer_id)
    for _ in range(5):
        cloud.stack.clock.advance(timedelta(days=1))
        assert server.validate().json()["code"] == "VALID"
    assert servers.get(milano())[0].heals == ()


def test_both_sites_serve_validations_and_their_tokens_are_equally_good(cloud: Cloud, server: Server) -> None:
    for site in (1, 0, 1, 1, 0):
        server.site = site
        assert server.validate().json()["valid"]


def test_another_machine_is_refused_and_changes_nothing(cloud: Cloud, server: Server) -> None:
    before = servers.get(milano())
    thief = Server(cloud, key=server.key, machine="b", token=server.token)
    answer = thief.validate().json()
    assert (answer["code"], answer["final"]) == ("FINGERPRINT_MISMATCH", False)
    assert servers.get(milano()) == before
    assert server.validate().json()["valid"]


def test_a_changed_component_is_enrolled_and_told(cloud: Cloud, server: Server) -> None:
    changed = {**server.fingerprint(), "disk": component("a new disk")}
    answer = server.validate(fingerprint=changed).json()
    assert next(each["code"] for each in answer["messages"]) == "FINGERPRINT_CHANGED"
    assert server.claims["fp"] == changed


@pytest.mark.parametrize(
    ("change", "code", "final"),
    [
        ("disable", "INSTALLATION_DISABLED", True),
        ("release", "INSTALLATION_RELEASED", True),
    ],
)
def test_what_the_portal_takes_away_is_a_final_no(
    cloud: Cloud, server: Server, change: str, code: str, final: bool
) -> None:
    if change == "disable":
        administration.disable(account().customer.customer_id, milano(), VENDOR, cloud.now)
    else:
        administration.release_installation(account().customer.customer_id, milano(), VENDOR, cloud.now)
    answer = server.validate().json()
    assert (answer["valid"], answer["code"], answer["final"]) == (False, code, final)
    assert "server_token" not in answer
    assert answer["verdict"]
    assert answer["entitlements"] == []


def test_disabling_frees_the_quantities_and_marks_them_until_the_token_ends(cloud: Cloud, server: Server) -> None:
    administration.disable(account().customer.customer_id, milano(), VENDOR, cloud.now)
    marked = [each for each in account().licenses.values() if milano() in each.freed]
    assert marked
    for license in marked:
        assert milano() not in license.allocations
        assert license.freed[milano()].until == datetime.fromtimestamp(server.claims["exp"], UTC)
    administration.enable(account().customer.customer_id, milano(), VENDOR, cloud.now)
    assert server.validate().json()["code"] == "NO_LICENSE"


def changed_demo(cloud: Cloud, **changes: Any) -> dict[str, Any]:
    """The demo data with one license of the Italian customer changed."""
    document = deepcopy(cloud.stack.document)
    customer = next(each for each in document["customers"] if each["tax_id"] == TAX_ID)
    license = next(each for each in customer["licenses"] if each["code"] == "AQ-7F3K-92MD")
    license.update(changes)
    return {"customers": [customer]}


def queueing(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in answer["entitlements"] if each["license_code"] == "AQ-7F3K-92MD")
    return found


def test_new_quantities_and_dates_arrive_by_themselves(cloud: Cloud, server: Server) -> None:
    loading.load(
        changed_demo(cloud, quantity=90, allocations={"Milano": 50, "Bergamo": 40}, last_day=date(2031, 1, 31)),
        cloud.now,
    )
    renewed = queueing(server.validate().json())
    assert (renewed["quantity"], renewed["last_day"], renewed["ends_at"]) == (50, "2031-01-31", "2031-01-31T23:00:00Z")


def test_a_suspended_license_is_left_out_and_told(cloud: Cloud, server: Server) -> None:
    loading.load(changed_demo(cloud, state="suspended"), cloud.now)
    answer = server.validate().json()
    assert answer["valid"]
    assert "AQ-7F3K-92MD" not in [each["license_code"] for each in answer["entitlements"]]
    assert ("LICENSE_SUSPENDED", "AQ-7F3K-92MD") in [(m["code"], m.get("license_code")) for m in answer["messages"]]


def test_a_locked_license_is_invisible(cloud: Cloud, server: Server) -> None:
    loading.load(changed_demo(cloud, state="locked"), cloud.now)
    assert "AQ-7F3K-92MD" not in server.validate().text


def test_an_update_of_the_license_manager_is_announced(cloud: Cloud, server: Server) -> None:
    latest = cloud.stack.document["vendor"]["agent"]["latest"]
    codes = [each["code"] for each in server.validate(agent_version="0.9.99").json()["messages"]]
    assert "AGENT_UPDATE_AVAILABLE" in codes or latest == "0.9.99"


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"agent_version": "0.0.1"}, "AGENT_VERSION_TOO_OLD"), ({"app_version": "Summer 2019"}, "APP_VERSION_TOO_OLD")],
)
def test_versions_too_old(cloud: Cloud, server: Server, changes: dict[str, str], code: str) -> None:
    if code == "APP_VERSION_TOO_OLD":
        changes = {"app_version": cloud.stack.document["vendor"]["releases"][0]}
    answer = server.validate(**changes).json()
    assert (answer["code"], answer["final"]) == (code, False)
    assert server.validate().json()["valid"]


def test_deactivation_gives_the_installation_back(cloud: Cloud, server: Server) -> None:
    response = server.deactivate()
    assert response.status_code == 200
    assert response.json()["installation"]["name"] == "Milano"
    assert server.deactivate().status_code == 200
    assert server.validate().json()["code"] == "INSTALLATION_RELEASED"
    assert Server(cloud, machine="b").activate(cloud.token_of("Milano")).status_code == 201
    assert server.deactivate().status_code == 200
    assert servers.get(milano())[0].held


def test_a_copy_can_not_deactivate_the_server_that_goes_on(cloud: Cloud, server: Server) -> None:
    old = server.token
    for _ in range(3):
        server.validate()
    copy = Server(cloud, key=server.key, token=old)
    assert problem(copy.deactivate()) == (403, "CLONE_SUSPECTED")
    assert server.validate().json()["valid"]


def test_a_token_too_long_for_a_header_goes_in_the_body(cloud: Cloud) -> None:
    """Sixty licenses on one server: API Gateway takes 10,240 bytes of headers in all."""
    document = deepcopy(cloud.stack.document)
    customer = next(each for each in document["customers"] if each["tax_id"] == TAX_ID)
    license = next(each for each in customer["licenses"] if each["code"] == "AQ-7F3K-92MD")
    customer["licenses"] = [{**license, "code": f"AQ-MANY-{n:04d}"} for n in range(60)]
    loading.load({"customers": [customer]}, cloud.now)
    server = Server(cloud)
    server.activate(cloud.token_of("Milano"))
    assert len(server.token) > 10_240
    assert server.validate().status_code == 431
    body = server.body(server_token=server.token)
    response = server.took(server.call("/v1/validations", body, authorization=""))
    assert response.json()["valid"], response.text
    gone = {"nonce": new_nonce(), "server_token": server.token}
    assert server.call("/v1/deactivations", gone, authorization="").status_code == 200


def test_the_previous_token_does_not_deactivate(cloud: Cloud, server: Server) -> None:
    copy = Server(cloud, key=server.key, machine="b", token=server.token)
    server.validate()
    assert problem(copy.deactivate()) == (403, "CLONE_SUSPECTED")
    assert server.validate().json()["valid"]


def test_a_server_that_a_restored_table_forgot_can_give_itself_up(cloud: Cloud, server: Server) -> None:
    ServerItem(milano()).delete()
    assert server.deactivate().status_code == 200
    assert server.validate().json()["code"] == "INSTALLATION_RELEASED"


def test_releasing_what_nobody_holds_says_so(cloud: Cloud, server: Server) -> None:
    assert administration.release_installation(account().customer.customer_id, milano(), VENDOR, cloud.now)
    assert not administration.release_installation(account().customer.customer_id, milano(), VENDOR, cloud.now)


def test_no_signing_key_is_bound_to_a_region(cloud: Cloud) -> None:
    """Site 2 finds its own region's replica by the key's id."""
    current = key_sets.get()
    assert current
    for key in current.key_set.keys:
        assert key.signer.startswith("kms:mrk-")
