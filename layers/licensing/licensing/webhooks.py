"""Webhooks (F7): the vendor's own systems without AWS are told of events by signed requests, tried again until they take them."""

import http.client
import json
import random
import secrets
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel
from pynamodb.transactions import TransactWrite

from licensing import deployment, identity
from licensing.contract_alerts import NewWebhook, TestSent, WebhookAnswer, WebhookList, WebhookSecretAnswer
from licensing.errors import NotFound, TemporarilyUnavailable, TooManyWebhooks, WebhookUrlInvalid
from licensing.operations import operation, record_in
from licensing.rules import access
from licensing.rules import webhooks as rules
from licensing.rules.alert_events import SCHEMA_VERSION, EventType
from licensing.rules.operations import Operation, Origin
from licensing.rules.people import VENDOR, User
from licensing.rules.webhooks import Target, Webhook
from licensing.store import tables
from licensing.store import webhooks as store
from licensing.store.idempotency import Keep, keep_nothing

logger = Logger(child=True)

#: Seconds for the connection, and for each piece of the answer; its body is not read.
_PATIENCE = 10
_BATCH = 10
_GONE = 410
_USER_AGENT = "cloud-licensing-webhooks"


class Delivery(BaseModel):
    """What the queue carries: one event for one webhook, its body as it is signed and sent at every try."""

    webhook_id: str
    event_id: str
    body: str


class NotDelivered(Exception):
    """Raised when a receiver did not take an event; the message says why, without its URL or a secret."""


# ── managing ──


def create(user: User, body: NewWebhook, by: Origin, now: datetime, keep: Keep = keep_nothing) -> WebhookSecretAnswer:
    """Add a webhook; its secret is told now and never again. Raises Forbidden, WebhookUrlInvalid, TooManyWebhooks."""
    access.require(user, "webhook.manage")
    if rules.target(body.url, loopback=deployment.loopback_webhooks) is None:
        raise WebhookUrlInvalid
    webhook = Webhook(
        identity.new_id("whk", now), body.url, _new_secret(), now, tuple(dict.fromkeys(body.events))
    )  # fmt: skip
    answer = WebhookSecretAnswer(**_answer(webhook).model_dump(), secret=webhook.secret)

    def added(webhooks: tuple[Webhook, ...]) -> tuple[Webhook, ...]:
        if len(webhooks) >= rules.MOST_WEBHOOKS:
            raise TooManyWebhooks(limit=rules.MOST_WEBHOOKS)
        return (*webhooks, webhook)

    told = operation(VENDOR, by, "webhook.created", now, webhook.webhook_id, host=_host(webhook))
    _change(added, told, lambda transaction: keep(transaction, answer))
    return answer


def listed(user: User) -> WebhookList:
    """All webhooks, oldest first, without their secrets. Raises Forbidden."""
    access.require(user, "webhook.manage")
    return WebhookList(items=[_answer(each) for each in store.read()[0]])


def delete(user: User, webhook_id: str, by: Origin, now: datetime) -> None:
    """Take a webhook away; what is on its way to it is dropped. Raises Forbidden, NotFound."""
    access.require(user, "webhook.manage")
    told = operation(VENDOR, by, "webhook.deleted", now, webhook_id)
    _change(lambda webhooks: _without(webhooks, webhook_id), told)


def rotate(user: User, webhook_id: str, by: Origin, now: datetime, keep: Keep = keep_nothing) -> WebhookSecretAnswer:
    """Give a webhook a new secret; for a day the former one signs too. Raises Forbidden, NotFound."""
    access.require(user, "webhook.manage")
    secret, made = _new_secret(), list[WebhookSecretAnswer]()

    def rotated(webhooks: tuple[Webhook, ...]) -> tuple[Webhook, ...]:
        found = _find(webhooks, webhook_id)
        changed = replace(found, secret=secret, former_secret=found.secret, rotated_at=now)
        made[:] = [WebhookSecretAnswer(**_answer(changed).model_dump(), secret=secret)]
        return tuple(changed if each is found else each for each in webhooks)

    told = operation(VENDOR, by, "webhook.secret_rotated", now, webhook_id)
    _change(rotated, told, lambda transaction: keep(transaction, made[0]))
    return made[0]


def send_test(user: User, webhook_id: str, by: Origin, now: datetime, keep: Keep = keep_nothing) -> TestSent:
    """Send a webhook an event of type ``Test``, whatever it subscribed to. Raises Forbidden, NotFound."""
    access.require(user, "webhook.manage")
    _find(store.read()[0], webhook_id)
    event_id = f"evt_{secrets.token_hex(16)}"
    answer = TestSent(event_id=event_id)
    occurred_at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    detail = {"schema_version": SCHEMA_VERSION, "event_id": event_id, "occurred_at": occurred_at}
    # Queued first: dying in between sends a test that nobody asked for.
    _queue([Delivery(webhook_id=webhook_id, event_id=event_id, body=_body("Test", detail))])
    told = operation(VENDOR, by, "webhook.tested", now, webhook_id)

    def fill(transaction: TransactWrite) -> None:
        record_in(transaction, told)
        keep(transaction, answer)

    tables.transact(fill)
    return answer


def _change(
    change: Callable[[tuple[Webhook, ...]], tuple[Webhook, ...]],
    told: Operation,
    also: Callable[[TransactWrite], None] = lambda transaction: None,
) -> None:
    def attempt() -> None:
        before, version = store.read()
        after = change(before)

        def fill(transaction: TransactWrite) -> None:
            store.put_in(transaction, after, version)
            record_in(transaction, told)
            also(transaction)

        tables.transact(fill)

    tables.unraced(attempt)


def _find(webhooks: Iterable[Webhook], webhook_id: str) -> Webhook:
    for each in webhooks:
        if each.webhook_id == webhook_id:
            return each
    raise NotFound


def _without(webhooks: tuple[Webhook, ...], webhook_id: str) -> tuple[Webhook, ...]:
    found = _find(webhooks, webhook_id)
    return tuple(each for each in webhooks if each is not found)


def _new_secret() -> str:
    return rules.new_secret(secrets.token_bytes(32))


def _host(webhook: Webhook) -> str:
    found = rules.target(webhook.url, loopback=deployment.loopback_webhooks)
    return found.host if found else ""


def _answer(webhook: Webhook) -> WebhookAnswer:
    return WebhookAnswer(
        webhook_id=webhook.webhook_id,
        url=webhook.url,
        events=list(webhook.events),
        created_at=webhook.created_at,
        rotated_at=webhook.rotated_at,
    )


# ── queueing ──


def publish(events: Iterable[tuple[EventType, Mapping[str, Any]]]) -> int:
    """Queue events for all webhooks that want them; returns how many. Raises TemporarilyUnavailable."""
    webhooks = store.read()[0]
    deliveries = [
        Delivery(webhook_id=each.webhook_id, event_id=detail["event_id"], body=_body(event_type, detail))
        for event_type, detail in events
        for each in webhooks
        if each.wants(event_type)
    ]
    _queue(deliveries)
    return len(deliveries)


def _body(event_type: EventType, detail: Mapping[str, Any]) -> str:
    told = {"type": event_type, "timestamp": detail["occurred_at"], "data": detail}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))


def _queue(deliveries: list[Delivery]) -> None:
    for start in range(0, len(deliveries), _BATCH):
        entries = [
            {"Id": str(n), "MessageBody": each.model_dump_json()}
            for n, each in enumerate(deliveries[start : start + _BATCH])
        ]
        try:
            answer = deployment.aws_client("sqs").send_message_batch(
                QueueUrl=deployment.webhook_queue_url(), Entries=entries
            )
        except (ClientError, BotoCoreError) as error:
            raise TemporarilyUnavailable from error
        if answer.get("Failed"):
            raise TemporarilyUnavailable


# ── delivering ──


def deliver(delivery: Delivery, now: datetime) -> None:
    """Send an event. It is taken with any 2xx; a webhook that answers 410 is deleted, as it asks for.

    Raises NotDelivered: it is to be tried again.
    """
    webhook = next((each for each in store.read()[0] if each.webhook_id == delivery.webhook_id), None)
    if webhook is None:
        logger.info("webhook_gone", webhook_id=delivery.webhook_id, event_id=delivery.event_id)
        return
    found = rules.target(webhook.url, loopback=deployment.loopback_webhooks)
    if found is None:
        raise NotDelivered("address refused")
    content, timestamp = delivery.body.encode(), int(now.timestamp())
    status = _post(
        found,
        content,
        {
            "content-type": "application/json",
            "user-agent": _USER_AGENT,
            "webhook-id": delivery.event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": rules.signature(webhook.secrets(now), delivery.event_id, timestamp, content),
        },
    )
    logger.info("webhook_answered", webhook_id=webhook.webhook_id, event_id=delivery.event_id, status=status)
    if status == _GONE:
        told = operation(VENDOR, _RECEIVER, "webhook.deleted", now, webhook.webhook_id, reason="410 Gone")
        with suppress(NotFound):  # somebody else was faster
            _change(lambda webhooks: _without(webhooks, webhook.webhook_id), told)
    elif not 200 <= status < 300:
        raise NotDelivered(f"status {status}")  # redirects too: where they lead, nobody agreed to


_RECEIVER = Origin("schedule", "deliver-webhooks")


def put_off(receipt_handle: str, tries: int) -> None:
    """Let a delivery that failed wait, longer each time; the last failure leaves it to the queue's redrive policy."""
    seconds = rules.retry_after(tries)
    if seconds is None:
        return
    try:
        deployment.aws_client("sqs").change_message_visibility(
            QueueUrl=deployment.webhook_queue_url(),
            ReceiptHandle=receipt_handle,
            VisibilityTimeout=int(seconds * random.uniform(0.9, 1.1)),  # noqa: S311  jitter, not a secret
        )
    except (ClientError, BotoCoreError) as error:
        # It comes back after the queue's own visibility timeout, which is sooner.
        logger.warning("webhook_not_put_off", error=type(error).__name__)


def _post(found: Target, content: bytes, headers: Mapping[str, str]) -> int:
    """The status that a receiver answers with. Raises NotDelivered."""
    address = _resolve(found)
    connection = _Connection(found, address)
    try:
        connection.request("POST", found.path, content, dict(headers))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotDelivered(type(error).__name__) from error
    finally:
        connection.close()


def _resolve(found: Target) -> str:
    """An address of the host. None that is not public is ever connected to, and no name is looked up twice."""
    try:
        answers = socket.getaddrinfo(found.host, found.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NotDelivered("host not found") from error
    addresses = [str(answer[4][0]) for answer in answers]
    if not found.loopback and not all(rules.is_public(each) for each in addresses):
        raise NotDelivered("address refused")
    return addresses[0]


class _Connection(http.client.HTTPConnection):
    """A connection to one address, whatever its host's name leads to by now; the certificate is the name's."""

    def __init__(self, found: Target, address: str) -> None:
        super().__init__(found.host, found.port, timeout=_PATIENCE)
        self.default_port = 443 if found.secure else 80
        self._found = found
        self._address = address

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.create_connection((self._address, self._found.port), self.timeout)
        if self._found.secure:
            self.sock = _tls().wrap_socket(self.sock, server_hostname=self._found.host)


@lru_cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
