"""What scenarios are made of: the base class, a server, and the laws that every server's state obeys.

**To add a scenario**, write one file in ``scenarios/``; it is found by itself. A scenario is a class::

    class Pots(Scenario):
        \"\"\"Two buyers and one pot: what must never happen, in a sentence.\"\"\"

        @classmethod
        def prepare(cls, cloud):            # once per process: what every seed begins with; calls are not disturbed here
            return loading.load(...)        # is ``self.props`` in every run: never change it

        def begin(self):                    # each seed: who acts
            self.actor("buyer-1", self.buy)
            self.actor("buyer-2", self.buy)

        def buy(self):                      # an actor's life: begun anew after a crash, so what it must not forget is kept in self
            self.pause(self.pick(60))       # choices come from ``pick``; 0 is to be the tamest
            answer = self.ask("buy", lambda: pots.buy(..., self.now))   # like HTTP: retried until there is an answer
            must(answer..., "the answer is right")

        def check(self):                    # the invariants: after every AWS call that writes
            must(taken <= size, f"{taken} taken of {size}")

        def finish(self):                   # no more trouble from here on: what must hold in the end?

Invariants read the tables by ``cloud.find`` and ``cloud.rows``, without a call. A request may be served late and twice: bind
what it sends when it is sent (``functools.partial``), never read it from a variable that changes. What it raises, other than
a ``LicensingError`` or what ``allowed`` names, is a violation by itself. Try it with
``python -m tests.simulation --only pots``; then break the code it is about, and see it fail (``mutants.py``).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar

import jwt
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from licensing import activation, administration, deactivation, deployment, tokens, validation
from licensing.contract import Activation, Deactivation, DeactivationAnswer, Validation, ValidationAnswer
from licensing.errors import InstallationTaken, LicensingError, TemporarilyUnavailable
from licensing.http.requests import once
from licensing.key_ring import ring
from licensing.rules.fingerprints import same_machine
from licensing.rules.operations import Origin
from licensing.rules.sequence import ServerState
from licensing.store.idempotency import Keep
from licensing.store.servers import ServerItem, _state
from pydantic import BaseModel

from tests.simulation.cloud import TAX_ID, Cloud
from tests.simulation.simulator import Choices, Simulation, must

T = TypeVar("T")

#: Who manages, in all scenarios.
OPERATOR = Origin("vendor", "operator")


class Scenario:
    """One scenario, in one run. See the module's docstring."""

    #: All scenarios by name.
    known: ClassVar[dict[str, type[Scenario]]] = {}

    def __init__(self, cloud: Cloud, simulation: Simulation, props: Any) -> None:
        self.cloud = cloud
        self.simulation = simulation
        self.props = props
        self.actor = simulation.actor
        self.pick = simulation.pick
        self.pause = simulation.pause

    def __init_subclass__(cls) -> None:
        Scenario.known[cls.__name__.lower()] = cls

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        """What every seed begins with: made once, without disturbance. What it returns is ``props``."""

    def begin(self) -> None:
        """Name the actors."""
        raise NotImplementedError

    def check(self) -> None:
        """The invariants."""

    def finish(self) -> None:
        """What must hold in the end."""

    @property
    def now(self) -> datetime:
        """The virtual time, as a function sees it."""
        return deployment.now()

    def ask(self, what: str, serve: Callable[[], T], *, site: int = 0, allowed: tuple[type[Exception], ...] = ()) -> T:
        """The answer to a request; a lost one is sent again, and so is one that is answered with 503.

        Raises the other LicensingErrors, and what ``allowed`` names. Once all actors are done, nothing disturbs it.
        """
        if self.simulation.running is None:
            return serve()
        passing = TemporarilyUnavailable
        return self.simulation.answer(what, serve, site=site, allowed=(LicensingError, *allowed), passing=passing)


# ── a server ──


def component(value: str) -> str:
    """A hash as a fingerprint's component, or a coordinate, has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(value.encode()).digest()).rstrip(b"=").decode()


@dataclass
class Server:
    """What the License Manager does, and keeps: all of it is on its disk, and there before it is sent."""

    scenario: Scenario
    name: str
    #: The machine it runs on; a copy has the same.
    machine: str
    book: Book
    token: str = ""
    gen: int = -1
    seq: int = -1
    nonce: str = ""
    answered: str = ""
    count: int = 0
    refused: set[str] = field(default_factory=set)

    @property
    def fingerprint(self) -> dict[str, str]:
        """What tells this machine from others."""
        return {name: component(f"{self.machine}/{name}") for name in ("machine_id", "mac", "cpu")}

    @property
    def public_key(self) -> dict[str, str]:
        """The key that it proves to have; proofs are checked above what is simulated here."""
        return {"kty": "EC", "crv": "P-256", "x": component(f"{self.machine}/x"), "y": component(f"{self.machine}/y")}

    def report(self) -> dict[str, Any]:
        """What it says of itself."""
        zone = "Europe/Rome"
        return {"fingerprint": self.fingerprint, "hostname": self.machine, "time_zone": zone, "agent_version": "1.0.0"}

    def pending_nonce(self) -> str:
        """The nonce that is not answered yet, or the next one: kept before it is sent."""
        if not self.nonce:
            self.count += 1
            self.nonce = f"{self.name}-{self.count}".ljust(22, "_")
        return self.nonce

    def forget_answer(self) -> None:
        """It died after the token was on its disk, and before the nonce was not: it asks again, with the token that it got."""
        self.nonce = self.answered

    def activate(self, **how: str) -> ValidationAnswer:
        """Activate by ``activation_token``, or ``ticket`` and ``installation_id``. Raises LicensingError."""
        nonce, key = self.pending_nonce(), self.public_key
        body = Activation.model_validate({**how, **self.report(), "nonce": nonce, "public_key": key})

        def serve() -> ValidationAnswer:
            # A request that comes once more after its caller was told no, and had then succeeded with another one, would begin
            # a generation that nobody hears of. That is beyond what the cloud can tell from a state file that was lost.
            if nonce in self.refused:
                raise InstallationTaken
            answer = activation.activate_server(body, key, self.scenario.now)
            return self.book.note(answer, self.machine, nonce)

        return self._took(self._asked("activate", serve))

    def validate(self, site: int = 0) -> ValidationAnswer:
        """The daily validation."""
        nonce, token = self.pending_nonce(), self.token
        body = Validation.model_validate({**self.report(), "nonce": nonce})
        return self._took(self._asked("validate", lambda: self._validated(token, body), site))

    def _validated(self, text: str, body: Validation) -> ValidationAnswer:
        token = read(text, self.scenario.now)
        answer = validation.validate(token, body, self.public_key, self.scenario.now)
        return self.book.note(answer, self.machine, body.nonce, presented=token)

    def deactivate(self) -> DeactivationAnswer:
        """Give itself up."""
        body, token = Deactivation(nonce=self.pending_nonce()), self.token

        def serve() -> DeactivationAnswer:
            answer = deactivation.deactivate(read(token, self.scenario.now), body, self.scenario.now)
            must(answer.nonce == body.nonce, "a deactivation answers another nonce")
            return answer

        answer = self._asked("deactivate", serve)
        self.nonce = ""
        return answer

    def _asked(self, what: str, serve: Callable[[], T], site: int = 0) -> T:
        try:
            return self.scenario.ask(what, serve, site=site)
        except LicensingError:
            self.refused.add(self.nonce)
            self.nonce = ""  # the next try is another one
            raise

    def _took(self, answer: ValidationAnswer) -> ValidationAnswer:
        must(answer.nonce == self.nonce, f"{self.name} is answered another nonce")
        repeated, self.answered, self.nonce = self.nonce == self.answered, self.nonce, ""
        if answer.valid:
            claims = claims_of(answer)
            place = claims["gen"], claims["seq"]
            onward = place == (self.gen, self.seq) if repeated else place > (self.gen, self.seq)
            must(onward, f"{self.name} is at {self.gen}.{self.seq}, and is led to {place}")
            self.token, (self.gen, self.seq) = str(answer.server_token), place
        return answer


def activated(cloud: Cloud, name: str = "Milano") -> tuple[str, str]:
    """For ``prepare``: an installation, and the token of the server (on the machine ``machine``) that was activated on it."""
    installation = administration.find_installation(administration.find_account(TAX_ID), name)
    server = Server(Scenario(cloud, Simulation(Choices("")), None), "stage", "machine", Book())
    server.activate(activation_token=cloud.activation_tokens[name])
    return installation, server.token


def read(token: str, now: datetime) -> tokens.ServerToken:
    """A server token, verified."""
    return tokens.read_server_token(ring, deployment.issuer(), token, now)


def claims_of(answer: ValidationAnswer) -> dict[str, Any]:
    """What a server token says."""
    claims: dict[str, Any] = jwt.decode(str(answer.server_token), options={"verify_signature": False})
    return claims


@dataclass
class Book:
    """Every yes that was ever said, heard or not. Each place of a sequence is one nonce's, and a repeat says the same.

    Not so with ``sites``: two that do not hear of each other may both give a place to copies of one server.
    """

    sites: bool = False
    given: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    #: Nonce of an activation to the generation that it began.
    begun: dict[str, str] = field(default_factory=dict)
    #: Place (jti) to how far behind the token was that got it: more than 0 is a heal.
    healed: dict[str, datetime] = field(default_factory=dict)

    def note(
        self, answer: ValidationAnswer, machine: str, nonce: str, presented: tokens.ServerToken | None = None
    ) -> ValidationAnswer:
        """Check an answer against all before it."""
        must(answer.nonce == nonce, "an answer has another nonce than its request")
        if not answer.valid:
            return answer
        claims = claims_of(answer)
        said = nonce, machine, claims["iat"], claims["exp"], claims["cnf"]["jkt"], claims["nxt"]
        place = claims["jti"]
        before = self.given.setdefault(place, said)
        must(self.sites or before == said, f"{place} is given twice: {before[:2]}, then {said[:2]}")
        must(claims["nonce"] == nonce, f"{place} has another nonce than its request")
        if presented is None:
            first = self.begun.setdefault(nonce, place)
            must(first == place, f"one activation began {first} and {place}")
        if presented and before is said and claims["seq"] > presented.seq + 1:
            self.healed[place] = datetime.fromtimestamp(claims["iat"], answer.server_time.tzinfo)
        return answer


# ── laws ──


@dataclass
class ServerLaw:
    """What must hold of one installation's state from one write to the next, where one site writes."""

    cloud: Cloud
    installation_id: str
    #: Whether somebody may have ended this generation.
    may_end: Callable[[ServerState], bool] = lambda state: False
    before: ServerState = field(default_factory=ServerState)

    def state(self, site: int = 0) -> ServerState:
        """The state as it stands."""
        item = self.cloud.find(ServerItem, self.installation_id, site=site)
        return _state(item) if item else ServerState()

    def check(self) -> ServerState:
        """Hold the law over the last write; returns the state."""
        before, after = self.before, self.state()
        self.before = after
        if after == before:
            return after
        must(before.gen <= after.gen <= before.gen + 1, f"generation {after.gen} follows {before.gen}")
        if after.gen > before.gen:
            other = not same_machine(before.report.fingerprint, after.report.fingerprint)
            must(not (before.held and other), f"generation {after.gen} takes the installation from another machine")
            must(after.held and after.seq == 0, f"generation {after.gen} begins at {after.seq}, held: {after.held}")
        else:
            must(before.seq <= after.seq <= before.seq + 1, f"sequence {after.seq} follows {before.seq}")
            must(before.held or not after.held, f"generation {after.gen} is held again after it ended")
            must(before.held or after.seq == before.seq, f"generation {after.gen} goes on after it ended")
            must(after.held or not before.held or self.may_end(before), f"nobody ended generation {after.gen}")
        return after


def posted(path: str, body: BaseModel, key: str, scope: str, now: datetime, call: Callable[[Keep], BaseModel]) -> str:
    """The text that a POST with an Idempotency-Key answers: what ``http.requests.once`` makes of the call."""
    event = {
        "rawPath": path,
        "body": json.dumps(body.model_dump(mode="json", exclude_none=True)),
        "isBase64Encoded": False,
        "requestContext": {"http": {"method": "POST"}},
    }
    app: Any = SimpleNamespace(current_event=APIGatewayProxyEventV2(event))
    return str(once(app, key, scope, now, call, lambda answer: 200).body)
