"""What once broke a parser, replayed: a line of tests/corpus/parsers.jsonl each (docs/testing.md)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from license_manager import offline, proxies, trust
from licensing import contract, cursors, languages, order_files
from licensing.rules.tax_ids import normalize
from pydantic import TypeAdapter

from functions.read_operations import handler as read_operations

LINES = (Path(__file__).parents[1] / "corpus" / "parsers.jsonl").read_text(encoding="utf-8").splitlines()
NO_KEYS = trust.KeySet(1, {}, {}, {}, frozenset(), "")

PARSERS: dict[str, Callable[[Any], Any]] = {
    "tax id": normalize,
    "position": lambda text: cursors.read(text, "CUSTOMERS", "LISTED#"),
    "language": languages.negotiate,
    "accept": read_operations._accepted,
    "order file": order_files.parse,
    "day": TypeAdapter(contract.Day).validate_python,
    "moment": TypeAdapter(contract.Moment).validate_python,
    "flag": TypeAdapter(contract.Flag).validate_python,
    "license in a file": lambda text: trust.read_license(offline.read_file(text.encode())[0], NO_KEYS, "issuer"),
    "NO_PROXY": lambda text: proxies.excluded("a.example.org", 443, text),
}


@pytest.mark.parametrize("line", LINES)
def test_what_once_broke_a_parser_does_so_no_more(line: str) -> None:
    entry = json.loads(line)
    refused = ""
    try:
        found = PARSERS[entry["parser"]](entry["input"])
    except Exception as error:
        found, refused = None, type(error).__name__
    assert (found, refused) == (entry.get("becomes"), entry.get("refused", "")), entry["why"]
