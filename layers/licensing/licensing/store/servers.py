"""What the cloud remembers of each server: one item of the State table, kept below one write unit (1 KB)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from pynamodb.attributes import (
    BooleanAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    UnicodeAttribute,
)
from pynamodb.expressions.condition import Condition
from pynamodb.models import Model
from pynamodb.transactions import TransactWrite

from licensing import deployment
from licensing.rules.operations import ANYONE, Origin
from licensing.rules.reports import Report
from licensing.rules.sequence import REMEMBERED_NONCES, Consumed, ServerState, nonce_hash
from licensing.store import tables
from licensing.store.attributes import Json, PublicJwk


class ServerItem(Model):
    """Short attribute names: they count towards the item's size at each of a fleet's writes."""

    class Meta(tables.Reach):
        table_name = deployment.state_table()

    pk = UnicodeAttribute(hash_key=True)
    customer_id = UnicodeAttribute(attr_name="c")
    #: Who wrote last, for the log: the site, and the request's address and id.
    site = UnicodeAttribute(attr_name="w")
    address = UnicodeAttribute(attr_name="ip", default="")
    request_id = UnicodeAttribute(attr_name="q", default="")
    version = NumberAttribute(attr_name="v")
    gen = NumberAttribute(attr_name="g")
    seq = NumberAttribute(attr_name="s")
    held = BooleanAttribute(attr_name="h")
    #: Ring of the last nonces: "sequence mod 8" to "sequence epoch hash". A slot can be set without reading the rest.
    nonces: Any = MapAttribute(attr_name="n", default=dict)  # type: ignore[no-untyped-call]
    activations = ListAttribute[str](attr_name="a", null=True)
    heals = ListAttribute[int](attr_name="hl", null=True)
    suspected_at = NumberAttribute(attr_name="su", null=True)
    validated_at = NumberAttribute(attr_name="at")
    public_key = PublicJwk(attr_name="k", null=True)
    report = Json(Report, attr_name="r")
    digest = UnicodeAttribute(attr_name="d")
    databases = Json(Mapping[str, date], attr_name="db", null=True)
    usage = Json(Mapping[str, int], attr_name="u", null=True)


_SLOTS = tuple(ServerItem.nonces[str(slot)] for slot in range(REMEMBERED_NONCES))


def get(installation_id: str) -> tuple[ServerState, int]:
    """The state (strongly consistent) and its version; an empty state of version 0 where there is none."""
    item = tables.find(ServerItem, installation_id)
    return (_state(item), int(item.version)) if item else (ServerState(), 0)


def get_many(installation_ids: Iterable[str]) -> dict[str, ServerState]:
    """The states of several installations, for showing: a second old at most."""
    items = tables.read(lambda: list(ServerItem.batch_get(list(installation_ids))))
    return {item.pk: _state(item) for item in items}


def advance(
    installation_id: str,
    *,
    gen: int,
    seq: int,
    nonce: str,
    report: Report,
    usage: Mapping[str, int],
    by: Origin,
    now: datetime,
) -> ServerState:
    """Take the next sequence in one write, if all is as the caller's token says and the report is the one we have.

    Raises ConditionFailed otherwise: then read, decide and ``put``.
    """
    item = ServerItem(installation_id)
    entry = Consumed(seq + 1, nonce_hash(nonce), now)
    actions = [
        ServerItem.seq.set(entry.seq),
        ServerItem.version.set(ServerItem.version + 1),
        ServerItem.validated_at.set(_epoch(now)),
        ServerItem.nonces[_slot(entry.seq)].set(_text(entry)),
        ServerItem.usage.set(usage) if usage else ServerItem.usage.remove(),
        ServerItem.site.set(deployment.site()),
        ServerItem.address.set(by.address),
        ServerItem.request_id.set(by.request_id),
    ]
    as_told = (
        (ServerItem.gen == gen)
        & (ServerItem.seq == seq)
        & (ServerItem.held == True)  # noqa: E712  an expression, not a comparison
        & (ServerItem.digest == report.digest())
        & ServerItem.suspected_at.does_not_exist()
    )
    # A nonce that has led to a sequence leads to that one again, which takes a look at the state.
    for slot in _SLOTS:
        as_told &= ~slot.contains(entry.nonce_hash)
    tables.write(lambda: item.update(actions=actions, condition=as_told))
    return _state(item)


def put(
    installation_id: str,
    state: ServerState,
    version: int,
    customer_id: str,
    by: Origin = ANYONE,
    usage: Mapping[str, int] | None = None,
) -> None:
    """Replace the state that was read at ``version``. Raises ConditionFailed if it has changed since."""
    item = _item(installation_id, state, version, customer_id, by, usage)
    tables.write(lambda: item.save(condition=_unchanged(version)))


def put_in(
    transaction: TransactWrite, installation_id: str, state: ServerState, version: int, customer_id: str
) -> None:
    """The same as part of a transaction."""
    item = _item(installation_id, state, version, customer_id, ANYONE, None)
    transaction.save(item, condition=_unchanged(version))


def check_unknown_in(installation_id: str) -> Callable[[TransactWrite], None]:
    """A check for a transaction: no server has ever activated the installation."""
    return lambda transaction: transaction.condition_check(
        ServerItem, installation_id, condition=ServerItem.pk.does_not_exist()
    )


def get_usage(installation_id: str) -> Mapping[str, int]:
    """How much of each application the server last said is in use."""
    item = tables.find(ServerItem, installation_id)
    return (item.usage or {}) if item else {}


def _unchanged(version: int) -> Condition:
    return ServerItem.version == version if version else ServerItem.pk.does_not_exist()


def _item(
    installation_id: str,
    state: ServerState,
    version: int,
    customer_id: str,
    by: Origin,
    usage: Mapping[str, int] | None,
) -> ServerItem:
    if state.validated_at is None:
        raise ValueError("a server is remembered from its activation on")
    return ServerItem(
        installation_id,
        customer_id=customer_id,
        site=deployment.site(),
        address=by.address,
        request_id=by.request_id,
        version=version + 1,
        gen=state.gen,
        seq=state.seq,
        held=state.held,
        nonces={_slot(entry.seq): _text(entry) for entry in state.nonces[-REMEMBERED_NONCES:]},
        activations=list(state.activations) or None,
        heals=[_epoch(at) for at in state.heals] or None,
        suspected_at=_epoch(state.suspected_at) if state.suspected_at else None,
        validated_at=_epoch(state.validated_at),
        public_key=state.public_key,
        report=state.report,
        digest=state.report.digest(),
        databases=state.databases or None,
        usage=usage or None,
    )


@dataclass(frozen=True, slots=True)
class Image:
    """A server's item before or after one write, as the table's stream tells it."""

    installation_id: str
    customer_id: str
    site: str
    address: str
    request_id: str
    state: ServerState


def image(attributes: Mapping[str, Any] | None) -> Image | None:
    """An image in a stream's record; None where there was no item."""
    if not attributes:
        return None
    item = ServerItem()
    item.deserialize(dict(attributes))
    return Image(item.pk, item.customer_id, item.site, item.address, item.request_id, _state(item))


def _state(item: ServerItem) -> ServerState:
    entries = sorted((_entry(text) for text in item.nonces.as_dict().values()), key=lambda entry: entry.seq)
    return ServerState(
        gen=int(item.gen),
        seq=int(item.seq),
        held=item.held,
        report=item.report,
        nonces=tuple(entries),
        activations=tuple(item.activations or ()),
        heals=tuple(_time(at) for at in item.heals or ()),
        suspected_at=_time(item.suspected_at) if item.suspected_at else None,
        validated_at=_time(item.validated_at),
        public_key=item.public_key,
        databases=item.databases or {},
    )


def _slot(seq: int) -> str:
    return str(seq % REMEMBERED_NONCES)


def _text(entry: Consumed) -> str:
    return f"{entry.seq} {_epoch(entry.at):x} {entry.nonce_hash}"


def _entry(text: str) -> Consumed:
    seq, at, hashed = text.split(" ")
    return Consumed(int(seq), hashed, _time(int(at, 16)))


def _epoch(at: datetime) -> int:
    return int(at.timestamp())


def _time(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)
