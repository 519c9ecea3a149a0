"""Where a list goes on: positions in a table, as clients bring them back."""

import base64
import json
from typing import Any

import pytest
from licensing import cursors
from licensing.errors import InvalidRequest


def forged(position: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def test_a_cursor_leads_back() -> None:
    position = {"pk": {"S": "CUSTOMERS"}, "sk": {"S": "LISTED#acme#cus_1"}}
    assert cursors.read(cursors.text(position), "CUSTOMERS") == position
    assert cursors.read(None, "CUSTOMERS") is cursors.text(None) is None


@pytest.mark.parametrize(
    "position",
    [
        {"pk": {"S": "CUSTOMERS"}},
        {"pk": {"S": "res_1"}, "sk": {"S": "x"}},
        {"pk": {"S": "CUSTOMERS"}, "sk": {"S": ""}},
        {"pk": {"S": "CUSTOMERS"}, "sk": {"S": "x" * 1025}},
        {"pk": {"S": "CUSTOMERS"}, "sk": {"N": "1"}},
        {"pk": {"S": "CUSTOMERS"}, "sk": "x"},
        {"pk": {"S": "CUSTOMERS"}, "place": {"S": "LISTED#x"}},
        {"pk": {"S": "CUSTOMERS"}, "sk": {"S": "LISTED#x"}, "other": {"S": "x"}},
        {"pk": {"S": "CUSTOMERS"}, "sk": {"S": "outside what is listed"}},
        [],
        "x",
    ],
)
def test_what_dynamodb_would_refuse_is_refused_before(position: Any) -> None:
    with pytest.raises(InvalidRequest):
        cursors.read(forged(position), "CUSTOMERS", "LISTED#")


@pytest.mark.parametrize("text", ["", "x", "ééé", "e30", "bnVsbA=="])
def test_nonsense_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidRequest):
        cursors.read(text, "CUSTOMERS")
