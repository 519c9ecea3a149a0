"""The e-mail with a renewed activation key (C1): the key as text and as a file."""

from datetime import datetime
from email.message import EmailMessage

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from licensing import mail
from licensing.activation_keys import IssuedKey
from licensing.errors import TemporarilyUnavailable
from licensing.languages import language
from licensing.rules.accounts import Customer
from licensing.rules.vendor import Vendor
from licensing.store import accounts
from licensing.store.vendor import cached as vendor_settings

logger = Logger(child=True)


def send(issued: IssuedKey, now: datetime) -> None:
    """Mail a renewed key to the customer's registered contacts. Raises what SES and DynamoDB raise."""
    customer = accounts.get_customer(issued.key.customer_id)
    recipients = [contact.email for contact in customer.contacts if contact.email] if customer else []
    if customer is None or not recipients:
        logger.warning("customer_without_contact", customer_id=issued.key.customer_id)
        return
    vendor = vendor_settings(now)
    mail.send(compose(issued, customer, vendor, recipients), recipients, vendor)
    logger.info("key_mailed", customer_id=customer.customer_id, key_id=issued.key.key_id)


def send_now(issued: IssuedKey, now: datetime) -> None:
    """The same for somebody who waits for it. Raises TemporarilyUnavailable."""
    try:
        send(issued, now)
    except (ClientError, BotoCoreError) as error:
        raise TemporarilyUnavailable from error


def compose(issued: IssuedKey, customer: Customer, vendor: Vendor, recipients: list[str]) -> EmailMessage:
    """The e-mail."""
    key, spoken = issued.key, language(customer.language)
    facts = {
        "customer": customer,
        "first_day": spoken.date(key.first_day),
        "last_day": spoken.date(key.last_day),
        "text": issued.text,
        "link": f"{vendor.portal_url}/portal/customers/{customer.customer_id}/keys",
    }
    composed = mail.compose("activation_key", customer.language, vendor, recipients, facts)
    composed.add_attachment(issued.text, filename=f"activation-key-{key.last_day}.txt")
    return composed
