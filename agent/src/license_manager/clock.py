"""Time that can't be turned back (A5 offline).

The ten days are counted on a machine whose administrator owns the clock. So time is the highest of: the wall clock, the
highest time ever seen (kept in the state), and the last authenticated server time plus what has passed since, by a
clock that nobody can set and that counts on through sleep.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TOLERANCE = 300.0
"""Seconds by which clocks may differ before anybody is told (the cloud's limit for proofs is the same)."""


def since_boot() -> float:
    """Seconds on a clock that can't be set; where the system has one, a clock that goes on while it sleeps."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    if boottime is not None and sys.platform != "win32":
        return time.clock_gettime(boottime)
    return time.monotonic()


def this_boot() -> str:
    """A name for this boot, or an empty string.

    Where there is no name, a reading lower than the anchor's tells a reboot; a higher one after a reboot still only
    understates the time that has passed, so that trusted time stays a lower bound of the truth.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        return ""


@dataclass(frozen=True, slots=True)
class Anchor:
    """An authenticated server time (epoch seconds), and what the boot clock said when it came."""

    server_time: float
    monotonic: float
    boot_id: str


class TrustedClock:
    """Trusted time, in epoch seconds. Reading it changes nothing on disk."""

    __slots__ = ("_monotonic", "_wall", "anchor", "boot_id", "high_water")

    def __init__(
        self,
        high_water: float = 0.0,
        anchor: Anchor | None = None,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = since_boot,
        boot_id: str = "",
    ) -> None:
        self.high_water = high_water
        self.boot_id = boot_id
        self.anchor = anchor
        self._wall = wall
        self._monotonic = monotonic

    def _by_anchor(self) -> float:
        anchor = self.anchor
        if anchor is None or anchor.boot_id != self.boot_id:
            return 0.0
        elapsed = self._monotonic() - anchor.monotonic
        return anchor.server_time + elapsed if elapsed >= 0 else 0.0

    def now(self) -> float:
        """The trusted time; it never runs backwards within a process."""
        highest = max(self._wall(), self.high_water, self._by_anchor())
        self.high_water = highest
        return highest

    def best_guess(self) -> float:
        """The likeliest time, for planning only: counted on from the vendor's where there is one in this boot, so that
        a wall clock that is years ahead does not make everything look overdue for ever."""
        return self._by_anchor() or self.now()

    def turned_back(self) -> float:
        """Seconds by which the wall clock is behind what is known, or 0 if that is within the tolerance."""
        behind = max(self.high_water, self._by_anchor()) - self._wall()
        return behind if behind > TOLERANCE else 0.0

    def authenticated(self, server_time: float, *, fresh: bool) -> None:
        """Takes a time that the vendor signed.

        A *fresh* answer carries a nonce made only now, so its time is the truth, and a mark that is too high (the
        machine once started with a clock in the far future) comes down again. The answer to an older nonce may have
        been signed long ago: it only raises.
        """
        reading = Anchor(server_time, self._monotonic(), self.boot_id)
        if fresh or server_time > max(self.high_water, self._by_anchor()):
            self.high_water = server_time
            self.anchor = reading
