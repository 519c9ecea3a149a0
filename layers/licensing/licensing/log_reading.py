"""Reading the operation log (A9): in pages, newest or oldest first, or all of it for a file. Never what is past its retention."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime
from typing import Literal

from licensing.errors import InvalidRequest, NotFound
from licensing.rules import cursors
from licensing.rules.operations import Operation
from licensing.rules.people import VENDOR
from licensing.rules.retention import Retention, oldest_kept
from licensing.sealing import days, first_open_day
from licensing.store import accounts, operations, people, seals
from licensing.store.operations import Stored

Format = Literal["csv", "jsonl"]

#: Entries looked at for one page; where filters leave little, the page is short, and its cursor goes on.
_MOST_EXAMINED = 1000
_CHUNK = 100
#: What one request of a user may verify, or erase from: seconds, and less than a function has.
MOST_DAYS, MOST_ENTRIES = 31, 10_000
#: What a spreadsheet would take for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclass(frozen=True, slots=True)
class Filters:
    """What to list; an empty one lists all. ``action`` is a beginning: ``server.`` stands for all that servers did."""

    action: str = ""
    actor_kind: str = ""
    actor_id: str = ""
    subject_id: str = ""
    result: str = ""

    def match(self, operation: Operation) -> bool:
        """Whether an operation is meant."""
        return (
            operation.action.startswith(self.action)
            and self.actor_kind in ("", operation.by.kind)
            and self.actor_id in ("", operation.by.id)
            and self.subject_id in ("", operation.subject_id)
            and self.result in ("", operation.result)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Some operations, and where the next ones begin; None: these are the last."""

    items: tuple[Operation, ...]
    next_cursor: str | None


def kept(owner: str, now: datetime) -> tuple[int, str]:
    """For how many days a log is kept, and in which time zone: a customer's, a reseller's own, or the vendor's own (``vendor``).

    Raises NotFound.
    """
    if owner == VENDOR or (owner.startswith("res_") and owner in people.resellers()):
        return Retention().days, "UTC"
    customer = accounts.get_customer(owner)
    if customer is None:
        raise NotFound
    return customer.log_retention.in_force(now), customer.time_zone


def list_operations(
    customer_id: str,
    now: datetime,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    filters: Filters = Filters(),
    limit: int = 50,
    cursor: str | None = None,
    newest_first: bool = True,
) -> Page:
    """A page of a customer's operations, or of the vendor's or a reseller's own, written from ``since`` on and before ``until``.

    It has fewer than ``limit``, none even, where filters leave little; it is the last only where ``next_cursor`` is None.
    Raises NotFound, InvalidRequest for a cursor of another list.
    """
    list_of = [customer_id, str(since), str(until), *astuple(filters), str(newest_first)]
    day, beyond = _position(cursor, list_of)
    found: list[Operation] = []
    for examined, stored in enumerate(_walk(customer_id, now, since, until, newest_first, day, beyond), 1):
        if filters.match(stored.operation):
            found.append(stored.operation)
        if len(found) == limit or examined == _MOST_EXAMINED:
            place = stored.entry.place.rpartition("#")[0]
            return Page(tuple(found), cursors.write([str(stored.written.date()), place], list_of))
    return Page(tuple(found), None)


def _position(cursor: str | None, list_of: list[str]) -> tuple[date | None, str | None]:
    if cursor is None:
        return None, None
    try:
        day, beyond = cursors.read(cursor, list_of)
        return date.fromisoformat(day), beyond
    except (cursors.CursorError, ValueError) as error:
        raise InvalidRequest from error


def _walk(
    customer_id: str,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
    day: date | None = None,
    beyond: str | None = None,
) -> Iterator[Stored]:
    """All that may be shown, from behind the place ``beyond`` on ``day`` on."""
    kept_from = oldest_kept(*kept(customer_id, now), now)
    start = max(kept_from, since.astimezone(UTC)) if since else kept_from
    for each in _days(customer_id, start, min(until or now, now), newest_first):
        if day and (each > day if newest_first else each < day):
            continue
        after = beyond if each == day else None
        while True:
            chunk = operations.page(customer_id, each, newest_first=newest_first, beyond=after, limit=_CHUNK)
            yield from (
                stored for stored in chunk if start <= stored.written and not (until and stored.written >= until)
            )
            if len(chunk) < _CHUNK:
                break
            after = chunk[-1].entry.place.rpartition("#")[0]


def _days(customer_id: str, start: datetime, end: datetime, newest_first: bool) -> list[date]:
    """The days that have entries, as their seals say, and those that are not sealed yet."""
    first, last = start.date(), end.astimezone(UTC).date()
    opened = first_open_day(customer_id, seals.head(customer_id))
    sealed = [date.fromisoformat(seal.day) for seal in seals.seals(customer_id, first, last) if seal.tombstone is None]
    return sorted({*sealed, *days(max(first, opened), last)}, reverse=newest_first)


def export(
    customer_id: str,
    form: Format,
    now: datetime,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    filters: Filters = Filters(),
    progress: Callable[[int, date], None] = lambda count, day: None,
) -> Iterator[str]:
    """All of it, oldest first, as lines of CSV (RFC 4180, with a header) or JSON Lines.

    ``progress`` is told how many were written, and up to which day. Raises NotFound.
    """

    def chosen() -> Iterator[Operation]:
        count = 0
        for stored in _walk(customer_id, now, since, until):
            if filters.match(stored.operation):
                yield stored.operation
                count += 1
                if count % _CHUNK == 0:
                    progress(count, stored.written.date())

    return as_lines(chosen(), form)


_COLUMNS = (
    "operation_id", "at", "actor_kind", "actor_id", "actor_name", "address", "action", "subject_id", "result",
    "request_id", "details",
)  # fmt: skip


def as_lines(found: Iterable[Operation], form: Format, *, header: bool = True) -> Iterator[str]:
    """Operations as lines of CSV (RFC 4180) or JSON Lines. Without ``header``, CSV can follow on other CSV."""
    if form == "csv" and header:
        yield _csv(list(_COLUMNS))
    for each in found:
        record = as_record(each)
        if form == "csv":
            yield _csv([_safe(record[name]) for name in _COLUMNS])
        else:
            yield json.dumps(record, ensure_ascii=False) + "\n"


def as_record(operation: Operation) -> dict[str, object]:
    """An operation as plain data, in one level but for its details."""
    by = operation.by
    return {
        "operation_id": operation.operation_id,
        "at": f"{operation.at:%Y-%m-%dT%H:%M:%SZ}",
        "actor_kind": by.kind,
        "actor_id": by.id,
        "actor_name": by.name,
        "address": by.address,
        "action": operation.action,
        "subject_id": operation.subject_id,
        "result": operation.result,
        "request_id": by.request_id,
        "details": dict(operation.details),
    }


def _csv(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _safe(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
