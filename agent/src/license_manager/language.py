"""The language in which people are spoken to, and how dates and numbers look in it (F8).

English is the source and costs nothing: no catalogue is read for it. The others are gettext catalogues in `locale/`: the
`.po` files are what people edit, the compiled `.mo` files beside them are committed too (`make messages` writes them, a test
compares), because the standard library reads nothing else and `pip install` has no step in which to make them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import ladder
from .errors import LicenseManagerError

if TYPE_CHECKING:
    from gettext import GNUTranslations

    from .home import Home

#: By their BCP 47 names, as in `Accept-Language`; the first is the source.
LANGUAGES = ("en", "it", "es", "pt-BR", "sv")
DOMAIN = "license_manager"
FOLDER = Path(__file__).with_name("locale")
#: POSIX: the first of these that is set and not empty decides.
_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
_NO_BREAK_SPACE = "\u00a0"
#: Date, time, and what stands between groups of three digits, as in the Unicode locale data (CLDR).
_FORMATS = {
    "en": ("%Y-%m-%d", "%H:%M", ","),
    "it": ("%d/%m/%Y", "%H:%M", "."),
    "es": ("%d/%m/%Y", "%H:%M", "."),
    "pt-BR": ("%d/%m/%Y", "%H:%M", "."),
    "sv": ("%Y-%m-%d", "%H:%M", _NO_BREAK_SPACE),
}

_chosen: str | None = None
_catalogues: dict[str, GNUTranslations | None] = {"en": None}


def use(language: str | None) -> None:
    """Speaks a language from now on, in the whole process; None: the system's."""
    global _chosen
    _chosen = language if language in LANGUAGES else of_system(os.environ)


def use_that_of(home: Home, environ: Mapping[str, str]) -> None:
    """Speaks the language that the administrator has set in this home, or the system's. Never raises: what is wrong with the
    settings is told where they are used."""
    chosen = None
    with suppress(LicenseManagerError, OSError, ValueError, RecursionError):
        document = json.loads(home.read("settings.json") or b"{}")
        chosen = document.get("language") if isinstance(document, dict) else None
    use(chosen if chosen in LANGUAGES else of_system(environ))


def current() -> str:
    """The language that is spoken: one of LANGUAGES."""
    if _chosen is None:
        use(None)
    return _chosen or LANGUAGES[0]


def of_system(environ: Mapping[str, str]) -> str:
    """The system's language, or English where it is none of ours."""
    named = next((environ[name] for name in _VARIABLES if environ.get(name)), "")
    return nearest(named or _of_windows())


def nearest(name: str) -> str:
    """The language of ours that a locale's name means, such as `it_IT.UTF-8`; English for all others."""
    wanted = name.replace("_", "-").partition(".")[0].partition("@")[0].lower().partition("-")[0]
    return next((language for language in LANGUAGES if language.partition("-")[0] == wanted), LANGUAGES[0])


def _of_windows() -> str:
    if sys.platform != "win32":
        return ""
    import ctypes
    import locale

    return locale.windows_locale.get(ctypes.windll.kernel32.GetUserDefaultUILanguage(), "")


def translate(english: str) -> str:
    """A sentence in the language that is spoken."""
    catalogue = _catalogue()
    return english if catalogue is None else catalogue.gettext(english)


def translate_count(one: str, many: str, count: int) -> str:
    """A sentence with a number in it, in the form that the language has for that number."""
    catalogue = _catalogue()
    if catalogue is None:
        return one if count == 1 else many
    return catalogue.ngettext(one, many, count)


def _catalogue() -> GNUTranslations | None:
    language = current()
    if language not in _catalogues:
        from gettext import GNUTranslations

        with _path(language).open("rb") as file:
            _catalogues[language] = GNUTranslations(file)
    return _catalogues[language]


def _path(language: str) -> Path:
    return FOLDER / language.replace("-", "_") / "LC_MESSAGES" / f"{DOMAIN}.mo"


def for_command_line() -> None:
    """Lets the library that parses the command line speak the same language: it asks gettext's own default domain."""
    import gettext

    if current() != LANGUAGES[0]:
        os.environ["LANGUAGE"] = current().replace("-", "_")
        gettext.bindtextdomain(DOMAIN, FOLDER)
        gettext.textdomain(DOMAIN)


def moment(instant: float, time_zone: str) -> str:
    """A point in time as people at the server read it: `2026-11-22 12:04`, `22/11/2026 12:04`."""
    day_format, time_format, *_ = _FORMATS[current()]
    return datetime.fromtimestamp(instant, ladder.zone(time_zone)).strftime(f"{day_format} {time_format}")


def day(iso: str) -> str:
    """A date of the contract (`2026-11-22`) as people read it; what is no date stays as it is."""
    try:
        return date.fromisoformat(iso).strftime(_FORMATS[current()][0])
    except ValueError:
        return iso


def number(value: int) -> str:
    """A whole number with its groups of digits: `12,000`, `12.000`."""
    return f"{value:,}".replace(",", _FORMATS[current()][2])


class Sentence:
    """A sentence as it is written in English, and read in the language that is spoken at that moment."""

    def __init__(self, english: str) -> None:
        self.english = english

    def __get__(self, instance: object, owner: type | None = None) -> str:
        return translate(self.english)


class Counted:
    """A sentence with a `{count}` in it."""

    def __init__(self, one: str, many: str) -> None:
        self.one, self.many = one, many

    def __call__(self, count: int, **words: Any) -> str:
        return translate_count(self.one, self.many, count).format(count=number(count), **words)
