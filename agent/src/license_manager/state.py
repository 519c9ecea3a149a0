"""What the License Manager remembers: one file, `state.json`, that only ever holds a whole state."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from . import texts
from .clock import Anchor, TrustedClock
from .errors import StateDamaged
from .home import Home

STATE_FILE = "state.json"
FORMAT = 1

_SHAPE: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "private_key": (str, type(None)),
    "server_token": (str, type(None)),
    "verdict": (str, type(None)),
    "key_set": (str, type(None)),
    "key_set_fetched_at": (int, float),
    "pending": (dict, type(None)),
    "floor": (dict, type(None)),
    "high_water": (int, float),
    "anchor": (dict, type(None)),
    "labels": (dict,),
    "last_attempt": (dict, type(None)),
    "next_validation_at": (int, float, type(None)),
    "answered_at": (int, float, type(None)),
    "site_used": (int, type(None)),
}


@dataclass
class State:
    """All times are epoch seconds.

    `pending` is the request whose answer is still owed: `kind`, `nonce`, for an activation also `private_key`, `body`
    and `refused`. `floor` is the highest (`generation`, `sequence`) accepted for `installation_id`. `labels` are names
    for people from the last answer; nothing is decided by them. `answered_at` is the time of the last signed answer, yes
    or no. `last_attempt` holds `at`, `ok`, `code`, `detail`.
    """

    format: int = FORMAT
    private_key: str | None = None
    server_token: str | None = None
    verdict: str | None = None
    key_set: str | None = None
    key_set_fetched_at: float = 0.0
    pending: dict[str, Any] | None = None
    floor: dict[str, Any] | None = None
    high_water: float = 0.0
    anchor: dict[str, Any] | None = None
    labels: dict[str, Any] = field(default_factory=dict)
    last_attempt: dict[str, Any] | None = None
    next_validation_at: float | None = None
    answered_at: float | None = None
    site_used: int | None = None

    def clock(self, wall: Callable[[], float], monotonic: Callable[[], float], boot_id: str) -> TrustedClock:
        """The trusted clock as this state knows it."""
        anchor = None
        if self.anchor is not None:
            try:
                anchor = Anchor(
                    float(self.anchor["server_time"]), float(self.anchor["monotonic"]), str(self.anchor["boot_id"])
                )
            except (KeyError, TypeError, ValueError):
                anchor = None
        return TrustedClock(self.high_water, anchor, wall=wall, monotonic=monotonic, boot_id=boot_id)

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
    if not isinstance(document, dict) or document.get("format") != FORMAT or document.keys() - _SHAPE.keys():
        raise StateDamaged("STATE_DAMAGED", texts.STATE_DAMAGED)
    for name, value in document.items():
        if not isinstance(value, _SHAPE[name]) or isinstance(value, bool):
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
