"""SQS: find what is due, publish it, make and send the digests (F7); queue what there was no time for."""

import json
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from licensing import alerts, deployment

processor = BatchProcessor(event_type=EventType.SQS)

#: Milliseconds that one customer, or ten digests, and the message that goes on from there need, all their tries included.
_MARGIN = 60_000


def work(record: SQSRecord, lambda_context: LambdaContext) -> None:
    """One message: a part of the directory, a customer, a day to compile, or a digest."""

    def going_on() -> bool:
        return lambda_context.get_remaining_time_in_millis() > _MARGIN

    alerts.work(json.loads(record.body), deployment.now(), going_on)


def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """Entry point; what failed is delivered again."""
    return process_partial_response(event=event, record_handler=work, processor=processor, context=context)
