"""Queues are emptied as Lambda's event source mapping does it."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import pytest

from infra.local.functions import FunctionFailed, Functions
from infra.local.queues import QueueSource
from infra.local.stack import PRIMARY
from infra.local.template import REGION, Function, Trigger

Handler = Callable[[Mapping[str, Any]], Any]


class Consumer(Functions):
    """Functions that hand every event to the test."""

    def __init__(self, handle: Handler) -> None:
        super().__init__([])
        self.handle = handle

    def invoke(self, function: Function, event: Mapping[str, Any], site: object) -> Any:
        return self.handle(event)


class Queues:
    """A queue without visibility timeout whose messages move to a second one after two receives."""

    def __init__(self) -> None:
        self.client = boto3.client("sqs", region_name=REGION)
        self.dead = self.client.create_queue(QueueName="dead")["QueueUrl"]
        redrive = {"deadLetterTargetArn": self._arn(self.dead), "maxReceiveCount": 2}
        attributes = {"VisibilityTimeout": "0", "RedrivePolicy": json.dumps(redrive)}
        self.url = self.client.create_queue(QueueName="codes", Attributes=attributes)["QueueUrl"]

    def _arn(self, url: str) -> str:
        return self.client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def source(self, handle: Handler, **properties: Any) -> QueueSource:
        named = {"Queue": self._arn(self.url), "FunctionResponseTypes": ["ReportBatchItemFailures"], **properties}
        function = Function("Send", "send.handler", 10, 128, {}, ())
        return QueueSource(Consumer(handle), function, Trigger("Codes", "SQS", named), PRIMARY)

    def put(self, *bodies: str) -> None:
        for body in bodies:
            self.client.send_message(QueueUrl=self.url, MessageBody=body)

    def left(self, url: str) -> list[str]:
        messages = self.client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return sorted(message["Body"] for message in messages)


@pytest.fixture
def queues(running_stack: object) -> Iterator[Queues]:
    """On the running stack's moto, since one process has one; its own queues are other ones."""
    queues = Queues()
    yield queues
    queues.client.delete_queue(QueueUrl=queues.url)
    queues.client.delete_queue(QueueUrl=queues.dead)


def test_a_batch_reaches_the_function_as_records_and_leaves_the_queue(queues: Queues) -> None:
    seen: list[Any] = []
    queues.put("one", "two")
    assert queues.source(lambda event: seen.extend(event["Records"])).poll() == 2
    assert sorted(record["body"] for record in seen) == ["one", "two"]
    record = seen[0]
    assert (record["eventSource"], record["awsRegion"]) == ("aws:sqs", REGION)
    assert record["eventSourceARN"].endswith(":codes")
    assert int(record["attributes"]["SentTimestamp"])
    assert queues.left(queues.url) == []


def test_an_empty_queue_calls_nobody(queues: Queues) -> None:
    def never(event: Mapping[str, Any]) -> None:
        raise AssertionError("called")

    assert queues.source(never).poll() == 0


def fail_two(event: Mapping[str, Any]) -> dict[str, Any]:
    failed = [record["messageId"] for record in event["Records"] if record["body"] == "two"]
    return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}


def test_only_what_failed_comes_back(queues: Queues) -> None:
    queues.put("one", "two", "three")
    queues.source(fail_two).poll()
    assert queues.left(queues.url) == ["two"]


def test_what_fails_too_often_goes_to_the_dead_letter_queue(queues: Queues) -> None:
    queues.put("two")
    source = queues.source(fail_two)
    assert [source.poll() for _ in range(3)] == [1, 1, 0]
    assert queues.left(queues.dead) == ["two"]


@pytest.mark.parametrize(
    "answer",
    [
        {"batchItemFailures": [{"itemIdentifier": ""}]},
        {"batchItemFailures": [{"itemIdentifier": None}]},
        FunctionFailed("Send: ValueError: no"),
    ],
)
def test_a_batch_that_failed_as_a_whole_comes_back_as_a_whole(queues: Queues, answer: Any) -> None:
    def handle(event: Mapping[str, Any]) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    queues.put("one", "two")
    queues.source(handle).poll()
    assert queues.left(queues.url) == ["one", "two"]


def test_without_partial_responses_an_answer_is_success(queues: Queues) -> None:
    queues.put("two")
    queues.source(fail_two, FunctionResponseTypes=[]).poll()
    assert queues.left(queues.url) == []


def test_a_batch_is_no_larger_than_the_template_says(queues: Queues) -> None:
    queues.put(*"abc")
    assert queues.source(lambda event: None, BatchSize=2).poll() == 2
