"""Brings the catalogues of the five languages up to date with the texts in the code (``make messages``).

What is new in them is empty, what has changed is marked fuzzy; a test finds both.
"""

import io
import os
from datetime import UTC, datetime
from pathlib import Path

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po, write_po
from licensing.languages import CATALOGUES, LANGUAGES

ROOT = Path(__file__).resolve().parents[1]
KEYWORDS = {**DEFAULT_KEYWORDS, "mark": None}
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def template() -> Catalog:
    """All texts that are marked in the code, sorted."""
    with (ROOT / "infra" / "babel.cfg").open(encoding="utf-8") as mapping:
        methods, options = parse_mapping_cfg(mapping)  # type: ignore[no-untyped-call]
    found = Catalog(project="Cloud Licensing", charset="utf-8", creation_date=_EPOCH, revision_date=_EPOCH)
    here = Path.cwd()
    os.chdir(ROOT)  # patterns are relative to the root, and tell our files from those of the environment beside them
    try:
        for folder in ("layers/licensing/licensing", "functions"):
            rooted = [(pattern.removeprefix(f"{folder}/"), method) for pattern, method in methods]
            own = {pattern.removeprefix(f"{folder}/"): each for pattern, each in options.items()}
            for _, _, message, comments, context in extract_from_dir(folder, rooted, own, keywords=KEYWORDS):
                found.add(message, auto_comments=comments, context=context)
    finally:
        os.chdir(here)
    return found


def path_of(tag: str) -> Path:
    """Where a language's catalogue is."""
    return CATALOGUES / str(Locale.parse(tag, sep="-")) / "LC_MESSAGES" / "messages.po"


def updated(tag: str, texts: Catalog) -> bytes:
    """A language's catalogue with all ``texts`` and no others, as it is to be in the file."""
    path = path_of(tag)
    if path.exists():
        with path.open("rb") as file:
            catalogue = read_po(file, Locale.parse(tag, sep="-"))
        catalogue.update(texts, no_fuzzy_matching=False, update_header_comment=False)
    else:
        catalogue = Catalog(Locale.parse(tag, sep="-"), project="Cloud Licensing", charset="utf-8")
        catalogue.update(texts)
    catalogue.header_comment = f"# Cloud Licensing: {LANGUAGES[tag]}"
    catalogue.fuzzy = False
    catalogue.creation_date = catalogue.revision_date = _EPOCH
    catalogue.obsolete.clear()
    content = io.BytesIO()
    write_po(content, catalogue, width=100, no_location=True, sort_output=True, ignore_obsolete=True)
    return content.getvalue()


def main() -> None:
    """Write the catalogues, and say what is missing in each."""
    texts = template()
    for tag in LANGUAGES:
        if tag == "en":
            continue
        content = updated(tag, texts)
        path_of(tag).parent.mkdir(parents=True, exist_ok=True)
        path_of(tag).write_bytes(content)
        catalogue = read_po(io.BytesIO(content))
        missing = [each for each in catalogue if each.id and (each.fuzzy or not _translated(each.string))]
        print(f"{tag}: {len(catalogue)} texts, {len(missing)} to translate")


def _translated(string: str | tuple[str, ...] | list[str] | None) -> bool:
    return bool(string) if isinstance(string, str) or string is None else all(string)


if __name__ == "__main__":
    main()
