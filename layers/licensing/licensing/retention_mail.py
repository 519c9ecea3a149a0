"""The announcement of a shorter retention (A9): a customer's administrators learn in time what will be deleted, and when."""

from datetime import datetime, timedelta
from typing import Literal

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError
from pydantic import BaseModel

from licensing import deployment, mail
from licensing.identity import digest
from licensing.languages import language
from licensing.rules.accounts import Customer
from licensing.rules.heartbeat import local_date
from licensing.rules.people import email_key
from licensing.rules.retention import Shortening
from licensing.store import accounts, announcements, people
from licensing.store.vendor import cached as vendor_settings

logger = Logger(child=True)

#: Longer than a worker can be at one e-mail; after that it is thought dead.
_IN_HAND = timedelta(minutes=10)


class Message(BaseModel):
    """What the mail queue carries when a shorter retention is to be announced."""

    kind: Literal["retention"] = "retention"
    customer_id: str
    days: int
    since: datetime


def announce(before: Customer, after: Customer) -> None:
    """Queue the announcement of a shortening that is new, before it is written. Raises TemporarilyUnavailable."""
    shortening = after.log_retention.shortening
    if shortening and shortening != before.log_retention.shortening:
        message = Message(customer_id=after.customer_id, days=shortening.days, since=shortening.since)
        mail.queue(deployment.mail_queue_url(), message.model_dump(mode="json"))


def send(message: Message, queued_at: float, now: datetime) -> None:
    """Mail it to the customer's administrators, or its contacts where it has none; once to each. What was taken back is not sent.

    Where SES took it and its answer was lost, it goes out again ten minutes later: nobody can know. Raises NotYet while it is not
    written yet, or somebody else is at it, and what SES and DynamoDB raise.
    """
    customer = accounts.get_customer(message.customer_id)
    announced = Shortening(message.days, message.since)
    if customer is None or customer.log_retention.shortening != announced:
        mail.orphaned(queued_at)
        return
    in_hand, refused = False, None
    for email, tag in _recipients(customer).items():
        key = f"retention#{message.since.isoformat()}#{message.days}#{digest(email_key(email), 'address')[:32]}"
        if not announcements.begin_sending(customer.customer_id, key, now, now + _IN_HAND):
            in_hand = in_hand or not announcements.is_sent(customer.customer_id, key)
            continue
        try:
            _mail(customer, announced, email, tag, now)
        except ClientError as error:  # SES said no: it was not sent; the others are to learn of it nevertheless
            announcements.end_sending(customer.customer_id, key, now, sent=False)
            refused = error
            continue
        announcements.end_sending(customer.customer_id, key, now, sent=True)
        logger.info("mailed", template="retention", customer_id=customer.customer_id)
    if refused:
        raise refused
    if in_hand:
        raise mail.NotYet


def _recipients(customer: Customer) -> dict[str, str]:
    """Addresses, each with a language."""
    members = people.members(customer.customer_id)
    found = {
        each.email: each.language or customer.language
        for each in members
        if each.email and "administrator" in each.roles
    }
    return found or {each.email: customer.language for each in customer.contacts if each.email}


def _mail(customer: Customer, announced: Shortening, email: str, tag: str, now: datetime) -> None:
    vendor, spoken = vendor_settings(now), language(tag)
    since = local_date(announced.since, customer.time_zone)
    facts = {
        "customer": customer,
        "kept": customer.log_retention.days,
        "days": announced.days,
        "since": spoken.date(since),
        "first_kept": spoken.date(since - timedelta(days=announced.days)),
        "link": f"{vendor.portal_url}/portal/customers/{customer.customer_id}/log",
    }
    mail.send(mail.compose("retention", tag, vendor, [email], facts), [email], vendor)
