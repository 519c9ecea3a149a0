"""Cursors lead back to their place, in their own list only."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from licensing.rules.cursors import CursorError, read, write

LIST = ["cus_1", "server."]


@given(st.lists(st.text(max_size=20), min_size=1, max_size=3), st.lists(st.text(max_size=20), max_size=4))
def test_a_cursor_leads_back(position: list[str], list_of: list[str]) -> None:
    assert read(write(position, list_of), list_of) == position


@given(st.text(max_size=600))
def test_nothing_else_is_a_cursor(text: str) -> None:
    with pytest.raises(CursorError):
        read(text, LIST)


@pytest.mark.parametrize("other", [["cus_2", "server."], ["cus_1", ""], ["cus_1"], []])
def test_a_cursor_of_another_list_is_refused(other: list[str]) -> None:
    with pytest.raises(CursorError):
        read(write(["2026-11-22", "x"], LIST), other)


@pytest.mark.parametrize("position", [["2026-11-23", "x"], ["2026-11-22"], [1, 2], ["a", None], "ab", {"a": 1}, None])
def test_an_altered_cursor_is_refused(position: object) -> None:
    text = write(["2026-11-22", "x"], LIST)
    check = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))[0]
    forged = [check, *position] if isinstance(position, list) else position
    with pytest.raises(CursorError):
        read(base64.urlsafe_b64encode(json.dumps(forged).encode()).decode().rstrip("="), LIST)
