"""A resolver for a function: JSON in and out, and every error as problem+json (RFC 9457). The only place that maps them."""

import json
import traceback
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError, ServiceError
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
    ResponseValidationError,
)
from pydantic import BaseModel

from licensing.contract import Problem
from licensing.errors import (
    InternalError,
    InvalidRequest,
    LicensingError,
    MalformedJson,
    NotFound,
    PayloadTooLarge,
    Refused,
    UnsupportedMediaType,
)
from licensing.rules.guards import GUARDS
from licensing.texts import Say, english

logger = Logger()

#: Larger than any honest body of this contract.
BODY_LIMIT = 256 * 1024
_JSON = "application/json"
_PROBLEM_TYPE = "urn:cloud-licensing:problem:"


def api() -> APIGatewayHttpResolver:
    """A resolver that validates bodies against the contract and answers every error with its stable code."""
    app = APIGatewayHttpResolver(enable_validation=True, json_body_deserializer=_loads)

    def answer(error: LicensingError, errors: list[dict[str, Any]] | None = None) -> Response[str]:
        return problem(error, app.current_event.headers.get("accept-language"), errors)

    @handles(app, LicensingError)
    def refused(error: LicensingError) -> Response[str]:
        return answer(error)

    @handles(app, RequestValidationError)
    def invalid(error: RequestValidationError) -> Response[str]:
        found = error.errors()
        if any(each["type"] == "json_invalid" for each in found):
            return answer(MalformedJson())
        return answer(InvalidRequest(), [_fault(each) for each in found])

    @handles(app, RequestUnsupportedContentType)
    def unsupported(_: RequestUnsupportedContentType) -> Response[str]:
        return answer(UnsupportedMediaType())

    @handles(app, RecursionError, UnicodeDecodeError)
    def not_json(_: Exception) -> Response[str]:
        return answer(MalformedJson())

    @handles(app, NotFoundError)
    def not_found(_: NotFoundError) -> Response[str]:
        return answer(NotFound())

    @handles(app, ResponseValidationError, ServiceError, Exception)
    def broken(error: Exception) -> Response[str]:
        # Class and place only: messages of errors may quote the request, and requests carry secrets.
        logger.error("unexpected", error=type(error).__name__, stack=traceback.format_tb(error.__traceback__)[-8:])
        return answer(InternalError())

    return app


def handles(
    app: APIGatewayHttpResolver, *kinds: type[Exception]
) -> Callable[[Callable[[Any], Response[str]]], Callable[[Any], Response[str]]]:
    """Answer errors of these kinds by the decorated function; the framework's own decorator has no types."""
    decorate: Callable[[Callable[[Any], Response[str]]], Callable[[Any], Response[str]]]
    decorate = app.exception_handler(list(kinds))
    return decorate


def problem(
    error: LicensingError, accept_language: str | None = None, errors: list[dict[str, Any]] | None = None
) -> Response[str]:
    """The problem document of an error, its ``detail`` in the caller's language."""
    retry_after = {"retry_after": error.retry_after} if error.retry_after is not None else {}
    members = {**error.members, **retry_after}
    document = {
        "type": _PROBLEM_TYPE + error.code.lower().replace("_", "-"),
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": say(accept_language)(error.detail, **members),
        "code": error.code,
        **members,
        **({"errors": errors} if errors else {}),
    }
    headers: dict[str, str | list[str]] = {"Cache-Control": "no-store"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(error.status, "application/problem+json", json.dumps(document), headers)


def say(accept_language: str | None) -> Say:
    """What says texts in the language that a caller likes best."""
    if not accept_language:
        return english
    from licensing import languages  # Babel: 40 ms of a cold start, for those who ask for another language

    return languages.language(languages.negotiate(accept_language)).text


def gone() -> Response[str]:
    """204: no content, and so no media type of it (RFC 9110, 15.3.5)."""
    return Response(204, None, "")


def problems(*kinds: type[LicensingError], body: bool = False) -> dict[int, Any]:
    """The ``responses`` of a route's documentation for what it may refuse, and for what every route may.

    ``body``: the route takes one, which may be wrong in more ways.
    """
    of_bodies = (MalformedJson, PayloadTooLarge, UnsupportedMediaType, InvalidRequest) if body else (InvalidRequest,)
    documented: dict[int, list[type[LicensingError]]] = {}
    for kind in (*kinds, *of_bodies, InternalError):
        documented.setdefault(kind.status, []).append(kind)
    return {
        status: {
            "description": " / ".join(name for kind in found for name in _codes(kind)),
            "content": {"application/problem+json": {"model": Problem}},
        }
        for status, found in documented.items()
    }


def _codes(kind: type[LicensingError]) -> list[str]:
    """The codes that a refusal comes with: that of any guard, where a guard refuses."""
    if kind is not Refused:
        return [f"`{kind.code}`"]
    return [f"`{guard.code}`" for guard in GUARDS]


def document(answer: type[BaseModel], description: str) -> Any:
    """The ``responses`` entry of an answer that a route gives itself."""
    return {"description": description, "content": {"application/json": {"model": answer}}}


def _fault(error: Any) -> dict[str, Any]:
    where, *path = error["loc"]
    # An unknown field's name or a wrong value is not repeated: it may be a misplaced secret.
    return {"in": where, "pointer": "".join(f"/{step}" for step in path), "detail": error["msg"]}


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError("not JSON", "", 0) from error


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _unreadable(event: dict[str, Any], content_type: str) -> LicensingError | None:
    """What is wrong with a body before anything parses it."""
    if len(event["body"]) > BODY_LIMIT * (4 / 3 if event.get("isBase64Encoded") else 1):
        return PayloadTooLarge(limit=BODY_LIMIT)
    return None if content_type.partition(";")[0].strip().lower() == _JSON else UnsupportedMediaType()


def _plain(response: Response[str]) -> dict[str, Any]:
    headers = {"Content-Type": response.content_type, **response.headers}
    return {"statusCode": response.status_code, "headers": headers, "body": response.body, "isBase64Encoded": False}


#: What a handler is: an event and a context to an answer.
Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def entry(app: APIGatewayHttpResolver) -> Handler:
    """The function's entry point."""

    def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
        logger.append_keys(request_id=getattr(context, "aws_request_id", None))
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        if event.get("body"):
            if refusal := _unreadable(event, headers.get("content-type", "")):
                return _plain(problem(refusal, headers.get("accept-language")))
            headers["content-type"] = _JSON  # in its one spelling, for the resolver
        return app.resolve({**event, "headers": headers}, context)

    return handler
