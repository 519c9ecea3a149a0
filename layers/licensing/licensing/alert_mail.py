"""A digest of alerts as an e-mail: in its reader's language, grouped by customer, with what to do, and a way to do without."""

from dataclasses import dataclass
from datetime import date, datetime

from aws_lambda_powertools import Logger

from licensing import alert_preferences, mail
from licensing.languages import Language, language
from licensing.rules.alert_texts import what, what_to_do
from licensing.rules.alerts import Alert, Digest, Group, is_wanted
from licensing.rules.people import VENDOR
from licensing.rules.vendor import Vendor
from licensing.store import alerts as store

logger = Logger(child=True)


@dataclass(frozen=True, slots=True)
class Line:
    """One alert, in words."""

    what: str
    code: str
    what_to_do: str
    urgent: bool


@dataclass(frozen=True, slots=True)
class Section:
    """One customer's alerts; ``link`` leads to the customer in the portal."""

    name: str
    link: str
    lines: list[Line]


def send(digest: Digest, day: date, vendor: Vendor, now: datetime) -> bool:
    """Send what the reader does not do without; False where nothing is left. Raises what SES and DynamoDB raise."""
    recipient = digest.recipient
    unsubscribed = alert_preferences.of_email(recipient.email)
    spoken = language(recipient.language)
    sections: list[Section] = []
    first: Alert | None = None
    for group in digest.groups:
        wanted = [each for each in group.alerts if is_wanted(each, group.organization, unsubscribed)]
        if wanted:
            first = first or wanted[0]
            sections.append(_section(group, wanted, vendor, spoken))
    if first is None:
        logger.info("digest_empty")
        return False
    portal = vendor.portal_url
    token = store.address(recipient.email).token
    leave = f"{portal}/portal/unsubscribe/{token}" if portal else ""
    facts = {
        "sections": sections,
        "count": sum(len(each.lines) for each in sections),
        "first": what(first, spoken.text).rstrip("."),
        "more": digest.more,
        "day": spoken.date(day),
        "name": recipient.name,
        "unsubscribe": leave,
    }
    composed = mail.compose("alerts", recipient.language, vendor, [recipient.email], facts)
    if leave:
        composed["List-Unsubscribe"] = f"<{leave}>"
        composed["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
    mail.send(composed, [recipient.email], vendor)
    return True


def _section(group: Group, alerts: list[Alert], vendor: Vendor, spoken: Language) -> Section:
    lines = [
        Line(what(each, spoken.text), each.code, what_to_do(each, group, spoken.text), each.must_be_known)
        for each in alerts
    ]
    inside = "" if group.customer_id == VENDOR else f"/customers/{group.customer_id}"
    return Section(group.customer_name, f"{vendor.portal_url}/portal{inside}" if vendor.portal_url else "", lines)
