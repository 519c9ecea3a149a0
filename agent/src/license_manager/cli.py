"""The command `license-manager`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from . import guided, journal, profile, proxies, screens, settings, texts
from .errors import LicenseManagerError, Misuse, NotActivated, StateDamaged
from .guided import Dialogue, Quit
from .home import Home, locate
from .machine import Machine
from .manager import CodeSent, Manager, Outcome, installation_name
from .service import Service, Stopper
from .version import __version__

OK, FAILED, USAGE, NOT_ACTIVE, NO_CONTACT = range(5)

EXIT_CODES = (
    "Exit codes: 0 done; 1 refused or failed; 2 wrong use; 3 this server is not activated; 4 no site can be reached."
)

app = typer.Typer(
    name="license-manager",
    help="Activates this server's licenses and validates them every day. Without a command, it guides you.",
    epilog=EXIT_CODES,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
site_app = typer.Typer(help="Choose the site: 1 (primary), 2 (backup) or auto.", no_args_is_help=True)
settings_app = typer.Typer(help="Show and change proxy, CA and what is reported.", no_args_is_help=True)
app.add_typer(site_app, name="site")
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
_JSON = typer.Option("--json", help="Print JSON, for programs.")


@app.callback(invoke_without_command=True)
def main_callback(
    context: Here,
    home: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where state, settings and log are. (Or by LICENSE_MANAGER_HOME.)"),
    ] = None,
    vendor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The vendor's vendor.json. (Or by LICENSE_MANAGER_VENDOR.)")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"license-manager {__version__}")
        raise typer.Exit(OK)
    here = context.ensure_object(Surroundings)
    with _told():
        if home == "":  # an unset variable of a script must not become the current folder
            raise Misuse("USAGE", texts.HOME_EMPTY)
    here.home, here.vendor = Home(locate(home, here.machine.environ)), vendor
    if context.invoked_subcommand is None:
        with _told(), here.manager() as manager:
            raise typer.Exit(Dialogue(screens.console(), manager).run())


@app.command()
def activate(
    context: Here,
    tax_id: Annotated[str | None, typer.Option(help="The company's tax id, with its country.")] = None,
    token: Annotated[
        str | None, typer.Option(help="The activation token from the portal; - reads it from standard input.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answers for an unattended activation, as JSON.")
    ] = None,
    installation: Annotated[str | None, typer.Option(metavar="NAME", help="Which installation, by name or id.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Activate even if this server is active.")] = False,
) -> None:
    """Activate this server: by tax id and e-mailed code, by token, or unattended from a file."""
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
            if outcome is None:  # said already
                raise typer.Exit(FAILED)
            screens.show_outcome(out, outcome)
            _show(out, manager)
            raise typer.Exit(OK if outcome.ok else FAILED)


@app.command()
def validate(context: Here) -> None:
    """Validate now, and show what this server may use."""
    with _told(), _here(context).manager() as manager:
        outcome = manager.validate()
        out = screens.console()
        screens.show_outcome(out, outcome)
        _show(out, manager)
        raise typer.Exit(OK if outcome.ok else FAILED)


@app.command()
def status(context: Here, as_json: Annotated[bool, _JSON] = False) -> None:
    """Show licenses, dates and problems as they are known here. Opens no connection and writes nothing."""
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


@app.command()
def test(context: Here) -> None:
    """Test the connection to each site, and say what is wrong and what to do."""
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


@site_app.command("use")
def site_use(context: Here, choice: Annotated[str, typer.Argument(metavar="1|2|auto")]) -> None:
    """Use Site 1, Site 2, or (auto) Site 1 first and Site 2 if it fails."""
    here = _here(context)
    with _told():
        changed = settings.change(settings.load(here.home), {"site": choice})
        with here.manager() as manager:
            if changed.site == "2" and len(manager.vendor.sites) < 2:
                raise Misuse("NO_SECOND_SITE", texts.NO_SECOND_SITE)
            settings.update(here.home, {"site": choice})
            shown = texts.SITE_AUTO if changed.site == "auto" else f"Site {changed.site}"
            _log(manager, "site use", "OK", shown)
        screens.console().print(texts.SITE_SAVED.format(choice=shown))


@site_app.command("show")
def site_show(context: Here) -> None:
    """Show the choice and the sites' addresses."""
    with _told(), _here(context).manager() as manager:
        out = screens.console()
        choice = manager.settings.site
        out.print(f"Choice: {texts.SITE_AUTO if choice == 'auto' else f'Site {choice}'}")
        for number, address in enumerate(manager.vendor.sites, start=1):
            out.print(f"Site {number}: {address}", markup=False)


@app.command()
def run(context: Here) -> None:
    """Validate every day, until stopped: what the service runs."""
    here = _here(context)
    with _told():
        here.home.prepare()
        stopper = Stopper()
        service = Service(here.manager, here.machine, stopper, _say_plainly)
        stopper.install(service)
        _say_plainly(texts.SERVICE_STARTED.format(version=__version__, home=here.home.path))
        service.run()
        _say_plainly(texts.SERVICE_STOPPED)


@app.command()
def deactivate(context: Here, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Give this server's installation back; the product stops here at once."""
    with _told(), _here(context).manager() as manager:
        state = manager.state()
        if state.server_token is None:
            raise NotActivated("NOT_ACTIVATED", texts.NOT_ACTIVATED_YET)
        if not yes and not _confirmed(texts.ASK_DEACTIVATE.format(name=installation_name(state))):
            typer.echo(texts.NOT_DEACTIVATED)
            raise typer.Exit(FAILED)
        typer.echo(texts.DEACTIVATED.format(name=manager.deactivate()))


@app.command()
def log(
    context: Here,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the newest entries.")] = 50,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show what the License Manager did here."""
    here = _here(context)
    with _told():
        found = journal.entries(here.home, lines)
        if as_json:
            for entry in found:
                typer.echo(json.dumps(entry, ensure_ascii=False))
        else:
            screens.show_log(screens.console(), found, here.machine.time_zone())


@settings_app.command("show")
def settings_show(context: Here, as_json: Annotated[bool, _JSON] = False) -> None:
    """Show all settings; passwords are masked."""
    here = _here(context)
    with _told():
        current = settings.load(here.home)
        if as_json:
            typer.echo(json.dumps(current.shown(), indent=2, ensure_ascii=False))
            return
        with here.manager() as manager:
            proxy = manager.transport.proxy_for(manager.vendor.sites[0])
        screens.show_settings(screens.console(), current.shown(), proxies.masked(proxy) if proxy else None)


@settings_app.command("set")
def settings_set(
    context: Here,
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of: {', '.join(settings.NAMES)}.")],
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="The value; - reads it from standard input; '' for the default.")
    ],
) -> None:
    """Change one setting, such as: settings set proxy http://user:password@proxy.example:3128"""
    here = _here(context)
    with _told():
        changed = settings.update(here.home, {name: _secret(value)})
        shown = changed.shown()[name] or "not set"
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


def _show(out: Console, manager: Manager) -> None:
    state = manager.state()
    out.print()
    screens.show_status(out, manager, state, manager.clock(state))


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
            raise ValueError("it is not a JSON object")
        unknown = document.keys() - {"activation_token", "tax_id", "installation", "settings"}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        if ("activation_token" in document) == ("tax_id" in document):
            raise ValueError("it must hold either activation_token or tax_id")
        for name in document.keys() - {"settings"}:
            if not isinstance(document[name], str) or not document[name]:
                raise ValueError(f"{name} must be a text")
        if not isinstance(document.get("settings", {}), dict):
            raise ValueError("settings must be an object")
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Misuse("ANSWERS_WRONG", texts.ANSWERS_WRONG.format(path=path, why=why)) from error
    return document


def _secret(value: str) -> str:
    """A value from the command line, or from standard input so that it shows in no list of processes."""
    return sys.stdin.readline().strip() if value == "-" else value.strip()


def _confirmed(question: str) -> bool:
    try:
        return input(f"{question} (y/N): ").strip().lower() in {"y", "yes"}
    except (EOFError, KeyboardInterrupt):
        typer.echo()
        return False


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a service's log or an old code page must not break on a check mark
            stream.reconfigure(errors="replace")
    app()
