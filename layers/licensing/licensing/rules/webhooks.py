"""Webhooks in the manner of the Standard Webhooks specification: where events go, how they are signed, when they come again."""

import base64
import hmac
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from licensing.rules.alert_events import EventType

#: A vendor's own few systems.
MOST_WEBHOOKS = 20
#: For so long a replaced secret signs too, so that receivers can change over.
BOTH_SECRETS = timedelta(hours=24)
#: Seconds until the next try, by how many have failed; after the last one a delivery goes to the dead-letter queue.
RETRIES = (30, 120, 600, 1800, 7200, 18000, 36000)

_SECRET_PREFIX = "whsec_"  # noqa: S105  how secrets begin, and none itself
_HTTPS_PORT = 443
_LONGEST_URL = 2000


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where events go. ``events`` is empty for all; secrets sign, and are never told again after they were made."""

    webhook_id: str
    url: str
    secret: str
    created_at: datetime
    events: tuple[EventType, ...] = ()
    former_secret: str | None = None
    rotated_at: datetime | None = None

    def wants(self, event_type: EventType) -> bool:
        """Whether an event goes here."""
        return not self.events or event_type in self.events

    def secrets(self, now: datetime) -> tuple[str, ...]:
        """What signs: the secret, and for a day the one before it."""
        if self.former_secret and self.rotated_at and now - self.rotated_at < BOTH_SECRETS:
            return self.secret, self.former_secret
        return (self.secret,)


def new_secret(random: bytes) -> str:
    """A secret of 24 to 64 random bytes."""
    return _SECRET_PREFIX + base64.b64encode(random).decode()


def signature(secrets: tuple[str, ...], message_id: str, timestamp: int, body: bytes) -> str:
    """``webhook-signature``: one HMAC-SHA256 of ``id.timestamp.body`` for each secret."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return " ".join(f"v1,{_hmac(secret, signed)}" for secret in secrets)


def _hmac(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX))
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. ``path`` has the query with it; ``loopback`` may lead to this machine itself."""

    secure: bool
    host: str
    port: int
    path: str
    loopback: bool = False


def target(url: str, *, loopback: bool = False) -> Target | None:
    """Where a URL leads, or None for one that nothing is sent to: https only, no user, no fragment, no private address.

    ``loopback`` lets this machine's own addresses through, plain http too: for development.
    """
    if len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".")
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        return None
    local = loopback and _is_loopback(host)
    if parts.scheme != "https" and not (local and parts.scheme == "http"):
        return None
    if not local and (_looks_internal(host) or (_is_address(host) and not is_public(host))):
        return None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    secure = parts.scheme == "https"
    return Target(secure, host, port or (_HTTPS_PORT if secure else 80), path, local)


def _looks_internal(host: str) -> bool:
    # A name without a dot is one of the own network; so are these (RFC 6761, RFC 6762, RFC 8375).
    return not _is_address(host) and (
        "." not in host or host.endswith((".localhost", ".local", ".internal", ".home.arpa"))
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet: no private, loopback, link-local, shared, multicast or reserved one.

    Of IPv6 only global unicast (2000::/3) is, without what carries an IPv4 address inside (6to4, Teredo).
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if not parsed.is_global or parsed.is_multicast or parsed.is_reserved:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        return parsed in _GLOBAL_UNICAST and not any(parsed in each for each in _TUNNELS)
    return parsed not in _PROTOCOL_ASSIGNMENTS


_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_TUNNELS = (ipaddress.IPv6Network("2001::/32"), ipaddress.IPv6Network("2002::/16"))
_PROTOCOL_ASSIGNMENTS = ipaddress.IPv4Network("192.0.0.0/24")


def retry_after(failures: int) -> int | None:
    """Seconds until the next try after so many failures in a row; None where there is no next."""
    return RETRIES[failures - 1] if failures <= len(RETRIES) else None
