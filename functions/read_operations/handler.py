"""The operation log for signed-in users: reading, verifying, and what it holds of a person (A9, F6)."""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from licensing import customers, deployment, log_reading, personal_data, sealing
from licensing.contract import Day, Moment
from licensing.contract_log import (
    ErasedAnswer,
    FindingAnswer,
    OperationAnswer,
    OperationList,
    PersonalDataAnswer,
    VerificationAnswer,
)
from licensing.errors import (
    Forbidden,
    InvalidRequest,
    LicensingError,
    NotFound,
    OnlyAtHomeSite,
    StillMember,
    TemporarilyUnavailable,
    Unauthorized,
)
from licensing.http.api import api, document, entry, problems
from licensing.http.requests import origin, user_caller
from licensing.log_reading import Filters, Format
from licensing.rules import access
from licensing.rules.operations import ActorKind, Operation
from pydantic import BaseModel

app = api()

#: Whose log that is not a customer's: the vendor's own, or a reseller's.
Organization = Annotated[str, Path(pattern=r"^(vendor|res_[0-9a-z]{1,60})$")]
CustomerId = Annotated[str, Path(pattern=r"^cus_[0-9a-z]{1,60}$")]
UserIdAsked = Annotated[str | None, Query(pattern=r"^[0-9A-Za-z-]{1,128}$")]
UserIdNamed = Annotated[str, Query(pattern=r"^[0-9A-Za-z-]{1,128}$")]
Word = Annotated[str, Query(max_length=128)]
Cursor = Annotated[str | None, Query(max_length=1000)]
#: An entry is below 1 KB in the table, and some 2 KB as text: a thousand stay far below a Lambda answer's 6 MB.
Limit = Annotated[int, Query(ge=1, le=1000)]
Since = Annotated[Moment | None, Query()]
From = Annotated[Day | None, Query(alias="from")]
To = Annotated[Day | None, Query()]

_MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
_LINES: dict[str, Any] = {media_type: {"schema": {"type": "string"}} for media_type in _MEDIA_TYPES.values()}
_MONTH = timedelta(days=30)


def _described(answer: type[BaseModel], what: str, *kinds: type[LicensingError]) -> dict[int, Any]:
    refused = problems(Unauthorized, Forbidden, NotFound, OnlyAtHomeSite, TemporarilyUnavailable, *kinds)
    return {200: document(answer, what), **refused}


def _route(
    method: str, path: str, summary: str, responses: dict[int, Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    decorate: Callable[[Callable[..., Any]], Callable[..., Any]] = app.route(
        path, method, summary=summary, tags=["User"], responses=responses, security=[{"user_token": []}]
    )
    return decorate


_LOG = _described(OperationList, "A page of the log.")
_LOG[200]["content"] |= _LINES


@_route("GET", "/v1/customers/<customer_id>/operations", "Read the operation log", _LOG)
def list_operations(
    customer_id: CustomerId,
    since: Since = None,
    until: Since = None,
    action: Word = "",
    actor_kind: Annotated[ActorKind | None, Query()] = None,
    actor_id: Word = "",
    subject_id: Word = "",
    result: Word = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[str]:
    """By `Accept`: JSON, newest first; or `text/csv` or `application/x-ndjson`, oldest first. `action` is a beginning: `server.`
    stands for all that servers did. Where a page is not the last, the header `Link` (RFC 8288, `rel="next"`) leads to the next
    one; of CSV only the first has a header line, so that all of them are one file. Nothing past its retention is shown.
    """
    customers.account_for(user_caller(app), customer_id, "log.read")
    return _listed(
        customer_id, since, until, Filters(action, actor_kind or "", actor_id, subject_id, result), limit, cursor
    )


@_route("GET", "/v1/teams/<organization>/operations", "Read the vendor's or a reseller's own operation log", _LOG)
def list_own_operations(
    organization: Organization,
    since: Since = None,
    until: Since = None,
    action: Word = "",
    actor_kind: Annotated[ActorKind | None, Query()] = None,
    actor_id: Word = "",
    subject_id: Word = "",
    result: Word = "",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response[str]:
    """What concerns no customer: people, webhooks, settings and signing keys of the vendor (`vendor`), or a reseller's people and
    what is said of it. Filters, forms and pages are those of a customer's log.
    """
    access.require_own(user_caller(app), "team.manage", organization)
    return _listed(
        organization, since, until, Filters(action, actor_kind or "", actor_id, subject_id, result), limit, cursor
    )


def _listed(
    owner: str, since: datetime | None, until: datetime | None, filters: Filters, limit: int, cursor: str | None
) -> Response[str]:
    form = _accepted(app.current_event.headers.get("accept") or "")
    found = log_reading.list_operations(
        owner,
        deployment.now(),
        since=since,
        until=until,
        filters=filters,
        limit=limit,
        cursor=cursor,
        newest_first=form is None,
    )
    headers: dict[str, str | list[str]] = {"Vary": "Accept"}
    if found.next_cursor:
        asked = app.current_event.query_string_parameters or {}
        headers["Link"] = f'<?{urlencode(asked | {"cursor": found.next_cursor})}>; rel="next"'
    if form is None:
        answer = OperationList(items=[_answer(each) for each in found.items], next_cursor=found.next_cursor)
        return Response(200, "application/json", answer.model_dump_json(), headers)
    lines = log_reading.as_lines(found.items, form, header=cursor is None)
    return Response(200, f"{_MEDIA_TYPES[form]}; charset=utf-8", "".join(lines), headers)


#: RFC 9110, section 12.4.2; of any other form it is the least.
_WEIGHT, _REFUSED = re.compile(r"[01](\.[0-9]{0,3})?"), re.compile(r"0(\.0{0,3})?")


def _accepted(accept: str) -> Format | None:
    """The form that a caller likes best; None for JSON, which is also for who does not say."""
    liked: list[tuple[float, Format | None]] = []
    known: dict[str, Format | None] = {
        "application/json": None, "*/*": None, "text/csv": "csv", "application/x-ndjson": "jsonl", "application/jsonl": "jsonl",
    }  # fmt: skip
    for part in accept.lower().split(",")[:20]:
        media_type, *parameters = (each.strip() for each in part.split(";"))
        weight = next((each.removeprefix("q=") for each in parameters if each.startswith("q=")), "1")
        if media_type in known and not _REFUSED.fullmatch(weight):
            liked.append((float(weight) if _WEIGHT.fullmatch(weight) else 0, known[media_type]))
    return max(liked, key=lambda each: each[0], default=(0, None))[1]


def _answer(operation: Operation) -> OperationAnswer:
    return OperationAnswer.model_validate({**log_reading.as_record(operation), "at": operation.at})


@_route(
    "GET",
    "/v1/customers/<customer_id>/operations/seal",
    "Verify the operation log",
    _described(VerificationAnswer, "What was altered, removed or added, and where."),
)
def verify(customer_id: CustomerId, first: From = None, to: To = None) -> VerificationAnswer:
    """From one day to another (UTC), both included; the last month where they are not said. One answer looks at 31 days, or at the
    days that have the first 10,000 operations: `next_from` says where to go on. `intact` with `days` 0 says only that no
    day of the range is sealed yet.
    """
    customers.account_for(user_caller(app), customer_id, "log.read")
    return _verified(customer_id, first, to)


@_route(
    "GET",
    "/v1/teams/<organization>/operations/seal",
    "Verify the vendor's or a reseller's own operation log",
    _described(VerificationAnswer, "What was altered, removed or added, and where."),
)
def verify_own(organization: Organization, first: From = None, to: To = None) -> VerificationAnswer:
    """As with a customer's log."""
    access.require_own(user_caller(app), "team.manage", organization)
    log_reading.kept(organization, deployment.now())
    return _verified(organization, first, to)


def _verified(owner: str, first: date | None, to: date | None) -> VerificationAnswer:
    now = deployment.now()
    last = to or now.date()
    first = first or max(last, date.min + _MONTH) - _MONTH
    if last < first:
        raise InvalidRequest
    found = sealing.verify(
        owner, first, last, now, most_days=log_reading.MOST_DAYS, most_entries=log_reading.MOST_ENTRIES
    )
    return VerificationAnswer(
        intact=not found.findings,
        days=found.days,
        cut_days=found.cut,
        operations=found.entries,
        erased=found.erased,
        open_from=found.open_from,
        next_from=found.next_from,
        findings=[
            FindingAnswer(day=date.fromisoformat(each.day), fault=each.fault, operation_id=each.operation_id)
            for each in found.findings
        ],
    )


@_route(
    "GET",
    "/v1/customers/<customer_id>/personal-data",
    "Export personal data",
    _described(PersonalDataAnswer, "What is kept of people."),
)
def export_personal_data(
    customer_id: CustomerId, user_id: UserIdAsked = None, limit: Limit = 100, cursor: Cursor = None
) -> PersonalDataAnswer:
    """Of one person, or of all of a customer's."""
    account = customers.account_for(user_caller(app), customer_id, "personal_data.manage")
    found = personal_data.export(account.customer, user_id, limit, cursor, deployment.now())
    return PersonalDataAnswer(
        people=[customers.member_answer(each) for each in found.people],
        contacts=customers.contact_answers(found.contacts),
        operations=[_answer(each) for each in found.operations.items],
        next_cursor=found.operations.next_cursor,
    )


@_route(
    "DELETE",
    "/v1/customers/<customer_id>/personal-data",
    "Erase personal data",
    _described(ErasedAnswer, "From how many operations.", StillMember),
)
def erase_personal_data(customer_id: CustomerId, user_id: UserIdNamed, first: From = None) -> ErasedAnswer:
    """Name and address of a person who has no account any more are erased from the log; its seals still hold. Where one answer
    does not get through the log, `next_from` says where to go on. Accounts and contacts are removed by routes of their own.
    """
    user = user_caller(app)
    customers.account_for(user, customer_id, "personal_data.manage")
    erased, next_from = personal_data.erase(
        customer_id, user_id, first or date.min, origin(app, user), deployment.now()
    )
    return ErasedAnswer(erased=erased, next_from=next_from)


handler = entry(app)
