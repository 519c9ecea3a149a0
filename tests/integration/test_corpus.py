"""What once broke a route, replayed: a line of tests/corpus/routes.jsonl each (docs/testing.md)."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from licensing.store import accounts, orders, people

from infra.openapi import DOCUMENT
from tests.support.cloud import TAX_ID, Cloud, Server
from tests.support.seats import Station, concurrent_pool
from tests.support.visitor import GIULIA, MARTA, PAOLO, Caller

LINES = (Path(__file__).parents[1] / "corpus" / "routes.jsonl").read_text(encoding="utf-8").splitlines()
DESCRIBED = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"]
CALLERS = {"vendor": MARTA, "reseller": PAOLO, "administrator": GIULIA, "anyone": None}


class Sender:
    """Sends the requests of a line. A server or a station changes members of what it usually says; others say all of it."""

    def __init__(self, cloud: Cloud, caller: str) -> None:
        customer_id, reseller_id = accounts.find_by_tax_id(TAX_ID), next(iter(people.resellers()))
        account = accounts.read(customer_id or "")
        assert account
        self.values = {
            "customer_id": customer_id,
            "reseller_id": reseller_id,
            "installation_id": next(iter(account.installations)),
            "order_id": orders.find_by_number(reseller_id, "TP-2026-1187"),
        }
        self._cloud, self._caller = cloud, caller
        if caller in ("server", "station"):
            self._server = Server(cloud)
            assert self._server.activate(cloud.token_of("Milano")).status_code == 201
        if caller == "station":
            self._station = Station(concurrent_pool(cloud, self._server, 2))
            assert self._station.lease().status_code == 201
            self.values |= {"pool_id": self._station.pool.pool_id, "seat_id": self._station.seat["seat_id"]}

    def send(self, entry: dict[str, Any]) -> httpx.Response:
        method, _, path = entry["call"].partition(" ")
        path = path.format_map(self.values | entry.get("values", {}))
        body, headers = entry.get("body"), dict(entry.get("headers", {}))
        if self._caller == "server":
            return self._server.call(path, self._server.body(**body), **headers)
        if self._caller == "station":
            headers.setdefault("authorization", f"Bearer {self._station.token()}")
            if method == "POST":
                body = self._station.ask() | body
        return Caller(self._cloud, CALLERS.get(self._caller)).call(method, path, body, **headers)


@pytest.mark.parametrize("line", LINES)
def test_what_once_broke_a_route_does_so_no_more(cloud: Cloud, line: str) -> None:
    entry = json.loads(line)
    sender = Sender(cloud, entry["as"])
    for each in entry.get("before", ()):
        sender.send(entry | each)
    answer = sender.send(entry)
    method, _, path = entry["call"].partition(" ")
    code = answer.json().get("code") if answer.content else None
    assert [answer.status_code, code] == entry["answer"], entry["why"]
    assert answer.content or answer.headers.get("content-type") != "application/json"
    assert str(answer.status_code) in DESCRIBED[path.partition("?")[0]][method.lower()]["responses"]


def test_an_answer_without_content_has_no_media_type_in_the_document() -> None:
    empty = [
        each["responses"]["204"] for of in DESCRIBED.values() for each in of.values() if "204" in each["responses"]
    ]
    assert len(empty) > 5
    assert not any("content" in each for each in empty)
