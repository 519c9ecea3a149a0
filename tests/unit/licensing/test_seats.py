"""Concurrent seats: what one segment decides, and how quotas move (C2-C6, C13, F1)."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from licensing.rules import seats
from licensing.rules.seats import Ask, Pool, SeatId, Segment, Who

NOW = 1_800_000_000
POOL = Pool("pool_1", "cus_1", "erp", 10, {"IT00743110157": "Officine"}, "Europe/Rome", last_day=date(2027, 1, 31))


def ask(n: int, module: str = "billing", instance: str = "1", until: int = NOW + 600) -> tuple[str, Ask]:
    who = Who(f"user{n}", f"PC-{n}", "local", f"U{n}")
    return seats.station(who), Ask(who, "c", module, seats.instance(module, instance), until)


def seated(segment: Segment, *numbers: int, now: int = NOW) -> Segment:
    for n in numbers:
        outcome = seats.lease(segment, *ask(n), now)
        assert outcome is not None
        segment = replace(outcome.segment, version=segment.version + 1)
    return segment


# ── one segment ──


def test_a_full_segment_seats_nobody_but_who_is_there() -> None:
    full = seated(Segment(0, 0, quota=2), 1, 2)
    assert seats.lease(full, *ask(3), NOW) is None
    again = seats.lease(full, *ask(2), NOW)
    assert again is not None
    assert not again.new


def test_a_lapsed_seat_is_free_in_the_second_in_which_it_ends() -> None:
    full = seated(Segment(0, 0, quota=1), 1)
    assert seats.lease(full, *ask(2), NOW + 599) is None
    assert seats.lease(full, *ask(2), NOW + 600) is not None


def test_who_comes_back_after_the_lease_gets_another_generation() -> None:
    segment = seated(Segment(0, 0, quota=1), 1)
    first = segment.entries[ask(1)[0]].generation
    later = seats.lease(segment, *ask(1, until=NOW + 2000), NOW + 700)
    assert later is not None
    assert later.new
    assert later.entry.generation > first


def test_a_lease_is_never_shortened_by_a_module_that_joins() -> None:
    segment = seated(Segment(0, 0, quota=1), 1)
    joined = seats.lease(segment, *ask(1, "stock", until=NOW + 10), NOW)
    assert joined is not None
    assert joined.entry.until == NOW + 600


def test_modules_beyond_the_limit_give_way_and_the_seat_stays() -> None:
    segment = Segment(0, 0, quota=1)
    for n in range(seats.MOST_INSTANCES + 5):
        outcome = seats.lease(segment, *ask(1, instance=str(n), until=NOW + 600 + n), NOW)
        assert outcome is not None
        segment = outcome.segment
    (entry,) = segment.entries.values()
    assert len(entry.instances) == seats.MOST_INSTANCES
    assert seats.instance("billing", "0") not in entry.instances


def test_a_seat_is_closed_by_its_own_generation_only() -> None:
    segment = seated(Segment(0, 0, quota=1), 1)
    station = ask(1)[0]
    assert seats.close(segment, station, 99, None, NOW) is None
    closed = seats.close(segment, station, segment.entries[station].generation, None, NOW)
    assert closed is not None
    assert not closed.entries


def test_quota_is_given_away_only_where_nobody_sits_on_it() -> None:
    segment = seated(Segment(0, 0, quota=2), 1)
    given_away = seats.take_from(segment, NOW)
    assert given_away is not None
    assert given_away.quota == 1
    assert seats.take_from(given_away, NOW) is None


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["lease", "close", "wait", "renew", "give", "get"]), st.integers(0, 6), st.integers(1, 400)
    ),
    max_size=60,
)


@given(STEPS, st.integers(0, 5))
@settings(max_examples=300)
def test_whatever_happens_a_segment_never_holds_more_than_its_quota(steps: list[Step], quota: int) -> None:
    segment, now = Segment(0, 0, quota=quota), NOW
    for what, n, amount in steps:
        station = ask(n)[0]
        entry = segment.entries.get(station)
        after: Segment | None = None
        match what:
            case "lease":
                outcome = seats.lease(segment, *ask(n, until=now + amount), now)
                after = outcome.segment if outcome else None
                assert (outcome is None) == (
                    station not in segment.live(now) and len(segment.live(now)) >= segment.quota
                )
            case "close" if entry:
                after = seats.close(segment, station, entry.generation, None, now)
            case "renew" if entry and seats.holding(segment, station, entry.generation, now):
                after = seats.renew(segment, station, now + amount, now)
            case "give":
                after = seats.take_from(segment, now)
            case "get":
                after = replace(segment, quota=segment.quota + 1)
            case "wait":
                now += amount
        if after is not None:
            segment = replace(after, version=segment.version + 1)
        assert len(segment.live(now)) <= segment.quota
        generations = [each.generation for each in segment.entries.values()]
        assert len(set(generations)) == len(generations)


@given(st.lists(st.integers(0, 400), unique=True, max_size=12), st.integers(0, 4), st.integers(0, 6))
def test_dividing_a_segment_keeps_every_seat_and_the_sum(numbers: list[int], over: int, lapsed: int) -> None:
    segment = seated(Segment(0, 0, quota=len(numbers) + over), *numbers)
    gone = {key: replace(each, until=NOW) for key, each in list(segment.entries.items())[:lapsed]}
    segment = replace(segment, entries={**segment.entries, **gone})
    low, high = seats.split(segment, NOW)
    assert low.quota + high.quota == segment.quota
    assert {**low.entries, **high.entries} == segment.live(NOW)
    assert (low.index, high.index, low.bits, high.bits) == (0, 1, 1, 1)
    for part in (low, high):
        assert len(part.entries) <= part.quota
        assert all(seats.place(station, 1) == part.index for station in part.entries)


# ── the pool ──


@given(st.dictionaries(st.integers(0, 50), st.integers(0, 9), min_size=1, max_size=30), st.integers(0, 300))
def test_dealing_out_gives_all_and_the_smallest_first(quotas: dict[int, int], undealt: int) -> None:
    gains = seats.deal(quotas, undealt)
    assert sum(gains.values()) == undealt
    assert all(gain > 0 for gain in gains.values())
    after = {index: quota + gains.get(index, 0) for index, quota in quotas.items()}
    if gains:
        assert max(after[index] for index in gains) - min(after.values()) <= 1


@pytest.mark.parametrize(
    ("capacity", "segments"), [(0, 1), (1, 1), (8, 1), (9, 2), (10, 2), (100, 32), (1000, 256), (10_000, 2048)]
)
def test_a_segment_has_about_half_a_dozen_seats(capacity: int, segments: int) -> None:
    assert 1 << seats.bits_for(capacity) == segments


@given(st.integers(0, 10**6), st.integers(0, 12))
def test_a_station_s_segment_is_a_part_of_its_coarser_one(n: int, bits: int) -> None:
    station = ask(n)[0]
    assert seats.place(station, bits + 1) % (1 << bits) == seats.place(station, bits)


def test_stations_spread_evenly() -> None:
    counts = [0] * 64
    for n in range(6400):
        counts[seats.place(ask(n)[0], 6)] += 1
    assert min(counts) > 60
    assert max(counts) < 150


@given(st.sets(st.tuples(st.integers(0, 7), st.just(3)) | st.tuples(st.integers(0, 3), st.just(2))))
def test_what_is_missing_is_what_nothing_covers(present: set[tuple[int, int]]) -> None:
    segments = [Segment(index, bits) for index, bits in present]
    lacking = seats.missing(segments, 3)
    for index in range(8):
        covered = (index, 3) in present or (index & 3, 2) in present
        assert (index in lacking) != covered


def test_retry_after_is_when_the_first_lease_ends_and_within_a_minute() -> None:
    segment = seated(Segment(0, 0, quota=2), 1, 2)
    assert seats.retry_after([segment], NOW) == 60
    assert seats.retry_after([segment], NOW + 590) == 10
    assert seats.retry_after([Segment(0, 0)], NOW) == 60


# ── ids and secrets ──


@given(st.text("abcdefXYZ-_", min_size=16, max_size=16), st.integers(0, 2**40), st.booleans())
def test_a_seat_id_leads_back_to_its_seat_and_an_altered_one_nowhere(
    station: str, generation: int, support: bool
) -> None:
    seat = SeatId(station, generation, support)
    text = seats.seat_id("pool_1", "secret", seat)
    assert seats.read_seat_id(text, "pool_1", "secret") == seat
    assert seats.pool_of(text) == "pool_1"
    assert seats.read_seat_id(text, "pool_2", "secret") is None
    assert seats.read_seat_id(text, "pool_1", "other") is None
    for place in range(len(text)):
        altered = text[:place] + ("x" if text[place] != "x" else "y") + text[place + 1 :]
        assert seats.read_seat_id(altered, "pool_1", "secret") is None


@given(st.text(max_size=80))
def test_no_text_is_taken_for_a_seat_id(text: str) -> None:
    assert seats.read_seat_id(text, "pool_1", "secret") is None


def test_a_share_secret_opens_this_lease_only() -> None:
    segment = seated(Segment(0, 0, quota=2), 1, 2)
    station = ask(1)[0]
    secret = seats.share_secret("pool's", station, segment.entries[station].generation)
    assert seats.shares(secret, "pool's", segment, NOW) == station
    assert seats.shares(secret, "other", segment, NOW) is None
    assert seats.shares(secret, "pool's", segment, NOW + 600) is None
    assert seats.shares(ask(2)[0] + secret[16:], "pool's", segment, NOW) is None
    assert seats.shares("", "pool's", segment, NOW) is None


def test_a_browser_s_station_is_its_user_and_session_and_no_desktop_s() -> None:
    browser = Who("", "", "s1", "GF12")
    assert seats.station(browser) == seats.station(browser._replace(user_code="gf12"))
    assert seats.station(browser) != seats.station(browser._replace(session="s2"))
    assert seats.station(browser) != seats.station(Who("GF12", "x", "s1", ""))


# ── terms ──


def at(day: str, clock: str = "12:00") -> datetime:
    return datetime.fromisoformat(f"{day}T{clock}+01:00").astimezone(UTC)


def test_no_lease_outlives_the_last_day() -> None:
    assert POOL.lease_until(at("2027-01-31", "23:55")) == int(at("2027-02-01", "00:00").timestamp())
    assert POOL.borrowed_until(at("2027-01-30"), 5) == int(at("2027-02-01", "00:00").timestamp())
    assert POOL.phase(at("2027-01-31", "23:59")) == "in_force"
    assert POOL.phase(at("2027-02-01", "00:00")) == "ended"


def test_the_days_left_are_told_from_thirty_days_on() -> None:
    assert POOL.days_left(at("2026-12-31")) is None
    assert POOL.days_left(at("2027-01-01")) == 30
    assert POOL.days_left(at("2027-01-31")) == 0


@pytest.mark.parametrize(
    ("who", "is_support"),
    [
        (Who("admin", "PC", "local", "SUP01"), True),
        (Who("admin", "PC", "local", "sup-anna"), True),
        (Who("helpdesk", "PC", "local", ""), True),
        (Who("helpdesk", "PC", "local", "GF12"), False),
        (Who("helpdesk2", "PC", "local", ""), False),
    ],
)
def test_support_users_are_named_or_known_by_prefix(who: Who, is_support: bool) -> None:
    assert replace(POOL, support=("sup*", "Helpdesk")).is_support(who) == is_support
