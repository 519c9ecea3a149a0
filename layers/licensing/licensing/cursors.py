"""Where a list goes on: opaque to clients, and good only for what it came from."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from licensing.errors import InvalidRequest

#: Bytes of a sort key: DynamoDB's limit, less a sign that may be added to go on behind it.
_LONGEST_KEY = 1023


def text(position: Mapping[str, Any] | None) -> str | None:
    """A position in a table as a cursor."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).decode()


def read(cursor: str | None, partition: str, beginning: str = "") -> dict[str, Any] | None:
    """The position within a partition that a cursor names: a partition key and a sort key that begins so, as DynamoDB takes it.

    Raises InvalidRequest for one of another list.
    """
    if cursor is None:
        return None
    try:
        position: Any = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, RecursionError) as error:
        raise InvalidRequest from error
    match position:
        case {"pk": {"S": pk}, "sk": {"S": str(sk)}, **more} if (
            pk == partition and sk.startswith(beginning) and not more
        ):
            if _is_key(sk):
                return {"pk": {"S": partition}, "sk": {"S": sk}}
    raise InvalidRequest


def _is_key(text: str) -> bool:
    try:
        return 0 < len(text.encode()) <= _LONGEST_KEY
    except UnicodeEncodeError:  # half of a pair, which JSON lets through
        return False
