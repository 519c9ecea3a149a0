"""Resellers: for the vendor to keep; each may read its own."""

from dataclasses import replace
from datetime import datetime

from pynamodb.transactions import TransactWrite

from licensing import identity
from licensing.contract_customers import NewReseller, ResellerAnswer, ResellerChange
from licensing.customers import checked_contacts, contact_answers
from licensing.errors import NotFound, TaxIdExists
from licensing.operations import operation, record_in
from licensing.rules import access
from licensing.rules.operations import Origin
from licensing.rules.people import Reseller, User
from licensing.rules.tax_ids import normalize
from licensing.store import people as store
from licensing.store import tables
from licensing.store.idempotency import Keep, keep_nothing


def every(user: User) -> list[Reseller]:
    """All resellers, by name. Raises Forbidden."""
    access.require(user, "reseller.list")
    return sorted(store.resellers().values(), key=lambda each: each.name.casefold())


def get(user: User, reseller_id: str) -> Reseller:
    """One of them. Raises NotFound, Forbidden."""
    access.require_own(user, "reseller.read", reseller_id)
    return _get(reseller_id)


def create(
    user: User, body: NewReseller, by: Origin, now: datetime, keep: Keep = keep_nothing
) -> ResellerAnswer:  # fmt: skip
    """Add a reseller. Raises Forbidden, TaxIdInvalid, EmailInvalid, TaxIdExists."""
    access.require(user, "reseller.change")
    reseller = Reseller(
        identity.new_id("res", now), body.name, normalize(body.tax_id), body.country, body.language,
        checked_contacts(body.contacts), body.may_order, body.may_assign_products,
    )  # fmt: skip
    answer = reseller_answer(reseller)
    try:
        _write(None, reseller, by, now, lambda transaction: keep(transaction, answer))
    except tables.ConditionFailed as error:
        raise TaxIdExists from error
    return answer


def change(user: User, reseller_id: str, body: ResellerChange, by: Origin, now: datetime) -> Reseller:
    """Change what is said of a reseller; what is left out stays. Raises NotFound, Forbidden, EmailInvalid."""
    access.require_own(user, "reseller.change", reseller_id)
    said = body.model_dump(exclude_none=True, exclude={"contacts"})
    if body.contacts is not None:
        said["contacts"] = checked_contacts(body.contacts)

    def attempt() -> Reseller:
        before = _get(reseller_id)
        changed = replace(before, **said)
        _write(before, changed, by, now)
        return changed

    return tables.unraced(attempt)


def _get(reseller_id: str) -> Reseller:
    reseller = store.resellers().get(reseller_id)
    if reseller is None:
        raise NotFound
    return reseller


def _write(
    before: Reseller | None,
    reseller: Reseller,
    by: Origin,
    now: datetime,
    also: tables.Also = tables.nothing,
) -> None:
    action = "reseller.changed" if before else "reseller.created"
    told = operation(reseller.reseller_id, by, action, now, reseller.reseller_id)

    def fill(transaction: TransactWrite) -> None:
        record_in(transaction, told)
        also(transaction)

    store.put_reseller(before, reseller, fill)


def reseller_answer(reseller: Reseller) -> ResellerAnswer:
    """A reseller as the API shows it."""
    return ResellerAnswer(
        reseller_id=reseller.reseller_id,
        name=reseller.name,
        tax_id=reseller.tax_id,
        country=reseller.country,
        language=reseller.language,
        contacts=contact_answers(reseller.contacts),
        may_order=reseller.may_order,
        may_assign_products=reseller.may_assign_products,
    )
