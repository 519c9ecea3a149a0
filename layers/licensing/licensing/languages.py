"""The five languages (F8): texts from Babel's catalogues, dates and numbers as each writes them.

English is the language of the source; a text that a catalogue does not have shows in English.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale, dates, lists, negotiate_locale, numbers
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

#: By their tags (RFC 5646), each in its own name.
LANGUAGES = {
    "en": "English",
    "it": "Italiano",
    "es": "Español",
    "pt-BR": "Português (Brasil)",
    "sv": "Svenska",
}
#: One folder a language, as gettext lays them out.
CATALOGUES = Path(__file__).with_name("locales")


@dataclass(frozen=True, slots=True)
class Language:
    """One language: its texts and its ways to write."""

    tag: str
    locale: Locale
    translations: NullTranslations

    def text(self, text: str, /, **facts: object) -> str:
        """A text in this language, its ``{placeholders}`` filled; dates and numbers as it writes them."""
        return str(self.translations.gettext(text)).format_map(
            {name: self._written(fact) for name, fact in facts.items()}
        )

    def _written(self, fact: object) -> object:
        if isinstance(fact, date) and not isinstance(fact, datetime):
            return self.date(fact)
        return self.number(fact) if type(fact) is int else fact

    def date(self, day: date | None) -> str:
        """A day, for example 8 Aug 2019; nothing for None."""
        return dates.format_date(day, "medium", self.locale) if day else ""

    def moment(self, moment: datetime | None, time_zone: str) -> str:
        """Day and time in a time zone; nothing for None."""
        if moment is None:
            return ""
        day = dates.format_date(moment.astimezone(ZoneInfo(time_zone)).date(), "medium", self.locale)
        return f"{day}, {dates.format_time(moment, 'short', tzinfo=ZoneInfo(time_zone), locale=self.locale)}"

    def number(self, number: int) -> str:
        """A whole number, with its grouping."""
        return numbers.format_decimal(number, locale=self.locale)

    def listed(self, items: Iterable[str]) -> str:
        """A, B and C."""
        return lists.format_list(list(items), locale=self.locale)

    @property
    def filters(self) -> Mapping[str, Callable[..., str]]:
        """The same for templates."""
        return {
            "date": self.date,
            "moment": self.moment,
            "number": self.number,
            "country": self.country,
            "listed": self.listed,
        }

    def country(self, code: str) -> str:
        """A country's name by its ISO 3166 code."""
        return self.locale.territories.get(code) or code


@lru_cache
def language(tag: str | None) -> Language:
    """A language by its tag; English for one that we don't have."""
    known = tag if tag in LANGUAGES else "en"
    # 8 Aug 2019, 14:30
    locale = Locale("en", "GB") if known == "en" else Locale.parse(known, sep="-")
    return Language(known, locale, _translations(locale))


def _translations(locale: Locale) -> NullTranslations:
    source = CATALOGUES / str(locale) / "LC_MESSAGES" / "messages.po"
    if locale.language == "en":
        return NullTranslations()
    # Compiled as it is read, once for a process and language: there is no build step that could be forgotten.
    compiled = BytesIO()
    with source.open("rb") as catalogue:
        write_mo(compiled, read_po(catalogue, locale))
    compiled.seek(0)
    return Translations(compiled)


def negotiate(accept_language: str | None) -> str:
    """The tag of the language that a caller likes best (RFC 9110, section 12.5.4)."""
    liked: list[tuple[float, str]] = []
    for part in (accept_language or "").split(",")[:20]:
        tag, _, parameter = part.strip().partition(";")
        try:
            quality = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if quality > 0:
            liked.append((quality, tag.strip()))
    ordered = [tag for _, tag in sorted(liked, key=lambda each: -each[0])]
    # Any Portuguese is better served by the Brazilian one than by English.
    preferred = ["pt-BR" if tag.lower().startswith("pt") else tag for tag in ordered]
    found = negotiate_locale(preferred, list(LANGUAGES), sep="-") or "en"
    # Babel gives back what it found as the caller wrote it, in whatever case.
    return next(tag for tag in LANGUAGES if tag.lower() == found.lower())
