"""The e-mail with a one-time code (A1)."""

from datetime import datetime
from zoneinfo import ZoneInfo

from aws_lambda_powertools import Logger
from pydantic import BaseModel

from licensing import mail
from licensing.store import accounts, activation_requests
from licensing.store.vendor import cached as vendor_settings

logger = Logger(child=True)


class Message(BaseModel):
    """What the queue carries."""

    request_id: str
    tax_id: str
    code: str


def send(message: Message, queued_at: float, now: datetime) -> None:
    """Mail the code to the customer's registered contacts. A tax id that nobody has, and a request that never came about, are
    dropped. Delivered twice, it mails the same code twice.

    ``queued_at`` is in epoch seconds by the queue's clock. Raises NotYet, and what SES and DynamoDB raise: all are retried.
    """
    request = activation_requests.find(message.request_id)
    if request is None:
        mail.orphaned(queued_at)
        return
    customer_id = accounts.find_by_tax_id(message.tax_id)
    customer = accounts.get_customer(customer_id) if customer_id else None
    if customer is None or customer.deleted or request.code_until <= now.timestamp():
        logger.info("nobody_to_send_to", request_id=message.request_id)
        return
    recipients = [contact.email for contact in customer.contacts if contact.email]
    if not recipients:
        logger.warning("customer_without_contact", customer_id=customer_id)
        return
    until = datetime.fromtimestamp(int(request.code_until), ZoneInfo(customer.time_zone))
    facts = {"code": message.code, "customer": customer, "until": f"{until:%H:%M}"}
    vendor = vendor_settings(now)
    mail.send(mail.compose("activation_code", customer.language, vendor, recipients, facts), recipients, vendor)
    logger.info("code_mailed", request_id=message.request_id, customer_id=customer_id)
