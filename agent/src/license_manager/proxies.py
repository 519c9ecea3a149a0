"""Which proxy leads to an address: the administrator's setting, else the environment with NO_PROXY."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from .errors import Misuse
from .profile import is_loopback
from .texts import texts

DIRECT = "direct"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def choose(url: str, setting: str | None, environ: Mapping[str, str]) -> str | None:
    """The proxy's address for a URL, or None to connect directly.

    The setting wins over everything. From the environment: HTTPS_PROXY or HTTP_PROXY by the URL's scheme, then
    ALL_PROXY, in capitals or small; never for this machine itself, and not where NO_PROXY says so. Raises Misuse for
    a variable that holds no proxy's address.
    """
    if setting is not None:
        return None if setting == DIRECT else setting
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    if is_loopback(host) or excluded(host, port, _from(environ, "no_proxy")):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        if found := _from(environ, name):
            try:
                return checked(found)
            except ValueError as error:
                raise Misuse("INVALID_SETTING", texts.VARIABLE_WRONG.format(name=name.upper(), why=error)) from error
    return None


def checked(value: object) -> str:
    """A proxy's address as it is used. Raises ValueError, whose words never hold the value: it may be a password."""
    if not isinstance(value, str):
        raise ValueError(texts.BAD_PROXY)
    address = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0) and parts.path in {"", "/"}
    except ValueError:
        usable = False
        parts = urlsplit("")
    if parts.scheme.startswith("socks"):
        raise ValueError(texts.SOCKS_PROXY)
    if not usable or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise ValueError(texts.BAD_PROXY)
    return address.rstrip("/")


def excluded(host: str, port: int, no_proxy: str) -> bool:
    """Whether a NO_PROXY list names a host: `*`, a name (and what is below it), an address, or a network range.

    Each entry may end with `:port`. A range (`10.0.0.0/8`) covers addresses only: names are not looked up for it.
    """
    host = host.lower().rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    for entry in no_proxy.replace(" ", ",").split(","):
        pattern, wanted_port = _split_port(entry.strip().lower())
        if not pattern or (wanted_port is not None and wanted_port != port):
            continue
        if pattern == "*":
            return True
        if address is not None:
            try:
                if address in ipaddress.ip_network(pattern, strict=False):
                    return True
            except ValueError:
                continue
        else:
            name = pattern.removeprefix("*").lstrip(".").rstrip(".")
            if name and (host == name or host.endswith("." + name)):
                return True
    return False


def masked(address: str) -> str:
    """A proxy's address that may be shown: all that stands before the last @ is hidden, however odd it is."""
    return re.sub(r"^(https?://)?.*@", r"\1********@", address, flags=re.DOTALL)


def location(address: str) -> str:
    """Host and port of a proxy, without scheme and credentials."""
    return urlsplit(address).netloc.rpartition("@")[2]


def has_password(address: str) -> bool:
    """Whether a proxy's address carries credentials."""
    return "@" in urlsplit(address).netloc


def _from(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        address, _, port = entry[1:].partition("]")
        return address, _whole(port[1:])
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, _whole(port)
    return entry, None


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,5}", text) else None
