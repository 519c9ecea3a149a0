"""The operation log (A9, F6) of a customer, the vendor or a reseller: reading, exporting, verifying, for how long it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import administration, customers, log_reading, sealing
from licensing.errors import LicensingError, NotFound
from licensing.http.pages import Visit, attachment, explain, form, page, see_other, visit
from licensing.log_reading import Filters, Format, Page
from licensing.rules import access
from licensing.rules.guards import GUARDS
from licensing.rules.heartbeat import start_of_day
from licensing.rules.operation_texts import ACTORS, CUSTOMER_ACTIONS, DETAILS, KINDS, OWN_ACTIONS
from licensing.rules.people import VENDOR
from licensing.rules.retention import LONGEST_DAYS, SHORTEST_DAYS, Retention
from licensing.store import people

from functions.serve_portal import forms
from functions.serve_portal.forms import FormInvalid

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_ON_A_PAGE, _IN_A_FILE = 50, 1000
_MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}
_MONTH = timedelta(days=30)
_BEGINNING, _END = date(2000, 1, 1), date(2200, 1, 1)
_LONGEST_WORD = 128


@dataclass(frozen=True, slots=True)
class _Log:
    """Whose log a page is of: its address, its frame and what that shows, its clock, and the words it is read in."""

    owner: str
    address: str
    frame: str
    facts: Mapping[str, Any]
    actions: Mapping[str, str]
    zone: str = "UTC"
    retention: Retention = field(default_factory=Retention)
    servers: Mapping[str, str] = field(default_factory=dict)

    def page(self, here: Visit, template: str, status: int = 200, **facts: Any) -> Response[str]:
        return page(
            here, template, status, frame=self.frame, base=self.address, owner=self.owner, zone=self.zone, **self.facts, **facts
        )  # fmt: skip


def _customers(here: Visit, customer_id: str) -> _Log:
    account = customers.account_for(here.signed_in, customer_id, "log.read")
    customer = account.customer
    return _Log(
        customer_id, f"/portal/customers/{customer_id}", "customer.html", {"customer": customer}, CUSTOMER_ACTIONS,
        customer.time_zone, customer.log_retention, {key: each.name for key, each in account.installations.items()},
    )  # fmt: skip


def _own(here: Visit, organization: str) -> _Log:
    """What concerns no customer: the vendor's own log, or a reseller's."""
    access.require_own(here.signed_in, "team.manage", organization)
    reseller = people.resellers().get(organization)
    if reseller is None and organization != VENDOR:
        raise NotFound
    facts = {"customer": None, "organization": organization, "reseller": reseller}
    return _Log(organization, f"/portal/teams/{organization}", "organization.html", facts, OWN_ACTIONS)


# ── reading ──


@router.get("/portal/customers/<customer_id>/log")
def show(customer_id: str) -> Response[str]:
    """A page of it, newest first."""
    here = visit(router)
    return _show(here, _customers(here, customer_id))


@router.get("/portal/teams/<organization>/log")
def show_own(organization: str) -> Response[str]:
    """The same of the vendor's or a reseller's own."""
    here = visit(router)
    return _show(here, _own(here, organization))


def _show(here: Visit, log: _Log, error: LicensingError | None = None) -> Response[str]:
    asked = _asked(here)
    found = _read(here, log, asked, _ON_A_PAGE, newest_first=True)
    colleagues = {each.user_id: each.name for each in people.members(log.owner)}
    facts = {"error": explain(here.language, error)} if error else {}
    return log.page(
        here, "log", error.status if error else 200, found=found, asked=asked,
        query=urlencode(asked), actions=log.actions, actors=ACTORS, details=DETAILS, kinds=KINDS,
        colleagues=colleagues, servers=log.servers,
        results=["DONE", *(guard.code for guard in GUARDS)] if log.servers else ["DONE"],
        retention=log.retention, days_bounds=(SHORTEST_DAYS, LONGEST_DAYS), **facts,
    )  # fmt: skip


def _asked(here: Visit) -> dict[str, str]:
    """The filters that are set, as the query has them."""
    said = {name: here.query(name).strip()[:_LONGEST_WORD] for name in ("from", "to", "action", "who", "result")}
    return {name: value for name, value in said.items() if value}


def _read(here: Visit, log: _Log, asked: dict[str, str], limit: int, *, newest_first: bool) -> Page:
    first, last = _day(asked.get("from")), _day(asked.get("to"))
    who = asked.get("who", "")
    return log_reading.list_operations(
        log.owner,
        here.now,
        since=start_of_day(first, log.zone) if first else None,
        until=start_of_day(last + timedelta(days=1), log.zone) if last else None,
        filters=Filters(
            action=asked.get("action", ""),
            actor_kind=who if who in ACTORS else "",
            actor_id="" if who in ACTORS else who,
            result=asked.get("result", ""),
        ),
        limit=limit,
        cursor=here.query("cursor") or None,
        newest_first=newest_first,
    )


def _day(text: str | None) -> date | None:
    try:
        return min(_END, max(_BEGINNING, date.fromisoformat(text))) if text else None
    except ValueError:
        return None


# ── export ──


@router.get("/portal/customers/<customer_id>/log/export")
def export(customer_id: str) -> Response[str]:
    """The part of it that one file holds, and where the next one begins."""
    here = visit(router)
    return _export(here, _customers(here, customer_id))


@router.get("/portal/teams/<organization>/log/export")
def export_own(organization: str) -> Response[str]:
    """The same of the vendor's or a reseller's own."""
    here = visit(router)
    return _export(here, _own(here, organization))


def _export(here: Visit, log: _Log) -> Response[str]:
    asked = _asked(here)
    found = _read(here, log, asked, _IN_A_FILE, newest_first=False)
    part, before = forms.whole(here.query("part"), 1, 100_000, 1), forms.whole(here.query("before"), 0, 10**8, 0)
    this = {**asked, "part": str(part), "cursor": here.query("cursor")}
    following = {
        **asked,
        "part": str(part + 1),
        "before": str(before + len(found.items)),
        "cursor": found.next_cursor or "",
    }
    return log.page(
        here, "log_export", found=found, part=part, before=before, query=urlencode(asked),
        this=urlencode({name: value for name, value in this.items() if value}), following=urlencode(following),
    )  # fmt: skip


@router.get("/portal/customers/<customer_id>/log/export/<name>")
def download(customer_id: str, name: str) -> Response[str]:
    """One file, oldest first: ``csv`` or ``jsonl``. Only the first of CSV has a header line, so that they can be put together."""
    here = visit(router)
    return _download(here, _customers(here, customer_id), name)


@router.get("/portal/teams/<organization>/log/export/<name>")
def download_own(organization: str, name: str) -> Response[str]:
    """The same of the vendor's or a reseller's own."""
    here = visit(router)
    return _download(here, _own(here, organization), name)


def _download(here: Visit, log: _Log, name: str) -> Response[str]:
    chosen = next((each for each in _MEDIA_TYPES if each == name), None)
    if chosen is None:
        raise NotFound
    found = _read(here, log, _asked(here), _IN_A_FILE, newest_first=False)
    lines = log_reading.as_lines(found.items, chosen, header=not here.query("cursor"))
    part = forms.whole(here.query("part"), 1, 100_000, 1)
    return attachment(f"operations-{part}.{chosen}", _MEDIA_TYPES[chosen], "".join(lines))


# ── verifying ──


@router.get("/portal/customers/<customer_id>/log/verify")
def verify(customer_id: str) -> Response[str]:
    """Whether anything was altered, removed or added since its day was sealed, and where. Without a range it only asks for one."""
    here = visit(router)
    return _verify(here, _customers(here, customer_id))


@router.get("/portal/teams/<organization>/log/verify")
def verify_own(organization: str) -> Response[str]:
    """The same of the vendor's or a reseller's own."""
    here = visit(router)
    return _verify(here, _own(here, organization))


def _verify(here: Visit, log: _Log) -> Response[str]:
    last = _day(here.query("to")) or here.now.date()
    first = _day(here.query("from")) or max(last - _MONTH, _BEGINNING)
    found = None
    if here.query("from"):
        found = sealing.verify(
            log.owner, first, last, here.now, most_days=log_reading.MOST_DAYS, most_entries=log_reading.MOST_ENTRIES
        )
    return log.page(here, "log_verify", first=first, last=last, day_of=date.fromisoformat, found=found)


# ── retention ──


@router.post("/portal/customers/<customer_id>/log-retention")
def keep(customer_id: str) -> Response[str]:
    """For how long its operations are kept."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    customers.account_for(user, customer_id, "customer.change")
    days = forms.whole(fields.get("days", ""), SHORTEST_DAYS, LONGEST_DAYS, 0)
    if not days:
        return _show(here, _customers(here, customer_id), FormInvalid(field=here.language.text("Days")))
    kept = administration.set_log_retention(customer_id, days, here.by, here.now)
    waiting = kept.shortening and kept.shortening.since > here.now
    return see_other(here, f"/portal/customers/{customer_id}/log", "retention-announced" if waiting else "saved")
