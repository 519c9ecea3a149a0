"""Cursors of lists: where a page ended, as text that means nothing to anybody else.

A cursor names a place and nothing that could widen what is read: whose list it is comes from the request each time. Its check
binds it to the list that it was made for, so that one with other filters, or altered, is refused rather than misread.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

_LONGEST = 1024


class CursorError(Exception):
    """Raised when a cursor was not made for this list."""


def write(position: Sequence[str], list_of: Sequence[str]) -> str:
    """A cursor for a position in a list; ``list_of`` says which: whose it is, and its filters."""
    return base64.urlsafe_b64encode(json.dumps([_check(position, list_of), *position]).encode()).decode().rstrip("=")


def read(cursor: str, list_of: Sequence[str]) -> list[str]:
    """The position. Raises CursorError."""
    try:
        if len(cursor) > _LONGEST:
            raise CursorError
        check, *position = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError) as error:
        raise CursorError from error
    texts = [each for each in position if isinstance(each, str)]
    if len(texts) != len(position) or check != _check(position, list_of):
        raise CursorError
    return texts


def _check(position: Sequence[str], list_of: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([list(position), list(list_of)]).encode()).hexdigest()[:16]
