"""GET /v1/pools, /v1/pools/{pool_id} and its seats: how pools stand (C7, C8, C12)."""

from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from licensing import deployment, seats
from licensing.contract import PoolAnswer, PoolNames, SeatRows
from licensing.errors import (
    ClockSkewed,
    InvalidProof,
    InvalidToken,
    KeyMissing,
    NotFound,
    Refused,
    SilentTooLong,
    TemporarilyUnavailable,
)
from licensing.http.api import api, document, entry, problems
from licensing.http.requests import station_caller

app = api()

_SECURITY: list[dict[str, list[str]]] = [{"seat_token": []}, {"server_token": [], "proof": []}]
_CALLER = (InvalidToken, InvalidProof, ClockSkewed, Refused, SilentTooLong, TemporarilyUnavailable)

PoolPath = Annotated[str, Path(pattern=r"^pool_[0-9a-f]{1,60}$")]
Limit = Annotated[int, Query(ge=1, le=100)]
Application = Annotated[str | None, Query(min_length=1, max_length=64, description="Only those of this application.")]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,6}$")]


@app.get(
    "/v1/pools",
    summary="The pools that may be asked",
    tags=["Station"],
    security=_SECURITY,
    responses={200: document(PoolNames, "Pools by application."), **problems(*_CALLER, KeyMissing)},
)
def list_pools(application: Application = None) -> PoolNames:
    """Of the installation's licenses with concurrent metering, and of the customer's activation key. Where an application is
    named that has none, and there is no activation key, it is told so.
    """
    now = deployment.now()
    return PoolNames(items=seats.pool_ids(station_caller(app, now).caller, now, application))


@app.get(
    "/v1/pools/<pool_id>",
    summary="How a pool stands",
    tags=["Station"],
    security=_SECURITY,
    responses={200: document(PoolAnswer, "Capacity, use, peak, validity."), **problems(*_CALLER, NotFound)},
)
def show_pool(pool_id: PoolPath) -> PoolAnswer:
    """At any time, also when it is not in force."""
    now = deployment.now()
    caller = station_caller(app, now).caller
    return seats.state_of(caller.customer_id, seats.owned_pool(caller, pool_id, now), now)


@app.get(
    "/v1/pools/<pool_id>/seats",
    summary="The live view",
    tags=["Station"],
    security=_SECURITY,
    responses={200: document(SeatRows, "One row a seat; support users apart."), **problems(*_CALLER, NotFound)},
)
def list_seats(pool_id: PoolPath, limit: Limit = 100, cursor: Cursor = None) -> SeatRows:
    """Who is in. Seat ids are shown to the server only: whoever knows one may release it."""
    now = deployment.now()
    asking = station_caller(app, now)
    pool_id = seats.owned_pool(asking.caller, pool_id, now)
    rows = seats.live(asking.caller.customer_id, pool_id, now, with_ids=asking.server)
    start = int(cursor or 0)
    end = start + limit
    return SeatRows(items=rows[start:end], next_cursor=str(end) if end < len(rows) else None)


handler = entry(app)
