"""Hypothesis strategies for texts that come from outside: what mail and paste make of one, and what damage and malice do."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st
from jwt.utils import der_to_raw_signature

#: Characters that parsers trip over: signs with a meaning, digits of other scripts, halves of a pair, what nobody sees.
AWKWARD = " \t\r\n\0\x7f\u00a0\u200b\u2028\ufeff\ud800٣²５éßİ.,;:=-_+/\\\"'[]{}()<>|%&#@~`0aA9zZ"
CHARACTERS = st.sampled_from("\0\ud800²٣-") | st.sampled_from(AWKWARD) | st.characters()
#: Any text, halves of pairs too, which JSON lets through.
TEXTS = st.text(CHARACTERS, max_size=80)
#: Deeper than any parser follows.
DEEP = "[" * 100_000


@st.composite
def mutated(draw: st.DrawFn, valid: str) -> str:
    """A valid text with one to three changes: a character replaced or added, a piece cut out or doubled."""
    text = valid
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(1, 8)))
        match draw(st.sampled_from(["flip", "insert", "cut", "cut to the end", "double"])):
            case "flip":
                text = text[:start] + draw(CHARACTERS) + text[start + 1 :]
            case "insert":
                text = text[:start] + draw(CHARACTERS) + text[start:]
            case "cut":
                text = text[:start] + text[end:]
            case "cut to the end":
                text = text[:start]
            case "double":
                text = text[:end] + text[start:]
    return text


#: What a mail program, an editor or a person does to a signed text on its way.
_MAILED: Sequence[Callable[[str], str]] = (
    lambda text: text.replace("\n", "\r\n"),
    lambda text: text.replace("\n", "\r"),
    lambda text: text.replace("\n", "\u2028"),
    lambda text: text.replace("\n", " \n"),
    lambda text: text.replace("\n", "\n\u00a0\u00a0"),
    lambda text: "> " + text.replace("\n", "\n> "),
    lambda text: "| " + text.replace("\n", "\n| "),
    lambda text: f"\u201c{text}\u201d",
    lambda text: f"\u00ab\u202f{text}\u202f\u00bb",
    lambda text: f"'{text}'",
    lambda text: f"```\n{text}\n```",
    lambda text: f"**{text}**",
    lambda text: "\ufeff" + text,
    lambda text: text.replace("-", "\u2011"),
    lambda text: text.replace("--", "\u2014"),
    lambda text: "\u200b".join(text),
    lambda text: text.replace("A", "A\u00ad"),
    lambda text: "\n\n" + text + "\n\n",
)


@st.composite
def mailed(draw: st.DrawFn, text: str) -> str:
    """A text with its lines wrapped anew, and mangled in up to three of the ways in which mail and paste mangle."""
    width = draw(st.sampled_from([40, 60, 72, 76, 998]))
    text = "\n".join(
        line[start : start + width] for line in text.split("\n") for start in range(0, len(line) or 1, width)
    )
    for mangle in draw(st.lists(st.sampled_from(_MAILED), max_size=3)):
        text = mangle(text)
    return text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(2**60, 2**90) | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def altered(draw: st.DrawFn, members: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with one or two of its members gone or of another value."""
    changed = dict(members)
    for name in draw(st.lists(st.sampled_from(sorted(members)), min_size=1, max_size=2)):
        if draw(st.booleans()):
            changed[name] = draw(JSON)
        else:
            changed.pop(name, None)
    return changed


@st.composite
def altered_within(draw: st.DrawFn, document: Any) -> Any:
    """A JSON document in which something, however deep, is gone, doubled, or of another value."""
    if isinstance(document, dict) and document and draw(st.integers(0, 4)):
        name = draw(st.sampled_from(sorted(document)))
        return document | {name: draw(altered_within(document[name]))}
    if isinstance(document, list) and document and draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(document) - 1))
        others = st.just([]) | st.just([document[at]] * 2) | altered_within(document[at]).map(lambda other: [other])
        return [*document[:at], *draw(others), *document[at + 1 :]]
    if isinstance(document, dict) and document and draw(st.booleans()):
        return draw(altered(document))
    return draw(mutated(document) | JSON if isinstance(document, str) else JSON)


def b64url(content: str | bytes) -> str:
    """Base64url without padding."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(key: ec.EllipticCurvePrivateKey, header: dict[str, Any], payload: Any) -> str:
    """A compact JWS of a JSON payload (or of a text as it is), by a signature that is the same each time (RFC 6979)."""
    content = f"{b64url(json.dumps(header))}.{b64url(payload if isinstance(payload, str) else json.dumps(payload))}"
    der = key.sign(content.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return f"{content}.{b64url(der_to_raw_signature(der, key.curve))}"


def parts(jws: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload of a compact JWS."""
    head, payload, _ = jws.split(".")
    return json.loads(base64.urlsafe_b64decode(head + "==")), json.loads(base64.urlsafe_b64decode(payload + "=="))


def forged(jws: str) -> st.SearchStrategy[str]:
    """A compact JWS damaged as a text, or with another header or payload under the old signature."""
    header, payload = parts(jws)
    head, body, signature = jws.split(".")
    return st.one_of(
        mutated(jws),
        altered(header).map(lambda other: f"{b64url(json.dumps(other))}.{body}.{signature}"),
        altered(payload).map(lambda other: f"{head}.{b64url(json.dumps(other))}.{signature}"),
        mutated(json.dumps(header)).map(lambda other: f"{b64url(other)}.{body}.{signature}"),
        JSON.map(lambda other: f"{b64url(json.dumps(other))}.{body}.{signature}"),
        TEXTS,
        st.sampled_from(
            [
                f"{b64url(DEEP)}.{body}.{signature}",
                f"{head}.{b64url(DEEP)}.{signature}",
                f"{b64url(json.dumps(header | {'x': 0})[:-2])}{b64url('9' * 5000)}.{body}.{signature}",
            ]
        ),
    )
