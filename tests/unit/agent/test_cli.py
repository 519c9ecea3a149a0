"""The command as a person types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from license_manager.cli import Surroundings, app
from typer.testing import CliRunner

from tests.unit.agent.conftest import Site
from tests.unit.agent.fake_cloud import Key, problem

Command = Callable[..., Any]


@pytest.fixture
def command(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "160")
    vendor = tmp_path / "vendor.json"
    vendor.write_text(json.dumps(site.cloud.profile()))

    def run(*arguments: str, typed: str | None = None) -> Any:
        here = Surroundings(machine=site.computer.machine(), http=site.cloud.transport())
        options = ["--home", str(site.path), "--vendor", str(vendor)]
        return CliRunner().invoke(app, [*options, *arguments], input=typed, obj=here)

    return run


def lines(*typed: str) -> str:
    return "".join(f"{line}\n" for line in typed)


def test_guided_flow_from_tax_id_to_result_refresh_and_exit(command: Command, site: Site) -> None:
    site.computer.environ["LICENSE_MANAGER_UNUSED"] = ""
    done = command(typed=lines("IT00743110157", "y", "123 456", "2", "v", "s", "t", "q"))
    assert done.exit_code == 0
    for expected in (
        "Aurora Communications · License Manager",
        "Officine Lombarde S.p.A.",
        "Bergamo",
        "First validation",
        "Operation completed",
        "Advanced Queueing",
        "supervisor-dashboard",
        "20 channels",
        "GOLD to 2027-03-31",
        "Site 2",
        "Goodbye.",
    ):
        assert expected in done.output


def test_guided_flow_asks_again_after_each_mistake(command: Command) -> None:
    typed = lines("??", "IT1234567", "y", "IT00743110157", "n", "IT00743110157", "", "12", "000000", "123456", "7", "1")
    done = command(typed=typed + "q\n")
    assert done.exit_code == 0
    for expected in ("has 5 to 20 letters", "check digits", "6 digits", "Tries left: 4", "number from 1 to 2"):
        assert expected in done.output
    assert "First validation" in done.output


def test_guided_flow_by_pasted_token(command: Command) -> None:
    done = command(typed=lines("t", "AT-WRONG", "t", "AT-MILANO", "q"))
    assert "not known" in done.output
    assert "First validation" in done.output
    assert done.exit_code == 0


def test_guided_flow_sends_another_code(command: Command, site: Site) -> None:
    site.cloud.tries = 1
    done = command(typed=lines("IT00743110157", "y", "000000", "y", "123456", "1", "q"))
    assert "can't be used any more" in done.output
    assert "First validation" in done.output


@pytest.mark.parametrize("typed", ["", "IT00743110157\n", "q\n", "IT00743110157\ny\n", "IT00743110157\ny\nq\n"])
def test_leaving_early_activates_nothing_and_shows_no_traceback(typed: str, command: Command, site: Site) -> None:
    done = command(typed=typed)
    assert done.exit_code == 1
    assert "Nothing was activated" in done.output
    assert "Traceback" not in done.output
    assert site.cloud.servers["ins_1"].status == "available"


def test_an_active_server_is_shown_at_once(command: Command, site: Site) -> None:
    site.activate()
    done = command(typed="q\n")
    assert done.exit_code == 0
    assert "Status" in done.output
    assert "Tax id" not in done.output


def test_an_unanswered_activation_is_repeated_first(command: Command, site: Site) -> None:
    site.cloud.lose_answers = 1
    assert command("activate", "--token", "AT-MILANO").exit_code == 4
    done = command(typed="q\n")
    assert "not answered. Repeating" in done.output
    assert "First validation" in done.output


def test_damaged_state_is_told_and_activation_offered(command: Command, site: Site) -> None:
    site.activate()
    (site.path / "state.json").write_bytes(b"{")
    assert command("status").exit_code == 3
    validated = command("validate")
    assert validated.exit_code == 3
    assert "copy is kept as" in validated.output
    (site.path / "state.json").write_bytes(b"{")
    done = command(typed=lines("t", "AT-MILANO", "q"))
    assert "damaged" in done.output
    assert "First validation" in done.output


def test_activate_by_token_from_standard_input(command: Command) -> None:
    done = command("activate", "--token", "-", typed="AT-MILANO\n")
    assert done.exit_code == 0
    assert "First validation" in done.output


def test_activate_by_tax_id_and_named_installation(command: Command, site: Site) -> None:
    done = command("activate", "--tax-id", "IT00743110157", "--installation", "Bergamo", typed="123456\n")
    assert done.exit_code == 0
    assert site.cloud.servers["ins_2"].status == "active"


def test_a_mistyped_tax_id_ends_an_activation_that_nobody_can_correct(command: Command) -> None:
    done = command("activate", "--tax-id", "IT1234567")
    assert done.exit_code == 1
    assert "check digits" in done.output
    assert command("activate", "--tax-id", "!").exit_code == 2


def test_activates_unattended_from_a_file(command: Command, site: Site, tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(
        json.dumps(
            {"activation_token": "AT-MILANO", "settings": {"databases": ["orders"], "app_version": "Winter 2020"}}
        )
    )
    done = command("activate", "--file", str(answers))
    assert done.exit_code == 0
    assert "orders" in done.output
    assert site.cloud.posts("/v1/activations")[0][1]["app_version"] == "Winter 2020"


def test_activates_unattended_by_tax_id_within_an_open_window(command: Command, site: Site, tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps({"tax_id": "IT00743110157"}))
    closed = command("activate", "--file", str(answers))
    assert (closed.exit_code, "nobody is here to type it" in closed.output) == (1, True)
    site.cloud.open_window = True
    several = command("activate", "--file", str(answers))
    assert (several.exit_code, "--installation: Milano, Bergamo" in several.output) == (3, True)
    answers.write_text(json.dumps({"tax_id": "IT00743110157", "installation": "Milano"}))
    assert command("activate", "--file", str(answers)).exit_code == 0


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"activation_token": "a", "tax_id": "b"}', '{"token": "a"}', '{"activation_token": 5}'],
)
def test_unusable_answers_are_wrong_use(content: str, command: Command, tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(content)
    done = command("activate", "--file", str(answers))
    assert done.exit_code == 2
    assert "is not usable" in done.output


def test_an_active_server_is_not_activated_by_accident(command: Command, site: Site) -> None:
    site.activate()
    refused = command("activate", "--token", "AT-BERGAMO")
    assert (refused.exit_code, "is active as Milano" in refused.output) == (1, True)
    assert command("activate", "--token", "AT-BERGAMO", "--again").exit_code == 0


def test_exit_codes(command: Command, site: Site) -> None:
    assert command("status").exit_code == 3
    assert command("validate").exit_code == 3
    assert command("deactivate", "--yes").exit_code == 3
    assert command("nonsense").exit_code == 2
    assert command("site", "use", "3").exit_code == 2
    site.activate()
    assert command("status").exit_code == 0
    assert command("validate").exit_code == 0
    site.cloud.no = ("INSTALLATION_DISABLED", True)
    assert command("validate").exit_code == 1
    assert command("status").exit_code == 1
    site.cloud.refuse_connection(1)
    assert command("test").exit_code == 4
    site.cloud.refuse_connection(2)
    assert command("validate").exit_code == 4


def test_an_interception_is_a_failure_not_an_outage(command: Command, site: Site) -> None:
    site.cloud.intruder = lambda number, request: (
        httpx.Response(200, text=site.cloud.key_set(root=Key()), headers={"content-type": "application/jose"})
        if request.url.path == "/v1/keyset"
        else None
    )
    done = command("activate", "--token", "AT-MILANO")
    assert done.exit_code == 1
    assert "not signed by the vendor's root" in done.output


def test_status_as_json(command: Command, site: Site) -> None:
    site.activate()
    document = json.loads(command("status", "--json").output)
    assert (document["allowed"], document["status"], document["code"]) == (True, "ok", "VALID")
    assert document["entitlements"][0]["quantity"] == 20
    assert document["expires_at"] == "2026-12-02T23:00:00Z"


def test_status_in_grace_and_blocked(command: Command, site: Site) -> None:
    site.activate()
    site.pass_time(days=6)
    grace = command("status")
    assert (grace.exit_code, "grace 6/10" in grace.output) == (0, True)
    assert "licenses@aurora.example" in grace.output
    assert "Validation overdue since" in grace.output
    site.pass_time(days=5)
    blocked = command("status")
    assert (blocked.exit_code, "blocked" in blocked.output) == (1, True)


def test_status_writes_nothing(command: Command, site: Site) -> None:
    command("status")
    assert not site.path.exists()


def test_status_tells_a_clock_that_was_turned_back(command: Command, site: Site) -> None:
    site.activate()
    site.computer.wall -= 7200
    assert "2 hours behind the time already seen" in command("status").output
    command("validate")
    assert "CLOCK_TURNED_BACK" in command("log").output


def test_messages_of_the_vendor_are_shown_and_not_read_as_markup(command: Command, site: Site) -> None:
    site.cloud.messages = [{"code": "LICENSE_EXPIRING", "detail": "AQ [bold]ends[/bold] in 12 days."}]
    site.cloud.servers["ins_1"].name = "[red]Milano[/red]"
    site.cloud.entitlements[0]["name"] = "[link=x]Queue[/link]"
    done = command("activate", "--token", "AT-MILANO")
    for expected in ("AQ [bold]ends[/bold] in 12 days.", "[red]Milano[/red]", "[link=x]Queue[/link]"):
        assert expected in done.output


def test_site_choice_is_saved_and_shown(command: Command, site: Site) -> None:
    assert "Site 2" in command("site", "use", "2").output
    assert "Site 2" in command("site", "show").output
    turned_down = command("activate", "--token", "AT-MILANO")
    assert (turned_down.exit_code, "site use auto" in turned_down.output) == (4, True)
    command("site", "use", "1")
    site.activate()
    command("site", "use", "2")
    assert site.validate().site == 2
    assert "auto" in command("site", "use", "auto").output


def test_settings_never_show_a_password(command: Command, site: Site) -> None:
    done = command("settings", "set", "proxy", "-", typed="http://joe:geheim@proxy.example:3128\n")
    everything = done.output + command("settings", "show").output + command("log").output + command("test").output
    everything += command("settings", "show", "--json").output
    assert "http://********@proxy.example:3128" in everything
    assert "geheim" not in everything
    assert command("settings", "set", "color", "red").exit_code == 2


def test_deactivation_asks_first(command: Command, site: Site) -> None:
    site.activate()
    assert command("deactivate", typed="n\n").exit_code == 1
    assert command("deactivate", typed="").exit_code == 1
    assert site.cloud.servers["ins_1"].status == "active"
    done = command("deactivate", typed="y\n")
    assert (done.exit_code, "Milano is available again" in done.output) == (0, True)
    assert command("status").exit_code == 3


def test_log_shows_what_was_done(command: Command, site: Site) -> None:
    assert "empty" in command("log").output
    site.activate()
    site.validate()
    assert "Operation completed" in command("log").output
    entries = [json.loads(line) for line in command("log", "--json", "-n", "1").output.splitlines()]
    assert [entry["command"] for entry in entries] == ["validate"]


def test_missing_vendor_profile_says_where_it_comes_from(site: Site, tmp_path: Path) -> None:
    here = Surroundings(machine=site.computer.machine())
    done = CliRunner().invoke(app, ["--home", str(tmp_path / "new"), "status"], obj=here)
    assert done.exit_code == 2
    assert "Your vendor ships the file" in done.output


@pytest.mark.parametrize(
    "change",
    [
        {"sites": []},
        {"sites": ["http://licensing.aurora.example"]},
        {"sites": ["ftp://x"]},
        {"sites": [5]},
        {"root_keys": []},
        {"vendor": ""},
        {"contact": []},
        {"portal_url": 5},
    ],
)
def test_unusable_vendor_profile_is_wrong_use(change: dict[str, object], site: Site, tmp_path: Path) -> None:
    vendor = tmp_path / "vendor.json"
    vendor.write_text(json.dumps({**site.cloud.profile(), **change}))
    here = Surroundings(machine=site.computer.machine())
    done = CliRunner().invoke(app, ["--home", str(tmp_path), "--vendor", str(vendor), "status"], obj=here)
    assert done.exit_code == 2
    assert "is not usable" in done.output


def test_home_that_can_not_be_made_is_one_sentence(site: Site, tmp_path: Path, command: Command) -> None:
    site.path.write_text("a file in the way")
    done = command("activate", "--token", "AT-MILANO")
    assert done.exit_code == 1
    assert "can't be used" in done.output


def test_version_and_help(command: Command) -> None:
    assert command("--version").output.startswith("license-manager ")
    assert "Exit codes" in command("--help").output


def test_a_home_without_a_name_is_wrong_use(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    done = CliRunner().invoke(app, ["--home", "", "run"], obj=Surroundings(machine=site.computer.machine()))
    assert (done.exit_code, "names no folder" in done.output) == (2, True)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_broken_proxy_of_the_environment_is_one_sentence_without_its_password(command: Command, site: Site) -> None:
    site.computer.environ["HTTPS_PROXY"] = "http://bob:S3/cret@proxy.example:3128"
    for arguments in (["test"], ["settings", "show"], ["validate"], ["activate", "--token", "AT-MILANO"]):
        done = command(*arguments)
        assert done.exit_code in {2, 3}
        assert "cret" not in done.output
    assert "HTTPS_PROXY is not usable" in command("test").output


def test_a_refused_unattended_activation_changes_no_setting(command: Command, site: Site, tmp_path: Path) -> None:
    site.activate()
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps({"activation_token": "AT-BERGAMO", "settings": {"site": "2"}}))
    assert command("activate", "--file", str(answers)).exit_code == 1
    assert not (site.path / "settings.json").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_answers_may_be_in_any_unicode(encoding: str, command: Command, tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_bytes(json.dumps({"activation_token": "AT-MILANO"}).encode(encoding))
    assert command("activate", "--file", str(answers)).exit_code == 0


def test_a_cut_connection_at_the_code_asks_for_it_again(command: Command, site: Site) -> None:
    cuts = [True]

    def cut(number: int, request: httpx.Request) -> None:
        if number == 1 and request.url.path.endswith("/verify") and cuts:
            cuts.pop()
            raise httpx.ReadError("reset", request=request)

    site.cloud.intruder = cut
    done = command(typed=lines("IT00743110157", "y", "123456", "123456", "1", "q"))
    assert "was cut before the answer came" in done.output
    assert "First validation" in done.output


def test_an_empty_token_is_not_sent(command: Command, site: Site) -> None:
    done = command("activate", "--token", "-", typed="")
    assert (done.exit_code, "token is empty" in done.output) == (2, True)
    assert site.cloud.requests == []


def test_deactivation_names_the_site_choice_that_stands_in_its_way(command: Command, site: Site) -> None:
    site.activate()
    command("site", "use", "2")
    done = command("deactivate", "--yes")
    assert (done.exit_code, "site use auto" in done.output) == (4, True)


def test_leaving_during_a_request_ends_with_a_sentence(command: Command, site: Site) -> None:
    site.activate()

    def interrupt(number: int, request: httpx.Request) -> None:
        raise KeyboardInterrupt

    site.cloud.intruder = interrupt
    done = command(typed=lines("v"))
    assert (done.exit_code, "Goodbye" in done.output) == (0, True)
    assert "Stopped." in command("validate").output


def test_names_the_field_that_the_site_refuses(command: Command, site: Site) -> None:
    errors = [{"pointer": "/activation_token", "detail": "too short"}]
    refusal = problem(422, "INVALID_REQUEST", "The request is not valid; see errors.", errors=errors)
    site.cloud.intruder = lambda number, request: refusal
    assert "/activation_token: too short." in command("activate", "--token", "x").output
