"""Who the vendor is: name, contact, sites, and the root keys that everything is trusted by (`vendor.json`)."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import Misuse
from .texts import texts

PROFILE_FILE = "vendor.json"
PROFILE_VARIABLE = "LICENSE_MANAGER_VENDOR"
_CONTACT_PARTS = ("name", "email", "phone", "url")


@dataclass(frozen=True)
class VendorProfile:
    """What the vendor ships with its product. `sites` are base addresses, primary first."""

    vendor: str
    issuer: str
    sites: tuple[str, ...]
    root_keys: tuple[Mapping[str, Any], ...]
    contact: Mapping[str, str]
    portal_url: str | None

    @property
    def contact_line(self) -> str:
        """The contact as it ends a sentence: `Aurora Communications (License desk, licenses@…, +39 …)`."""
        parts = ", ".join(self.contact[part] for part in _CONTACT_PARTS if self.contact.get(part))
        return f"{self.vendor} ({parts})" if parts else self.vendor


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def locate(explicit: Path | None, home: Path, environ: Mapping[str, str]) -> Path:
    """The profile by argument, by `LICENSE_MANAGER_VENDOR`, or from the home, in this order."""
    if explicit is not None:
        return explicit
    named = environ.get(PROFILE_VARIABLE)
    return Path(named).expanduser() if named else home / PROFILE_FILE


def read(path: Path) -> VendorProfile:
    """Reads a profile. Raises Misuse with what is wrong in it."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise Misuse("VENDOR_UNKNOWN", texts.NO_PROFILE.format(path=path, variable=PROFILE_VARIABLE)) from error
    except OSError as error:
        raise Misuse("VENDOR_UNKNOWN", texts.PROFILE_UNREADABLE.format(path=path, why=error.strerror)) from error
    try:
        return parse(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise Misuse("VENDOR_UNKNOWN", texts.PROFILE_WRONG.format(path=path, why=error)) from error


def parse(document: Any) -> VendorProfile:
    """A profile from parsed JSON. Raises ValueError."""
    if not isinstance(document, dict):
        raise ValueError(texts.NO_JSON_OBJECT)
    sites = document.get("sites")
    if not isinstance(sites, list) or not 1 <= len(sites) <= 2:
        raise ValueError(texts.ONE_OR_TWO_SITES)
    root_keys = document.get("root_keys")
    if not isinstance(root_keys, list) or not root_keys or not all(isinstance(key, dict) for key in root_keys):
        raise ValueError(texts.NO_ROOT_KEYS)
    contact = document.get("contact")
    contact = {} if contact is None else contact
    if not isinstance(contact, dict) or not all(isinstance(value, str | None) for value in contact.values()):
        raise ValueError(texts.MUST_HOLD_TEXTS.format(name="contact"))
    portal_url = document.get("portal_url")
    if not isinstance(portal_url, str | None):
        raise ValueError(texts.MUST_BE_TEXT.format(name="portal_url"))
    return VendorProfile(
        vendor=_text(document, "vendor"),
        issuer=_text(document, "issuer"),
        sites=tuple(_site(site) for site in sites),
        root_keys=tuple(root_keys),
        contact={part: value for part, value in contact.items() if value},
        portal_url=portal_url,
    )


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(texts.MUST_BE_TEXT.format(name=name))
    return value


def _site(address: Any) -> str:
    if not isinstance(address, str):
        raise ValueError(texts.ONE_OR_TWO_SITES)
    parts = urlsplit(address)
    if not parts.hostname or parts.scheme not in {"http", "https"} or parts.query or parts.fragment or parts.username:
        raise ValueError(texts.NO_ADDRESS.format(address=repr(address)))
    # Tokens are bound to a key, but whoever reads along would still learn who uses what.
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError(texts.HTTPS_ONLY.format(address=repr(address)))
    return address.rstrip("/")
