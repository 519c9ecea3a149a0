"""A customer's operation log (A9, F6): reading, exporting, verifying, and for how long it is kept."""

from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import administration, customers, log_reading, sealing
from licensing.errors import LicensingError, NotFound
from licensing.http.pages import Visit, attachment, explain, form, page, see_other, visit
from licensing.log_reading import Filters, Format, Page
from licensing.rules.accounts import Account
from licensing.rules.guards import GUARDS
from licensing.rules.heartbeat import start_of_day
from licensing.rules.operation_texts import ACTIONS, ACTORS, DETAILS, KINDS
from licensing.rules.retention import LONGEST_DAYS, SHORTEST_DAYS
from licensing.store import people

from functions.serve_portal import forms
from functions.serve_portal.forms import FormInvalid

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_ON_A_PAGE, _IN_A_FILE = 50, 1000
_MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}
_MONTH = timedelta(days=30)
_BEGINNING, _END = date(2000, 1, 1), date(2200, 1, 1)
_LONGEST_WORD = 128


@router.get("/portal/customers/<customer_id>/log")
def show(customer_id: str) -> Response[str]:
    """A page of it, newest first."""
    return _show(visit(router), customer_id)


def _show(here: Visit, customer_id: str, error: LicensingError | None = None) -> Response[str]:
    account = customers.account_for(here.signed_in, customer_id, "log.read")
    asked = _asked(here)
    found = _read(here, account, asked, _ON_A_PAGE, newest_first=True)
    colleagues = {each.user_id: each.name for each in people.members(customer_id)}
    facts = {"error": explain(here.language, error)} if error else {}
    return page(
        here, "log", error.status if error else 200, customer=account.customer, found=found, asked=asked,
        query=urlencode(asked), actions=ACTIONS, actors=ACTORS, details=DETAILS, kinds=KINDS,
        colleagues=colleagues,
        servers={key: each.name for key, each in account.installations.items()},
        results=["DONE", *(guard.code for guard in GUARDS)],
        retention=account.customer.log_retention, days_bounds=(SHORTEST_DAYS, LONGEST_DAYS), **facts,
    )  # fmt: skip


def _asked(here: Visit) -> dict[str, str]:
    """The filters that are set, as the query has them."""
    said = {name: here.query(name).strip()[:_LONGEST_WORD] for name in ("from", "to", "action", "who", "result")}
    return {name: value for name, value in said.items() if value}


def _read(here: Visit, account: Account, asked: dict[str, str], limit: int, *, newest_first: bool) -> Page:
    customer = account.customer
    first, last = _day(asked.get("from")), _day(asked.get("to"))
    who = asked.get("who", "")
    return log_reading.list_operations(
        customer.customer_id,
        here.now,
        since=start_of_day(first, customer.time_zone) if first else None,
        until=start_of_day(last + timedelta(days=1), customer.time_zone) if last else None,
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
    account = customers.account_for(here.signed_in, customer_id, "log.read")
    asked = _asked(here)
    found = _read(here, account, asked, _IN_A_FILE, newest_first=False)
    part, before = forms.whole(here.query("part"), 1, 100_000, 1), forms.whole(here.query("before"), 0, 10**8, 0)
    this = {**asked, "part": str(part), "cursor": here.query("cursor")}
    following = {
        **asked,
        "part": str(part + 1),
        "before": str(before + len(found.items)),
        "cursor": found.next_cursor or "",
    }
    return page(
        here, "log_export", customer=account.customer, found=found, part=part, before=before, query=urlencode(asked),
        this=urlencode({name: value for name, value in this.items() if value}), following=urlencode(following),
    )  # fmt: skip


@router.get("/portal/customers/<customer_id>/log/export/<name>")
def download(customer_id: str, name: str) -> Response[str]:
    """One file, oldest first: ``csv`` or ``jsonl``. Only the first of CSV has a header line, so that they can be put together."""
    here = visit(router)
    account = customers.account_for(here.signed_in, customer_id, "log.read")
    chosen = next((each for each in _MEDIA_TYPES if each == name), None)
    if chosen is None:
        raise NotFound
    found = _read(here, account, _asked(here), _IN_A_FILE, newest_first=False)
    lines = log_reading.as_lines(found.items, chosen, header=not here.query("cursor"))
    part = forms.whole(here.query("part"), 1, 100_000, 1)
    return attachment(f"operations-{part}.{chosen}", _MEDIA_TYPES[chosen], "".join(lines))


# ── verifying ──


@router.get("/portal/customers/<customer_id>/log/verify")
def verify(customer_id: str) -> Response[str]:
    """Whether anything was altered, removed or added since its day was sealed, and where. Without a range it only asks for one."""
    here = visit(router)
    account = customers.account_for(here.signed_in, customer_id, "log.read")
    today = here.now.date()
    last = _day(here.query("to")) or today
    first = _day(here.query("from")) or max(last - _MONTH, _BEGINNING)
    facts: dict[str, Any] = {"found": None, "names": {}}
    if here.query("from"):
        found = sealing.verify(
            customer_id, first, last, here.now, most_days=log_reading.MOST_DAYS, most_entries=log_reading.MOST_ENTRIES
        )
        facts["found"] = found
    return page(
        here, "log_verify", customer=account.customer, first=first, last=last, day_of=date.fromisoformat, **facts
    )


# ── retention ──


@router.post("/portal/customers/<customer_id>/log-retention")
def keep(customer_id: str) -> Response[str]:
    """For how long its operations are kept."""
    here = visit(router)
    user, fields = here.signed_in, form(here)
    customers.account_for(user, customer_id, "customer.change")
    days = forms.whole(fields.get("days", ""), SHORTEST_DAYS, LONGEST_DAYS, 0)
    if not days:
        return _show(here, customer_id, FormInvalid(field=here.language.text("Days")))
    kept = administration.set_log_retention(customer_id, days, here.by, here.now)
    waiting = kept.shortening and kept.shortening.since > here.now
    return see_other(here, f"/portal/customers/{customer_id}/log", "retention-announced" if waiting else "saved")
