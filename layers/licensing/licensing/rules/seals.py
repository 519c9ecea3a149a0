"""The seal of a day (F6): a Merkle root over its entries, in a chain; what it holds, and what does not fit it.

The tree is that of RFC 9162 (section 2.1.1) over SHA-256. What an entry says of a person is a leaf's part by a salted hash
only: it can be erased, salt and all, and the seal still holds.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

#: A day is sealed so long after its end; what is delivered later than half of that goes into another day.
SEALED_AFTER = timedelta(hours=48)

Fault = Literal["altered", "removed", "added", "seal_altered", "seal_missing", "chain_broken", "head_behind"]


@dataclass(frozen=True, slots=True)
class Personal:
    """What an entry says of a person: name and IP address, with the salt of their hash."""

    name: str
    address: str
    salt: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it is kept: ``place`` is unique within its day and sorts by time; ``facts`` are sealed as they are.

    ``personal`` is None where there was none, or where it was erased.
    """

    place: str
    operation_id: str
    facts: Mapping[str, Any]
    personal: Personal | None = None
    personal_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit the seal of a day (ISO): what, and which entry, where one can be named."""

    day: str
    fault: Fault
    operation_id: str = ""


def personal_hash(personal: Personal) -> str:
    """The salted hash that stands for a personal part."""
    text = json.dumps([personal.salt, personal.name, personal.address], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def leaf(entry: Entry) -> str:
    """The hash (hex) that stands for an entry in its day's tree."""
    text = json.dumps([entry.place, dict(entry.facts), entry.personal_hash], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(b"\x00" + text.encode()).hexdigest()


def root(leaves: Sequence[str]) -> str:
    """The Merkle tree hash (hex) of leaves, in their order."""
    return _root([bytes.fromhex(each) for each in leaves]).hex()


def _root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1  # the largest power of two below their number
    return hashlib.sha256(b"\x01" + _root(leaves[:split]) + _root(leaves[split:])).digest()


def differences(day: str, sealed: Mapping[str, str], entries: Sequence[Entry]) -> Iterator[Finding]:
    """What was altered, removed or added since a day was sealed; ``sealed`` is place to leaf."""
    found = {entry.place: entry for entry in entries}
    for place, hashed in sorted(sealed.items()):
        entry = found.get(place)
        if entry is None:
            yield Finding(day, "removed", operation_of(place))
        elif leaf(entry) != hashed or (entry.personal and personal_hash(entry.personal) != entry.personal_hash):
            yield Finding(day, "altered", entry.operation_id)
    for place in sorted(found.keys() - sealed.keys()):
        yield Finding(day, "added", found[place].operation_id)


def place_of(sort_key: str, site: str) -> str:
    """An entry's place in its day."""
    return f"{sort_key}#{site}"


def operation_of(place: str) -> str:
    """The operation at a place."""
    return place.split("#")[1]


def is_day(text: str) -> bool:
    """Whether this is a day (ISO), as the key of a seal says it."""
    try:
        return str(date.fromisoformat(text)) == text
    except ValueError:
        return False


def last_sealable(now: datetime) -> date:
    """The last day (UTC) that ended at least 48 hours ago: nothing arrives in it any more."""
    return (now - SEALED_AFTER).astimezone(UTC).date() - timedelta(days=1)


def chained(day: str, claims: Mapping[str, Any], before: tuple[str, str] | None) -> bool:
    """Whether a seal names the one before it: ``before`` is that one's day and digest, None for the first."""
    return (claims.get("previous_day"), claims.get("previous")) == (before or (None, None)) and claims.get("day") == day


def digest(seal: str) -> str:
    """How the next seal names this one."""
    return hashlib.sha256(seal.encode()).hexdigest()
