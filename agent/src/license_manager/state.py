"""What the License Manager remembers: one file, `state.json`, that only ever holds a whole state."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from .clock import Anchor, TrustedClock
from .errors import StateDamaged
from .home import Home
from .texts import texts

STATE_FILE = "state.json"
FORMAT = 1

LATEST = 1e11
"""Epoch seconds beyond which a time is damage (the year 5138): a calendar must be able to hold it."""

_Shape = type | Callable[[Any], bool] | dict[str, Any]


def _is_whole(value: Any) -> bool:
    return type(value) is int


def is_time(value: Any) -> bool:
    """Whether a value is a time that can be counted with, in epoch seconds."""
    return type(value) in {int, float} and 0 <= value < LATEST  # NaN is neither


def _or_none(shape: _Shape) -> Callable[[Any], bool]:
    return lambda value: value is None or _fits(value, shape)


def _each(shape: _Shape) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(_fits(item, shape) for item in value)


def _fits(value: Any, shape: _Shape) -> bool:
    """Whether a value is of a type, satisfies a predicate, or has just these parts."""
    if isinstance(shape, dict):
        return (
            isinstance(value, dict)
            and value.keys() == shape.keys()
            and all(_fits(value[name], part) for name, part in shape.items())
        )
    return isinstance(value, shape) if isinstance(shape, type) else shape(value)


_LABELS: dict[str, Any] = {
    "at": is_time,
    "customer": {"name": str, "tax_id": str},
    "installation": {"installation_id": str, "name": str, "mode": str},
    "databases": _each({"name": str, "activated_at": str}),
    "messages": _each({"code": str, "detail": str}),
    "log_retention_days": _or_none(_is_whole),
}
_SHAPE: dict[str, _Shape] = {
    "format": lambda value: _is_whole(value) and value == FORMAT,
    "private_key": _or_none(str),
    "server_token": _or_none(str),
    "verdict": _or_none(str),
    "key_set": _or_none(str),
    "key_set_fetched_at": is_time,
    "license": _or_none(str),
    "offline_request": _or_none({"nonce": str, "private_key": str, "text": str}),
    "receipt": _or_none({"installation": str, "text": str}),
    "pending": _or_none({"kind": str, "nonce": str}),
    "activation": _or_none({"nonce": str, "private_key": str, "target": dict, "body": dict}),
    "floor": _or_none({"installation_id": str, "generation": _is_whole, "sequence": _is_whole}),
    "high_water": is_time,
    "anchor": _or_none({"server_time": is_time, "monotonic": is_time, "boot_id": str}),
    "labels": lambda value: value == {} or _fits(value, _LABELS),
    "last_attempt": _or_none({"at": is_time, "ok": bool, "code": str, "detail": str}),
    "next_validation_at": _or_none(is_time),
    "answered_at": _or_none(is_time),
    "site_used": _or_none(_is_whole),
}


@dataclass
class State:
    """All times are epoch seconds.

    `license` is the license of a server without a network; it has this or a `server_token`, never both. `offline_request`
    is the request whose license file was not imported yet, `receipt` what says that the last license was given up.
    `pending` is the request of this server whose answer is still owed: `kind`, `nonce`. `activation` is the activation
    whose answer is still owed: `nonce`, `private_key`, `target`, `body`; it stands beside the others, because until it
    is answered the present token may still be the good one. `floor` is the highest (`generation`, `sequence`) accepted
    for `installation_id`. `labels` are names for people from the last answer; nothing is decided by them. `answered_at`
    is the time of the last signed answer, yes or no. `last_attempt` holds `at`, `ok`, `code`, `detail`.
    """

    format: int = FORMAT
    private_key: str | None = None
    server_token: str | None = None
    verdict: str | None = None
    license: str | None = None
    offline_request: dict[str, Any] | None = None
    receipt: dict[str, Any] | None = None
    key_set: str | None = None
    key_set_fetched_at: float = 0.0
    pending: dict[str, Any] | None = None
    activation: dict[str, Any] | None = None
    floor: dict[str, Any] | None = None
    high_water: float = 0.0
    anchor: dict[str, Any] | None = None
    labels: dict[str, Any] = field(default_factory=dict)
    last_attempt: dict[str, Any] | None = None
    next_validation_at: float | None = None
    answered_at: float | None = None
    site_used: int | None = None

    def clock(self, wall: Callable[[], float], monotonic: Callable[[], float], boot_id: str) -> TrustedClock:
        """The trusted clock as this state knows it: never earlier than what its token says of itself."""
        anchor = None if self.anchor is None else Anchor(**self.anchor)
        high_water = max(self.high_water, self._token_time())
        return TrustedClock(high_water, anchor, wall=wall, monotonic=monotonic, boot_id=boot_id)

    @property
    def token(self) -> str | None:
        """What this server is licensed by: a server token, or the license from a file; None before it is activated."""
        return self.server_token or self.license

    def _token_time(self) -> float:
        if self.token is None:
            return 0.0
        from . import trust

        issued_at: Any = trust.peek(self.token).get("iat")
        return float(issued_at) if is_time(issued_at) else 0.0

    def remember(self, clock: TrustedClock) -> None:
        """Takes over what the clock knows now."""
        self.high_water = clock.high_water
        if clock.anchor is not None:
            self.anchor = asdict(clock.anchor)


def parse(content: bytes) -> State:
    """A state from its file. Raises StateDamaged."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise StateDamaged("STATE_DAMAGED", texts.STATE_DAMAGED) from error
    if not isinstance(document, dict) or "format" not in document or document.keys() - _SHAPE.keys():
        raise StateDamaged("STATE_DAMAGED", texts.STATE_DAMAGED)
    if not all(_fits(value, _SHAPE[name]) for name, value in document.items()):
        raise StateDamaged("STATE_DAMAGED", texts.STATE_DAMAGED)
    return State(**document)


def load(home: Home) -> State:
    """The home's state, or an empty one. Writes nothing. Raises StateDamaged, NotPrivate."""
    content = home.read(STATE_FILE)
    return State() if content is None else parse(content)


def save(home: Home, state: State) -> None:
    """Writes the whole state atomically."""
    home.write(STATE_FILE, json.dumps(asdict(state), indent=1).encode())


def set_damaged_aside(home: Home, now: float) -> str:
    """Keeps a damaged state under another name, so that a person can look at it, and returns the path."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    return str(home.set_aside(STATE_FILE, f"state.damaged-{stamp}.json"))
