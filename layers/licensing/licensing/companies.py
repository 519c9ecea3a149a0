"""The companies of a group (C2, C10): none without an activation key that names it, and no more than the key's quota."""

from contextlib import suppress
from datetime import datetime

from pynamodb.transactions import TransactWrite

from licensing import deployment
from licensing.errors import (
    CompanyExists,
    CompanyLimitReached,
    KeyExpired,
    KeyForeignCompany,
    KeyMissing,
    KeyNotYetValid,
    NotFound,
)
from licensing.operations import operation, record_in, recording
from licensing.rules.activation_keys import Key
from licensing.rules.operations import Origin
from licensing.rules.tax_ids import normalize
from licensing.store import activation_keys as store
from licensing.store import tables


def of(customer_id: str) -> dict[str, str]:
    """The companies that were set up: names by tax id."""
    return store.companies(customer_id)


def create(
    customer_id: str, tax_id: str, name: str, by: Origin, now: datetime, also: tables.Also = tables.nothing
) -> str:
    """Set up a company (C10), within the key's quota (C2). Returns its tax id in the one spelling.

    Raises TaxIdInvalid, KeyMissing, KeyForeignCompany, KeyExpired, KeyNotYetValid, CompanyExists, CompanyLimitReached.
    """
    deployment.require_home_site()
    tax_id = normalize(tax_id)
    _add(_key_naming(customer_id, tax_id, now), tax_id, name, by, now, also)
    return tax_id


def admit(key: Key, tax_id: str, by: Origin, now: datetime) -> None:
    """Let a company that the key names work (C2): where the key has a quota of companies, one that was not set up is set up
    now. Raises CompanyLimitReached, KeyForeignCompany.
    """
    if tax_id not in key.companies:
        raise KeyForeignCompany(tax_id=tax_id)
    if key.company_quota is None or store.has_company(key.customer_id, tax_id):
        return
    with suppress(CompanyExists):
        _add(key, tax_id, key.companies[tax_id], by, now)


def _add(key: Key, tax_id: str, name: str, by: Origin, now: datetime, also: tables.Also = tables.nothing) -> None:
    told = operation(key.customer_id, by, "company.created", now, tax_id, name=name)

    def with_it(transaction: TransactWrite) -> None:
        record_in(transaction, told)
        also(transaction)

    try:
        store.add_company(key.customer_id, tax_id, name, key.most_companies, with_it)
    except tables.ConditionFailed as error:
        if store.COMPANY_THERE in error.failed:
            raise CompanyExists from error
        raise CompanyLimitReached(limit=key.most_companies) from error


def edit(customer_id: str, tax_id: str, name: str, by: Origin, now: datetime) -> None:
    """Change a company's name. Raises as ``create``; NotFound where it was not set up."""
    deployment.require_home_site()
    tax_id = normalize(tax_id)
    _key_naming(customer_id, tax_id, now)
    told = operation(customer_id, by, "company.renamed", now, tax_id, name=name)
    try:
        store.rename_company(customer_id, tax_id, name, recording(told))
    except tables.ConditionFailed as error:
        raise NotFound from error


def remove(customer_id: str, tax_id: str, by: Origin, now: datetime) -> None:
    """Take a company away, and make room for another; also one that no key names any more. Raises NotFound."""
    deployment.require_home_site()
    tax_id = normalize(tax_id)
    told = operation(customer_id, by, "company.removed", now, tax_id)
    try:
        store.remove_company(customer_id, tax_id, recording(told))
    except tables.ConditionFailed as error:
        raise NotFound from error


def _key_naming(customer_id: str, tax_id: str, now: datetime) -> Key:
    """The key in force that names a company: missing, incorrect and expired are three messages (C10)."""
    imported = store.current(customer_id)
    if imported is None:
        raise KeyMissing
    if tax_id not in imported.key.companies:
        raise KeyForeignCompany(tax_id=tax_id)
    require_in_force(imported.key, now)
    return imported.key


def require_in_force(key: Key, now: datetime) -> None:
    """Raises KeyExpired, KeyNotYetValid."""
    phase = key.phase(now)
    if phase == "ended":
        raise KeyExpired(last_day=key.last_day.isoformat())
    if phase == "upcoming":
        raise KeyNotYetValid(first_day=key.first_day.isoformat())
