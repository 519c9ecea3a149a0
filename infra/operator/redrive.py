"""Recording what the State table's stream told and its function could not record (docs/operations.md).

A message of the failure destination says where in the stream the records are; the stream remembers them for 24 hours. What was
recorded meanwhile is not recorded twice.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from licensing import server_log


@dataclass
class Redriven:
    """What came of it. ``lost`` counts messages whose records the stream has forgotten."""

    messages: int = 0
    records: int = 0
    recorded: int = 0
    lost: int = 0


def unrecorded(queue_url: str, now: datetime) -> Redriven:
    """Work off the queue; a message goes once all its records are recorded. Raises TemporarilyUnavailable, ClientError."""
    queue, done = boto3.client("sqs"), Redriven()
    while messages := queue.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            records = _records(json.loads(message["Body"])["DDBStreamBatchInfo"])
            if records is None:
                done.lost += 1
                continue
            for record in records:
                change = record["dynamodb"]
                done.recorded += server_log.record_change(change.get("OldImage"), change.get("NewImage"), now)
            done.messages, done.records = done.messages + 1, done.records + len(records)
            queue.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
    return done


def _records(batch: dict[str, Any]) -> list[Any] | None:
    """The records from a batch's first sequence number to its last; None where the stream does not go back so far."""
    # An address with the account in it, which botocore takes from the ARN, is not that of every endpoint.
    stream = boto3.client("dynamodbstreams", config=Config(account_id_endpoint_mode="disabled"))
    first, last = int(batch["startSequenceNumber"]), int(batch["endSequenceNumber"])
    found: list[Any] = []
    try:
        iterator = stream.get_shard_iterator(
            StreamArn=batch["streamArn"],
            ShardId=batch["shardId"],
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            SequenceNumber=batch["startSequenceNumber"],
        )["ShardIterator"]
        while iterator:
            answer = stream.get_records(ShardIterator=iterator)
            numbered = [(int(each["dynamodb"]["SequenceNumber"]), each) for each in answer["Records"]]
            found += [each for number, each in numbered if first <= number <= last]
            if any(number >= last for number, _ in numbered):
                break
            iterator = answer.get("NextShardIterator") or ""
    except ClientError as error:
        if error.response["Error"]["Code"] == "TrimmedDataAccessException":
            return None
        raise
    return found
