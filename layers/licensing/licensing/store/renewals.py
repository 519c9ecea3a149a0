"""Licenses by the day on which they, or their care, end: two sparse indexes, each in a few shards, kept by the license items."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain
from typing import Any

from licensing import cursors
from licensing.errors import InvalidRequest
from licensing.rules.accounts import License
from licensing.store import tables
from licensing.store.accounts import RENEWAL_SHARDS, LicenseItem

_LIST = "RENEWALS"


@dataclass(frozen=True, slots=True)
class Due:
    """A license that ends, or whose care does, and its place in the list of all."""

    customer_id: str
    license: License
    what: str
    day: date
    place: str


def due(after: str, until: date, limit: int) -> tuple[list[Due], bool]:
    """What ends from behind a place up to a day, soonest first; and whether there is more. A second old at most."""
    wanted = (after + "!", str(until + timedelta(days=1)))  # "!" comes before all that a place can go on with
    found = sorted(chain.from_iterable(_query(index, wanted, limit) for index in _INDEXES), key=lambda each: each.place)
    return found[:limit], len(found) > limit


_INDEXES = (LicenseItem.ending, LicenseItem.care_ending)


def _query(index: Any, wanted: tuple[str, str], limit: int) -> Iterator[Due]:
    key = LicenseItem.ends_at if index is LicenseItem.ending else LicenseItem.care_ends_at
    for shard in range(RENEWAL_SHARDS):
        condition = key.between(*wanted)
        items = tables.read(lambda at=str(shard), within=condition: list(index.query(at, within, limit=limit + 1)))  # type: ignore[misc]
        for item in items:
            place = item.ends_at if index is LicenseItem.ending else item.care_ends_at
            day, customer_id, _, what = place.split("#")
            yield Due(customer_id, item.body, what, date.fromisoformat(day), place)


def cursor(place: str) -> str | None:
    """What goes on from a place."""
    return cursors.text({"pk": {"S": _LIST}, "sk": {"S": place}})


def read_cursor(text: str | None, today: date, until: date) -> str:
    """The place that a cursor names; without one, the beginning of today. Raises InvalidRequest for one behind the last."""
    position = cursors.read(text, _LIST)
    place = str(position["sk"]["S"]) if position else str(today)
    if place > str(until + timedelta(days=1)):
        raise InvalidRequest
    return place
