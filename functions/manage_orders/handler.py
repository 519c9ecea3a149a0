"""/v1/orders: orders of the vendor's ERP, of vendor and resellers (B1, B2, B7)."""

from typing import Annotated, Literal

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Query
from licensing import deployment, orders
from licensing.contract_orders import Forward, Forwarded, NewOrder, OrderAnswer, Orders, Resend, Unlock
from licensing.errors import (
    AlreadyUnlocked,
    CustomerDeleted,
    CustomerDetailsMissing,
    Forbidden,
    IdempotencyKeyReused,
    LicenseUnknown,
    LicensingError,
    ModuleNotCompatible,
    NotFound,
    NotRenewable,
    OrderCancelled,
    OrderExists,
    OrderingNotAllowed,
    OrderNumberWrong,
    PeriodNotOnSale,
    ProductUnknown,
    RecipientMissing,
    RenewalTooEarly,
    RenewalTooLate,
    ResellerUnknown,
    TemporarilyUnavailable,
    TooManyRequests,
    Unauthorized,
)
from licensing.http.api import api, document, entry, problems
from licensing.http.requests import IdempotencyKey, once, origin, user_caller

app = api()

_SECURITY: list[dict[str, list[str]]] = [{"user_token": []}]
#: What any of these routes may refuse.
_ANY: tuple[type[LicensingError], ...] = (Unauthorized, Forbidden, TemporarilyUnavailable)


@app.post(
    "/v1/orders",
    summary="Take an order in",
    tags=["Orders"],
    security=_SECURITY,
    responses={
        201: document(OrderAnswer, "Taken in: its licenses are locked, its renewals done, its e-mail is on its way."),
        **problems(
            *_ANY, OrderingNotAllowed, OrderExists, CustomerDeleted, RenewalTooEarly, RenewalTooLate, NotRenewable,
            ProductUnknown, LicenseUnknown, ResellerUnknown, CustomerDetailsMissing, RecipientMissing, PeriodNotOnSale,
            ModuleNotCompatible, IdempotencyKeyReused, body=True,
        ),
    },
)  # fmt: skip
def take_in(body: Annotated[NewOrder, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
    """A reseller's order number is taken once, for good. A refusal of a line has its number as `line`, from 1."""
    now, user = deployment.now(), user_caller(app)
    return once(
        app,
        idempotency_key,
        user.user_id,
        now,
        lambda keep: orders.take_in(user, body, now, origin(app, user), keep),
        lambda answer: 201,
    )


@app.get(
    "/v1/orders",
    summary="List orders",
    tags=["Orders"],
    security=_SECURITY,
    responses={200: document(Orders, "Orders, newest first."), **problems(*_ANY)},
)
def search(
    state: Annotated[Literal["open", "all"], Query(description="Open ones wait to be unlocked.")] = "all",
    search: Annotated[str, Query(max_length=128, description="In number, customer's name or tax id.")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 25,
    cursor: Annotated[str | None, Query(max_length=1000)] = None,
) -> Response[str]:
    """The vendor's of all resellers, a reseller's own."""
    found = orders.search(user_caller(app), search, state, cursor, deployment.now(), limit)
    page = Orders(items=[orders.answer(each) for each in found.items], next_cursor=found.next_cursor)
    return Response(200, "application/json", page.model_dump_json())


@app.get(
    "/v1/orders/<order_id>",
    summary="Read an order",
    tags=["Orders"],
    security=_SECURITY,
    responses={200: document(OrderAnswer, "The order."), **problems(*_ANY, NotFound)},
)
def show(order_id: str) -> Response[str]:
    """With its lines, its four steps, and the newest e-mail's way to its recipients."""
    return _answer(orders.answer(orders.show(user_caller(app), order_id, deployment.now())))


@app.delete(
    "/v1/orders/<order_id>",
    summary="Cancel an order",
    tags=["Orders"],
    security=_SECURITY,
    responses={
        200: document(OrderAnswer, "Cancelled: locked licenses are gone, links are dead. Renewals stay."),
        **problems(*_ANY, NotFound, AlreadyUnlocked),
    },
)
def cancel(order_id: str) -> Response[str]:
    """Only until it is unlocked. A repeat succeeds again."""
    user = user_caller(app)
    return _answer(orders.cancel(user, order_id, deployment.now(), origin(app, user)))


@app.post(
    "/v1/orders/<order_id>/resend",
    summary="Send an order's e-mail again",
    tags=["Orders"],
    security=_SECURITY,
    responses={
        200: document(OrderAnswer, "The e-mail is on its way, with a new link. Earlier links stay good."),
        **problems(*_ANY, NotFound, OrderCancelled, TooManyRequests, IdempotencyKeyReused, body=True),
    },
)
def resend(
    order_id: str, body: Annotated[Resend, Body()], idempotency_key: IdempotencyKey = None
) -> Response[str]:  # fmt: skip
    """To whom it went before, or to other `recipients`."""
    now, user = deployment.now(), user_caller(app)
    return once(
        app,
        idempotency_key,
        user.user_id,
        now,
        lambda keep: orders.resend(user, order_id, body.recipients, now, origin(app, user), keep),
        lambda answer: 200,
    )


@app.post(
    "/v1/orders/<order_id>/unlock",
    summary="Unlock an order",
    tags=["Orders"],
    security=_SECURITY,
    responses={
        200: document(OrderAnswer, "All its lines are unlocked."),
        **problems(
            *_ANY, NotFound, OrderNumberWrong, AlreadyUnlocked, CustomerDeleted, OrderCancelled, TooManyRequests,
            IdempotencyKeyReused, body=True,
        ),
    },
)  # fmt: skip
def unlock(
    order_id: str, body: Annotated[Unlock, Body()], idempotency_key: IdempotencyKey = None
) -> Response[str]:  # fmt: skip
    """All lines at once, or none."""
    now, user = deployment.now(), user_caller(app)
    return once(
        app,
        idempotency_key,
        user.user_id,
        now,
        lambda keep: orders.unlock(user, order_id, body.order_number, now, origin(app, user), keep),
        lambda answer: 200,
    )


@app.post(
    "/v1/orders/<order_id>/forward",
    summary="Forward an order's activation",
    tags=["Orders"],
    security=_SECURITY,
    responses={
        202: document(Forwarded, "An invitation is on its way, if the address may have one."),
        **problems(*_ANY, NotFound, CustomerDeleted, OrderCancelled, TooManyRequests, body=True),
    },
)
def forward(order_id: str, body: Annotated[Forward, Body()]) -> Response[str]:
    """An invitation to assign and activate, never the unlock link."""
    user = user_caller(app)
    orders.forward(user, order_id, body.email, deployment.now(), origin(app, user))
    return Response(202, "application/json", Forwarded().model_dump_json())


def _answer(order: OrderAnswer) -> Response[str]:
    return Response(200, "application/json", order.model_dump_json())


handler = entry(app)
