"""Activation by tax id: requests with their one-time codes, open windows, tickets."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.transactions import TransactWrite

from licensing.rules.limits import TRIES_PER_CODE
from licensing.store import tables
from licensing.store.tables import Expiring

_KEPT = timedelta(days=1)


class RequestItem(Expiring, discriminator="activation_request"):
    """A request for a one-time code. It is the same for a tax id that nobody has."""

    tax_id = UnicodeAttribute()
    code_hash = UnicodeAttribute()
    code_until = NumberAttribute()
    tries = NumberAttribute()
    ticket_hash = UnicodeAttribute(null=True)
    ticket_until = NumberAttribute(null=True)
    #: What the ticket was used for: "installation nonce-hash key-thumbprint".
    used_for = UnicodeAttribute(null=True)


class WindowItem(Expiring, discriminator="window"):
    """A customer's open window, in which its tax id alone is enough (A1). Absent: closed, or nobody's tax id."""

    opened_until = NumberAttribute()


def put_in(transaction: TransactWrite, request_id: str, tax_id: str, code_hash: str, until: datetime) -> None:
    """A new request, as part of a transaction."""
    _put_in(
        transaction, request_id, until, tax_id=tax_id, code_hash=code_hash, code_until=int(until.timestamp()), tries=0
    )


def put_ticket_in(transaction: TransactWrite, request_id: str, tax_id: str, ticket_hash: str, until: datetime) -> None:
    """A request that is born with its ticket: the customer's window is open (A1)."""
    no_code = {"code_hash": "", "code_until": 0, "tries": TRIES_PER_CODE}
    ticket = {"ticket_hash": ticket_hash, "ticket_until": int(until.timestamp())}
    _put_in(transaction, request_id, until, tax_id=tax_id, **no_code, **ticket)


def _put_in(transaction: TransactWrite, request_id: str, until: datetime, **attributes: Any) -> None:
    expires_at = int((until + _KEPT).timestamp())
    item = RequestItem(f"REQ#{request_id}", "REQ", expires_at=expires_at, **attributes)
    transaction.save(item, condition=RequestItem.pk.does_not_exist())


def find(request_id: str) -> RequestItem | None:
    """A request by its id."""
    return tables.find(RequestItem, f"REQ#{request_id}", "REQ")


def count_code_try(asked: RequestItem, now: datetime) -> int | None:
    """Count a try of this request's code, before it is compared, and return how many are left; None where its code has
    ended, or its tries are used up. Raises ConditionFailed if somebody else tried since it was read.
    """
    if asked.tries >= TRIES_PER_CODE or asked.code_until <= int(now.timestamp()):
        return None
    tries = int(asked.tries) + 1
    # A transaction, since its token makes one try of a repeat after a lost answer.
    tables.transact(
        lambda transaction: transaction.update(
            RequestItem(asked.pk, asked.sk),
            actions=[RequestItem.tries.set(tries)],
            condition=RequestItem.tries == tries - 1,
        )
    )
    return TRIES_PER_CODE - tries


def set_ticket_in(transaction: TransactWrite, request_id: str, ticket_hash: str, until: datetime) -> None:
    """Give a request its ticket, unless one was used to activate already."""
    transaction.update(
        RequestItem(f"REQ#{request_id}", "REQ"),
        actions=[
            RequestItem.ticket_hash.set(ticket_hash),
            RequestItem.ticket_until.set(int(until.timestamp())),
        ],
        condition=RequestItem.pk.exists() & RequestItem.used_for.does_not_exist(),
    )


def use_ticket_in(transaction: TransactWrite, request_id: str, ticket_hash: str, used_for: str) -> None:
    """Use a ticket, once, as part of a transaction."""
    transaction.update(
        RequestItem(f"REQ#{request_id}", "REQ"),
        actions=[RequestItem.used_for.set(used_for)],
        condition=(RequestItem.ticket_hash == ticket_hash)
        & (RequestItem.used_for.does_not_exist() | (RequestItem.used_for == used_for)),
    )


def window_is_open(tax_id: str, now: datetime) -> bool:
    """Whether the tax id alone is enough just now. The same single read whether anybody has this tax id or not."""
    return window_until(tax_id, now) is not None


def window_until(tax_id: str, now: datetime) -> datetime | None:
    """The end (UTC) of the window that is open just now; None while it is closed."""
    item = tables.find(WindowItem, f"WINDOW#{tax_id}", "WINDOW")
    if item is None or item.opened_until <= now.timestamp():
        return None
    return datetime.fromtimestamp(int(item.opened_until), UTC)


def open_window_in(transaction: TransactWrite, tax_id: str, until: datetime) -> None:
    """Open a customer's window, or move its end, as part of a transaction; a time in the past closes it."""
    epoch = int(until.timestamp())
    transaction.save(WindowItem(f"WINDOW#{tax_id}", "WINDOW", opened_until=epoch, expires_at=epoch))
