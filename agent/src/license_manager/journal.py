"""The local operation log (A9): one JSON object a line in `log.jsonl`, trimmed to the days that the cloud names.

Only a signed answer tells the time by which it is trimmed: a wall clock that is years ahead must not wipe it.

It holds what was done, when, how it ended and through which site: no token, code, key or password.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from .home import Home

LOG_FILE = "log.jsonl"
DEFAULT_RETENTION_DAYS = 365
SHORTEST_RETENTION_DAYS = 1
MOST_ENTRIES = 20_000
LONGEST_DETAIL = 1000


def append(
    home: Home,
    *,
    now: float,
    command: str,
    result: str,
    code: str,
    detail: str,
    site: int | None = None,
    retention_days: int | None = None,
) -> None:
    """Adds one entry. With `retention_days`, `now` must be a time that the vendor signed, and entries that are older
    than so many days before it are dropped. The caller holds the home's lock."""
    moment = datetime.fromtimestamp(now, UTC)
    entry = {
        "at": _stamp(moment),
        "command": command,
        "result": result,
        "code": code,
        "site": site,
        "detail": detail[:LONGEST_DETAIL],
    }
    kept = _lines(home)[1 - MOST_ENTRIES :]
    if retention_days is not None:
        oldest = _stamp(moment - timedelta(days=max(SHORTEST_RETENTION_DAYS, retention_days)))
        kept = [line for line in kept if _time_of(line) >= oldest]
    home.write(LOG_FILE, b"".join(line + b"\n" for line in [*kept, json.dumps(entry).encode()]))


def entries(home: Home, last: int | None = None) -> list[dict[str, Any]]:
    """The entries, oldest first; with `last`, only so many of the newest. Lines that can't be read are left out."""
    found = []
    for line in _lines(home):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            found.append(entry)
    return found if last is None else found[-last:] if last else []


def _lines(home: Home) -> list[bytes]:
    return [line for line in (home.read(LOG_FILE) or b"").splitlines() if line.strip()]


def _time_of(line: bytes) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    moment = entry.get("at") if isinstance(entry, dict) else None
    return moment if isinstance(moment, str) else ""


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
