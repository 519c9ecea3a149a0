"""SQS: send the e-mails about invitations, passwords and orders."""

from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from licensing import deployment, people

processor = BatchProcessor(event_type=EventType.SQS)


def send(record: SQSRecord) -> None:
    """One message, one e-mail to each of its recipients."""
    sent_at = int(record.attributes.sent_timestamp) / 1000
    message = people.Message.model_validate_json(record.body)
    people.SENDERS[message.kind](message, sent_at, deployment.now())


def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """Entry point; what failed is delivered again."""
    return process_partial_response(event=event, record_handler=send, processor=processor, context=context)
