"""POST, PUT and DELETE /v1/seats: stations lease, extend, close, borrow and return seats (C2-C6, C13)."""

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path, Query
from licensing import deployment, seats
from licensing.contract import BorrowAnswer, Borrowing, Module, ReturnAnswer, SeatAnswer, SeatRequest
from licensing.errors import (
    BorrowingNotAllowed,
    ClockSkewed,
    CompanyLimitReached,
    InvalidProof,
    InvalidRequest,
    InvalidToken,
    KeyExpired,
    KeyForeignCompany,
    KeyMissing,
    KeyNotYetValid,
    NotFound,
    Refused,
    SeatBorrowed,
    SeatLimitReached,
    SeatLost,
    SilentTooLong,
    TaxIdInvalid,
    TemporarilyUnavailable,
)
from licensing.http.api import api, document, entry, gone, problems
from licensing.http.requests import origin, station_caller

app = api()

_SECURITY: list[dict[str, list[str]]] = [{"seat_token": []}, {"server_token": [], "proof": []}]
_CALLER = (InvalidToken, InvalidProof, ClockSkewed, Refused, SilentTooLong, NotFound, TemporarilyUnavailable)
_POOL = (KeyMissing, KeyExpired, KeyNotYetValid, KeyForeignCompany)

SeatPath = Annotated[str, Path(pattern=r"^sea_[0-9A-Za-z._-]{1,120}$")]
Named = Annotated[Module | None, Query(description="The module whose instance is meant.")]
Instance = Annotated[Module | None, Query(description="One running instance of the module.")]


def _both(module: str | None, instance: str | None) -> None:
    """One names nothing without the other. Raises InvalidRequest."""
    if (module is None) != (instance is None):
        missing = "instance" if instance is None else "module"
        raise InvalidRequest(errors=[{"in": "query", "pointer": f"/{missing}", "detail": "both, or neither"}])


@app.post(
    "/v1/seats",
    summary="Lease a seat",
    tags=["Station"],
    security=_SECURITY,
    responses={
        201: document(SeatAnswer, "A new seat."),
        200: document(SeatAnswer, "The seat that this station holds already, or shares."),
        **problems(*_CALLER, *_POOL, TaxIdInvalid, CompanyLimitReached, SeatLimitReached, body=True),
    },
)
def lease_seat(body: Annotated[SeatRequest, Body()]) -> Response[str]:
    """A station never takes two seats: its modules ride on one. The same request again gives the same seat."""
    now = deployment.now()
    answer, new = seats.lease(station_caller(app, now).caller, body, now)
    return Response(201 if new else 200, "application/json", answer.model_dump_json())


@app.put(
    "/v1/seats/<seat_id>",
    summary="Extend a seat's lease",
    tags=["Station"],
    security=_SECURITY,
    responses={200: document(SeatAnswer, "The new lease."), **problems(*_CALLER, *_POOL, SeatLost)},
)
def extend_seat(seat_id: SeatPath, module: Named = None, instance: Instance = None) -> Response[str]:
    """A heartbeat. Once the lease has ended it is too late: a heartbeat never revives a seat."""
    _both(module, instance)
    now = deployment.now()
    answer = seats.heartbeat(station_caller(app, now).caller, seat_id, module, instance, now)
    return Response(200, "application/json", answer.model_dump_json())


@app.delete(
    "/v1/seats/<seat_id>",
    summary="Close a module, or release a seat",
    tags=["Station"],
    security=_SECURITY,
    responses={204: {"description": "Closed; also when it was before."}, **problems(*_CALLER, SeatBorrowed)},
)
def close_seat(seat_id: SeatPath, module: Named = None, instance: Instance = None) -> Response[str]:
    """With `module` and `instance` this one is closed, and the last one frees the seat; without, the seat is released."""
    _both(module, instance)
    now = deployment.now()
    seats.close(station_caller(app, now).caller, seat_id, module, instance, now)
    return gone()


@app.post(
    "/v1/seats/<seat_id>/borrow",
    summary="Take a seat offline",
    tags=["Station"],
    security=_SECURITY,
    responses={
        200: document(BorrowAnswer, "A signed lease, good without a connection until its end."),
        **problems(*_CALLER, *_POOL, SeatLost, BorrowingNotAllowed, body=True),
    },
)
def borrow_seat(seat_id: SeatPath, body: Annotated[Borrowing, Body()]) -> BorrowAnswer:
    """It counts until it is returned or ends, and nobody can release it. Again, it gives the same end."""
    now = deployment.now()
    return seats.borrow(station_caller(app, now).caller, seat_id, body.days, now, origin(app))


@app.post(
    "/v1/seats/<seat_id>/return",
    summary="Return a borrowed seat",
    tags=["Station"],
    security=_SECURITY,
    responses={200: document(ReturnAnswer, "It is free again; also when it was before."), **problems(*_CALLER)},
)
def return_seat(seat_id: SeatPath) -> ReturnAnswer:
    """Before its end."""
    now = deployment.now()
    return seats.give_back(station_caller(app, now).caller, seat_id, now, origin(app))


handler = entry(app)
