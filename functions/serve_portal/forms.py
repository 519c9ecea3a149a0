"""From the fields of a form to the same bodies that the API takes, and what its choices are."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

from babel.core import get_global
from licensing.errors import LicensingError
from licensing.http.pages import Visit
from licensing.languages import LANGUAGES, Language
from licensing.texts import mark
from pydantic import BaseModel, ValidationError

B = TypeVar("B", bound=BaseModel)

_MOST_CONTACTS = 20
#: Of CLDR's territories, those that are no country.
_NO_COUNTRIES = {"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"}


class FormInvalid(LicensingError):
    """Raised when a field of a form is missing or not what it should be."""

    code, status = "FORM_INVALID", 422
    detail = mark("Something is missing or not valid: {field}.")


LABELS = {
    "name": mark("Name"),
    "tax_id": mark("Tax id"),
    "country": mark("Country"),
    "time_zone": mark("Time zone"),
    "language": mark("Language"),
    "contacts": mark("Contacts"),
    "email": mark("E-mail address"),
    "roles": mark("Role"),
    "minutes": mark("Minutes"),
    "url": mark("Address"),
    "reseller_ids": mark("Resellers"),
    "companies": mark("Companies"),
    "concurrent": mark("Seats"),
    "company_quota": mark("Companies that may be set up"),
    "support": mark("Support users"),
    "first_day": mark("First day"),
    "days": mark("Days"),
    "group": mark("Group"),
    "lease_seconds": mark("Lease time in seconds"),
    "borrow_days": mark("Longest borrowing in days"),
}


def read(visit: Visit, kind: type[B], values: Mapping[str, Any]) -> B:
    """A body of the contract from a form's values. Raises FormInvalid, which names the field."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0]) if error.errors()[0]["loc"] else ""
        raise FormInvalid(field=visit.language.text(LABELS.get(name, name))) from error


def contacts(fields: Mapping[str, str]) -> list[dict[str, str]]:
    """The contacts that a form's rows name; a row without name and address is none."""
    rows = (
        {name: fields.get(f"{name}_{number}", "") for name in ("name", "email", "phone", "url")}
        for number in range(_MOST_CONTACTS)
    )
    return [row for row in rows if row["name"] or row["email"]]


def whole(text: str, least: int, most: int, otherwise: int) -> int:
    """A whole number from a query, within bounds; ``otherwise`` for what is none."""
    return min(most, max(least, int(text))) if text.isascii() and text.isdigit() and len(text) < 9 else otherwise


@lru_cache
def countries(language: Language) -> list[tuple[str, str]]:
    """All countries in a language, by name."""
    named = language.locale.territories.items()
    found = [(code, name) for code, name in named if len(code) == 2 and code.isalpha() and code not in _NO_COUNTRIES]
    return sorted(found, key=lambda each: each[1])


@lru_cache
def time_zones() -> list[str]:
    """The time zones of the world's places."""
    return sorted(zone for zone in get_global("zone_territories") if "/" in zone and not zone.startswith("Etc/"))


def languages() -> list[tuple[str, str]]:
    """The five, each in its own name."""
    return list(LANGUAGES.items())
