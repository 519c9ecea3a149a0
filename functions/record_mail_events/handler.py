"""SQS: record what became of orders' e-mails, as SES tells it through EventBridge."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from licensing import mail_events

processor = BatchProcessor(event_type=EventType.SQS)


def tell(record: SQSRecord) -> None:
    """One event."""
    mail_events.record(mail_events.Envelope.model_validate_json(record.body).detail)


def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """Entry point; what failed is delivered again."""
    return process_partial_response(event=event, record_handler=tell, processor=processor, context=context)
