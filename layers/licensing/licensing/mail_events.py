"""What SES tells of an order's e-mails: delivered, bounced, complained about."""

from collections.abc import Iterator
from datetime import datetime

from aws_lambda_powertools import Logger
from pydantic import AwareDatetime, BaseModel, Field

from licensing import orders
from licensing.rules.orders import DeliveryState

logger = Logger(child=True)

_LONGEST_REASON = 200


class _Recipient(BaseModel):
    email: str = Field(alias="emailAddress")
    diagnostic: str = Field("", alias="diagnosticCode")


class _Delivery(BaseModel):
    at: AwareDatetime = Field(alias="timestamp")
    recipients: list[str]


class _Bounce(BaseModel):
    at: AwareDatetime = Field(alias="timestamp")
    kind: str = Field("", alias="bounceType")
    recipients: list[_Recipient] = Field(alias="bouncedRecipients")


class _Complaint(BaseModel):
    at: AwareDatetime = Field(alias="timestamp")
    kind: str | None = Field(None, alias="complaintFeedbackType")
    recipients: list[_Recipient] = Field(alias="complainedRecipients")


class _Mail(BaseModel):
    at: AwareDatetime = Field(alias="timestamp")
    recipients: list[str] = Field([], alias="destination")
    tags: dict[str, list[str]] = {}


class _Reject(BaseModel):
    reason: str = ""


class Event(BaseModel):
    """One event as SES publishes it to EventBridge (its ``detail``): exactly one of the four beside ``mail``."""

    mail: _Mail
    delivery: _Delivery | None = None
    bounce: _Bounce | None = None
    complaint: _Complaint | None = None
    reject: _Reject | None = None


class Envelope(BaseModel):
    """An event as EventBridge puts it into the queue."""

    detail: Event


def record(event: Event) -> None:
    """Record an event on its order. Events come twice, late, and in any order: the worse news stays.

    Raises TemporarilyUnavailable.
    """
    order_id, mailing_id = (next(iter(event.mail.tags.get(name, [])), "") for name in ("order", "mailing"))
    for email, state, at, reason in _told(event):
        if orders.record_delivery(order_id, mailing_id, email, state, at, reason[:_LONGEST_REASON]):
            logger.info("mail_event", order_id=order_id, state=state)


def _told(event: Event) -> Iterator[tuple[str, DeliveryState, datetime, str]]:
    if event.delivery:
        for email in event.delivery.recipients:
            yield email, "delivered", event.delivery.at, ""
    if event.bounce:
        for each in event.bounce.recipients:
            yield each.email, "bounced", event.bounce.at, each.diagnostic or event.bounce.kind
    if event.complaint:
        for each in event.complaint.recipients:
            yield each.email, "complained", event.complaint.at, event.complaint.kind or ""
    if event.reject:
        for email in event.mail.recipients:
            yield email, "bounced", event.mail.at, event.reject.reason
