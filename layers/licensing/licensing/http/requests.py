"""What stands in a request beside its body: who is calling, with which proof, under which Idempotency-Key."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.api_gateway import BaseRouter
from aws_lambda_powertools.event_handler.openapi.params import Header
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from pydantic import BaseModel
from pynamodb.transactions import TransactWrite

from licensing import deployment, proofs, stations, tokens
from licensing.errors import InvalidProof, InvalidToken, LicensingError, Unauthorized
from licensing.http.api import say
from licensing.key_ring import ring
from licensing.operations import operation, record_refusal
from licensing.rules.operations import Origin
from licensing.store import tables
from licensing.store.idempotency import Idempotency, Keep, keep_nothing
from licensing.texts import Say

if TYPE_CHECKING:
    from licensing.rules.people import User

A = TypeVar("A", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ServerCaller:
    """A server that showed its token and, where the token asks for it, that it has the key."""

    token: tokens.ServerToken
    public_key: dict[str, str] | None


def body_bytes(event: APIGatewayProxyEventV2) -> bytes:
    """The body as it was sent."""
    text = event.body or ""
    return base64.b64decode(text) if event.is_base64_encoded else text.encode()


def origin(router: BaseRouter, user: "User | None" = None) -> Origin:
    """Who asks, and from where, for the operation log. Where no user does, who it is is for the capability to say."""
    address = cast("APIGatewayProxyEventV2", router.current_event).request_context.http.source_ip
    request_id = getattr(router.lambda_context, "aws_request_id", "")
    if user is None:
        return Origin("anyone", address=address, request_id=request_id)
    return Origin(user.kind, user.user_id, user.name, address, request_id)


def saying(router: BaseRouter) -> Say:
    """What says texts in the language that the caller likes best."""
    return say(cast("APIGatewayProxyEventV2", router.current_event).headers.get("accept-language"))


def server_caller(app: APIGatewayHttpResolver, in_body: str | None, now: datetime) -> ServerCaller:
    """Who is calling, by the token in the Authorization header, or the one in the body where there is no header.

    Raises InvalidToken, InvalidProof, ClockSkewed, TemporarilyUnavailable.
    """
    event = app.current_event
    scheme, _, text = (event.headers.get("authorization") or f"Bearer {in_body or ''}").partition(" ")
    if scheme.lower() not in ("bearer", "dpop") or not text:
        raise InvalidToken
    token = tokens.read_server_token(ring, deployment.issuer(), text.strip(), now)
    if token.jkt is None:
        return ServerCaller(token, None)
    try:
        key = proofs.verify(event.headers.get("dpop"), _request(event), now=now, jkt=token.jkt, token=token.text)
    except InvalidProof as error:
        # The token is genuine, so whose it is is known; who shows it is not.
        told = operation(
            token.customer_id, origin(app), "server.proof_refused", now, token.installation_id, error.code
        )  # fmt: skip
        record_refusal(told, now)
        raise
    return ServerCaller(token, key)


@dataclass(frozen=True, slots=True)
class StationCaller:
    """An installation in whose name somebody asks about seats; ``server``: it is the server itself."""

    caller: stations.Caller
    server: bool


def station_caller(app: APIGatewayHttpResolver, now: datetime) -> StationCaller:
    """Who is asking about seats: a station by its seat token, or the server by its own token and proof.

    Raises InvalidToken, InvalidProof, ClockSkewed, Refused, SilentTooLong, TemporarilyUnavailable.
    """
    scheme, _, text = (app.current_event.headers.get("authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and tokens.typ_of(text.strip()) == stations.TYP:
        return StationCaller(stations.by_seat_token(text.strip(), now), False)
    return StationCaller(stations.by_server_token(server_caller(app, None, now).token, now), True)


def new_key(app: APIGatewayHttpResolver, public_key: dict[str, str] | None, now: datetime) -> dict[str, str] | None:
    """The key that a server brings to its activation, proven. Raises InvalidProof, ClockSkewed."""
    event = app.current_event
    if public_key is None:
        return None
    proven = proofs.verify(event.headers.get("dpop"), _request(event), now=now)
    if proven != public_key:
        raise InvalidProof
    return proven


def user_caller(app: APIGatewayHttpResolver) -> "User":
    """Which user is calling, by the access token that the gateway's authorizer let through.

    Raises OnlyAtHomeSite, and Unauthorized for a token without a user of ours: an account alone belongs nowhere.
    """
    from licensing.store import people  # what servers and stations call has no users

    deployment.require_home_site()
    authorizer = app.current_event["requestContext"].get("authorizer") or {}
    subject = authorizer.get("jwt", {}).get("claims", {}).get("sub")
    user = people.get(subject) if subject else None
    if user is None:
        raise Unauthorized
    return user


#: The header that makes a POST safe to repeat.
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x20-\x7e]{1,128}$",
        description="Makes a repeat get the first answer, for at least 24 hours.",
    ),
]


def once(
    app: APIGatewayHttpResolver,
    key: str | None,
    scope: str,
    now: datetime,
    call: Callable[[Keep], A],
    status: Callable[[A], int],
) -> Response[str]:
    """The answer of ``call``, run once per Idempotency-Key: a replay gets the first answer, also after a crash before
    it was sent. ``call`` adds its answer to the transaction that does its work; an answer to what was done already is kept by
    itself. ``scope`` is the caller, or the secret in its body.

    Raises IdempotencyKeyReused, and whatever ``call`` raises.
    """
    if key is None:
        answer = call(keep_nothing)
        return _json(status(answer), answer.model_dump_json())
    event = app.current_event
    idempotency = Idempotency(f"{event.request_context.http.method} {event.raw_path}\n{scope}", key, body_bytes(event))

    written: BaseModel | None = None

    def keep(transaction: TransactWrite, answer: BaseModel) -> None:
        nonlocal written
        written = answer
        idempotency.keep_in(transaction, status(cast("A", answer)), answer.model_dump_json(), now)

    if kept := idempotency.replay(now):
        return _json(*kept)
    try:
        answer = call(keep)
        if answer is not written:
            # Nothing was left to do. A twin of this request may have done it, and then its answer is the first.
            tables.transact(partial(keep, answer=answer))
    except (LicensingError, tables.ConditionFailed):
        # A twin of this request was faster, or this one took effect and its answer got lost on the way to us.
        if kept := idempotency.replay(now):
            return _json(*kept)
        raise
    return _json(status(answer), answer.model_dump_json())


def _json(status: int, answer: str) -> Response[str]:
    return Response(status, "application/json", answer)


def _request(event: APIGatewayProxyEventV2) -> proofs.Request:
    context = event.request_context
    scheme = event.headers.get("x-forwarded-proto") or "https"
    # API Gateway finds the API by this header, so a request with a made-up one never gets here.
    url = f"{scheme}://{event.headers.get('host') or context.domain_name}{event.raw_path}"
    return proofs.Request(context.http.method, url, body_bytes(event))
