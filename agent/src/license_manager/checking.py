"""May this product run, what may it use, and if not, why: offline, in microseconds.

The state is read and its signatures are verified once per change of the state file. From then on an answer is two
`stat`s, two clock readings and a comparison, until the next local midnight or the next beginning or end of an entitlement.
Nothing here writes, and nothing here opens a connection.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import ladder, language, profile
from .clock import TrustedClock, since_boot, this_boot
from .errors import LicenseManagerError, NotPrivate, StateDamaged
from .home import HOME_VARIABLE, Home, locate
from .state import STATE_FILE, State, load
from .texts import texts

if TYPE_CHECKING:
    from .trust import License, ServerToken, Verdict

_Function = TypeVar("_Function", bound=Callable[..., Any])
FOREVER = float("inf")
LOOK_AGAIN = 1.0
"""Seconds after which something that was wrong with the files is looked at again."""
_Stamp = tuple[int, int, int, int] | int | None


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A right to a quantity of an application. Days include the last one; `starts_at` and `ends_at` are what counts."""

    application: str
    name: str
    unit: str
    quantity: int
    license_code: str = ""
    type: str = ""
    care: str | None = None
    care_until: str | None = None
    first_day: str | None = None
    last_day: str | None = None
    modules: tuple[str, ...] = ()
    cloud_services: bool = False
    pool_id: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def in_force(self, now: float) -> bool:
        """Whether it has begun and is not over, at an epoch time."""
        begun = self.starts_at is None or self.starts_at.timestamp() <= now
        return begun and (self.ends_at is None or now < self.ends_at.timestamp())


@dataclass(frozen=True, slots=True)
class Check:
    """The answer to "may I run?"; true in a condition if it may.

    `status` is one of `ok`, `warning`, `grace`, `blocked` (the ladder of the ten days, or a license file's end), `refused`
    (the vendor said a final no, or what is on disk is not to be trusted) and `not_activated`. `code` is stable, `reason` a
    sentence for a person. `entitlements` are those in force now; `expires_at` is when the server token ends if nothing is
    heard, or the license file, if it has an end.
    """

    allowed: bool
    status: str
    code: str
    reason: str
    silent_days: int = 0
    entitlements: tuple[Entitlement, ...] = ()
    expires_at: datetime | None = None

    def __bool__(self) -> bool:
        return self.allowed

    def may(self, application: str, module: str | None = None) -> bool:
        """Whether this application, and if named this module of it, may be used now."""
        return self.allowed and any(
            entitlement.application == application and (module is None or module in entitlement.modules)
            for entitlement in self.entitlements
        )

    def quantity(self, application: str) -> int:
        """How many units (channels, users, …) of an application may be used now; 0 if none."""
        if not self.allowed:
            return 0
        return sum(entitlement.quantity for entitlement in self.entitlements if entitlement.application == application)


class NotLicensed(Exception):
    """Raised by `licensed`; `check` is the answer that led to it."""

    def __init__(self, check: Check, application: str, module: str | None) -> None:
        if check.allowed:
            what = application if module is None else f"{application} / {module}"
            super().__init__(texts.NOT_LICENSED.format(what=what))
        else:
            super().__init__(check.reason)
        self.check = check
        self.application = application
        self.module = module


def check(home: Path | str | None = None, root_keys: Sequence[Mapping[str, Any]] | None = None) -> Check:
    """Whether the product may run now. Never raises for what is wrong with the license: that is the answer.

    `root_keys`: the vendor's root keys as public JWKs. A product passes its own, so that nobody can put another vendor
    profile in their place; without them those of `vendor.json` count. Pass the same object each time.
    """
    key = (str(home) if home is not None else os.environ.get(HOME_VARIABLE), id(root_keys))
    place = _places.get(key)
    if place is None:
        if len(_places) >= 64:  # a caller that builds new lists of keys each time must not fill the memory
            _places.clear()
        place = _places[key] = _Place(locate(home, os.environ), root_keys)
    return place.check()


class Licensed:
    """Guards a block or a function: `with licensed("fax-server"): …` or `@licensed("fax-server")`."""

    def __init__(
        self,
        application: str,
        module: str | None,
        home: Path | str | None,
        root_keys: Sequence[Mapping[str, Any]] | None,
    ) -> None:
        self._application = application
        self._module = module
        self._home = home
        self._root_keys = root_keys

    def __enter__(self) -> Check:
        answer = check(self._home, self._root_keys)
        if not answer.may(self._application, self._module):
            raise NotLicensed(answer, self._application, self._module)
        return answer

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, function: _Function) -> _Function:
        if iscoroutinefunction(function):

            @wraps(function)
            async def guarded_coroutine(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return cast(_Function, guarded_coroutine)

        @wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return cast(_Function, guarded)


def licensed(
    application: str,
    module: str | None = None,
    *,
    home: Path | str | None = None,
    root_keys: Sequence[Mapping[str, Any]] | None = None,
) -> Licensed:
    """A guard that raises NotLicensed when it is entered; usable as a decorator and as a context manager."""
    return Licensed(application, module, home, root_keys)


@dataclass(frozen=True)
class Standing:
    """What is on disk, verified: a reason why it can't be used; or a token and perhaps a verdict; or a license file's license."""

    contact: str
    broken: Check | None = None
    token: ServerToken | None = None
    license: License | None = None
    verdict: Verdict | None = None
    entitlements: tuple[Entitlement, ...] = ()
    last_trouble: str = ""


def verify(
    state: State,
    vendor: profile.VendorProfile,
    fingerprint: Callable[[], Mapping[str, str]],
    root_keys: Sequence[Mapping[str, Any]] | None = None,
) -> Standing:
    """Verifies what a state holds from the root keys down and against this machine's fingerprint."""
    contact = vendor.contact_line
    if state.token is None or state.key_set is None:
        return Standing(contact, broken=not_activated(contact))
    from . import fingerprint as fingerprints
    from . import trust

    try:
        key_set = trust.read_key_set(state.key_set, vendor.root_keys if root_keys is None else root_keys, vendor.issuer)
        token = trust.read_server_token(state.server_token, key_set, vendor.issuer) if state.server_token else None
        license = trust.read_license(state.token, key_set, vendor.issuer) if token is None else None
        held = token or license
        assert held is not None  # noqa: S101  one of the two was read
        verdict = trust.read_verdict(state.verdict, key_set, vendor.issuer) if token and state.verdict else None
        entitlements = tuple(read_entitlement(entitlement) for entitlement in held.entitlements)
    except LicenseManagerError as error:
        return Standing(
            contact, broken=_refusal(error.code, texts.STATE_NOT_TRUSTED.format(why=error, contact=contact))
        )
    except (KeyError, TypeError, ValueError):
        return Standing(
            contact,
            broken=_refusal("INVALID_TOKEN", texts.STATE_NOT_TRUSTED.format(why=texts.TOKEN_INVALID, contact=contact)),
        )
    if not fingerprints.matches(held.fingerprint, fingerprint()):
        return Standing(contact, broken=_refusal("FINGERPRINT_MISMATCH", texts.OTHER_MACHINE.format(contact=contact)))
    if verdict is not None and (verdict.installation_id != held.installation_id or verdict.sequence < held.sequence):
        verdict = None  # it is about an earlier token
    attempt = state.last_attempt or {}
    trouble = "" if attempt.get("ok") else str(attempt.get("detail") or "")
    return Standing(
        contact, token=token, license=license, verdict=verdict, entitlements=entitlements, last_trouble=trouble
    )


def judge(standing: Standing, now: float) -> tuple[Check, float]:
    """The answer at an epoch time, and the time until which it stays the same if nothing changes on disk (A5)."""
    token = standing.token
    if standing.broken is not None:
        return standing.broken, FOREVER
    if standing.license is not None:
        return _judge_license(standing, standing.license, now)
    if token is None:
        return not_activated(standing.contact), FOREVER
    rung = ladder.rung(token.issued_at, now, token.time_zone)
    in_force = tuple(entitlement for entitlement in standing.entitlements if entitlement.in_force(now))
    expires_at = datetime.fromtimestamp(token.expires_at, UTC)
    cause = standing.last_trouble or texts.NO_ATTEMPT
    words = {
        "last_success": language.moment(token.issued_at, token.time_zone),
        "days": rung.silent_days,
        "grace_day": rung.grace_day,
        "cause": cause if cause.endswith((".", "?", "!")) else f"{cause}.",
        "contact": standing.contact,
        "expires": language.moment(token.expires_at, token.time_zone),
    }
    verdict = standing.verdict
    if verdict is not None and verdict.final:
        reason = texts.VERDICT_FINAL.format(code=verdict.code, **words)
        return Check(False, "refused", verdict.code, reason, rung.silent_days, (), expires_at), FOREVER
    if rung.status == "blocked" or now >= token.expires_at:
        code = verdict.code if verdict is not None else "SILENT_TOO_LONG"
        return Check(False, "blocked", code, texts.BLOCKED.format(**words), rung.silent_days, (), expires_at), FOREVER
    code = "VALID"
    if verdict is not None:
        code = verdict.code
    elif rung.status != "ok":
        code = "VALIDATION_OVERDUE"
    sentence = {"ok": texts.OK, "warning": texts.WARNING, "grace": texts.GRACE}[rung.status]
    if verdict is not None and rung.status == "ok":
        sentence = texts.REFUSED_FOR_NOW
    answer = Check(True, rung.status, code, sentence.format(**words), rung.silent_days, in_force, expires_at)
    turns = [ladder.next_midnight(now, token.time_zone), float(token.expires_at), *_turns(standing.entitlements)]
    return answer, min(turn for turn in turns if turn > now)


def _judge_license(standing: Standing, license: License, now: float) -> tuple[Check, float]:
    """The answer where there is no network: no ladder of days, only the ends that the license itself has (B9)."""
    ends = license.expires_at
    expires_at = None if ends is None else datetime.fromtimestamp(ends, UTC)
    if ends is not None and now >= ends:
        reason = texts.LICENSE_FILE_ENDED.format(
            expires=language.moment(ends, license.time_zone), contact=standing.contact
        )
        return Check(False, "blocked", "EXPIRED", reason, expires_at=expires_at), FOREVER
    in_force = tuple(entitlement for entitlement in standing.entitlements if entitlement.in_force(now))
    reason = texts.OFFLINE_OK.format(issued=language.moment(license.issued_at, license.time_zone))
    turns = [FOREVER if ends is None else float(ends), *_turns(standing.entitlements)]
    return Check(True, "ok", "VALID", reason, 0, in_force, expires_at), min(turn for turn in turns if turn > now)


def _turns(entitlements: Sequence[Entitlement]) -> list[float]:
    """When entitlements begin and end."""
    return [
        turn.timestamp()
        for entitlement in entitlements
        for turn in (entitlement.starts_at, entitlement.ends_at)
        if turn is not None
    ]


def not_activated(contact: str) -> Check:
    """The answer of a server that holds no license yet."""
    return Check(False, "not_activated", "NOT_ACTIVATED", texts.NOT_ACTIVATED.format(contact=contact))


def read_entitlement(document: Mapping[str, Any]) -> Entitlement:
    """An entitlement from a token; parts that this version does not know are left aside. Raises ValueError."""
    values: dict[str, Any] = {}
    for part in fields(Entitlement):
        if document.get(part.name) is None:
            continue
        value = document[part.name]
        if part.name in {"starts_at", "ends_at"}:
            value = datetime.fromisoformat(value)
            if value.tzinfo is None:
                raise ValueError(part.name)
        elif part.name == "modules":
            value = tuple(str(module) for module in value)
        elif part.name == "quantity":
            if type(value) is not int or value < 0:
                raise ValueError(part.name)
        elif part.name != "cloud_services":
            value = str(value)
        values[part.name] = value
    return Entitlement(**values)


def _refusal(code: str, reason: str) -> Check:
    return Check(False, "refused", code, reason)


@dataclass(frozen=True, slots=True)
class _View:
    """One look at the disk and the answer that follows. Replaced as a whole, so that threads never mix two of them."""

    seen: tuple[_Stamp, _Stamp]
    looked_at: float  # by the boot clock
    clock: TrustedClock
    standing: Standing
    answer: Check
    good_until: float


class _Place:
    """One home as one product sees it, with what was verified there and the answer that is good for now."""

    def __init__(self, path: Path, root_keys: Sequence[Mapping[str, Any]] | None) -> None:
        self._path = path
        self._root_keys = root_keys  # also keeps the id() in the cache's key from being reused
        self._profile_path = profile.locate(None, path, os.environ)
        self._state_file = str(path / STATE_FILE)
        self._profile_file = str(self._profile_path)
        self._view: _View | None = None

    def check(self) -> Check:
        view = self._view
        seen = (_stamp(self._state_file), _stamp(self._profile_file))
        # What is wrong may pass without a trace on the files: no descriptors left, a folder that was closed.
        if (
            view is None
            or view.seen != seen
            or (view.standing.broken is not None and since_boot() - view.looked_at >= LOOK_AGAIN)
        ):
            standing, clock = self._look()
            answer, good_until = judge(standing, clock.now())
            view = self._view = _View(seen, since_boot(), clock, standing, answer, good_until)
        now = view.clock.now()
        if now >= view.good_until:
            answer, good_until = judge(view.standing, now)
            view = self._view = replace(view, answer=answer, good_until=good_until)
        return view.answer

    def _look(self) -> tuple[Standing, TrustedClock]:
        home = Home(self._path)
        language.use_that_of(home, os.environ)
        try:
            state = load(home)
        except StateDamaged as error:
            reason = f"{error.detail} {texts.ASK.format(contact=self._contact())}"
            return _broken(Check(False, "not_activated", error.code, reason))
        except (NotPrivate, OSError) as error:
            return _broken(_refusal("STATE_NOT_PRIVATE", str(error)))
        if state.token is None:
            return _broken(not_activated(self._contact()))
        try:
            vendor = profile.read(self._profile_path)
        except LicenseManagerError as error:
            return _broken(_refusal(error.code, error.detail))
        from .fingerprint import of_this_machine

        clock = state.clock(time.time, since_boot, this_boot())
        return verify(state, vendor, of_this_machine, self._root_keys), clock

    def _contact(self) -> str:
        try:
            return profile.read(self._profile_path).contact_line
        except LicenseManagerError:
            return texts.THE_VENDOR


def _broken(answer: Check) -> tuple[Standing, TrustedClock]:
    return Standing("", broken=answer), TrustedClock()


def _stamp(path: str) -> _Stamp:
    """What changes with a file's content, owner or mode; the error's number for a file that can't be looked at."""
    try:
        status = os.stat(path)
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size


_places: dict[tuple[str | None, int], _Place] = {}
