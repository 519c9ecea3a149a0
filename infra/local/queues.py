"""Takes messages from the queues to the functions that the template names, as Lambda's event source mapping does."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import boto3

from infra.local.aws import LOCK
from infra.local.functions import FunctionFailed, Functions, Site
from infra.local.template import REGION, Function, Trigger


class QueueSource:
    """One function's queue. A message that failed stays in the queue, and the queue's own redrive policy sees to it."""

    def __init__(self, functions: Functions, function: Function, trigger: Trigger, site: Site) -> None:
        self._functions = functions
        self._function = function
        self._site = site
        self._arn: str = trigger.properties["Queue"]
        self.queue = self._arn.rpartition(":")[2]
        self._batch = min(10, trigger.properties.get("BatchSize", 10))
        self._partial = "ReportBatchItemFailures" in trigger.properties.get("FunctionResponseTypes", [])
        self._client = boto3.client("sqs", region_name=REGION)
        self._url = self._client.get_queue_url(QueueName=self.queue)["QueueUrl"]

    def poll(self) -> int:
        """Hand over one batch; returns how many messages were in it. Nothing else happens to the queue meanwhile."""
        with LOCK:
            return self._poll()

    def _poll(self) -> int:
        messages = self._client.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=self._batch, AttributeNames=["All"], MessageAttributeNames=["All"]
        ).get("Messages", [])
        if not messages:
            return 0
        try:
            answer = self._functions.invoke(self._function, self._event(messages), self._site)
        except FunctionFailed:
            return len(messages)  # all of them come back after their visibility timeout
        failed = self._failures(answer)
        if "" not in failed:
            for message in messages:
                if message["MessageId"] not in failed:
                    self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return len(messages)

    def _event(self, messages: list[Any]) -> dict[str, Any]:
        return {
            "Records": [
                {
                    "messageId": message["MessageId"],
                    "receiptHandle": message["ReceiptHandle"],
                    "body": message["Body"],
                    "attributes": message.get("Attributes", {}),
                    "messageAttributes": {
                        name: {"dataType": value["DataType"], "stringValue": value.get("StringValue")}
                        for name, value in message.get("MessageAttributes", {}).items()
                    },
                    "md5OfBody": message["MD5OfBody"],
                    "eventSource": "aws:sqs",
                    "eventSourceARN": self._arn,
                    "awsRegion": self._site.region,
                }
                for message in messages
            ]
        }

    def _failures(self, answer: Any) -> set[str]:
        """The message ids reported as failed; an empty id stands for the whole batch, as Lambda reads it."""
        if not self._partial or not isinstance(answer, Mapping):
            return set()
        return {str(each.get("itemIdentifier") or "") for each in answer.get("batchItemFailures") or ()}


class Source(Protocol):
    """A queue or a stream of a function."""

    def poll(self) -> int:
        """Hand over one batch; returns how many messages are done with."""
        ...


class Poller:
    """Polls queues and streams in a thread of its own: at once when :meth:`wake` is called, otherwise four times a second."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self._due = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="queues", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Something may have been put into a queue."""
        self._due.set()

    def run_once(self) -> None:
        """Hand over all that can be received now, in the caller's thread."""
        for source in self.sources:
            while source.poll():
                pass

    def stop(self) -> None:
        """End, once the batch in hand is done."""
        self._stopped = True
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            self._due.wait(0.25)
            self._due.clear()
            self.run_once()
