"""Generation, sequence and nonces: telling a lost answer from a copied server (A7, F2; api.md, "Sequence and clones").

A server's token says where the server is; its ``ServerState`` says where the cloud is. A healthy server presents the very sequence
that the cloud remembers. Everything else is a retry, a restored table, a restored backup or a copy, and only the
last of these is accused.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Literal

from licensing.rules.fingerprints import Fingerprint, same_machine
from licensing.rules.heartbeat import local_date
from licensing.rules.reports import Report

#: Nonces remembered, each with the sequence it led to.
REMEMBERED_NONCES = 8
_REMEMBERED_ACTIVATIONS = 4
_HEALS = 3
_REMEMBERED_DATABASES = 40
_HEALING_PERIOD = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Consumed:
    """A nonce that has led to a sequence."""

    seq: int
    nonce_hash: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ServerState:
    """What the cloud remembers of the server that holds an installation."""

    gen: int = 0
    seq: int = 0
    held: bool = False
    report: Report = field(default_factory=Report)
    nonces: tuple[Consumed, ...] = ()
    #: Hashes of the nonces that began the last generations: each begins one only, whatever became of it.
    activations: tuple[str, ...] = ()
    heals: tuple[datetime, ...] = ()
    suspected_at: datetime | None = None
    validated_at: datetime | None = None
    public_key: Mapping[str, str] | None = None
    #: Every database ever reported, with the day it was first (A3).
    databases: Mapping[str, date] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Presented:
    """What a caller shows: the place that its token gives it, and what it says of itself."""

    gen: int
    seq: int
    nonce: str
    report: Report
    #: What the token itself was bound to, for a generation that the cloud has forgotten.
    token_fingerprint: Fingerprint
    public_key: Mapping[str, str] | None = None


Kind = Literal["advance", "repeat", "heal", "released", "suspect", "mismatch"]


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from a presented token: go on to (gen, seq), or not at all.

    ``at`` is when that sequence was first given; for a repeat it lies in the past.
    """

    kind: Kind
    gen: int
    seq: int
    at: datetime


def nonce_hash(nonce: str) -> str:
    """A short fingerprint of a nonce: 96 bits keep it unmistakable and the item below one write unit."""
    return urlsafe_b64encode(hashlib.sha256(nonce.encode()).digest()[:12]).decode()


def decide(state: ServerState, presented: Presented, now: datetime) -> Step:
    """Where a presented token leads. Changes nothing.

    - a later generation or sequence than remembered (a restored table, a lagging site): moves forward
    - an earlier generation, or nobody holds the installation: ``released``
    - under suspicion until somebody decides: ``suspect``
    - another machine: ``mismatch``
    - a remembered nonce, with the token that it consumed or the one that it gave: ``repeat``
    - the sequence remembered: ``advance``
    - anything older is a copy or a restored backup: ``heal``, at most three times in 30 days, then ``suspect``
    """

    def step(kind: Kind, seq: int, at: datetime = now) -> Step:
        return Step(kind, presented.gen, seq, at)

    if presented.gen > state.gen:
        same = same_machine(presented.token_fingerprint, presented.report.fingerprint)
        return step("advance", presented.seq + 1) if same else step("mismatch", presented.seq)
    if presented.gen < state.gen or not state.held:
        return step("released", presented.seq)
    if state.suspected_at is not None:
        return step("suspect", presented.seq)
    if not same_machine(state.report.fingerprint, presented.report.fingerprint):
        return step("mismatch", presented.seq)
    known = nonce_hash(presented.nonce)
    for consumed in state.nonces:
        if consumed.nonce_hash == known and presented.seq <= consumed.seq:
            return step("repeat", consumed.seq, consumed.at)
    if presented.seq >= state.seq:
        return step("advance", presented.seq + 1)
    if len(recent_heals(state, now)) < _HEALS:
        return step("heal", state.seq + 1)
    return step("suspect", presented.seq)


def recent_heals(state: ServerState, now: datetime) -> tuple[datetime, ...]:
    """The heals that still count against the limit."""
    return tuple(at for at in state.heals if now - at < _HEALING_PERIOD)


def suspect(state: ServerState, now: datetime) -> ServerState:
    """The state in which nobody goes on until somebody decides (``settle``, or a release)."""
    return replace(state, suspected_at=now)


def settle(state: ServerState) -> ServerState:
    """The state after somebody decided that there is one server: whoever comes next goes on, heals count anew."""
    return replace(state, suspected_at=None, heals=())


def release(state: ServerState) -> ServerState:
    """The state in which nobody holds the installation. Its generation stays, so that old tokens stay old."""
    return replace(state, held=False, suspected_at=None, heals=())


def gave_up(gen: int, seq: int, now: datetime) -> ServerState:
    """The state after a server gave itself up that the cloud had forgotten (a restored table): its token is our word."""
    return ServerState(gen=gen, seq=seq, held=False, validated_at=now)


def take(state: ServerState, step: Step, presented: Presented) -> ServerState:
    """The state after an ``advance`` or a ``heal``: place, nonce, machine and time of success are remembered."""
    adopted = presented.gen > state.gen
    kept = () if adopted else tuple(c for c in state.nonces if c.seq > step.seq - REMEMBERED_NONCES)
    heals = recent_heals(state, step.at)
    return ServerState(
        gen=step.gen,
        seq=step.seq,
        held=True,
        report=presented.report,
        nonces=(*kept, Consumed(step.seq, nonce_hash(presented.nonce), step.at)),
        activations=state.activations,
        heals=(*heals, step.at) if step.kind == "heal" else heals,
        validated_at=step.at,
        public_key=presented.public_key if adopted else state.public_key,
        databases=_with_databases(state.databases, presented.report, step.at),
    )


def _with_databases(known: Mapping[str, date], report: Report, at: datetime) -> dict[str, date]:
    """The databases known after a report: a new one is activated today, where the server is; one that comes back keeps its
    first day.
    """
    today = local_date(at, report.time_zone)
    days = {name: known.get(name, today) for name in report.databases}
    if len(known) + len(days) <= _REMEMBERED_DATABASES:
        return {**known, **days}
    return days


Claim = Literal["repeat", "taken", "suspect"]


def activate(state: ServerState, presented: Presented, now: datetime) -> ServerState | Claim:
    """The state after an activation: a generation of its own, at sequence 0.

    The machine that holds the installation may activate it again (its state file was lost); another may not (A2), and
    nobody may while a clone is suspected. The same nonce and key repeat the activation until the first validation. After
    it, or with another key, the nonce begins nothing: a request that comes twice must not end the server that it
    activated. (A secret that somebody overheard is another matter: rotate the activation token.)
    """
    if state.suspected_at is not None:
        return "suspect"
    if state.held and not same_machine(state.report.fingerprint, presented.report.fingerprint):
        return "taken"
    begun = nonce_hash(presented.nonce)
    if begun in state.activations:
        latest = state.held and state.seq == 0 and begun == state.activations[-1]
        return "repeat" if latest and state.public_key == presented.public_key else "taken"
    return ServerState(
        gen=state.gen + 1,
        seq=0,
        held=True,
        report=presented.report,
        nonces=(Consumed(0, begun, now),),
        activations=(*state.activations, begun)[-_REMEMBERED_ACTIVATIONS:],
        heals=recent_heals(state, now),
        validated_at=now,
        public_key=presented.public_key,
        databases=_with_databases(state.databases, presented.report, now),
    )
