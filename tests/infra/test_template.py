"""House rules for the templates, as checks that run."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from infra.local.permissions import Need, allows
from infra.local.template import ACCOUNT, REGION, Function, Resolver, functions, read, statements

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = read(ROOT / "template.yaml")
DATA = read(ROOT / "infra" / "data.yaml")
OBSERVABILITY = read(ROOT / "infra" / "observability.yaml")

HTTP_API_LIMIT = 30  # seconds
LAMBDA_BASE = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}


def of_type(document: dict[str, Any], kind: str) -> dict[str, Any]:
    resources = document["Resources"].items()  # Fn::ForEach is a list among them
    return {name: each for name, each in resources if isinstance(each, dict) and each["Type"] == kind}


FUNCTIONS = of_type(TEMPLATE, "AWS::Serverless::Function")


def setting(name: str, key: str) -> Any:
    return FUNCTIONS[name]["Properties"].get(key, TEMPLATE["Globals"]["Function"].get(key))


def events(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, function in FUNCTIONS.items():
        for event in function["Properties"].get("Events", {}).values():
            if event["Type"] == kind:
                yield name, event["Properties"]


def routes() -> set[str]:
    return {f"{event['Method']} {event['Path']}" for _, event in events("HttpApi")}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def resolved(site: str = "primary", backup_region: str = "eu-central-1") -> tuple[Resolver, Resolver]:
    """Resolvers of the root and the data template as they deploy, with made-up names for what AWS would make."""
    data = Resolver(
        DATA,
        {"Deployment": "licensing", "Site": site, "BackupRegion": backup_region, "KeyCustodianArn": ""},
        reference=lambda name: f"arn:aws:made:{REGION}:{ACCOUNT}:{name}",
        attribute=lambda name, attribute: f"arn:aws:made:{REGION}:{ACCOUNT}:{name}",
    )

    def output(resource: str, attribute: str) -> Any:
        name = attribute.removeprefix("Outputs.")
        is_data = resource == "Data" and name in DATA["Outputs"]
        return data.resolve(DATA["Outputs"][name]["Value"]) if is_data else f"{resource}.{attribute}"

    parameters = {
        "ArchiveBucket": "archive",
        "Issuer": "https://i",
        "MailSender": "licenses@aurora.example",
        "MailIdentity": "aurora.example",
    }
    return Resolver(TEMPLATE, parameters, reference=lambda name: name, attribute=output), data


ALL = {each.name: each for each in functions(TEMPLATE, resolved()[0])}


# ── functions ──


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_s_code_is_where_its_handler_says(name: str) -> None:
    folder = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    properties = FUNCTIONS[name]["Properties"]
    assert properties["Handler"] == f"functions.{folder}.handler.handler"
    assert properties["CodeUri"] == f"functions/{folder}"
    assert FUNCTIONS[name]["Metadata"]["BuildProperties"] == {
        "ParentPackageMode": "explicit",
        "ParentPackages": f"functions.{folder}",
    }
    assert "handler" in (ROOT / properties["CodeUri"] / "handler.py").read_text()


def test_every_function_in_the_tree_is_deployed() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}
    assert {Path(each["Properties"]["CodeUri"]).name for each in FUNCTIONS.values()} == folders


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_a_log_group_of_its_own_with_an_end(name: str) -> None:
    group = FUNCTIONS[name]["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]
    assert group == f"{name}Logs"
    properties = TEMPLATE["Resources"][group]["Properties"]
    assert properties["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_every_log_group_has_an_end() -> None:
    assert all("RetentionInDays" in each["Properties"] for each in of_type(TEMPLATE, "AWS::Logs::LogGroup").values())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_ends_before_the_gateway_gives_up_and_is_traced(name: str) -> None:
    behind_the_gateway = name in {function for function, _ in events("HttpApi")}
    assert 1 <= setting(name, "Timeout") < (HTTP_API_LIMIT if behind_the_gateway else 901)
    assert setting(name, "Tracing") == "Active"
    assert setting(name, "Runtime") == "python3.13"


def test_functions_know_where_they_are_and_no_secret() -> None:
    assert set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]) == {
        "LICENSING_TABLE", "STATE_TABLE", "OPERATIONS_TABLE", "SEATS_TABLE", "LOG_CLEANUP_QUEUE_URL", "ARCHIVE_BUCKET",
        "SEAL_BUCKET", "SITE", "HOME_SITE", "ISSUER", "DENIAL_QUEUE_URL",
        "ALERT_QUEUE_URL", "WEBHOOK_QUEUE_URL", "EVENT_BUS",
        "ACTIVATION_CODE_QUEUE_URL", "MAIL_QUEUE_URL", "MAIL_SENDER", "MAIL_CONFIGURATION_SET",
        "USER_POOL_ID", "USER_POOL_CLIENT_ID",
        "POWERTOOLS_SERVICE_NAME", "POWERTOOLS_LOG_LEVEL",
    }  # fmt: skip
    assert not [name for name in FUNCTIONS if "Environment" in FUNCTIONS[name]["Properties"]]


def test_layer_and_functions_are_made_for_the_same_machine() -> None:
    (layer,) = of_type(TEMPLATE, "AWS::Serverless::LayerVersion").values()
    architectures = TEMPLATE["Globals"]["Function"]["Architectures"]
    assert layer["Properties"]["CompatibleArchitectures"] == architectures == [layer["Metadata"]["BuildArchitecture"]]
    assert layer["Properties"]["CompatibleRuntimes"] == [layer["Metadata"]["BuildMethod"]] == ["python3.13"]


# ── permissions ──

LICENSING, STATE = (f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/licensing-{name}" for name in ("Licensing", "State"))
SERVER_KEY = Need("kms:Sign", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1", {"aws:ResourceTag/licensing:use": ("server",)})
ROOT_KEY = Need("kms:Sign", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/2", {"aws:ResourceTag/licensing:use": ("root",)})

#: What each function may do, by the last part of what it does it to.
GRANTED = {
    "ProbeConnectivity": set(),
    "DescribeApi": set(),
    "PublishKeys": {"Licensing GetItem"},
    "RequestActivation": {
        "Licensing GetItem", "Licensing Query", "Licensing PutItem",
        "State BatchGetItem", "ActivationCodeQueue SendMessage",
    },
    "SendActivationCode": {
        "Licensing GetItem", "ActivationCodeQueue ReceiveMessage", "ActivationCodeQueue DeleteMessage",
        "ActivationCodeQueue GetQueueAttributes", "aurora.example SendEmail", "aurora.example SendRawEmail",
    },
    "VerifyActivationCode": {
        "Licensing GetItem", "Licensing Query", "Licensing PutItem", "Licensing UpdateItem", "State BatchGetItem",
    },
    "ActivateServer": {
        "Licensing GetItem", "Licensing PutItem", "Licensing UpdateItem", "Licensing ConditionCheckItem",
        "State GetItem", "State PutItem", "Operations PutItem", "* Sign", "SigningKeysSecret GetSecretValue",
    },
    "ValidateServer": {
        "Licensing GetItem", "State GetItem", "State PutItem", "State UpdateItem", "Operations PutItem", "* Sign",
        "SigningKeysSecret GetSecretValue",
    },
    "ServePortal": {
        "Licensing GetItem", "Licensing BatchGetItem", "Licensing Query", "Licensing ConditionCheckItem", "Licensing PutItem",
        "Licensing UpdateItem", "Licensing DeleteItem", "Ending Query", "CareEnding Query",
        "Operations GetItem", "Operations Query", "Operations PutItem", f"{ACCOUNT} ListBucketVersions", "* GetObjectVersion",
        "WebhookQueue SendMessage",
        "State GetItem", "State BatchGetItem", "State PutItem", "State ConditionCheckItem", "* Sign",
        "Seats GetItem", "Seats Query", "Seats PutItem", "Seats UpdateItem", "aurora.example SendEmail",
        "aurora.example SendRawEmail", "SigningKeysSecret GetSecretValue", "MailQueue SendMessage", "UserPoolArn AdminCreateUser",
        "UserPoolArn AdminDeleteUser", "UserPoolArn AdminGetUser", "UserPoolArn AdminInitiateAuth",
        "UserPoolArn AdminSetUserPassword", "UserPoolArn AdminUserGlobalSignOut",
    },
    "ManageCustomers": {
        "Licensing GetItem", "Licensing Query", "Licensing ConditionCheckItem", "Licensing PutItem", "Licensing DeleteItem",
        "Operations PutItem", "State BatchGetItem", "MailQueue SendMessage", "UserPoolArn AdminDeleteUser",
    },
    "ManageInstallations": {
        "Licensing GetItem", "Licensing Query", "Licensing PutItem", "Licensing DeleteItem", "State GetItem",
        "State BatchGetItem", "State PutItem", "State ConditionCheckItem", "Operations PutItem", "* Sign",
        "SigningKeysSecret GetSecretValue",
    },
    "ReadOperations": {
        "Licensing GetItem", "Licensing Query", "Operations GetItem", "Operations Query", "Operations PutItem",
        "Operations UpdateItem", f"{ACCOUNT} ListBucketVersions", "* GetObjectVersion",
    },
    "SendMail": {
        "Licensing GetItem", "Licensing Query", "Licensing PutItem", "Licensing DeleteItem", "MailQueue ReceiveMessage",
        "MailQueue DeleteMessage", "MailQueue GetQueueAttributes", "aurora.example SendEmail", "aurora.example SendRawEmail",
        "MailConfigurationSet SendEmail", "MailConfigurationSet SendRawEmail",
    },
    "ManageOrders": {
        "Licensing GetItem", "Licensing BatchGetItem", "Licensing Query", "Licensing PutItem", "Licensing DeleteItem",
        "State BatchGetItem", "Operations PutItem", "MailQueue SendMessage",
    },
    "UnlockOrder": {
        "Licensing GetItem", "Licensing BatchGetItem", "Licensing Query", "Licensing PutItem", "Licensing DeleteItem",
        "State BatchGetItem", "Operations PutItem", "MailQueue SendMessage",
    },
    "RecordMailEvents": {
        "Licensing GetItem", "Licensing PutItem", "MailEventQueue ReceiveMessage", "MailEventQueue DeleteMessage",
        "MailEventQueue GetQueueAttributes",
    },
    "DeactivateServer": {
        "Licensing GetItem", "Licensing PutItem", "State GetItem", "State PutItem", "Operations PutItem",
    },
    "ScheduleLogCleanup": {"Licensing Query", "LogCleanupQueue SendMessage", "FailedSchedules SendMessage"},
    "CleanLog": {
        "LogCleanupQueue ReceiveMessage", "LogCleanupQueue DeleteMessage", "LogCleanupQueue GetQueueAttributes",
        "LogCleanupQueue SendMessage", "Licensing GetItem", "Licensing Query", "Operations GetItem", "Operations Query",
        "Operations PutItem", "Operations UpdateItem", "Operations BatchWriteItem", "Operations ConditionCheckItem", "* Sign",
        "SigningKeysSecret GetSecretValue", "* PutObject", f"{ACCOUNT} ListBucketVersions", "* GetObjectVersion",
    },
    "ManageSeats": {
        "Licensing GetItem", "Licensing PutItem", "Licensing UpdateItem", "Operations PutItem", "State GetItem",
        "Seats GetItem", "Seats Query", "Seats PutItem", "Seats UpdateItem",
        "Seats ConditionCheckItem", "DenialQueue SendMessage", "* Sign", "SigningKeysSecret GetSecretValue",
    },
    "ShowPools": {
        "Licensing GetItem", "State GetItem", "Operations PutItem",
        "Seats GetItem", "Seats Query", "Seats PutItem", "Seats UpdateItem",
    },
    "RecordSeatUse": {
        "SeatsTable DescribeStream", "SeatsTable GetRecords", "SeatsTable GetShardIterator", "SeatsTable ListStreams",
        "Seats GetItem", "Seats Query", "Seats PutItem", "Operations GetItem", "Operations PutItem",
        "UnrecordedSeatUse SendMessage",
    },
    "RecordDenials": {
        "DenialQueue ReceiveMessage", "DenialQueue DeleteMessage", "DenialQueue GetQueueAttributes",
        "Seats GetItem", "Seats Query", "Seats PutItem", "Operations GetItem", "Operations PutItem",
    },
    "RenewKeys": {
        "Licensing GetItem", "Licensing Query", "Licensing PutItem", "Licensing UpdateItem", "Operations PutItem",
        "* Sign", "SigningKeysSecret GetSecretValue", "aurora.example SendEmail", "aurora.example SendRawEmail",
        "FailedSchedules SendMessage",
    },
    "ManageKeys": {
        "Licensing GetItem", "Licensing BatchGetItem", "Licensing Query", "Licensing PutItem", "Licensing UpdateItem",
        "Licensing DeleteItem", "Seats GetItem", "Seats Query", "Seats PutItem", "Seats UpdateItem", "Operations PutItem",
        "* Sign", "SigningKeysSecret GetSecretValue", "aurora.example SendEmail", "aurora.example SendRawEmail",
    },
    "FindExpiries": {
        "Licensing Query", "Licensing PutItem", "Licensing UpdateItem", "AlertQueue SendMessage",
        "FailedSchedules SendMessage",
    },
    "SendAlerts": {
        "AlertQueue ReceiveMessage", "AlertQueue DeleteMessage", "AlertQueue GetQueueAttributes", "AlertQueue SendMessage",
        "Licensing GetItem", "Licensing BatchGetItem", "Licensing Query", "Licensing ConditionCheckItem",
        "Licensing PutItem", "Licensing UpdateItem", "State BatchGetItem", "Operations PutItem", "EventBus PutEvents",
        "WebhookQueue SendMessage", "aurora.example SendEmail", "aurora.example SendRawEmail",
    },
    "DeliverWebhooks": {
        "WebhookQueue ReceiveMessage", "WebhookQueue DeleteMessage", "WebhookQueue GetQueueAttributes",
        "WebhookQueue ChangeMessageVisibility", "Licensing GetItem", "Licensing PutItem", "Operations PutItem",
    },
    "ManageAlerts": {"Licensing GetItem", "Licensing PutItem", "Operations PutItem", "WebhookQueue SendMessage"},
    "RecordOperations": {
        "StateTable DescribeStream", "StateTable GetRecords", "StateTable GetShardIterator", "StateTable ListStreams",
        "Operations GetItem", "Operations PutItem", "UnrecordedOperations SendMessage",
    },
}  # fmt: skip


def said(name: str) -> Iterator[Any]:
    """A function's statements as the template has them, those that hang on a condition too."""
    for statement in statements(TEMPLATE, FUNCTIONS[name]):
        yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def granted(function: Function) -> set[str]:
    return {
        f"{re.split('[/:-]', resource.removeprefix('Users.Outputs.'))[-1]} {action.partition(':')[2]}"
        for statement in function.statements
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if action not in LAMBDA_BASE
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_do_what_it_needs_and_no_more(name: str) -> None:
    assert granted(ALL[name]) == GRANTED[name]


#: What people decide goes through these.
FOR_PEOPLE = {
    "ManageAlerts",
    "ServePortal",
    "ManageCustomers",
    "ManageInstallations",
    "ManageOrders",
    "UnlockOrder",
    "SendMail",
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("action", ["PutItem", "UpdateItem", "DeleteItem"])
@pytest.mark.parametrize("key", ["KEYSET", "VENDOR", "cus_1", "TOKEN#1", "TAX#IT1", "WINDOW#IT1"])
def test_no_function_writes_what_the_vendor_or_the_portal_decides(name: str, action: str, key: str) -> None:
    if (key not in ("KEYSET", "VENDOR") and name in FOR_PEOPLE) or (key == "VENDOR" and name == "ManageCustomers"):
        return
    need = Need(f"dynamodb:{action}", LICENSING, {"dynamodb:LeadingKeys": (key,)})
    assert not any(allows(statement, need) for statement in ALL[name].statements)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_action_is_a_pattern_and_no_resource_is_everything(name: str) -> None:
    for statement in said(name):
        assert statement["Effect"] == "Allow"
        assert "NotAction" not in statement
        assert "NotResource" not in statement
        actions, resources = listed(statement["Action"]), [json.dumps(each) for each in listed(statement["Resource"])]
        assert not [action for action in actions if "*" in action]
        if any("*" in resource for resource in resources) and not all(a.startswith("xray:") for a in actions):
            if actions in (["s3:PutObject"], ["s3:GetObjectVersion"]):
                below = statement["Resource"]["Fn::Sub"].removeprefix("arn:${AWS::Partition}:s3:::")
                assert below in ("${ArchiveBucket}/operations/*", "${Deployment}-seals-${AWS::AccountId}/seals/*")
                continue
            # Signing keys come with rotation, so only their tag can name them.
            assert actions == ["kms:Sign"]
            assert statement["Condition"]["StringEquals"]["aws:ResourceTag/licensing:use"]


def test_every_statement_says_what_it_is_for() -> None:
    assert all(statement["Sid"] for name in FUNCTIONS for statement in said(name))


def test_no_two_functions_share_a_role() -> None:
    roles = [function["Properties"]["Role"]["Fn::GetAtt"][0] for function in FUNCTIONS.values()
             if "Role" in function["Properties"]]  # fmt: skip
    assert not [pair for pair in combinations(roles, 2) if pair[0] == pair[1]]
    assert set(roles) == set(of_type(TEMPLATE, "AWS::IAM::Role"))


def test_the_root_key_is_of_use_to_no_function() -> None:
    signers = {name for name, function in ALL.items() if any(allows(each, SERVER_KEY) for each in function.statements)}
    assert signers == {"ActivateServer", "ValidateServer"}
    for function in ALL.values():
        assert not [each for each in function.statements if allows(each, ROOT_KEY)]
    (key,) = of_type(DATA, "AWS::KMS::Key").values()
    assert {"Key": "licensing:use", "Value": "root"} in key["Properties"]["Tags"]
    assert (key["Properties"]["KeySpec"], key["Properties"]["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
    denied = [each for each in key["Properties"]["KeyPolicy"]["Statement"] if each["Effect"] == "Deny"]
    assert [(each["Action"], each["Condition"]) for each in denied] == [
        ("kms:Sign", {"ArnLike": {"aws:PrincipalArn": {"Ref": "FunctionRoles"}}})
    ]


def test_signing_with_the_root_is_nobody_s_by_default_policy() -> None:
    (key,) = of_type(DATA, "AWS::KMS::Key").values()
    for statement in key["Properties"]["KeyPolicy"]["Statement"]:
        actions = listed(statement["Action"])
        assert "kms:*" not in actions
        assert actions == ["kms:Sign"] or "kms:Sign" not in actions


# ── API ──


def test_what_anyone_may_post_is_throttled_more_than_the_rest() -> None:
    (api,) = of_type(TEMPLATE, "AWS::Serverless::HttpApi").values()
    usual = api["Properties"]["DefaultRouteSettings"]
    tighter = api["Properties"]["RouteSettings"]
    assert set(tighter) == {
        "POST /v1/activation-requests",
        "POST /v1/activation-requests/{request_id}/verify",
        "POST /v1/activations",
        "GET /unlock/{secret}",
        "POST /unlock/{secret}",
        "ANY /portal/{page+}",
    }
    assert set(tighter) <= routes()
    for limits in tighter.values():
        assert 0 < limits["ThrottlingRateLimit"] < usual["ThrottlingRateLimit"]
        assert 0 < limits["ThrottlingBurstLimit"] < usual["ThrottlingBurstLimit"]


def test_the_access_log_holds_neither_query_nor_header_nor_secret_path() -> None:
    (api,) = of_type(TEMPLATE, "AWS::Serverless::HttpApi").values()
    log = api["Properties"]["AccessLogSettings"]
    fields = json.loads(log["Format"])
    assert set(fields.values()) <= {
        "$context.requestTimeEpoch", "$context.requestId", "$context.routeKey", "$context.status",
        "$context.identity.sourceIp", "$context.responseLatency", "$context.integrationLatency",
        "$context.responseLength", "$context.error.message",
    }  # fmt: skip
    assert log["DestinationArn"] == {"Fn::GetAtt": ["ApiLogs", "Arn"]}


def test_every_event_belongs_to_the_one_api() -> None:
    assert all(event["ApiId"] == {"Ref": "Api"} for _, event in events("HttpApi"))
    assert len(routes()) == len(list(events("HttpApi")))


def test_routes_of_template_and_openapi_document_are_the_same() -> None:
    document = json.loads((ROOT / "functions" / "describe_api" / "openapi.json").read_text())
    described = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    pages = {route for route in routes() if "/portal" in route or "/unlock" in route}
    assert described == routes() - {each for each in pages if "/v1/" not in each}


# ── data ──


@pytest.mark.parametrize("name", of_type(DATA, "AWS::DynamoDB::GlobalTable"))
def test_a_table_is_encrypted_recoverable_and_kept(name: str) -> None:
    table = DATA["Resources"][name]
    properties = resolved()[1].resolve(table["Properties"])
    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    assert properties["BillingMode"] == "PAY_PER_REQUEST"
    assert properties["SSESpecification"]["SSEEnabled"]
    assert properties["StreamSpecification"]["StreamViewType"] == "NEW_AND_OLD_IMAGES"
    assert [replica["Region"] for replica in properties["Replicas"]] == [REGION, "eu-central-1"]
    for replica in properties["Replicas"]:
        assert replica["DeletionProtectionEnabled"]
        assert replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]


def test_there_are_only_global_tables() -> None:
    assert not of_type(DATA, "AWS::DynamoDB::Table")
    assert not of_type(TEMPLATE, "AWS::DynamoDB::Table")


def test_a_single_site_has_no_replica() -> None:
    data = resolved(backup_region="")[1]
    for table in of_type(DATA, "AWS::DynamoDB::GlobalTable").values():
        assert len(data.resolve(table["Properties"])["Replicas"]) == 1
    (secret,) = of_type(DATA, "AWS::SecretsManager::Secret").values()
    assert "ReplicaRegions" not in data.resolve(secret["Properties"])


def test_the_backup_site_adds_queues_and_uses_the_replicas() -> None:
    data = resolved("backup", "")[1]
    made = {name for name, each in DATA["Resources"].items() if data.holds(each.get("Condition"))}
    assert made == {
        "ActivationCodeQueue", "UnsentActivationCodes", "MailQueue", "UnsentMail", "UnrecordedOperations",
        "EventBus", "AlertQueue", "UnsentAlerts", "WebhookQueue", "UndeliveredWebhooks",
        "LogCleanupQueue", "UncleanedLogs", "FailedSchedules", "DenialQueue", "UnrecordedDenials", "UnrecordedSeatUse",
        "MailConfigurationSet", "MailEvents", "OrderMailEvents", "MailEventQueuePolicy", "MailEventQueue",
        "UnrecordedMailEvents",
    }  # fmt: skip
    outputs = {name: data.resolve(each["Value"]) for name, each in DATA["Outputs"].items()
               if data.holds(each.get("Condition"))}  # fmt: skip
    assert outputs["LicensingTable"] == "licensing-Licensing"
    assert outputs["SigningKeysSecretArn"].endswith(":secret:licensing/signing-keys-??????")
    assert "RootKeyArn" not in outputs


@pytest.mark.parametrize(("function", "source"), list(events("SQS")))
def test_what_a_queue_brings_is_never_lost(function: str, source: dict[str, Any]) -> None:
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    output = source["Queue"]["Fn::GetAtt"][1].removeprefix("Outputs.")
    queue = DATA["Resources"][DATA["Outputs"][output]["Value"]["Fn::GetAtt"][0]]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * setting(function, "Timeout")
    redrive = queue["RedrivePolicy"]
    assert redrive["maxReceiveCount"] >= 2
    assert queue["MessageRetentionPeriod"] > queue["VisibilityTimeout"] * redrive["maxReceiveCount"]
    dead = DATA["Resources"][redrive["deadLetterTargetArn"]["Fn::GetAtt"][0]]["Properties"]
    assert dead["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
    assert "RedrivePolicy" not in dead


@pytest.mark.parametrize(("function", "source"), list(events("DynamoDB")))
def test_what_a_stream_brings_is_never_lost(function: str, source: dict[str, Any]) -> None:
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BisectBatchOnFunctionError"]
    assert source["MaximumRecordAgeInSeconds"] <= 12 * 3600, (
        "a stream forgets after a day, and somebody has to act before"
    )
    destination = source["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][1].removeprefix("Outputs.")
    queue = DATA["Resources"][DATA["Outputs"][destination]["Value"]["Fn::GetAtt"][0]]
    assert queue["Properties"]["MessageRetentionPeriod"] == 14 * 24 * 3600


@pytest.mark.parametrize(("function", "schedule"), list(events("ScheduleV2")))
def test_a_schedule_is_flexible_tries_again_and_loses_nothing(function: str, schedule: dict[str, Any]) -> None:
    assert schedule["FlexibleTimeWindow"]["Mode"] == "FLEXIBLE"
    assert schedule["RetryPolicy"]["MaximumRetryAttempts"] > 0
    dead = {"Fn::GetAtt": ["Data", "Outputs.FailedSchedulesArn"]}
    assert schedule["DeadLetterConfig"]["Arn"] == dead
    # A schedule invokes without waiting, so what fails inside is for the function's own destination.
    invoked = FUNCTIONS[function]["Properties"]["EventInvokeConfig"]
    assert invoked["DestinationConfig"]["OnFailure"]["Destination"] == dead


def test_the_seals_copies_can_not_be_taken_back_nor_seen_from_outside() -> None:
    (bucket,) = of_type(DATA, "AWS::S3::Bucket").values()
    properties = bucket["Properties"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert properties["ObjectLockEnabled"]
    assert properties["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": 3650}
    assert properties["VersioningConfiguration"]["Status"] == "Enabled"
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert not [each for function in ALL.values() for each in function.statements
                if {"s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"} & set(listed(each["Action"]))]  # fmt: skip


def test_queues_are_encrypted() -> None:
    assert all(each["Properties"]["SqsManagedSseEnabled"] for each in of_type(DATA, "AWS::SQS::Queue").values())


def test_a_deleted_stack_leaves_keys_and_secrets_behind() -> None:
    kept = {**of_type(DATA, "AWS::KMS::Key"), **of_type(DATA, "AWS::SecretsManager::Secret")}
    assert all(each["DeletionPolicy"] == each["UpdateReplacePolicy"] == "Retain" for each in kept.values())


# ── observability ──


def test_every_function_has_its_alarms() -> None:
    variable, names, alarms = OBSERVABILITY["Resources"]["Fn::ForEach::FunctionAlarms"]
    assert variable == "FunctionName"
    assert set(names) == set(FUNCTIONS)
    assert {each["Properties"]["MetricName"] for each in alarms.values()} == {"Errors", "Throttles"}
    for name, function in FUNCTIONS.items():
        assert function["Properties"]["FunctionName"] == {"Fn::Sub": f"${{Deployment}}-{name}"}


def test_trouble_is_told_without_reading_a_log() -> None:
    watched = {each["Properties"]["MetricName"] for each in of_type(OBSERVABILITY, "AWS::CloudWatch::Alarm").values()}
    assert watched == {
        "ApproximateNumberOfMessagesVisible",
        "ApproximateAgeOfOldestMessage",
        "IteratorAge",
        "Invocations",
        "5xx",
        "Latency",
    }


def test_every_alarm_tells_somebody_and_says_what_is_wrong() -> None:
    (_, _, of_functions) = OBSERVABILITY["Resources"]["Fn::ForEach::FunctionAlarms"]
    for alarm in [*of_functions.values(), *of_type(OBSERVABILITY, "AWS::CloudWatch::Alarm").values()]:
        assert alarm["Properties"]["AlarmActions"] == [{"Ref": "Alarms"}]
        assert alarm["Properties"]["AlarmDescription"]


def test_the_dashboard_is_json() -> None:
    body = OBSERVABILITY["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    assert len(json.loads(body)["widgets"]) == 4
