"""SQS: deliver events to webhooks; a delivery that failed waits longer each time (F7)."""

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from licensing import deployment, webhooks
from licensing.webhooks import Delivery, NotDelivered

logger = Logger()
processor = BatchProcessor(event_type=EventType.SQS)


def deliver(record: SQSRecord) -> None:
    """One event to one webhook."""
    delivery = Delivery.model_validate_json(record.body)
    tries = int(record.attributes.approximate_receive_count)
    try:
        webhooks.deliver(delivery, deployment.now())
    except NotDelivered as error:
        logger.warning(
            "webhook_failed", webhook_id=delivery.webhook_id, event_id=delivery.event_id, tries=tries, reason=str(error)
        )
        webhooks.put_off(record.receipt_handle, tries)
        raise


def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """Entry point; what failed is delivered again."""
    return process_partial_response(event=event, record_handler=deliver, processor=processor, context=context)
