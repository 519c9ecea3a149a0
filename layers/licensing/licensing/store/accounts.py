"""Customers in the Licensing table: read as a whole, written as one transaction guarded by the sheet's version."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pynamodb.attributes import NumberAttribute, UnicodeAttribute
from pynamodb.expressions.condition import Condition
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
from pynamodb.transactions import TransactWrite

from licensing.rules.accounts import Account, Customer, Installation, License, Listed, listed, standing
from licensing.rules.entitlements import Standing
from licensing.rules.people import User, email_key
from licensing.rules.vendor import Catalogue
from licensing.store import tables
from licensing.store.attributes import Json
from licensing.store.people import ContactItem, MemberItem
from licensing.store.standings import StandingItem
from licensing.store.tables import Item

V = TypeVar("V")
#: How sort keys of the lists of customers begin.
LISTED = "LISTED#"

#: DynamoDB takes 100 items in one transaction; one is the sheet, and a few are for ``also``.
_PART_ITEMS = 90
#: The directory of customers is kept in so many parts, to be walked in parallel.
SHARDS = 16
#: So often an account that changes while it is read is read again; then the older version stands.
_READS = 3
#: The indexes by last day are written in so many parts.
RENEWAL_SHARDS = 4


class StaleVersion(tables.ConditionFailed):
    """Raised when the account was changed by somebody else since it was read."""


class Taken(Exception):
    """Raised when a tax id or a license code belongs to somebody else; the message names it."""


class TooLarge(Exception):
    """Raised when a change is more than one transaction, and is not to be made in parts."""


class SheetItem(Item, discriminator="sheet"):
    """The version of a customer's account: every change of it raises this by one, under condition."""

    version = NumberAttribute()


class CustomerItem(Item, discriminator="customer"):
    """The customer itself."""

    body = Json(Customer)


class InstallationItem(Item, discriminator="installation"):
    """One installation, as people know it."""

    body = Json(Installation)


class _Ending(GlobalSecondaryIndex[Any]):  # type: ignore[no-untyped-call]
    """Licenses by their last day."""

    class Meta:
        index_name = "Ending"
        projection = AllProjection()

    renewal_shard = UnicodeAttribute(hash_key=True)
    ends_at = UnicodeAttribute(range_key=True)


class _CareEnding(GlobalSecondaryIndex[Any]):  # type: ignore[no-untyped-call]
    """Licenses by the last day of their care."""

    class Meta:
        index_name = "CareEnding"
        projection = AllProjection()

    renewal_shard = UnicodeAttribute(hash_key=True)
    care_ends_at = UnicodeAttribute(range_key=True)


class LicenseItem(Item, discriminator="license"):
    """One license with its allocations. The indexes hold what is in use and ends (``store.renewals``)."""

    body = Json(License)
    renewal_shard = UnicodeAttribute(null=True)
    ends_at = UnicodeAttribute(null=True)
    care_ends_at = UnicodeAttribute(null=True)
    ending = _Ending()
    care_ending = _CareEnding()


class OfflineLicenseItem(Item, discriminator="offline_license"):
    """The last offline license of an installation, as it was signed: asked for again, it is the same to the letter."""

    text = UnicodeAttribute()


class LookupItem(Item, discriminator="lookup"):
    """From a tax id, an activation token's hash or a license code to what it belongs to."""

    customer_id = UnicodeAttribute()
    subject_id = UnicodeAttribute()


class ListedItem(Item, discriminator="listed"):
    """A customer in a list: the vendor's of all (``CUSTOMERS``), or that of a reseller. A projection, sorted by name."""

    body = Json(Listed)


def read(customer_id: str) -> Account | None:
    """A customer's whole account, strongly consistent; None where there is none.

    A query is no snapshot: it goes page by page, and of a write that commits meanwhile it may hold a part. So the version is read
    first, and what is written under it is refused if a document turns out to be newer. Where the sheet moved on, all is read again.
    """
    account = None
    for _ in range(_READS):
        sheet = tables.find(SheetItem, customer_id, "SHEET")
        version = int(sheet.version) if sheet else 0
        found = _account(tables.read(lambda: list(Item.query(customer_id, consistent_read=True))))
        account = replace(found, version=version) if found else None
        if found is None or found.version == version:
            break
    return account


def look_at(customer_id: str) -> tuple[Account, list[User]] | None:
    """A customer without its projections, and its users: for a daily look, a second old at most. See ``check_unchanged_in``."""
    # From the installations to the sheet: between them are licenses, members and the profile, before them the projections.
    items: Any = tables.read(lambda: list(Item.query(customer_id, Item.sk.between("INS#", "SHEET"))))
    account = _account(items)
    return (account, [item.body for item in items if isinstance(item, MemberItem)]) if account else None


def check_unchanged_in(transaction: TransactWrite, account: Account) -> None:
    """Let a transaction fail if the account is not as it was read."""
    key, unchanged = account.customer.customer_id, SheetItem.version == account.version
    transaction.condition_check(SheetItem, key, "SHEET", condition=unchanged)


def _account(items: Iterable[Item]) -> Account | None:
    customer, version = None, 0
    installations: dict[str, Installation] = {}
    licenses: dict[str, License] = {}
    standings: dict[str, Standing] = {}
    for item in items:
        match item:
            case CustomerItem():
                customer = item.body
            case SheetItem():
                version = int(item.version)
            case InstallationItem():
                installations[item.body.installation_id] = item.body
            case LicenseItem():
                licenses[item.body.license_id] = item.body
            case StandingItem():
                standings[item.body.installation_id] = item.body
    return Account(customer, installations, licenses, version, standings) if customer else None


def get_customer(customer_id: str) -> Customer | None:
    """A customer without what it has, strongly consistent."""
    item = tables.find(CustomerItem, customer_id, "PROFILE")
    return item.body if item else None


def get_customers(customer_ids: Iterable[str]) -> dict[str, Customer]:
    """Several customers by id, for showing: a second old at most."""
    keys = [(customer_id, "PROFILE") for customer_id in customer_ids]
    items = tables.read(lambda: list(CustomerItem.batch_get(keys)))
    return {item.pk: item.body for item in items}


def get_offline_license(customer_id: str, installation_id: str) -> str | None:
    """The last offline license of an installation, as it was signed."""
    item = tables.find(OfflineLicenseItem, customer_id, f"OFF#{installation_id}")
    return item.text if item else None


def put_offline_license_in(transaction: TransactWrite, customer_id: str, installation_id: str, text: str) -> None:
    """Keep the offline license of an installation."""
    transaction.save(OfflineLicenseItem(customer_id, f"OFF#{installation_id}", text=text))


def get_licenses(keys: Iterable[tuple[str, str]]) -> dict[str, License]:
    """Licenses by customer and license id, those that are there: for showing, a second old at most."""
    places = [(customer_id, f"LIC#{license_id}") for customer_id, license_id in keys]
    items: Any = tables.read(lambda: list(LicenseItem.batch_get(places)))
    return {item.body.license_id: item.body for item in items}


def find_by_tax_id(tax_id: str) -> str | None:
    """The customer with this tax id."""
    item = tables.find(LookupItem, f"TAX#{tax_id}", "TAX")
    return item.customer_id if item else None


def find_by_tax_ids(tax_ids: Iterable[str]) -> dict[str, str]:
    """The customers with these tax ids, those that there are."""
    keys = [(f"TAX#{tax_id}", "TAX") for tax_id in tax_ids]
    items = tables.read(lambda: list(LookupItem.batch_get(keys, consistent_read=True)))
    return {item.pk.removeprefix("TAX#"): item.customer_id for item in items}


def read_by_tax_id(tax_id: str) -> Account | None:
    """The whole account of the customer with this tax id."""
    customer_id = find_by_tax_id(tax_id)
    return read(customer_id) if customer_id else None


def find_by_activation_token(token: str) -> tuple[str, str] | None:
    """The customer and installation that a current activation token names."""
    item = tables.find(LookupItem, _token_key(token), "TOKEN")
    return (item.customer_id, item.subject_id) if item else None


def check_activation_token_in(transaction: TransactWrite, token: str) -> None:
    """Let a transaction fail if the token has been replaced meanwhile."""
    transaction.condition_check(LookupItem, _token_key(token), "TOKEN", condition=LookupItem.pk.exists())


def check_claims(before: Account | None, codes: Iterable[str]) -> None:
    """Look whether license codes are free, or this customer's own. Raises Taken; ``write`` holds it by condition."""
    ours = {license.code for license in before.licenses.values()} if before else set()
    found = {code: tables.find(LookupItem, f"CODE#{code}", "CODE") for code in codes if code not in ours}
    taken = [
        code
        for code, item in found.items()
        if item and (before is None or item.customer_id != before.customer.customer_id)
    ]
    if taken:
        raise Taken(", ".join(taken))


def write(
    before: Account | None,
    after: Account,
    catalogue: Catalogue,
    also: tables.Also | None = None,
    *,
    whole: bool = False,
    check: tables.Also | None = None,
) -> int:
    """Write what differs between ``before`` and ``after``, and every projection that is not as it should be.

    One transaction, all or nothing, for up to 90 items; what is larger is written in several, the customer first,
    projections last: interrupted, the next write of this account completes it. Returns the number of items written, 0 if
    nothing differs.

    ``also`` adds up to nine puts and updates, no deletes and no checks, to the first of these transactions, such as the
    operation that tells of the change. Where nothing differs, it is not called.

    ``whole`` refuses what does not fit into one transaction. ``check`` adds one check to the first.

    Raises:
        TooLarge: it is to be written as a whole, and does not fit.
        StaleVersion: the account is not at ``before.version`` any more.
        Taken: a tax id or license code belongs to somebody else.
        ConditionFailed: a condition of ``also``, or ``check``, did not hold.
    """
    # The customer first: what is claimed for it in the first part must lead to somebody.
    changes = [*_profile(before, after), *_releases(before, after), *_claims(before, after)]
    changes += _documents(before, after, catalogue)
    if whole and len(changes) > _PART_ITEMS:
        raise TooLarge
    version = before.version if before else 0
    for start in range(0, len(changes), _PART_ITEMS):
        part = changes[start : start + _PART_ITEMS]
        first = start == 0
        _write_part(part, after.customer.customer_id, version, also if first else None, check if first else None)
        version += 1
    return len(changes)


@dataclass(frozen=True, slots=True)
class _Change:
    """One item of a change: written, under a condition perhaps, or deleted. ``claims`` names what must be nobody else's."""

    item: Item
    delete: bool = False
    condition: Condition | None = None
    claims: str | None = None


def _write_part(
    changes: list[_Change], customer_id: str, version: int, also: tables.Also | None, check: tables.Also | None
) -> None:
    # In the order in which a transaction reports its failures: check, deletes, then puts in the order of the calls.
    deletes = [change for change in changes if change.delete]
    puts = [change for change in changes if not change.delete]
    unchanged = SheetItem.version == version if version else SheetItem.pk.does_not_exist()

    def fill(transaction: TransactWrite) -> None:
        if check:
            check(transaction)
        for change in deletes:
            transaction.delete(change.item)
        transaction.save(SheetItem(customer_id, "SHEET", version=version + 1), condition=unchanged)
        for change in puts:
            transaction.save(change.item, condition=change.condition)
        if also:
            also(transaction)

    try:
        tables.transact(fill)
    except tables.ConditionFailed as error:
        sheet = len(deletes) + (1 if check else 0)
        if sheet in error.failed:
            raise StaleVersion from error
        claims = {place: change.claims for place, change in enumerate(puts, sheet + 1)}
        if taken := [claims[place] or "" for place in sorted(error.failed & claims.keys())]:
            raise Taken(", ".join(taken)) from error
        raise


def _profile(before: Account | None, after: Account) -> Iterator[_Change]:
    if before is None or before.customer != after.customer:
        yield _Change(CustomerItem(after.customer.customer_id, "PROFILE", body=after.customer))


def _documents(before: Account | None, after: Account, catalogue: Catalogue) -> Iterator[_Change]:
    customer_id = after.customer.customer_id
    for installation in _changed(before.installations if before else {}, after.installations):
        yield _Change(InstallationItem(customer_id, f"INS#{installation.installation_id}", body=installation))
    for license in _changed(before.licenses if before else {}, after.licenses):
        yield _Change(_license_item(customer_id, license))
    for license_id in (before.licenses if before else {}).keys() - after.licenses.keys():
        yield _Change(LicenseItem(customer_id, f"LIC#{license_id}"), delete=True)
    had, listings = _listings(before) if before else {}, _listings(after)
    for key in had.keys() - listings.keys():
        yield _Change(ListedItem(*key), delete=True)
    for key, entry in listings.items():
        if had.get(key) != entry:
            yield _Change(ListedItem(*key, body=entry))
    contacts = _contacts(before.customer) if before else set()
    for email in contacts - _contacts(after.customer):
        yield _Change(ContactItem(f"EMAIL#{email}", customer_id), delete=True)
    for email in _contacts(after.customer) - contacts:
        yield _Change(ContactItem(f"EMAIL#{email}", customer_id))
    for gone in (before.installations.keys() - after.installations.keys()) if before else ():
        yield _Change(InstallationItem(customer_id, f"INS#{gone}"), delete=True)
        yield _Change(StandingItem(customer_id, f"ENT#{gone}"), delete=True)
    projected = {key: standing(after, key, catalogue) for key in after.installations}
    for projection in _changed(before.standings if before else {}, projected):
        yield _Change(StandingItem(customer_id, f"ENT#{projection.installation_id}", body=projection))


def _license_item(customer_id: str, license: License) -> LicenseItem:
    item = LicenseItem(customer_id, f"LIC#{license.license_id}", body=license)
    if license.state in ("active", "suspended"):
        place = f"{customer_id}#{license.license_id}"
        item.renewal_shard = str(zlib.crc32(place.encode()) % RENEWAL_SHARDS)
        item.ends_at = f"{license.last_day}#{place}#license" if license.last_day else None
        if license.care and license.care_until and license.care_until != license.last_day:  # or they end as one
            item.care_ends_at = f"{license.care_until}#{place}#care"
    return item


def _listings(account: Account) -> dict[tuple[str, str], Listed]:
    customer, entry = account.customer, listed(account)
    place = f"{customer.name.casefold()}#{customer.customer_id}"
    return {(pk, f"{LISTED}{place}"): entry for pk in ("CUSTOMERS", *customer.reseller_ids)}


def _contacts(customer: Customer) -> set[str]:
    return {email_key(contact.email) for contact in customer.contacts if contact.email}


def check_installation_in(transaction: TransactWrite, customer_id: str, installation_id: str) -> None:
    """Let a transaction go through only if the installation is still there."""
    place = f"INS#{installation_id}"
    transaction.condition_check(InstallationItem, customer_id, place, condition=InstallationItem.pk.exists())


def _changed(before: Mapping[str, V], after: Mapping[str, V]) -> list[V]:
    return [value for key, value in after.items() if before.get(key) != value]


def _releases(before: Account | None, after: Account) -> Iterator[_Change]:
    for key in (_lookups(before) if before else {}).keys() - _lookups(after).keys():
        yield _Change(LookupItem(*key), delete=True)


def _claims(before: Account | None, after: Account) -> Iterator[_Change]:
    had = _lookups(before) if before else {}
    for key, subject in _lookups(after).items():
        if key not in had:
            item = LookupItem(*key, customer_id=after.customer.customer_id, subject_id=subject)
            # Ours, and led to by no document of ours: a write in several parts was interrupted.
            ours = LookupItem.pk.does_not_exist() | (LookupItem.customer_id == after.customer.customer_id)
            yield _Change(item, condition=ours, claims=key[0].partition("#")[2])


def _lookups(account: Account) -> dict[tuple[str, str], str]:
    customer_id = account.customer.customer_id
    found: dict[tuple[str, str], str] = {
        (f"TAX#{account.customer.tax_id}", "TAX"): customer_id,
        (_directory(zlib.crc32(customer_id.encode()) % SHARDS), customer_id): customer_id,
    }
    for installation in account.installations.values():
        if installation.activation_token:
            found[_token_key(installation.activation_token), "TOKEN"] = installation.installation_id
    for license in account.licenses.values():
        found[f"CODE#{license.code}", "CODE"] = license.license_id
    return found


def _token_key(token: str) -> str:
    return f"TOKEN#{hashlib.sha256(token.encode()).hexdigest()}"


def customers_of(
    listing: str, position: dict[str, Any] | None, limit: int
) -> tuple[list[tuple[dict[str, Any], Listed]], bool]:
    """A page of a list, ``CUSTOMERS`` or a reseller's id, by name: customers with their positions, and whether there are more.

    The list goes on behind a customer from its position.
    """

    def query() -> tuple[list[tuple[dict[str, Any], Listed]], bool]:
        found = ListedItem.query(listing, ListedItem.sk.startswith(LISTED), limit=limit, last_evaluated_key=position)
        items = [({"pk": {"S": item.pk}, "sk": {"S": item.sk}}, item.body) for item in found]
        return items, found.last_evaluated_key is not None

    return tables.read(query)


def _directory(shard: int) -> str:
    return f"CUSTOMERS#{shard:02d}"


def customer_ids(shard: int, after: str = "", limit: int | None = None) -> list[str]:
    """The customers in one of the ``SHARDS`` parts of the directory, in order, from behind ``after`` on."""
    beyond = LookupItem.sk > after if after else None
    found: Any = tables.read(
        lambda: list(LookupItem.query(_directory(shard), beyond, consistent_read=True, limit=limit))
    )
    return [item.sk for item in found]


def all_customer_ids() -> list[str]:
    """Every customer, oldest first."""
    return sorted(each for shard in range(SHARDS) for each in customer_ids(shard))
