"""License Managers by the hundred in one process: the agent's own code, each with a home, a machine and a key of its own, and one
wire that notes what goes over it.
"""

import argparse
import heapq
import json
import random
import ssl
import time
from base64 import urlsafe_b64decode
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
from license_manager import profile, schedule, transport
from license_manager.errors import LicenseManagerError, Refused, Unreachable
from license_manager.fingerprint import digest
from license_manager.home import Home
from license_manager.machine import Machine
from license_manager.manager import Manager
from license_manager.profile import VendorProfile
from license_manager.seats import Seat, SeatDesk
from license_manager.settings import Settings

from tests.bench.processes import PATIENCE
from tests.support.documented import PROBLEM, Documented

APPLICATION, MODULE, LEASE_SECONDS = "bench", "chat", 120
#: Every so many-th server has a station; for so long (seconds) it does not think of its seat.
STATIONS, QUIET = 5, (5, 30)
#: Of requests, that never arrive; of answers, that never come.
LOST = 0.01
#: Of a License Manager's days, that end with giving its installation back; it activates it again soon.
LEAVES = 0.05
#: What a License Manager is told that goes about its own installation, and would be a fault if it were anything else.
_PASSES = {"TOO_MANY_REQUESTS", "CLOCK_SKEWED"}
#: What is in the operation log once a request took effect.
ACTIONS = {
    "POST /v1/activations": "server.activated",
    "POST /v1/validations": "server.validated",
    "POST /v1/deactivations": "server.deactivated",
    "DELETE /v1/seats/{seat_id}": "seat.closed",
}
#: (action, subject, …): what there is one entry for in the operation log. With generation and sequence for a server, with terminal
#: and session for a seat: no station here comes twice.
Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Given:
    """What a process is told: by ``offset`` the stack's clock is ahead, in seconds."""

    directory: Path
    vendor_file: Path
    tokens: list[str]
    offset: Any


@dataclass
class Seen:
    """What one process saw. Times are epoch seconds of the stack's clock."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    #: Answers that the document does not know, and what a License Manager must not meet.
    undocumented: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    #: What certainly took effect, and how many requests of an action may have.
    known: set[Key] = field(default_factory=set)
    uncertain: Counter[str] = field(default_factory=Counter)
    #: Pool, terminal and session of each lease: those that were given, and all that were asked for.
    leased: set[Key] = field(default_factory=set)
    asked: set[Key] = field(default_factory=set)
    #: By pool, for how long a seat was surely held.
    held: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    failed_over: int = 0

    def add(self, other: "Seen") -> None:
        """Take in what another process saw."""
        for mine, its in ((self.answers, other.answers), (self.codes, other.codes), (self.uncertain, other.uncertain)):
            mine.update(its)
        for name, times in other.seconds.items():
            self.seconds[name] += times
        for pool_id, intervals in other.held.items():
            self.held[pool_id] += intervals
        self.undocumented += other.undocumented
        self.faults += other.faults
        self.failed_over += other.failed_over
        self.known |= other.known
        self.leased |= other.leased
        self.asked |= other.asked


@dataclass
class _Lease:
    key: Key
    since: float
    until: float
    ended: bool = False


class Wire(httpx.BaseTransport):
    """HTTP to both sites, with losses. Holds every answer against the document, and notes what it means."""

    def __init__(
        self, sites: tuple[str, ...], clock: Callable[[], float], chance: random.Random, progress: Any
    ) -> None:
        self.seen = Seen()
        self._inner = httpx.HTTPTransport(verify=False)
        self._documented = Documented.here()
        self._home_port = httpx.URL(sites[0]).port
        self._clock, self._chance, self._progress = clock, chance, progress
        self._leases: dict[str, _Lease] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request; raises httpx.TransportError where it or its answer is lost."""
        route = self._documented.route(request.method, request.url.path) or f"{request.method} {request.url.path}"
        at_home, loss, seen = request.url.port == self._home_port, self._chance.random(), self.seen
        self._progress.value += 1
        self._before(route, request)
        begin = time.perf_counter()
        try:
            if loss < LOST:
                raise httpx.ConnectError("lost")
            response = self._inner.handle_request(request)
            content = response.read()
            if loss > 1 - LOST:
                raise httpx.ReadError("lost")
        except httpx.TransportError as error:
            seen.answers[route, "no connection" if isinstance(error, httpx.ConnectError) else "no answer"] += 1
            if not isinstance(error, httpx.ConnectError):
                self._may_have_happened(route, at_home)
            raise
        seen.seconds[route].append(time.perf_counter() - begin)
        seen.answers[route, str(response.status_code)] += 1
        kind = response.headers.get("content-type", "")
        if fault := self._documented.fault(request.method, request.url.path, response.status_code, kind, content):
            seen.undocumented.append(fault)
        elif kind == PROBLEM:
            seen.codes[route, json.loads(content)["code"]] += 1
        if response.status_code >= 500:
            self._may_have_happened(route, at_home)
        elif response.status_code < 300:
            self._means(route, request, response, at_home)
        return response

    def close(self) -> None:
        """Each License Manager closes it, and the next one uses it."""

    def _may_have_happened(self, route: str, at_home: bool) -> None:
        if route in ACTIONS and (at_home or route == "POST /v1/validations"):  # a standby follows nothing else
            self.seen.uncertain[ACTIONS[route]] += 1

    def _before(self, route: str, request: httpx.Request) -> None:
        if route == "POST /v1/seats":
            self.seen.asked.add(_station(request))
        elif route == "DELETE /v1/seats/{seat_id}" and (lease := self._leases.get(_seat_id(request))):
            self._end(lease)

    def _end(self, lease: _Lease) -> None:
        if not lease.ended:
            lease.ended = True
            self.seen.held[str(lease.key[0])].append((lease.since, min(lease.until, self._clock())))

    def end(self) -> None:
        """Nobody goes on."""
        for lease in self._leases.values():
            self._end(lease)

    def _means(self, route: str, request: httpx.Request, response: httpx.Response, at_home: bool) -> None:
        seen = self.seen
        if route == "DELETE /v1/seats/{seat_id}":
            lease = self._leases.get(_seat_id(request))
            if lease and self._clock() < lease.until:
                seen.known.add(("seat.closed", *lease.key))
            return
        if not route.startswith(("POST", "PUT")):
            return
        said = response.json()
        if route in ("POST /v1/activations", "POST /v1/validations"):
            seen.failed_over += not at_home
            if said["valid"]:
                claims = _claims(said["server_token"])
                sequence = (claims["seq"],) if route == "POST /v1/validations" else ()
                seen.known.add((ACTIONS[route], claims["sub"], claims["gen"], *sequence))
            else:
                seen.faults.append(f"a server was told no: {said['code']}")
        elif route == "POST /v1/deactivations":
            claims = _claims(request.headers["authorization"].partition(" ")[2])
            seen.known.add((ACTIONS[route], claims["sub"], claims["gen"]))
        elif "lease_until" in said:
            until = datetime.fromisoformat(said["lease_until"]).timestamp()
            if route == "POST /v1/seats":
                self._leases.setdefault(said["seat_id"], _Lease(_station(request), self._clock(), until))
                seen.leased.add(_station(request))
            if lease := self._leases.get(said["seat_id"]):
                lease.until = until
            if said["in_use"] > said["capacity"]:
                seen.faults.append(f"{said['in_use']} seats in use of {said['capacity']}")


def _station(request: httpx.Request) -> Key:
    asked = json.loads(request.content)
    return asked["pool_id"], asked["terminal"], asked["session"]


def _seat_id(request: httpx.Request) -> str:
    return unquote(request.url.path.rpartition("/")[2])


def _claims(token: str) -> Any:
    payload = token.split(".")[1]
    return json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


class Server:
    """A server with its License Manager, and a station that works on it from time to time."""

    def __init__(
        self,
        number: int,
        given: Given,
        vendor: VendorProfile,
        clock: Callable[[], float],
        wire: Wire,
        chance: random.Random,
    ) -> None:
        self.number = number
        self.active = False
        self._home = Home(given.directory / f"{number:05d}")
        self._vendor, self._clock, self._wire, self._chance = vendor, clock, wire, chance
        self._target = {"activation_token": given.tokens[number]}
        names = {name: digest(name, f"{name} {number}") for name in ("machine_id", "mac", "cpu", "disk", "product")}
        self._machine = Machine(
            wall=clock, monotonic=lambda: time.monotonic() + given.offset.value, boot_id=lambda: "bench",
            fingerprint=lambda: names, hostname=lambda: f"host-{number:05d}", time_zone=lambda: "Europe/Rome", environ={},
        )  # fmt: skip
        self._leaving = False
        self._failures = 0
        self._seat: Seat | None = None
        self._ask: dict[str, str] = {}
        self._asked_at = 0.0
        self._sessions = 0
        self._pool_id = ""

    def manage(self) -> float:
        """Activate, validate or give the installation back; returns when there is something to do again."""
        try:
            with Manager(self._home, self._vendor, Settings(), self._machine, http=self._wire) as manager:
                return self._managed(manager)
        except Unreachable as error:
            return self._later(error.retry_after)
        except Refused as error:
            if error.code not in _PASSES:
                self._wire.seen.faults.append(f"a License Manager was refused: {error.code}: {error}")
            return self._later(error.retry_after)
        except LicenseManagerError as error:
            self._wire.seen.faults.append(f"a License Manager met {type(error).__name__} {error.code}: {error}")
            return self._later(None)

    def _managed(self, manager: Manager) -> float:
        if self.active and (self._leaving or self._chance.random() < LEAVES):
            self._leave_seat()
            self._leaving = True
            manager.deactivate()
            self._leaving = self.active = False
            return self._clock() + self._chance.uniform(2, 15)
        if self.active:
            manager.validate()
        else:
            manager.activate(self._target)
            self.active = True
        self._failures = 0
        return self.next_validation(manager)

    def next_validation(self, manager: Manager) -> float:
        """When the agent's schedule has it."""
        state, now = manager.state(), self._clock()
        situation = schedule.Situation(
            now, UTC, last_answer=state.answered_at, next_validation_at=state.next_validation_at
        )
        return schedule.next_attempt(situation, self._chance.random)

    def resume(self) -> float:
        """Go on from what is on the disk; returns when the next validation is due."""
        with Manager(self._home, self._vendor, Settings(), self._machine, http=self._wire) as manager:
            self.active = manager.state().server_token is not None
            return self.next_validation(manager)

    def _later(self, retry_after: float | None) -> float:
        """As the agent does, but within a run of minutes."""
        self._failures += 1
        return self._clock() + min(10.0, schedule.pause(self._failures, retry_after, self._chance.random))

    def sit(self) -> float:
        """Take a seat, keep it, look at the pool, leave, or die without a word; returns when to go on."""
        chance, now = self._chance, self._clock()
        if not self.active or self._leaving:
            return now + chance.uniform(2, 10)
        try:
            if self._seat is None:
                return self._take()
            if not self._seat.held:
                self._seat = None
                return now + chance.uniform(1, 10)
            dice = chance.random()
            if dice < 0.3:
                self._leave_seat()
            elif dice < 0.32:
                self._seat = None
            elif dice < 0.4:
                self._seat._desk.ask("GET", f"/v1/pools/{self._pool_id}")
            else:
                self._seat.beat()
        except (Refused, Unreachable) as error:
            if error.code not in {"SEAT_LIMIT_REACHED", *_PASSES} and isinstance(error, Refused):
                self._wire.seen.faults.append(f"a station was refused: {error.code}: {error}")
            return now + chance.uniform(*QUIET)
        except LicenseManagerError as error:
            self._wire.seen.faults.append(f"a station met {type(error).__name__} {error.code}: {error}")
        pause = self._seat.pause() if self._seat else 30.0
        return now + min(pause, chance.uniform(*QUIET))

    def _take(self) -> float:
        desk = SeatDesk(self._home, self._vendor, Settings(), self._machine, http=self._wire)
        self._pool_id = self._pool_id or desk.pool(APPLICATION)
        now = self._clock()
        if not self._ask or now - self._asked_at > LEASE_SECONDS / 2:  # what was asked for before may have ended since
            self._sessions += 1
            self._asked_at = now
            self._ask = {
                "pool_id": self._pool_id, "company_tax_id": self._tax_id(), "os_user": f"user-{self.number}",
                "terminal": f"PC-{self.number:05d}", "session": f"session-{self._sessions}", "user_code": "U",
                "module": MODULE, "instance": "1",
            }  # fmt: skip
        seat = Seat(desk, self._ask, jitter=self._chance.random)
        seat.take()
        self._seat, self._ask = seat, {}
        return now + min(seat.pause(), self._chance.uniform(*QUIET))

    def _tax_id(self) -> str:
        with Manager(self._home, self._vendor, Settings(), self._machine, http=self._wire) as manager:
            return str(manager.state().labels["customer"]["tax_id"])

    def _leave_seat(self) -> None:
        if self._seat is not None and self._seat.held:
            self._seat.close()
        self._seat = None


def _prepare(
    given: Given, number: int, options: argparse.Namespace, progress: Any
) -> tuple[list[Server], Wire, Callable[[], float], random.Random]:
    """This process's share of the License Managers."""
    context = ssl.create_default_context()
    transport.Transport._tls = lambda _: context  # type: ignore[method-assign]  # reading the world's certificates takes long
    vendor, chance = profile.read(given.vendor_file), random.Random(f"{options.seed} {number}")

    def clock() -> float:
        return time.time() + float(given.offset.value)

    wire = Wire(vendor.sites, clock, chance, progress)
    numbers = range(number, len(given.tokens), options.processes)
    return [Server(each, given, vendor, clock, wire, chance) for each in numbers], wire, clock, chance


def activate(given: Given, number: int, options: argparse.Namespace, start: Any, progress: Any, results: Any) -> None:
    """One process: its License Managers activate, one after the other, again where the answer was lost."""
    servers, wire, _, _ = _prepare(given, number, options, progress)
    start.wait(PATIENCE)
    end = time.monotonic() + options.seconds
    for each in servers:
        while not each.active and time.monotonic() < end:
            each.manage()
    results.put(wire.seen)


def live(given: Given, number: int, options: argparse.Namespace, start: Any, progress: Any, results: Any) -> None:
    """One process: its License Managers validate when it is time, every fifth one has a station that works."""
    servers, wire, clock, chance = _prepare(given, number, options, progress)
    validations = [(each.resume(), each.number, each) for each in servers]
    seats = [(clock() + chance.uniform(0, 20), each.number, each) for each in servers if each.number % STATIONS == 0]
    agendas: tuple[tuple[list[Any], Callable[[Server], float]], ...] = (
        (validations, Server.manage),
        (seats, Server.sit),
    )
    for agenda, _ in agendas:
        heapq.heapify(agenda)
    start.wait(PATIENCE)
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        now = clock()
        due = [each for each in agendas if each[0] and each[0][0][0] <= now]
        for agenda, act in due:
            _, place, server = heapq.heappop(agenda)
            heapq.heappush(agenda, (act(server), place, server))
        if not due:
            time.sleep(0.02)
    wire.end()
    results.put(wire.seen)
