"""A customer's licenses and installations, and who gets how much of what (B4, B5, B8)."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, TypeVar

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path, Query
from licensing import administration, allocations, contract_licenses, cursors, deployment, offline
from licensing.contract import OfflineDeactivation, OfflineLicense
from licensing.contract_licenses import (
    Allocations,
    AllocationsAnswer,
    CloneDecision,
    InstallationAnswer,
    InstallationChange,
    InstallationPage,
    LicensePage,
    NewInstallation,
    OfflineReceipt,
    OfflineRequest,
    OfflineTerms,
    TokenAnswer,
)
from licensing.customers import account_for
from licensing.errors import (
    Forbidden,
    IdempotencyKeyReused,
    InstallationDisabled,
    InstallationInUse,
    InstallationTaken,
    LicenseOver,
    NameTaken,
    NotFound,
    OfflineFileAltered,
    OfflineFileDamaged,
    OfflineFileWrong,
    OfflineLicenseOut,
    OfflineNotAllowed,
    OfflineRequestUsed,
    QuantityExceeded,
    ReceiptMismatch,
    RedundancyServer,
    Refused,
    StaleVersion,
    TemporarilyUnavailable,
    TooManyChanges,
    Unauthorized,
)
from licensing.http.api import api, document, entry, gone, problems
from licensing.http.requests import IdempotencyKey, once, origin, user_caller
from licensing.rules.access import Action
from licensing.rules.accounts import Account
from licensing.rules.allocations import online_only, rows
from licensing.rules.installations import Overview
from licensing.rules.operations import Origin
from licensing.rules.people import User
from licensing.store.idempotency import Keep
from licensing.store.vendor import catalogue
from pydantic import BaseModel

app = api()

CustomerId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]
InstallationId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_]{1,64}$")]
Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=1000)]
T = TypeVar("T", bound=BaseModel)

_HERE = "/v1/customers/<customer_id>"
_ONE = _HERE + "/installations/<installation_id>"
_SECURITY = [{"user_token": list[str]()}]
_COMMON = (Unauthorized, Forbidden, NotFound, TemporarilyUnavailable)


def _caller(customer_id: str, action: Action) -> tuple[User, Account, Origin, datetime]:
    user = user_caller(app)
    return user, account_for(user, customer_id, action), origin(app, user), deployment.now()


def _page(answers: Sequence[T], key: Callable[[T], str], customer_id: str, limit: int, cursor: str | None):  # type: ignore[no-untyped-def]
    """Some of a list that was read as a whole, in the order of its ids, and what continues it."""
    after = (cursors.read(cursor, customer_id) or {}).get("sk", {"S": ""})["S"]
    rest = [each for each in sorted(answers, key=key) if key(each) > after]
    more = {"pk": {"S": customer_id}, "sk": {"S": key(rest[limit - 1])}} if len(rest) > limit else None
    return {"items": rest[:limit], "next_cursor": cursors.text(more)}


# ── licenses and the table ──


@app.get(
    _HERE + "/licenses",
    summary="List a customer's licenses",
    tags=["User"],
    security=_SECURITY,
    responses={200: document(LicensePage, "Locked ones are not among them."), **problems(*_COMMON)},
)
def list_licenses(customer_id: CustomerId, limit: Limit = 100, cursor: Cursor = None) -> LicensePage:
    """By id, which is by age."""
    _, account, _, now = _caller(customer_id, "customer.read")
    today = account.customer.today(now)
    found = [each for row in rows(account, catalogue(), now) for each in contract_licenses.licenses(row, today)]
    return LicensePage(**_page(found, lambda each: each.license_id, customer_id, limit, cursor))


@app.get(
    _HERE + "/allocations",
    summary="Who has how much",
    tags=["User"],
    security=_SECURITY,
    responses={200: document(AllocationsAnswer, "The matrix, with its version."), **problems(*_COMMON)},
)
def show_allocations(customer_id: CustomerId) -> AllocationsAnswer:
    """By license, as it is saved, and by row, as the portal shows it."""
    _, account, _, now = _caller(customer_id, "customer.read")
    return contract_licenses.allocations(account, rows(account, catalogue(), now))


@app.put(
    _HERE + "/allocations",
    summary="Say who gets how much",
    description=(
        "The whole matrix in one write, all or nothing, with the version it was read at. What is left out gets nothing. "
        "A save whose answer was lost can be repeated."
    ),
    tags=["User"],
    security=_SECURITY,
    responses={
        200: document(AllocationsAnswer, "The matrix as it is now."),
        **problems(
            *_COMMON, StaleVersion, QuantityExceeded, RedundancyServer, InstallationDisabled, LicenseOver, OfflineNotAllowed,
            OfflineLicenseOut, TooManyChanges, body=True,
        ),
    },
)  # fmt: skip
def save_allocations(customer_id: CustomerId, body: Annotated[Allocations, Body()]) -> AllocationsAnswer:
    """All or nothing."""
    _, _, by, now = _caller(customer_id, "allocation.change")
    account = allocations.save(customer_id, body.version, body.allocations, by, now)
    return contract_licenses.allocations(account, rows(account, catalogue(), now))


# ── installations ──


@app.get(
    _HERE + "/installations",
    summary="List a customer's installations",
    tags=["User"],
    security=_SECURITY,
    responses={200: document(InstallationPage, "Each as it stands."), **problems(*_COMMON)},
)
def list_installations(customer_id: CustomerId, limit: Limit = 100, cursor: Cursor = None) -> InstallationPage:
    """By id, which is by age."""
    _, account, _, now = _caller(customer_id, "customer.read")
    found = [contract_licenses.installation(each) for each in administration.overviews(account, now)]
    return InstallationPage(**_page(found, lambda each: each.installation_id, customer_id, limit, cursor))


@app.post(
    _HERE + "/installations",
    summary="Add a server",
    tags=["User"],
    security=_SECURITY,
    responses={
        201: document(InstallationAnswer, "Quantities can be assigned to it now, which makes its activation token."),
        **problems(*_COMMON, NameTaken, IdempotencyKeyReused, body=True),
    },
)
def create_installation(
    customer_id: CustomerId, body: Annotated[NewInstallation, Body()], idempotency_key: IdempotencyKey = None
) -> Response[str]:
    """Its name is unique within the customer."""
    user, _, by, now = _caller(customer_id, "installation.operate")
    return once(
        app, idempotency_key, user.user_id, now,
        lambda keep: contract_licenses.installation(
            administration.create_installation(
                customer_id, body.name, body.purpose, body.mode, by, now, _answer_in(keep)
            )
        ),
        lambda _: 201,
    )  # fmt: skip


@app.get(
    _ONE,
    summary="One installation",
    tags=["User"],
    security=_SECURITY,
    responses={200: document(InstallationAnswer, "As it stands."), **problems(*_COMMON)},
)
def show_installation(customer_id: CustomerId, installation_id: InstallationId) -> InstallationAnswer:
    """With what its server last said."""
    _, account, _, now = _caller(customer_id, "customer.read")
    return contract_licenses.installation(administration.find_overview(account, installation_id, now))


@app.patch(
    _ONE,
    summary="Change name, purpose or mode",
    tags=["User"],
    security=_SECURITY,
    responses={
        200: document(InstallationAnswer, "As it is now."),
        **problems(*_COMMON, NameTaken, OfflineNotAllowed, OfflineLicenseOut, body=True),
    },
)
def change_installation(
    customer_id: CustomerId, installation_id: InstallationId, body: Annotated[InstallationChange, Body()]
) -> InstallationAnswer:
    """What is left out stays."""
    _, _, by, now = _caller(customer_id, "installation.operate")
    return contract_licenses.installation(
        administration.change_installation(customer_id, installation_id, body.members(), by, now)
    )


@app.delete(
    _ONE,
    summary="Delete an installation that was never activated",
    tags=["User"],
    security=_SECURITY,
    responses={204: {"description": "It is gone."}, **problems(*_COMMON, InstallationInUse)},
)
def delete_installation(customer_id: CustomerId, installation_id: InstallationId) -> Response[str]:
    """Only where nothing is assigned and no server ever came."""
    _, _, by, now = _caller(customer_id, "installation.operate")
    administration.remove_installation(customer_id, installation_id, by, now)
    return gone()


def _change(
    path: str, summary: str, told: str
) -> Callable[[Callable[..., Response[str]]], Callable[..., Response[str]]]:
    decorate: Callable[[Callable[..., Response[str]]], Callable[..., Response[str]]] = app.post(
        _ONE + path,
        summary=summary,
        tags=["User"],
        security=_SECURITY,
        responses={
            200: document(InstallationAnswer, told),
            **problems(*_COMMON, OfflineLicenseOut, IdempotencyKeyReused),
        },
    )
    return decorate


@_change(
    "/disable", "Disable an installation", "Its quantities are free; the server's next validation gets a final no."
)
def disable(
    customer_id: CustomerId, installation_id: InstallationId, idempotency_key: IdempotencyKey = None
) -> Response[str]:
    """B5."""
    return _changed(customer_id, installation_id, idempotency_key, administration.disable)


@_change("/enable", "Enable an installation", "Nothing is assigned to it until somebody does.")
def enable(
    customer_id: CustomerId, installation_id: InstallationId, idempotency_key: IdempotencyKey = None
) -> Response[str]:
    """B5."""
    return _changed(customer_id, installation_id, idempotency_key, administration.enable)


@_change("/release", "Release an installation", "Another server can activate it; the one that had it gets a final no.")
def release(
    customer_id: CustomerId, installation_id: InstallationId, idempotency_key: IdempotencyKey = None
) -> Response[str]:
    """A2."""
    return _changed(customer_id, installation_id, idempotency_key, administration.release_installation)


@app.post(
    _ONE + "/clone-decision",
    summary="Decide on a suspected clone",
    tags=["User"],
    security=_SECURITY,
    responses={
        200: document(InstallationAnswer, "One server goes on, or the installation is free for a new activation."),
        **problems(*_COMMON, OfflineLicenseOut, IdempotencyKeyReused, body=True),
    },
)
def decide_clone(
    customer_id: CustomerId,
    installation_id: InstallationId,
    body: Annotated[CloneDecision, Body()],
    idempotency_key: IdempotencyKey = None,
) -> Response[str]:
    """A7."""
    settle = body.decision == "settle"
    decide = administration.settle_clone if settle else administration.release_installation
    return _changed(customer_id, installation_id, idempotency_key, decide)


def _changed(customer_id: str, installation_id: str, key: str | None, change: Callable[..., object]) -> Response[str]:
    user, account, by, now = _caller(customer_id, "installation.operate")
    administration.find_overview(account, installation_id, now)

    def call(keep: Keep) -> InstallationAnswer:
        change(customer_id, installation_id, by, now, _answer_in(keep))
        return contract_licenses.installation(
            administration.find_overview(account_for(user, customer_id, "customer.read"), installation_id, now)
        )

    return once(app, key, user.user_id, now, call, lambda _: 200)


def _answer_in(keep: Keep) -> administration.Also:
    return lambda transaction, seen: keep(transaction, contract_licenses.installation(seen))


@app.get(
    _ONE + "/offline-activation",
    summary="What an installation gives up offline",
    tags=["User"],
    security=_SECURITY,
    responses={200: document(OfflineTerms, "To be told before anybody chooses it."), **problems(*_COMMON)},
)
def offline_terms(customer_id: CustomerId, installation_id: InstallationId) -> OfflineTerms:
    """B8."""
    _, account, _, now = _caller(customer_id, "customer.read")
    return OfflineTerms(
        given_up=offline.given_up(customer_id, installation_id, now),
        online_only=online_only(account, installation_id, catalogue()),
    )


@app.post(
    _ONE + "/offline-activation",
    summary="From a request file to a license file",
    description="The same request leads to the same license, as long as that one is out.",
    tags=["User"],
    security=_SECURITY,
    responses={
        200: document(OfflineLicense, "For this one machine."),
        **problems(
            *_COMMON, OfflineNotAllowed, OfflineRequestUsed, InstallationTaken, Refused, OfflineFileWrong,
            OfflineFileDamaged, OfflineFileAltered, IdempotencyKeyReused, body=True,
        ),
    },
)  # fmt: skip
def activate_offline(
    customer_id: CustomerId,
    installation_id: InstallationId,
    body: Annotated[OfflineRequest, Body()],
    idempotency_key: IdempotencyKey = None,
) -> Response[str]:
    """B8, B9."""
    user, _, by, now = _caller(customer_id, "installation.operate")
    return once(
        app, idempotency_key, user.user_id, now,
        lambda keep: offline.activate(customer_id, installation_id, body.request, now, by, keep),
        lambda _: 200,
    )  # fmt: skip


@app.post(
    _ONE + "/offline-deactivation",
    summary="Hand in a deactivation receipt",
    tags=["User"],
    security=_SECURITY,
    responses={
        200: document(OfflineDeactivation, "What the license held is free."),
        **problems(
            *_COMMON, ReceiptMismatch, OfflineFileWrong, OfflineFileDamaged, OfflineFileAltered, IdempotencyKeyReused, body=True
        ),
    },
)  # fmt: skip
def deactivate_offline(
    customer_id: CustomerId,
    installation_id: InstallationId,
    body: Annotated[OfflineReceipt, Body()],
    idempotency_key: IdempotencyKey = None,
) -> Response[str]:
    """B9."""
    user, _, by, now = _caller(customer_id, "installation.operate")
    return once(
        app, idempotency_key, user.user_id, now,
        lambda keep: offline.deactivate(customer_id, installation_id, body.receipt, now, by, keep),
        lambda _: 200,
    )  # fmt: skip


@app.get(
    _ONE + "/activation-token",
    summary="The activation token",
    tags=["User"],
    security=_SECURITY,
    responses={200: document(TokenAnswer, "To be pasted into the server."), **problems(*_COMMON)},
)
def show_token(customer_id: CustomerId, installation_id: InstallationId) -> TokenAnswer:
    """B5, B6."""
    _, account, _, now = _caller(customer_id, "installation.operate")
    return _token(administration.find_overview(account, installation_id, now))


@app.post(
    _ONE + "/activation-token",
    summary="Replace the activation token",
    tags=["User"],
    security=_SECURITY,
    responses={
        200: document(TokenAnswer, "The new one; the old one is unknown from now on."),
        **problems(*_COMMON, IdempotencyKeyReused),
    },
)
def rotate_token(
    customer_id: CustomerId, installation_id: InstallationId, idempotency_key: IdempotencyKey = None
) -> Response[str]:
    """A server that is active goes on."""
    user, _, by, now = _caller(customer_id, "installation.operate")

    def call(keep: Keep) -> TokenAnswer:
        token = administration.rotate_activation_token(
            customer_id, installation_id, by, now, lambda transaction, seen: keep(transaction, _token(seen))
        )
        return TokenAnswer(activation_token=token)

    return once(app, idempotency_key, user.user_id, now, call, lambda _: 200)


def _token(seen: Overview) -> TokenAnswer:
    return TokenAnswer(activation_token=seen.installation.activation_token)


handler = entry(app)
