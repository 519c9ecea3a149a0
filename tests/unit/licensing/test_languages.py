"""Five languages: which one, and how each writes."""

from datetime import UTC, date, datetime

import pytest
from licensing.languages import LANGUAGES, language, negotiate


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("it-IT,it;q=0.9,en;q=0.8", "it"),
        ("IT", "it"),
        ("EN-us;q=0.1, SV-se", "sv"),
        ("pt-br", "pt-BR"),
        ("en;q=0.5, sv", "sv"),
        ("de, es-MX;q=0.7, en;q=0.3", "es"),
        ("pt-BR", "pt-BR"),
        ("pt-PT, en;q=0.9", "pt-BR"),
        ("sv;q=0, it;q=0.1", "it"),
        ("de, fr", "en"),
        ("", "en"),
        (None, "en"),
        ("*", "en"),
        ("it;q=nonsense", "en"),
        ("\x00;q=1,,;;", "en"),
        (",".join(["xx"] * 10_000) + ",it", "en"),
    ],
)
def test_a_caller_gets_the_language_it_likes_best(header: str | None, tag: str) -> None:
    assert negotiate(header) == tag


def test_an_unknown_language_is_english() -> None:
    assert language("xx").tag == language(None).tag == "en"


@pytest.mark.parametrize(
    ("tag", "day", "number"),
    [
        ("en", "8 Aug 2019", "1,234,567"),
        ("it", "8 ago 2019", "1.234.567"),
        ("es", "8 ago 2019", "1.234.567"),
        ("pt-BR", "8 de ago. de 2019", "1.234.567"),
        ("sv", "8 aug. 2019", "1\xa0234\xa0567"),
    ],
)
def test_each_writes_dates_and_numbers_its_own_way(tag: str, day: str, number: str) -> None:
    spoken = language(tag)
    assert spoken.date(date(2019, 8, 8)) == day
    assert spoken.number(1234567) == number
    assert spoken.text("{day} {n}", day=date(2019, 8, 8), n=1234567) == f"{day} {number}"


def test_a_moment_is_told_in_the_time_zone_of_whom_it_concerns() -> None:
    moment = datetime(2026, 11, 25, 23, 30, tzinfo=UTC)
    assert language("en").moment(moment, "Europe/Rome") == "26 Nov 2026, 00:30"
    assert language("en").moment(moment, "America/Sao_Paulo") == "25 Nov 2026, 20:30"
    assert language("en").moment(None, "UTC") == ""


def test_every_language_names_itself() -> None:
    assert set(LANGUAGES) == {"en", "it", "es", "pt-BR", "sv"}
