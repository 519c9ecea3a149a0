"""The operation log's words: who did what, from where, and with which result (A9)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

ActorKind = Literal["server", "customer", "reseller", "vendor", "schedule", "anyone"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asks for a change, and from where. Every capability that changes something takes one (``by``).

    ``id`` is a user's or an installation's id, or the name of a schedule or command; empty for anyone. ``address`` is the
    caller's IP address, ``request_id`` the Lambda request's.
    """

    kind: ActorKind
    id: str = ""
    name: str = ""
    address: str = ""
    request_id: str = ""

    def as_server(self, installation_id: str, name: str = "") -> "Origin":
        """The same request, once it is known which server makes it."""
        return Origin("server", installation_id, name, self.address, self.request_id)


#: For a server that has not yet said which, and for who needs not to.
ANYONE = Origin("anyone")

_LONGEST_DETAIL = 160


@dataclass(frozen=True, slots=True)
class Operation:
    """One entry of the operation log of one customer, without secrets.

    ``action`` is a stable name (``installation.disabled``), ``subject_id`` what it was done to, ``result`` a stable code
    (``DONE``, or that of a refusal), ``details`` a few plain facts for people.
    """

    operation_id: str
    customer_id: str
    at: datetime
    by: Origin
    action: str
    subject_id: str = ""
    result: str = "DONE"
    details: Mapping[str, str | int] = field(default_factory=dict)


def brief(details: Mapping[str, str | int | None]) -> dict[str, str | int]:
    """Details without those that say nothing, none so long that an entry would cost a second write unit."""
    said = {name: value for name, value in details.items() if value not in (None, "")}
    return {
        name: _shortened(value) if isinstance(value, str) else value
        for name, value in said.items()
        if value is not None
    }


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_DETAIL else text[: _LONGEST_DETAIL - 1] + "…"
