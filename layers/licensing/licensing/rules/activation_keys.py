"""Activation keys (C1, C2, C9-C11): what a key says, how its text survives e-mail and paste, and what importing it changes."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal

from licensing.rules import pasted
from licensing.rules.accounts import pool_id
from licensing.rules.heartbeat import local_date
from licensing.rules.seats import BORROW_DAYS, DEFAULT_LEASE, Pool

#: The renewed key is with the customer before so many days are left; from then on the customer can ask for it (C1).
RENEWED_BEFORE = 30
#: It is prepared so many days before the end, so that a few days of trouble do no harm.
PREPARED_BEFORE = 35
#: Characters of a signed key: an item of DynamoDB holds it beside what it says (400 KB). 2,000 companies with names of 60 letters.
LONGEST_KEY = 220_000
#: More than any text of an honest key.
LONGEST_TEXT = 1_000_000


@dataclass(frozen=True, slots=True)
class Key:
    """What a key says. ``companies`` are names by tax id, ``concurrent`` seats by application.

    ``company_quota``: how many companies may be set up; None: as many as it names. A higher ``serial`` of the same customer
    supersedes a lower one.
    """

    key_id: str
    customer_id: str
    group: str
    serial: int
    companies: Mapping[str, str]
    first_day: date
    last_day: date
    time_zone: str
    issued_at: datetime
    concurrent: Mapping[str, int] = field(default_factory=dict)
    company_quota: int | None = None
    support: tuple[str, ...] = ()
    lease_seconds: int = DEFAULT_LEASE
    borrow_days: int = BORROW_DAYS

    def phase(self, now: datetime) -> Literal["in_force", "upcoming", "ended"]:
        """Where the key stands on this day of the customer's calendar; the last day is included."""
        today = local_date(now, self.time_zone)
        if today > self.last_day:
            return "ended"
        return "upcoming" if today < self.first_day else "in_force"

    @property
    def most_companies(self) -> int:
        """How many companies may be set up (C2)."""
        return len(self.companies) if self.company_quota is None else self.company_quota

    def pool(self, application: str) -> Pool:
        """The seats for an application that all companies of the group share. The pool outlives the renewal of the key."""
        return Pool(
            pool_id=key_pool_id(self.customer_id, application),
            customer_id=self.customer_id,
            application=application,
            capacity=self.concurrent.get(application, 0),
            companies=self.companies,
            time_zone=self.time_zone,
            first_day=self.first_day,
            last_day=self.last_day,
            support=self.support,
            key_id=self.key_id,
            lease_seconds=self.lease_seconds,
            borrow_days=self.borrow_days,
        )

    def pools(self) -> list[Pool]:
        """The pools of all applications."""
        return [self.pool(application) for application in sorted(self.concurrent)]


def key_pool_id(customer_id: str, application: str) -> str:
    """The pool of a customer's keys for an application."""
    return pool_id("key", customer_id, application)


def to_claims(key: Key, issuer: str) -> dict[str, Any]:
    """The claims of the signed key (RFC 7519)."""
    return {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": key.customer_id,
        "jti": key.key_id,
        "iat": int(key.issued_at.timestamp()),
        "group": key.group,
        "serial": key.serial,
        "companies": dict(key.companies),
        "quotas": {"concurrent": dict(key.concurrent), "company": key.company_quota},
        "support": list(key.support),
        "first_day": key.first_day.isoformat(),
        "last_day": key.last_day.isoformat(),
        "time_zone": key.time_zone,
        "lease_seconds": key.lease_seconds,
        "borrow_days": key.borrow_days,
    }


AUDIENCE = "activation-keys"
REQUIRED = (
    "iss",
    "aud",
    "sub",
    "jti",
    "iat",
    "group",
    "serial",
    "companies",
    "quotas",
    "first_day",
    "last_day",
    "time_zone",
)


def of_claims(claims: Mapping[str, Any], issued_at: datetime) -> Key:
    """The key that claims of ours describe. Raises KeyError, TypeError, ValueError for what we never signed."""
    quotas = claims["quotas"]
    return Key(
        key_id=str(claims["jti"]),
        customer_id=str(claims["sub"]),
        group=str(claims["group"]),
        serial=int(claims["serial"]),
        companies={str(tax_id): str(name) for tax_id, name in claims["companies"].items()},
        first_day=date.fromisoformat(claims["first_day"]),
        last_day=date.fromisoformat(claims["last_day"]),
        time_zone=str(claims["time_zone"]),
        issued_at=issued_at,
        concurrent={str(name): int(count) for name, count in quotas["concurrent"].items()},
        company_quota=None if quotas["company"] is None else int(quotas["company"]),
        support=tuple(str(each) for each in claims.get("support", ())),
        lease_seconds=int(claims.get("lease_seconds", DEFAULT_LEASE)),
        borrow_days=int(claims.get("borrow_days", BORROW_DAYS)),
    )


# ── the text ──

_BEGIN, _END = "-----BEGIN ACTIVATION KEY-----", "-----END ACTIVATION KEY-----"
_COLUMNS = 64
_MARK = re.compile(r"[-\u2010-\u2015\u2212]{2,}\s*(BEGIN|END)\s+ACTIVATION\s+KEY\s*[-\u2010-\u2015\u2212]{2,}")
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def wrap(token: str) -> str:
    """The signed key as a text block for e-mail, paste and file."""
    lines = [token[start : start + _COLUMNS] for start in range(0, len(token), _COLUMNS)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def unwrap(text: str) -> list[str]:
    """The signed keys in a text as it was pasted, each once; more than one where several blocks were pasted.

    Whatever this makes of a text, only the signature decides whether it is a key.
    """
    if len(text) > LONGEST_TEXT:
        return []
    text = pasted.without_unseen(text)
    pieces: list[str] = []
    marks = list(_MARK.finditer(text))
    for begin, end in itertools.pairwise(marks):
        if (begin[1], end[1]) == ("BEGIN", "END"):
            pieces.append(text[begin.end() : end.start()])
    found = [pasted.compact(piece) for piece in pieces or [text]]
    return list(dict.fromkeys(each for each in found if _COMPACT.fullmatch(each)))


# ── importing and renewing ──


@dataclass(frozen=True, slots=True)
class Changes:
    """What importing a key does to the companies: names by tax id; changed ones have another name."""

    added: Mapping[str, str]
    changed: Mapping[str, str]
    removed: Mapping[str, str]
    kept: int


def changes(current: Key | None, new: Key) -> Changes:
    """The companies that a key adds, changes and removes."""
    before = current.companies if current else {}
    return Changes(
        added={tax_id: name for tax_id, name in new.companies.items() if tax_id not in before},
        changed={tax_id: name for tax_id, name in new.companies.items() if tax_id in before and before[tax_id] != name},
        removed={tax_id: name for tax_id, name in before.items() if tax_id not in new.companies},
        kept=sum(before.get(tax_id) == name for tax_id, name in new.companies.items()),
    )


def renewed(key: Key, key_id: str, serial: int, now: datetime) -> Key:
    """The key of the next year. It is valid from today, so that it can be imported as soon as it comes; it ends a year after
    the one that it renews, or a year from today where that has ended already.
    """
    today = local_date(now, key.time_zone)
    last_day = _a_year_later(key.last_day) if key.last_day >= today else _a_year_later(today) - timedelta(days=1)
    return replace(key, key_id=key_id, serial=serial, first_day=today, last_day=last_day, issued_at=now)


def _a_year_later(day: date) -> date:
    try:
        return day.replace(year=day.year + 1)
    except ValueError:  # 29 February
        return day.replace(year=day.year + 1, day=28)
