"""Pages for people: rendered on the server, in their language, usable without any script.

Every page carries a strict content security policy; every form a token of its session, and its origin is checked too.
"""

import hashlib
import hmac
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.api_gateway import BaseRouter
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.shared.cookies import Cookie, SameSite
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from jinja2 import Environment, PackageLoader, StrictUndefined
from python_multipart import parse_form
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File

from licensing import deployment, identity, languages
from licensing.errors import (
    FormExpired,
    InternalError,
    LicensingError,
    NotFound,
    OnlyAtHomeSite,
    PayloadTooLarge,
    Unauthorized,
)
from licensing.http.addresses import page_of
from licensing.http.api import BODY_LIMIT, Handler, handles
from licensing.http.requests import body_bytes, origin
from licensing.languages import Language
from licensing.rules import access, pasted
from licensing.rules.operations import Origin
from licensing.rules.people import User
from licensing.rules.vendor import Vendor
from licensing.store import people
from licensing.store.vendor import cached as vendor_settings

logger = Logger()

#: Served at both sites: the page that leads to the other looks like all others.
_STATIC_PATH = "/portal/static/"
_COOKIE = "__Host-session"
_HTML = "text/html; charset=utf-8"
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Mapping[str, str | list[str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    # The origin only: paths of links from e-mails are secrets. (With no-referrer, forms would come without origin.)
    "Referrer-Policy": "strict-origin",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
}
_STATIC = Path(__file__).resolve().parents[1] / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_MOST_FIELDS = 2000
#: Of a part of a path, in bytes: ids and secrets are shorter, and what is looked up in the table may be 1,024 at most.
_LONGEST_PART = 512


@dataclass(slots=True)
class Visit:
    """One request of a browser: whose session it is, and in which language it is answered."""

    event: APIGatewayProxyEventV2
    now: datetime
    #: The session's secret; that of a visitor who has not signed in is known to nobody else.
    secret: str
    user: User | None
    language: Language
    #: Who asks, for the operation log.
    by: Origin
    cookies: list[Cookie] = field(default_factory=list)

    @property
    def form_token(self) -> str:
        """What a form of this session carries, and no other site knows."""
        return identity.digest(self.secret, "form")

    @property
    def signed_in(self) -> User:
        """The user. Raises Unauthorized where there is none."""
        if self.user is None:
            raise Unauthorized
        return self.user

    def set_session(self, secret: str) -> None:
        """Go on in another session, as after signing in: nobody may know a session's secret from before."""
        self.secret = secret
        self.cookies = [_cookie(secret)]

    def query(self, name: str) -> str:
        """A member of the query; empty where there is none."""
        return (self.event.query_string_parameters or {}).get(name, "")


def visit(router: BaseRouter) -> Visit:
    """The request at hand. Raises TemporarilyUnavailable."""
    event, now = cast("APIGatewayProxyEventV2", router.current_event), deployment.now()
    secret = _secret_in(event)
    user = people.session_of(secret, now) if secret else None
    tag = (user.language if user else None) or languages.negotiate(event.headers.get("accept-language"))
    visit = Visit(event, now, secret or "", user, languages.language(tag), origin(router, user))
    if not secret:
        visit.set_session(identity.new_secret())
    return visit


def _stranger(router: BaseRouter) -> Visit:
    """The same without looking anybody up: for what is said when that is not possible."""
    event = cast("APIGatewayProxyEventV2", router.current_event)
    language = languages.language(languages.negotiate(event.headers.get("accept-language")))
    return Visit(event, deployment.now(), "", None, language, origin(router))


def _secret_in(event: APIGatewayProxyEventV2) -> str | None:
    for cookie in event.cookies:
        name, _, value = cookie.partition("=")
        if name == _COOKIE and value.isascii() and value.isalnum() and len(value) <= 64:
            return value
    return None


def _cookie(secret: str) -> Cookie:
    return Cookie(_COOKIE, secret, path="/", secure=True, http_only=True, same_site=SameSite.LAX_MODE)


def form(visit: Visit) -> dict[str, str]:
    """The fields of a form that was sent from one of our own pages of this session; a file chosen is its text.

    Raises FormExpired, PayloadTooLarge.
    """
    content = body_bytes(visit.event)
    if len(content) > BODY_LIMIT:
        raise PayloadTooLarge(limit=BODY_LIMIT)
    content_type = visit.event.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/form-data"):
        pairs = _parts(content, content_type)
    else:
        try:
            pairs = parse_qsl(
                content.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, strict_parsing=True
            )
        except ValueError as error:
            raise FormExpired from error
    fields = {name: value.strip() for name, value in pairs}
    check_origin(visit, fields.pop("form_token", ""))
    return fields


def _parts(content: bytes, content_type: str) -> list[tuple[str, str]]:
    """The fields of a form with files (RFC 7578)."""
    found: list[tuple[str, str]] = []

    def file_part(part: File) -> None:
        part.file_object.seek(0)
        found.append((_decoded(part.field_name), pasted.decoded(part.file_object.read())))

    def field_part(part: Field) -> None:
        found.append((_decoded(part.field_name), _decoded(part.value)))

    try:
        parse_form({"Content-Type": content_type.encode()}, BytesIO(content), field_part, file_part)
    except (FormParserError, ValueError) as error:
        raise FormExpired from error
    return found[:_MOST_FIELDS]


def _decoded(text: bytes | None) -> str:
    return (text or b"").decode("utf-8", "replace")


def check_origin(visit: Visit, form_token: str) -> None:
    """Refuse a form that is not from a page of ours, in this session (OWASP: synchronizer token, and origin)."""
    sent_from = visit.event.headers.get("origin")
    try:
        ours = sent_from is None or urlsplit(sent_from).netloc == visit.event.headers.get("host")
    except ValueError:
        ours = False
    if not ours or not hmac.compare_digest(form_token.encode(), visit.form_token.encode()):
        raise FormExpired


def page(visit: Visit, template: str, status: int = 200, **facts: Any) -> Response[str]:
    """A page from ``templates/portal/<template>.html``."""
    told = {
        "visit": visit,
        "address": page_of(visit.event.path),
        "user": visit.user,
        "language": visit.language,
        "languages": languages.LANGUAGES,
        "vendor": _vendor(visit.now),
        "form_token": visit.form_token,
        "may": lambda action: visit.user is not None and access.may(visit.user, action),
        "done": visit.query("done"),
        "error": None,
        **facts,
    }
    body = _environment(visit.language).get_template(f"{template}.html").render(told)
    return Response(status, _HTML, body, dict(_HEADERS), visit.cookies)


def _vendor(now: datetime) -> Vendor:
    """The vendor's settings, or none rather than no page."""
    try:
        return vendor_settings(now)
    except LicensingError:
        return Vendor()


def sorry(visit: Visit, error: LicensingError) -> Response[str]:
    """The page that says what is wrong, and the way out."""
    response = page(visit, "error", error.status, error=explain(visit.language, error), code=error.code)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def explain(language: Language, error: LicensingError) -> str:
    """An error's sentence in a language."""
    return language.text(error.detail, retry_after=error.retry_after, **error.members)


def see_other(visit: Visit, location: str, done: str = "", **query: str) -> Response[str]:
    """Go on to another page after a form took effect (RFC 9110, 303); ``done`` names what it says there."""
    told = {name: value for name, value in {"done": done, **query}.items() if value}
    target = f"{location}?{urlencode(told)}" if told else location
    return Response(HTTPStatus.SEE_OTHER, _HTML, "", {**_HEADERS, "Location": target}, visit.cookies)


def attachment(name: str, content_type: str, content: str) -> Response[str]:
    """A file for the browser to keep. ``name`` is plain ASCII."""
    disposition = f'attachment; filename="{name}"'
    return Response(HTTPStatus.OK, content_type, content, {**_HEADERS, "Content-Disposition": disposition})


def pages() -> APIGatewayHttpResolver:
    """A resolver whose errors are pages; who has not signed in is led there, and back."""
    app = APIGatewayHttpResolver()

    def here() -> Visit:
        try:
            return visit(app)
        except LicensingError:
            return _stranger(app)

    @handles(app, LicensingError)
    def refused(error: LicensingError) -> Response[str]:
        if isinstance(error, Unauthorized):
            sent = "yes" if app.current_event.request_context.http.method == "POST" else ""
            return see_other(here(), "/portal/login", next=_address(app, app.current_event.path), unsaved=sent)
        return sorry(here(), error)

    @handles(app, NotFoundError)
    def not_found(_: NotFoundError) -> Response[str]:
        path = app.current_event.path
        if app.current_event.request_context.http.method == "GET" and page_of(path) != path:
            return see_other(here(), _address(app, page_of(path)))
        return sorry(here(), NotFound())

    @handles(app, Exception)
    def broken(error: Exception) -> Response[str]:
        logger.error("unexpected", error=type(error).__name__, stack=traceback.format_tb(error.__traceback__)[-8:])
        return sorry(here(), InternalError())

    def at_home(app: APIGatewayHttpResolver, answer: Callable[..., Response[str]]) -> Response[str]:
        # Before anything looks at the session, and without raising, since errors are pages of a session too.
        if deployment.is_home_site() or app.current_event.path.startswith(_STATIC_PATH):
            return answer(app)
        return page(_stranger(app), "elsewhere", OnlyAtHomeSite.status)

    def bounded(app: APIGatewayHttpResolver, answer: Callable[..., Response[str]]) -> Response[str]:
        if all(len(part.encode()) <= _LONGEST_PART for part in app.current_event.path.split("/")):
            return answer(app)
        return sorry(here(), NotFound())

    app.use(middlewares=[at_home, bounded])
    return app


def _address(app: APIGatewayHttpResolver, path: str) -> str:
    """A path with the query of the request."""
    query = app.current_event.raw_query_string
    return f"{path}?{query}" if query else path


def entry(app: APIGatewayHttpResolver) -> Handler:
    """The function's entry point."""

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        logger.append_keys(request_id=getattr(context, "aws_request_id", None))
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        return app.resolve({**event, "headers": headers}, context)

    return handler


def static(name: str) -> Response[str]:
    """A style sheet, script or drawing. Its address changes with its content, so browsers may keep it. Raises NotFound."""
    path = _STATIC / name
    if path.parent != _STATIC or path.suffix not in _TYPES or not path.is_file():
        raise NotFound
    headers: dict[str, str | list[str]] = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(200, _TYPES[path.suffix], path.read_text(encoding="utf-8"), headers)


@cache
def _static_address(name: str) -> str:
    version = hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()[:12]
    return f"{_STATIC_PATH}{name}?v={version}"


@lru_cache
def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("licensing", "templates/portal"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_translations(language.translations, newstyle=True)  # type: ignore[attr-defined]
    environment.filters.update(language.filters)
    environment.globals["static"] = _static_address
    return environment
