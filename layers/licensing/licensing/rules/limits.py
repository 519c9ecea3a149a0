"""How often somebody may try: sliding windows, exact to the second."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``count`` within any ``period``."""

    name: str
    count: int
    period: timedelta


#: Per tax id, known or not (api.md).
ACTIVATION_REQUESTS = Limit("activation-requests", 3, timedelta(hours=1))
CODE_TRIES = Limit("code-tries", 20, timedelta(days=1))
#: Per e-mail address, known or not.
SIGN_INS = Limit("sign-ins", 10, timedelta(minutes=15))
LINKS_BY_MAIL = Limit("links-by-mail", 3, timedelta(hours=1))
#: Per organization that is invited into: enough for a large one's first day, too few to send junk with.
INVITATIONS = Limit("invitations", 50, timedelta(days=1))
#: Per order: an order number typed, right or wrong; e-mails asked for again; activations forwarded.
UNLOCKS = Limit("unlocks", 10, timedelta(hours=1))
ORDER_MAILS = Limit("order-mails", 5, timedelta(hours=1))
FORWARDS = Limit("forwards", 5, timedelta(hours=1))
#: Wrong or right, per request for a code.
TRIES_PER_CODE = 5


def admit(limit: Limit, past: Sequence[int], now: int) -> tuple[list[int], int | None]:
    """The tries to remember if one more is made at ``now``, and how many seconds to wait first (None: go ahead).

    ``past`` and ``now`` are epoch seconds, oldest first.
    """
    recent = [at for at in past if at > now - limit.period.total_seconds()]
    if len(recent) >= limit.count:
        return recent, max(1, int(recent[-limit.count] + limit.period.total_seconds() - now))
    return [*recent, now], None
