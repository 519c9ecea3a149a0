"""Five languages: complete catalogues, nothing shown that is not in them, and the language that a person chose (F8)."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from babel.dates import format_date
from babel.messages.catalog import Catalog, Message
from babel.numbers import format_decimal
from license_manager import language, texts
from license_manager.checking import Check
from license_manager.cli import Surroundings, app
from license_manager.screens import console
from license_manager.texts import Texts
from typer.testing import CliRunner

from infra import agent_messages as messages
from tests.unit.agent.conftest import Site

Command = Callable[..., Any]
OTHERS = [name for name in language.LANGUAGES if name != "en"]
PACKAGE = Path(str(texts.__file__)).parent


@pytest.fixture(scope="module")
def template() -> Catalog:
    return messages.extract()


def forms(message: Message) -> list[tuple[str, str]]:
    """The English and the translated sentences of an entry, side by side."""
    if isinstance(message.id, tuple):
        return list(zip(message.id, message.string, strict=True))
    return [(message.id, message.string)]


def entries(name: str) -> Iterator[Message]:
    return (message for message in messages.read(name.replace("-", "_")) if message.id)


@pytest.mark.parametrize("name", OTHERS)
def test_every_sentence_is_translated_and_none_is_left_over(name: str, template: Catalog) -> None:
    wanted = {message.id for message in template if message.id}
    assert len(wanted) > 250
    assert {message.id for message in entries(name)} == wanted
    assert not [message.id for message in entries(name) if message.fuzzy]
    assert not [english for each in entries(name) for english, translated in forms(each) if not translated.strip()]


@pytest.mark.parametrize("name", OTHERS)
def test_what_must_stay_as_it_is_does(name: str) -> None:
    """Placeholders, commands, options, names of settings and of variables, and the ends of sentences."""
    fixed = re.compile(
        r"\{[^}]*\}|`[^`]*`|--[a-z-]+|\[blue\]|\[/\]|license-manager(?: [a-z]+)*|[A-Z]+_[A-Z_]+|https?://\S+"
    )
    for message in entries(name):
        for english, translated in forms(message):
            kept = [sorted(fixed.findall(text)) for text in (english, translated)]
            assert kept[0] == kept[1], (english, translated)
            if not english.startswith("Try ") and english != "Aborted!":
                ends = [re.search(r"([.?…:]?)\s*$", text) for text in (english, translated)]
                assert len({end.group(1) for end in ends if end}) == 1, (english, translated)


@pytest.mark.parametrize("name", OTHERS)
def test_what_gettext_reads_is_what_people_edited(name: str) -> None:
    catalog = messages.read(name.replace("-", "_"))
    path = messages.po(name.replace("-", "_")).with_suffix(".mo")
    assert path.read_bytes() == messages.compiled(catalog), "run: make messages"


@pytest.mark.parametrize("name", OTHERS)
def test_each_sentence_can_be_filled_in(name: str) -> None:
    language.use(name)
    for attribute, value in vars(Texts).items():
        if isinstance(value, language.Sentence):
            sentence = getattr(texts.texts, attribute)
            sentence.format(**dict.fromkeys(re.findall(r"\{(\w+)\}", value.english), 1))
        elif isinstance(value, language.Counted):
            words = dict.fromkeys(re.findall(r"\{(\w+)\}", value.one), 1)
            words.pop("count")
            assert value(1, **words) != value(2, **words)


def test_no_sentence_stands_outside_the_one_place_for_them() -> None:
    """Two words in a row, or a word with a capital, in a string that is no docstring and not known to be technical."""
    technical = {
        "STANDBY", "site use", "settings set", "offline request", "offline import", "offline deactivate",
        "successfully connected", "not a P-256 key", "not a private key", "machdep.cpu.brand_string",
        "bold green", "bold red", "IOPlatformUUID", "Bearer ",
        "application/json, application/problem+json, application/jose", "^model name\\s*:\\s*(.+)$",
        "^Model\\s*:\\s*(.+)$", "Check", "Entitlement", "Licensed", "NotLicensed", "Refused", "Seat",
        "Station", "Unreachable",
    }  # fmt: skip
    found = []
    for path in sorted(PACKAGE.glob("*.py")):
        if path.name == "texts.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in docstrings:
                continue
            text = node.value
            sentence = re.search(r"[A-Za-z]{2,},? [A-Za-z]{2,}", text) or re.fullmatch(r"[A-Z][a-z]+", text)
            if sentence and text not in technical:
                found.append(f"{path.name}:{node.lineno}: {text!r}")
    assert found == []


def test_every_sentence_is_used_and_every_fault_has_one() -> None:
    sources = {path.name: path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py") if path.name != "texts.py"}
    whole = "\n".join(sources.values())
    by_name = ("STATUS_", "RESULT_", "INSTALLATION_", "TYPE_")
    faults = set(re.findall(r'"([A-Z_]{3,})"', sources["transport.py"]))
    unused = [
        name
        for name, value in vars(Texts).items()
        if isinstance(value, language.Sentence | language.Counted)
        and f"texts.{name}" not in whole
        and not name.startswith(by_name)
        and name not in faults
    ]
    assert unused == []
    named = re.findall(r'_named\("([A-Z_]+)"', sources["transport.py"])
    assert named
    assert not [code for code in named if not hasattr(Texts, code)]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LANG": "it_IT.UTF-8"}, "it"),
        ({"LANG": "it_CH"}, "it"),
        ({"LANG": "es_MX.UTF-8"}, "es"),
        ({"LANG": "pt_BR.UTF-8"}, "pt-BR"),
        ({"LANG": "pt_PT@euro"}, "pt-BR"),
        ({"LANG": "sv"}, "sv"),
        ({"LANG": "sv_SE", "LC_MESSAGES": "it_IT"}, "it"),
        ({"LANG": "sv_SE", "LC_MESSAGES": "it_IT", "LC_ALL": "C"}, "en"),
        ({"LANG": "sv_SE", "LC_ALL": ""}, "sv"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "italian"}, "en"),
        ({"LANG": ""}, "en"),
        ({}, "en"),
    ],
)
def test_the_system_s_language(environ: dict[str, str], expected: str) -> None:
    assert language.of_system(environ) == expected


@pytest.mark.parametrize("name", OTHERS)
def test_numbers_and_dates_look_as_they_do_in_the_language(name: str) -> None:
    language.use(name)
    locale = name.replace("-", "_")
    for value in (0, 20, 999, 1000, 9999, 10_000, 1_234_567):
        assert language.number(value) == format_decimal(value, locale=locale)
    shown = language.day("2026-12-22")
    pattern = "yyyy-MM-dd" if name == "sv" else "dd/MM/yyyy"
    assert shown == format_date(date(2026, 12, 22), pattern, locale=locale)
    assert language.moment(1795345200, "Europe/Rome").startswith(language.day("2026-11-22"))
    assert language.day("soon") == "soon"


def test_english_reads_no_catalogue() -> None:
    code = (
        "import sys, license_manager; from license_manager.texts import texts; texts.OK;"
        "from license_manager import language; print(sorted(language._catalogues), 'gettext' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env={"LC_ALL": "C"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['en'] False"


@pytest.fixture
def command(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("COLUMNS", "200")
    vendor = tmp_path / "vendor.json"
    vendor.write_text(json.dumps(site.cloud.profile()))

    def run(*arguments: str, typed: str | None = None) -> Any:
        here = Surroundings(machine=site.computer.machine(), http=site.cloud.transport())
        options = ["--home", str(site.path), "--vendor", str(vendor)]
        return CliRunner().invoke(app, [*options, *arguments], input=typed, obj=here)

    return run


@pytest.mark.parametrize(
    ("name", "yes", "status", "kind", "day", "goodbye"),
    [
        ("it", "sì", "Stato", "abbonamento", "31/03/2027", "Arrivederci."),
        ("es", "sí", "Estado", "suscripción", "31/03/2027", "Hasta luego."),
        ("pt-BR", "sim", "Status", "assinatura", "31/03/2027", "Até logo."),
        ("sv", "ja", "Status", "abonnemang", "2027-03-31", "Hej då."),
    ],
)
def test_the_guided_flow_in_the_system_s_language(
    command: Command, site: Site, name: str, yes: str, status: str, kind: str, day: str, goodbye: str
) -> None:
    site.computer.environ["LANG"] = f"{name.replace('-', '_')}.UTF-8"
    done = command(typed=f"IT00743110157\n{yes}\n123456\n1\nq\n")
    assert done.exit_code == 0, done.output
    for expected in (status, kind, day, goodbye):
        assert expected in done.output
    assert {request.headers["accept-language"] for _, request in site.cloud.requests} == {name}


def test_no_is_no_in_the_language_too(command: Command, site: Site) -> None:
    site.computer.environ["LANG"] = "sv_SE"
    done = command(typed="IT00743110157\nnej\nq\n")
    assert "Avbrutet" in done.output
    assert not site.cloud.posts("/v1/activation-requests")


def test_the_administrator_s_choice_wins_until_it_is_taken_back(command: Command, site: Site) -> None:
    site.computer.environ["LC_ALL"] = "es_ES"
    assert "no está activado" in command("status").output
    assert "language ora è it" in command("settings", "set", "language", "IT").output
    assert "non è attivato" in command("status").output
    assert "ora è" in command("settings", "set", "language", "pt_br").output.replace("agora é", "ora è")
    command("settings", "set", "language", "")
    assert "no está activado" in command("status").output
    refused = command("settings", "set", "language", "klingon")
    assert refused.exit_code == 2
    assert "en, it, es, pt-BR, sv" in refused.output


def test_programs_read_the_same_in_every_language(command: Command, site: Site) -> None:
    site.activate()
    english = json.loads(command("status", "--json").output)
    command("settings", "set", "language", "it")
    italian = json.loads(command("status", "--json").output)
    sentences = {"reason", "last_attempt", "messages"}
    assert {k: v for k, v in english.items() if k not in sentences} == {
        k: v for k, v in italian.items() if k not in sentences
    }
    assert english["reason"] != italian["reason"]


def test_the_product_is_told_the_reason_in_the_chosen_language(site: Site, product: Callable[..., Check]) -> None:
    assert "not activated" in product().reason
    (site.path / "settings.json").write_text('{"language": "sv"}')
    site.activate()
    assert product().reason.startswith("Den senaste valideringen lyckades")


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("C.UTF-8", ("Options", "Activate this server", "Show this help")),
        ("it_IT.UTF-8", ("Opzioni", "Comandi", "Attiva questo server", "Mostra questo aiuto")),
        ("es_ES.UTF-8", ("Opciones", "Órdenes", "Activa este servidor", "Muestra esta ayuda")),
        ("pt_BR.UTF-8", ("Opções", "Comandos", "Ativa este servidor", "Mostra esta ajuda")),
        ("sv_SE.UTF-8", ("Alternativ", "Kommandon", "Aktiverar servern", "Visar den här hjälpen")),
    ],
)
def test_the_help_of_the_commands(locale: str, words: tuple[str, ...], tmp_path: Path) -> None:
    environ = {"LC_ALL": locale, "COLUMNS": "200", "LICENSE_MANAGER_HOME": str(tmp_path), "PYTHONUTF8": "1"}
    call = [sys.executable, "-m", "license_manager", "--help"]
    done = subprocess.run(call, env=environ, capture_output=True, text=True, check=True, encoding="utf-8")
    assert [word for word in words if word not in done.stdout] == []


def test_a_console_without_these_letters_shows_what_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    language.use("sv")
    console().print(texts.texts.GOODBYE)
    assert capsys.readouterr().out == "Hej då.\n"
