"""Use over time and refusals in vain, from intervals (C8, F5)."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from licensing.rules import seat_use, seats
from licensing.rules.seat_use import SLOT, Interval, Refusal
from licensing.rules.seats import Entry, Instance, Segment, Who

WHO = Who("giulia", "PC-1", "local", "")
T0 = 1_800_000_000

INTERVALS = st.lists(
    st.builds(
        lambda n, since, length: Interval(f"s{n}", n, T0 + since, T0 + since + length),
        st.integers(0, 10**6),
        st.integers(0, 3000),
        st.integers(0, 1500),
    ),
    max_size=25,
    unique_by=lambda each: each.generation,
)


@given(INTERVALS)
def test_the_most_in_a_slot_is_what_counting_second_by_second_finds(intervals: list[Interval]) -> None:
    end = T0 + 5000
    found = seat_use.most(intervals, T0, end)
    counts = [0] * 5000
    for each in intervals:
        for second in range(each.since - T0, min(each.end - T0, 5000)):
            counts[second] += 1
    for slot, seats_in_use in found.items():
        assert seats_in_use == max(counts[max(0, slot - T0) : slot - T0 + SLOT])


@given(INTERVALS, st.randoms(use_true_random=False))
def test_order_and_repetition_say_nothing(intervals: list[Interval], shuffle: random.Random) -> None:
    doubled = [*intervals, *intervals[::2]]
    shuffle.shuffle(doubled)
    assert seat_use.most(doubled, T0, T0 + 5000) == seat_use.most(intervals, T0, T0 + 5000)


def entry(generation: int, until: int = T0 + 600) -> Entry:
    return Entry(generation, T0, until, WHO, "c", {"i": Instance("m", until)})


def test_a_seat_that_is_gone_ended_when_it_was_released_or_lapsed() -> None:
    before = Segment(0, 0, quota=2, entries={"a": entry(1), "b": entry(2, T0 + 100)})
    after = replace(before, entries={})
    assert [(each.station, each.end) for each in seat_use.gone(before, after, T0 + 300)] == [
        ("a", T0 + 300),
        ("b", T0 + 100),
    ]


def test_a_new_generation_of_a_station_is_another_seat() -> None:
    before = Segment(0, 0, quota=1, entries={"a": entry(1, T0 + 100)})
    after = replace(before, entries={"a": entry(5)})
    assert [each.entry.generation for each in seat_use.gone(before, after, T0 + 200)] == [1]
    assert [each.generation for _, each in seat_use.began(before, after)] == [5]


def test_what_moves_to_another_segment_goes_on() -> None:
    stations = [seats.station(Who(f"u{n}", "PC", "local", "")) for n in range(8)]
    before = Segment(0, 0, quota=8, entries={each: entry(n) for n, each in enumerate(stations)})
    stays, moves = seats.split(before, T0)
    assert stays.entries
    assert moves.entries
    assert seat_use.gone(before, stays, T0) == []


def test_refusals_are_in_vain_unless_a_seat_followed_soon() -> None:
    def refusal(station: str, *times: int) -> Refusal:
        return Refusal(station, WHO, "c", times, 3, 3)

    refusals = seat_use.fold([refusal("a", T0), refusal("a", T0 + 50), refusal("b", T0), refusal("a", T0)])
    assert {each.station: each.times for each in refusals} == {"a": (T0, T0 + 50), "b": (T0,)}
    got = [Interval("a", 7, T0 + 320, T0 + 400), Interval("b", 8, T0 - 10, T0 - 1)]
    assert {each.station: each.times for each in seat_use.in_vain(refusals, got)} == {"a": (T0,), "b": (T0,)}
