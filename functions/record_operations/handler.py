"""The State table's stream: record what servers did in the operation log (A9)."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from licensing import deployment, server_log

processor = BatchProcessor(event_type=EventType.DynamoDBStreams)


def tell(record: DynamoDBRecord) -> None:
    """One write of a server's item."""
    change = record.raw_event["dynamodb"]
    server_log.record_change(change.get("OldImage"), change.get("NewImage"), deployment.now())


def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """Entry point; what failed is delivered again, and what follows it with it."""
    return process_partial_response(event=event, record_handler=tell, processor=processor, context=context)
