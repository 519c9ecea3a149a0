"""The bodies of the HTTP contract, with their limits. Unknown fields are refused (api.md, "Conventions")."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    Strict,
    StringConstraints,
    model_serializer,
    model_validator,
)

from licensing.rules.reports import Report
from licensing.rules.zones import is_zone

_NONCE = "q0Zl1nX8s1oV2b9aYtJ4Kw"
_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
_REPORT = {
    "fingerprint": {
        "machine_id": "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg",
        "mac": "LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564",
        "cpu": "_N4rLtula_QIYB-3If6bXDONEO5CnqBPrlURto-_j7k",
    },
    "hostname": "pbx-milano",
    "time_zone": "Europe/Rome",
    "app_version": "Winter 2026",
    "agent_version": "1.0.0",
    "databases": ["main"],
    "nonce": _NONCE,
}
_CUSTOMER = {"name": "Officine Lombarde S.p.A.", "tax_id": "IT00743110157"}
_ANSWER = {
    "valid": True,
    "code": "VALID",
    "final": False,
    "detail": "Operation completed",
    "first_validation": False,
    "server_token": "eyJhbGciOiJFUzI1NiIsInR5cCI6InNlcnZlcitqd3QifQ.e30.c2ln",
    "next_validation_at": "2026-11-23T10:41:17Z",
    "validate_before": "2026-12-02T23:00:00Z",
    "server_time": "2026-11-22T12:00:00Z",
    "nonce": _NONCE,
    "customer": _CUSTOMER,
    "installation": {"installation_id": "ins_019a9c0f2d00d4", "name": "Milano", "mode": "online"},
    "databases": [{"name": "main", "activated_at": "2026-11-22"}],
    "log_retention_days": 365,
    "entitlements": [
        {
            "license_code": "AQ-7F3K-92MD",
            "application": "advanced-queueing",
            "name": "Advanced Queueing",
            "unit": "channels",
            "quantity": 20,
            "type": "subscription",
            "care": "GOLD",
            "care_until": "2027-03-31",
            "first_day": "2026-04-01",
            "last_day": "2027-03-31",
            "modules": ["callback"],
            "cloud_services": True,
            "pool_id": None,
            "starts_at": "2026-03-31T22:00:00Z",
            "ends_at": "2027-03-31T22:00:00Z",
        }
    ],
    "messages": [
        {"code": "LICENSE_EXPIRING", "detail": "It ends in 12 days.", "license_code": "FX-9QHD-M3RN", "days_left": 12}
    ],
}


def example(shown: dict[str, Any], **schema: Any) -> ConfigDict:
    """What one looks like, for the OpenAPI document; and what its schema says beside its members."""
    return ConfigDict(json_schema_extra={"examples": [shown], **schema})


# Built at their first use: each function imports the whole contract, and speaks a page of it.
class Body(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Answer(BaseModel):
    """What we answer. Times are RFC 3339 UTC, to the second."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class _Sparse(Answer):
    """An answer that leaves out the members named in ``sparse`` where they do not apply."""

    sparse: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _leave_out(self, serialize: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]  # a type would hide the schema
        return {name: value for name, value in serialize(self).items() if value is not None or name not in self.sparse}


def _known_zone(name: str) -> str:
    if not is_zone(name):
        raise ValueError("not a time zone of the IANA database")
    return name


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range") from error


def no_control_characters(text: str) -> str:
    """Text that can be shown on a line."""
    if not text.isprintable():
        raise ValueError("control characters are not accepted")
    return text


def _as_written(length: int, what: str) -> BeforeValidator:
    """Refuses what is not written as a date is: pydantic takes numbers, and texts of digits, for seconds since 1970."""

    def check(given: Any) -> Any:
        written = isinstance(given, str) and re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", given) and len(given) >= length
        if not written and not isinstance(given, date):
            raise ValueError(f"write it as {what}")
        return given

    return BeforeValidator(check)


Printable = AfterValidator(no_control_characters)
#: A day (RFC 3339, full-date).
Day = Annotated[date, _as_written(10, "2026-11-22")]
#: A moment with its offset (RFC 3339, date-time), told in UTC.
Moment = Annotated[AwareDatetime, AfterValidator(_utc), _as_written(20, "2026-11-22T12:00:00Z")]
#: JSON's true and false, and no words or numbers that could mean them.
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Printable]
Nonce = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22,64}$")]
Hash = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
ComponentName = Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,32}$")]
# Whatever is pasted is a token, if a wrong one: the answer is then a sentence about tokens, not about patterns.
Secret = Annotated[Text, StringConstraints(min_length=1, max_length=256)]
InstallationId = Annotated[str, StringConstraints(pattern=r"^ins_[0-9A-Za-z]{1,60}$")]
TimeZone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_zone)]
Version = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,6}([.][0-9]{1,6}){0,3}$")]
DatabaseName = Annotated[Text, StringConstraints(min_length=1, max_length=128)]
Coordinate = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]


class PublicKey(Body):
    """The public half of the server's own key, an EC P-256 JWK (RFC 7517)."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: Coordinate
    y: Coordinate


class ServerReport(Body):
    """What a server says of itself, and the nonce that the answer will carry."""

    fingerprint: Annotated[dict[ComponentName, Hash], Field(min_length=3, max_length=12)]
    hostname: Annotated[Text, StringConstraints(max_length=255)]
    time_zone: TimeZone
    app_version: Annotated[Text, StringConstraints(max_length=64)] | None = None
    agent_version: Version
    databases: Annotated[list[DatabaseName], Field(max_length=20)] = Field(default_factory=list)
    nonce: Nonce

    def report(self) -> Report:
        """The same as the rules take it."""
        return Report(
            fingerprint=self.fingerprint,
            hostname=self.hostname,
            time_zone=self.time_zone,
            app_version=self.app_version,
            agent_version=self.agent_version,
            databases=tuple(dict.fromkeys(self.databases)),
        )


class ActivationRequest(Body):
    """Begin an activation by tax id (A1)."""

    model_config = example({"tax_id": "IT00743110157"})

    tax_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class CodeEntry(Body):
    """The one-time code from the e-mail."""

    model_config = example({"code": "123456"})

    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]


def _only(*names: str) -> dict[str, Any]:
    """A way to say who activates: by these members, and none of the others."""
    ways = ("activation_token", "ticket", "installation_id")
    return {
        "required": list(names),
        "properties": {name: {"type": "string" if name in names else "null"} for name in ways},
    }


class Activation(ServerReport):
    """Activate a server: by activation token, or by ticket and chosen installation."""

    model_config = example(
        {"activation_token": "mfrggzdfmztwq2lknnwg23tpobyxe43u", "public_key": _KEY, **_REPORT},
        oneOf=[_only("activation_token"), _only("ticket", "installation_id")],
    )

    activation_token: Secret | None = None
    ticket: Secret | None = None
    installation_id: InstallationId | None = None
    public_key: PublicKey | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> "Activation":
        by_token = self.activation_token is not None
        by_ticket = self.ticket is not None and self.installation_id is not None
        if by_token == by_ticket or (by_token and (self.ticket or self.installation_id)):
            raise ValueError("send either activation_token, or ticket and installation_id")
        return self


#: For a token too long for a header: API Gateway takes 10,240 bytes of request line and headers in all.
TokenInBody = Annotated[
    str | None,
    StringConstraints(max_length=200_000),
    Field(description="The server token, where it is too long for the Authorization header (over 6,000 characters)."),
]


class Validation(ServerReport):
    """The daily validation."""

    model_config = example({**_REPORT, "usage": {"advanced-queueing": 17}})

    usage: Annotated[
        dict[
            Annotated[Text, StringConstraints(min_length=1, max_length=64)],
            Annotated[int, Field(strict=True, ge=0, le=2**53)],
        ],
        Field(max_length=50),
    ] = Field(default_factory=dict)
    server_token: TokenInBody = None


class Deactivation(Body):
    """A server gives itself up."""

    model_config = example({"nonce": _NONCE})

    nonce: Nonce
    server_token: TokenInBody = None


_SEAT = {
    "pool_id": "pool_3f1c2a9b7d5e4c6f8a0b1d2e",
    "company_tax_id": "IT00743110157",
    "os_user": "giulia.ferrario",
    "terminal": "PC-CONT-07",
    "session": "local",
    "user_code": "GF12",
    "module": "billing",
    "instance": "4711",
}
PoolId = Annotated[str, StringConstraints(pattern=r"^pool_[0-9a-f]{1,60}$")]
SeatIdText = Annotated[str, StringConstraints(pattern=r"^sea_[0-9A-Za-z._-]{1,120}$")]
#: What a module calls itself, and one running instance of it.
Module = Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


class SeatRequest(Body):
    """A station asks for a seat (C3, C4). A station is ``os_user``, ``terminal`` and ``session`` (``local`` on a workstation);
    for a browser without launcher ``user_code`` and ``session``, with ``os_user`` and ``terminal`` empty.
    """

    model_config = example(_SEAT)

    pool_id: PoolId
    company_tax_id: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    os_user: Annotated[Text, StringConstraints(strip_whitespace=True, max_length=128)]
    terminal: Annotated[Text, StringConstraints(strip_whitespace=True, max_length=128)]
    session: Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1, max_length=128)]
    user_code: Annotated[Text, StringConstraints(strip_whitespace=True, max_length=64)]
    module: Module
    instance: Module
    share_secret: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None

    @model_validator(mode="after")
    def _a_station(self) -> "SeatRequest":
        if bool(self.os_user) != bool(self.terminal):
            raise ValueError("send os_user and terminal, or neither")
        if not self.os_user and not self.user_code:
            raise ValueError("a browser needs a user_code")
        return self


class Borrowing(Body):
    """Take a seat offline for some days (C13)."""

    model_config = example({"days": 3})

    days: Annotated[int, Field(strict=True, ge=1, le=366)]


class Warning(Answer):
    """What ends soon (C11)."""

    code: str
    days_left: int
    detail: str


class SeatAnswer(Answer):
    """A seat and its lease. ``lease_seconds`` are left from now on: count them by a clock that nobody can set."""

    model_config = example(
        {
            "seat_id": "sea_3f1c2a9b7d5e4c6f8a0b1d2e.q0Zl1nX8s1oV2b9a.g1f.YtJ4KwZl1nX8",
            "lease_until": "2026-11-22T12:10:00Z",
            "lease_seconds": 600,
            "in_use": 7,
            "capacity": 10,
            "share_secret": "q0Zl1nX8s1oV2b9a.1oV2b9aYtJ4KwZl1nX8s1o",
            "support": False,
            "borrowed": False,
            "warnings": [{"code": "KEY_EXPIRING", "days_left": 12, "detail": "The activation key ends in 12 days."}],
        }
    )

    seat_id: str
    lease_until: datetime
    lease_seconds: int
    in_use: int
    capacity: int
    share_secret: str
    support: bool
    borrowed: bool
    warnings: list[Warning]


class BorrowAnswer(Answer):
    """A seat taken offline: ``lease`` is signed (JWT, ``typ: seat-lease+jwt``), and good without a connection."""

    model_config = example(
        {
            "seat_id": "sea_3f1c2a9b7d5e4c6f8a0b1d2e.q0Zl1nX8s1oV2b9a.g1f.YtJ4KwZl1nX8",
            "borrowed_until": "2026-11-25T12:00:00Z",
            "lease": "eyJhbGciOiJFUzI1NiIsInR5cCI6InNlYXQtbGVhc2Urand0In0.e30.c2ln",
        }
    )

    seat_id: str
    borrowed_until: datetime
    lease: str


class ReturnAnswer(Answer):
    """A borrowed seat is free again."""

    seat_id: str
    returned: Literal[True] = True


class PoolName(Answer):
    """A pool that may be asked, and for what."""

    pool_id: str
    application: str


class PoolNames(Answer):
    """The pools that may be asked."""

    items: list[PoolName]
    next_cursor: str | None = None


class PoolAnswer(Answer):
    """How a pool stands (C8, C12)."""

    pool_id: str
    application: str
    capacity: int
    in_use: int
    support_in_use: int
    peak: int
    peak_since: datetime
    valid_from: date | None
    valid_until: date | None
    days_left: int | None
    lease_seconds: int


class SeatRow(_Sparse):
    """One row of the live view (C7): one seat, or a support user's place."""

    sparse = frozenset({"seat_id"})

    seat_id: str | None = None
    os_user: str
    terminal: str
    session: str
    user_code: str
    company_tax_id: str | None
    modules: list[str]
    since: datetime
    lease_until: datetime
    support: bool
    borrowed: bool
    several_sessions: bool


class SeatRows(Answer):
    """A page of the live view."""

    items: list[SeatRow]
    next_cursor: str | None = None


class CodeSent(Answer):
    """A one-time code is on its way, if there is anybody to send it to; the answer doesn't tell."""

    model_config = example({"request_id": "req_019a9c0f2d00c5a1b2", "delivery": "email", "expires_in": 600})

    request_id: str
    delivery: Literal["email"] = "email"
    expires_in: int


class CustomerName(Answer):
    """The customer, as it is shown."""

    name: str
    tax_id: str


class InstallationChoice(Answer):
    """One installation to choose from."""

    installation_id: str
    name: str
    status: Literal["available", "active", "blocked", "disabled"]


class Ticket(Answer):
    """Who you are, and what you may activate with this ticket."""

    model_config = example(
        {
            "ticket": "req_019a9c0f2d00c5a1b2.mfrggzdfmztwq2lknnwg23tpobyxe43u",
            "customer": _CUSTOMER,
            "installations": [{"installation_id": "ins_019a9c0f2d00d4", "name": "Milano", "status": "available"}],
        }
    )

    ticket: str
    customer: CustomerName
    installations: list[InstallationChoice]


class InstallationName(Answer):
    """The installation, as it is shown."""

    installation_id: str
    name: str
    mode: Literal["online", "offline"]


class DatabaseDay(Answer):
    """A database and the day it was activated."""

    name: str
    activated_at: date


class EntitlementAnswer(Answer):
    """What the server may use. ``starts_at`` and ``ends_at`` are instants: judge by them when offline."""

    license_code: str
    application: str
    name: str
    unit: str
    quantity: int
    type: Literal["perpetual", "subscription", "trial"]
    care: str | None
    care_until: date | None
    first_day: date | None
    last_day: date | None
    modules: list[str]
    cloud_services: bool
    pool_id: str | None
    starts_at: datetime | None
    ends_at: datetime | None


class MessageAnswer(_Sparse):
    """Something to tell the administrator."""

    sparse = frozenset({"license_code", "days_left", "version", "url"})

    code: str
    detail: str
    license_code: str | None = None
    days_left: int | None = None
    version: str | None = None
    url: str | None = None


class ValidationAnswer(_Sparse):
    """Yes with a server token, or no with a verdict; both signed, both bound to the request's nonce."""

    model_config = example(_ANSWER)

    sparse = frozenset({"server_token", "verdict"})

    valid: bool
    code: str
    final: bool
    detail: str
    first_validation: bool
    server_token: str | None = None
    verdict: str | None = None
    next_validation_at: datetime
    validate_before: datetime | None
    server_time: datetime
    nonce: str
    customer: CustomerName | None
    installation: InstallationName | None
    databases: list[DatabaseDay]
    log_retention_days: int
    entitlements: list[EntitlementAnswer]
    messages: list[MessageAnswer]


class DeactivationAnswer(Answer):
    """The installation can be activated elsewhere."""

    model_config = example(
        {
            "deactivated": True,
            "installation": {"installation_id": "ins_019a9c0f2d00d4", "name": "Milano"},
            "server_time": "2026-11-22T12:00:00Z",
            "nonce": _NONCE,
        }
    )

    deactivated: Literal[True] = True
    installation: dict[str, str]
    server_time: datetime
    nonce: str


class GivenUp(Answer):
    """A license whose cloud-connected services an offline server goes without (B8), and its care plan."""

    license_code: str
    name: str
    care: str | None


class OfflineLicense(Answer):
    """The license file for an offline server. ``until`` is when it ends; null: never."""

    model_config = example(
        {
            "file_name": "license-milano.json",
            "content": '{"license": "eyJ…", "keyset": "eyJ…"}',
            "until": None,
            "given_up": [{"license_code": "CR-2K8P-W4TX", "name": "Call Recording", "care": "BASIC"}],
        }
    )

    file_name: str
    content: str
    until: datetime | None
    given_up: list[GivenUp]


class OfflineDeactivation(Answer):
    """The receipt was accepted: the installation is available again, and what is assigned to it can be changed."""

    model_config = example(
        {
            "deactivated": True,
            "installation": {"installation_id": "ins_019a9c0f2d00d4", "name": "Milano", "mode": "online"},
            "server_time": "2026-11-22T12:00:00Z",
        }
    )

    deactivated: Literal[True] = True
    installation: InstallationName
    server_time: datetime


class Ping(Answer):
    """We are here."""

    model_config = example(
        {
            "message": "successfully connected",
            "site": "primary",
            "region": "eu-south-1",
            "server_time": "2026-11-22T12:00:00Z",
        }
    )

    message: str = "successfully connected"
    site: str
    region: str
    server_time: datetime


class Problem(BaseModel):
    """An error (RFC 9457). ``code`` is stable; further members depend on it. A key that is refused when it is looked at or imported
    comes with ``contact``, the vendor's.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:cloud-licensing:problem:code-wrong",
                    "title": "Forbidden",
                    "status": 403,
                    "detail": "The code is not right. Check the newest e-mail; 4 tries are left.",
                    "code": "CODE_WRONG",
                    "tries_left": 4,
                },
                {
                    "type": "urn:cloud-licensing:problem:key-expired",
                    "title": "Forbidden",
                    "status": 403,
                    "detail": "The activation key ended on 2026-11-21. Import the renewed key; ask the vendor for it if it "
                    "has not come.",
                    "code": "KEY_EXPIRED",
                    "last_day": "2026-11-21",
                    "contact": {
                        "name": "Aurora Licensing",
                        "email": "licensing@aurora.example",
                        "phone": "+39 02 555 0100",
                        "url": "https://aurora.example",
                    },
                },
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[dict[str, Any]] = Field(default_factory=list)
