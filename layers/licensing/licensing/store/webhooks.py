"""The vendor's webhooks: one item, so that how many there are is a condition on its version."""

from pynamodb.attributes import NumberAttribute
from pynamodb.transactions import TransactWrite

from licensing.rules.webhooks import Webhook
from licensing.store import tables
from licensing.store.attributes import Json
from licensing.store.tables import Item


class WebhooksItem(Item, discriminator="webhooks"):
    """All webhooks. Each write raises the version."""

    version = NumberAttribute()
    body = Json(tuple[Webhook, ...])


def read() -> tuple[tuple[Webhook, ...], int]:
    """All webhooks, oldest first, and their version."""
    item = tables.find(WebhooksItem, "WEBHOOKS", "WEBHOOKS")
    return (item.body, int(item.version)) if item else ((), 0)


def put_in(transaction: TransactWrite, webhooks: tuple[Webhook, ...], version: int) -> None:
    """Replace all webhooks; the transaction fails if they are not at ``version`` any more."""
    unchanged = WebhooksItem.version == version if version else WebhooksItem.pk.does_not_exist()
    item = WebhooksItem("WEBHOOKS", "WEBHOOKS", version=version + 1, body=webhooks)
    transaction.save(item, condition=unchanged)
