"""Signed texts as people paste them: what mail programs and editors put between, around and in place of characters, taken back.

Whatever this makes of a text, only the signature decides.
"""

import codecs
import re

#: What word processors make of hyphens.
_HYPHENS = str.maketrans({"\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2013": "-", "\u2212": "-", "\u2014": "--"})
#: Marks that nobody sees, which some programs put even into words.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
#: White space of every kind, signs of quotation.
_NOISE = re.compile("[\\s\u00a0\u2028-\u202f>|\"'`\u00ab\u00bb\u2018-\u201f*]+")


def decoded(content: bytes) -> str:
    """The text of a file: UTF-16 where its first bytes say so, as Windows' editor may save it, else UTF-8. What is no text reads
    as one with strange characters in it.
    """
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-8-sig", "replace")


def without_unseen(text: str) -> str:
    """The text without marks that nobody sees."""
    return _UNSEEN.sub("", text)


def compact(text: str) -> str:
    """Base64url and dots of a pasted text, in one piece."""
    return _NOISE.sub("", without_unseen(text)).translate(_HYPHENS)
