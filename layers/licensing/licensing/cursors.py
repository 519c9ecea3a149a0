"""Where a list goes on: opaque to clients, and good only for what it came from."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from licensing.errors import InvalidRequest

#: Bytes of a sort key, DynamoDB's limit.
_LONGEST_KEY = 1024


def text(position: Mapping[str, Any] | None) -> str | None:
    """A position in a table as a cursor."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode()


def read(cursor: str | None, partition: str) -> dict[str, Any] | None:
    """The position within a partition that a cursor names. Raises InvalidRequest for one of another list."""
    if cursor is None:
        return None
    try:
        position: Any = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest from error
    if not isinstance(position, dict) or not all(
        isinstance(value, dict) and list(value) == ["S"] and isinstance(value["S"], str) for value in position.values()
    ):
        raise InvalidRequest
    if position.get("pk") != {"S": partition} or len(position) < 2:
        raise InvalidRequest
    if not all(_is_key(value["S"]) for value in position.values()):
        raise InvalidRequest
    return position


def _is_key(text: str) -> bool:
    try:
        return 0 < len(text.encode()) <= _LONGEST_KEY
    except UnicodeEncodeError:  # half of a pair, which JSON lets through
        return False
