"""The e-mail with a one-time code (A1)."""

from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import formataddr
from zoneinfo import ZoneInfo

from aws_lambda_powertools import Logger
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from pydantic import BaseModel

from licensing import deployment
from licensing.rules.accounts import Customer
from licensing.rules.vendor import Vendor
from licensing.store import accounts, activation_requests
from licensing.store.vendor import cached as vendor_settings

logger = Logger(child=True)

#: The message goes out before its request is written; one that has none after this time never will.
_ORPHANED = timedelta(minutes=2)
_templates = Environment(
    loader=PackageLoader("licensing"), autoescape=select_autoescape(), undefined=StrictUndefined, trim_blocks=True
)


class Message(BaseModel):
    """What the queue carries."""

    request_id: str
    tax_id: str
    code: str


class NotYet(Exception):
    """Raised when the request is not written yet: the message is to be delivered again."""


def send(message: Message, queued_at: float, now: datetime) -> None:
    """Mail the code to the customer's registered contacts. A tax id that nobody has, and a request that never came about, are
    dropped. Delivered twice, it mails the same code twice.

    ``queued_at`` is in epoch seconds by the queue's clock. Raises NotYet, and what SES and DynamoDB raise: all are retried.
    """
    request = activation_requests.find(message.request_id)
    if request is None:
        if datetime.now(now.tzinfo).timestamp() - queued_at > _ORPHANED.total_seconds():
            logger.info("orphaned", request_id=message.request_id)
            return
        raise NotYet
    customer_id = accounts.find_by_tax_id(message.tax_id)
    customer = accounts.get_customer(customer_id) if customer_id else None
    if customer is None or customer.deleted or request.code_until <= now.timestamp():
        logger.info("nobody_to_send_to", request_id=message.request_id)
        return
    recipients = [contact.email for contact in customer.contacts if contact.email]
    if not recipients:
        logger.warning("customer_without_contact", customer_id=customer_id)
        return
    until = datetime.fromtimestamp(int(request.code_until), now.tzinfo)
    mail = compose(customer, vendor_settings(now), message.code, until, recipients)
    deployment.aws_client("sesv2").send_email(
        FromEmailAddress=sender(vendor_settings(now)),
        Destination={"ToAddresses": recipients},
        Content={"Raw": {"Data": mail.as_bytes()}},
    )
    logger.info("code_mailed", request_id=message.request_id, customer_id=customer_id)


def sender(vendor: Vendor) -> str:
    """From whom e-mails come, with the vendor's name (RFC 2047 where it is not ASCII)."""
    return formataddr((vendor.name, deployment.mail_sender()))


def compose(customer: Customer, vendor: Vendor, code: str, until: datetime, recipients: list[str]) -> EmailMessage:
    """The e-mail, in plain text and HTML."""
    facts = {
        "code": code,
        "customer": customer,
        "vendor": vendor,
        "until": f"{until.astimezone(ZoneInfo(customer.time_zone)):%H:%M}",
    }
    mail = EmailMessage()
    mail["Subject"] = f"{code} is your activation code"
    mail["From"] = sender(vendor)
    mail["To"] = ", ".join(recipients)
    mail.set_content(_templates.get_template("activation_code.txt").render(facts))
    mail.add_alternative(_templates.get_template("activation_code.html").render(facts), subtype="html")
    return mail
