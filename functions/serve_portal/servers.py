"""A server's page: how it stands, what it has, its activation token, and what can be done to it (A2, A7, B5)."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import cast

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import administration
from licensing.customers import account_for
from licensing.errors import InvalidRequest, LicensingError
from licensing.http.pages import Visit, explain, form, page, see_other, visit
from licensing.log_reading import Filters, list_operations
from licensing.rules.accounts import Account
from licensing.rules.entitlements import Purpose
from licensing.store import servers as server_store
from licensing.texts import mark

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_ONE = "/portal/customers/<customer_id>/servers/<installation_id>"
PURPOSES: Mapping[Purpose, str] = {
    "main": mark("Main"),
    "test": mark("Test"),
    "redundancy": mark("Redundancy"),
    "load": mark("Load sharing"),
}
_LONGEST_NAME = 64
#: How many of its last operations a server's page shows, of how long.
_LAST_OPERATIONS = 10
_LATELY = timedelta(days=14)
#: What an action of the operation log is called; one that is not here shows by its own name.
ACTIONS: Mapping[str, str] = {
    "installation.created": mark("added"),
    "installation.changed": mark("changed"),
    "installation.disabled": mark("disabled"),
    "installation.enabled": mark("enabled"),
    "installation.released": mark("released"),
    "token.rotated": mark("activation token replaced"),
    "clone.settled": mark("clone decided: one server goes on"),
    "server.activated": mark("activated"),
    "server.activated_offline": mark("activated offline"),
    "server.activation_refused": mark("activation refused"),
    "server.validated": mark("validated"),
    "server.refused": mark("validation refused"),
    "server.healed": mark("restored backup healed"),
    "server.clone_suspected": mark("clone suspected"),
    "server.fingerprint_changed": mark("hardware changed"),
    "server.deactivated": mark("deactivated"),
    "server.deactivated_offline": mark("deactivated offline"),
}


class NameNeeded(InvalidRequest):
    """Raised when a server is to have no name, or an endless one."""

    detail = mark("Give the server a name of at most 64 characters.")


def server_fields(fields: Mapping[str, str]) -> tuple[str, Purpose | None]:
    """Name and purpose from a form. Raises NameNeeded."""
    name, purpose = fields.get("name", ""), fields.get("purpose", "")
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise NameNeeded
    return name, cast("Purpose", purpose) if purpose in PURPOSES else None


@router.get(_ONE)
def show(customer_id: str, installation_id: str) -> Response[str]:
    """The page; it changes nothing."""
    here = visit(router)
    return _page(here, account_for(here.signed_in, customer_id, "customer.read"), installation_id)


@router.post(_ONE)
def change(customer_id: str, installation_id: str) -> Response[str]:
    """Another name or purpose."""

    def do(here: Visit, fields: Mapping[str, str]) -> None:
        name, purpose = server_fields(fields)
        members = {"name": name, "purpose": purpose}
        administration.change_installation(customer_id, installation_id, members, here.by, here.now)

    return _do(customer_id, installation_id, do)


@router.post(_ONE + "/delete")
def delete(customer_id: str, installation_id: str) -> Response[str]:
    """Away with a server that never was one."""
    here = visit(router)
    form(here)
    account = account_for(here.signed_in, customer_id, "installation.operate")
    try:
        administration.remove_installation(customer_id, installation_id, here.by, here.now)
    except LicensingError as error:
        return _refused(here, account, installation_id, error)
    return see_other(here, f"/portal/customers/{customer_id}", "server-deleted")


@router.post(_ONE + "/<what>")
def operate(customer_id: str, installation_id: str, what: str) -> Response[str]:
    """One of the buttons."""

    def do(here: Visit, _: Mapping[str, str]) -> None:
        at = (customer_id, installation_id)
        match what:
            case "disable":
                administration.disable(*at, here.by, here.now)
            case "enable":
                administration.enable(*at, here.by, here.now)
            case "release":
                administration.release_installation(*at, here.by, here.now)
            case "settle":
                administration.settle_clone(*at, here.by, here.now)
            case "rotate":
                administration.rotate_activation_token(*at, here.by, here.now)
            case "online":
                administration.change_installation(*at, {"mode": "online"}, here.by, here.now)
            case _:
                raise InvalidRequest

    return _do(customer_id, installation_id, do, what)


def _do(
    customer_id: str, installation_id: str, do: Callable[[Visit, Mapping[str, str]], None], done: str = "saved"
) -> Response[str]:
    here = visit(router)
    fields = form(here)
    account = account_for(here.signed_in, customer_id, "installation.operate")
    try:
        do(here, fields)
    except LicensingError as error:
        return _refused(here, account, installation_id, error)
    return see_other(here, f"/portal/customers/{customer_id}/servers/{installation_id}", f"server-{done}")


def _refused(here: Visit, account: Account, installation_id: str, error: LicensingError) -> Response[str]:
    if error.status not in (409, 422):
        raise error
    return _page(here, account, installation_id, error)


def _page(here: Visit, account: Account, installation_id: str, error: LicensingError | None = None) -> Response[str]:
    seen = administration.find_overview(account, installation_id, here.now)
    return page(
        here,
        "server",
        error.status if error else 200,
        customer=account.customer,
        server=seen,
        today=account.customer.today(here.now),
        usage=server_store.get_usage(installation_id),
        operations=list_operations(
            account.customer.customer_id,
            here.now,
            since=here.now - _LATELY,
            filters=Filters(subject_id=installation_id),
            limit=_LAST_OPERATIONS,
        ).items,
        purposes=PURPOSES,
        action_names=ACTIONS,
        error=explain(here.language, error) if error else None,
    )
