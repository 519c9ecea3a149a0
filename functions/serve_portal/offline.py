"""Offline activation of a server: its request file in, its license file out, and back by its receipt (B8, B9)."""

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import administration, offline
from licensing.contract import OfflineLicense
from licensing.customers import account_for
from licensing.errors import LicensingError
from licensing.http.pages import Visit, attachment, explain, form, page, see_other, visit
from licensing.rules.accounts import Account
from licensing.rules.allocations import online_only
from licensing.store.vendor import catalogue

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_PAGE = "/portal/customers/<customer_id>/servers/<installation_id>/offline"


@router.get(_PAGE)
def show(customer_id: str, installation_id: str) -> Response[str]:
    """What is given up, and what to bring."""
    here = visit(router)
    return _page(here, account_for(here.signed_in, customer_id, "installation.operate"), installation_id)


@router.post(_PAGE)
def activate(customer_id: str, installation_id: str) -> Response[str]:
    """From the request file to the license."""
    here = visit(router)
    fields = form(here)
    request = _text(fields, "request")
    account = account_for(here.signed_in, customer_id, "installation.operate")
    try:
        license = offline.activate(customer_id, installation_id, request, here.now, here.by)
    except LicensingError as error:
        return _refused(here, account, installation_id, error, fields)
    account = account_for(here.signed_in, customer_id, "installation.operate")
    return _page(here, account, installation_id, license=license, request=request)


@router.post(_PAGE + "/file")
def download(customer_id: str, installation_id: str) -> Response[str]:
    """The license file itself: the same request leads to the same license."""
    here = visit(router)
    fields = form(here)
    request = _text(fields, "request")
    account = account_for(here.signed_in, customer_id, "installation.operate")
    try:
        license = offline.activate(customer_id, installation_id, request, here.now, here.by)
    except LicensingError as error:
        return _refused(here, account, installation_id, error, fields)
    return attachment(license.file_name, "application/json", license.content)


@router.post(_PAGE + "/receipt")
def deactivate(customer_id: str, installation_id: str) -> Response[str]:
    """The receipt: what the license held is free again."""
    here = visit(router)
    fields = form(here)
    receipt = _text(fields, "receipt")
    account = account_for(here.signed_in, customer_id, "installation.operate")
    try:
        offline.deactivate(customer_id, installation_id, receipt, here.now, here.by)
    except LicensingError as error:
        return _refused(here, account, installation_id, error, fields)
    return see_other(here, f"/portal/customers/{customer_id}/servers/{installation_id}", "server-receipt")


def _text(fields: dict[str, str], name: str) -> str:
    """The file that was chosen; else what was pasted."""
    return fields.get(f"{name}_file") or fields.get(name, "")


def _refused(
    here: Visit, account: Account, installation_id: str, error: LicensingError, fields: dict[str, str]
) -> Response[str]:
    if error.status not in (403, 409, 413, 422):
        raise error
    request, receipt = fields.get("request", ""), fields.get("receipt", "")
    return _page(here, account, installation_id, error, request=request, receipt=receipt)


def _page(
    here: Visit,
    account: Account,
    installation_id: str,
    error: LicensingError | None = None,
    *,
    license: OfflineLicense | None = None,
    request: str = "",
    receipt: str = "",
) -> Response[str]:
    seen = administration.find_overview(account, installation_id, here.now)
    customer_id = account.customer.customer_id
    return page(
        here,
        "offline",
        error.status if error else 200,
        customer=account.customer,
        server=seen,
        given_up=offline.given_up(customer_id, installation_id, here.now),
        online_only=online_only(account, installation_id, catalogue()),
        license=license,
        request=request[: offline.LIMIT],
        receipt=receipt[: offline.LIMIT],
        error=explain(here.language, error) if error else None,
    )
