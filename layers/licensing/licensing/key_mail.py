"""The e-mail with a renewed activation key (C1): the key as text and as a file."""

from datetime import datetime
from email.message import EmailMessage

from aws_lambda_powertools import Logger

from licensing import deployment
from licensing.activation_keys import IssuedKey
from licensing.activation_mail import sender
from licensing.rules.accounts import Customer
from licensing.rules.vendor import Vendor
from licensing.store import accounts
from licensing.store.vendor import cached as vendor_settings

logger = Logger(child=True)

_TEXT = """\
{customer},

your activation key for the coming year is below, and attached as a file. It is valid from {first_day} to {last_day}.

Import it in the portal: paste it whole, from BEGIN to END, or choose the file. Until then the present key goes on to its end.

{text}
{vendor}
"""


def send(issued: IssuedKey, now: datetime) -> None:
    """Mail a renewed key to the customer's registered contacts. Raises what SES and DynamoDB raise."""
    customer = accounts.get_customer(issued.key.customer_id)
    recipients = [contact.email for contact in customer.contacts if contact.email] if customer else []
    if customer is None or not recipients:
        logger.warning("customer_without_contact", customer_id=issued.key.customer_id)
        return
    vendor = vendor_settings(now)
    mail = compose(issued, customer, vendor, recipients)
    deployment.aws_client("sesv2").send_email(
        FromEmailAddress=sender(vendor),
        Destination={"ToAddresses": recipients},
        Content={"Raw": {"Data": mail.as_bytes()}},
    )
    logger.info("key_mailed", customer_id=customer.customer_id, key_id=issued.key.key_id)


def compose(issued: IssuedKey, customer: Customer, vendor: Vendor, recipients: list[str]) -> EmailMessage:
    """The e-mail."""
    key = issued.key
    mail = EmailMessage()
    mail["Subject"] = f"Your activation key until {key.last_day}"
    mail["From"] = sender(vendor)
    mail["To"] = ", ".join(recipients)
    mail.set_content(
        _TEXT.format(
            customer=customer.name,
            first_day=key.first_day,
            last_day=key.last_day,
            text=issued.text,
            vendor=vendor.name,
        )
    )
    mail.add_attachment(issued.text, filename=f"activation-key-{key.last_day}.txt")
    return mail
