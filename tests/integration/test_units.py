"""The counter of capacity units, by DynamoDB's published rules (tests/support/units.py)."""

from typing import Any

import boto3
import pytest

from tests.support.cloud import Cloud
from tests.support.units import Units, counted, item_size, size


def test_sizes_of_attributes() -> None:
    assert [size(each) for each in ({"S": "à"}, {"N": "12345"}, {"B": b"abc"}, {"B": "YWJj"}, {"BOOL": True})] == [
        2,
        4,
        3,
        3,
        1,
    ]
    assert size({"L": [{"S": "ab"}]}) == 3 + 2 + 1
    assert item_size({"pk": {"S": "x"}, "m": {"M": {"k": {"S": "ab"}}}}) == 2 + 1 + 1 + (3 + 1 + 2 + 1)


@pytest.mark.parametrize(
    ("operation", "request_", "read", "write"),
    [
        ("get_item", {"Key": {"pk": {"S": "p"}, "sk": {"S": "a"}}, "ConsistentRead": True}, 2, 0),
        ("get_item", {"Key": {"pk": {"S": "p"}, "sk": {"S": "a"}}}, 1, 0),
        ("get_item", {"Key": {"pk": {"S": "p"}, "sk": {"S": "none"}}}, 0.5, 0),
        ("delete_item", {"Key": {"pk": {"S": "p"}, "sk": {"S": "a"}}}, 0, 5),
        ("put_item", {"Item": {"pk": {"S": "p"}, "sk": {"S": "a"}}}, 0, 5),
        ("put_item", {"Item": {"pk": {"S": "p"}, "sk": {"S": "new"}, "v": {"S": "x" * 1500}}}, 0, 2),
        ("query", {"KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "p"}}}, 1, 0),
    ],
    ids=["strong read", "eventual read", "of nothing", "delete", "smaller put", "put", "query"],
)  # fmt: skip
def test_units_of_calls(cloud: Cloud, operation: str, request_: dict[str, Any], read: float, write: float) -> None:
    client = boto3.client("dynamodb", region_name="eu-south-1")
    client.put_item(TableName="licensing-Seats", Item={"pk": {"S": "p"}, "sk": {"S": "a"}, "v": {"S": "x" * 4500}})
    with counted(cloud) as units:
        getattr(client, operation)(TableName="licensing-Seats", **request_)
    assert units == Units(read, write)


def test_a_transaction_costs_twice(cloud: Cloud) -> None:
    client = boto3.client("dynamodb", region_name="eu-south-1")
    item = {"pk": {"S": "p"}, "sk": {"S": "a"}}
    with counted(cloud) as units:
        client.transact_write_items(TransactItems=[{"Put": {"TableName": "licensing-Seats", "Item": item}}])
    assert units == Units(0, 2)
