from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from license_manager import home as homes
from license_manager import journal, settings, state
from license_manager.errors import Busy, Misuse, NotPrivate, StateDamaged, Unreachable
from license_manager.home import Home, locate
from license_manager.state import State

from tests.unit.agent.conftest import Site

posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.prepare()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_everything_is_readable_by_the_owner_only(site: Site) -> None:
    previous = os.umask(0)
    try:
        site.activate()
        settings.save(site.home, settings.Settings(proxy="http://user:secret@proxy:1"))
    finally:
        os.umask(previous)
    assert mode(site.path) == 0o700
    assert {path.name: mode(path) for path in site.path.iterdir()} == dict.fromkeys(
        (".lock", "log.jsonl", "settings.json", "state.json"), 0o600
    )


@posix
def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Home(tmp_path).prepare()
    assert mode(tmp_path) == 0o700


@posix
def test_a_folder_that_holds_our_files_is_closed(tmp_path: Path) -> None:
    (tmp_path / "vendor.json").touch()
    tmp_path.chmod(0o755)
    Home(tmp_path).prepare()
    assert mode(tmp_path) == 0o700


@posix
def test_a_folder_that_is_somebody_elses_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    tmp_path.chmod(0o755)
    with pytest.raises(NotPrivate, match="nothing in it is a License Manager's"):
        Home(tmp_path).prepare()
    assert mode(tmp_path) == 0o755


def test_a_folder_of_windows_is_closed_until_it_holds_a_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vendor.json").touch()
    closed: list[Path] = []
    monkeypatch.setattr(homes.sys, "platform", "win32")
    monkeypatch.setattr(homes, "_protect_on_windows", closed.append)
    Home(tmp_path).prepare()
    assert closed == [tmp_path]
    (tmp_path / "state.json").touch()
    Home(tmp_path).prepare()
    assert closed == [tmp_path]


def test_a_half_written_state_with_its_key_does_not_stay(home: Home) -> None:
    (home / ".state.json.1.2.new").write_bytes(b"key")
    with home.locked(0):
        assert [path.name for path in home.path.iterdir()] == [".lock"]


def test_settings_are_changed_by_one_at_a_time(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LOCK_TIMEOUT", 0)
    with home.locked(0), pytest.raises(Busy):
        settings.update(home, {"site": "2"})
    settings.update(home, {"site": "2"})
    assert settings.update(home, {"validate_at": "06:30"}).site == "2"


@posix
def test_files_of_another_user_are_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write("state.json", b"{}")
    monkeypatch.setattr(homes.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(NotPrivate, match="belongs to the user"):
        home.read("state.json")
    with pytest.raises(NotPrivate, match="belongs to the user"):
        home.prepare()


@posix
def test_links_are_not_followed(home: Home, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"planted")
    (home / "state.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotPrivate, match="is a link"):
        home.read("state.json")
    home.write("state.json", b"own")
    assert (tmp_path / "elsewhere").read_bytes() == b"planted"
    assert home.read("state.json") == b"own"


def test_an_interrupted_write_leaves_the_old_content(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write("state.json", b"old")

    def power_cut(_: int) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(homes.os, "fsync", power_cut)
    with pytest.raises(OSError, match="power cut"):
        home.write("state.json", b"new")
    assert home.read("state.json") == b"old"
    assert [path.name for path in home.path.iterdir()] == ["state.json"]


def test_one_writer_at_a_time(home: Home) -> None:
    with home.locked(0), pytest.raises(Busy, match="at work"), home.locked(0):
        pytest.fail("must not get here")
    with home.locked(0):
        pass


def test_home_is_found_by_argument_then_environment(tmp_path: Path) -> None:
    assert locate(tmp_path / "a", {"LICENSE_MANAGER_HOME": "b"}) == tmp_path / "a"
    assert locate(None, {"LICENSE_MANAGER_HOME": str(tmp_path / "b")}) == tmp_path / "b"


def test_an_administrator_has_the_machine_wide_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "is_administrator", lambda: True)
    assert locate(None, {}).name == "license-manager"
    monkeypatch.setattr(homes, "is_administrator", lambda: False)
    assert locate(None, {}).name == "license-manager"


def test_state_survives_its_file(home: Home) -> None:
    written = State(private_key="pem", floor={"installation_id": "i", "generation": 1, "sequence": 2}, high_water=5.0)
    state.save(home, written)
    assert state.load(home) == written


@pytest.mark.parametrize("content", [b"", b"nul\x00", b'{"format": 1, "more": 1}', b'{"format": true}', b"[" * 99_999])
def test_damage_is_noticed(content: bytes, home: Home) -> None:
    home.write("state.json", content)
    with pytest.raises(StateDamaged):
        state.load(home)


WRONG_PARTS: list[dict[str, object]] = [
    {"high_water": float("nan")},
    {"high_water": 1e308},
    {"high_water": -1},
    {"next_validation_at": float("inf")},
    {"answered_at": True},
    {"anchor": {"server_time": 1e18, "monotonic": 1.0, "boot_id": ""}},
    {"anchor": {"server_time": 1.0}},
    {"private_key": ""},
    {"private_key": "-----BEGIN PRIVATE KEY-----"},
    {"pending": {"kind": "validation"}},
    {"activation": {"nonce": "n", "private_key": "", "target": {}, "body": {}}},
    {"floor": {"installation_id": "ins_1"}},
    {"labels": {"customer": 5}},
    {"last_attempt": {}},
]


@pytest.mark.parametrize("part", WRONG_PARTS, ids=str)
def test_a_state_that_was_made_up_is_damage_to_whoever_works_with_it(part: dict[str, object], site: Site) -> None:
    site.activate()
    site.edit_state(**part)
    with pytest.raises(StateDamaged, match="copy is kept"):
        site.validate()


def append(home: Home, day: int, retention_days: int | None = 8) -> None:
    journal.append(
        home,
        now=day * 86400.0,
        command="validate",
        result="ok",
        code="VALID",
        detail=f"day {day}",
        retention_days=retention_days,
    )


def test_log_is_trimmed_to_the_days_named(home: Home) -> None:
    for day in range(10, 20):
        append(home, day)
    assert [entry["detail"] for entry in journal.entries(home)] == [f"day {day}" for day in range(11, 20)]
    assert [entry["detail"] for entry in journal.entries(home, last=1)] == ["day 19"]


def test_a_clock_that_is_ahead_does_not_wipe_the_log(site: Site) -> None:
    site.activate()
    site.computer.wall += 4000 * 86400
    site.cloud.refuse_connection(1)
    site.cloud.refuse_connection(2)
    with pytest.raises(Unreachable):
        site.validate()
    assert [entry["command"] for entry in journal.entries(site.home)] == ["activate", "validate"]


@pytest.mark.parametrize(("days", "kept"), [(1, 2), (6, 7), (0, 2)])
def test_log_is_trimmed_to_few_days_too_and_one_is_always_kept(home: Home, days: int, kept: int) -> None:
    for day in range(10, 20):
        append(home, day, retention_days=days)
    assert [entry["detail"] for entry in journal.entries(home)] == [f"day {day}" for day in range(20 - kept, 20)]


def test_log_follows_the_retention_of_the_last_answer(site: Site) -> None:
    site.cloud.log_retention_days = 8
    site.activate()
    site.pass_time(days=9)
    site.validate()
    assert [entry["command"] for entry in journal.entries(site.home)] == ["validate"]


def test_log_lives_with_lines_that_can_not_be_read(home: Home) -> None:
    home.write("log.jsonl", b'half a li\n[]\n{"at": 5}\n')
    append(home, 10)
    assert [entry["detail"] for entry in journal.entries(home)] == ["day 10"]


def test_settings_go_back_to_their_default_and_refuse_nonsense(home: Home) -> None:
    current = settings.change(
        settings.Settings(),
        {"site": "2", "proxy": "proxy:3128", "validate_at": "09:30", "databases": "a, b", "app_version": "Winter 2020"},
    )
    assert (current.proxy, current.databases) == ("http://proxy:3128", ("a", "b"))
    settings.save(home, current)
    assert settings.load(home) == current
    assert settings.change(current, {"proxy": "", "databases": []}).shown()["proxy"] == ""
    for wrong in (
        {"site": "3"},
        {"proxy": "socks5://proxy:1"},
        {"proxy": "ftp://proxy"},
        {"proxy": "http://"},
        {"proxy": "http://proxy:99999"},
        {"proxy": 5},
        {"ca_file": "/nonexistent"},
        {"validate_at": "24:00"},
        {"validate_at": "9:30"},
        {"databases": ["x" * 129]},
        {"databases": 5},
        {"app_version": 5},
        {"unknown": 1},
    ):
        with pytest.raises(Misuse):
            settings.change(current, wrong)


def test_password_of_the_proxy_is_masked(home: Home) -> None:
    changed = settings.change(settings.Settings(), {"proxy": "http://joe:geheim@proxy:3128"})
    assert changed.shown()["proxy"] == "http://********@proxy:3128"


def test_edited_settings_are_named(home: Home) -> None:
    for content in ("{", "[]", json.dumps({"site": "7"})):
        home.write("settings.json", content.encode())
        with pytest.raises(Misuse, match=r"settings\.json are not usable"):
            settings.load(home)
