"""Where each installation stands: all that validating it takes, in one item of its customer. ``store.accounts`` keeps it.

Apart from there, so that what a fleet calls every day imports no more than it reads.
"""

from licensing.rules.entitlements import Standing
from licensing.store import tables
from licensing.store.attributes import CompressedJson
from licensing.store.tables import Item


class StandingItem(Item, discriminator="standing"):
    """The projection for validating one installation."""

    body = CompressedJson(Standing)


def get(customer_id: str, installation_id: str) -> Standing | None:
    """Where an installation stands: one strongly consistent read, whatever else the customer has."""
    item = tables.find(StandingItem, customer_id, f"ENT#{installation_id}")
    return item.body if item else None
