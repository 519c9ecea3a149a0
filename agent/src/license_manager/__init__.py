"""The License Manager: activates a server, validates it daily, and answers "may I run?" offline.

A product needs only this page::

    import license_manager

    answer = license_manager.check(root_keys=ROOT_KEYS)
    if not answer.may("advanced-queueing"):
        print(answer.reason)

A product that counts concurrent seats takes one with `license_manager.seat(…)`; see seats.py.

Importing this package loads neither the HTTP client nor the command line.
"""

from typing import Any

from .checking import Check, Entitlement, Licensed, NotLicensed, check, licensed
from .reporting import report
from .version import __version__

__all__ = ["Check", "Entitlement", "Licensed", "NotLicensed", "__version__", "check", "licensed", "report"]

_OF_SEATS = frozenset(
    {"Refused", "Seat", "Station", "Unreachable", "borrowed_until", "browser", "seat", "seat_token", "this_station"}
)


def __getattr__(name: str) -> Any:
    """What has to do with seats needs the HTTP client, and is loaded when it is first used."""
    if name not in _OF_SEATS:
        raise AttributeError(name)
    from . import seats

    return getattr(seats, name)
