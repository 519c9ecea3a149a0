"""A server without a network: request file, license file, and the receipt that frees what it held (B8, B9)."""

import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from licensing import administration, contract, loading, offline
from licensing.errors import (
    InstallationTaken,
    LicensingError,
    NotFound,
    OfflineFileAltered,
    OfflineFileDamaged,
    OfflineFileWrong,
    OfflineLicenseOut,
    OfflineNotAllowed,
    OfflineRequestUsed,
    PayloadTooLarge,
    ReceiptMismatch,
    Refused,
    TemporarilyUnavailable,
)
from licensing.key_ring import ring
from licensing.loading import LoadError
from licensing.rules.accounts import Account, Installation
from licensing.rules.operations import Origin
from licensing.store import accounts, servers, tables
from licensing.store import vendor as vendor_settings

from tests.support.cloud import TAX_ID, Cloud, Server, new_nonce, problem

BY = Origin("customer", "usr_1")
DOCUMENT: dict[str, Any] = {
    "customers": [
        {
            "name": "Officine Lombarde S.p.A.",
            "tax_id": TAX_ID,
            "country": "IT",
            "time_zone": "Europe/Rome",
            "installations": [{"name": "Brescia"}, {"name": "Como"}],
            "licenses": [
                {
                    "code": "CR-OFF-0001",
                    "sku": "CR-PERP-5",
                    "quantity": 10,
                    "care": "GOLD",
                    "allocations": {"Brescia": 6},
                },
                {"code": "FX-OFF-0001", "sku": "FX-PERP-25", "quantity": 50, "allocations": {"Brescia": 25}},
            ],
        }
    ]
}


def load(cloud: Cloud, **license: Any) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    document["customers"][0]["licenses"][0] |= license
    loading.load(document, cloud.now)


@pytest.fixture(autouse=True)
def at_home(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is called directly here: as at the home site, whichever site's function ran last."""
    monkeypatch.setenv("HOME_SITE", "true")


@pytest.fixture
def brescia(cloud: Cloud) -> Installation:
    load(cloud)
    return installation("Brescia")


def account() -> Account:
    return administration.find_account(TAX_ID)


def installation(name: str) -> Installation:
    held = account()
    return held.installations[administration.find_installation(held, name)]


def activate(cloud: Cloud, where: Installation, request: str, **named: Any) -> contract.OfflineLicense:
    return offline.activate(account().customer.customer_id, where.installation_id, request, cloud.now, BY, **named)


def deactivate(cloud: Cloud, where: Installation, receipt: str) -> contract.OfflineDeactivation:
    return offline.deactivate(account().customer.customer_id, where.installation_id, receipt, cloud.now, BY)


def license_of(answer: contract.OfflineLicense) -> str:
    return str(json.loads(answer.content)["license"])


def claims(answer: contract.OfflineLicense) -> dict[str, Any]:
    text = license_of(answer)
    key = ring.verification_key("file", jwt.get_unverified_header(text)["kid"], ring._read_at)  # type: ignore[arg-type]
    assert key
    return dict(
        jwt.decode(
            text, key, algorithms=["ES256"], audience="licensing", options={"verify_iat": False, "verify_nbf": False}
        )
    )


def test_a_license_file_is_bound_to_the_machine_that_asked(cloud: Cloud, brescia: Installation) -> None:
    server, nonce = Server(cloud), new_nonce()
    answer = activate(cloud, brescia, server.offline_request(nonce))
    assert answer.file_name == "license-brescia.json"
    assert answer.until is None
    assert [(each.name, each.care) for each in answer.given_up] == [("Call Recording", "GOLD")]
    assert jwt.get_unverified_header(license_of(answer))["typ"] == "license+jwt"
    said = claims(answer)
    assert {name: said[name] for name in ("sub", "gen", "seq", "mode", "tz", "nonce", "fp")} == {
        "sub": brescia.installation_id,
        "gen": 1,
        "seq": 0,
        "mode": "offline",
        "tz": "Europe/Rome",
        "nonce": nonce,
        "fp": server.fingerprint(),
    }
    assert not {"exp", "nxt"} & said.keys()
    assert [(each["license_code"], each["quantity"]) for each in said["ent"]] == [
        ("CR-OFF-0001", 6),
        ("FX-OFF-0001", 25),
    ]
    assert not any(each.get("cloud_services") for each in said["ent"])
    now_offline = installation("Brescia")
    assert now_offline.mode == "offline"
    assert now_offline.offline
    assert sorted(now_offline.offline.quantities.values()) == [6, 25]
    assert administration.servers_of(account(), cloud.now)[brescia.installation_id][0] == "active"


def test_the_vendor_may_set_an_end(cloud: Cloud, brescia: Installation) -> None:
    loading.load({"vendor": {"name": "Aurora", "offline_days": 30}}, cloud.now)
    vendor_settings.forget()
    answer = activate(cloud, brescia, Server(cloud).offline_request())
    assert answer.until
    assert 29 <= (answer.until - cloud.now).days <= 30
    assert jwt.decode(license_of(answer), options={"verify_signature": False})["exp"] == answer.until.timestamp()


def test_the_same_request_gives_the_same_license(cloud: Cloud, brescia: Installation) -> None:
    request = Server(cloud).offline_request()
    first = activate(cloud, brescia, request)
    load(cloud, quantity=20, care="BASIC", allocations={"Brescia": 16})
    assert license_of(activate(cloud, brescia, request)) == license_of(first)
    assert servers.get(brescia.installation_id)[0].gen == 1


@pytest.mark.parametrize(
    "mangle",
    [
        lambda t: "\n".join(t[i : i + 76] for i in range(0, len(t), 76)) + "\r\n",
        lambda t: f'\ufeff"{t}"\u200b ',
        lambda t: t.replace(".", " .\xa0"),
    ],
)
def test_a_pasted_request_survives(cloud: Cloud, mangle: Callable[[str], str]) -> None:
    text = Server(cloud).offline_request()
    assert offline.read_request(mangle(text)) == offline.read_request(text)


def refused(text: str) -> str:
    with pytest.raises(LicensingError) as raised:
        offline.read_request(text)
    assert raised.value.detail.format_map(raised.value.members)
    return raised.value.code


def test_one_changed_character_anywhere_is_refused(cloud: Cloud) -> None:
    text = Server(cloud).offline_request()
    for place in [*range(0, len(text), 7), len(text) - 1]:
        other = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        assert refused(other) in {"OFFLINE_FILE_ALTERED", "OFFLINE_FILE_DAMAGED", "OFFLINE_FILE_WRONG"}


def test_the_bits_that_base64_leaves_open_are_not_open_here(cloud: Cloud) -> None:
    text = Server(cloud).offline_request()
    assert refused(text[:-1] + chr(ord(text[-1]) + 1)) == "OFFLINE_FILE_DAMAGED"


def test_each_way_in_which_a_request_can_be_wrong_has_its_code(cloud: Cloud) -> None:
    server, other = Server(cloud), Server(cloud)
    text = server.offline_request()
    assert refused(text.rsplit(".", 1)[0]) == "OFFLINE_FILE_DAMAGED"
    assert {refused(text[:-cut]) for cut in range(1, 60)} == {"OFFLINE_FILE_ALTERED", "OFFLINE_FILE_DAMAGED"}
    assert refused("") == refused("hello") == refused('{"license": "x"}') == "OFFLINE_FILE_WRONG"
    assert refused("x" * 100_000) == "PAYLOAD_TOO_LARGE"
    payload = jwt.decode(text, options={"verify_signature": False})
    assert other.key
    foreign = jwt.encode(payload, other.key, "ES256", {"typ": "offline-request+jwt", "jwk": server.jwk})
    assert refused(foreign) == "OFFLINE_FILE_ALTERED"
    assert refused(server.offline_request(fp={})) == "OFFLINE_FILE_WRONG"
    assert refused(server.offline_request(tz="Nowhere")) == "OFFLINE_FILE_WRONG"
    assert refused(server.offline_request(iat="x")) == "OFFLINE_FILE_WRONG"
    assert (
        refused(jwt.encode(payload, "k" * 32, "HS256", {"typ": "offline-request+jwt", "jwk": server.jwk}))
        == "OFFLINE_FILE_WRONG"
    )
    for jwk in (None, {}, {**server.jwk, "d": "x"}, {**server.jwk, "x": "A" * 43}):
        assert server.key
        odd = jwt.encode(payload, server.key, "ES256", {"typ": "offline-request+jwt", "jwk": jwk})
        assert refused(odd) == "OFFLINE_FILE_WRONG"


def test_subscriptions_and_trials_keep_a_server_online_and_are_named(cloud: Cloud) -> None:
    with pytest.raises(OfflineNotAllowed) as raised:
        activate(cloud, installation("Milano"), Server(cloud).offline_request())
    assert raised.value.members["reason"] == "ONLINE_REQUIRED"
    assert set(raised.value.members["licenses"]) == {"AQ-7F3K-92MD", "RP-5TVJ-8B6C", "WC-4MZE-7Y2F"}
    assert not servers.get(installation("Milano").installation_id)[0].held


def test_without_a_perpetual_license_there_is_nothing_to_take_offline(cloud: Cloud, brescia: Installation) -> None:
    with pytest.raises(OfflineNotAllowed) as raised:
        activate(cloud, installation("Como"), Server(cloud).offline_request())
    assert raised.value.members == {"reason": "NOTHING_PERPETUAL", "licenses": []}


def test_an_installation_that_another_machine_holds(cloud: Cloud, brescia: Installation) -> None:
    activate(cloud, brescia, Server(cloud).offline_request())
    with pytest.raises(InstallationTaken):
        activate(cloud, brescia, Server(cloud, machine="b").offline_request())
    online = Server(cloud, machine="b").activate(str(installation("Brescia").activation_token))
    assert problem(online) == (409, "INSTALLATION_TAKEN")


def test_a_disabled_installation_gets_no_file(cloud: Cloud, brescia: Installation) -> None:
    administration.disable(account().customer.customer_id, brescia.installation_id, BY, cloud.now)
    with pytest.raises(Refused) as raised:
        activate(cloud, brescia, Server(cloud).offline_request())
    assert raised.value.code == "INSTALLATION_DISABLED"


def test_somebody_else_s_installation_is_none(cloud: Cloud, brescia: Installation) -> None:
    other = administration.find_account("BR12345678000195").customer.customer_id
    for call in (
        lambda: offline.activate(other, brescia.installation_id, Server(cloud).offline_request(), cloud.now, BY),
        lambda: offline.given_up(other, brescia.installation_id, cloud.now),
        lambda: offline.deactivate(
            other,
            brescia.installation_id,
            Server(cloud).receipt(Server(cloud).offline_request(sub="x", gen=1)),
            cloud.now,
            BY,
        ),
    ):
        with pytest.raises(NotFound):
            call()


def test_an_online_server_of_the_same_machine_goes_offline_for_good(cloud: Cloud, brescia: Installation) -> None:
    server = Server(cloud)
    assert server.activate(str(brescia.activation_token)).status_code == 201
    activate(cloud, brescia, Server(cloud).offline_request())
    assert server.validate().json()["code"] == "INSTALLATION_RELEASED"
    again = Server(cloud).activate(str(brescia.activation_token))
    assert problem(again) == (403, "OFFLINE_INSTALLATION")


def test_a_license_file_opens_no_door_of_the_api(cloud: Cloud, brescia: Installation) -> None:
    server = Server(cloud)
    server.token = license_of(activate(cloud, brescia, server.offline_request()))
    assert problem(server.validate()) == (401, "INVALID_TOKEN")
    assert problem(server.deactivate()) == (401, "INVALID_TOKEN")


def test_what_is_out_can_not_be_taken_back_by_anybody(cloud: Cloud, brescia: Installation) -> None:
    customer = account().customer.customer_id
    activate(cloud, brescia, Server(cloud).offline_request())
    with pytest.raises(OfflineLicenseOut):
        administration.disable(customer, brescia.installation_id, BY, cloud.now)
    with pytest.raises(OfflineLicenseOut):
        administration.release_installation(customer, brescia.installation_id, BY, cloud.now)
    with pytest.raises(LoadError, match="CR-OFF-0001: 6 are held by Brescia"):
        load(cloud, allocations={"Brescia": 5})
    with pytest.raises(LoadError, match="CR-OFF-0001: 6 are held"):
        load(cloud, allocations={"Como": 6})
    online = {**DOCUMENT["customers"][0], "installations": [{"name": "Brescia", "mode": "online"}]}
    with pytest.raises(LoadError, match="Brescia is offline"):
        loading.load({"customers": [online]}, cloud.now)
    load(cloud, allocations={"Brescia": 7, "Como": 3})


def test_after_the_end_everything_can_be_changed(cloud: Cloud, brescia: Installation) -> None:
    loading.load({"vendor": {"name": "Aurora", "offline_days": 1}}, cloud.now)
    vendor_settings.forget()
    until = activate(cloud, brescia, Server(cloud).offline_request()).until
    assert until
    cloud.stack.clock.set(until)
    assert administration.servers_of(account(), cloud.now)[brescia.installation_id][0] == "blocked"
    load(cloud, allocations={"Como": 6})
    customer = account().customer.customer_id
    assert administration.release_installation(customer, brescia.installation_id, BY, cloud.now)


def test_the_receipt_frees_what_was_held_and_coming_twice_does_no_harm(cloud: Cloud, brescia: Installation) -> None:
    server, request = Server(cloud), Server(cloud).offline_request()
    request = server.offline_request()
    answer = activate(cloud, brescia, request)
    receipt = server.receipt(license_of(answer))
    for _ in range(2):
        accepted = deactivate(cloud, brescia, f"  {receipt[:50]}\n{receipt[50:]}\n")
        assert (accepted.installation.name, accepted.installation.mode) == ("Brescia", "online")
    assert installation("Brescia").offline is None
    assert administration.servers_of(account(), cloud.now)[brescia.installation_id][0] == "available"
    load(cloud, allocations={"Como": 6})
    load(cloud, allocations={"Brescia": 6})
    with pytest.raises(OfflineRequestUsed):
        activate(cloud, brescia, request)
    other = Server(cloud, machine="b")
    second = activate(cloud, brescia, other.offline_request())
    assert claims(second)["gen"] == 2
    with pytest.raises(ReceiptMismatch):
        deactivate(cloud, brescia, receipt)
    assert installation("Brescia").offline


def test_a_receipt_must_be_the_server_s_own_for_this_license(cloud: Cloud, brescia: Installation) -> None:
    server = Server(cloud)
    license = license_of(activate(cloud, brescia, server.offline_request()))
    with pytest.raises(OfflineFileAltered):
        deactivate(cloud, brescia, Server(cloud).receipt(license))
    wrong = [{"license": "other"}, {"gen": 2}, {"gen": "1"}, {"iss": installation("Como").installation_id}]
    for claim in wrong:
        with pytest.raises(ReceiptMismatch):
            deactivate(cloud, brescia, server.receipt(license, **claim))
    with pytest.raises(OfflineFileWrong):
        deactivate(cloud, brescia, server.offline_request())
    with pytest.raises(OfflineFileDamaged):
        deactivate(cloud, brescia, server.receipt(license).rsplit(".", 1)[0])
    with pytest.raises(PayloadTooLarge):
        deactivate(cloud, brescia, "e" * 100_000)
    with pytest.raises(ReceiptMismatch):
        deactivate(cloud, installation("Como"), server.receipt(license))
    assert installation("Brescia").offline


def test_an_online_server_s_key_makes_no_receipt(cloud: Cloud, brescia: Installation) -> None:
    server = Server(cloud)
    server.activate(str(brescia.activation_token))
    with pytest.raises(ReceiptMismatch):
        deactivate(cloud, brescia, server.receipt(server.token))
    assert server.validate().json()["valid"]


def test_two_machines_at_once_get_one_license(
    cloud: Cloud, brescia: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, requests = accounts.write, [Server(cloud, machine="b").offline_request()]

    def overtaken(*arguments: Any) -> int:
        if requests:
            activate(cloud, brescia, requests.pop())
        return write(*arguments)

    monkeypatch.setattr(accounts, "write", overtaken)
    with pytest.raises(InstallationTaken):
        activate(cloud, brescia, Server(cloud).offline_request())
    assert servers.get(brescia.installation_id)[0].gen == 1


def test_an_online_activation_in_between_is_not_overwritten(
    cloud: Cloud, brescia: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    online, write = Server(cloud, machine="b"), accounts.write

    def overtaken(*arguments: Any) -> int:
        if not online.token:
            assert online.activate(str(brescia.activation_token)).status_code == 201
        return write(*arguments)

    monkeypatch.setattr(accounts, "write", overtaken)
    with pytest.raises(InstallationTaken):
        activate(cloud, brescia, Server(cloud).offline_request())
    assert online.validate().json()["valid"]


def test_a_file_that_is_loaded_meanwhile_takes_nothing_back(
    cloud: Cloud, brescia: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, requests = accounts.write, [Server(cloud).offline_request()]

    def overtaken(*arguments: Any) -> int:
        if requests:
            activate(cloud, brescia, requests.pop())
        return write(*arguments)

    monkeypatch.setattr(accounts, "write", overtaken)
    with pytest.raises(LoadError, match="6 are held by Brescia"):
        load(cloud, allocations={"Como": 6})


def test_an_answer_lost_after_the_write_is_given_again(
    cloud: Cloud, brescia: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact, request = tables.transact, Server(cloud).offline_request()

    def lost(fill: Any) -> None:
        transact(fill)
        raise TemporarilyUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(tables, "transact", lost)
        with pytest.raises(TemporarilyUnavailable):
            activate(cloud, brescia, request)
    assert claims(activate(cloud, brescia, request))["gen"] == 1


def test_dying_between_signing_and_writing_leaves_nothing(
    cloud: Cloud, brescia: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: Any) -> None:
        raise TemporarilyUnavailable

    request = Server(cloud).offline_request()
    with monkeypatch.context() as broken:
        broken.setattr(tables, "transact", dies)
        with pytest.raises(TemporarilyUnavailable):
            activate(cloud, brescia, request)
    assert installation("Brescia") == brescia
    assert not servers.get(brescia.installation_id)[0].held


def test_a_release_is_stopped_by_a_license_that_goes_out_meanwhile(
    cloud: Cloud, brescia: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    Server(cloud).activate(str(brescia.activation_token))
    transact, requests = tables.transact, [Server(cloud).offline_request()]

    def overtaken(fill: Any) -> None:
        if requests:
            activate(cloud, brescia, requests.pop())
        transact(fill)

    monkeypatch.setattr(tables, "transact", overtaken)
    with pytest.raises(OfflineLicenseOut):
        administration.release_installation(account().customer.customer_id, brescia.installation_id, BY, cloud.now)
    assert servers.get(brescia.installation_id)[0].held
