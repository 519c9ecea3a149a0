"""Capacity units by DynamoDB's published rules, from the requests and the sizes of the items that they are about (proof.md)."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from moto.backends import get_backend

from infra.local.template import ACCOUNT, REGION
from tests.support.cloud import Cloud

READ_UNIT, WRITE_UNIT = 4096, 1024
WRITES = {"PutItem", "UpdateItem", "DeleteItem"}


def size(node: Any) -> int:
    """An attribute's size in bytes: names and text in UTF-8, numbers about half a byte a digit, 3 bytes a container."""
    match node:
        case {"S": text}:
            return len(text.encode())
        case {"B": data}:
            return len(data)
        case {"N": digits}:
            return len(digits) // 2 + 2
        case {"BOOL": _} | {"NULL": _}:
            return 1
        case {"M": members}:
            return 3 + sum(len(name.encode()) + size(value) + 1 for name, value in members.items())
        case {"NS": numbers}:
            return sum(len(digits) // 2 + 2 for digits in numbers)
        case {"L": members}:
            return 3 + sum(size(value) + 1 for value in members)
    raise AssertionError(node)


def item_size(item: dict[str, Any]) -> int:
    return sum(len(name.encode()) + size(value) for name, value in item.items())


@dataclass
class Units:
    """Capacity units: eventually consistent reads cost half, transactions twice; a condition that fails costs its write."""

    read: float = 0
    write: float = 0

    def __str__(self) -> str:
        return f"{self.read:g} RRU + {self.write:g} WRU"


class Meter:
    """Counts what requests to the tables cost."""

    def __init__(self) -> None:
        self.units = Units()
        self._tables = get_backend("dynamodb")[ACCOUNT][REGION].tables
        self._written: list[tuple[dict[str, Any], int]] = []

    def read(self, operation: str, body: dict[str, Any]) -> None:
        """Count a request before it is answered; what it writes only with ``settle``."""
        if operation == "GetItem":
            reads = math.ceil(max(1, self._size(body["TableName"], body["Key"])) / READ_UNIT)
            self.units.read += reads if body.get("ConsistentRead") else reads / 2
        elif operation == "Query":
            self.units.read += _query_units(self._tables[body["TableName"]], body)
        elif operation == "TransactWriteItems":
            for action in body["TransactItems"]:
                ((_, each),) = action.items()
                self._written.append((each, 2))
        else:
            assert operation in WRITES, operation
            self._written.append((body, 1))

    def settle(self) -> None:
        """Count what the requests since the last time wrote, by the sizes that the items have now."""
        for each, times in self._written:
            size = item_size(each["Item"]) if "Item" in each else self._size(each["TableName"], each["Key"])
            self.units.write += times * math.ceil(max(1, size) / WRITE_UNIT)
        self._written.clear()

    def _size(self, table: str, key: dict[str, Any]) -> int:
        sort = key.get("sk", {}).get("S")
        found = next(_items(self._tables[table], key["pk"]["S"], lambda name: sort is None or name == sort), None)
        return item_size(found) if found else 0


@contextmanager
def counted(cloud: Cloud) -> Iterator[Units]:
    """What the calls of this process cost."""
    meter = Meter()

    def note(event: str, request: Any) -> None:
        _, service, operation = event.split(".", 2)
        if service == "dynamodb":
            meter.read(operation, json.loads(request.body))

    cloud.stack.aws.interceptor = note
    try:
        yield meter.units
    finally:
        cloud.stack.aws.interceptor = None
    meter.settle()


def _items(table: Any, pk: str, wanted: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    """The items of a partition with these sort keys, in order."""
    part = next((each for key, each in table.items.items() if key.value == pk), {})
    named = [(name.value, item) for name, item in part.items()] if isinstance(part, dict) else [("", part)]
    for name, item in sorted(named, key=lambda pair: pair[0]):
        if wanted(name):
            yield item.to_json()["Attributes"]


def _query_units(table: Any, body: dict[str, Any]) -> float:
    """By the sizes of the items that the query comes across."""
    pk, *bounds = [each["S"] for _, each in sorted(body["ExpressionAttributeValues"].items())]
    low, high = (bounds[0], f"{bounds[0]}~") if len(bounds) == 1 else sorted(bounds)
    found = islice(_items(table, pk, lambda name: low <= name <= high), body.get("Limit"))
    blocks = math.ceil(max(1, sum(item_size(item) for item in found)) / READ_UNIT)
    return blocks if body.get("ConsistentRead") else blocks / 2
