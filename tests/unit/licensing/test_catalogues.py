"""Nothing that people read is left in another language: the catalogues against the texts in the code."""

import re
from collections.abc import Iterator

import pytest
from babel import Locale
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po
from licensing.languages import LANGUAGES

from infra import agent_messages, messages

TAGS = [tag for tag in LANGUAGES if tag != "en"]
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w+\}|</?[a-z]+[^>]*>|%%")


@pytest.fixture(scope="module")
def texts() -> Catalog:
    return messages.template()


@pytest.fixture(scope="module", params=TAGS)
def catalogue(request: pytest.FixtureRequest) -> Catalog:
    with messages.path_of(request.param).open("rb") as file:
        return read_po(file, Locale.parse(request.param, sep="-"))


def said(message: Message) -> Iterator[tuple[str, str]]:
    """Each text of a message with its translation; a plural has two."""
    if isinstance(message.id, str):
        yield message.id, str(message.string)
    else:
        yield from zip((*message.id, message.id[-1]), message.string or (), strict=False)


def test_every_text_is_in_the_catalogue_and_no_other(catalogue: Catalog, texts: Catalog) -> None:
    assert {message.id for message in catalogue} == {message.id for message in texts}, "run: make messages"


def test_every_text_is_translated(catalogue: Catalog) -> None:
    missing = [each.id for each in catalogue if each.id and (each.fuzzy or not all(text for _, text in said(each)))]
    assert missing == []


def test_a_translation_has_the_placeholders_and_markup_of_its_text(catalogue: Catalog) -> None:
    for message in catalogue:
        if not message.id:
            continue
        for text, translation in said(message):
            # A singular may do without its number.
            found, wanted = sorted(PLACEHOLDER.findall(translation)), sorted(PLACEHOLDER.findall(text))
            assert found == wanted or (message.pluralizable and set(found) <= set(wanted)), (text, translation)


def test_a_sentence_stays_a_sentence(catalogue: Catalog) -> None:
    for message in catalogue:
        if message.id:
            for text, translation in said(message):
                assert translation.endswith((".", "…")) or not text.endswith("."), (text, translation)


def test_the_code_comes_first_in_the_subject_that_brings_it(catalogue: Catalog) -> None:
    assert str(catalogue.get("%(code)s is your activation code").string).startswith("%(code)s ")


def test_in_italian_no_article_stands_before_a_date() -> None:
    # It would be "il 7 mag", and yet "l'8 mag" and "l'11 mag": it is put otherwise, as by "in data" and "dal giorno".
    before = re.compile(r"(\b(il|al|dal|del|nel|sul|col) |l['’])(<[^>]+>)?(%\(|\{|$)", re.IGNORECASE)
    with messages.path_of("it").open("rb") as file:
        ours = [message for message in read_po(file, Locale("it")) if message.id]
    agents = [message for message in agent_messages.read("it") if message.id]
    found = [translation for each in (*ours, *agents) for _, translation in said(each) if before.search(translation)]
    assert found == []
