"""What the product tells the License Manager for the next validation (`product.json`)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .home import Home, locate
from .texts import texts

PRODUCT_FILE = "product.json"
MOST_DATABASES = 20
LONGEST_DATABASE_NAME = 128
MOST_COUNTERS = 50
LONGEST_VERSION = 64


def report(
    app_version: str | None = None,
    databases: Sequence[str] = (),
    usage: Mapping[str, int] | None = None,
    *,
    home: Path | str | None = None,
) -> None:
    """Tells what the product is and uses, to be sent with the next validation; replaces what was told before.

    `app_version` is the vendor's release name (at most 64 characters), `databases` up to 20 names, `usage` up to 50
    counters (whole numbers from 0). Raises ValueError for anything else, NotPrivate or OSError if it can't be kept.
    """
    document = checked({"app_version": app_version, "databases": list(databases), "usage": dict(usage or {})})
    place = Home(locate(home, os.environ))
    place.prepare()
    place.write(PRODUCT_FILE, json.dumps(document).encode())


def read(home: Home) -> dict[str, Any]:
    """What the product told last; empty if it told nothing or the file is not usable."""
    content = home.read(PRODUCT_FILE)
    if content is None:
        return {}
    try:
        document = json.loads(content)
        return checked(document) if isinstance(document, dict) else {}
    except (ValueError, RecursionError):
        return {}


def checked(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same document if every part is within its limits. Raises ValueError."""
    app_version, databases, usage = document.get("app_version"), document.get("databases"), document.get("usage")
    if app_version is not None and not (isinstance(app_version, str) and 0 < len(app_version) <= LONGEST_VERSION):
        raise ValueError(texts.BAD_VERSION.format(most=LONGEST_VERSION))
    if databases is not None and not (
        isinstance(databases, list)
        and len(databases) <= MOST_DATABASES
        and all(isinstance(name, str) and 0 < len(name) <= LONGEST_DATABASE_NAME for name in databases)
    ):
        raise ValueError(texts.BAD_DATABASES.format(most=MOST_DATABASES, longest=LONGEST_DATABASE_NAME))
    if usage is not None and not (
        isinstance(usage, dict)
        and len(usage) <= MOST_COUNTERS
        and all(
            isinstance(name, str) and 0 < len(name) <= LONGEST_DATABASE_NAME and type(count) is int and count >= 0
            for name, count in usage.items()
        )
    ):
        raise ValueError(texts.BAD_USAGE.format(most=MOST_COUNTERS))
    return {"app_version": app_version, "databases": databases or [], "usage": usage or {}}
