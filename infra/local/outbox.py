"""The e-mails that were sent, as a mail client would read them."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email import message_from_string, policy
from email.message import EmailMessage
from typing import Any


@dataclass(frozen=True)
class Mail:
    """One e-mail. ``sent_at`` is aware, by the stack's clock."""

    message_id: str
    sender: str
    to: tuple[str, ...]
    subject: str
    sent_at: datetime
    text: str
    html: str | None

    def as_json(self) -> dict[str, Any]:
        """For ``GET /local/outbox``."""
        return {
            "message_id": self.message_id,
            "from": self.sender,
            "to": list(self.to),
            "subject": self.subject,
            "sent_at": f"{self.sent_at:%Y-%m-%dT%H:%M:%SZ}",
            "text": self.text,
            "html": self.html,
        }


def newest_first(sent: Iterable[Any]) -> list[Mail]:
    """What moto's SES was given, the newest first."""
    return [_read(each) for each in reversed(list(sent))]


def _read(sent: Any) -> Mail:
    parsed = message_from_string(sent.raw_data, policy=policy.default)
    return Mail(
        message_id=sent.id,
        sender=str(parsed["From"] or sent.source),
        to=tuple(dict.fromkeys(sent.destinations)),
        subject=str(parsed["Subject"] or ""),
        sent_at=sent.sent_at,
        text=_part(parsed, "plain") or "",
        html=_part(parsed, "html"),
    )


def _part(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    return str(part.get_content()) if part else None
