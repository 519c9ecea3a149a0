"""Refusals of the /local pages, as RFC 9457 problem documents like the API's own."""

import json
from http import HTTPStatus
from typing import Any

from infra.local.http import Response


class Problem(Exception):
    """Raised where a /local request cannot be served; :meth:`response` is the answer."""

    def __init__(self, status: HTTPStatus, code: str, detail: str, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.pointer = pointer

    def response(self) -> Response:
        """As ``application/problem+json``."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "code": self.code,
        }
        if self.pointer is not None:
            document["errors"] = [{"pointer": self.pointer, "detail": self.detail}]
        return Response(self.status, (("content-type", "application/problem+json"),), json.dumps(document).encode())


def invalid(detail: str, pointer: str = "") -> Problem:
    """422: the request is well formed, and not what the route takes. ``pointer`` is a JSON pointer (RFC 6901)."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "INVALID_REQUEST", detail, pointer)


def not_found(detail: str) -> Problem:
    """404."""
    return Problem(HTTPStatus.NOT_FOUND, "NOT_FOUND", detail)
