"""``make messages``, too: the License Manager's sentences from its sources into its catalogues, and these into what gettext reads.

What the command line's library says itself (usage, errors) is part of them, for it asks the same catalogue.
"""

import importlib.util
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir, extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

PACKAGE = Path(__file__).resolve().parents[1] / "agent" / "src" / "license_manager"
LOCALE = PACKAGE / "locale"
DOMAIN = "license_manager"
LANGUAGES = ("it", "es", "pt_BR", "sv")
_KEYWORDS: Any = {"_": None, "counted": (1, 2)}
#: The parts of the command line's library whose words people meet, and not its shell completion or development tools.
_LIBRARY = ("core.py", "exceptions.py", "rich_utils.py", "_click/core.py", "_click/exceptions.py", "_click/types.py")


def extract() -> Catalog:
    """Every sentence in the sources."""
    found = Catalog(project="License Manager", fuzzy=False)
    for _, line, message, _, _ in extract_from_dir(PACKAGE, keywords=_KEYWORDS):
        found.add(message, locations=[("texts.py", line)])
    library = importlib.util.find_spec("typer")
    assert library is not None  # noqa: S101
    assert library.origin is not None  # noqa: S101
    for name in _LIBRARY:
        path = Path(library.origin).parent / name
        if path.is_file():
            for _, message, _, _ in extract_from_file("python", path, keywords=_KEYWORDS):
                found.add(message, locations=[("typer", 0)])
    return found


def po(language: str) -> Path:
    """The catalogue that people edit."""
    return LOCALE / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def read(language: str) -> Catalog:
    """A language's catalogue; an empty one where there is none yet."""
    if not po(language).is_file():
        return Catalog(locale=language, fuzzy=False)
    with po(language).open("rb") as file:
        return read_po(file, locale=language)


def compiled(catalog: Catalog) -> bytes:
    """A catalogue as gettext reads it."""
    made = BytesIO()
    write_mo(made, catalog)
    return made.getvalue()


def main() -> None:
    """Update and compile all of them. A sentence that changed is left untranslated: what it said before is no guide."""
    template = extract()
    for language in LANGUAGES:
        catalog = read(language)
        catalog.update(template, no_fuzzy_matching=True, update_creation_date=False)
        catalog.obsolete.clear()
        catalog.header_comment = "# What the License Manager says, in another language. After a change: make messages"
        catalog.project, catalog.version = "License Manager", "1"
        catalog.msgid_bugs_address = catalog.last_translator = catalog.language_team = ""
        catalog.revision_date = catalog.creation_date
        po(language).parent.mkdir(parents=True, exist_ok=True)
        with po(language).open("wb") as file:
            write_po(file, catalog, width=120, no_location=True, omit_header=False)
        po(language).with_suffix(".mo").write_bytes(compiled(catalog))
        missing = sum(1 for message in catalog if message.id and not message.string)
        print(f"{language}: {len(catalog)} sentences, {missing} untranslated")


if __name__ == "__main__":
    main()
