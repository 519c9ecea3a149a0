"""`license_manager.check()` as the product calls it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import license_manager
import pytest
from license_manager import NotLicensed, checking
from license_manager.checking import Check

from tests.unit.agent.conftest import Site
from tests.unit.agent.fake_cloud import NOON, Key, rfc3339

Product = Callable[..., Check]


def test_importing_the_package_is_light() -> None:
    script = (
        "import sys, license_manager; license_manager.check('/nonexistent');"
        "print(*{'httpx', 'typer', 'rich', 'jwt', 'cryptography', 'filelock'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_checking_a_license_loads_no_http_client(site: Site, product: Product) -> None:
    site.activate()
    script = (
        "import sys, license_manager; license_manager.check(sys.argv[1]);"
        "print(*{'httpx', 'typer', 'rich', 'filelock'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(site.path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_never_imports_the_cloud_side() -> None:
    script = (
        "import sys, license_manager.cli;"
        "print(*{'licensing', 'boto3', 'pynamodb', 'functions', 'infra'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_not_activated(product: Product) -> None:
    answer = product()
    assert (bool(answer), answer.status, answer.code) == (False, "not_activated", "NOT_ACTIVATED")
    assert "Aurora Communications" in answer.reason


def test_allows_what_is_licensed_and_nothing_else(site: Site, product: Product) -> None:
    site.activate()
    answer = product()
    assert answer
    assert answer.may("advanced-queueing")
    assert answer.may("advanced-queueing", "supervisor-dashboard")
    assert not answer.may("advanced-queueing", "other")
    assert not answer.may("fax-server")
    assert (answer.quantity("advanced-queueing"), answer.quantity("fax-server")) == (20, 0)
    assert answer.expires_at is not None
    assert answer.expires_at.isoformat() == "2026-12-02T23:00:00+00:00"


def test_the_answer_can_not_be_changed(product: Product) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        product().allowed = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("days", "status", "allowed"),
    [
        (0, "ok", True),
        (2, "ok", True),
        (3, "warning", True),
        (4, "grace", True),
        (10, "grace", True),
        (11, "blocked", False),
        (400, "blocked", False),
    ],
)
def test_climbs_the_ladder_in_a_running_product(
    days: int, status: str, allowed: bool, site: Site, product: Product
) -> None:
    site.activate()
    assert product().status == "ok"
    site.pass_time(days=days)
    answer = product()
    assert (answer.status, answer.allowed, answer.silent_days) == (status, allowed, days)


def test_blocked_says_since_when_why_and_whom_to_ask(site: Site, product: Product) -> None:
    site.activate()
    site.cloud.refuse_connection(1)
    site.cloud.refuse_connection(2)
    with pytest.raises(license_manager.checking.LicenseManagerError):
        site.validate()
    site.pass_time(days=11)
    reason = product().reason
    assert "2026-11-22 12:00" in reason
    assert "refuses the connection" in reason
    assert "licenses@aurora.example" in reason


def test_the_next_success_unblocks(site: Site, product: Product) -> None:
    site.activate()
    site.pass_time(days=12)
    assert not product()
    site.validate()
    assert product().status == "ok"


def test_changes_at_local_midnight_without_a_change_on_disk(site: Site, product: Product) -> None:
    site.activate()
    assert product().silent_days == 0
    site.pass_time(seconds=12 * 3600 - 1)
    assert product().silent_days == 0
    site.pass_time(seconds=1)
    assert product().silent_days == 1


def test_entitlements_begin_and_end_by_themselves(site: Site, product: Product) -> None:
    [entitlement] = site.cloud.entitlements
    site.cloud.entitlements.append({**entitlement, "application": "fax", "starts_at": rfc3339(site.cloud.now + 60)})
    entitlement["ends_at"] = rfc3339(site.cloud.now + 120)
    site.activate()
    assert (product().may("advanced-queueing"), product().may("fax")) == (True, False)
    site.pass_time(seconds=60)
    assert (product().may("advanced-queueing"), product().may("fax")) == (True, True)
    site.pass_time(seconds=60)
    assert (product().may("advanced-queueing"), product().may("fax")) == (False, True)


def test_a_perpetual_entitlement_never_ends(site: Site, product: Product) -> None:
    site.cloud.entitlements[0].update(ends_at=None, last_day=None, type="perpetual")
    site.activate()
    site.pass_time(days=9)
    assert product().may("advanced-queueing")


def test_a_clock_turned_back_gains_nothing(site: Site, product: Product) -> None:
    site.activate()
    assert product().allowed
    site.pass_time(days=11)
    site.computer.wall -= 11 * 86400
    assert product().status == "blocked"


def test_a_product_restarted_with_its_clock_turned_back_is_blocked_all_the_same(site: Site, product: Product) -> None:
    site.activate()
    site.pass_time(days=11)
    with site.manager() as manager:
        manager.keep_time()
    site.computer.wall -= 11 * 86400
    site.computer.boot_id = "boot-2"
    assert product().status == "blocked"


def test_another_machine_is_refused(site: Site, product: Product) -> None:
    site.activate()
    site.computer.fingerprint["mac"] = "changed"
    assert product().allowed
    checking._places.clear()
    site.computer.fingerprint["machine_id"] = "changed"
    answer = product()
    assert (answer.allowed, answer.status, answer.code) == (False, "refused", "FINGERPRINT_MISMATCH")


def test_edited_token_is_refused(site: Site, product: Product) -> None:
    site.activate()
    header, payload, signature = site.raw_state()["server_token"].split(".")
    site.edit_state(server_token=f"{header}.{payload[:-4]}AAAA.{signature}")
    assert (product().status, product().code) == ("refused", "INVALID_TOKEN")


def test_an_entitlement_added_to_the_labels_gives_nothing(site: Site, product: Product) -> None:
    site.activate()
    site.edit_state(labels={**site.raw_state()["labels"], "entitlements": [{"application": "fax"}]})
    assert not product().may("fax")


def test_root_keys_in_the_product_beat_a_replaced_vendor_profile(site: Site, product: Product) -> None:
    pinned = [site.cloud.root.jwk]
    site.activate()
    assert product(root_keys=pinned).allowed
    forger = type(site.cloud)()
    site.cloud, honest = forger, site.cloud
    (site.path / "vendor.json").write_text(json.dumps(forger.profile()))
    (site.path / "state.json").unlink()
    site.activate()
    assert product().allowed
    assert product(root_keys=pinned).code == "KEY_SET_FORGED"
    assert honest.root.kid != forger.root.kid


def test_a_verdict_of_an_earlier_time_does_not_count(site: Site, product: Product) -> None:
    site.activate()
    site.cloud.no = ("INSTALLATION_DISABLED", True)
    site.validate()
    old = site.raw_state()["verdict"]
    site.cloud.no = None
    site.validate()
    site.edit_state(verdict=old)
    assert product().allowed


def test_damaged_state_is_said_and_not_touched(site: Site, product: Product) -> None:
    site.activate()
    path = site.path / "state.json"
    for content in (
        b"",
        b"{",
        b"[]",
        b'{"format": 2}',
        b'{"format": 1, "server_token": 5}',
        b"[" * 100_000,
        b'{"format": 1, "high_water": 1e308}',
    ):
        path.write_bytes(content)
        answer = product()
        assert (answer.status, answer.code) == ("not_activated", "STATE_DAMAGED")
        assert path.read_bytes() == content


def test_a_broken_vendor_profile_is_named(site: Site, product: Product) -> None:
    site.activate()
    (site.path / "vendor.json").write_text('{"vendor": "x"}')
    checking._places.clear()
    assert (product().status, product().code) == ("refused", "VENDOR_UNKNOWN")


def fail_once(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, path: Path, error: OSError) -> None:
    """Lets the next call fail that is about something below a path."""
    real, left = getattr(module, name), [error]

    def call(about: Any, *arguments: Any, **options: Any) -> Any:
        if left and str(about).startswith(str(path)):
            raise left.pop()
        return real(about, *arguments, **options)

    monkeypatch.setattr(module, name, call)


def test_what_was_wrong_for_a_moment_is_looked_at_again(
    site: Site, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.activate()
    fail_once(monkeypatch, os, "open", site.path / "state.json", OSError(24, "Too many open files"))
    assert product().code == "STATE_NOT_PRIVATE"
    site.computer.monotonic += 1
    assert product().allowed


def test_files_given_back_to_their_owner_are_read_again(
    site: Site, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.activate()
    with monkeypatch.context() as other_user:
        other_user.setattr(os, "geteuid", lambda: os.getuid() + 1)
        assert product().code == "STATE_NOT_PRIVATE"
    os.chmod(site.path / "state.json", 0o600)
    assert product().allowed


def test_a_vendor_profile_put_back_is_read_again(site: Site, product: Product) -> None:
    site.activate()
    profile = (site.path / "vendor.json").read_bytes()
    (site.path / "vendor.json").unlink()
    assert product().code == "VENDOR_UNKNOWN"
    (site.path / "vendor.json").write_bytes(profile)
    assert product().allowed


def test_a_fingerprint_that_could_not_be_read_for_a_moment_is_read_again(site: Site, product: Product) -> None:
    site.activate()
    whole, site.computer.fingerprint = site.computer.fingerprint, {}
    assert product().code == "FINGERPRINT_MISMATCH"
    site.computer.fingerprint = whole
    site.computer.monotonic += 1
    assert product().allowed


def test_a_home_that_this_user_may_not_enter_is_not_private(
    site: Site, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.activate()
    forbidden = PermissionError(13, "Permission denied")
    fail_once(monkeypatch, os, "open", site.path / "state.json", forbidden)
    fail_once(monkeypatch, os, "stat", site.path, forbidden)
    answer = product()
    assert (answer.status, answer.code) == ("refused", "STATE_NOT_PRIVATE")
    assert "can't be read by this user" in answer.reason


def test_an_empty_list_of_root_keys_trusts_nobody(site: Site, product: Product) -> None:
    site.activate()
    assert product(root_keys=[]).code == "KEY_SET_FORGED"


def test_threads_never_keep_an_answer_about_what_was_there_before(
    site: Site, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.activate()
    assert product().allowed
    site.pass_time(days=1)
    real = checking.judge

    def judge_slowly(standing: checking.Standing, now: float) -> tuple[Check, float]:
        monkeypatch.setattr(checking, "judge", real)
        found = real(standing, now)
        site.cloud.no = ("INSTALLATION_DISABLED", True)
        site.validate()
        assert not product()  # as another thread, in between
        return found

    monkeypatch.setattr(checking, "judge", judge_slowly)
    product()
    assert product().code == "INSTALLATION_DISABLED"


def test_time_is_never_earlier_than_the_token(site: Site, product: Product) -> None:
    site.activate()
    site.edit_state(high_water=0, anchor=None)
    site.computer.wall -= 3000 * 86400
    state = site.state()
    clock = site.manager().clock(state)
    assert (clock.now(), clock.turned_back()) == (NOON, 3000 * 86400)
    assert product().silent_days == 0


def test_a_key_revoked_in_the_stored_key_set_is_refused(site: Site, product: Product) -> None:
    site.activate()
    site.cloud.revoked = [site.cloud.signer.kid]
    site.edit_state(key_set=site.cloud.key_set())
    assert product().code == "KEY_REVOKED"


def test_a_key_set_signed_by_another_root_is_refused(site: Site, product: Product) -> None:
    site.activate()
    site.edit_state(key_set=site.cloud.key_set(root=Key()))
    assert product().code == "KEY_SET_FORGED"


def test_writes_nothing(site: Site, product: Product) -> None:
    site.activate()
    before = {path.name: path.stat().st_mtime_ns for path in site.path.iterdir()}
    product()
    site.pass_time(days=5)
    product()
    assert {path.name: path.stat().st_mtime_ns for path in site.path.iterdir()} == before


def test_a_warm_check_takes_microseconds(site: Site, product: Product) -> None:
    site.activate()
    product()
    best = min(timeit.repeat(product, number=1000, repeat=5)) / 1000
    assert best < 100e-6  # about 3 µs on an idle core


def test_decorator_and_context_let_pass_or_raise(site: Site, product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LICENSE_MANAGER_HOME", str(site.path))

    @license_manager.licensed("advanced-queueing", module="supervisor-dashboard")
    def watch(name: str) -> str:
        """Watches."""
        return f"watching {name}"

    @license_manager.licensed("advanced-queueing")
    async def queue() -> int:
        return 7

    with pytest.raises(NotLicensed) as caught:
        watch("x")
    assert caught.value.check.code == "NOT_ACTIVATED"
    site.activate()
    assert watch("x") == "watching x"
    assert watch.__doc__ == "Watches."
    assert asyncio.run(queue()) == 7
    with license_manager.licensed("advanced-queueing") as answer:
        assert answer.allowed
    with pytest.raises(NotLicensed, match="fax-server / fine"), license_manager.licensed("fax-server", "fine"):
        pytest.fail("must not get here")


def test_an_error_inside_the_guarded_block_goes_through(site: Site, product: Product) -> None:
    site.activate()
    with pytest.raises(ZeroDivisionError), license_manager.licensed("advanced-queueing", home=site.path):
        _ = 1 / 0


@pytest.mark.parametrize(
    "told",
    [
        {"app_version": "x" * 65},
        {"databases": ["d"] * 21},
        {"databases": [""]},
        {"usage": {"calls": -1}},
        {"usage": {"calls": True}},
        {"usage": {str(number): 1 for number in range(51)}},
    ],
)
def test_report_refuses_what_the_cloud_would_refuse(told: dict[str, Any], site: Site) -> None:
    with pytest.raises(ValueError, match="must be"):
        license_manager.report(**told, home=site.path)
