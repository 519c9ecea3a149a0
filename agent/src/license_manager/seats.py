"""Seats for the product: leased, kept alive in the background, given back (C2-C6, C13).

    with license_manager.seat("erp", company_tax_id="IT00743110157", module="billing", user_code="GF12") as seat:
        ...
        if not seat.held:
            save_and_close()

A lease is counted by a clock that nobody can set and that goes on while the machine sleeps, from before the request was sent:
the seat ends here no later than in the cloud. Once it is lost it stays lost; ask for a new one.
"""

from __future__ import annotations

import json
import math
import os
import random
import secrets
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from . import profile, settings, trust
from .errors import LicenseManagerError, NotActivated, Refused, StateDamaged, Unreachable, Untrusted
from .home import Home, locate
from .machine import Machine
from .manager import PRIMARY, Manager, usable
from .texts import texts
from .transport import Reply

TOKEN_TYPE = "seat+jwt"  # noqa: S105  (a media type)
TOKEN_LIFE = 600
LOCAL_SESSION = "local"
#: A heartbeat goes out when a third of the lease is over; two may fail before it ends.
BEATS = 3
#: Seconds between tries after a failure, at first and at most.
FIRST_RETRY, LONGEST_RETRY = 2.0, 30.0
#: What tells that the seat itself is gone; any other trouble is tried again while the lease lasts.
_GONE = frozenset({"SEAT_LOST", "NOT_FOUND", "KEY_EXPIRED", "KEY_FOREIGN_COMPANY", "KEY_MISSING", "EXPIRED",
                   "INSTALLATION_DISABLED", "CUSTOMER_DELETED", "LICENSE_SUSPENDED", "LICENSE_REFUNDED"})  # fmt: skip


@dataclass(frozen=True)
class Station:
    """Who takes the seat: operating-system user, terminal and session. In a browser that no launcher opened `os_user` and
    `terminal` are empty, and `session` is the browser's."""

    os_user: str
    terminal: str
    session: str = LOCAL_SESSION
    user_code: str = ""


def this_station(user_code: str = "", environ: Mapping[str, str] | None = None, hostname: str | None = None) -> Station:
    """The station that this process runs on: a workstation's own session is `local`, each remote one its own."""
    import getpass

    found = os.environ if environ is None else environ
    return Station(getpass.getuser(), hostname or Machine().hostname(), _session(found), user_code)


def _session(environ: Mapping[str, str]) -> str:
    if sys.platform == "win32":
        name = environ.get("SESSIONNAME", "")
        return LOCAL_SESSION if name.casefold() in {"", "console", "services"} else name  # RDP-Tcp#3, ICA-CGP#1
    remote = any(environ.get(name) for name in ("SSH_CONNECTION", "XRDP_SESSION", "NXSESSIONID", "VNCDESKTOP"))
    return (environ.get("XDG_SESSION_ID") or environ.get("DISPLAY") or "remote") if remote else LOCAL_SESSION


def browser(user_code: str, session: str) -> Station:
    """A browser: with the desktop's `share_secret` it rides on that seat, without it takes its own (C4)."""
    return Station("", "", session, user_code)


class SeatDesk(Manager):
    """Asks the cloud about seats, in the name of the server that this home belongs to."""

    _skew = 0.0

    def token(self) -> str:
        """A seat token for a station: good for ten minutes. Raises NotActivated, StateDamaged."""
        state = usable(self.state())
        if state.server_token is None or state.private_key is None:
            raise NotActivated("NOT_ACTIVATED", texts.NOT_ACTIVATED_YET)
        claims = trust.peek(state.server_token)
        if not isinstance(claims.get("sub"), str) or not isinstance(claims.get("cus"), str):
            raise StateDamaged("STATE_DAMAGED", texts.STATE_DAMAGED)
        now = int(self.machine.wall() + self._skew)
        said = {"iss": claims["sub"], "cus": claims["cus"], "aud": "seats", "iat": now, "exp": now + TOKEN_LIFE}
        key: Any = load_pem_private_key(state.private_key.encode(), None)
        return jwt.encode({**said, "jti": secrets.token_urlsafe(12)}, key, trust.ALGORITHM, {"typ": TOKEN_TYPE})

    def ask(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request to Site 1, or by fail-over to the next; its answer. Raises Refused, Unreachable, NotActivated."""
        body = None if document is None else json.dumps(document, separators=(",", ":")).encode()

        def attempt(number: int) -> dict[str, Any]:
            site = self.vendor.sites[number - PRIMARY]
            for corrected in (False, True):
                headers = {"authorization": f"Bearer {self.token()}"}
                reply = self.transport.call(site, method, path, body, headers)
                if reply.status == 204:
                    return {}
                answer = reply.document()
                if reply.status in {200, 201} and answer is not None:
                    return answer
                if corrected or not self._set_right(reply):
                    break
            raise self._fault_of(reply, site)

        return self._round(attempt)

    def _set_right(self, reply: Reply) -> bool:
        """Takes over the site's time where this machine's clock is wrong: only the token is made by it."""
        refusal = reply.problem
        if refusal is None or refusal["code"] != "CLOCK_SKEWED":
            return False
        with suppress(ValueError, OverflowError):
            self._skew = datetime.fromisoformat(str(refusal.get("server_time"))).timestamp() - self.machine.wall()
            return True
        return False

    def pool(self, pool_or_application: str) -> str:
        """The pool with this id, or the one for this application. Raises Refused (`NOT_FOUND`; `KEY_MISSING` where the customer
        has no activation key at all), Unreachable, NotActivated."""
        if pool_or_application.startswith("pool_"):
            return pool_or_application
        query = urlencode({"application": pool_or_application}, quote_via=quote)
        items = self.ask("GET", f"/v1/pools?{query}").get("items")
        for each in items if isinstance(items, list) else []:
            if isinstance(each, dict) and each.get("application") == pool_or_application and each.get("pool_id"):
                return str(each["pool_id"])
        raise Refused("NOT_FOUND", texts.NO_SEATS.format(what=pool_or_application), status=404)

    def note_failure(self, reason: str, error: Exception) -> None:
        """Writes to the log that the product failed when its seat was lost: by what error and where, not what it said."""
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} ({Path(last.filename).name}:{last.lineno})"
        with suppress(LicenseManagerError, OSError), self.home.locked(10):
            detail = texts.ON_LOST_FAILED.format(reason=reason, error=where)
            self._log("seat", "failed", "ON_LOST_FAILED", detail, None, self.machine.wall())


class Seat:
    """A seat, held while the lease lasts. Use as a context manager; `seat()` makes one.

    When it is lost within the `with`, whoever notices first, `on_lost` is called once, from the background thread and with the
    reason's code. `lost` is set just before. A request on its way may delay both, never `held`. What `on_lost` raises is
    written to the License Manager's log.
    """

    def __init__(
        self,
        desk: SeatDesk,
        ask: Mapping[str, Any],
        on_lost: Callable[[str], object] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._desk = desk
        self._ask = dict(ask)
        self._on_lost = on_lost
        self._jitter = jitter
        #: Held from before a request of this seat is sent until its answer is taken over: no answer overtakes another.
        #: The same thread gets in again: a signal's handler may close the seat in the middle of a request.
        self._turn = threading.RLock()
        #: Never held for long: `held` takes it.
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._ends = 0.0
        self._beat_at = 0.0
        self._failures = 0
        self.lost = threading.Event()
        self.reason = ""
        self.seat_id = self.share_secret = ""
        self.in_use = self.capacity = 0
        self.support = self.borrowed = False
        self.warnings: tuple[Mapping[str, Any], ...] = ()

    @property
    def held(self) -> bool:
        """Whether the product may go on: neither lost, nor over by the clock."""
        if not self.lost.is_set() and self._now() >= self._ends:
            self._lose("LEASE_ENDED")
        return not self.lost.is_set()

    @property
    def seconds_left(self) -> float:
        """How long the lease still lasts unless it is extended."""
        return max(0.0, self._ends - self._now()) if self.held else 0.0

    def _now(self) -> float:
        return self._desk.machine.monotonic()

    def take(self) -> None:
        """Leases the seat. Raises Refused (`SEAT_LIMIT_REACHED` with `in_use`, `capacity`, `retry_after`), Unreachable."""
        with self._turn:
            sent = self._now()
            self._took(self._desk.ask("POST", "/v1/seats", self._ask), sent)

    def _took(self, answer: Mapping[str, Any], sent: float) -> None:
        seconds, seat_id = answer.get("lease_seconds"), answer.get("seat_id")
        if not isinstance(seconds, int) or not isinstance(seat_id, str) or seconds < 0:
            raise Untrusted("OTHER_CONTENT", texts.TOKEN_INVALID)
        with self._lock:
            self.seat_id = seat_id
            self.share_secret = str(answer.get("share_secret") or "")
            self.in_use, self.capacity = (_whole(answer.get(name)) for name in ("in_use", "capacity"))
            self.support, self.borrowed = (answer.get(name) is True for name in ("support", "borrowed"))
            warnings = answer.get("warnings")
            self.warnings = (
                tuple(each for each in warnings if isinstance(each, dict)) if isinstance(warnings, list) else ()
            )
            self._ends = sent + seconds
            self._beat_at = sent + seconds / BEATS * (0.9 + 0.1 * self._jitter())
            self._failures = 0

    def beat(self) -> None:
        """One heartbeat, if it is due and the lease has not ended. Never raises: what goes wrong shows in `held`."""
        with self._turn:
            if self.held and self._now() >= self._beat_at:
                self._beat()

    def _beat(self) -> None:
        sent = self._now()
        query = urlencode({"module": self._ask["module"], "instance": self._ask["instance"]})
        try:
            self._took(self._desk.ask("PUT", f"/v1/seats/{quote(self.seat_id, safe='')}?{query}"), sent)
        except Refused as error:
            if error.code in _GONE:
                self._lose(error.code)
            else:
                self._try_again(error.retry_after)
        except Unreachable as error:
            self._try_again(error.retry_after)
        except (LicenseManagerError, OSError):
            self._try_again(None)

    def _try_again(self, wait: float | None) -> None:
        self._failures += 1
        longest = min(LONGEST_RETRY, FIRST_RETRY * 2**self._failures)
        self._beat_at = self._now() + max(min(wait or 0.0, LONGEST_RETRY), longest * (0.5 + 0.5 * self._jitter()))
        _ = self.held

    def pause(self) -> float:
        """Seconds until there is something to do: the next heartbeat, or the end of the lease."""
        return max(0.05, min(self._beat_at, self._ends) - self._now())

    def _lose(self, reason: str) -> None:
        with self._lock:
            if self.lost.is_set():
                return
            self.reason = reason
            self.lost.set()
        self._stop.set()  # the background thread tells it

    def _run(self) -> None:
        # A machine that slept wakes up here late: then `held` sees it before any heartbeat is sent.
        while not self._stop.wait(min(self.pause(), 60.0)):
            self.beat()
        if self.lost.is_set() and self._on_lost is not None:
            try:
                self._on_lost(self.reason)
            except Exception as error:  # the product's own; the seat is lost all the same
                self._desk.note_failure(self.reason, error)

    def __enter__(self) -> Self:
        try:
            self.take()
        except BaseException:
            self._desk.__exit__()
            raise
        self._thread = threading.Thread(target=self._run, name="license-manager-seat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the heartbeats and gives the seat back. What can't be told to the cloud is free when the lease ends."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=90)
        with self._turn:
            if not self.lost.is_set() and self.seat_id and not self.borrowed:
                query = urlencode({"module": self._ask["module"], "instance": self._ask["instance"]})
                with suppress(LicenseManagerError, OSError):
                    self._desk.ask("DELETE", f"/v1/seats/{quote(self.seat_id, safe='')}?{query}")
            self._desk.__exit__()

    def borrow(self, days: int) -> str:
        """Takes the seat offline for some days, and returns the signed lease to be kept (`borrowed_until` reads it).

        There are no heartbeats any more; within the `with`, `on_lost` tells its end. Leaving the `with` does not free it;
        `give_back` does. Raises Refused (`BORROWING_NOT_ALLOWED`), Unreachable, Untrusted.
        """
        with self._turn:
            sent = self._now()
            answer = self._desk.ask("POST", f"/v1/seats/{quote(self.seat_id, safe='')}/borrow", {"days": days})
            lease, seconds = answer.get("lease"), _lent(answer.get("lease"))
            if not isinstance(lease, str) or seconds is None:
                raise Untrusted("OTHER_CONTENT", texts.TOKEN_INVALID)
            with self._lock:
                self.borrowed = True
                self._ends = sent + seconds
                self._beat_at = math.inf
        return lease

    def give_back(self) -> None:
        """Returns a borrowed seat before its end; it is lost then (`RETURNED`). Raises Refused, Unreachable."""
        with self._turn:
            try:
                self._desk.ask("POST", f"/v1/seats/{quote(self.seat_id, safe='')}/return")
            finally:
                self._desk.__exit__()  # behind the `with`, nobody else closes the connection
            self._lose("RETURNED")


def _lent(lease: object) -> int | None:
    """For how many seconds from now a lease just signed lends its seat; None for what is no lease.

    Both ends are by the cloud's clock, whatever this machine's says. Up to a second of the one in which it was signed was over.
    The signature doesn't matter here, no more than that of any answer about a seat; `borrowed_until` checks it.
    """
    claims = trust.peek(lease) if isinstance(lease, str) else {}
    signed, ends = (_whole(claims.get(name)) for name in ("iat", "exp"))
    return ends - signed - 1 if 0 < signed < ends else None


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def desk(home: Path | str | None = None, machine: Machine | None = None) -> SeatDesk:
    """The desk of a home: the License Manager's own settings (proxy, CA, site) count here too."""
    place = Home(locate(home, os.environ))
    vendor = profile.read(profile.locate(None, locate(home, os.environ), os.environ))
    return SeatDesk(place, vendor, settings.load(place), machine or Machine())


def seat(
    pool_or_application: str,
    *,
    company_tax_id: str,
    module: str,
    user_code: str = "",
    station: Station | None = None,
    instance: str | None = None,
    share_secret: str | None = None,
    on_lost: Callable[[str], object] | None = None,
    home: Path | str | None = None,
) -> Seat:
    """A seat for one running instance of a module, to be used with `with`.

    `station` is this process's own unless it is given: a terminal server names the remote one, a web server the
    `browser(…)`. `share_secret` is that of the desktop whose launcher opened the module.
    """
    where = station or this_station(user_code)
    at_desk = desk(home)
    ask = {
        "pool_id": at_desk.pool(pool_or_application),
        "company_tax_id": company_tax_id,
        "os_user": where.os_user,
        "terminal": where.terminal,
        "session": where.session,
        "user_code": where.user_code or user_code,
        # As the cloud keeps them: heartbeats and closing name the same ones.
        "module": module.strip(),
        "instance": (instance or "").strip() or f"{os.getpid()}-{secrets.token_hex(3)}",
        **({"share_secret": share_secret} if share_secret else {}),
    }
    return Seat(at_desk, ask, on_lost)


def seat_token(home: Path | str | None = None) -> str:
    """A seat token for a station that asks for itself: it never gets the server's key. Good for ten minutes."""
    return desk(home).token()


def borrowed_until(lease: str, home: Path | str | None = None, machine: Machine | None = None) -> datetime | None:
    """Until when a borrowed seat may be used here, checked offline down to the pinned root; None when it is over.

    Raises Untrusted for what the vendor never signed, or not for this server; NotActivated.
    """
    at_desk = desk(home, machine)
    state = at_desk.state()
    if state.key_set is None or state.server_token is None:
        raise NotActivated("NOT_ACTIVATED", texts.NOT_ACTIVATED_YET)
    key_set = trust.read_key_set(state.key_set, at_desk.vendor.root_keys, at_desk.vendor.issuer)
    installation_id, ends = trust.read_lease(lease, key_set, at_desk.vendor.issuer)
    if installation_id != trust.peek_installation(state.server_token):
        raise Untrusted("WRONG_INSTALLATION", texts.WRONG_INSTALLATION)
    return datetime.fromtimestamp(ends, UTC) if at_desk.clock(state).now() < ends else None
