"""Licensing a server without a network (B9): the request that people carry away, the license file that they bring back, and the
receipt that says that it was given up. What is remembered, and when, is the Manager's matter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import proof
from .errors import Misuse, Untrusted
from .machine import Machine
from .texts import texts
from .version import __version__

REQUEST_TYPE = "offline-request+jwt"
RECEIPT_TYPE = "deactivation+jwt"
REQUEST_FILE = "license-request.txt"
LARGEST_FILE = 1024 * 1024
#: A request stays below this, so that a camera can read its QR code; names of databases are left out first.
LONGEST_REQUEST = 1800
_PICTURES = {".png", ".svg"}


def new_request(machine: Machine, told: Mapping[str, Any]) -> dict[str, str]:
    """A request with the nonce and the new private key that the license file must fit: `nonce`, `private_key`, `text`."""
    nonce, private_key = proof.new_nonce(), proof.new_private_key()
    claims = {
        "iat": int(machine.wall()),
        "jti": proof.new_nonce(),
        "nonce": nonce,
        "fp": dict(machine.fingerprint()),
        "hostname": machine.hostname(),
        "tz": machine.time_zone(),
        "app_version": told["app_version"],
        "agent_version": __version__,
    }
    shown = {"jwk": proof.public_jwk(private_key)}
    text = proof.sign(private_key, {**claims, "databases": told["databases"]}, REQUEST_TYPE, shown)
    if not told["databases"] or len(text) > LONGEST_REQUEST:
        text = proof.sign(private_key, claims, REQUEST_TYPE, shown)
    return {"nonce": nonce, "private_key": private_key, "text": text}


def receipt(private_key: str, claims: Mapping[str, Any], now: float) -> str:
    """The signed word of this server that it gave up the license with these (verified) claims."""
    said = {
        "iss": claims["sub"],
        "jti": proof.new_nonce(),
        "gen": claims["gen"],
        "iat": int(now),
        "license": claims["jti"],
    }
    return proof.sign(private_key, said, RECEIPT_TYPE, {})


def read_file(content: bytes) -> tuple[str, str]:
    """License and key set in a license file, with the line breaks of a mail program taken out; nothing is verified yet.

    Raises Untrusted (`LICENSE_FILE_DAMAGED`).
    """
    try:
        if len(content) > LARGEST_FILE:
            raise ValueError
        document = json.loads(content, strict=False)
        if not isinstance(document, dict) or document.keys() != {"license", "keyset"}:
            raise ValueError
        license, key_set = ("".join(document[name].split()) for name in ("license", "keyset"))
    except (ValueError, AttributeError, RecursionError) as error:
        raise Untrusted("LICENSE_FILE_DAMAGED", texts.LICENSE_FILE_DAMAGED) from error
    return license, key_set


def qr_to_terminal(text: str, columns: int) -> None:
    """Shows a text as a QR code, two rows in a line. Raises Misuse where the terminal is too narrow for it."""
    import segno

    code = segno.make(text, error="l", micro=False)
    needed = code.symbol_size(border=2)[0]
    if needed > columns:
        raise Misuse("TERMINAL_TOO_NARROW", texts.TERMINAL_TOO_NARROW.format(needed=needed, columns=columns))
    code.terminal(compact=True, border=2)


def qr_to_file(text: str, path: Path) -> None:
    """Writes a text as a QR code, PNG or SVG by the file's name. Raises Misuse for another one, OSError."""
    if path.suffix.lower() not in _PICTURES:
        raise Misuse("USAGE", texts.PNG_OR_SVG.format(path=path))
    import segno

    segno.make(text, error="l", micro=False).save(str(path), scale=4)
