"""API Gateway's HTTP API on this machine: the template's routes, payload format 2.0, and the gateway's manners.

Not imitated: throttling, and the limit of 30 seconds.
"""

import base64
import binascii
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from infra.local.functions import FunctionFailed, Functions, Site
from infra.local.http import Request, Response
from infra.local.template import ACCOUNT, Function

#: API Gateway's limit on a body.
MAX_BODY_BYTES = 10 * 1024 * 1024
#: API Gateway's limit on the request line and all header values together.
MAX_HEADER_BYTES = 10_240

#: Bodies of these types reach a function as text, all others as base64.
_TEXT = re.compile(r"(text/|application/(json|[\w.+-]+\+json|xml|[\w.+-]+\+xml|javascript)\b)", re.IGNORECASE)
#: From an Authorization header to a token's claims; None refuses it.
Authorizer = Callable[[str], dict[str, Any] | None]
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}


@dataclass(frozen=True)
class Route:
    """One route: ``key`` as API Gateway writes it (``GET /v1/ping``), and the function behind it."""

    method: str
    path: str
    function: Function
    #: Behind the authorizer of the user pool.
    for_users: bool = False

    @property
    def key(self) -> str:
        """The route key."""
        return f"{self.method} {self.path}"

    def match(self, method: str, raw_path: str) -> dict[str, str] | None:
        """The path parameters, decoded, if this route takes the request."""
        if self.method not in (method, "ANY"):
            return None
        found = self._pattern.fullmatch(raw_path)
        return {name: unquote(value) for name, value in found.groupdict().items()} if found else None

    @property
    def _pattern(self) -> re.Pattern[str]:
        pattern = re.escape(self.path)
        pattern = re.sub(r"\\{(\w+)\\\+\\}", r"(?P<\1>.+)", pattern)
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", pattern))

    @property
    def _rank(self) -> tuple[bool, int, bool]:
        return "+}" in self.path, self.path.count("{"), self.method == "ANY"


class Gateway:
    """The template's HTTP API at one site."""

    def __init__(self, functions: Functions, site: Site, authorize: Authorizer = lambda _: None) -> None:
        self._functions = functions
        self._site = site
        self._authorize = authorize
        routes = [
            Route(
                trigger.properties["Method"].upper(),
                trigger.properties["Path"],
                function,
                "Authorizer" in trigger.properties.get("Auth", {}),
            )
            for function, trigger in functions.triggers("HttpApi")
        ]
        self.routes = sorted(routes, key=lambda route: route._rank)  # the most specific first, as API Gateway does

    def __call__(self, request: Request) -> Response:
        """Answer a request. Methods without a route, HEAD and OPTIONS too, are 404: no CORS is configured."""
        if len(request.body) > MAX_BODY_BYTES:
            return _message(413, "Request Entity Too Large")
        if len(request.target) + sum(len(value) for _, value in request.headers) > MAX_HEADER_BYTES:
            return _message(431, "Request Header Fields Too Large")
        for route in self.routes:
            parameters = route.match(request.method, request.raw_path)
            if parameters is not None:
                return self._invoke(route, parameters, request)
        return _message(404, "Not Found")

    def _invoke(self, route: Route, parameters: Mapping[str, str], request: Request) -> Response:
        payload = event(request, route.key, parameters)
        if route.for_users:
            claims = self._authorize(request.header("authorization"))
            if claims is None:
                return _message(401, "Unauthorized")
            payload["requestContext"]["authorizer"] = {"jwt": {"claims": claims, "scopes": None}}
        try:
            return response(self._functions.invoke(route.function, payload, self._site))
        except (FunctionFailed, _Malformed):
            return _message(500, "Internal Server Error")


class _Malformed(Exception):
    """Raised when what a function returned is no response."""


def event(request: Request, route_key: str, path_parameters: Mapping[str, str]) -> dict[str, Any]:
    """The event of payload format 2.0."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in request.headers:
        if name == "cookie":
            cookies += [each.strip() for each in value.split(";") if each.strip()]
        elif name not in _HOP_BY_HOP:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    host = headers.get("host", "")
    forwarded = headers.get("x-forwarded-for")
    headers |= {
        "content-length": str(len(request.body)),
        "x-amzn-trace-id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}",
        "x-forwarded-for": f"{forwarded}, {request.client}" if forwarded else request.client,
        "x-forwarded-port": host.rpartition(":")[2] if ":" in host else {"https": "443"}.get(request.scheme, "80"),
        "x-forwarded-proto": request.scheme,
    }
    now = datetime.now(UTC)
    payload: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": request.path,
        "rawQueryString": request.raw_query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": host.partition(":")[0],
            "domainPrefix": host.partition(".")[0].partition(":")[0],
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.client,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": route_key,
            "stage": "$default",
            "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        payload["cookies"] = cookies
    if path_parameters:
        payload["pathParameters"] = dict(path_parameters)
    query: dict[str, str] = {}
    for name, value in parse_qsl(request.raw_query, keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    if query:
        payload["queryStringParameters"] = query
    if request.body:
        is_text = bool(_TEXT.match(headers.get("content-type", "application/json")))
        payload["isBase64Encoded"] = not is_text
        payload["body"] = request.body.decode("utf-8", "replace") if is_text else _base64(request.body)
    return payload


def response(returned: Any) -> Response:
    """What a function returned, as an HTTP response; without ``statusCode`` it is the body of a 200."""
    if not isinstance(returned, Mapping) or "statusCode" not in returned:
        return Response(200, (("content-type", "application/json"),), json.dumps(returned).encode())
    try:
        status = int(returned["statusCode"])
        body = returned.get("body") or ""
        content = base64.b64decode(body, validate=True) if returned.get("isBase64Encoded") else str(body).encode()
    except (TypeError, ValueError, binascii.Error) as error:
        raise _Malformed from error
    headers = {str(name).lower(): str(value) for name, value in (returned.get("headers") or {}).items()}
    headers.setdefault("content-type", "text/plain;charset=UTF-8")
    headers["apigw-requestid"] = uuid.uuid4().hex[:16]
    headers.pop("content-length", None)
    cookies = (("set-cookie", str(each)) for each in returned.get("cookies") or ())
    return Response(status, (*headers.items(), *cookies), content)


def _message(status: int, text: str) -> Response:
    return Response(status, (("content-type", "application/json"),), json.dumps({"message": text}).encode())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
