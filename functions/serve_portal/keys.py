"""Seats and keys of a customer: pools, the current key, importing, asking for and issuing one, companies (C1, C9, C10, C12)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.router import APIGatewayHttpRouter
from licensing import activation_keys, companies, key_mail, pools
from licensing.activation_keys import Terms
from licensing.contract_keys import CompanyChange, CustomerPool, NewKey
from licensing.customers import account_for
from licensing.errors import LicensingError, TemporarilyUnavailable
from licensing.http.pages import Visit, attachment, explain, form, page, see_other, visit
from licensing.rules.accounts import Account, Customer
from licensing.rules.seats import BORROW_DAYS, DEFAULT_LEASE, LONGEST_BORROWING, LONGEST_LEASE, SHORTEST_LEASE
from licensing.store.vendor import catalogue

from functions.serve_portal import forms

router = APIGatewayHttpRouter()  # type: ignore[no-untyped-call]

_KEYS = "/portal/customers/<customer_id>/keys"
_MOST_KEYS = 10
_DAYS = 365
_FIELDS = (
    "companies", "concurrent", "company_quota", "support", "first_day", "days", "group", "lease_seconds", "borrow_days",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A pool as it is listed: of the activation key, or of a license at an installation."""

    application: str
    at: str
    state: CustomerPool


@router.get(_KEYS)
def show(customer_id: str) -> Response[str]:
    """Pools, key and companies."""
    here = visit(router)
    return _page(here, account_for(here.signed_in, customer_id, "customer.read"))


def _page(here: Visit, account: Account, error: LicensingError | None = None, text: str = "") -> Response[str]:
    customer_id = account.customer.customer_id
    current = activation_keys.current_key(customer_id, here.now)
    issued = activation_keys.issued(customer_id)[:_MOST_KEYS]
    named = current.key.companies if current else {}
    made = companies.of(customer_id)
    return page(
        here,
        "keys",
        error.status if error else 200,
        customer=account.customer,
        pools=_pools(account, here),
        current=current,
        issued=issued,
        waiting=issued[0].key if issued and (current is None or issued[0].key.serial > current.key.serial) else None,
        companies=[
            (tax_id, name, tax_id in made, tax_id in named) for tax_id, name in sorted({**named, **made}.items())
        ],
        text=text,
        error=explain(here.language, error) if error else None,
        ask_vendor=isinstance(error, activation_keys.REFUSALS),
    )


def _pools(account: Account, here: Visit) -> list[PoolRow]:
    found = [
        PoolRow(
            application_name(each.application),
            account.installations[each.installation_id].name if each.installation_id else "",
            pools.look(each, here.now),
        )
        for each in pools.of_customer(account, here.now)
    ]
    return sorted(found, key=lambda each: (each.application, each.at))


def application_name(application: str) -> str:
    """What an application is called; one that the catalogue does not know, by its id."""
    known = catalogue().applications.get(application)
    return known.name if known else application


# ── importing ──


@router.post(_KEYS + "/preview")
def preview(customer_id: str) -> Response[str]:
    """What importing a key would change, to be confirmed or left (C9)."""
    here = visit(router)
    fields = form(here)
    text = fields.get("key_file") or fields.get("key", "")
    account = account_for(here.signed_in, customer_id, "key.import")
    try:
        found = activation_keys.preview(customer_id, text, here.now, here.by)
    except TemporarilyUnavailable:
        raise
    except LicensingError as error:
        return _page(here, account, error, text[:10_000])
    seats_of = [(application_name(name), before, after) for name, before, after in found.seats()]
    return page(here, "key_preview", customer=account.customer, found=found, seats=seats_of)


@router.post(_KEYS + "/import")
def import_key(customer_id: str) -> Response[str]:
    """Import what was looked at."""
    here = visit(router)
    fields = form(here)
    account = account_for(here.signed_in, customer_id, "key.import")
    try:
        activation_keys.import_key(
            customer_id, fields.get("preview_id", ""), here.by, here.now, reset_peak=fields.get("reset_peak") == "yes"
        )
    except LicensingError as error:
        if error.status not in (403, 404, 409, 422):
            raise
        return _page(here, account, error)
    return see_other(here, f"/portal/customers/{customer_id}/keys", "key-imported")


@router.post(_KEYS + "/renewal")
def request_renewal(customer_id: str) -> Response[str]:
    """Ask for the key of the next year (C1)."""
    here = visit(router)
    form(here)
    account = account_for(here.signed_in, customer_id, "key.import")
    try:
        activation_keys.request_renewal(
            customer_id, here.by, here.now, lambda issued: key_mail.send_now(issued, here.now)
        )
    except LicensingError as error:
        if error.status not in (403, 409):
            raise
        return _page(here, account, error)
    return see_other(here, f"/portal/customers/{customer_id}/keys", "key-requested")


# ── companies ──


@router.post(_KEYS + "/companies")
def change_company(customer_id: str) -> Response[str]:
    """Set a company up, rename it, or take it away (C10)."""
    here = visit(router)
    fields = form(here)
    account = account_for(here.signed_in, customer_id, "company.manage")
    tax_id, do = fields.get("tax_id", ""), fields.get("do", "")
    try:
        if do == "remove":
            companies.remove(customer_id, tax_id, here.by, here.now)
        else:
            name = forms.read(here, CompanyChange, {"name": fields.get("name", "")}).name
            change = companies.edit if do == "rename" else companies.create
            change(customer_id, tax_id, name, here.by, here.now)
    except LicensingError as error:
        if error.status not in (403, 404, 409, 422):
            raise
        return _page(here, account, error)
    return see_other(here, f"/portal/customers/{customer_id}/keys", "saved")


# ── the vendor's ──


@router.get(_KEYS + "/new")
def new(customer_id: str) -> Response[str]:
    """The form for a new key, beginning with what the last one says."""
    here = visit(router)
    account = account_for(here.signed_in, customer_id, "key.issue")
    last = next(iter(activation_keys.issued(customer_id)), None)
    customer = account.customer
    key = last.key if last else None
    named = key.companies if key else {customer.tax_id: customer.name}
    typed = {
        "companies": "\n".join(f"{tax_id} {name}" for tax_id, name in named.items()),
        "concurrent": "\n".join(f"{name} {count}" for name, count in key.concurrent.items()) if key else "",
        "company_quota": str(key.company_quota or "") if key else "",
        "support": ", ".join(key.support) if key else "",
        "first_day": customer.today(here.now).isoformat(),
        "days": str(_DAYS),
        "group": key.group if key else "",
        "lease_seconds": str(key.lease_seconds if key else DEFAULT_LEASE),
        "borrow_days": str(key.borrow_days if key else BORROW_DAYS),
    }
    return _form(here, customer, typed)


@router.post(_KEYS + "/new")
def issue(customer_id: str) -> Response[str]:
    """Issue it."""
    here = visit(router)
    fields = form(here)
    account = account_for(here.signed_in, customer_id, "key.issue")
    try:
        terms = _terms(here, account, fields)
        activation_keys.issue(customer_id, terms, here.by, here.now)
    except LicensingError as error:
        if error.status != 422:
            raise
        return _form(here, account.customer, {name: fields.get(name, "") for name in _FIELDS}, error)
    return see_other(here, f"/portal/customers/{customer_id}/keys", "key-issued")


def _form(
    here: Visit, customer: Customer, typed: Mapping[str, str], error: LicensingError | None = None
) -> Response[str]:
    return page(
        here,
        "key_new",
        error.status if error else 200,
        customer=customer,
        typed=typed,
        leases=(SHORTEST_LEASE, LONGEST_LEASE),
        longest_borrowing=LONGEST_BORROWING,
        error=explain(here.language, error) if error else None,
    )


def _terms(here: Visit, account: Account, fields: Mapping[str, str]) -> Terms:
    """Raises FormInvalid, which names the field."""
    days = forms.whole(fields.get("days", ""), 1, 3660, 0)
    try:
        first_day = date.fromisoformat(fields.get("first_day") or account.customer.today(here.now).isoformat())
        last_day = first_day + timedelta(days=days - 1)
    except (ValueError, OverflowError) as error:
        raise forms.FormInvalid(field=here.language.text(forms.LABELS["first_day"])) from error
    if not days:
        raise forms.FormInvalid(field=here.language.text(forms.LABELS["days"]))
    quota = fields.get("company_quota", "")
    seats_of = [line.rpartition(" ") for line in fields.get("concurrent", "").splitlines() if line.strip()]
    body = forms.read(here, NewKey, {
        "customer_id": account.customer.customer_id,
        "companies": [
            {"tax_id": tax_id, "name": name}
            for tax_id, _, name in (line.strip().partition(" ") for line in fields.get("companies", "").splitlines())
            if tax_id
        ],
        "concurrent": {name.strip(): forms.whole(count, 0, 10**8, -1) for name, _, count in seats_of},
        "company_quota": forms.whole(quota, 0, 10**8, -1) if quota else None,
        "support": [each.strip() for each in fields.get("support", "").split(",") if each.strip()],
        "first_day": first_day,
        "last_day": last_day,
        "group": fields.get("group", ""),
        "lease_seconds": forms.whole(fields.get("lease_seconds", ""), 0, 10**8, -1),
        "borrow_days": forms.whole(fields.get("borrow_days", ""), 0, 10**8, -1),
    })  # fmt: skip
    return activation_keys.terms_of(body)


@router.get(_KEYS + "/<key_id>/file")
def key_file(customer_id: str, key_id: str) -> Response[str]:
    """The text of a key as a file."""
    here = visit(router)
    account_for(here.signed_in, customer_id, "key.issue")
    text = activation_keys.key_text(customer_id, key_id)
    return attachment(f"{key_id}.txt", "text/plain; charset=utf-8", text)
