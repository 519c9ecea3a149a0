"""Limits on tries: sliding windows (api.md, "Anyone")."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from licensing.rules.limits import Limit, admit

THREE_AN_HOUR = Limit("test", 3, timedelta(hours=1))


def test_the_fourth_within_an_hour_waits_for_the_first_to_age() -> None:
    assert admit(THREE_AN_HOUR, [0, 10, 20], 100) == ([0, 10, 20], 3500)
    assert admit(THREE_AN_HOUR, [0, 10, 20], 3600) == ([10, 20, 3600], None)


@given(st.lists(st.integers(0, 20_000), max_size=60).map(sorted))
def test_no_hour_ever_holds_more_than_three(moments: list[int]) -> None:
    past: list[int] = []
    admitted = []
    for moment in moments:
        past, wait = admit(THREE_AN_HOUR, past, moment)
        if wait is None:
            admitted.append(moment)
        else:
            assert admit(THREE_AN_HOUR, past, moment + wait)[1] is None
            assert admit(THREE_AN_HOUR, past, moment + wait - 1)[1] is not None
    for moment in admitted:
        assert sum(moment <= other < moment + 3600 for other in admitted) <= 3
