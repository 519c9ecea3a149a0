"""Both halves of an offline activation against each other, with no network on the server's side (B9)."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt as independent
from joserfc.jwk import ECKey
from license_manager import profile
from license_manager.checking import Check
from license_manager.errors import LicenseManagerError
from license_manager.fingerprint import digest
from license_manager.home import Home
from license_manager.machine import Machine
from license_manager.manager import Manager
from license_manager.settings import Settings
from licensing import administration, loading, offline
from licensing.errors import OfflineFileAltered, OfflineFileDamaged, OfflineFileWrong
from licensing.rules.accounts import Account
from licensing.rules.operations import Origin

from tests.support.cloud import TAX_ID, Cloud

BY = Origin("customer", "usr_1")


def no_network(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"{request.url} was asked for")


class Server:
    """A License Manager on a machine that has no network, and the hands of the person who carries its files."""

    def __init__(self, cloud: Cloud, path: Path, machine: str = "a") -> None:
        self.cloud = cloud
        self.home = Home(path)
        self.machine = Machine(
            wall=lambda: cloud.now.timestamp(),
            monotonic=lambda: cloud.now.timestamp(),
            boot_id=lambda: "boot",
            fingerprint=lambda: {name: digest(name, machine) for name in ("machine_id", "mac", "cpu_model")},
            hostname=lambda: "srv-brescia",
            time_zone=lambda: "Europe/Rome",
            environ={},
        )

    def manager(self) -> Manager:
        vendor = profile.parse(self.cloud.stack.vendor_profile)
        return Manager(self.home, vendor, Settings(), self.machine, http=httpx.MockTransport(no_network))

    def request(self) -> str:
        return self.manager().offline_request()

    def load(self, content: bytes) -> None:
        self.manager().import_license(content)

    def give_up(self) -> str:
        return self.manager().offline_deactivate()

    def check(self) -> Check:
        manager = self.manager()
        state = manager.state()
        return manager.check(state, manager.clock(state).now())


@pytest.fixture(autouse=True)
def at_home(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is called directly here: as at the home site, whichever site's function ran last."""
    monkeypatch.setenv("HOME_SITE", "true")


@pytest.fixture
def place(cloud: Cloud) -> tuple[str, str]:
    assign(cloud, "Brescia")
    account = administration.find_account(TAX_ID)
    return account.customer.customer_id, administration.find_installation(account, "Brescia")


def assign(cloud: Cloud, installation: str) -> None:
    """All twelve channels to one installation, and none to the other."""
    allocations = {installation: 12}
    license = {"code": "CR-OFF-0001", "sku": "CR-PERP-5", "quantity": 12, "care": "GOLD", "allocations": allocations}
    customer = {"name": "Officine Lombarde S.p.A.", "tax_id": TAX_ID, "country": "IT", "time_zone": "Europe/Rome"}
    installations = [{"name": "Brescia"}, {"name": "Como"}]
    loading.load({"customers": [{**customer, "installations": installations, "licenses": [license]}]}, cloud.now)


def account() -> Account:
    return administration.find_account(TAX_ID)


def license_file(cloud: Cloud, place: tuple[str, str], request: str) -> bytes:
    return offline.activate(*place, request, cloud.now, BY).content.encode()


def test_there_and_back(cloud: Cloud, place: tuple[str, str], tmp_path: Path) -> None:
    server = Server(cloud, tmp_path / "a")
    request = server.request()
    assert len(request) < 1800
    content = license_file(cloud, place, request)
    server.load(content)
    for days in (0, 12, 900):
        cloud.stack.clock.advance(timedelta(days=days))
        answer = server.check()
        assert (answer.status, answer.code) == ("ok", "VALID")
        assert answer.quantity("call-recording") == 12
        assert [each.cloud_services for each in answer.entitlements] == [False]
    with pytest.raises(loading.LoadError, match="12 are held by Brescia"):
        assign(cloud, "Como")
    receipt = server.give_up()
    assert not server.check()
    for _ in range(2):
        assert offline.deactivate(*place, server.give_up(), cloud.now, BY).deactivated
    assert receipt == server.give_up()
    assert administration.servers_of(account(), cloud.now)[place[1]][0] == "available"
    with pytest.raises(LicenseManagerError):
        server.load(content)
    assign(cloud, "Como")
    assign(cloud, "Brescia")
    other = Server(cloud, tmp_path / "b", machine="b")
    other.load(license_file(cloud, place, other.request()))
    assert other.check()


def test_one_changed_byte_anywhere_is_refused(cloud: Cloud, place: tuple[str, str], tmp_path: Path) -> None:
    server = Server(cloud, tmp_path / "a")
    request = server.request()
    wrong = (OfflineFileAltered, OfflineFileDamaged, OfflineFileWrong)
    for altered in changed(request.encode(), 17):
        with pytest.raises(wrong):
            offline.read_request(altered.decode("latin-1"))
    content = license_file(cloud, place, request)
    for altered in changed(content, 29):
        with pytest.raises(LicenseManagerError):
            server.load(altered)
        assert not server.check()
    server.load(content)
    for altered in changed(server.give_up().encode(), 7):
        with pytest.raises(Exception) as caught:  # noqa: PT011  by its own name in each place
            offline.deactivate(*place, altered.decode("latin-1"), cloud.now, BY)
        assert getattr(caught.value, "code", "") in {
            "OFFLINE_FILE_ALTERED", "OFFLINE_FILE_DAMAGED", "OFFLINE_FILE_WRONG", "DEACTIVATION_RECEIPT_MISMATCH",
        }  # fmt: skip
    assert account().installations[place[1]].offline


def changed(content: bytes, step: int) -> list[bytes]:
    """The same with one byte changed, here and there, at both ends, and never one that is white space."""
    places = {0, *range(0, len(content), step), len(content.rstrip()) - 1}
    return [
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        for place in sorted(places)
        if not content[place : place + 1].isspace()
    ]


def test_another_machine_is_refused(cloud: Cloud, place: tuple[str, str], tmp_path: Path) -> None:
    server, other = Server(cloud, tmp_path / "a"), Server(cloud, tmp_path / "b", machine="b")
    content = license_file(cloud, place, server.request())
    other.request()
    with pytest.raises(LicenseManagerError) as caught:
        other.load(content)
    assert caught.value.code == "FINGERPRINT_MISMATCH"
    assert not other.check()


def test_a_machine_that_lost_its_state_gets_a_new_file_and_its_receipt_frees_all(
    cloud: Cloud, place: tuple[str, str], tmp_path: Path
) -> None:
    lost, again = Server(cloud, tmp_path / "lost"), Server(cloud, tmp_path / "again")
    lost.load(license_file(cloud, place, lost.request()))
    again.load(license_file(cloud, place, again.request()))
    assert again.check()
    offline.deactivate(*place, again.give_up(), cloud.now, BY)
    assign(cloud, "Como")


def test_a_second_library_verifies_license_and_key_set_from_the_root_down(
    cloud: Cloud, place: tuple[str, str], tmp_path: Path
) -> None:
    document: dict[str, Any] = json.loads(license_file(cloud, place, Server(cloud, tmp_path / "a").request()))
    root = ECKey.import_key(cloud.stack.vendor_profile["root_keys"][0])
    keys = independent.decode(document["keyset"], root, algorithms=["ES256"]).claims["keys"]
    [key] = [each for each in keys if each["use"] == "file"]
    public = ECKey.import_key({name: key[name] for name in ("kty", "crv", "x", "y")})
    license = independent.decode(document["license"], public, algorithms=["ES256"])
    assert license.header == {"alg": "ES256", "typ": "license+jwt", "kid": key["kid"]}
    assert (license.claims["sub"], license.claims["mode"]) == (place[1], "offline")
