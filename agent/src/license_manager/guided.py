"""`license-manager` with no arguments: tax id, confirm, code, choose, result, refresh, exit (A10). Keyboard only."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console

from . import offline, screens
from .errors import LicenseManagerError, NotActivated, Refused, StateDamaged, Unreachable, Untrusted
from .manager import CodeSent, Manager, Outcome, Ticket
from .texts import texts
from .version import __version__

_AGAIN = {"TAX_ID_INVALID", "INVALID_REQUEST"}


class Quit(Exception):
    """Raised when the person leaves, by q, by Ctrl-C or by the end of the input."""


class Dialogue:
    """A conversation in a terminal. Every question can be left with q, Ctrl-C or Ctrl-D."""

    def __init__(self, out: Console, manager: Manager) -> None:
        self._out = out
        self._manager = manager

    def run(self) -> int:
        """The whole flow; returns the exit code."""
        manager, out = self._manager, self._out
        screens.show_title(out, texts.TITLE.format(vendor=manager.vendor.vendor, version=__version__))
        try:
            if self._needs_activation():
                outcome = self.activate()
                if outcome is not None:
                    screens.show_outcome(out, outcome)
                out.print()
                self._show()
            return self._menu()
        except (Quit, KeyboardInterrupt):
            active = self._is_active()
            out.print(texts.GOODBYE if active else texts.STOPPED)
            return 0 if active else 1

    def activate(self) -> Outcome | None:
        """Activates by what the person types: an unanswered activation first, a tax id, a pasted token, or, with nothing to
        tell afterwards, a license file."""
        if self._manager.unanswered_activation():
            self._out.print(texts.REPEATING)
            try:
                return self._manager.repeat_activation()
            except Refused as error:  # too old to be repeated
                self._complain(error)
        while True:
            typed = self._ask(texts.ASK_TAX_ID)
            if typed.lower() == "t":
                outcome = self._by_token()
            elif typed.lower() == "o":
                if self._by_file():
                    return None
                continue
            elif not plausible_tax_id(typed):
                self._warn(texts.BAD_TAX_ID)
                continue
            elif self._confirm(texts.ASK_CONFIRM.format(tax_id=typed.upper())):
                outcome = self.by_tax_id(typed)
            else:
                continue
            if outcome is not None:
                return outcome

    def by_tax_id(self, tax_id: str, installation: str | None = None) -> Outcome | None:
        """From a tax id to the activation; None where the person should begin anew. Raises Unreachable, Refused."""
        while True:
            try:
                answer = self._manager.request_activation(tax_id)
            except Refused as error:
                if error.code not in _AGAIN:
                    raise
                self._complain(error)
                return None
            ticket = answer if isinstance(answer, Ticket) else self._ask_code(answer)
            if ticket is not None:
                return self._choose(ticket, installation)

    def _by_token(self) -> Outcome | None:
        try:
            return self._manager.activate({"activation_token": self._ask(texts.ASK_TOKEN)})
        except Refused as error:
            self._complain(error)
            return None

    def _by_file(self) -> bool:
        """Writes the request, and imports the license file that comes of it; false where the person goes another way."""
        path = Path(offline.REQUEST_FILE)
        path.write_text(self._manager.offline_request() + "\n", encoding="ascii")
        show_request(self._out, self._manager, path)
        while (typed := self._ask(texts.ASK_LICENSE_FILE)).lower() != "n":
            try:
                self._manager.import_license(Path(typed).expanduser().read_bytes())
            except OSError as error:
                self._warn(texts.HOME_NOT_WRITABLE.format(path=typed, why=error.strerror or error))
            except (Untrusted, NotActivated) as error:
                self._complain(error)
            else:
                self._out.print(f"✔ {texts.IMPORTED}", style="bold green")
                return True
        return False

    def _ask_code(self, sent: CodeSent) -> Ticket | None:
        """The ticket for the code that was typed; None for a new code."""
        self._out.print(texts.CODE_SENT(max(1, sent.expires_in // 60)))
        while True:
            code = re.sub(r"[\s-]", "", self._ask(texts.ASK_CODE))
            if code.lower() == "n":
                return None
            if not re.fullmatch(r"[0-9]{6}", code):
                self._warn(texts.BAD_CODE)
                continue
            try:
                return self._manager.verify_code(sent.request_id, code)
            except Unreachable as error:  # the code is still good
                self._complain(error)
            except Refused as error:
                tries = error.members.get("tries_left")
                if error.code == "CODE_WRONG":
                    detail = error.detail
                    if isinstance(tries, int) and str(tries) not in detail:
                        detail = texts.TRIES_LEFT.format(detail=detail, tries=tries)
                    self._warn(detail)
                elif error.code == "CODE_EXPIRED":
                    self._complain(error)
                    if self._confirm(texts.ASK_NEW_CODE):
                        return None
                    raise Quit from error
                else:
                    raise

    def _choose(self, ticket: Ticket, wanted: str | None) -> Outcome | None:
        installations = ticket.installations
        if not installations:
            raise NotActivated(
                "NO_INSTALLATION",
                texts.NO_INSTALLATIONS.format(customer=ticket.customer, contact=self._manager.vendor.contact_line),
            )
        self._out.print()
        self._out.print(ticket.customer, style="bold", markup=False)
        screens.show_installations(self._out, ((item.name, item.status) for item in installations))
        while True:
            if wanted is not None:
                chosen, wanted = find_installation(ticket, wanted), None
            else:
                typed = self._ask(texts.ASK_WHICH.format(count=len(installations)))
                number = int(typed) if typed.isascii() and typed.isdigit() else 0
                if not 1 <= number <= len(installations):
                    self._warn(texts.BAD_CHOICE.format(count=len(installations)))
                    continue
                chosen = installations[number - 1].installation_id
            try:
                return self._manager.activate({"ticket": ticket.ticket, "installation_id": chosen})
            except Refused as error:
                self._complain(error)
                if error.code == "TICKET_INVALID":
                    return None

    def _menu(self) -> int:
        while True:
            self._out.print()
            typed = self._ask(texts.ASK_MENU).lower()
            try:
                if typed in {"v", "r"} and self._manager.is_offline():
                    self._out.print(texts.NOTHING_TO_VALIDATE)
                    self._show()
                elif typed in {"v", "r"}:
                    screens.show_outcome(self._out, self._manager.validate())
                    self._out.print()
                    self._show()
                elif typed == "s":
                    self._show()
                elif typed == "t":
                    screens.show_probes(self._out, self._manager.probe())
                else:
                    self._warn(texts.BAD_MENU)
            except LicenseManagerError as error:
                self._complain(error)

    def _needs_activation(self) -> bool:
        """Shows how things are; true if there is nothing to refresh."""
        try:
            state = self._manager.state()
        except StateDamaged as error:
            self._warn(f"{error.detail} {texts.DAMAGED_INTRODUCTION}")
            return True
        if state.token is None:
            self._out.print(texts.INTRODUCTION)
            return True
        self._show()
        return False

    def _show(self) -> None:
        state = self._manager.state()
        screens.show_status(self._out, self._manager, state, self._manager.clock(state))

    def _is_active(self) -> bool:
        try:
            return self._manager.state().token is not None
        except LicenseManagerError:
            return False

    def _ask(self, question: str) -> str:
        while True:
            try:
                typed = self._out.input(f"[bold]{question}[/bold]: ").strip()
            except (EOFError, KeyboardInterrupt) as error:
                self._out.print()
                raise Quit from error
            if typed.lower() in {"q", "quit", "exit"}:
                raise Quit
            if typed:
                return typed

    def _confirm(self, question: str) -> bool:
        while True:
            try:
                typed = self._out.input(f"[bold]{question}[/bold] ({texts.YES_OR_NO}): ").strip().lower()
            except (EOFError, KeyboardInterrupt) as error:
                self._out.print()
                raise Quit from error
            if not typed or is_yes(typed):
                return True
            if typed in {"n", "no", *texts.NO.split()}:
                return False
            if typed in {"q", "quit"}:
                raise Quit

    def _complain(self, error: LicenseManagerError) -> None:
        self._out.print(f"✘ {error.detail} ({error.code})", style="red", markup=False)

    def _warn(self, sentence: str) -> None:
        self._out.print(sentence, style="yellow", markup=False)


def show_request(out: Console, manager: Manager, path: Path) -> None:
    """Where the request is, and what to do with it."""
    out.print(texts.REQUEST_WRITTEN.format(path=path.absolute()), markup=False)
    portal = manager.vendor.portal_url
    out.print(texts.REQUEST_NEXT_AT.format(portal=portal) if portal else texts.REQUEST_NEXT, markup=False)


def is_yes(typed: str) -> bool:
    """Whether it means yes, in English or in the language that is spoken."""
    return typed.strip().lower() in {"y", "yes", *texts.YES.split()}


def plausible_tax_id(text: str) -> bool:
    """Whether it looks like a tax id at all; whether its check digits are right is for the cloud to say."""
    compact = re.sub(r"[\s./-]", "", text)
    return re.fullmatch(r"[A-Za-z0-9]{5,20}", compact) is not None and any(letter.isdigit() for letter in compact)


def find_installation(ticket: Ticket, wanted: str | None) -> str:
    """The id of the installation with this name or id; without a name, of the only one. Raises NotActivated."""
    if wanted is None and len(ticket.installations) == 1:
        return ticket.installations[0].installation_id
    for installation in ticket.installations:
        if wanted in {installation.name, installation.installation_id}:
            return installation.installation_id
    names = ", ".join(installation.name for installation in ticket.installations) or "–"
    sentence = texts.CHOOSE_BY_OPTION if wanted is None else texts.NO_SUCH_INSTALLATION
    raise NotActivated("INSTALLATION_UNKNOWN", sentence.format(customer=ticket.customer, name=wanted, names=names))
