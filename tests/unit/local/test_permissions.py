"""Functions have the template's permissions here too."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from infra.local.permissions import Need, allows, needs
from infra.local.stack import Stack
from infra.local.template import ACCOUNT, REGION, Function

TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/T"


@pytest.mark.parametrize(
    ("service", "operation", "body", "needed"),
    [
        ("dynamodb", "GetItem", {"TableName": "T"}, ["dynamodb:GetItem on " + TABLE]),
        ("dynamodb", "Query", {"TableName": "T", "IndexName": "I"}, [f"dynamodb:Query on {TABLE}/index/I"]),
        ("dynamodb", "BatchGetItem", {"RequestItems": {"T": {}}}, ["dynamodb:BatchGetItem on " + TABLE]),
        (
            "dynamodb",
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "T"}}, {"ConditionCheck": {"TableName": "T"}}]},
            ["dynamodb:PutItem on " + TABLE, "dynamodb:ConditionCheckItem on " + TABLE],
        ),
        (
            "sqs",
            "SendMessage",
            {"QueueUrl": "https://sqs/1/Q"},
            [f"sqs:SendMessage on arn:aws:sqs:{REGION}:{ACCOUNT}:Q"],
        ),
        (
            "sesv2",
            "SendEmail",
            {"FromEmailAddress": "A <a@b.example>", "Content": {"Raw": {}}},
            [
                f"ses:{action} on arn:aws:ses:{REGION}:{ACCOUNT}:identity/b.example"
                for action in ("SendEmail", "SendRawEmail")
            ],
        ),
    ],
)
def test_each_call_needs_what_iam_would_ask_for(service: str, operation: str, body: Any, needed: list[str]) -> None:
    assert [str(each) for each in needs(service, operation, body)] == needed


def test_an_unknown_service_is_an_error() -> None:
    with pytest.raises(ValueError, match="athena StartQueryExecution"):
        list(needs("athena", "StartQueryExecution", {}))


GRANT = {"Effect": "Allow", "Action": ["dynamodb:GetItem"], "Resource": TABLE}


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        (GRANT, True),
        ({**GRANT, "Effect": "Deny"}, False),
        ({**GRANT, "Action": "dynamodb:PutItem"}, False),
        ({**GRANT, "Resource": [TABLE + "2"]}, False),
        ({**GRANT, "Resource": TABLE[:-1] + "*"}, True),
        ({**GRANT, "Condition": {"StringEquals": {"aws:ResourceTag/use": "server"}}}, True),
        ({**GRANT, "Condition": {"StringEquals": {"aws:ResourceTag/use": "root"}}}, False),
        ({**GRANT, "Condition": {"StringEquals": {"aws:ResourceTag/other": "server"}}}, False),
        ({**GRANT, "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["KEYSET"]}}}, True),
        ({**GRANT, "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["OTHER"]}}}, False),
    ],
)
def test_a_statement_allows_what_it_says(statement: dict[str, Any], allowed: bool) -> None:
    context = {"aws:ResourceTag/use": ("server",), "dynamodb:LeadingKeys": ("KEYSET",)}
    assert allows(statement, Need("dynamodb:GetItem", TABLE, context)) is allowed


def test_an_unknown_condition_is_an_error() -> None:
    with pytest.raises(ValueError, match="IpAddress"):
        allows({**GRANT, "Condition": {"IpAddress": {}}}, Need("dynamodb:GetItem", TABLE))


@pytest.fixture
def running_as(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls of this test count as a function's."""

    def become(name: str) -> Function:
        function = stack.functions.all[name]
        monkeypatch.setattr(stack.functions, "running", function)
        return function

    stack.guard.refused.clear()
    yield become
    stack.guard.refused.clear()


def test_a_function_is_refused_what_it_was_not_granted(stack: Stack, running_as: Any) -> None:
    client = boto3.client("dynamodb", region_name=REGION)
    running_as("PublishKeys")
    key = {"pk": {"S": "KEYSET"}, "sk": {"S": "KEYSET"}}
    assert client.get_item(TableName=stack.outputs["LicensingTable"], Key=key)["Item"]
    for call in (
        lambda: client.get_item(TableName=stack.outputs["LicensingTable"], Key={**key, "pk": {"S": "cus_1"}}),
        lambda: client.get_item(TableName=stack.outputs["StateTable"], Key={"pk": {"S": "KEYSET"}}),
        lambda: client.delete_item(TableName=stack.outputs["LicensingTable"], Key=key),
    ):
        with pytest.raises(ClientError, match="PublishKeys is not authorized"):
            call()
    assert len(stack.guard.refused) == 3


def test_no_function_signs_with_the_root_key(stack: Stack, running_as: Any) -> None:
    client = boto3.client("kms", region_name=REGION)
    running_as("ValidateServer")
    with pytest.raises(ClientError, match="not authorized to perform: kms:Sign"):
        client.sign(
            KeyId=stack.outputs["RootKeyArn"],
            Message=b"0" * 32,
            MessageType="DIGEST",
            SigningAlgorithm="ECDSA_SHA_256",
        )
