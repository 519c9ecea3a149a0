"""Texts that are translated where they are shown, marked where they stand."""

from typing import Protocol


def mark(text: str) -> str:
    """Mark an English text for the catalogues (``make messages``)."""
    return text


class Say(Protocol):
    """Says a marked text in somebody's language, its ``{placeholders}`` filled."""

    def __call__(self, text: str, /, **facts: object) -> str:
        """The text."""
        ...


def english(text: str, /, **facts: object) -> str:
    """As it stands in the code; dates as RFC 3339."""
    return text.format_map(facts)
