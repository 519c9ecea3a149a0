"""`license-manager run`: validates every day, for as long as the machine runs."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import SystemRandom
from typing import Protocol

from . import ladder, language, schedule
from .errors import LicenseManagerError, NotActivated
from .machine import Machine
from .manager import Manager
from .state import State
from .texts import texts

LONGEST_SLEEP = 60.0
KEEP_TIME_EVERY = 600.0


by_chance = SystemRandom().random


class StopRequested(BaseException):
    """Raised by the signal handler in the middle of a request; the nonce stays, so nothing is lost."""


class Bell(Protocol):
    """What the service sleeps on: `wait` returns true as soon as it is asked to stop."""

    def wait(self, timeout: float, /) -> bool: ...

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class _Plan:
    """The next attempt: so many seconds after two clock readings, and what this was worked out from."""

    answer: object
    basis: object
    seconds: float
    wall: float
    monotonic: float


class Service:
    """The daily loop. It reads state and settings anew each minute, so that a person's `validate` or a changed setting
    counts at once, and judges time by wall and boot clock, so that a laptop's sleep or a clock set back only delays."""

    def __init__(
        self,
        open_manager: Callable[[], Manager],
        machine: Machine,
        bell: Bell,
        say: Callable[[str], None],
        chance: Callable[[], float] = by_chance,
    ) -> None:
        self._open = open_manager
        self._machine = machine
        self._bell = bell
        self._say = say
        self._chance = chance
        self._failures = 0
        self._retry_after: float | None = None
        self._plan: _Plan | None = None
        self._last_said = ""
        self._told_waiting = False
        self._announced = False
        self._time_kept = machine.monotonic()
        self.in_flight = False

    def run(self) -> None:
        """Works until the bell rings."""
        with suppress(StopRequested):
            while not self._bell.is_set():
                pause = self.step()
                if self._bell.wait(min(pause, LONGEST_SLEEP)):
                    break

    def step(self) -> float:
        """Validates if it is due; returns the seconds until there may be something to do."""
        try:
            with self._open() as manager:
                return self._step(manager)
        except Exception as error:  # a home or a setting that can't be read may be mended
            sentence = _sentence(error)
            if self._last_said != sentence:
                self._say(sentence)
            self._last_said = sentence
            return LONGEST_SLEEP

    def _step(self, manager: Manager) -> float:
        state = manager.state()
        if state.server_token is None:
            if not self._told_waiting:
                self._say(texts.SERVICE_WAITS if state.license is None else texts.SERVICE_OFFLINE)
            self._told_waiting, self._plan = True, None
            self._keep_time(manager)
            return LONGEST_SLEEP
        self._told_waiting = False
        remaining = self._remaining(manager, state)
        if remaining > 0:
            if not self._announced:
                self._say(texts.SERVICE_NEXT.format(when=self._when(remaining)))
            self._announced = True
            self._keep_time(manager)
            return remaining
        self._last_said = ""
        detail = self._validate(manager)
        self._plan = None
        remaining = self._remaining(manager, manager.state())
        self._announced = True
        self._say(f"{detail} {texts.SERVICE_NEXT.format(when=self._when(remaining))}")
        return remaining

    def _keep_time(self, manager: Manager) -> None:
        if self._machine.monotonic() - self._time_kept >= KEEP_TIME_EVERY:
            self._time_kept = self._machine.monotonic()
            manager.keep_time()

    def _remaining(self, manager: Manager, state: State) -> float:
        """Seconds until the next attempt, by whichever of the two clocks has run further since it was planned."""
        zone_name = self._machine.time_zone()
        answer = (state.floor, state.answered_at, state.next_validation_at)
        if self._plan is not None and self._plan.answer != answer:
            # Somebody else brought home a signed answer: the pauses after failures are moot.
            self._failures, self._retry_after = 0, None
        basis = (manager.settings.validate_at, zone_name, self._failures)
        wall, monotonic = self._machine.wall(), self._machine.monotonic()
        if self._plan is None or self._plan.answer != answer or self._plan.basis != basis:
            now = manager.clock(state).best_guess()
            situation = schedule.Situation(
                now=now,
                zone=ladder.zone(zone_name),
                last_answer=state.answered_at,
                next_validation_at=state.next_validation_at,
                validate_at=manager.settings.validate_at,
                failures=self._failures,
                retry_after=self._retry_after,
            )
            seconds = schedule.next_attempt(situation, self._chance) - now
            self._plan = _Plan(answer, basis, seconds, wall, monotonic)
        elapsed = max(wall - self._plan.wall, monotonic - self._plan.monotonic)
        return max(0.0, self._plan.seconds - elapsed)

    def _validate(self, manager: Manager) -> str:
        self.in_flight = True
        try:
            outcome = manager.validate()
        except NotActivated as error:
            self._failures, self._retry_after = 0, None
            return error.detail
        except Exception as error:  # whatever it is, it must not be repeated without a pause, nor end the service
            self._failures += 1
            self._retry_after = getattr(error, "retry_after", None)
            return _sentence(error)
        finally:
            self.in_flight = False
        self._failures, self._retry_after = 0, None
        return outcome.detail

    def _when(self, remaining: float) -> str:
        return language.moment(self._machine.wall() + remaining, self._machine.time_zone())


def _sentence(error: Exception) -> str:
    if isinstance(error, LicenseManagerError):
        return error.detail
    if isinstance(error, OSError):
        where, why = error.filename or texts.A_FILE, error.strerror or error
        return texts.HOME_NOT_WRITABLE.format(path=where, why=why)
    return texts.UNEXPECTED.format(why=f"{type(error).__name__}: {error}")


class Stopper(threading.Event):
    """An event that SIGTERM and SIGINT set; a request in flight is given up at once."""

    def wait(self, timeout: float | None = None) -> bool:
        """As Event.wait; on Windows in short steps, because there a signal does not wake a waiting thread."""
        if sys.platform != "win32" or timeout is None:
            return super().wait(timeout)
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            if super().wait(min(left, 0.5)):
                return True
        return self.is_set()

    def install(self, service: Service) -> None:
        """Takes over both signals for the rest of this process."""

        def stop(*_: object) -> None:
            self.set()
            if service.in_flight:
                service.in_flight = False
                raise StopRequested

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
