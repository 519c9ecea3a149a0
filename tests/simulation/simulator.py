"""The simulator: actors that take turns, one AWS call at a time, and all that can go wrong between two of them.

A run has several **actors** (servers, operators, portal users, queues), each a thread of its own, of which exactly one runs. It
gives way before each AWS call, and only there. A seed decides who goes next, when the virtual clock moves, and which fault hits.
Nothing else is left to chance: no wall clock, no real sleep, ids and secrets from the seed. So a seed that fails fails
again, and the trace that it prints is what happened.

Chance comes as small numbers in named streams (one for the schedule, one for the clock, some for each actor), and 0 is always
the tamest: the same actor goes on, the clock stands, nothing breaks. That is all that shrinking needs: leave out actors, turn
numbers to 0, and keep what still fails (``shrink``).

This module knows nothing of licenses. ``cloud.py`` puts the real code on it, ``scenarios/`` say who acts and what must hold.
"""

import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NoReturn, Protocol, TypeVar

T = TypeVar("T")

#: What can hit an AWS call. ``timeout_after``: it took effect, and its answer was lost. ``crash``: the caller's process dies before
#: the call; what it did until then has happened.
CallFault = Literal["throttle", "conflict", "timeout_before", "timeout_after", "crash"]
#: What can hit a request on its way. ``lost``: served, but the answer never came. ``late``: the caller gives up, and the request is
#: served some time later. ``twice``: it arrives a second time, some time later.
RequestFault = Literal["lost", "late", "twice"]

CALL_FAULTS: tuple[CallFault, ...] = ("throttle", "conflict", "timeout_before", "timeout_after", "crash")
REQUEST_FAULTS: tuple[RequestFault, ...] = ("lost", "late", "twice")

BEGIN = datetime(2026, 11, 22, 9, tzinfo=UTC)
#: Seconds by which a request may be late: an older one has no valid proof any more (licensing.proofs.TOLERANCE).
LATE = (1, 20, 120, 299)
#: Seconds that may pass while a function runs, and at other times.
_MOMENTS, _SPELLS = (1, 3), (1, 61, 3600, 86400)
_MOST_FAULTS, _MOST_STEPS, _TRIES = 12, 4000, 25


class Violation(Exception):
    """Raised when something that must always hold does not."""


class Lost(Exception):
    """Raised to a caller whose request, or its answer, was lost."""


class Crash(BaseException):
    """A process dies. Below no ``except Exception``: nobody has the time to tidy up."""


class _Over(BaseException):
    """Ends the threads of a run that is over."""


def must(holds: object, otherwise: str) -> None:
    """Raise a Violation unless it holds."""
    if not holds:
        raise Violation(otherwise)


class Choices:
    """All chance of a run. With ``told`` the numbers are given; where they end, all is tame."""

    def __init__(self, seed: str, told: Mapping[str, Sequence[int]] | None = None) -> None:
        self._seed = seed
        self._told = told
        self._random: dict[str, random.Random] = {}
        self.made: dict[str, list[int]] = {}

    def pick(self, stream: str, options: int, rate: float = 1.0) -> int:
        """A number below ``options``; 0 unless chance, at ``rate``, wills it otherwise."""
        made = self.made.setdefault(stream, [])
        if self._told is not None:
            told = self._told.get(stream, ())
            chosen = min(told[len(made)], options - 1) if len(made) < len(told) else 0
        else:
            chance = self._random.get(stream)
            if chance is None:
                chance = self._random[stream] = random.Random(f"{self._seed}/{stream}")
            chosen = int(chance.random() * options) if rate >= 1 or chance.random() < rate else 0
        made.append(chosen)
        return chosen


@dataclass(frozen=True, slots=True)
class Call:
    """One AWS call, as the trace shows it."""

    operation: str
    where: str = ""
    writes: bool = False


@dataclass(slots=True)
class Event:
    """One line of a trace."""

    at: datetime
    actor: str
    what: str
    fault: str = ""
    outcome: str = ""

    def __str__(self) -> str:
        day = (self.at - BEGIN).days
        fault = f"  !! {self.fault}" if self.fault else ""
        outcome = f"  -> {self.outcome}" if self.outcome else ""
        return f"day {day} {self.at:%H:%M:%S}  {self.actor:<14} {self.what}{fault}{outcome}"


class Actor:
    """Somebody who acts: a thread that waits for its turn. ``life`` is begun anew after a crash; what it kept stays."""

    def __init__(self, name: str, life: Callable[[], None], wakes: datetime, *, restarts: bool = True) -> None:
        self.name = name
        self.life = life
        self.wakes = wakes
        self.restarts = restarts
        self.site = 0
        self.serving = 0
        #: What the process remembers that serves its request.
        self.process: dict[str, Any] = {}
        self.done = False
        self.turn = threading.Semaphore(0)
        self.thread: threading.Thread | None = None


class Script(Protocol):
    """What a run is about (``scenario.Scenario``)."""

    def begin(self) -> None:
        """Set the stage, and name the actors (``Simulation.actor``)."""

    def check(self) -> None:
        """Raise a Violation unless all invariants hold. Called after every AWS call that writes."""

    def finish(self) -> None:
        """All actors are done, and there is no more trouble. What must hold in the end?"""


class Simulation:
    """One run: everything follows from ``choices``, and from who stays at home (``without``)."""

    def __init__(self, choices: Choices, without: frozenset[str] = frozenset()) -> None:
        self.now = BEGIN
        self.trace: list[Event] = []
        self.steps = 0
        self.met: Counter[str] = Counter()
        self.violation: str | None = None
        self.running: Actor | None = None
        self.actors: list[Actor] = []
        self._choices = choices
        self._without = without
        self._check: Callable[[], None] = lambda: None
        self._ended = threading.Semaphore(0)
        self._over = False
        #: What idle processes remember, by site; the one that served last comes last.
        self._idle: dict[int, list[dict[str, Any]]] = {}
        self._afterwards: dict[str, Any] = {}
        # The weather of this run: some are calm, some see one kind of trouble only, some all.
        self._unrest = (0.5, 0.15, 0.9)[choices.pick("weather", 3)]
        self._trouble = (0.0, 0.04, 0.12, 0.3)[choices.pick("weather", 4)]
        self._haste = (0.0, 0.02, 0.1)[choices.pick("weather", 3)]
        kind = choices.pick("weather", 4 + len(CALL_FAULTS))
        self._call_faults = CALL_FAULTS if kind < 4 else (CALL_FAULTS[kind - 4],)

    # ── for scenarios ──

    def actor(self, name: str, life: Callable[[], None], *, after: float = 0, restarts: bool = True) -> None:
        """Somebody more who acts, from ``after`` seconds on."""
        if name in self._without:
            return
        actor = Actor(name, life, self.now + timedelta(seconds=after), restarts=restarts)
        self.actors.append(actor)
        if self.running:
            self._start(actor)

    def pick(self, options: int, rate: float = 1.0) -> int:
        """A number below ``options`` from the stream of the actor that runs; 0 is to be the tamest."""
        return self._choices.pick(self.running.name if self.running else "stage", options, rate)

    def pause(self, seconds: float) -> None:
        """Let others act, and go on when so much time has passed."""
        actor = self._acting()
        actor.wakes = self.now + timedelta(seconds=seconds)
        self._give_way(actor)

    def request(self, what: str, serve: Callable[[], T], *, site: int = 0, allowed: tuple[type[Exception], ...]) -> T:
        """Send a request and wait for the answer, which may be lost, or come from a request that was served twice.

        Raises Lost, and what ``serve`` raises and ``allowed`` names; anything else that it raises is a violation.
        """
        actor = self._acting()
        unlucky = self._choices.pick(f"{actor.name}!", 2, 2 * self._trouble)
        hit = self._hit(REQUEST_FAULTS) if unlucky else None
        if hit in ("late", "twice"):
            delay = LATE[self._choices.pick(f"{actor.name}!", len(LATE))]
            self._note(f"{what}: to be served in {delay} s", hit)
            twin = f"{actor.name}~{len(self.actors)}"
            self.actor(twin, lambda: self._serve_unheard(what, serve, site, allowed), after=delay, restarts=False)
            if hit == "late":
                raise Lost
        answer = self._serve(actor, what, serve, site, allowed)
        if hit == "lost":
            self._note(f"{what}: the answer", hit)
            raise Lost
        return answer

    def answer(
        self, what: str, serve: Callable[[], T], *, site: int = 0,
        allowed: tuple[type[Exception], ...], passing: type[Exception],
    ) -> T:  # fmt: skip
        """The answer to a request that is sent again until there is one; ``passing`` is an answer that says: try again."""
        for _ in range(_TRIES):
            try:
                return self.request(what, serve, site=site, allowed=(*allowed, passing))
            except (Lost, passing):
                self.pause(1)
        raise Violation(f"{what}: no answer after {_TRIES} tries")

    @property
    def process(self) -> dict[str, Any]:
        """What the process remembers that is at work: it serves one request at a time, and one after the other."""
        return self.running.process if self.running else self._afterwards

    def note(self, what: str) -> None:
        """Add a line to the trace."""
        self._note(what)

    # ── for the seam to AWS ──

    def step(self, call: Call) -> CallFault | None:
        """Somebody is about to make a call. While actors act, another may go first, and a fault may hit. Raises Crash."""
        if not (actor := self.running):
            self._note(f"{call.operation} {call.where}")
            return None
        self._give_way(actor)
        faults = tuple(each for each in self._call_faults if each != "conflict" or call.writes)
        hit = faults and self._choices.pick(f"{actor.name}!", 2, self._trouble)
        fault = self._hit(faults) if hit else None
        self._note(f"{call.operation} {call.where}", fault or "")
        if fault == "crash":
            raise Crash
        return fault

    def made(self, call: Call, outcome: str) -> None:
        """The call has been made, with this outcome."""
        self.trace[-1].outcome = outcome
        if call.writes and self.running:
            self._hold()

    def sleep(self, seconds: float) -> None:
        """``time.sleep`` of an actor: time passes."""
        self.now += timedelta(seconds=seconds)

    # ── running ──

    def run(self, script: Script) -> None:
        """Run to the end, or to the first violation (``violation``)."""
        try:
            script.begin()
        except Violation as violation:
            self.violation = str(violation)
            return
        self._check = script.check
        first = self._next(None)
        if first:
            self.running = first
            for actor in list(self.actors):
                self._start(actor)
            first.turn.release()
            self._ended.acquire()
            self._over = True
            for actor in self.actors:
                actor.turn.release()
            for actor in self.actors:
                if actor.thread:
                    actor.thread.join()
            self.running = None
        if self.violation is None:
            try:
                script.check()
                script.finish()
            except Violation as violation:
                self.violation = str(violation)
            except Exception as error:
                self.violation = f"in the end: {type(error).__name__} {error}"

    def _start(self, actor: Actor) -> None:
        actor.thread = threading.Thread(target=self._live, args=(actor,), name=actor.name, daemon=True)
        actor.thread.start()

    def _live(self, actor: Actor) -> None:
        actor.turn.acquire()
        try:
            while not self._over:
                try:
                    actor.life()
                except Crash:
                    actor.serving, actor.site = 0, 0
                    if actor.restarts:
                        self._note("restarts with what it kept")
                        continue
                break
            actor.done = True
            self._pass_on(self._next(actor))
        except _Over:
            pass
        except Violation as violation:
            self._end(str(violation))
        except BaseException as error:
            self._end(f"{actor.name}: {type(error).__name__} {error}")

    def _acting(self) -> Actor:
        assert self.running, "only an actor may do this"
        return self.running

    def _give_way(self, actor: Actor) -> None:
        if self._over:
            raise _Over
        following = self._next(actor)
        if following is not actor:
            self._pass_on(following)
            actor.turn.acquire()
            if self._over:
                raise _Over

    def _pass_on(self, following: Actor | None) -> None:
        if following is None:
            self._ended.release()
        else:
            self.running = following
            following.turn.release()

    def _next(self, current: Actor | None) -> Actor | None:
        """Who goes next; None when all are done. Moves the clock, by chance or because everybody waits."""
        self.steps += 1
        if self.steps > _MOST_STEPS:
            self._fail("it does not come to an end")
        idle = not any(actor.serving for actor in self.actors)
        spells = _SPELLS if idle else _MOMENTS
        if jump := self._choices.pick("clock", len(spells) + 1, self._haste if idle else self._haste / 2):
            self.now += timedelta(seconds=spells[jump - 1])
        waiting = [actor for actor in self.actors if not actor.done]
        if not waiting:
            return None
        ready = [actor for actor in waiting if actor.wakes <= self.now]
        if not ready:
            self.now = min(actor.wakes for actor in waiting)
            ready = [actor for actor in waiting if actor.wakes <= self.now]
        if current in ready:
            ready.remove(current)
            ready.insert(0, current)
        return ready[self._choices.pick("schedule", len(ready), self._unrest)]

    def _serve(
        self, actor: Actor, what: str, serve: Callable[[], T], site: int, allowed: tuple[type[Exception], ...]
    ) -> T:
        actor.serving, actor.site = 1, site
        actor.process = self._awake(actor)
        begun = len(self.trace)
        self._note(f"{what} begins" + (f" at site {site + 1}" if site else ""))
        try:
            answer = serve()
            self._idle[site].append(actor.process)
        except allowed as refusal:
            self._idle[site].append(actor.process)
            self._note(f"{what} answers {type(refusal).__name__}")
            raise
        except Violation:
            raise
        except Exception as error:
            raise Violation(f"{what} raised {type(error).__name__}: {error}") from error
        finally:
            actor.serving, actor.site = 0, 0
        self._note(f"{what} answers" if len(self.trace) > begun else what)
        return answer

    def _awake(self, actor: Actor) -> dict[str, Any]:
        """Who serves a request, as Lambda chooses: the process that was busy last, or another, or a new one."""
        idle = self._idle.setdefault(actor.site, [])
        chosen = self._choices.pick(f"{actor.name}@", len(idle) + 1, self._unrest)
        return idle.pop(-1 - chosen) if chosen < len(idle) else {}

    def _serve_unheard(
        self, what: str, serve: Callable[[], Any], site: int, allowed: tuple[type[Exception], ...]
    ) -> None:
        with suppress(*allowed):
            self._serve(self._acting(), what, serve, site, allowed)

    def _hit(self, faults: Sequence[Any]) -> Any:
        if self.met.total() >= _MOST_FAULTS:
            return None
        fault = faults[self._choices.pick(f"{self._acting().name}!", len(faults))]
        self.met[fault] += 1
        return fault

    def _hold(self) -> None:
        try:
            self._check()
        except Violation as violation:
            self._fail(str(violation))

    def _fail(self, why: str) -> NoReturn:
        self._end(why)
        raise _Over

    def _end(self, why: str) -> None:
        self.violation = self.violation or why
        self._over = True
        self._ended.release()

    def _note(self, what: str, fault: str = "") -> None:
        self.trace.append(Event(self.now, self.running.name if self.running else "afterwards", what, fault))


# ── finding, replaying, shrinking ──


@dataclass(frozen=True)
class Recipe:
    """All that a run follows from: where its numbers come from, and which actors stay at home."""

    seed: str
    told: Mapping[str, Sequence[int]] | None = None
    without: frozenset[str] = frozenset()


@dataclass
class Result:
    """How a run went."""

    recipe: Recipe
    violation: str | None
    trace: list[Event]
    steps: int
    made: Mapping[str, Sequence[int]]
    actors: list[str] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)

    @property
    def cause(self) -> str:
        """The violation without its figures: shrinking must not slip to another one."""
        return re.sub(r"[0-9a-f]{8,}|\d+", "#", self.violation or "")


#: Runs a recipe, from the same beginning each time.
Runner = Callable[[Recipe], Result]


def shrink(failed: Result, run: Runner, tries: int = 400) -> Result:
    """A shorter run that fails alike: without actors, steps and faults that it does not need."""
    best = run(replace(failed.recipe, told={name: list(numbers) for name, numbers in failed.made.items()}))
    tamer = _tamer(best)
    candidate = next(tamer, None)
    while candidate and (tries := tries - 1) >= 0:
        tried = run(candidate)
        if tried.violation and tried.cause == failed.cause and _size(tried) < _size(best):
            best = tried
        try:
            candidate = tamer.send(best)
        except StopIteration:
            break
    return best


def _size(result: Result) -> tuple[int, int, int, int]:
    chosen = sum(1 for numbers in result.made.values() for number in numbers if number)
    return sum(result.met.values()), len(result.actors), chosen, len(result.trace)


def _tamer(best: Result) -> Generator[Recipe, Result, None]:
    """Recipes that are tamer than the best so far, which is sent back each time; the boldest first."""
    for width in (1000, 32, 8, 2, 1, 1):
        for name in best.actors:
            if "~" not in name:
                best = yield replace(best.recipe, told=best.made, without=best.recipe.without | {name})
        for name in list(best.made):
            end = len(best.made.get(name, ()))
            while end > 0:
                numbers = list(best.made.get(name, ()))
                begin = max(0, end - width)
                if any(numbers[begin:end]):
                    best = yield _told(best, name, [*numbers[:begin], *[0] * (end - begin), *numbers[end:]])
                end = begin


def _told(result: Result, name: str, numbers: list[int]) -> Recipe:
    return replace(result.recipe, told={**result.made, name: numbers})
