"""What DynamoDB would charge, by its published rules: capacity units from the sizes of the items that calls come across.

A strongly consistent read costs a unit for each 4 KB, an eventually consistent one half of it; a write one for each KB of the
larger of before and after; transactions twice. An empty read or a failed condition costs a unit as well.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from moto.backends import get_backend
from moto.dynamodb.models.dynamo_type import DynamoType

from infra.local.template import ACCOUNT, REGION
from tests.support.cloud import Cloud

READ_UNIT, WRITE_UNIT = 4096, 1024


@dataclass
class Units:
    """Read and write request units."""

    read: float = 0
    write: float = 0

    def __str__(self) -> str:
        return f"{self.read:g} RRU + {self.write:g} WRU"


def size(node: Any) -> int:
    """An attribute's size in bytes: names and text in UTF-8, numbers about half a byte a digit, 3 bytes a container."""
    match node:
        case {"S": text}:
            return len(text.encode())
        case {"B": bytes(data)}:
            return len(data)
        case {"B": text}:
            return len(text) * 3 // 4  # base64, as it travels
        case {"N": digits}:
            return len(digits) // 2 + 2
        case {"NS": numbers}:
            return sum(len(digits) // 2 + 2 for digits in numbers)
        case {"BOOL": _} | {"NULL": _}:
            return 1
        case {"M": members}:
            return 3 + sum(len(name.encode()) + size(value) + 1 for name, value in members.items())
        case {"L": members}:
            return 3 + sum(size(value) + 1 for value in members)
    raise AssertionError(node)


def item_size(item: dict[str, Any]) -> int:
    """An item's size in bytes."""
    return sum(len(name.encode()) + size(value) for name, value in item.items())


class Meter:
    """Counts the units of calls that are about to be made, by what ``kind_of`` makes of the operation, table and partition."""

    def __init__(self, kind_of: Callable[[str, str, str], Hashable] = lambda operation, table, partition: "") -> None:
        self.by_kind: defaultdict[Hashable, Units] = defaultdict(Units)
        self._kind_of = kind_of
        self._tables = get_backend("dynamodb")[ACCOUNT][REGION].tables
        self._written: list[tuple[Hashable, str, dict[str, Any], int, int]] = []

    @property
    def total(self) -> Units:
        """All of them."""
        self.settle()
        return Units(
            sum(each.read for each in self.by_kind.values()), sum(each.write for each in self.by_kind.values())
        )

    def note(self, event: str, request: Any) -> None:
        """A call that is made next, to DynamoDB or elsewhere; an interceptor of infra.local.aws."""
        _, service, operation = event.split(".", 2)
        if service == "dynamodb":
            self.call(operation, json.loads(request.body))

    def call(self, operation: str, body: dict[str, Any]) -> None:
        """A call that goes to DynamoDB next."""
        self.settle()
        match operation:
            case "GetItem":
                self._read(operation, body, body["Key"]["pk"]["S"], [self._size(body["TableName"], body["Key"])])
            case "Query":
                self._read(operation, body, *self._found(body))
            case "BatchWriteItem":
                for table, requests in body["RequestItems"].items():
                    for each in requests:
                        ((_, change),) = each.items()
                        self._write(operation, table, change, 1)
            case "TransactWriteItems":
                for action in body["TransactItems"]:
                    ((_, change),) = action.items()
                    self._write(operation, change["TableName"], change, 2)
            case "PutItem" | "UpdateItem" | "DeleteItem":
                self._write(operation, body["TableName"], body, 1)
            case _:
                raise AssertionError(operation)

    def settle(self) -> None:
        """The last call is done: its items are as large as it left them."""
        for kind, table, key, before, times in self._written:
            larger = max(1, before, self._size(table, key))
            self.by_kind[kind].write += times * math.ceil(larger / WRITE_UNIT)
        self._written.clear()

    def _read(self, operation: str, body: dict[str, Any], pk: str, sizes: list[int]) -> None:
        blocks = math.ceil(max(1, sum(sizes)) / READ_UNIT)
        kind = self._kind_of(operation, body["TableName"], pk)
        self.by_kind[kind].read += blocks if body.get("ConsistentRead") else blocks / 2

    def _write(self, operation: str, table: str, change: dict[str, Any], times: int) -> None:
        item = change.get("Item")
        key = {name: value for name, value in (change.get("Key") or item or {}).items() if name in ("pk", "sk")}
        before = max(self._size(table, key), item_size(item) if item else 0)
        self._written.append((self._kind_of(operation, table, key["pk"]["S"]), table, key, before, times))

    def _size(self, table: str, key: dict[str, Any]) -> int:
        sort = key.get("sk", {}).get("S")
        found = next(self._items(table, key["pk"]["S"], lambda name: sort is None or name == sort), None)
        return item_size(found) if found else 0

    def _found(self, body: dict[str, Any]) -> tuple[str, list[int]]:
        condition, values = body["KeyConditionExpression"], body["ExpressionAttributeValues"]
        pk, *bounds = [values[name]["S"] for name in re.findall(r":\w+", condition)]
        within = _matching(condition, bounds)
        start = body.get("ExclusiveStartKey", {}).get("sk", {}).get("S", "")

        def wanted(name: str) -> bool:
            return within(name) and name > start

        found = [item_size(each) for each in self._items(body["TableName"], pk, wanted, body.get("Limit"))]
        return pk, found

    def _items(
        self, table: str, pk: str, wanted: Callable[[str], bool], limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        part: Any = self._tables[table].items.get(DynamoType({"S": pk}), {})
        named = [(name.value, item) for name, item in part.items()] if isinstance(part, dict) else [("", part)]
        chosen = sorted((pair for pair in named if wanted(pair[0])), key=lambda pair: pair[0])
        return (item.to_json()["Attributes"] for _, item in chosen[:limit])


def _matching(condition: str, bounds: list[str]) -> Callable[[str], bool]:
    if "BETWEEN" in condition:
        return lambda name: bounds[0] <= name <= bounds[1]
    if "begins_with" in condition:
        return lambda name: name.startswith(bounds[0])
    if ">" in condition:
        return lambda name: name > bounds[0]
    if "<" in condition:
        return lambda name: name < bounds[0]
    assert not bounds, condition
    return lambda name: True


@contextmanager
def counted(cloud: Cloud) -> Iterator[Units]:
    """What the calls of this process cost; known when they are done."""
    units, meter = Units(), Meter()
    cloud.stack.aws.interceptor = meter.note
    try:
        yield units
    finally:
        cloud.stack.aws.interceptor = None
        units.read, units.write = meter.total.read, meter.total.write
