"""What commands print: plain tables that read the same in a terminal, a pipe and a log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from . import checking, ladder, language, trust
from .clock import TrustedClock
from .errors import Untrusted
from .manager import Manager, Outcome, Probe, installation_name, span
from .state import State
from .texts import texts

_STYLES = {
    "ok": "green",
    "warning": "yellow",
    "grace": "yellow",
    "blocked": "bold red",
    "refused": "bold red",
    "not_activated": "yellow",
}


def console(stderr: bool = False) -> Console:
    """A console that neither invents highlights nor breaks lines that go to a file."""
    made = Console(highlight=False, stderr=stderr)
    if not made.is_terminal:
        made = Console(highlight=False, stderr=stderr, width=160, soft_wrap=True)
    return made


def show_status(out: Console, manager: Manager, state: State, clock: TrustedClock) -> checking.Check:
    """Status, licenses, databases and dates of this server (A3). Writes nothing to disk."""
    now = clock.now()
    check = manager.check(state, now)
    zone = _zone(manager, state)
    facts = Table.grid(padding=(0, 2))
    customer = (state.labels.get("customer") or {}) if state.labels else {}
    if customer.get("name"):
        facts.add_row(texts.CUSTOMER, Text(f"{customer['name']} ({customer.get('tax_id', '')})"))
    if state.token is not None:
        facts.add_row(texts.INSTALLATION, Text(installation_name(state)))
    facts.add_row(texts.STATUS, Text(_status(check), style=_STYLES[check.status]))
    if state.license is not None:
        ends = texts.NEVER_ENDS
        if check.expires_at is not None:
            ends = f"{language.moment(check.expires_at.timestamp(), zone)} ({zone})"
        facts.add_row(texts.LICENSE_FILE, texts.OFFLINE)
        facts.add_row(texts.WORKS_UNTIL, ends)
    elif check.expires_at is not None:
        token_time = check.expires_at.timestamp()
        if check.allowed and state.next_validation_at is not None:
            overdue = state.next_validation_at < now
            label = texts.OVERDUE_SINCE if overdue else texts.NEXT_VALIDATION
            facts.add_row(label, f"{language.moment(state.next_validation_at, zone)} ({zone})")
        if check.allowed:
            facts.add_row(texts.WORKS_WITHOUT_CONTACT, f"{language.moment(token_time, zone)} ({zone})")
    out.print(facts)
    if check.status != "ok" or check.code != "VALID":
        out.print(Text(check.reason, style=_STYLES[check.status]))
    if state.offline_request is not None:
        out.print(Text(texts.OFFLINE_WAITING))
    if state.receipt is not None and state.license is None:
        out.print(Text(texts.RECEIPT_KEPT))
    turned_back = clock.turned_back()
    if turned_back:
        out.print(Text(texts.CLOCK_TURNED_BACK.format(difference=span(turned_back)), style="yellow"))
    if check.allowed:
        show_entitlements(out, check.entitlements)
        show_databases(out, state, zone)
        show_messages(out, (message["detail"] for message in state.labels.get("messages") or []))
    return check


def status_document(manager: Manager, state: State, clock: TrustedClock) -> dict[str, Any]:
    """The same as `show_status`, for programs."""
    check = manager.check(state, clock.now())
    labels = state.labels
    return {
        "allowed": check.allowed,
        "status": check.status,
        "code": check.code,
        "reason": check.reason,
        "silent_days": check.silent_days,
        "mode": None if state.token is None else "online" if state.license is None else "offline",
        "expires_at": _utc(check.expires_at),
        "next_validation_at": _utc_of(state.next_validation_at),
        "clock_turned_back_seconds": round(clock.turned_back()),
        "customer": labels.get("customer"),
        "installation": labels.get("installation"),
        "databases": labels.get("databases") or [],
        "messages": labels.get("messages") or [],
        "site": state.site_used,
        "last_attempt": state.last_attempt and {**state.last_attempt, "at": _utc_of(state.last_attempt["at"])},
        "entitlements": [
            {
                "license_code": entitlement.license_code,
                "application": entitlement.application,
                "name": entitlement.name,
                "unit": entitlement.unit,
                "quantity": entitlement.quantity,
                "type": entitlement.type,
                "care": entitlement.care,
                "care_until": entitlement.care_until,
                "first_day": entitlement.first_day,
                "last_day": entitlement.last_day,
                "modules": list(entitlement.modules),
                "cloud_services": entitlement.cloud_services,
            }
            for entitlement in check.entitlements
        ],
    }


def show_entitlements(out: Console, entitlements: Iterable[checking.Entitlement]) -> None:
    """Applications and modules, quantity, care and last day."""
    table = _table(texts.APPLICATION, texts.MODULES, texts.QUANTITY, texts.TYPE, texts.CARE, texts.LAST_DAY)
    table.columns[2].justify = "right"
    for column in (2, 3, 5):
        table.columns[column].no_wrap = True
    for item in sorted(entitlements, key=lambda item: (item.name, item.last_day or "9")):
        care = item.care or "–"
        if item.care and item.care_until:
            care = texts.CARE_UNTIL.format(care=item.care, day=language.day(item.care_until))
        table.add_row(
            escape(item.name),
            escape(", ".join(item.modules)) or "–",
            escape(f"{language.number(item.quantity)} {item.unit}"),
            escape(_word("TYPE", item.type)),
            escape(care),
            escape(language.day(item.last_day) if item.last_day else texts.NEVER_ENDS),
        )
    out.print()
    if table.row_count:
        out.print(table)
    else:
        out.print(texts.NO_ENTITLEMENTS)


def show_databases(out: Console, state: State, zone: str) -> None:
    """Databases with the day each was activated."""
    databases = state.labels.get("databases") or []
    if not databases:
        return
    table = _table(texts.DATABASE, texts.ACTIVATED_ON)
    for database in databases:
        table.add_row(escape(database["name"]), _day(database["activated_at"], zone))
    out.print()
    out.print(table)


def show_messages(out: Console, messages: Iterable[str]) -> None:
    """What the vendor has to say."""
    for index, message in enumerate(message for message in messages if message):
        if index == 0:
            out.print()
        out.print(Text(f"! {message}", style="yellow"))


def show_outcome(out: Console, outcome: Outcome) -> None:
    """How a validation or activation ended."""
    if outcome.ok:
        out.print(
            Text(f"✔ {outcome.detail}", style="bold green"),
            Text(f"({texts.SITE.format(number=outcome.site)})", style="dim"),
        )
    else:
        out.print(Text(f"✘ {outcome.detail}", style="bold red"), Text(f"({outcome.code})", style="dim"))
    for note in outcome.notes:
        out.print(Text(f"! {note}", style="yellow"))


def show_probes(out: Console, probes: Iterable[Probe]) -> None:
    """One line for each site."""
    for probe in probes:
        sign, style = ("✔", "green") if probe.ok else ("✘", "red")
        line = Text(f"{sign} {texts.SITE.format(number=probe.number)}", style=style)
        line.append(f"  {probe.address}  ", style="default")
        line.append(probe.detail, style="default")
        out.print(line)


def show_log(out: Console, entries: Iterable[dict[str, Any]], zone: str) -> None:
    """The local log as a table, newest last."""
    table = _table(texts.WHEN, texts.COMMAND, texts.RESULT, texts.CODE, texts.AT_SITE, texts.DETAIL)
    for column in range(5):
        table.columns[column].no_wrap = True
    for entry in entries:
        table.add_row(
            _minute(str(entry.get("at", "")), zone),
            escape(str(entry.get("command", ""))),
            escape(_word("RESULT", str(entry.get("result", "")))),
            escape(str(entry.get("code", ""))),
            str(entry.get("site") or "–"),
            escape(str(entry.get("detail", ""))),
        )
    out.print(table if table.row_count else texts.LOG_EMPTY)


def show_settings(out: Console, shown: dict[str, str], proxy: str | None) -> None:
    """The settings, passwords masked, and the proxy that is really used."""
    table = Table.grid(padding=(0, 2))
    for name, value in shown.items():
        table.add_row(name, Text(value) if value else Text(texts.NOT_SET, style="dim"))
    out.print(table)
    out.print(Text(texts.PROXY_IN_USE.format(proxy=proxy) if proxy else texts.NO_PROXY_IN_USE))


def show_title(out: Console, title: str) -> None:
    """The first lines of the guided flow."""
    out.print(Panel(Text(title, style="bold"), expand=False, padding=(0, 2)))


def show_installations(out: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Numbered installations with their status."""
    table = _table("", texts.INSTALLATION, texts.STATUS)
    for number, (name, status) in enumerate(rows, start=1):
        table.add_row(str(number), escape(name), escape(_word("INSTALLATION", status)))
    out.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")  # never shorten what may be a name
    return table


def _status(check: checking.Check) -> str:
    return (
        texts.GRACE_OF_TEN.format(day=check.silent_days) if check.status == "grace" else _word("STATUS", check.status)
    )


def _word(kind: str, word: str) -> str:
    """A word of the contract as people read it; one that this version doesn't know stays as it is."""
    return str(getattr(texts, f"{kind}_{word.upper()}", word))


def _zone(manager: Manager, state: State) -> str:
    """The zone the days are counted in, as far as it is known; only for showing."""
    if state.server_token is not None and state.key_set is not None:
        try:
            key_set = trust.read_key_set(state.key_set, manager.vendor.root_keys, manager.vendor.issuer)
            return trust.read_server_token(state.server_token, key_set, manager.vendor.issuer).time_zone
        except Untrusted:
            pass
    return manager.machine.time_zone()


def _minute(text: str, zone: str) -> str:
    try:
        return language.moment(datetime.fromisoformat(text).timestamp(), zone)
    except ValueError:
        return text


def _day(text: str, zone: str) -> str:
    if len(text) == 10:  # a date has no zone to be moved to
        return language.day(text)
    try:
        return language.day(datetime.fromisoformat(text).astimezone(ladder.zone(zone)).date().isoformat())
    except (ValueError, OverflowError):
        return text


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _utc_of(instant: float | None) -> str | None:
    from datetime import UTC

    return None if instant is None else _utc(datetime.fromtimestamp(instant, UTC))
