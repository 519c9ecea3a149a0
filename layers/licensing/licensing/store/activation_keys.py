"""Activation keys and companies: a partition of its own for each customer, so that the boundary between tenants is the key.

A key with all its companies is one item, so that importing it is one write, however many companies it names.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.transactions import TransactWrite

from licensing.rules.activation_keys import Key
from licensing.store import tables
from licensing.store.attributes import CompressedJson
from licensing.store.tables import Also, Expiring, Item


class CurrentKeyItem(Item, discriminator="current_key"):
    """The key that a customer imported last."""

    version = NumberAttribute()
    serial = NumberAttribute()
    imported_at = NumberAttribute()
    body = CompressedJson(Key)


class IssuedKeyItem(Item, discriminator="issued_key"):
    """A key that the vendor issued, with its signed text."""

    body = CompressedJson(Key)
    token = CompressedJson(str)
    #: The key that renews this one, and when somebody was told of it.
    renewed_by = UnicodeAttribute(null=True)
    told_at = NumberAttribute(null=True)


class ListedKeyItem(Item, discriminator="listed_key"):
    """A key in the list of all, and by its id: where it is kept."""

    customer_id = UnicodeAttribute()
    serial = NumberAttribute()


class PreviewItem(Expiring, discriminator="key_preview"):
    """A key that somebody looked at, to be confirmed."""

    token = CompressedJson(str)
    #: The version of the current key that it was compared with.
    version = NumberAttribute()


class CompanyItem(Item, discriminator="company"):
    """A company that was set up."""

    name = UnicodeAttribute()


class CompaniesItem(Item, discriminator="companies"):
    """How many companies were set up, so that the quota is a condition."""

    how_many = NumberAttribute()


class MemberItem(Item, discriminator="group_member"):
    """Which customer's keys name a company, so that no two do. It counts while that customer's newest key names it."""

    customer_id = UnicodeAttribute()
    at = NumberAttribute()


class DueItem(Expiring, discriminator="key_due"):
    """By last day: which key of which customer ends then."""

    key_id = UnicodeAttribute()


@dataclass(frozen=True, slots=True)
class Imported:
    """A customer's current key: its version rises with each import."""

    key: Key
    imported_at: int
    version: int


@dataclass(frozen=True, slots=True)
class Issued:
    """A key that was issued, and what became of its renewal."""

    key: Key
    token: str
    renewed_by: str | None
    told_at: int | None


def _partition(customer_id: str) -> str:
    return f"KEYS#{customer_id}"


def current(customer_id: str) -> Imported | None:
    """The customer's current key, strongly consistent."""
    item = tables.find(CurrentKeyItem, _partition(customer_id), "CURRENT")
    return Imported(item.body, int(item.imported_at), int(item.version)) if item else None


def put_current(key: Key, version: int, now: int, also: Also) -> None:
    """Make a key the current one: all its companies with one write. ``version`` is that of the one it replaces.

    Raises ConditionFailed if another was imported since, or a newer one was.
    """
    item = CurrentKeyItem(
        _partition(key.customer_id), "CURRENT", version=version + 1, serial=key.serial, imported_at=now, body=key
    )
    unchanged: Any = CurrentKeyItem.pk.does_not_exist()
    if version:
        unchanged = (CurrentKeyItem.version == version) & (CurrentKeyItem.serial <= key.serial)

    def fill(transaction: TransactWrite) -> None:
        transaction.save(item, condition=unchanged)
        also(transaction)

    tables.transact(fill)


# ── issued keys ──


def _serial(serial: int) -> str:
    return f"ISSUED#{serial:08d}"


def issued(customer_id: str) -> list[Issued]:
    """All keys issued to a customer, the oldest first."""
    begins = Item.sk.startswith("ISSUED#")
    found: Any = tables.read(lambda: list(Item.query(_partition(customer_id), begins, consistent_read=True)))
    return [_issued(item) for item in found]


def _issued(item: IssuedKeyItem) -> Issued:
    return Issued(item.body, item.token, item.renewed_by, int(item.told_at) if item.told_at else None)


def put_issued(key: Key, token: str, renews: Key | None, due_until: int, also: Also) -> None:
    """Keep an issued key, and when it is due; ``renews`` is marked as renewed by it.

    Raises ConditionFailed if the serial was given meanwhile, or the other has been renewed already.
    """

    def fill(transaction: TransactWrite) -> None:
        partition = _partition(key.customer_id)
        item = IssuedKeyItem(partition, _serial(key.serial), body=key, token=token)
        transaction.save(item, condition=IssuedKeyItem.pk.does_not_exist())
        listed = ListedKeyItem(LIST, key.key_id, customer_id=key.customer_id, serial=key.serial)
        transaction.save(listed)
        transaction.save(DueItem(_due(key.last_day), key.customer_id, key_id=key.key_id, expires_at=due_until))
        also(transaction)
        if renews:
            transaction.update(
                IssuedKeyItem(partition, _serial(renews.serial)),
                actions=[IssuedKeyItem.renewed_by.set(key.key_id)],
                condition=IssuedKeyItem.pk.exists() & IssuedKeyItem.renewed_by.does_not_exist(),
            )

    tables.transact(fill)


#: The partition of the list of all keys, in the order of their ids, which is that of time.
LIST = "KEYS"


def listed(position: dict[str, Any] | None, limit: int) -> tuple[list[Issued], dict[str, Any] | None]:
    """Some of all keys, the newest first, and the position after them."""

    def query() -> tuple[list[tuple[str, str]], dict[str, Any] | None]:
        found: Any = ListedKeyItem.query(LIST, limit=limit, last_evaluated_key=position, scan_index_forward=False)
        places = [(_partition(each.customer_id), _serial(int(each.serial))) for each in found]
        return places, found.last_evaluated_key

    places, after = tables.read(query)
    kept = tables.read(lambda: {(each.pk, each.sk): each for each in IssuedKeyItem.batch_get(places)})
    return [_issued(kept[place]) for place in places if place in kept], after


def find(key_id: str) -> Issued | None:
    """A key by its id, whosever it is."""
    item = tables.find(ListedKeyItem, LIST, key_id)
    kept = tables.find(IssuedKeyItem, _partition(item.customer_id), _serial(int(item.serial))) if item else None
    return _issued(kept) if kept else None


def set_told(key: Key, now: int) -> None:
    """Remember that the renewal of a key was sent."""
    item = IssuedKeyItem(_partition(key.customer_id), _serial(key.serial))
    tables.write(lambda: item.update(actions=[IssuedKeyItem.told_at.set(now)], condition=IssuedKeyItem.pk.exists()))


def due(day: date) -> list[tuple[str, str]]:
    """The customers with a key that ends on a day, and its id."""
    found: Any = tables.read(lambda: list(Item.query(_due(day), consistent_read=True)))
    return [(item.sk, item.key_id) for item in found]


def _due(day: date) -> str:
    return f"KEYDUE#{day.isoformat()}"


# ── groups ──


@dataclass(frozen=True, slots=True)
class Member:
    """A company in a customer's group, since a time (epoch seconds)."""

    customer_id: str
    at: int


_PART = 100


def _member(tax_id: str) -> tuple[str, str]:
    return f"KEYS#MEMBER#{tax_id}", "MEMBER"


def claim_members(customer_id: str, tax_ids: Iterable[str], now: int) -> list[str]:
    """Take companies into a customer's group; returns those that are in another. Of a part of a hundred all are taken or none."""
    taken: list[str] = []
    mine = MemberItem.pk.does_not_exist() | (MemberItem.customer_id == customer_id)
    companies = list(tax_ids)
    for start in range(0, len(companies), _PART):
        part = companies[start : start + _PART]

        def fill(transaction: TransactWrite, part: list[str] = part) -> None:
            for tax_id in part:
                item = MemberItem(*_member(tax_id), customer_id=customer_id, at=now)
                transaction.save(item, condition=mine)

        try:
            tables.transact(fill)
        except tables.ConditionFailed as error:
            taken += [part[place] for place in sorted(error.failed)]
    return taken


def member(tax_id: str) -> Member | None:
    """Whose group a company is in, as far as is known."""
    item = tables.find(MemberItem, *_member(tax_id))
    return Member(item.customer_id, int(item.at)) if item else None


def take_member_over(tax_id: str, known: Member, customer_id: str, now: int) -> None:
    """Take a company over from a group that does not name it any more. Raises ConditionFailed where that changed."""
    item = MemberItem(*_member(tax_id), customer_id=customer_id, at=now)
    unchanged = (MemberItem.customer_id == known.customer_id) & (MemberItem.at == known.at)
    tables.write(lambda: item.save(condition=unchanged))


# ── previews ──


def put_preview(customer_id: str, preview_id: str, token: str, version: int, until: datetime) -> None:
    """Keep a key that somebody looks at."""
    tables.write(
        PreviewItem(
            _partition(customer_id),
            f"PREVIEW#{preview_id}",
            token=token,
            version=version,
            expires_at=int(until.timestamp()),
        ).save
    )


def get_preview(customer_id: str, preview_id: str, now: datetime) -> tuple[str, int] | None:
    """The key that somebody looked at, and the version that it was compared with."""
    item = tables.find(PreviewItem, _partition(customer_id), f"PREVIEW#{preview_id}")
    if item is None or item.expires_at <= now.timestamp():
        return None
    return item.token, int(item.version)


# ── companies ──


def companies(customer_id: str) -> dict[str, str]:
    """The companies that were set up: names by tax id."""
    begins = Item.sk.startswith("COMPANY#")
    found: Any = tables.read(lambda: list(Item.query(_partition(customer_id), begins, consistent_read=True)))
    return {item.sk.removeprefix("COMPANY#"): item.name for item in found}


#: The place of this condition of ``add_company`` in a transaction's failure: puts come first.
COMPANY_THERE = 0


def has_company(customer_id: str, tax_id: str) -> bool:
    """Whether a company was set up."""
    return tables.find(CompanyItem, _partition(customer_id), f"COMPANY#{tax_id}") is not None


def add_company(customer_id: str, tax_id: str, name: str, limit: int, also: Also) -> None:
    """Set up a company, if there is room. Raises ConditionFailed, with COMPANY_THERE if it was set up before."""

    def fill(transaction: TransactWrite) -> None:
        company = CompanyItem(_partition(customer_id), f"COMPANY#{tax_id}", name=name)
        transaction.save(company, condition=CompanyItem.pk.does_not_exist())
        also(transaction)
        room = CompaniesItem.how_many < limit
        if limit > 0:
            room |= CompaniesItem.pk.does_not_exist()
        transaction.update(
            CompaniesItem(_partition(customer_id), "COMPANIES"),
            actions=[CompaniesItem.how_many.add(1), CompaniesItem.kind.set(CompaniesItem)],
            condition=room,
        )

    tables.transact(fill)


def rename_company(customer_id: str, tax_id: str, name: str, also: Also) -> None:
    """Change a company's name. Raises ConditionFailed where there is none."""

    def fill(transaction: TransactWrite) -> None:
        also(transaction)
        item = CompanyItem(_partition(customer_id), f"COMPANY#{tax_id}")
        transaction.update(item, actions=[CompanyItem.name.set(name)], condition=CompanyItem.pk.exists())

    tables.transact(fill)


def remove_company(customer_id: str, tax_id: str, also: Also) -> None:
    """Take a company away, and make room. Raises ConditionFailed where there is none."""

    def fill(transaction: TransactWrite) -> None:
        there = CompanyItem.pk.exists()
        transaction.delete(CompanyItem(_partition(customer_id), f"COMPANY#{tax_id}"), condition=there)
        also(transaction)
        transaction.update(
            CompaniesItem(_partition(customer_id), "COMPANIES"),
            actions=[CompaniesItem.how_many.add(-1)],
            condition=CompaniesItem.how_many > 0,
        )

    tables.transact(fill)
