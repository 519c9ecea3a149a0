"""The real `aws` command line on the wire of `make run`: it sees what the portal's API tells, and moves dead letters back."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.local.stack import Stack

ROOT = Path(__file__).resolve().parents[2]
AWS = ROOT / ".venv-aws" / "bin" / "aws"
TAX_ID = "IT00743110157"
ACCOUNT = "arn:aws:sqs:eu-south-1:123456789012"


def sh(stack: Stack, script: str) -> str:
    """What a shell says to it, with the variables that the README tells."""
    exported = re.search(r"^export (AWS_ENDPOINT_URL=.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert exported
    told = dict(each.split("=", 1) for each in exported[1].split())
    assert told["AWS_ENDPOINT_URL"] == "http://127.0.0.1:8003"  # make run's own; here the ports are others
    named = {
        **told,
        "AWS_ENDPOINT_URL": stack.aws_url,
        "AWS_DEFAULT_REGION": told["AWS_REGION"],
        "NO_PROXY": "127.0.0.1",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        ["bash", "-ec", f"shopt -s expand_aliases\n{script}"],
        capture_output=True, text=True, timeout=120, cwd=ROOT, env={**kept, **named, "AWS_PAGER": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def aws(stack: Stack, *arguments: str) -> Any:
    endpoint = ["--endpoint-url", stack.aws_url] if arguments[0] == "sqs" else []
    quoted = " ".join(f"'{each}'" for each in (str(AWS), *arguments, *endpoint, "--output", "json"))
    said = sh(stack, quoted)
    return json.loads(said) if said else None


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    assert AWS.exists(), "make .venv-aws/.ready installs it"


@pytest.fixture
def api(stack: Stack) -> Iterator[httpx.Client]:
    """The API as the vendor sees it."""
    with httpx.Client(base_url=stack.sites[0].url, trust_env=False) as client:
        token = client.post("/local/users/marta.conti@aurora.example/token").json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        yield client


def test_the_lines_of_the_readme_work_as_they_stand(stack: Stack) -> None:
    (block,) = re.findall(r"```sh\n(export AWS_DEFAULT_REGION.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block.count("\naws ") == 6
    said = sh(stack, block)
    for shown in ("licensing-Operations", "customer_id", "op_", "/LogCleanupQueue", "event-bus/licensing", "CleanLogs"):
        assert shown in said


def test_it_reads_the_same_operations_as_the_api(stack: Stack, api: httpx.Client) -> None:
    pk = json.dumps({":pk": {"S": f"TAX#{TAX_ID}"}})
    query = ("dynamodb", "query", "--key-condition-expression", "pk = :pk", "--expression-attribute-values")
    (found,) = aws(stack, *query, pk, "--table-name", "licensing-Licensing")["Items"]
    customer_id = found["customer_id"]["S"]
    (customer,) = [each for each in api.get("/v1/customers").json()["items"] if each["tax_id"] == TAX_ID]
    assert customer["customer_id"] == customer_id

    told = api.get(f"/v1/customers/{customer_id}/operations?limit=1000").json()["items"]
    assert told
    days = {each["at"][:10] for each in told} | {str(datetime.now(UTC).date())}
    stored = [
        item["sk"]["S"].partition("#")[2]
        for day in sorted(days)
        for item in aws(
            stack,
            *query,
            json.dumps({":pk": {"S": f"{customer_id}#{day}#primary"}}),
            "--table-name",
            "licensing-Operations",
        )["Items"]
    ]
    assert stored == [each["operation_id"] for each in reversed(told)]


def test_it_lists_the_same_schedules_as_the_local_page(stack: Stack, api: httpx.Client) -> None:
    listed = {each["name"]: each["schedule"] for each in api.get("/local/schedules").json()["items"]}
    schedules = aws(stack, "scheduler", "list-schedules")["Schedules"]
    assert {each["Name"] for each in schedules} == set(listed)
    one = aws(stack, "scheduler", "get-schedule", "--name", "CleanLogs")
    assert one["ScheduleExpression"] == listed["CleanLogs"]
    assert one["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 60}
    assert one["Target"]["DeadLetterConfig"]["Arn"] == f"{ACCOUNT}:FailedSchedules"
    assert one["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 10


def test_dead_letters_go_back_and_are_worked_off(stack: Stack, api: httpx.Client) -> None:
    stack.queues.stop()  # by hand from here on
    customer_id = next(
        each["customer_id"] for each in api.get("/v1/customers").json()["items"] if each["tax_id"] == TAX_ID
    )
    urls = {url.rpartition("/")[2]: url for url in aws(stack, "sqs", "list-queues")["QueueUrls"]}
    letter = json.dumps({"customer_id": customer_id})
    aws(stack, "sqs", "send-message", "--queue-url", urls["UncleanedLogs"], "--message-body", letter)

    aws(stack, "sqs", "start-message-move-task", "--source-arn", f"{ACCOUNT}:UncleanedLogs")
    (task,) = aws(stack, "sqs", "list-message-move-tasks", "--source-arn", f"{ACCOUNT}:UncleanedLogs")["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)

    def waiting(name: str) -> str:
        named = ("sqs", "get-queue-attributes", "--attribute-names", "ApproximateNumberOfMessages", "--queue-url")
        return str(aws(stack, *named, urls[name])["Attributes"]["ApproximateNumberOfMessages"])

    assert (waiting("UncleanedLogs"), waiting("LogCleanupQueue")) == ("0", "1")
    before = (stack.directory / "functions.log").read_text().count("log_cleaned")
    stack.queues.run_once()
    assert (stack.directory / "functions.log").read_text().count("log_cleaned") == before + 1
    assert waiting("LogCleanupQueue") == "0"
