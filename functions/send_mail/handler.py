"""SQS: send the e-mails about invitations, passwords, requests, orders and a shorter retention."""

from typing import Annotated, Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from licensing import customers, deployment, orders, people, retention_mail
from pydantic import Field, TypeAdapter

processor = BatchProcessor(event_type=EventType.SQS)
#: What the queue carries; ``kind`` tells which.
Message = people.Message | people.AccessRequest | customers.RequestMessage | orders.Message | retention_mail.Message
messages: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def send(record: SQSRecord) -> None:
    """One message, one e-mail to each of its recipients."""
    sent_at, now = int(record.attributes.sent_timestamp) / 1000, deployment.now()
    message = messages.validate_json(record.body)
    if isinstance(message, customers.RequestMessage):
        customers.send_request(message, sent_at, now)
    elif isinstance(message, people.AccessRequest):
        people.send_access_request(message, now)
    elif isinstance(message, orders.Message):
        orders.send(message, sent_at, now)
    elif isinstance(message, retention_mail.Message):
        retention_mail.send(message, sent_at, now)
    else:
        people.SENDERS[message.kind](message, sent_at, now)


def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """Entry point; what failed is delivered again."""
    return process_partial_response(event=event, record_handler=send, processor=processor, context=context)
