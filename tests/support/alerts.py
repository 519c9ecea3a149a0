"""Alerts as people and machines get them: days that pass, e-mails, events on the bus."""

import email
import email.policy
import json
from dataclasses import dataclass
from datetime import date, timedelta
from email.message import Message
from pathlib import Path
from typing import Any

import boto3
from licensing import loading
from licensing.store import accounts
from licensing.store.operations import OperationItem

from infra.local.template import REGION
from tests.support.cloud import Cloud


def run_schedule(cloud: Cloud, times: int = 1) -> None:
    """The schedule, and all that it sets going."""
    for _ in range(times):
        answer = cloud.post("/local/schedules/FindExpiries/run", b"")
        assert answer.status_code == 200, answer.text
    work_off(cloud)


def work_off(cloud: Cloud) -> None:
    """What is queued, and what it queues, as often as it takes."""
    while cloud.work_off_queue():
        pass


def next_day(cloud: Cloud, days: int = 1) -> None:
    cloud.stack.clock.advance(timedelta(days=days))


@dataclass(frozen=True)
class Mail:
    """An e-mail as it was sent."""

    to: str
    subject: str
    text: str
    html: str
    headers: Message


def mails(cloud: Cloud) -> list[Mail]:
    """All alerts in the outbox, oldest first."""
    found = []
    for sent in cloud.stack.aws.sent_mail:
        message = email.message_from_string(sent.raw_data, policy=email.policy.default)
        text, html = (part.get_content() for part in message.iter_parts())
        found.append(Mail(str(message["to"]), str(message["subject"]), text, html, message))
    return found


class Subscriber:
    """Somebody who listens to the bus: a rule with a queue of its own behind it."""

    def __init__(self, cloud: Cloud, name: str = "Subscriber") -> None:
        bus = cloud.stack.outputs["EventBusName"]
        self._sqs = boto3.client("sqs", region_name=REGION)
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events = boto3.client("events", region_name=REGION)
        pattern = json.dumps({"source": ["cloud-licensing"]})
        events.put_rule(Name=name, EventBusName=bus, EventPattern=pattern)
        events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Type and detail of what came since the last time."""
        found = []
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages", []):
            for each in messages:
                told = json.loads(each["Body"])
                found.append((told["detail-type"], told["detail"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=each["ReceiptHandle"])
        return found


def schema_of(event_type: str) -> dict[str, Any]:
    """What docs/events says of a type of event."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "events" / f"{event_type}.v1.json").read_text()
    return dict(json.loads(text))


def customer_id(tax_id: str) -> str:
    found = accounts.find_by_tax_id(tax_id)
    assert found
    return found


def set_end(cloud: Cloud, code: str, last_day: date, **members: Any) -> None:
    """Let a demo license end on another day, as a renewal does."""
    for customer in cloud.stack.document["customers"]:
        for license in customer["licenses"]:
            if license["code"] == code:
                part = {**license, "last_day": last_day, **members}
                loading.load({"customers": [{**customer, "licenses": [part]}]}, cloud.now)
                return
    raise KeyError(code)


def quiet(cloud: Cloud) -> None:
    """Let no demo license end by itself, nor its care: the test says what does."""
    far = cloud.now.date() + timedelta(days=3000)
    customers = [
        {**customer, "licenses": [
            {**each, "care_until": each["care_until"] and far, "last_day": each["last_day"] and far}
            for each in customer["licenses"]
        ]}
        for customer in cloud.stack.document["customers"]
    ]  # fmt: skip
    loading.load({"customers": customers}, cloud.now)


def raised(cloud: Cloud) -> list[tuple[str, str]]:
    """Subject and threshold of every alert in the operation log."""
    return sorted(
        (item.subject_id, str(item.details["threshold"]))
        for item in OperationItem.scan()
        if "#op_" in item.sk and item.action == "alert.raised"
    )
