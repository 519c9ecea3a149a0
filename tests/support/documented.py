"""What the OpenAPI document says that may be answered."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parents[2] / "functions" / "describe_api" / "openapi.json"
PROBLEM = "application/problem+json"


class Documented:
    """The document's routes, with their statuses, types of content and codes."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        shared = document["components"]["responses"]
        routes = [
            (
                f"{method.upper()} {path}",
                re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))),
                operation["responses"],
            )
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if method in ("get", "post", "put", "patch", "delete")
        ]
        self._routes = [
            (
                name,
                path,
                {
                    status: shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
                    for status, each in said.items()
                },
            )
            for name, path, said in sorted(routes, key=lambda route: route[0].count("{"))  # the most specific first
        ]

    @classmethod
    def here(cls) -> "Documented":
        """The document of this repository."""
        return cls(json.loads(DOCUMENT.read_text(encoding="utf-8")))

    def route(self, method: str, path: str) -> str:
        """The route as the document has it (``PUT /v1/seats/{seat_id}``); empty where it has none."""
        return self._find(method, path)[0]

    def fault(self, method: str, path: str, status: int, content_type: str, body: bytes) -> str:
        """What of an answer the document does not say; empty where it says all of it."""
        name, responses = self._find(method, path)
        if not name:
            return f"{method} {path} is no route"
        said = responses.get(str(status))
        if said is None:
            return f"{name}: {status} is not documented: {body[:200]!r}"
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in said["content"] if "content" in said else body:
            return f"{name}: {status} with {kind or 'no type'}: {body[:200]!r}"
        if kind != PROBLEM:
            return ""
        problem = json.loads(body)
        if problem.get("status") != status or f"`{problem.get('code')}`" not in said["description"]:
            return f"{name}: {status} {problem.get('code')} is not documented"
        return ""

    def _find(self, method: str, path: str) -> tuple[str, Mapping[str, Any]]:
        return next(
            (
                (name, said)
                for name, route, said in self._routes
                if name.startswith(f"{method} ") and route.fullmatch(path)
            ),
            ("", {}),
        )
