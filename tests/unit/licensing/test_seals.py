"""The seal of a day: RFC 9162's tree, and every alteration named."""

import hashlib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from licensing.rules.seals import Entry, Personal, chained, differences, last_sealable, leaf, personal_hash, root

from tests.unit.licensing.test_retention import utc

PERSON = Personal("Giulia", "192.0.2.1", "5a17")


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_the_tree_is_that_of_rfc_9162() -> None:
    a, b, c, d, e = (sha(bytes([n])) for n in range(5))
    ab, cd = sha(b"\x01" + a + b), sha(b"\x01" + c + d)
    assert root([a.hex()]) == a.hex()
    assert root([a.hex(), b.hex(), c.hex()]) == sha(b"\x01" + ab + c).hex()
    assert root([each.hex() for each in (a, b, c, d, e)]) == sha(b"\x01" + sha(b"\x01" + ab + cd) + e).hex()


def test_no_two_lists_of_leaves_share_a_root() -> None:
    """As they would where a lonely leaf were doubled, or a node taken for a leaf."""
    a, b, c = (sha(bytes([n])).hex() for n in range(3))
    assert len({root(each) for each in ([a, b, c], [a, b, c, c], [a, c, b], [root([a, b]), c], [a, b])}) == 4
    assert root([root([a, b]), c]) == root([a, b, c]), "leaves are hashes already, told from nodes by their own prefix"


def entry(n: int, person: Personal | None = PERSON) -> Entry:
    facts = {"action": "server.validated", "subject_id": f"ins_{n}", "details": {"seq": n}}
    return Entry(f"10:00:{n:02d}#op_{n:04d}#primary", f"op_{n:04d}", facts, person, person and personal_hash(person))


entries = st.integers(1, 40).map(lambda count: [entry(n) for n in range(count)])


def sealed(day: list[Entry]) -> dict[str, str]:
    return {each.place: leaf(each) for each in day}


@given(entries)
def test_an_untouched_day_fits_its_seal(day: list[Entry]) -> None:
    assert list(differences("d", sealed(day), day)) == []


ALTERATIONS = {
    "action": lambda each: replace(each, facts={**each.facts, "action": "server.released"}),
    "details": lambda each: replace(each, facts={**each.facts, "details": {"seq": 99}}),
    "more": lambda each: replace(each, facts={**each.facts, "added": 1}),
    "name": lambda each: replace(each, personal=replace(PERSON, name="Marco")),
    "address": lambda each: replace(each, personal=replace(PERSON, address="192.0.2.2")),
    "person and hash": lambda each: entry(int(each.operation_id[3:]), replace(PERSON, name="Marco")),
}


@given(entries, st.data())
def test_whatever_is_altered_is_named(day: list[Entry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(day) - 1))
    alter = ALTERATIONS[data.draw(st.sampled_from(sorted(ALTERATIONS)))]
    changed = [*day[:at], alter(day[at]), *day[at + 1 :]]
    assert [(each.fault, each.operation_id) for each in differences("d", sealed(day), changed)] == [
        ("altered", day[at].operation_id)
    ]


@given(entries, st.data())
def test_what_is_removed_and_what_is_added_is_named(day: list[Entry], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(day) - 1))
    less = [each for each in day if each is not day[at]]
    assert [(each.fault, each.operation_id) for each in differences("d", sealed(day), less)] == [
        ("removed", day[at].operation_id)
    ]
    assert [(each.fault, each.operation_id) for each in differences("d", sealed(less), day)] == [
        ("added", day[at].operation_id)
    ]


def test_erasing_a_person_alters_nothing() -> None:
    day = [entry(1), entry(2)]
    assert list(differences("d", sealed(day), [replace(day[0], personal=None), day[1]])) == []


def test_a_person_s_hash_says_nothing_without_its_salt() -> None:
    assert personal_hash(PERSON) != personal_hash(replace(PERSON, salt="5a18"))


def test_a_seal_names_the_one_before_it() -> None:
    claims = {"day": "2026-11-22", "previous_day": "2026-11-20", "previous": "abc"}
    assert chained("2026-11-22", claims, ("2026-11-20", "abc"))
    assert not chained("2026-11-22", claims, None)
    assert not chained("2026-11-22", claims, ("2026-11-20", "abd"))
    assert not chained("2026-11-23", claims, ("2026-11-20", "abc"))


def test_a_day_is_sealed_48_hours_after_its_end() -> None:
    assert str(last_sealable(utc("2026-11-25T00:00:00"))) == "2026-11-22"
    assert str(last_sealable(utc("2026-11-24T23:59:59"))) == "2026-11-21"
