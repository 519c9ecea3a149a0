"""Texts that are translated where they are shown, marked where they stand."""


def mark(text: str) -> str:
    """Mark an English text for the catalogues (``make messages``)."""
    return text
