"""A pool: how it stands, who is in, how it was used, who was refused in vain (C7, C8, C12, F5)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import pools, seat_use, seats
from licensing.contract_keys import LeaseTime
from licensing.customers import account_for
from licensing.errors import LeaseTimeInKey, LicensingError, SeatBorrowed
from licensing.http.pages import Visit, explain, form, page, see_other, visit
from licensing.rules.accounts import Account
from licensing.rules.seats import LONGEST_LEASE, SHORTEST_LEASE
from licensing.seat_use import Denial, UseStep

from functions.serve_portal import forms
from functions.serve_portal.keys import application_name

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_POOL = "/portal/customers/<customer_id>/pools/<pool_id>"
_ROWS = 100
_MOST_DENIALS = 50
#: Spans to choose from, in days, and how many seconds a bar of the picture stands for.
_SPANS = {1: 900, 7: 7200, 30: 21_600, 365: 345_600}
#: The picture: its width, the height of the use, and that of the refusals below.
_WIDTH, _HEIGHT, _BELOW = 720, 150, 30


@dataclass(frozen=True, slots=True)
class Bar:
    """A step of the picture: the most in use, how often somebody was refused in vain, and where both are drawn."""

    at: datetime
    most: int
    denied: int
    x: float
    width: float
    height: float
    below: float


@dataclass(frozen=True, slots=True)
class Picture:
    """Use and denials over time. ``top`` is the highest number of seats that it shows, ``worst`` that of refusals, ``line`` where
    the capacity is drawn.
    """

    bars: list[Bar]
    top: int
    worst: int
    line: float

    @property
    def told(self) -> list[Bar]:
        """Those that say something, for the table."""
        return [bar for bar in self.bars if bar.most or bar.denied]


@router.get(_POOL)
def show(customer_id: str, pool_id: str) -> Response[str]:
    """The page; it changes nothing."""
    here = visit(router)
    return _page(here, account_for(here.signed_in, customer_id, "customer.read"), pool_id)


@router.post(_POOL + "/peak-reset")
def reset_peak(customer_id: str, pool_id: str) -> Response[str]:
    """Let the peak count from now on (C8)."""
    here = visit(router)
    form(here)
    account_for(here.signed_in, customer_id, "pool.operate")
    seat_use.reset_peak(customer_id, pool_id, here.by, here.now)
    return see_other(here, f"/portal/customers/{customer_id}/pools/{pool_id}", "peak-reset")


@router.post(_POOL + "/lease-time")
def set_lease_time(customer_id: str, pool_id: str) -> Response[str]:
    """Say how long a lease lasts without a heartbeat; for the pool of a license."""
    here = visit(router)
    fields = form(here)
    account = account_for(here.signed_in, customer_id, "pool.operate")
    try:
        body = forms.read(
            here, LeaseTime, {"lease_seconds": forms.whole(fields.get("lease_seconds", ""), 0, 10**8, -1)}
        )
        pools.set_lease_seconds(pools.find(account, pool_id, here.now), body.lease_seconds, here.by, here.now)
    except (forms.FormInvalid, LeaseTimeInKey) as error:
        return _page(here, account, pool_id, error)
    return see_other(here, f"/portal/customers/{customer_id}/pools/{pool_id}", "saved")


@router.post(_POOL + "/release")
def release(customer_id: str, pool_id: str) -> Response[str]:
    """Free a seat, whoever holds it (C7)."""
    here = visit(router)
    fields = form(here)
    account = account_for(here.signed_in, customer_id, "pool.operate")
    try:
        seats.force_release(customer_id, pool_id, fields.get("seat_id", ""), here.by, here.now)
    except SeatBorrowed as error:
        return _page(here, account, pool_id, error)
    return see_other(here, f"/portal/customers/{customer_id}/pools/{pool_id}", "seat-released")


def _page(here: Visit, account: Account, pool_id: str, error: LicensingError | None = None) -> Response[str]:
    customer_id = account.customer.customer_id
    pool = pools.find(account, pool_id, here.now)
    state = pools.look(pool, here.now)
    rows = pools.live(pool, here.now, with_ids=True)
    taken, support = [each for each in rows if not each.support], [each for each in rows if each.support]
    start = forms.whole(here.query("start"), 0, max(0, len(taken) - 1), 0)
    asked = forms.whole(here.query("days"), 1, 365, 7)
    days = asked if asked in _SPANS else 7
    begin = here.now - timedelta(days=days)
    used = seat_use.usage(customer_id, pool_id, begin, here.now, here.now, step=_SPANS[days])
    denials = seat_use.denials(customer_id, pool_id, begin, here.now)
    return page(
        here,
        "pool",
        error.status if error else 200,
        customer=account.customer,
        pool=state,
        application=application_name(state.application),
        leases=(SHORTEST_LEASE, LONGEST_LEASE),
        rows=taken[start : start + _ROWS],
        support=support,
        start=start,
        size=_ROWS,
        several=any(each.several_sessions for each in rows),
        days=days,
        spans=list(_SPANS),
        picture=picture(used, denials, state.capacity, _SPANS[days]),
        now=here.now,
        denials=denials[:_MOST_DENIALS],
        more_denials=max(0, len(denials) - _MOST_DENIALS),
        error=explain(here.language, error) if error else None,
    )


def picture(used: Sequence[UseStep], denials: Sequence[Denial], capacity: int, step: int) -> Picture:
    """What is drawn: a bar for each step, with the refusals of the same time below it."""
    times = [int(time.timestamp()) for denial in denials for time in denial.times]
    denied = Counter(at - at % step for at in times)
    top = max([capacity, 1, *(each.most for each in used)])
    worst = max(denied.values(), default=0)
    width = _WIDTH / max(1, len(used))
    bars = []
    for number, each in enumerate(used):
        refused = denied[int(each.at.timestamp())]
        bars.append(
            Bar(
                at=each.at,
                most=each.most,
                denied=refused,
                x=round(number * width, 2),
                width=round(width * 0.85, 2),
                height=round(each.most / top * _HEIGHT, 2),
                below=round(refused / max(1, worst) * _BELOW, 2),
            )
        )
    return Picture(bars, top, worst, round(_HEIGHT - capacity / top * _HEIGHT, 2))
