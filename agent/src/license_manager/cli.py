"""The command `license-manager`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from . import guided, journal, language, offline, profile, proxies, screens, settings
from .checking import Check
from .errors import LicenseManagerError, Misuse, NotActivated, StateDamaged
from .guided import Dialogue, Quit
from .home import Home, locate
from .machine import Machine
from .manager import CodeSent, Manager, Outcome, installation_name
from .service import Service, Stopper
from .texts import texts
from .version import __version__

_Function = TypeVar("_Function", bound=Callable[..., Any])
OK, FAILED, USAGE, NOT_ACTIVE, NO_CONTACT = range(5)


class _Command(TyperCommand):
    """A command whose `--help` is explained in our words: the library's own are not translated."""

    def get_help_option(self, ctx: Any) -> Any:
        return _in_our_words(super().get_help_option(ctx))


class _Group(TyperGroup):
    """The same for a group of commands."""

    def get_help_option(self, ctx: Any) -> Any:
        return _in_our_words(super().get_help_option(ctx))


def _in_our_words(option: Any) -> Any:
    if option is not None:
        option.help = texts.HELP_HELP
    return option


def _command(group: typer.Typer, text: str, name: str | None = None) -> Callable[[_Function], _Function]:
    return group.command(name, cls=_Command, help=text)


app = typer.Typer(
    cls=_Group,
    name="license-manager",
    help=texts.HELP,
    epilog=texts.HELP_EXIT_CODES,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
site_app = typer.Typer(cls=_Group, help=texts.HELP_SITE, no_args_is_help=True)
settings_app = typer.Typer(cls=_Group, help=texts.HELP_SETTINGS, no_args_is_help=True)
offline_app = typer.Typer(cls=_Group, help=texts.HELP_OFFLINE, no_args_is_help=True)
app.add_typer(site_app, name="site")
app.add_typer(offline_app, name="offline")
app.add_typer(settings_app, name="settings")


@dataclass
class Surroundings:
    """What a command works with; tests bring a machine and an HTTP transport of their own."""

    machine: Machine = field(default_factory=Machine)
    http: httpx.BaseTransport | None = None
    home: Home = field(default_factory=lambda: Home(Path()))
    vendor: Path | None = None

    def manager(self, chosen: settings.Settings | None = None) -> Manager:
        """A License Manager with the profile as it is now, and the settings, unless others are chosen. Raises Misuse,
        NotPrivate."""
        language.use_that_of(self.home, self.machine.environ)  # the service goes on while somebody changes it
        path = profile.locate(self.vendor, self.home.path, self.machine.environ)
        vendor = profile.read(path)
        own = self.home / profile.PROFILE_FILE
        content = None if path.absolute() == own.absolute() else path.read_bytes()
        return Manager(
            self.home,
            vendor,
            settings.load(self.home) if chosen is None else chosen,
            self.machine,
            http=self.http,
            profile_content=content,
        )


Here = typer.Context
_JSON = typer.Option("--json", help=texts.HELP_JSON)


@app.callback(invoke_without_command=True)
def main_callback(
    context: Here,
    home: Annotated[
        str | None,
        typer.Option(metavar="DIR", help=texts.HELP_HOME),
    ] = None,
    vendor: Annotated[Path | None, typer.Option(metavar="FILE", help=texts.HELP_VENDOR)] = None,
    version: Annotated[bool, typer.Option("--version", help=texts.HELP_VERSION)] = False,
) -> None:
    if version:
        typer.echo(f"license-manager {__version__}")
        raise typer.Exit(OK)
    here = context.ensure_object(Surroundings)
    with _told():
        if home == "":  # an unset variable of a script must not become the current folder
            raise Misuse("USAGE", texts.HOME_EMPTY)
    here.home, here.vendor = Home(locate(home, here.machine.environ)), vendor
    language.use_that_of(here.home, here.machine.environ)
    if context.invoked_subcommand is None:
        with _told(), here.manager() as manager:
            raise typer.Exit(Dialogue(screens.console(), manager).run())


@_command(app, texts.HELP_ACTIVATE)
def activate(
    context: Here,
    tax_id: Annotated[str | None, typer.Option(help=texts.HELP_TAX_ID)] = None,
    token: Annotated[str | None, typer.Option(help=texts.HELP_TOKEN)] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help=texts.HELP_FILE)] = None,
    installation: Annotated[str | None, typer.Option(metavar="NAME", help=texts.HELP_INSTALLATION)] = None,
    again: Annotated[bool, typer.Option("--again", help=texts.HELP_AGAIN)] = False,
) -> None:
    here = _here(context)
    out = screens.console()
    with _told():
        if sum(option is not None for option in (tax_id, token, file)) > 1:
            raise Misuse("USAGE", texts.ONE_WAY_ONLY)
        answers = _answers(file) if file is not None else {}
        changes = answers.get("settings") or {}
        with here.manager(settings.change(settings.load(here.home), changes)) as manager:
            _refuse_second_activation(manager, again)
            if changes:
                settings.update(here.home, changes)
            unattended = file is not None
            token = answers.get("activation_token", token)
            tax_id = answers.get("tax_id", tax_id)
            installation = answers.get("installation", installation)
            outcome: Outcome | None
            if token is not None:
                token = _secret(token)
                if not token:
                    raise Misuse("USAGE", texts.EMPTY_TOKEN)
                outcome = manager.activate({"activation_token": token})
            elif tax_id is not None and unattended:
                outcome = _unattended(manager, tax_id, installation)
            elif tax_id is not None:
                dialogue = Dialogue(out, manager)
                if not guided.plausible_tax_id(tax_id):
                    raise Misuse("TAX_ID_INVALID", texts.BAD_TAX_ID)
                outcome = dialogue.by_tax_id(tax_id, installation)
            else:
                outcome = Dialogue(out, manager).activate()
                if outcome is None:  # by a license file
                    _show(out, manager)
                    raise typer.Exit(OK)
            if outcome is None:  # said already
                raise typer.Exit(FAILED)
            screens.show_outcome(out, outcome)
            _show(out, manager)
            raise typer.Exit(OK if outcome.ok else FAILED)


@_command(app, texts.HELP_VALIDATE)
def validate(context: Here) -> None:
    with _told(), _here(context).manager() as manager:
        out = screens.console()
        if manager.is_offline():
            out.print(texts.NOTHING_TO_VALIDATE)
            raise typer.Exit(OK if _show(out, manager).allowed else FAILED)
        outcome = manager.validate()
        screens.show_outcome(out, outcome)
        _show(out, manager)
        raise typer.Exit(OK if outcome.ok else FAILED)


@_command(app, texts.HELP_STATUS)
def status(context: Here, as_json: Annotated[bool, _JSON] = False) -> None:
    with _told(), _here(context).manager() as manager:
        try:
            state = manager.state()
        except StateDamaged as error:
            raise StateDamaged(error.code, f"{error.detail} {texts.NOT_ACTIVATED_YET}") from error
        clock = manager.clock(state)
        if as_json:
            document = screens.status_document(manager, state, clock)
            typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
            allowed, how = document["allowed"], document["status"]
        else:
            check = screens.show_status(screens.console(), manager, state, clock)
            allowed, how = check.allowed, check.status
        raise typer.Exit(OK if allowed else NOT_ACTIVE if how == "not_activated" else FAILED)


@_command(app, texts.HELP_TEST)
def test(context: Here) -> None:
    with _told(), _here(context).manager() as manager:
        out = screens.console()
        shown = manager.transport.proxy_for(manager.vendor.sites[0])
        if shown:
            out.print(texts.PROXY_IN_USE.format(proxy=proxies.masked(shown)), markup=False)
        probes = manager.probe()
        screens.show_probes(out, probes)
        failed = [probe for probe in probes if not probe.ok]
        _log(manager, "test", failed[0].code if failed else "OK", " ".join(probe.detail for probe in failed))
        raise typer.Exit(NO_CONTACT if failed else OK)


@_command(site_app, texts.HELP_SITE_USE, "use")
def site_use(context: Here, choice: Annotated[str, typer.Argument(metavar="1|2|auto")]) -> None:
    here = _here(context)
    with _told():
        changed = settings.change(settings.load(here.home), {"site": choice})
        with here.manager() as manager:
            if changed.site == "2" and len(manager.vendor.sites) < 2:
                raise Misuse("NO_SECOND_SITE", texts.NO_SECOND_SITE)
            settings.update(here.home, {"site": choice})
            shown = _site(changed.site)
            _log(manager, "site use", "OK", shown)
        screens.console().print(texts.SITE_SAVED.format(choice=shown))


@_command(site_app, texts.HELP_SITE_SHOW, "show")
def site_show(context: Here) -> None:
    with _told(), _here(context).manager() as manager:
        out = screens.console()
        out.print(texts.SITE_CHOICE.format(choice=_site(manager.settings.site)))
        for number, address in enumerate(manager.vendor.sites, start=1):
            out.print(f"{texts.SITE.format(number=number)}: {address}", markup=False)


@_command(app, texts.HELP_RUN)
def run(context: Here) -> None:
    here = _here(context)
    with _told():
        here.home.prepare()
        stopper = Stopper()
        service = Service(here.manager, here.machine, stopper, _say_plainly)
        stopper.install(service)
        _say_plainly(texts.SERVICE_STARTED.format(version=__version__, home=here.home.path))
        service.run()
        _say_plainly(texts.SERVICE_STOPPED)


@_command(app, texts.HELP_DEACTIVATE)
def deactivate(context: Here, yes: Annotated[bool, typer.Option("--yes", "-y", help=texts.HELP_YES)] = False) -> None:
    with _told(), _here(context).manager() as manager:
        state = manager.state()
        if state.token is None:
            raise NotActivated("NOT_ACTIVATED", texts.NOT_ACTIVATED_YET)
        if state.license is not None:
            raise LicenseManagerError("OFFLINE_LICENSE", texts.DEACTIVATE_OFFLINE_FIRST)
        if not yes and not _confirmed(texts.ASK_DEACTIVATE.format(name=installation_name(state))):
            typer.echo(texts.NOT_DEACTIVATED)
            raise typer.Exit(FAILED)
        typer.echo(texts.DEACTIVATED.format(name=manager.deactivate()))


@_command(offline_app, texts.HELP_OFFLINE_REQUEST, "request")
def offline_request(
    context: Here,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help=texts.HELP_REQUEST_OUT)] = None,
    qr: Annotated[bool, typer.Option("--qr", help=texts.HELP_QR)] = False,
    qr_file: Annotated[Path | None, typer.Option(metavar="FILE", help=texts.HELP_QR_FILE)] = None,
    new: Annotated[bool, typer.Option("--new", help=texts.HELP_NEW_REQUEST)] = False,
) -> None:
    screen = screens.console()
    with _told(), _here(context).manager() as manager:
        text = manager.offline_request(anew=new)
        if out == Path("-"):
            typer.echo(text)
            return
        path = out or Path(offline.REQUEST_FILE)
        path.write_text(text + "\n", encoding="ascii")
        guided.show_request(screen, manager, path)
        if qr_file is not None:
            offline.qr_to_file(text, qr_file)
            screen.print(texts.QR_WRITTEN.format(path=qr_file), markup=False)
        if qr:
            offline.qr_to_terminal(text, screen.width)


@_command(offline_app, texts.HELP_OFFLINE_IMPORT, "import")
def offline_import(
    context: Here, file: Annotated[str, typer.Argument(metavar="FILE", help=texts.HELP_LICENSE_FILE)]
) -> None:
    with _told(), _here(context).manager() as manager:
        manager.import_license(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
        out = screens.console()
        out.print(f"✔ {texts.IMPORTED}", style="bold green")
        raise typer.Exit(OK if _show(out, manager).allowed else FAILED)


@_command(offline_app, texts.HELP_OFFLINE_DEACTIVATE, "deactivate")
def offline_deactivate(
    context: Here,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help=texts.HELP_RECEIPT_OUT)] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help=texts.HELP_YES)] = False,
) -> None:
    with _told(), _here(context).manager() as manager:
        state = manager.state()
        name = installation_name(state)
        if state.license is not None and not yes and not _confirmed(texts.ASK_DEACTIVATE_OFFLINE.format(name=name)):
            typer.echo(texts.NOT_DEACTIVATED)
            raise typer.Exit(FAILED)
        text = manager.offline_deactivate()
        typer.echo(text)
        told = screens.console(stderr=True)
        if out is not None:
            out.write_text(text + "\n", encoding="ascii")
            told.print(texts.RECEIPT_WRITTEN.format(path=out), markup=False)
        told.print(texts.RECEIPT_NEXT)


@_command(app, texts.HELP_LOG)
def log(
    context: Here,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help=texts.HELP_LINES)] = 50,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    here = _here(context)
    with _told():
        found = journal.entries(here.home, lines)
        if as_json:
            for entry in found:
                typer.echo(json.dumps(entry, ensure_ascii=False))
        else:
            screens.show_log(screens.console(), found, here.machine.time_zone())


@_command(settings_app, texts.HELP_SETTINGS_SHOW, "show")
def settings_show(context: Here, as_json: Annotated[bool, _JSON] = False) -> None:
    here = _here(context)
    with _told():
        current = settings.load(here.home)
        if as_json:
            typer.echo(json.dumps(current.shown(), indent=2, ensure_ascii=False))
            return
        with here.manager() as manager:
            proxy = manager.transport.proxy_for(manager.vendor.sites[0])
        screens.show_settings(screens.console(), current.shown(), proxies.masked(proxy) if proxy else None)


@_command(settings_app, texts.HELP_SETTINGS_SET, "set")
def settings_set(
    context: Here,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help=texts.HELP_SETTING_NAME.format(names=", ".join(settings.NAMES)))
    ],
    value: Annotated[str, typer.Argument(metavar="VALUE", help=texts.HELP_SETTING_VALUE)],
) -> None:
    here = _here(context)
    with _told():
        changed = settings.update(here.home, {name: _secret(value)})
        language.use_that_of(here.home, here.machine.environ)  # it may be the one that was changed
        shown = changed.shown()[name] or texts.NOT_SET
        with here.home.locked(10):
            now = here.machine.wall()
            journal.append(
                here.home, now=now, command="settings set", result="ok", code="OK", detail=f"{name}: {shown}"
            )
        screens.console().print(texts.SAVED.format(name=name, value=shown), markup=False)


def _here(context: Here) -> Surroundings:
    return context.ensure_object(Surroundings)


@contextmanager
def _told() -> Iterator[None]:
    """Errors become one sentence and an exit code; a person who leaves gets no traceback."""
    error_console = screens.console(stderr=True)
    try:
        yield
    except Quit as error:
        error_console.print(texts.STOPPED)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        error_console.print(f"\n{texts.SERVICE_STOPPED}")
        raise typer.Exit(FAILED) from error
    except LicenseManagerError as error:
        error_console.print(f"✘ {error.detail}", style="red", markup=False)
        raise typer.Exit(error.exit_code) from error
    except OSError as error:
        where, why = error.filename or texts.A_FILE, error.strerror or error
        sentence = texts.HOME_NOT_WRITABLE.format(path=where, why=why)
        error_console.print(f"✘ {sentence}", style="red", markup=False)
        raise typer.Exit(FAILED) from error


def _show(out: Console, manager: Manager) -> Check:
    state = manager.state()
    out.print()
    return screens.show_status(out, manager, state, manager.clock(state))


def _site(choice: str) -> str:
    return texts.SITE_AUTO if choice == "auto" else texts.SITE.format(number=choice)


def _log(manager: Manager, command: str, code: str, detail: str) -> None:
    manager.home.prepare()
    with manager.home.locked(10):
        journal.append(
            manager.home,
            now=manager.machine.wall(),
            command=command,
            result="ok" if code == "OK" else "failed",
            code=code,
            detail=detail,
        )


def _say_plainly(sentence: str) -> None:
    typer.echo(sentence)
    sys.stdout.flush()


def _refuse_second_activation(manager: Manager, again: bool) -> None:
    if again:
        return
    try:
        state = manager.state()
    except StateDamaged:
        return
    if manager.check(state, manager.clock(state).now()).allowed:
        raise LicenseManagerError("ALREADY_ACTIVE", texts.ALREADY_ACTIVE.format(name=installation_name(state)))


def _unattended(manager: Manager, tax_id: str, installation: str | None) -> Outcome:
    """By tax id with nobody there: only within a window that the customer opened in the portal (A1)."""
    answer = manager.request_activation(tax_id)
    if isinstance(answer, CodeSent):
        raise LicenseManagerError("CODE_NEEDED", texts.CODE_NEEDED)
    chosen = guided.find_installation(answer, installation)
    return manager.activate({"ticket": answer.ticket, "installation_id": chosen})


def _answers(path: Path) -> dict[str, Any]:
    """The answers of an unattended activation. Raises Misuse."""
    try:
        document = json.loads(path.read_bytes())  # of any Unicode encoding, with or without a mark in front
        if not isinstance(document, dict):
            raise ValueError(texts.NO_JSON_OBJECT)
        unknown = document.keys() - {"activation_token", "tax_id", "installation", "settings"}
        if unknown:
            raise ValueError(texts.UNKNOWN_ANSWERS.format(names=", ".join(sorted(unknown))))
        if ("activation_token" in document) == ("tax_id" in document):
            raise ValueError(texts.TOKEN_OR_TAX_ID)
        for name in document.keys() - {"settings"}:
            if not isinstance(document[name], str) or not document[name]:
                raise ValueError(texts.MUST_BE_TEXT.format(name=name))
        if not isinstance(document.get("settings", {}), dict):
            raise ValueError(texts.MUST_BE_OBJECT.format(name="settings"))
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Misuse("ANSWERS_WRONG", texts.ANSWERS_WRONG.format(path=path, why=why)) from error
    return document


def _secret(value: str) -> str:
    """A value from the command line, or from standard input so that it shows in no list of processes."""
    return sys.stdin.readline().strip() if value == "-" else value.strip()


def _confirmed(question: str) -> bool:
    try:
        return guided.is_yes(input(f"{question} ({texts.NO_OR_YES}): "))
    except (EOFError, KeyboardInterrupt):
        typer.echo()
        return False


def run_command() -> None:
    """Runs what the command line says."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a service's log or an old code page must not break on a check mark
            stream.reconfigure(errors="replace")
    app()
