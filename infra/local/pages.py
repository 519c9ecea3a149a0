"""The routes that only the local stack has: ``GET /`` and ``/local/*``."""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from infra.local.http import Request, Response
from infra.local.outbox import Mail, newest_first
from infra.local.problems import Problem, invalid, not_found
from infra.local.schedules import Schedules

if TYPE_CHECKING:
    from infra.local.stack import Stack

_MAX_BODY_BYTES = 64 * 1024
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
#: Nothing is fetched from anywhere; mails are shown in frames without any right (sandbox).
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; form-action 'self'; base-uri 'none'"

_JINJA = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("html")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class LocalPages:
    """Answers what is local, and leaves the rest to the API (None)."""

    def __init__(self, stack: "Stack") -> None:
        self._stack = stack
        self._all_schedules = Schedules(stack)
        self._routes: tuple[tuple[str, re.Pattern[str], Callable[..., Response]], ...] = (
            ("GET", re.compile(r"/"), self._index),
            ("GET", re.compile(r"/local/outbox"), self._outbox),
            ("GET", re.compile(r"/local/clock"), self._read_clock),
            ("POST", re.compile(r"/local/clock"), self._move_clock),
            ("GET", re.compile(r"/local/users"), self._users),
            ("POST", re.compile(r"/local/users/([^/]+)/token"), self._token),
            ("GET", re.compile(r"/local/schedules"), self._schedules),
            ("POST", re.compile(r"/local/schedules/([^/]+)/run"), self._run_schedule),
            ("POST", re.compile(r"/local/reset"), self._reset),
        )

    def __call__(self, request: Request) -> Response | None:
        """The answer, or None where the path is the API's."""
        path = request.raw_path
        if path != "/" and path != "/local" and not path.startswith("/local/"):
            return None
        try:
            _refuse_strangers(request)
            for method, pattern, answer in self._routes:
                if method == request.method and (found := pattern.fullmatch(path)):
                    return answer(request, *(unquote(each) for each in found.groups()))
            raise not_found("There is no such local page; GET / lists them.")
        except Problem as problem:
            return problem.response()

    # ── pages ──

    def _index(self, request: Request) -> Response:
        return _html("index.html.j2", stack=self._stack, now=self._stack.clock())

    def _outbox(self, request: Request) -> Response:
        mails = newest_first(self._stack.aws.sent_mail)
        if not _wants_page(request):
            return _json({"items": [mail.as_json() for mail in mails], "next_cursor": None})
        chosen = request.query.get("message")
        shown = next((mail for mail in mails if mail.message_id == chosen), None)
        if chosen is not None and shown is None:
            raise not_found("There is no such e-mail in the outbox; a reset empties it.")
        return _html(
            "outbox.html.j2",
            mails=[_Listed(mail) for mail in mails],
            shown=_Listed(shown or mails[0]) if mails else None,
            chosen=shown is not None,
            as_text=request.query.get("part") == "text",
        )

    # ── time ──

    def _read_clock(self, request: Request) -> Response:
        clock = self._stack.clock
        return _json({"now": _rfc_3339(clock()), "offset_seconds": round(clock.offset.total_seconds())})

    def _move_clock(self, request: Request) -> Response:
        if _wants_page(request):  # the form of the schedules' page
            self._advance("advance_days", _days(request))
            return _see_other("/local/schedules")
        body = _body(request)
        match list(body.items()):
            case [("now", str(text))]:
                self._stack.clock.set(_moment(text))
            case [("advance_days" | "advance_seconds" as unit, int(amount))] if not isinstance(amount, bool):
                self._advance(unit, amount)
            case [("now" | "advance_days" | "advance_seconds" as name, _)]:
                kind = "a time such as 2026-11-22T12:00:00Z" if name == "now" else "a whole number"
                raise invalid(f"{name} takes {kind}.", f"/{name}")
            case _:
                raise invalid("Give exactly one of now, advance_days and advance_seconds.")
        return self._read_clock(request)

    def _advance(self, unit: str, amount: int) -> None:
        try:
            by = timedelta(days=amount) if unit == "advance_days" else timedelta(seconds=amount)
            target = self._stack.clock() + by
        except OverflowError:
            target = None
        if target is None or not _EARLIEST <= target < _LATEST:
            raise invalid("The clock stays between the years 2000 and 2099.", f"/{unit}")
        self._stack.clock.advance(by)

    # ── users, schedules, reset ──

    def _users(self, request: Request) -> Response:
        return _json({"items": [user.as_json() for user in self._stack.user_pool.users], "next_cursor": None})

    def _token(self, request: Request, username: str) -> Response:
        token = self._stack.user_pool.token(username)
        if token is None:
            raise not_found("There is no such demo user; GET /local/users lists them.")
        return _json(token)

    def _schedules(self, request: Request) -> Response:
        if _wants_page(request):
            return _html(
                "schedules.html.j2", schedules=self._all_schedules, now=self._stack.clock(), clock=self._stack.clock
            )
        items = [
            {"name": each.name, "function": each.function.name, "schedule": each.expression}
            for each in self._all_schedules
        ]
        return _json({"items": items, "next_cursor": None})

    def _run_schedule(self, request: Request, name: str) -> Response:
        schedule = next((each for each in self._all_schedules if each.name == name), None)
        if schedule is None:
            raise not_found("There is no such schedule; GET /local/schedules lists them.")
        run = self._all_schedules.run(schedule)
        if _wants_page(request):
            return _see_other(f"/local/schedules#{name}")
        if run.failure:
            raise Problem(HTTPStatus.BAD_GATEWAY, "SCHEDULE_FAILED", run.failure)
        return _json({"result": run.result})

    def _reset(self, request: Request) -> Response:
        self._stack.reset()
        self._all_schedules.forget()
        self._stack.aws.sent_mail.extend(self._stack.demo_mail)
        return _json({"detail": "Back to the demo data, and to the real time."})


class _Listed:
    """An e-mail with what the page shows of it beside its own fields."""

    def __init__(self, mail: Mail) -> None:
        self.mail = mail
        self.preview = " ".join(mail.text.split())[:120]
        self.day = f"{mail.sent_at:%d %b %Y}"
        self.time = f"{mail.sent_at:%H:%M} UTC"


def _refuse_strangers(request: Request) -> None:
    """Refuse what a browser sends here for a page from elsewhere: by DNS rebinding (Host), or by a form (Origin)."""
    if not _is_loopback(f"//{request.header('host')}"):
        raise Problem(HTTPStatus.FORBIDDEN, "FORBIDDEN", "Local pages are served to this machine only: use 127.0.0.1.")
    origin = request.header("origin")
    if origin and not _is_loopback(origin):
        raise Problem(HTTPStatus.FORBIDDEN, "FORBIDDEN", "Pages from elsewhere have no access to the local stack.")


def _is_loopback(address: str) -> bool:
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _wants_page(request: Request) -> bool:
    """Whether a browser asks; everybody else gets JSON."""
    return "text/html" in request.header("accept")


def _body(request: Request) -> Mapping[str, Any]:
    if len(request.body) > _MAX_BODY_BYTES:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "PAYLOAD_TOO_LARGE", "The body is too large.")
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, "MALFORMED_JSON", "The body is not valid JSON.") from error
    if not isinstance(body, dict):
        raise invalid("The body is a JSON object.")
    return body


def _days(request: Request) -> int:
    """``advance_days`` of a form."""
    try:
        return int(dict(parse_qsl(request.body.decode())).get("advance_days", ""))
    except ValueError:
        raise invalid("advance_days takes a whole number.", "/advance_days") from None


def _moment(text: str) -> datetime:
    """An RFC 3339 time between 2000 and 2099, aware."""
    try:
        moment = datetime.fromisoformat(text.upper()) if _RFC_3339.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise invalid("now takes a time with its zone, such as 2026-11-22T12:00:00Z.", "/now")
    if not _EARLIEST <= moment < _LATEST:
        raise invalid("The clock stays between the years 2000 and 2099.", "/now")
    return moment


def _rfc_3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(document: Any) -> Response:
    content = json.dumps(document, indent=2, ensure_ascii=False, default=str)
    return Response(200, (("content-type", "application/json"), ("cache-control", "no-store")), f"{content}\n".encode())


def _html(template: str, **values: Any) -> Response:
    headers = (
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", _POLICY),
        ("referrer-policy", "same-origin"),  # without, a form's Origin would be "null", and refused
        ("x-content-type-options", "nosniff"),
    )
    return Response(200, headers, _JINJA.get_template(template).render(**values).encode())


def _see_other(path: str) -> Response:
    return Response(HTTPStatus.SEE_OTHER, (("location", path),))
