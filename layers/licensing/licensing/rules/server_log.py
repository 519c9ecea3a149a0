"""What the log says of a server, told from its state before and after one write (A7, A9)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from licensing.rules.sequence import ServerState


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a server did. The same write tells the same events, with the same times."""

    action: str
    at: datetime
    details: Mapping[str, str | int] = field(default_factory=dict)


def events(before: ServerState, after: ServerState) -> Iterator[Event]:
    """Validations, heals, drift and suspicion. Activations, releases and decisions are told where they are made."""
    went_on = after.held and after.seq > 0 and (after.gen, after.seq) > (before.gen, before.seq)
    if went_on and after.validated_at:
        yield Event("server.validated", after.validated_at, {"gen": after.gen, "seq": after.seq})
        if after.heals[-1:] == (after.validated_at,):
            yield Event("server.healed", after.validated_at, {"gen": after.gen, "seq": after.seq})
        if changed := _drift(before, after):
            yield Event("server.fingerprint_changed", after.validated_at, {"components": changed})
    if after.suspected_at and not before.suspected_at:
        yield Event("server.clone_suspected", after.suspected_at, {"gen": after.gen, "seq": after.seq})


def _drift(before: ServerState, after: ServerState) -> str:
    was, now = before.report.fingerprint, after.report.fingerprint
    return ", ".join(sorted(name for name in was.keys() | now.keys() if was and was.get(name) != now.get(name)))
