"""The seals of the operation log: one partition per customer with its head, and a seal with its leaves for each day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from pynamodb.attributes import BooleanAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.expressions.update import Action
from pynamodb.transactions import TransactWrite

from licensing.rules.seals import is_day
from licensing.store import tables
from licensing.store.attributes import CompressedJson
from licensing.store.operations import Record

#: About fifty bytes a leaf, deflated; an item may have 400 KB.
_LEAVES_PER_ITEM = 5000


class HeadItem(Record):
    """How far a customer's log is sealed, and cut: days (ISO), each inclusive."""

    sealed_through = UnicodeAttribute()
    #: The newest seal: its day and digest.
    newest_day = UnicodeAttribute(null=True)
    newest = UnicodeAttribute(null=True)
    cut_through = UnicodeAttribute(null=True)


class SealItem(Record):
    """The seal of a day, a JWS; once the day is cut, the tombstone too."""

    seal = UnicodeAttribute()
    entries = NumberAttribute()
    archived = BooleanAttribute(null=True)
    #: How many entries there were when its cutting began.
    found = NumberAttribute(null=True)
    tombstone = UnicodeAttribute(null=True)


class LeavesItem(Record):
    """Leaves of a sealed day, place to hash: what names an entry that does not fit the root."""

    leaves = CompressedJson(Mapping[str, str])


@dataclass(frozen=True, slots=True)
class Head:
    """How far a customer's log is sealed, and cut. None: not yet."""

    sealed_through: date | None = None
    newest: tuple[str, str] | None = None
    cut_through: date | None = None


@dataclass(frozen=True, slots=True)
class Seal:
    """The seal of a day (ISO), how many entries it holds, and what became of the day."""

    day: str
    jws: str
    count: int
    archived: bool = False
    found: int | None = None
    tombstone: str | None = None


def head(customer_id: str) -> Head:
    """The head, strongly consistent."""
    item = tables.find(HeadItem, _partition(customer_id), "HEAD")
    if item is None:
        return Head()
    newest = (item.newest_day, item.newest) if item.newest_day and item.newest else None
    return Head(date.fromisoformat(item.sealed_through), newest, _day(item.cut_through))


def seals(customer_id: str, first: date | None = None, last: date | None = None) -> list[Seal]:
    """The seals of some days, oldest first."""
    between = SealItem.sk.between(f"SEAL#{first or date.min}", f"SEAL#{last or date.max}")
    items = tables.read(lambda: list(SealItem.query(_partition(customer_id), between, consistent_read=True)))
    return [_seal(item) for item in items if is_day(item.sk.partition("#")[2])]


def get(customer_id: str, day: date) -> Seal | None:
    """The seal of a day."""
    item = tables.find(SealItem, _partition(customer_id), f"SEAL#{day}")
    return _seal(item) if item else None


def leaves(customer_id: str, day: date) -> dict[str, str]:
    """The leaves of a sealed day."""
    found = tables.read(lambda: list(LeavesItem.query(_partition(customer_id), _leaves_of(day), consistent_read=True)))
    return {place: leaf for item in found for place, leaf in item.leaves.items()}


def put(customer_id: str, day: date, jws: str, leaves: Mapping[str, str]) -> None:
    """Seal a day, its last leaves with the seal. Raises ConditionFailed, and writes no leaf, where it is sealed already."""
    ordered = sorted(leaves.items())
    parts = [
        LeavesItem(
            _partition(customer_id),
            f"LEAVES#{day}#{start:08d}",
            leaves=dict(ordered[start : start + _LEAVES_PER_ITEM]),
        )
        for start in range(0, len(ordered), _LEAVES_PER_ITEM)
    ]
    for each in parts[:-1]:
        tables.transact(partial(_leaves_in, item=each, customer_id=customer_id, day=day))
    seal = SealItem(_partition(customer_id), f"SEAL#{day}", seal=jws, entries=len(leaves))

    def fill(transaction: TransactWrite) -> None:
        transaction.save(seal, condition=SealItem.pk.does_not_exist())
        transaction.save(parts[-1])

    tables.transact(fill)


def _leaves_in(transaction: TransactWrite, item: LeavesItem, customer_id: str, day: date) -> None:
    unsealed = SealItem.pk.does_not_exist()
    transaction.condition_check(SealItem, _partition(customer_id), f"SEAL#{day}", condition=unsealed)
    transaction.save(item)


def restore(customer_id: str, day: date, jws: str, count: int) -> None:
    """Put a seal back that is gone, as its copy has it; leaves stay as they are. Raises ConditionFailed where there is one."""
    seal = SealItem(_partition(customer_id), f"SEAL#{day}", seal=jws, entries=count)
    tables.write(lambda: seal.save(condition=SealItem.pk.does_not_exist()))


def move_head(customer_id: str, before: Head, sealed_through: date, newest: tuple[str, str] | None) -> None:
    """Note how far the log is sealed. Raises ConditionFailed if somebody else has moved it."""
    item = HeadItem(_partition(customer_id), "HEAD")
    actions: list[Action] = [HeadItem.sealed_through.set(str(sealed_through))]
    if newest:
        actions += [HeadItem.newest_day.set(newest[0]), HeadItem.newest.set(newest[1])]
    was = before.sealed_through
    unmoved = HeadItem.sealed_through == str(was) if was else HeadItem.pk.does_not_exist()
    tables.write(lambda: item.update(actions=actions, condition=unmoved))


def mark_archived(customer_id: str, day: date) -> None:
    """Note that a day's operations are in the archive, all of them."""
    item = SealItem(_partition(customer_id), f"SEAL#{day}")
    tables.write(lambda: item.update(actions=[SealItem.archived.set(True)], condition=SealItem.pk.exists()))


def note_found(customer_id: str, day: date, count: int) -> int:
    """Note how many entries a day has, before the first is deleted; returns what was noted first."""
    item = SealItem(_partition(customer_id), f"SEAL#{day}")
    unnoted = SealItem.pk.exists() & SealItem.found.does_not_exist()
    try:
        tables.write(lambda: item.update(actions=[SealItem.found.set(count)], condition=unnoted))
    except tables.ConditionFailed:
        noted = tables.find(SealItem, _partition(customer_id), f"SEAL#{day}")
        return count if noted is None or noted.found is None else int(noted.found)
    return count


def cut_in(transaction: TransactWrite, customer_id: str, day: date, tombstone: str) -> None:
    """Leave a tombstone at a sealed day, once, as part of a transaction."""
    transaction.update(
        SealItem(_partition(customer_id), f"SEAL#{day}"),
        actions=[SealItem.tombstone.set(tombstone)],
        condition=SealItem.pk.exists() & SealItem.tombstone.does_not_exist(),
    )
    transaction.update(
        HeadItem(_partition(customer_id), "HEAD"),
        actions=[HeadItem.cut_through.set(str(day))],
        condition=HeadItem.pk.exists(),
    )


def delete_leaves(customer_id: str, day: date) -> None:
    """Delete the leaves of a day that is being cut."""

    def run() -> None:
        with LeavesItem.batch_write() as batch:
            for item in LeavesItem.query(_partition(customer_id), _leaves_of(day), attributes_to_get=["pk", "sk"]):
                batch.delete(item)

    tables.write(run)


def _partition(customer_id: str) -> str:
    return f"LOG#{customer_id}"


def _leaves_of(day: date) -> Any:
    return LeavesItem.sk.startswith(f"LEAVES#{day}#")


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _count(number: float | None) -> int | None:
    return None if number is None else int(number)


def _seal(item: SealItem) -> Seal:
    return Seal(
        item.sk.partition("#")[2], item.seal, int(item.entries), bool(item.archived), _count(item.found), item.tombstone
    )
