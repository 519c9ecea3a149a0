"""The HTTP contract of webhooks and of alert preferences: what users send and get (api.md, "User")."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints

from licensing.contract import Answer, Body
from licensing.rules.alert_events import EventType
from licensing.rules.people import Notification

_URL = "https://crm.aurora.example/licensing"
_WEBHOOK = {
    "webhook_id": "whk_019a9c0f2d00c5a1b2",
    "url": _URL,
    "events": ["LicenseExpiring", "LicenseExpired"],
    "created_at": "2026-11-22T12:00:00Z",
    "rotated_at": None,
}
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105  an example


def _example(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [example]})


class NewWebhook(Body):
    """Where to send events, and which; all where ``events`` is empty."""

    model_config = _example({"url": _URL, "events": ["LicenseExpiring"]})

    url: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    events: Annotated[list[EventType], Field(max_length=20)] = Field(default_factory=list)


class WebhookAnswer(Answer):
    """A webhook, without its secret."""

    model_config = _example(_WEBHOOK)

    webhook_id: str
    url: str
    events: list[EventType]
    created_at: datetime
    rotated_at: datetime | None


class WebhookSecretAnswer(WebhookAnswer):
    """A webhook with its new secret, which is told this once."""

    model_config = _example({**_WEBHOOK, "secret": _SECRET})

    secret: str


class WebhookList(Answer):
    """All webhooks: there are 20 at most."""

    model_config = _example({"items": [_WEBHOOK], "next_cursor": None})

    items: list[WebhookAnswer]
    next_cursor: Literal[None] = None


class TestSent(Answer):
    """A test event is on its way."""

    __test__ = False
    model_config = _example({"event_id": "evt_0f6c1a54b2d94c0e8a5b7d3e9f1c2a40"})

    event_id: str


class AlertPreferences(Body):
    """The kinds of e-mail that somebody does without."""

    model_config = _example({"unsubscribed": ["silence"]})

    unsubscribed: Annotated[list[Notification], Field(max_length=10)]


class AlertPreferencesAnswer(Answer):
    """The same, with all kinds that there are. What stops a customer is told to its people nevertheless."""

    model_config = _example({"unsubscribed": ["silence"], "kinds": ["orders", "expiry", "silence"]})

    unsubscribed: list[Notification]
    kinds: list[Notification]
