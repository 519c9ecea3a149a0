"""Takes records from a table's stream to the function that the template names, as Lambda's event source mapping does."""

import json
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config
from moto.backends import get_backend

from infra.local.aws import LOCK
from infra.local.functions import FunctionFailed, Functions, Site
from infra.local.template import ACCOUNT, REGION, Function, Trigger

#: botocore would take the account of a stream's ARN into the address, where moto expects DynamoDB itself.
NO_ACCOUNT_IN_ADDRESS = Config(account_id_endpoint_mode="disabled")


class StreamSource:
    """One function's stream. Records come in order; what fails is tried again, and goes to the failure destination in the end."""

    def __init__(self, functions: Functions, function: Function, trigger: Trigger, site: Site) -> None:
        self._functions = functions
        self._function = function
        self._site = site
        self._arn: str = trigger.properties["Stream"]
        self._batch: int = trigger.properties.get("BatchSize", 100)
        self._tries: int = 1 + trigger.properties["MaximumRetryAttempts"]
        self._destination: str = trigger.properties["DestinationConfig"]["OnFailure"]["Destination"]
        self._client = boto3.client("dynamodbstreams", region_name=REGION, config=NO_ACCOUNT_IN_ADDRESS)
        shards = self._client.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        self._shard: str = shards[0]["ShardId"]
        self._begin = self._iterator = ""
        self.skip()

    def skip(self) -> None:
        """Go on behind all that is in the stream now."""
        with LOCK:
            before = self._begin
            self._begin = self._client.get_shard_iterator(
                StreamArn=self._arn, ShardId=self._shard, ShardIteratorType="LATEST"
            )["ShardIterator"]
            self.rewind()
            _forget(before)

    def rewind(self) -> None:
        """Deliver all again that has come since the last skip, as Lambda may."""
        with LOCK:
            self._go_on_at(self._begin)
            self._failures, self._size = 0, self._batch

    def poll(self) -> int:
        """Hand over one batch; returns how many records are done with. Zero: there are none, or they failed and come back.

        A batch that failed is halved until the record that fails is alone.
        """
        with LOCK:
            found = self._client.get_records(ShardIterator=self._iterator, Limit=self._size)
            _forget(found["NextShardIterator"])
            records = found["Records"]
            if not records:
                return 0
            done = self._hand_over(records)
            if done == 0 and len(records) > 1:
                self._size = len(records) // 2
                return 0
            if done == 0:
                self._failures += 1
                if self._failures < self._tries:
                    return 0
                self._give_up(records)
                done = 1
            self._failures, self._size = 0, self._batch
            last = records[done - 1]["dynamodb"]["SequenceNumber"]
            self._go_on_at(
                self._client.get_shard_iterator(
                    StreamArn=self._arn, ShardId=self._shard,
                    ShardIteratorType="AFTER_SEQUENCE_NUMBER", SequenceNumber=last,
                )["ShardIterator"]
            )  # fmt: skip
            return done

    def _go_on_at(self, iterator: str) -> None:
        if self._iterator != self._begin:
            _forget(self._iterator)
        self._iterator = iterator

    def _hand_over(self, records: list[Any]) -> int:
        """How many of the records, from the first on, the function took."""
        try:
            answer = self._functions.invoke(
                self._function, {"Records": [_event(each, self._arn) for each in records]}, self._site
            )
        except FunctionFailed:
            return 0
        failed = {each.get("itemIdentifier") for each in (answer or {}).get("batchItemFailures") or ()}
        places = [n for n, each in enumerate(records) if each["dynamodb"]["SequenceNumber"] in failed]
        return min(places, default=len(records))

    def _give_up(self, records: list[Any]) -> None:
        """What Lambda sends to a failure destination: where the records are, not what they say."""
        queue = boto3.client("sqs", region_name=REGION)
        url = queue.get_queue_url(QueueName=self._destination.rpartition(":")[2])["QueueUrl"]
        batch = {
            "shardId": self._shard,
            "startSequenceNumber": records[0]["dynamodb"]["SequenceNumber"],
            "endSequenceNumber": records[-1]["dynamodb"]["SequenceNumber"],
            "batchSize": len(records),
            "streamArn": self._arn,
        }
        queue.send_message(QueueUrl=url, MessageBody=json.dumps({"DDBStreamBatchInfo": batch}))


def _forget(iterator: str) -> None:
    """moto keeps every iterator for good, and each look at a stream makes one."""
    get_backend("dynamodbstreams")[ACCOUNT][REGION].shard_iterators.pop(iterator, None)


def _event(record: Mapping[str, Any], arn: str) -> dict[str, Any]:
    change = dict(record["dynamodb"])
    change["ApproximateCreationDateTime"] = change["ApproximateCreationDateTime"].timestamp()
    return {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventSource": "aws:dynamodb",
        "eventSourceARN": arn,
        "awsRegion": REGION,
        "dynamodb": change,
    }
