"""Holds the functions to the policies of the template: what IAM would refuse in AWS is refused here too."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
from botocore.awsrequest import AWSResponse
from moto.core.botocore_stubber import MockRawResponse

from infra.local.template import ACCOUNT, REGION, Function

_WRITES = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


@dataclass(frozen=True)
class Need:
    """One permission that a call needs: an action on a resource, with the condition keys that IAM would see."""

    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


class Guard:
    """An interceptor of AWS calls. ``running`` tells which function calls; None is the stack itself, which may all.

    ``refused`` collects what was refused: function, action, resource.
    """

    def __init__(self, running: Callable[[], Function | None], say: Callable[[str], object]) -> None:
        self._running = running
        self._say = say
        self.refused: list[str] = []

    def __call__(self, event_name: str, request: Any) -> AWSResponse | None:
        """None where the call may go on, else the refusal as AWS words it."""
        function = self._running()
        if function is None:
            return None
        _, service, operation = event_name.split(".", 2)
        body = {"Address": request.url} if service == "s3" else json.loads(request.body or b"{}")
        for need in needs(service, operation, body):
            if not any(allows(statement, need) for statement in function.statements):
                self.refused.append(f"{function.name}: {need}")
                self._say(f"REFUSED {function.name} is not authorized to perform: {need}; see template.yaml\n")
                return _access_denied(request.url, f"{function.name} is not authorized to perform: {need}")
        return None


def needs(service: str, operation: str, body: Mapping[str, Any]) -> Iterator[Need]:
    """The permissions that IAM asks for a call. Raises ValueError for a service that is not known here yet."""
    match service, operation:
        case "dynamodb", "TransactWriteItems" | "TransactGetItems":
            for item in body["TransactItems"]:
                ((kind, action),) = item.items()
                yield _on_table(_WRITES.get(kind, "GetItem"), action["TableName"], action)
        case "dynamodb", "BatchGetItem" | "BatchWriteItem":
            for table in body["RequestItems"]:
                yield Need(f"dynamodb:{operation}", _arn("dynamodb", f"table/{table}"))
        case "dynamodb", _:
            yield _on_table(operation, body["TableName"], body)
        case "cognito-identity-provider", _:
            yield Need(
                f"cognito-idp:{operation}", f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/{body['UserPoolId']}"
            )
        case "sqs", _:
            # A batch needs what each of its messages would (sqs:SendMessage for SendMessageBatch).
            action = operation.removesuffix("Batch")
            yield Need(f"sqs:{action}", _arn("sqs", body["QueueUrl"].rpartition("/")[2]))
        case "eventbridge", "PutEvents":
            for entry in body["Entries"]:
                bus = _arn("events", f"event-bus/{entry['EventBusName']}")
                yield Need("events:PutEvents", bus, {"events:source": (entry["Source"],)})
        case "s3", _:
            where = urlsplit(body["Address"])
            bucket = (where.hostname or "").partition(".s3.")[0]
            if operation == "ListObjectVersions":
                yield Need("s3:ListBucketVersions", f"arn:aws:s3:::{bucket}")
            else:
                version = "Version" if operation == "GetObject" and "versionId" in parse_qs(where.query) else ""
                yield Need(f"s3:{operation}{version}", f"arn:aws:s3:::{bucket}{unquote(where.path)}")
        case "kms", _:
            client = boto3.client("kms", region_name=REGION)
            arn = client.describe_key(KeyId=body["KeyId"])["KeyMetadata"]["Arn"]
            tags = client.list_resource_tags(KeyId=body["KeyId"])["Tags"]
            yield Need(
                f"kms:{operation}", arn, {f"aws:ResourceTag/{tag['TagKey']}": (tag["TagValue"],) for tag in tags}
            )
        case "secrets-manager", _:
            yield Need(f"secretsmanager:{operation}", _secret(body["SecretId"]))
        case "sesv2", "SendEmail":
            sender = body["FromEmailAddress"]
            address = sender.rpartition("<")[2].rstrip(">")
            identity = _arn("ses", f"identity/{address.rpartition('@')[2]}")
            for action in ("ses:SendEmail", *(("ses:SendRawEmail",) if "Raw" in body["Content"] else ())):
                yield Need(action, identity, {"ses:FromAddress": (address,)})
                if told := body.get("ConfigurationSetName"):
                    yield Need(action, _arn("ses", f"configuration-set/{told}"), {"ses:FromAddress": (address,)})
        case _:
            raise ValueError(f"infra/local does not know what {service} {operation} needs; teach permissions.py")


def allows(statement: Mapping[str, Any], need: Need) -> bool:
    """Whether a policy statement grants a permission. Raises ValueError for a condition that is not known here yet."""
    return (
        statement["Effect"] == "Allow"
        and need.action in _listed(statement["Action"])
        and any(fnmatchcase(need.resource, pattern) for pattern in _listed(statement["Resource"]))
        and all(_met(operator, keys, need) for operator, keys in statement.get("Condition", {}).items())
    )


def _met(operator: str, keys: Mapping[str, Any], need: Need) -> bool:
    match operator:
        case "StringEquals":
            return all(set(need.context.get(key, ())) & set(_listed(wanted)) for key, wanted in keys.items())
        case "ForAllValues:StringEquals":
            return all(set(need.context.get(key, ())) <= set(_listed(wanted)) for key, wanted in keys.items())
        case "ForAllValues:StringLike":
            return all(
                any(fnmatchcase(value, pattern) for pattern in _listed(wanted))
                for key, wanted in keys.items()
                for value in need.context.get(key, ())
            )
    raise ValueError(f"infra/local does not know the condition {operator}; teach permissions.py")


def _on_table(action: str, table: str, request: Mapping[str, Any]) -> Need:
    index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
    key = (request.get("Key") or request.get("Item") or {}).get("pk")
    context = {"dynamodb:LeadingKeys": (next(iter(key.values())),)} if key else {}
    return Need(f"dynamodb:{action}", _arn("dynamodb", f"table/{table}{index}"), context)


def _arn(service: str, resource: str) -> str:
    """The one set of data that both sites share is in the primary region."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def _secret(name: str) -> str:
    """The ARN of the region's own secret; an ARN stands for itself, in its own region."""
    if name.startswith("arn:"):
        return name
    arn: str = boto3.client("secretsmanager", region_name=REGION).describe_secret(SecretId=name)["ARN"]
    return arn


def _listed(value: Any) -> list[str]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _access_denied(url: str, message: str) -> AWSResponse:
    body = json.dumps({"__type": "AccessDeniedException", "message": message}).encode()
    headers = {"x-amzn-errortype": "AccessDeniedException", "content-type": "application/x-amz-json-1.0"}
    return AWSResponse(url, 400, headers, MockRawResponse(body))  # type: ignore[arg-type] # any mapping will do
