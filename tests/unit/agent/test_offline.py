"""A server without a network: the request, the license file, the receipt, and what the product is told in between (B9)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from license_manager import offline, trust
from license_manager.checking import Check
from license_manager.cli import Surroundings, app
from license_manager.errors import LicenseManagerError, NotActivated, Untrusted
from license_manager.fingerprint import digest
from license_manager.machine import Machine
from license_manager.service import Service, Stopper
from typer.testing import CliRunner

from tests.unit.agent.conftest import Site
from tests.unit.agent.fake_cloud import NOON, FakeCloud, Key, rfc3339

Command = Callable[..., Any]
DAY = 86400.0


@pytest.fixture(autouse=True)
def no_network(cloud: FakeCloud) -> None:
    """Whoever opens a connection fails here."""

    def fail(number: int, request: Any) -> Any:
        raise AssertionError(f"{request.url} was asked for")

    cloud.intruder = fail


@pytest.fixture
def command(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    vendor = tmp_path / "vendor.json"
    vendor.write_text(json.dumps(site.cloud.profile()))

    def run(*arguments: str, typed: str | bytes | None = None) -> Any:
        here = Surroundings(machine=site.computer.machine(), http=site.cloud.transport())
        options = ["--home", str(site.path), "--vendor", str(vendor)]
        return CliRunner().invoke(app, [*options, *arguments], input=typed, obj=here)

    return run


def request(site: Site, **options: bool) -> str:
    with site.manager() as manager:
        return manager.offline_request(**options)


def load(site: Site, content: bytes) -> trust.License:
    with site.manager() as manager:
        return manager.import_license(content)


def licensed(site: Site, **changes: Any) -> bytes:
    """Request, license file, import."""
    content = site.cloud.license_file(request(site), **changes)
    load(site, content)
    return content


def give_up(site: Site) -> str:
    with site.manager() as manager:
        return manager.offline_deactivate()


def refused(site: Site, content: bytes) -> str:
    with pytest.raises(LicenseManagerError) as caught:
        load(site, content)
    assert site.state().license is None
    return caught.value.code


def test_a_request_is_signed_by_its_own_key_and_says_what_the_portal_needs(site: Site) -> None:
    text = request(site)
    header = jwt.get_unverified_header(text)
    assert (header["typ"], header["alg"]) == ("offline-request+jwt", "ES256")
    said = jwt.decode(text, jwt.PyJWK(header["jwk"], "ES256"), algorithms=["ES256"], options={"verify_iat": False})
    assert said.keys() == {"iat", "jti", "nonce", "fp", "hostname", "tz", "app_version", "agent_version"}
    assert (said["fp"], said["tz"], said["hostname"]) == (site.computer.fingerprint, "Europe/Rome", "srv-milano")


def test_a_request_fits_into_a_qr_code_whatever_the_product_reports() -> None:
    machine = Machine(
        fingerprint=lambda: {f"component_{n}": digest("c", str(n)) for n in range(6)},
        hostname=lambda: "h" * 255,
        time_zone=lambda: "America/Argentina/Buenos_Aires",
    )
    told = {"app_version": "v" * 64, "databases": ["d" * 128] * 20}
    assert len(offline.new_request(machine, told)["text"]) < offline.LONGEST_REQUEST
    few = offline.new_request(machine, {"app_version": None, "databases": ["orders"]})["text"]
    assert trust.peek(few)["databases"] == ["orders"]


def test_the_request_stays_the_same_until_its_license_is_imported(site: Site) -> None:
    first = request(site)
    assert request(site) == first
    load(site, site.cloud.license_file(first))
    assert request(site) != first


def test_a_new_request_takes_the_place_of_the_old_one(site: Site) -> None:
    old = request(site)
    assert request(site, anew=True) != old
    assert refused(site, site.cloud.license_file(old)) == "WRONG_NONCE"


def test_the_product_may_run_for_good_without_a_network(site: Site, product: Callable[..., Check]) -> None:
    site.cloud.entitlements[0] |= {"type": "perpetual", "ends_at": None, "last_day": None, "cloud_services": False}
    licensed(site)
    for days in (0, 11, 4000):
        site.pass_time(days=days)
        answer = product()
        assert (bool(answer), answer.status, answer.code, answer.expires_at) == (True, "ok", "VALID", None)
        assert answer.may("advanced-queueing")
        assert answer.quantity("advanced-queueing") == 20
        assert site.check() == answer


def test_an_entitlement_s_own_end_counts(site: Site, product: Callable[..., Check]) -> None:
    site.cloud.entitlements[0]["ends_at"] = rfc3339(NOON + 5 * DAY)
    licensed(site)
    assert product().may("advanced-queueing")
    site.pass_time(days=5)
    assert not product().may("advanced-queueing")


def test_the_file_s_end_stops_the_product_even_with_the_clock_turned_back(
    site: Site, product: Callable[..., Check]
) -> None:
    licensed(site, exp=int(NOON + 30 * DAY))
    assert product().expires_at == datetime.fromtimestamp(NOON + 30 * DAY, UTC)
    site.pass_time(days=29)
    assert product()
    site.pass_time(days=1)
    with site.manager() as manager:
        manager.keep_time()
    answer = product()
    assert (answer.allowed, answer.status, answer.code) == (False, "blocked", "EXPIRED")
    assert "2026-12-22" in answer.reason
    site.computer.wall -= 20 * DAY
    assert not product()


def test_one_changed_byte_anywhere_is_refused(site: Site) -> None:
    content = site.cloud.license_file(request(site))
    for place in [*range(0, len(content), 11), len(content) - 2]:
        if content[place : place + 1].isspace():
            continue
        changed = bytes([content[place] ^ 1])
        assert refused(site, content[:place] + changed + content[place + 1 :]) in {
            "LICENSE_FILE_DAMAGED", "INVALID_TOKEN", "UNKNOWN_KEY", "KEY_SET_FORGED",
        }  # fmt: skip
    load(site, content)


def test_the_bits_that_base64_leaves_open_are_not_open_here(site: Site) -> None:
    document = json.loads(site.cloud.license_file(request(site)))
    for name, code in (("license", "INVALID_TOKEN"), ("keyset", "KEY_SET_FORGED")):
        text = document[name]
        altered = json.dumps({**document, name: text[:-1] + chr(ord(text[-1]) + 1)}).encode()
        assert refused(site, altered) == code


def test_a_mail_program_s_line_breaks_do_no_harm(site: Site) -> None:
    text = site.cloud.license_file(request(site)).decode()
    load(site, ("\ufeff" + "\r\n".join(text[i : i + 78] for i in range(0, len(text), 78))).encode())
    assert site.check()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"license": 1, "keyset": 2}', b"[" * 100_000])
def test_what_is_no_license_file_is_said_to_be_none(site: Site, content: bytes) -> None:
    request(site)
    assert refused(site, content) == "LICENSE_FILE_DAMAGED"


def test_another_machine_is_refused(site: Site, tmp_path: Path) -> None:
    content = site.cloud.license_file(request(site))
    site.computer.fingerprint = {name: digest(name, "other") for name in site.computer.fingerprint}
    assert refused(site, content) == "FINGERPRINT_MISMATCH"
    elsewhere = Site(site.cloud, site.computer, tmp_path / "elsewhere")
    assert refused(elsewhere, content) == "FINGERPRINT_MISMATCH"


def test_files_copied_to_another_machine_license_nothing(site: Site, product: Callable[..., Check]) -> None:
    licensed(site)
    site.computer.fingerprint = {name: digest(name, "other") for name in site.computer.fingerprint}
    answer = product()
    assert (answer.status, answer.code) == ("refused", "FINGERPRINT_MISMATCH")


def test_a_server_that_asked_for_nothing_gets_nothing(site: Site, tmp_path: Path) -> None:
    content = site.cloud.license_file(request(site))
    assert refused(Site(site.cloud, site.computer, tmp_path / "empty"), content) == "NO_OFFLINE_REQUEST"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cnf": {"jkt": "x" * 43}}, "INVALID_TOKEN"),
        ({"nonce": "x" * 43}, "WRONG_NONCE"),
        ({"mode": "online"}, "INVALID_TOKEN"),
        ({"iss": "https://elsewhere.example"}, "INVALID_TOKEN"),
        ({"aud": "seats"}, "INVALID_TOKEN"),
        ({"exp": int(NOON)}, "EXPIRED"),
        ({"exp": "never"}, "INVALID_TOKEN"),
        ({"ent": "all"}, "INVALID_TOKEN"),
        ({"names": {"customer": 1}}, "INVALID_TOKEN"),
    ],
)
def test_a_license_that_does_not_fit_is_refused(site: Site, changes: dict[str, Any], code: str) -> None:
    assert refused(site, site.cloud.license_file(request(site), **changes)) == code


def test_only_a_key_for_files_signs_them_and_it_signs_nothing_else(site: Site) -> None:
    text = request(site)
    assert refused(site, site.cloud.license_file(text, signer=site.cloud.signer)) == "UNKNOWN_KEY"
    assert refused(site, site.cloud.license_file(text, signer=Key())) == "UNKNOWN_KEY"
    key_set = trust.read_key_set(site.cloud.key_set(), [site.cloud.root.jwk], site.cloud.profile()["issuer"])
    forged = site.cloud.file_signer.sign(site.cloud.token_claims(site.cloud.servers["ins_1"], "n"), "server+jwt")
    with pytest.raises(Untrusted):
        trust.read_server_token(forged, key_set, site.cloud.profile()["issuer"])


def test_a_key_that_is_known_to_be_revoked_is_not_believed_by_an_older_list(site: Site) -> None:
    old = site.cloud.license_file(request(site))
    site.cloud.key_set_version += 1
    site.cloud.revoked = [site.cloud.file_signer.kid]
    newer = site.cloud.key_set()
    site.edit_state(key_set=newer)
    assert refused(site, old) == "KEY_REVOKED"


def test_an_older_file_is_refused(site: Site) -> None:
    site.cloud.servers["ins_1"].gen = 4
    licensed(site)
    text = request(site)
    site.cloud.servers["ins_1"].gen = 2
    with pytest.raises(Untrusted) as caught:
        load(site, site.cloud.license_file(text))
    assert caught.value.code == "OLDER_SEQUENCE"
    site.cloud.servers["ins_1"].gen = 5
    assert load(site, site.cloud.license_file(text)).sequence == (6, 0)


def test_importing_it_again_changes_nothing(site: Site) -> None:
    content = licensed(site)
    before = site.raw_state()
    load(site, content)
    assert site.raw_state() == before


def test_the_receipt_says_that_this_license_was_given_up_and_is_kept(site: Site, product: Callable[..., Check]) -> None:
    content = licensed(site)
    license, key = site.state().license, site.state().private_key
    assert license
    assert key
    text = give_up(site)
    assert not product()
    assert product().code == "NOT_ACTIVATED"
    said = jwt.decode(text, _public(key), algorithms=["ES256"], options={"verify_iat": False, "verify_iss": False})
    claims = trust.peek(license)
    assert jwt.get_unverified_header(text)["typ"] == "deactivation+jwt"
    assert (said["iss"], said["gen"], said["license"]) == (claims["sub"], claims["gen"], claims["jti"])
    assert give_up(site) == text
    assert refused(site, content) == "NO_OFFLINE_REQUEST"
    assert key not in (site.path / "state.json").read_text()


def _public(private_key: str) -> jwt.PyJWK:
    from license_manager.proof import public_jwk

    return jwt.PyJWK(public_jwk(private_key), "ES256")


def test_a_crash_before_the_receipt_is_shown_gives_nothing_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    licensed(site)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", _no_space)
        with pytest.raises(OSError, match="space"):
            give_up(site)
    assert site.check()
    give_up(site)
    assert not site.check()


def _no_space(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_without_a_license_file_there_is_nothing_to_give_up(site: Site) -> None:
    with pytest.raises(NotActivated) as caught:
        give_up(site)
    assert caught.value.code == "NO_OFFLINE_LICENSE"


def test_a_license_file_must_be_given_up_before_the_server_goes_online(site: Site) -> None:
    licensed(site)
    for call in (site.activate, site.validate):
        with pytest.raises(LicenseManagerError) as caught:
            call()
        assert caught.value.code == "OFFLINE_LICENSE"
    with site.manager() as manager, pytest.raises(LicenseManagerError):
        manager.deactivate()
    receipt = give_up(site)
    site.cloud.intruder = None
    site.activate()
    assert site.check()
    assert give_up(site) == receipt  # it may not have been handed in yet
    with site.manager() as manager:
        manager.deactivate()
    assert give_up(site) == receipt


def test_an_online_server_goes_offline(site: Site) -> None:
    site.cloud.intruder = None
    site.activate()
    site.cloud.intruder = lambda number, asked: pytest.fail("asked")
    licensed(site)
    assert site.state().server_token is None
    site.pass_time(days=50)
    assert site.check()


def test_the_service_waits_and_keeps_the_time(site: Site) -> None:
    licensed(site, exp=int(NOON + 30 * DAY))
    said: list[str] = []
    service = Service(site.manager, site.computer.machine(), Stopper(), said.append)
    for _ in range(3):
        assert service.step() == 60
    assert len(said) == 1
    assert "file" in said[0]
    site.pass_time(days=40)
    service.step()
    site.computer.wall -= 30 * DAY
    assert not site.check()


# Commands


def test_commands_from_request_to_receipt(command: Command, site: Site, tmp_path: Path) -> None:
    done = command("offline", "request", "--qr", "--qr-file", "code.svg")
    assert done.exit_code == 0, done.output
    assert "https://licensing.aurora.example" in done.output
    assert "▀" in done.output
    assert "<svg" in (tmp_path / "code.svg").read_text()
    text = (tmp_path / offline.REQUEST_FILE).read_text().strip()
    assert command("offline", "request", "--out", "-").output.strip() == text
    assert "A request for a license file" in command("status").output
    (tmp_path / "license.json").write_bytes(site.cloud.license_file(text))
    done = command("offline", "import", "license.json")
    assert done.exit_code == 0, done.output
    for expected in ("in use", "Officine Lombarde S.p.A.", "Milano", "never ends", "Advanced Queueing", "20 channels"):
        assert expected in done.output
    shown = json.loads(command("status", "--json").output)
    assert (shown["mode"], shown["allowed"], shown["expires_at"]) == ("offline", True, None)
    done = command("validate")
    assert (done.exit_code, "nothing to validate" in done.output) == (0, True)
    assert "offline deactivate" in command("deactivate", "-y").output
    assert command("offline", "deactivate", typed="n\n").exit_code == 1
    assert site.check()
    done = command("offline", "deactivate", "--out", "receipt.txt", "-y")
    assert done.exit_code == 0
    assert (tmp_path / "receipt.txt").read_text().strip() in done.stdout.splitlines()
    assert command("offline", "deactivate").stdout.splitlines()[0] == done.stdout.splitlines()[0]
    assert command("status").exit_code == 3


def test_a_license_file_comes_by_standard_input_too(command: Command, site: Site) -> None:
    content = site.cloud.license_file(command("offline", "request", "--out", "-").output.strip())
    assert command("offline", "import", "-", typed=content).exit_code == 0
    assert command("offline", "import", "nowhere.json").exit_code == 1


def test_a_qr_code_is_a_png_or_not_written(command: Command, tmp_path: Path) -> None:
    assert command("offline", "request", "--qr-file", "code.png").exit_code == 0
    assert (tmp_path / "code.png").read_bytes().startswith(b"\x89PNG")
    assert command("offline", "request", "--qr-file", "code.txt").exit_code == 2


def test_a_terminal_that_is_too_narrow_is_told_so(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("license_manager.cli.screens.console", _narrow)
    done = command("offline", "request", "--qr")
    assert done.exit_code == 2
    assert "--qr-file" in " ".join(done.output.split())


def _narrow(stderr: bool = False) -> Any:
    from rich.console import Console

    return Console(stderr=stderr, width=80)


def test_guided_flow_without_a_network(command: Command, site: Site, tmp_path: Path) -> None:
    text = request(site)
    (tmp_path / "license.json").write_bytes(site.cloud.license_file(text))
    (tmp_path / "wrong.json").write_bytes(b"{}")
    done = command(typed="o\nnowhere.json\nwrong.json\nlicense.json\nv\nq\n")
    assert done.exit_code == 0, done.output
    for expected in ("No such file", "LICENSE_FILE_DAMAGED", "in use", "nothing to validate", "Goodbye."):
        assert expected in done.output
    assert (tmp_path / offline.REQUEST_FILE).read_text().strip() == text
