"""Makes a template's resources in moto through boto3, one small function for each type.

moto's own CloudFormation skips half of them without a word and makes KMS keys symmetric.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from infra.local.template import ACCOUNT, REGION, Function, Resolver, read

Properties = dict[str, Any]

#: What needs nobody on this machine: code is run from the tree, roles, logs and alarms have no one to serve,
#: and nobody here bounces e-mails.
_NOT_MADE = {
    "AWS::Cognito::UserPoolDomain",
    "AWS::Events::Rule",
    "AWS::IAM::Role",
    "AWS::Logs::LogGroup",
    "AWS::SES::ConfigurationSetEventDestination",
    "AWS::SQS::QueuePolicy",
    "AWS::Serverless::Function",
    "AWS::Serverless::HttpApi",
    "AWS::Serverless::LayerVersion",
}
_STACKS_NOT_MADE = {"observability.yaml"}


@dataclass(frozen=True)
class Made:
    """A resource that is there: the value of ``Ref`` and of its attributes."""

    ref: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


def make_global_table(name: str, properties: Properties) -> Made:
    """AWS::DynamoDB::GlobalTable: one table; both local sites see the same one."""
    client = boto3.client("dynamodb", region_name=REGION)
    here = properties["Replicas"][0]
    table = properties["TableName"]
    made = client.create_table(
        TableName=table,
        BillingMode=properties["BillingMode"],
        AttributeDefinitions=properties["AttributeDefinitions"],
        KeySchema=properties["KeySchema"],
        SSESpecification={"Enabled": properties["SSESpecification"]["SSEEnabled"]},
        StreamSpecification={
            "StreamEnabled": True,
            "StreamViewType": properties["StreamSpecification"]["StreamViewType"],
        },
        DeletionProtectionEnabled=here["DeletionProtectionEnabled"],
        **{key: properties[key] for key in ("GlobalSecondaryIndexes",) if key in properties},
    )["TableDescription"]
    if expiry := properties.get("TimeToLiveSpecification"):
        client.update_time_to_live(TableName=table, TimeToLiveSpecification=expiry)
    recovery = here["PointInTimeRecoverySpecification"]
    client.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=recovery)
    return Made(table, {"Arn": made["TableArn"], "StreamArn": made["LatestStreamArn"]})


def make_queue(name: str, properties: Properties) -> Made:
    """AWS::SQS::Queue."""
    client = boto3.client("sqs", region_name=REGION)
    queue = properties.pop("QueueName", name)
    attributes: Any = {key: _attribute_text(each) for key, each in properties.items()}
    url = client.create_queue(QueueName=queue, Attributes=attributes)["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return Made(url, {"Arn": arn, "QueueName": queue})


def _attribute_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def make_key(name: str, properties: Properties) -> Made:
    """AWS::KMS::Key. The key policy stays behind: moto would read its conditions as if they were always met."""
    key = boto3.client("kms", region_name=REGION).create_key(
        Description=properties["Description"],
        KeySpec=properties["KeySpec"],
        KeyUsage=properties["KeyUsage"],
        MultiRegion=properties.get("MultiRegion", False),
        Tags=[{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in properties.get("Tags", [])],
    )["KeyMetadata"]
    return Made(key["KeyId"], {"Arn": key["Arn"]})


def make_alias(name: str, properties: Properties) -> Made:
    """AWS::KMS::Alias."""
    alias, key = properties["AliasName"], properties["TargetKeyId"]
    boto3.client("kms", region_name=REGION).create_alias(AliasName=alias, TargetKeyId=key)
    return Made(alias)


def make_secret(name: str, properties: Properties) -> Made:
    """AWS::SecretsManager::Secret."""
    client = boto3.client("secretsmanager", region_name=REGION)
    return Made(client.create_secret(Name=properties["Name"], SecretString=properties["SecretString"])["ARN"])


def make_user_pool(name: str, properties: Properties) -> Made:
    """AWS::Cognito::UserPool."""
    pool = properties.pop("UserPoolName")
    client = boto3.client("cognito-idp", region_name=REGION)
    made = client.create_user_pool(PoolName=pool, **properties)["UserPool"]
    return Made(made["Id"], {"Arn": made["Arn"]})


def make_user_pool_client(name: str, properties: Properties) -> Made:
    """AWS::Cognito::UserPoolClient."""
    client = boto3.client("cognito-idp", region_name=REGION)
    return Made(client.create_user_pool_client(**properties)["UserPoolClient"]["ClientId"])


def make_resource_server(name: str, properties: Properties) -> Made:
    """AWS::Cognito::UserPoolResourceServer."""
    boto3.client("cognito-idp", region_name=REGION).create_resource_server(**properties)
    return Made(properties["Identifier"])


def make_configuration_set(name: str, properties: Properties) -> Made:
    """AWS::SES::ConfigurationSet."""
    client = boto3.client("sesv2", region_name=REGION)
    client.create_configuration_set(ConfigurationSetName=properties["Name"])
    return Made(properties["Name"])


def make_bucket(name: str, properties: Properties) -> Made:
    """AWS::S3::Bucket with object lock."""
    client, bucket = boto3.client("s3", region_name=REGION), properties["BucketName"]
    client.create_bucket(
        Bucket=bucket,
        ObjectLockEnabledForBucket=properties["ObjectLockEnabled"],
        CreateBucketConfiguration={"LocationConstraint": REGION},
    )
    client.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=properties["ObjectLockConfiguration"])
    return Made(bucket)


def make_event_bus(name: str, properties: Properties) -> Made:
    """AWS::Events::EventBus."""
    bus = properties["Name"]
    made = boto3.client("events", region_name=REGION).create_event_bus(Name=bus)
    return Made(bus, {"Arn": made["EventBusArn"], "Name": bus})


def make_schedules(functions: Iterable[Function]) -> None:
    """The functions' ScheduleV2 events, to be looked at: the local pages run them, and nobody else does."""
    client = boto3.client("scheduler", region_name=REGION)
    for function in functions:
        for trigger in function.triggers:
            if trigger.type == "ScheduleV2":
                given = trigger.properties
                target: Any = {
                    "Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function.name}",
                    "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/local-{function.name}",
                    "RetryPolicy": given["RetryPolicy"],
                    "DeadLetterConfig": given["DeadLetterConfig"],
                }
                client.create_schedule(
                    Name=trigger.name,
                    Description=given["Description"],
                    ScheduleExpression=given["ScheduleExpression"],
                    FlexibleTimeWindow=given["FlexibleTimeWindow"],
                    Target=target,
                )


_MAKERS: Mapping[str, Callable[[str, Properties], Made]] = {
    "AWS::Cognito::UserPool": make_user_pool,
    "AWS::Cognito::UserPoolClient": make_user_pool_client,
    "AWS::Cognito::UserPoolResourceServer": make_resource_server,
    "AWS::DynamoDB::GlobalTable": make_global_table,
    "AWS::Events::EventBus": make_event_bus,
    "AWS::KMS::Alias": make_alias,
    "AWS::KMS::Key": make_key,
    "AWS::SES::ConfigurationSet": make_configuration_set,
    "AWS::S3::Bucket": make_bucket,
    "AWS::SQS::Queue": make_queue,
    "AWS::SecretsManager::Secret": make_secret,
}


class Provisioned:
    """One template whose resources have been made, with those of the stacks nested in it.

    Raises ValueError for a type of resource that nothing here can make: a new one needs a function above.
    """

    def __init__(self, path: Path, parameters: Mapping[str, Any]) -> None:
        self.document = read(path)
        self.resolver = Resolver(self.document, parameters, reference=self._ref, attribute=self._attribute)
        self._folder = path.parent
        self._made: dict[str, Made] = {}
        for name, resource in self.document["Resources"].items():
            if self.resolver.holds(resource.get("Condition")):
                self._make(name)

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs whose condition is met."""
        return {
            name: self.resolver.resolve(each["Value"])
            for name, each in self.document.get("Outputs", {}).items()
            if self.resolver.holds(each.get("Condition"))
        }

    def _make(self, name: str) -> Made:
        """The resource ``name``, made at the first mention."""
        if name not in self._made:
            self._made[name] = self._create(name, self.document["Resources"][name])
        return self._made[name]

    def _create(self, name: str, resource: Mapping[str, Any]) -> Made:
        kind = resource["Type"]
        if kind in _NOT_MADE:
            return Made(f"local-{name}")
        properties = self.resolver.resolve(resource.get("Properties", {}))
        if kind == "AWS::Serverless::Application":
            path = self._folder / properties["Location"]
            outputs = {} if path.name in _STACKS_NOT_MADE else Provisioned(path, properties["Parameters"]).outputs
            return Made(name, {f"Outputs.{key}": value for key, value in outputs.items()})
        if kind not in _MAKERS:
            raise ValueError(f"infra/local cannot make {kind} ({name}); teach provision.py")
        return _MAKERS[kind](name, properties)

    def _ref(self, name: str) -> str:
        return self._make(name).ref

    def _attribute(self, name: str, attribute: str) -> Any:
        made = self._make(name)
        return made.attributes.get(attribute, f"local-{name}.{attribute}")
