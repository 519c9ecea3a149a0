"""What once broke a route, replayed: a line of tests/corpus/routes.jsonl each (docs/testing.md)."""

import json
from pathlib import Path

import pytest
from licensing.store import accounts, people

from infra.openapi import DOCUMENT
from tests.support.cloud import TAX_ID, Cloud
from tests.support.visitor import GIULIA, MARTA, PAOLO, Caller

LINES = (Path(__file__).parents[1] / "corpus" / "routes.jsonl").read_text(encoding="utf-8").splitlines()
DESCRIBED = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]
CALLERS = {"vendor": MARTA, "reseller": PAOLO, "administrator": GIULIA, "anyone": None}


@pytest.mark.parametrize("line", LINES)
def test_what_once_broke_a_route_does_so_no_more(cloud: Cloud, line: str) -> None:
    entry = json.loads(line)
    method, _, path = entry["call"].partition(" ")
    values = {
        "customer_id": accounts.find_by_tax_id(TAX_ID),
        "reseller_id": next(iter(people.resellers())),
        "request_id": "a%2Fb",
    }
    answer = Caller(cloud, CALLERS[entry["as"]]).call(method, path.format_map(values), entry.get("body"))
    code = answer.json()["code"] if answer.content else None
    assert [answer.status_code, code] == entry["answer"], entry["why"]
    assert answer.content or answer.headers.get("content-type") != "application/json"
    assert str(answer.status_code) in DESCRIBED[path.partition("?")[0]][method.lower()]["responses"]


def test_an_answer_without_content_has_no_media_type_in_the_document() -> None:
    empty = [
        each["responses"]["204"] for of in DESCRIBED.values() for each in of.values() if "204" in each["responses"]
    ]
    assert len(empty) > 5
    assert not any("content" in each for each in empty)
