"""Announcements in the Licensing table: who was mailed which one, so that it is sent once to each address."""

from datetime import datetime, timedelta

from pynamodb.attributes import NumberAttribute

from licensing.store import tables
from licensing.store.tables import Expiring

#: Longer than a dead-letter queue keeps what is to be sent.
_KEPT = timedelta(days=45)


class AnnouncementItem(Expiring, discriminator="announcement"):
    """One announcement to one address. ``sending_until``: somebody is at it."""

    sending_until = NumberAttribute()
    sent_at = NumberAttribute(null=True)


def begin_sending(customer_id: str, key: str, now: datetime, until: datetime) -> bool:
    """Take an announcement in hand; False for one that was sent, or is in somebody's hands."""
    item = _item(customer_id, key, now, until)
    free = AnnouncementItem.sent_at.does_not_exist() & (AnnouncementItem.sending_until <= int(now.timestamp()))
    try:
        tables.write(lambda: item.save(condition=AnnouncementItem.pk.does_not_exist() | free))
    except tables.ConditionFailed:
        return False
    return True


def is_sent(customer_id: str, key: str) -> bool:
    """Whether there is nothing left to send."""
    item = tables.find(AnnouncementItem, *_key(customer_id, key))
    return item is not None and item.sent_at is not None


def end_sending(customer_id: str, key: str, now: datetime, *, sent: bool) -> None:
    """Put an announcement down: sent, or for the next try."""
    item = _item(customer_id, key, now, now)
    if sent:
        item.sent_at = int(now.timestamp())
    tables.write(item.save)


def _item(customer_id: str, key: str, now: datetime, until: datetime) -> AnnouncementItem:
    return AnnouncementItem(
        *_key(customer_id, key), sending_until=int(until.timestamp()), expires_at=int((now + _KEPT).timestamp())
    )


def _key(customer_id: str, key: str) -> tuple[str, str]:
    return f"ANNOUNCED#{customer_id}", key
