"""New ids and secrets: the shapes that the outside may rely on."""

import base64
import hashlib
import hmac
import secrets
from datetime import UTC, datetime

#: Without 0 O, 1 I L, 5 S and U V.
_READABLE = "2346789ABCDEFGHJKMNPQRTWXYZ"


def new_id(prefix: str, now: datetime) -> str:
    """An opaque id that sorts by time, for example ``ins_0199…``: milliseconds, then 80 random bits, in hex."""
    return f"{prefix}_{int(now.timestamp() * 1000):012x}{secrets.token_hex(10)}"


#: No deployment of ours is older.
_FIRST_DEPLOYMENT = datetime(2026, 1, 1, tzinfo=UTC)


def made_at(an_id: str) -> datetime:
    """When an id was made. The vendor's own (``vendor``) says no time. Raises ValueError for what is no id of ours."""
    if an_id == "vendor":
        return _FIRST_DEPLOYMENT
    return datetime.fromtimestamp(int(an_id.partition("_")[2][:12], 16) / 1000, UTC)


def new_salt() -> str:
    """A salt that keeps a hash from being guessed at."""
    return secrets.token_hex(8)


def new_code() -> str:
    """A one-time code: six digits, for a person to type."""
    return f"{secrets.randbelow(10**6):06d}"


def new_license_code(sku: str) -> str:
    """A license code that can be read out, for example ``AQ-7F3K-92MD``: how the SKU begins, then eight at random."""
    random = "".join(secrets.choice(_READABLE) for _ in range(8))
    return f"{sku.partition('-')[0].upper()[:6]}-{random[:4]}-{random[4:]}"


def new_secret() -> str:
    """A secret of 160 bits, to be pasted: 32 letters and digits that a double click takes and no shell misreads."""
    return base64.b32encode(secrets.token_bytes(20)).decode().lower()


def digest(secret: str, salt: str = "") -> str:
    """How a secret is remembered."""
    return hashlib.sha256(f"{salt}\n{secret}".encode()).hexdigest()


def same(secret: str, digested: str, salt: str = "") -> bool:
    """Whether a secret is the remembered one; takes the same time either way."""
    return hmac.compare_digest(digest(secret, salt), digested)
