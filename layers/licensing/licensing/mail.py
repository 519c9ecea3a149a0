"""E-mails: put into the queue before what they tell of is written, composed in the recipient's language, sent by SES."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import formataddr
from functools import lru_cache
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from licensing import deployment
from licensing.errors import TemporarilyUnavailable
from licensing.languages import Language, language
from licensing.rules.vendor import Vendor

logger = Logger(child=True)

#: A message is queued before its item is written, and must not be read before it either (seconds).
_DELAY = 1
#: One whose item is not written by this time never will be.
_ORPHANED = timedelta(minutes=2)


class NotYet(Exception):
    """Raised when what a message tells of is not written yet: the message is to be delivered again."""


class _Policy(EmailPolicy):
    """The default, with subject and sender folded by the older ``Header``: the newer code loses and doubles blanks between
    encoded words (RFC 2047), and makes some that no parser can read.
    """

    def fold_binary(self, name: str, value: Any) -> bytes:
        """A header as it is sent, with its line end."""
        match name.lower():
            case "subject":
                text = str(value)
                # Folded between words, a long first word would leave the first line empty, and the subject begin with a blank.
                charset = None if text.isascii() and len(text) < _LINE - len("Subject: ") else "utf-8"
                folded = Header(text, charset, header_name=name, maxlinelen=_LINE).encode(linesep=self.linesep)
            case "from":
                [address] = value.addresses
                folded = _address(address.display_name, address.addr_spec, self.linesep)
            case _:
                return super().fold_binary(name, value)
        return f"{name}: {folded}{self.linesep}".encode("ascii")


#: Characters of a line with an encoded word, by RFC 2047.
_LINE = 76
_POLICY = _Policy()


def queue(url: str, message: Mapping[str, Any]) -> None:
    """Put a message into a queue, before what it tells of is written: dying in between leaves a message that is dropped,
    and never a change whose e-mail is lost. Raises TemporarilyUnavailable.
    """
    try:
        deployment.aws_client("sqs").send_message(
            QueueUrl=url, MessageBody=json.dumps(message, separators=(",", ":")), DelaySeconds=_DELAY
        )
    except (ClientError, BotoCoreError) as error:
        raise TemporarilyUnavailable from error


def orphaned(queued_at: float) -> None:
    """Let a message without its item be dropped. ``queued_at`` is in epoch seconds by the queue's clock.

    Raises NotYet while the item may still come.
    """
    if datetime.now(UTC).timestamp() - queued_at <= _ORPHANED.total_seconds():
        raise NotYet
    logger.info("orphaned")


def compose(
    template: str, tag: str | None, vendor: Vendor, recipients: list[str], facts: Mapping[str, Any]
) -> EmailMessage:
    """An e-mail in plain text and HTML from ``templates/mail/<template>.txt`` and ``.html``, in a language.

    The first line of the text template is the subject.
    """
    chosen = language(tag)
    environment = _environment(chosen)
    told = {**facts, "vendor": vendor, "language": chosen}
    subject, _, text = environment.get_template(f"{template}.txt").render(told).partition("\n")
    mail = EmailMessage(policy=_POLICY)
    mail["Subject"] = " ".join(subject.split())
    mail["From"] = Address(vendor.name, addr_spec=deployment.mail_sender())
    mail["To"] = ", ".join(recipients)
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    mail.set_content(text.strip() + "\n")
    html = environment.get_template(f"{template}.html").render({**told, "subject": " ".join(subject.split())})
    mail.add_alternative(html, subtype="html")
    return mail


def send(mail: EmailMessage, recipients: list[str], vendor: Vendor, tags: Mapping[str, str] | None = None) -> None:
    """Send an e-mail. ``tags`` come back with what SES tells of its fate. Raises what SES raises: it is tried again."""
    told = {"ConfigurationSetName": deployment.mail_configuration_set()} if tags else {}
    deployment.aws_client("sesv2").send_email(
        FromEmailAddress=sender(vendor),
        Destination={"ToAddresses": recipients},
        Content={"Raw": {"Data": mail.as_bytes()}},
        EmailTags=[{"Name": name, "Value": value} for name, value in (tags or {}).items()],
        **told,
    )


def sender(vendor: Vendor) -> str:
    """From whom e-mails come, with the vendor's name (RFC 2047 where it is not ASCII)."""
    return _address(vendor.name, deployment.mail_sender())


def _address(name: str, address: str, linesep: str = "") -> str:
    if name.isascii():
        return formataddr((name, address))
    return f"{Header(name, 'utf-8', header_name='From', maxlinelen=_LINE).encode(linesep=linesep)} <{address}>"


@lru_cache
def _environment(chosen: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("licensing", "templates/mail"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_translations(chosen.translations, newstyle=True)  # type: ignore[attr-defined]
    environment.filters.update(chosen.filters)
    return environment
