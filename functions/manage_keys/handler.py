"""Activation keys, the companies that they name, and pools as people see them (C1, C7-C10, F5)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path, Query
from licensing import activation_keys, companies, contract_keys, deployment, key_mail, pools, seat_use, seats
from licensing.activation_keys import KeyPreview
from licensing.contract import Moment, SeatRows
from licensing.contract_keys import (
    Companies,
    Company,
    CompanyAnswer,
    CompanyChange,
    CustomerPool,
    CustomerPools,
    DenialAnswer,
    Denials,
    KeyAnswer,
    KeyImport,
    Keys,
    KeyText,
    LeaseTime,
    NewKey,
    PeakAnswer,
    PoolChange,
    PreviewAnswer,
    ReleaseAnswer,
    RenewalAnswer,
    RenewalRequest,
    UsageAnswer,
    UseStepAnswer,
)
from licensing.customers import account_for
from licensing.errors import (
    CompanyExists,
    CompanyLimitReached,
    Forbidden,
    IdempotencyKeyReused,
    InvalidRequest,
    KeyExpired,
    KeyForeignCompany,
    KeyMissing,
    KeyMixedGroups,
    KeyNotYetValid,
    KeyRenewalTooEarly,
    LeaseTimeInKey,
    LicensingError,
    NotFound,
    PreviewStale,
    SeatBorrowed,
    TaxIdInvalid,
    TemporarilyUnavailable,
    Unauthorized,
)
from licensing.http.api import api, document, entry, gone, problems
from licensing.http.requests import IdempotencyKey, once, origin, user_caller
from licensing.rules import access
from licensing.rules.access import Action
from licensing.rules.operations import Origin
from licensing.rules.people import User
from licensing.rules.seat_use import SLOT
from licensing.rules.seats import Pool
from licensing.rules.tax_ids import normalize
from licensing.store import seats as seat_store
from licensing.store.idempotency import Keep
from licensing.store.vendor import cached as vendor_settings

app = api()

_SECURITY: list[dict[str, list[str]]] = [{"user_token": []}]
_ANY: tuple[type[LicensingError], ...] = (Unauthorized, Forbidden, TemporarilyUnavailable)
#: What a company may be refused for (C10).
_OF_COMPANIES = (KeyMissing, KeyForeignCompany, KeyExpired, KeyNotYetValid, TaxIdInvalid)

CustomerId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]
KeyId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]
TaxId = Annotated[str, Path(pattern=r"^[A-Za-z0-9./ -]{1,64}$")]
PoolId = Annotated[str, Path(pattern=r"^pool_[0-9a-f]{1,60}$")]
SeatId = Annotated[str, Path(pattern=r"^sea_[0-9A-Za-z._-]{1,120}$")]
Whose = Annotated[
    str | None,
    Query(
        pattern=r"^[A-Za-z0-9_]{1,64}$",
        description="Whose pool it is: to be said of one that nobody has used yet, but by the customer's own people.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=1000)]
Place = Annotated[str | None, Query(pattern=r"^[0-9]{1,6}$")]
From = Annotated[Moment | None, Query(alias="from", description="RFC 3339.")]
To = Annotated[Moment | None, Query(alias="to", description="RFC 3339; now without it.")]

#: Use is kept for so long.
_KEPT = timedelta(days=400)
_MOST_STEPS = 1000
T = TypeVar("T")


def _caller(customer_id: str, action: Action) -> tuple[User, Origin, datetime]:
    user = user_caller(app)
    account_for(user, customer_id, action)
    return user, origin(app, user), deployment.now()


def _own(user: User, customer_id: str | None) -> str | None:
    """The customer that a body names, or the user's own."""
    return customer_id or (user.organization if user.kind == "customer" else None)


def _part(items: Sequence[T], limit: int, cursor: str | None) -> tuple[Sequence[T], str | None]:
    """Some of a list that was read as a whole, and what continues it."""
    start = int(cursor or 0)
    end = start + limit
    return items[start:end], str(end) if end < len(items) else None


# ── keys ──


@app.post(
    "/v1/keys",
    summary="Issue an activation key",
    tags=["Keys"],
    security=_SECURITY,
    responses={
        201: document(KeyAnswer, "Issued and signed. Its text is at `/v1/keys/{key_id}/file`."),
        **problems(*_ANY, NotFound, KeyMixedGroups, IdempotencyKeyReused, body=True),
    },
)
def issue(body: Annotated[NewKey, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
    """It supersedes the customer's earlier ones when it is imported."""
    user = user_caller(app)
    access.require(user, "key.issue")
    account_for(user, body.customer_id, "key.issue")
    now, by = deployment.now(), origin(app, user)
    terms = activation_keys.terms_of(body)
    return once(
        app, idempotency_key, user.user_id, now,
        lambda keep: contract_keys.key_answer(
            activation_keys.issue(body.customer_id, terms, by, now, _key_in(keep)).key
        ),
        lambda _: 201,
    )  # fmt: skip


def _key_in(keep: Keep) -> activation_keys.AlsoKey:
    return lambda transaction, issued: keep(transaction, contract_keys.key_answer(issued.key))


@app.get(
    "/v1/keys",
    summary="List activation keys",
    tags=["Keys"],
    security=_SECURITY,
    responses={200: document(Keys, "The newest first."), **problems(*_ANY, NotFound)},
)
def list_keys(
    customer_id: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_]{1,64}$")] = None,
    limit: Limit = 25,
    cursor: Cursor = None,
) -> Keys:
    """Of all customers, or of one."""
    user = user_caller(app)
    access.require(user, "key.issue")
    if customer_id is None:
        found, following = activation_keys.all_issued(cursor, limit)
        return Keys(items=[contract_keys.key_answer(each.key) for each in found], next_cursor=following)
    account_for(user, customer_id, "key.issue")
    keys = [contract_keys.key_answer(each.key) for each in activation_keys.issued(customer_id)]
    if cursor is not None and not cursor.isdecimal():
        raise InvalidRequest
    page, following = _part(keys, limit, cursor)
    return Keys(items=list(page), next_cursor=following)


@app.get(
    "/v1/keys/<key_id>/file",
    summary="The text of a key",
    tags=["Keys"],
    security=_SECURITY,
    responses={
        200: {
            "description": "To be mailed, pasted, or kept as a file.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **problems(*_ANY, NotFound),
    },
)
def key_file(key_id: KeyId) -> Response[str]:
    """A block of lines of 64 characters; what mail programs do to it does no harm."""
    user = user_caller(app)
    access.require(user, "key.issue")
    issued = activation_keys.find(key_id)
    account_for(user, issued.key.customer_id, "key.issue")
    disposition = f'attachment; filename="activation-key-{issued.key.last_day}.txt"'
    headers: Mapping[str, str | list[str]] = {"Content-Disposition": disposition, "Cache-Control": "no-store"}
    return Response(200, "text/plain; charset=utf-8", issued.text, dict(headers))


@app.post(
    "/v1/keys/preview",
    summary="Look at a key before importing it",
    tags=["Keys"],
    security=_SECURITY,
    responses={
        201: document(PreviewAnswer, "What would change. Good for an hour, while no other key is imported."),
        **problems(*_ANY, NotFound, *activation_keys.REFUSALS, IdempotencyKeyReused, body=True),
    },
)
def preview(body: Annotated[KeyText, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
    """Signature, group, companies and dates are checked; nothing is changed (C9)."""
    user, now = user_caller(app), deployment.now()
    access.require(user, "key.import")
    with _refused_with_contact(now):
        customer_id = _own(user, body.customer_id) or activation_keys.read(body.text, now).customer_id
        account_for(user, customer_id, "key.import")
        return once(
            app, idempotency_key, user.user_id, now,
            lambda _: _previewed(activation_keys.preview(customer_id, body.text, now, origin(app, user))),
            lambda _: 201,
        )  # fmt: skip


@contextmanager
def _refused_with_contact(now: datetime) -> Iterator[None]:
    """Who is to be asked stands beside the reason (C9)."""
    try:
        yield
    except activation_keys.REFUSALS as error:
        error.members = {**error.members, "contact": asdict(vendor_settings(now).contact)}
        raise


def _previewed(found: KeyPreview) -> PreviewAnswer:
    return PreviewAnswer(
        preview_id=found.preview_id,
        key=contract_keys.key_answer(found.key),
        replaces=found.current.key_id if found.current else None,
        added=contract_keys.company_list(found.changes.added),
        changed=contract_keys.company_list(found.changes.changed),
        removed=contract_keys.company_list(found.changes.removed),
        kept=found.changes.kept,
        pools=[PoolChange(application=name, before=before, after=after) for name, before, after in found.seats()],
    )


@app.post(
    "/v1/keys/import",
    summary="Import a key",
    tags=["Keys"],
    security=_SECURITY,
    responses={
        200: document(KeyAnswer, "It is the current key, with all its companies."),
        **problems(*_ANY, NotFound, *activation_keys.REFUSALS, PreviewStale, IdempotencyKeyReused, body=True),
    },
)
def import_key(body: Annotated[KeyImport, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
    """All companies at once. A repeat completes what was interrupted, and changes nothing that is complete."""
    user = user_caller(app)
    access.require(user, "key.import")
    customer_id = activation_keys.customer_of(body.preview_id)
    _, by, now = _caller(customer_id, "key.import")
    with _refused_with_contact(now):
        return once(
            app, idempotency_key, user.user_id, now,
            lambda _: contract_keys.key_answer(
                activation_keys.import_key(customer_id, body.preview_id, by, now, reset_peak=body.reset_peak)
            ),
            lambda _: 200,
        )  # fmt: skip


@app.post(
    "/v1/keys/renewal-requests",
    summary="Ask for the key of the next year",
    tags=["Keys"],
    security=_SECURITY,
    responses={
        202: document(RenewalAnswer, "It is mailed to the registered contacts."),
        **problems(*_ANY, NotFound, KeyMissing, KeyRenewalTooEarly, IdempotencyKeyReused, body=True),
    },
)
def request_renewal(body: Annotated[RenewalRequest, Body()], idempotency_key: IdempotencyKey = None) -> Response[str]:
    """From 30 days before the end of the current one (C1)."""
    user = user_caller(app)
    access.require(user, "key.import")
    customer_id = _own(user, body.customer_id)
    if customer_id is None:
        raise InvalidRequest
    _, by, now = _caller(customer_id, "key.import")

    def call(_: Keep) -> RenewalAnswer:
        key = activation_keys.request_renewal(customer_id, by, now, lambda issued: key_mail.send_now(issued, now))
        return RenewalAnswer(key_id=key.key_id, first_day=key.first_day, last_day=key.last_day)

    return once(app, idempotency_key, user.user_id, now, call, lambda _: 202)


# ── companies ──

_COMPANIES = "/v1/customers/<customer_id>/companies"


@app.get(
    _COMPANIES,
    summary="List a customer's companies",
    tags=["Keys"],
    security=_SECURITY,
    responses={200: document(Companies, "By tax id."), **problems(*_ANY, NotFound)},
)
def list_companies(customer_id: CustomerId, limit: Limit = 100, cursor: Place = None) -> Companies:
    """Those that the current key names, and those that were set up."""
    _caller(customer_id, "customer.read")
    page, following = _part(_companies(customer_id), limit, cursor)
    return Companies(items=list(page), next_cursor=following)


def _companies(customer_id: str) -> list[CompanyAnswer]:
    current = activation_keys.current_key(customer_id, deployment.now())
    named = current.key.companies if current else {}
    made = companies.of(customer_id)
    return [
        CompanyAnswer(tax_id=tax_id, name=name, set_up=tax_id in made, in_key=tax_id in named)
        for tax_id, name in sorted({**named, **made}.items())
    ]


@app.post(
    _COMPANIES,
    summary="Set up a company",
    tags=["Keys"],
    security=_SECURITY,
    responses={
        201: document(CompanyAnswer, "Set up, within the key's quota."),
        **problems(
            *_ANY, NotFound, *_OF_COMPANIES, CompanyExists, CompanyLimitReached, IdempotencyKeyReused, body=True
        ),
    },
)
def create_company(
    customer_id: CustomerId, body: Annotated[Company, Body()], idempotency_key: IdempotencyKey = None
) -> Response[str]:
    """Only one that the key in force names (C10)."""
    user, by, now = _caller(customer_id, "company.manage")
    answer = CompanyAnswer(tax_id=body.tax_id, name=body.name, set_up=True, in_key=True)

    def call(keep: Keep) -> CompanyAnswer:
        companies.create(customer_id, body.tax_id, body.name, by, now, lambda transaction: keep(transaction, answer))
        return answer

    return once(app, idempotency_key, user.user_id, now, call, lambda _: 201)


@app.patch(
    _COMPANIES + "/<tax_id>",
    summary="Rename a company",
    tags=["Keys"],
    security=_SECURITY,
    responses={
        200: document(CompanyAnswer, "As it is now."),
        **problems(*_ANY, NotFound, *_OF_COMPANIES, body=True),
    },
)
def rename_company(customer_id: CustomerId, tax_id: TaxId, body: Annotated[CompanyChange, Body()]) -> CompanyAnswer:
    """Not without a valid key that names it."""
    _, by, now = _caller(customer_id, "company.manage")
    companies.edit(customer_id, tax_id, body.name, by, now)
    return CompanyAnswer(tax_id=normalize(tax_id), name=body.name, set_up=True, in_key=True)


@app.delete(
    _COMPANIES + "/<tax_id>",
    summary="Take a company away",
    tags=["Keys"],
    security=_SECURITY,
    responses={
        204: {"description": "It is gone, and there is room for another."},
        **problems(*_ANY, NotFound, TaxIdInvalid),
    },
)
def remove_company(customer_id: CustomerId, tax_id: TaxId) -> Response[str]:
    """Also one that no key names any more."""
    _, by, now = _caller(customer_id, "company.manage")
    companies.remove(customer_id, tax_id, by, now)
    return gone()


# ── pools ──


def _pool(pool_id: str, action: Action, customer_id: str | None = None) -> tuple[User, Pool, Origin, datetime]:
    """A pool, for a user who may do something to it. ``customer_id`` finds one that nobody has used yet.

    Raises NotFound, Forbidden.
    """
    user, now = user_caller(app), deployment.now()
    known = seat_store.get_pool(pool_id)
    whose = _own(user, customer_id) or (known.pool.customer_id if known else None)
    if whose is None:
        raise NotFound
    account = account_for(user, whose, action)
    return user, pools.find(account, pool_id, now), origin(app, user), now


_POOLS = "/v1/customers/<customer_id>/pools"


@app.get(
    _POOLS,
    summary="List a customer's pools",
    tags=["Pools"],
    security=_SECURITY,
    responses={
        200: document(CustomerPools, "By application: capacity, use, peak, validity."),
        **problems(*_ANY, NotFound),
    },
)
def list_pools(customer_id: CustomerId, limit: Limit = 100, cursor: Place = None) -> CustomerPools:
    """Of its activation key and of its licenses, those too that nobody has used yet (C8, C12)."""
    user, now = user_caller(app), deployment.now()
    account = account_for(user, customer_id, "customer.read")
    page, following = _part(pools.of_customer(account, now), limit, cursor)
    return CustomerPools(items=[pools.look(each, now) for each in page], next_cursor=following)


@app.get(
    _POOLS + "/<pool_id>/seats",
    summary="Who is in",
    tags=["Pools"],
    security=_SECURITY,
    responses={200: document(SeatRows, "One row a seat; support users apart."), **problems(*_ANY, NotFound)},
)
def list_seats(customer_id: CustomerId, pool_id: PoolId, limit: Limit = 100, cursor: Place = None) -> SeatRows:
    """The live view (C7). Seat ids are shown to those who may free a seat."""
    user, now = user_caller(app), deployment.now()
    pool = pools.find(account_for(user, customer_id, "customer.read"), pool_id, now)
    rows = pools.live(pool, now, with_ids=access.may(user, "pool.operate"))
    page, following = _part(rows, limit, cursor)
    return SeatRows(items=list(page), next_cursor=following)


@app.put(
    "/v1/pools/<pool_id>/lease-time",
    summary="Say how long a lease lasts",
    tags=["Pools"],
    security=_SECURITY,
    responses={
        200: document(CustomerPool, "As it is now."),
        **problems(*_ANY, NotFound, LeaseTimeInKey, body=True),
    },
)
def set_lease_time(pool_id: PoolId, body: Annotated[LeaseTime, Body()], customer_id: Whose = None) -> CustomerPool:
    """Without a heartbeat; for the pool of a license. Known everywhere within a minute."""
    _, pool, by, now = _pool(pool_id, "pool.operate", customer_id)
    pools.set_lease_seconds(pool, body.lease_seconds, by, now)
    return pools.look(pool, now)


@app.post(
    "/v1/pools/<pool_id>/peak-reset",
    summary="Let a pool's peak count from now on",
    tags=["Pools"],
    security=_SECURITY,
    responses={
        200: document(PeakAnswer, "It begins with what is in use."),
        **problems(*_ANY, NotFound, IdempotencyKeyReused),
    },
)
def reset_peak(pool_id: PoolId, idempotency_key: IdempotencyKey = None) -> Response[str]:
    """C8. The peak takes part in no decision."""
    user, pool, by, now = _pool(pool_id, "pool.operate")

    def answer(use: seat_store.Use) -> PeakAnswer:
        return PeakAnswer(pool_id=pool_id, peak=use.peak, peak_since=datetime.fromtimestamp(use.since, now.tzinfo))

    return once(
        app, idempotency_key, user.user_id, now,
        lambda keep: answer(
            seat_use.reset_peak(
                pool.customer_id, pool_id, by, now, lambda transaction, use: keep(transaction, answer(use))
            )
        ),
        lambda _: 200,
    )  # fmt: skip


@app.post(
    "/v1/pools/<pool_id>/seats/<seat_id>/release",
    summary="Free a seat, whoever holds it",
    tags=["Pools"],
    security=_SECURITY,
    responses={
        200: document(ReleaseAnswer, "It is free. One that was free already is no error."),
        **problems(*_ANY, NotFound, SeatBorrowed),
    },
)
def release(pool_id: PoolId, seat_id: SeatId) -> ReleaseAnswer:
    """C7. A seat id never touches a later lease, so a repeat does no harm. A borrowed seat stays (C13)."""
    _, pool, by, now = _pool(pool_id, "pool.operate")
    seats.force_release(pool.customer_id, pool_id, seat_id, by, now)
    return ReleaseAnswer(pool_id=pool_id, seat_id=seat_id)


@app.get(
    "/v1/pools/<pool_id>/usage",
    summary="How a pool was used",
    tags=["Pools"],
    security=_SECURITY,
    responses={200: document(UsageAnswer, "The most seats in use at once in each step."), **problems(*_ANY, NotFound)},
)
def usage(
    pool_id: PoolId,
    begin: From = None,
    end: To = None,
    step: Annotated[int, Query(ge=SLOT, le=31 * 86_400, description="Seconds.")] = 3600,
    customer_id: Whose = None,
) -> UsageAnswer:
    """A week without `from`. Steps are longer than asked for where there would be more than a thousand."""
    _, pool, _, now = _pool(pool_id, "customer.read", customer_id)
    first, last = _span(begin, end, timedelta(days=7), now)
    least = -(-int((last - first).total_seconds()) // _MOST_STEPS)
    step = max(step - step % SLOT, -(-least // SLOT) * SLOT)
    found = seat_use.usage(pool.customer_id, pool_id, first, last, now, step=step)
    items = [UseStepAnswer(at=each.at, most=each.most) for each in found]
    return UsageAnswer(pool_id=pool_id, step_seconds=step, items=items)


@app.get(
    "/v1/pools/<pool_id>/denials",
    summary="Who was refused in vain",
    tags=["Pools"],
    security=_SECURITY,
    responses={
        200: document(Denials, "One entry a station. Who got a seat within minutes is not among them."),
        **problems(*_ANY, NotFound),
    },
)
def denials(
    pool_id: PoolId,
    begin: From = None,
    end: To = None,
    limit: Limit = 100,
    cursor: Place = None,
    customer_id: Whose = None,
) -> Denials:
    """F5; a month without `from`. A refusal shows some minutes after it happened."""
    _, pool, _, now = _pool(pool_id, "customer.read", customer_id)
    first, last = _span(begin, end, timedelta(days=30), now)
    page, following = _part(seat_use.denials(pool.customer_id, pool_id, first, last), limit, cursor)
    return Denials(items=[_denied(each) for each in page], next_cursor=following)


def _denied(each: seat_use.Denial) -> DenialAnswer:
    who: dict[str, Any] = each.who._asdict()
    return DenialAnswer(
        **who, company_tax_id=each.company_tax_id, count=each.count, first=each.first, last=each.last,
        in_use=each.in_use, capacity=each.capacity,
    )  # fmt: skip


def _span(begin: datetime | None, end: datetime | None, usual: timedelta, now: datetime) -> tuple[datetime, datetime]:
    """Between which times, at most as long as use is kept. Raises InvalidRequest where nothing is between."""
    last = max(min(end or now, now + timedelta(seconds=1)), now - _KEPT)
    first = max(begin or last - usual, now - _KEPT)
    if first >= last:
        raise InvalidRequest
    return first, last


handler = entry(app)
