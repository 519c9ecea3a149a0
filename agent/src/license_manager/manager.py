"""Activating, validating, deactivating and probing: what is sent, what is remembered before, what is believed after.

The order in every exchange is: write the nonce to disk, send, verify, write the result. A crash or a lost answer at any
point leaves a state from which the same request is repeated (the cloud answers a repeated nonce with the same sequence).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx

from . import checking, fingerprint, journal, language, offline, proof, reporting, trust
from . import state as states
from .clock import TOLERANCE, TrustedClock
from .errors import LicenseManagerError, NotActivated, Refused, StateDamaged, Unreachable, Untrusted
from .home import Home
from .machine import Machine
from .profile import PROFILE_FILE, VendorProfile
from .settings import Settings
from .state import State
from .texts import texts
from .transport import Reply, SiteFault, Transport, plain, unexpected_answer
from .version import __version__

LOCK_TIMEOUT = 90.0
KEY_SET_LIFE = 86400.0
#: A longer token goes in the body: API Gateway takes 10,240 bytes of request line and headers in all.
HEADER_TOKEN = 6000
#: Refusals that say nothing about a request that was sent before: asked too often, or a proof that is not believed.
_UNDECIDED = {401, 429}
PRIMARY = 1
#: The vendor's final no to a token whose server gave its installation back, or was activated again since.
RELEASED = "INSTALLATION_RELEASED"
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Outcome:
    """How a signed answer ended. `notes` are the License Manager's own remarks; `messages` are the vendor's."""

    ok: bool
    code: str
    detail: str
    site: int
    first: bool = False
    final: bool = False
    messages: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Installation:
    """An installation to choose from (A2)."""

    installation_id: str
    name: str
    status: str


@dataclass(frozen=True)
class Ticket:
    """The right to activate one of the customer's installations, good for 15 minutes."""

    ticket: str
    customer: str
    installations: tuple[Installation, ...]


@dataclass(frozen=True)
class CodeSent:
    """A one-time code is on its way, if the tax id is known."""

    request_id: str
    expires_in: int


@dataclass(frozen=True)
class Probe:
    """What was found out about one site."""

    number: int
    address: str
    code: str
    detail: str
    milliseconds: int | None = None
    region: str | None = None

    @property
    def ok(self) -> bool:
        return self.code == "OK"


@dataclass
class _Exchange:
    """One command's dealings with the cloud: the state it works on, and what it noticed on the way."""

    state: State
    clock: TrustedClock
    notes: list[str] = field(default_factory=list)
    skew: float = 0.0

    def note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


class Manager:
    """The License Manager of one home. Use as a context manager, so that connections are closed."""

    def __init__(
        self,
        home: Home,
        vendor: VendorProfile,
        settings: Settings,
        machine: Machine,
        *,
        http: httpx.BaseTransport | None = None,
        profile_content: bytes | None = None,
    ) -> None:
        self.home = home
        self.vendor = vendor
        self.settings = settings
        self.machine = machine
        self.transport = Transport(settings, machine.environ, http)
        self._profile_content = profile_content

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.__exit__()

    # What is known without asking anybody

    def state(self) -> State:
        """The state as it is. Writes nothing. Raises StateDamaged, NotPrivate."""
        return states.load(self.home)

    def clock(self, state: State) -> TrustedClock:
        """The trusted clock over a state."""
        return state.clock(self.machine.wall, self.machine.monotonic, self.machine.boot_id())

    def check(self, state: State, now: float) -> checking.Check:
        """The same answer that the product gets from `license_manager.check()`."""
        return checking.judge(checking.verify(state, self.vendor, self.machine.fingerprint), now)[0]

    def unanswered_activation(self) -> bool:
        """Whether an activation was sent whose answer never came."""
        with suppress(StateDamaged):
            return self.state().activation is not None
        return False

    def is_offline(self) -> bool:
        """Whether this server is licensed by a file, as far as can be told."""
        with suppress(StateDamaged):
            return self.state().license is not None
        return False

    def keep_time(self) -> None:
        """Persists the highest time seen, if nobody else is writing."""
        with suppress(LicenseManagerError, OSError), self.home.locked(0):
            state = self.state()
            if state.token is not None:
                clock = self.clock(state)
                clock.now()
                state.remember(clock)
                states.save(self.home, state)

    # Activation

    def request_activation(self, tax_id: str) -> CodeSent | Ticket:
        """Starts from the tax id (A1). Raises Refused (`TAX_ID_INVALID`, `TOO_MANY_REQUESTS`), Unreachable."""
        status, document = self._claim("/v1/activation-requests", {"tax_id": tax_id})
        if status == 202:
            expires_in = document.get("expires_in")
            return CodeSent(_text(document, "request_id"), expires_in if isinstance(expires_in, int) else 600)
        return _ticket(document)

    def verify_code(self, request_id: str, code: str) -> Ticket:
        """Trades the e-mailed code for a ticket. Raises Refused (`CODE_WRONG`, `CODE_EXPIRED`), Unreachable."""
        return _ticket(self._claim(f"/v1/activation-requests/{quote(request_id, safe='')}/verify", {"code": code})[1])

    def activate(self, target: Mapping[str, str]) -> Outcome:
        """Activates by `{"activation_token"}` or `{"ticket", "installation_id"}`; a lost answer is asked for again.

        Raises Refused, Unreachable, Untrusted.
        """
        with self._exchange("activate", damaged_is_fine=True) as exchange:
            state = exchange.state
            _refuse_offline(state)
            fresh = state.activation is None or state.activation["target"] != dict(target)
            if fresh:
                nonce, private_key = proof.new_nonce(), proof.new_private_key()
                state.activation = {
                    "nonce": nonce,
                    "private_key": private_key,
                    "target": dict(target),
                    "body": {
                        **target,
                        "fingerprint": dict(self.machine.fingerprint()),
                        "public_key": proof.public_jwk(private_key),
                        "hostname": self.machine.hostname(),
                        "time_zone": self.machine.time_zone(),
                        "app_version": self._told()["app_version"],
                        "agent_version": __version__,
                        "databases": self._told()["databases"],
                        "nonce": nonce,
                    },
                }
            return self._finish_activation(exchange, fresh=fresh)

    def repeat_activation(self) -> Outcome:
        """Sends the unanswered activation once more, exactly as it was."""
        with self._exchange("activate") as exchange:
            _refuse_offline(exchange.state)
            return self._finish_activation(exchange, fresh=False)

    def _finish_activation(self, exchange: _Exchange, *, fresh: bool, installation: str | None = None) -> Outcome:
        """Sends the activation that the state holds, and forgets it once it is answered, or certainly had no effect.

        `fresh`: it was never sent before. `installation`: the only one that may come of it.
        """
        state, activation = exchange.state, exchange.state.activation
        if activation is None:
            raise NotActivated("NOT_ACTIVATED", texts.NOT_ACTIVATED_YET)
        nonce, private_key = activation["nonce"], activation["private_key"]
        wanted = installation or activation["target"].get("installation_id")
        states.save(self.home, state)

        def attempt(number: int) -> Outcome:
            _, document = self._post(number, "/v1/activations", activation["body"], exchange, private_key, None)
            token = self._accept_token(exchange, document, number, nonce, private_key, wanted)
            if self._profile_content is not None:  # first, because a product may look as soon as there is a token
                self.home.write(PROFILE_FILE, self._profile_content)
            state.activation = None
            return self._success(exchange, document, token, number, fresh, private_key)

        try:
            outcome = self._round(attempt)
        except Refused as error:
            if fresh or error.status not in _UNDECIDED:
                state.activation = None
            raise
        except Unreachable as error:
            if fresh and not error.sent:
                state.activation = None
            raise self._needs_home(error) from error
        if not _is_due(outcome, state):
            return outcome
        # The answer to a repeated request may be days old.
        return self._validate(exchange, [texts.VALIDATED_AGAIN])

    def _claim(self, path: str, document: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """A step before activation: no key, no token, nothing remembered."""
        self.home.prepare()
        exchange = _Exchange(State(), self.clock(State()))
        try:
            return self._round(lambda number: self._post(number, path, document, exchange, None, None))
        except Unreachable as error:
            raise self._needs_home(error) from error

    def _needs_home(self, error: Unreachable) -> Unreachable:
        """Says that only Site 1 hands out installations, where it was Site 2 that turned the request down."""
        if error.code != "STANDBY":
            return error
        why = texts.NOT_AT_CHOSEN_SITE if self.settings.site == "2" else texts.NEEDS_HOME_SITE
        return Unreachable(error.code, f"{why} {error.detail}", error.retry_after, sent=error.sent)

    # Validation

    def validate(self) -> Outcome:
        """Proves this server and brings home a fresh token or a signed no. Raises NotActivated, Refused, Unreachable,
        Untrusted."""
        with self._exchange("validate") as exchange:
            if exchange.state.license is not None:
                raise LicenseManagerError("OFFLINE_LICENSE", texts.NOTHING_TO_VALIDATE)
            if exchange.state.server_token is None:
                return self._finish_activation(exchange, fresh=False)
            return self._validate(exchange, [])

    def _validate(self, exchange: _Exchange, notes: list[str]) -> Outcome:
        """Validates with the present token. An unanswered activation does not matter until the vendor says that this
        token was superseded; then it is asked for again, but never turns this server into another installation."""
        state = exchange.state
        for note in notes:
            exchange.note(note)
        if state.server_token is None or state.private_key is None:
            raise NotActivated("NOT_ACTIVATED", texts.NOT_ACTIVATED_YET)
        fresh = not (state.pending and state.pending.get("kind") == "validation")
        if fresh or state.pending is None:
            state.pending = {"kind": "validation", "nonce": proof.new_nonce()}
        states.save(self.home, state)  # each time: what can't be written down must not be sent again and again
        nonce = str(state.pending["nonce"])
        told = self._told()
        body = {
            "fingerprint": dict(self.machine.fingerprint()),
            "app_version": told["app_version"],
            "agent_version": __version__,
            "hostname": self.machine.hostname(),
            "time_zone": self.machine.time_zone(),
            "databases": told["databases"],
            "usage": told["usage"],
            "nonce": nonce,
        }
        private_key, server_token = state.private_key, state.server_token
        installation = trust.peek_installation(server_token)

        def attempt(number: int) -> Outcome | None:
            _, document = self._post(number, "/v1/validations", body, exchange, private_key, server_token)
            if document.get("valid") is True:
                token = self._accept_token(exchange, document, number, nonce, private_key, installation)
                return self._success(exchange, document, token, number, fresh, private_key)
            verdict = self._accept_verdict(exchange, document, number, nonce, installation)
            if verdict.code == RELEASED and state.activation is not None:
                return None
            return self._refusal(exchange, document, verdict, number, fresh)

        outcome = self._round(attempt)
        if outcome is None:
            try:
                return self._finish_activation(exchange, fresh=False, installation=installation)
            except Refused:
                if state.activation is not None:
                    raise
            return self._validate(exchange, [])  # the activation came to nothing, so the no counts
        if outcome.ok and not fresh and _is_due(outcome, state):
            return self._validate(exchange, [texts.VALIDATED_AGAIN])
        return outcome

    # Deactivation

    def deactivate(self) -> str:
        """Gives the installation back and forgets it here; returns its name. Raises as `validate`."""
        with self._exchange("deactivate") as exchange:
            state = exchange.state
            _refuse_offline(state)
            if state.server_token and (state.activation or (state.pending and state.pending["kind"] == "validation")):
                # What was sent without an answer has moved the place in the cloud: settle it, or this token is too old.
                with suppress(Refused):
                    self._validate(exchange, [])
            if state.server_token is None or state.private_key is None:
                raise NotActivated("NOT_ACTIVATED", texts.NOT_ACTIVATED_YET)
            if not (state.pending and state.pending.get("kind") == "deactivation"):
                state.pending = {"kind": "deactivation", "nonce": proof.new_nonce()}
            states.save(self.home, state)
            body = {"nonce": state.pending["nonce"]}
            private_key, server_token = state.private_key, state.server_token
            name = installation_name(state)

            def attempt(number: int) -> None:
                _, document = self._post(number, "/v1/deactivations", body, exchange, private_key, server_token)
                if document.get("deactivated") is not True or document.get("nonce") != body["nonce"]:
                    raise Untrusted("WRONG_NONCE", texts.WRONG_NONCE)

            try:
                self._round(attempt)
            except Unreachable as error:
                raise self._needs_home(error) from error
            exchange.state = _given_up(state)
            states.save(self.home, exchange.state)
            self._log("deactivate", "ok", "DEACTIVATED", name, None, exchange.clock.now())
            return name

    # Without a network

    def offline_request(self, *, anew: bool = False) -> str:
        """The request that people carry to the portal. The same one each time until its license file is imported, unless a
        new one is asked for: the key that the license will be bound to exists here only."""
        with self._exchange("offline request", damaged_is_fine=True) as exchange:
            state = exchange.state
            if state.offline_request is None or anew:
                state.offline_request = offline.new_request(self.machine, self._told())
                states.save(self.home, state)
                self._log("offline request", "ok", "OK", "", None, exchange.clock.now())
            return str(state.offline_request["text"])

    def import_license(self, content: bytes) -> trust.License:
        """Takes a license file into use, if the vendor signed it for this machine and for the request made here. Importing
        the one in use again changes nothing.

        Raises Untrusted, NotActivated (`NO_OFFLINE_REQUEST`).
        """
        with self._exchange("offline import") as exchange:
            state = exchange.state
            license, key_set = self._read_license(state, content)
            if license.raw == state.license:
                return license
            if not fingerprint.matches(license.fingerprint, self.machine.fingerprint()):
                raise Untrusted("FINGERPRINT_MISMATCH", texts.LICENSE_OF_OTHER_MACHINE)
            request = state.offline_request
            if request is None:
                raise NotActivated("NO_OFFLINE_REQUEST", texts.NO_OFFLINE_REQUEST)
            if license.nonce != request["nonce"]:
                raise Untrusted("WRONG_NONCE", texts.LICENSE_OF_OTHER_REQUEST)
            if license.key_thumbprint != proof.key_thumbprint(request["private_key"]):
                raise Untrusted("INVALID_TOKEN", texts.WRONG_KEY_BINDING)
            self._require_not_older(state, license)
            if license.expires_at is not None and license.expires_at <= exchange.clock.now():
                ended = language.moment(license.expires_at, license.time_zone)
                raise Untrusted("EXPIRED", texts.LICENSE_FILE_OVER.format(expires=ended))
            exchange.clock.authenticated(float(license.issued_at), fresh=False)
            if self._profile_content is not None:
                self.home.write(PROFILE_FILE, self._profile_content)
            after = _given_up(state)
            after.remember(exchange.clock)
            after.license, after.private_key, after.offline_request = license.raw, request["private_key"], None
            after.key_set, after.key_set_fetched_at = key_set.raw, exchange.clock.now()
            after.floor = _floor(license)
            after.labels = _labels(
                {
                    "customer": {"name": license.names.get("customer"), "tax_id": license.names.get("tax_id")},
                    "installation": {
                        "installation_id": license.installation_id,
                        "name": license.names.get("installation"),
                        "mode": "offline",
                    },
                }
            )
            exchange.state = after
            states.save(self.home, after)
            self._log("offline import", "ok", "VALID", installation_name(after), None, exchange.clock.now())
            return license

    def _read_license(self, state: State, content: bytes) -> tuple[trust.License, trust.KeySet]:
        """A license file's license, by the newer of its key set and the one known here: a key may have been revoked."""
        raw, raw_key_set = offline.read_file(content)
        try:
            key_set = trust.read_key_set(raw_key_set, self.vendor.root_keys, self.vendor.issuer)
            with suppress(Untrusted):
                known = trust.read_key_set(state.key_set or "", self.vendor.root_keys, self.vendor.issuer)
                key_set = known if known.version > key_set.version else key_set
            return trust.read_license(raw, key_set, self.vendor.issuer), key_set
        except Untrusted as error:
            raise Untrusted(error.code, texts.LICENSE_NOT_TRUSTED.format(why=error)) from error

    def offline_deactivate(self) -> str:
        """Gives the license up, and returns the receipt that frees in the portal what it held; again: the same receipt.

        The license is gone from the disk before anybody sees the receipt, which is kept in its place. Raises NotActivated.
        """
        with self._exchange("offline deactivate") as exchange:
            state = exchange.state
            if state.license is not None and state.private_key is not None:
                text = offline.receipt(state.private_key, trust.peek(state.license), exchange.clock.now())
                name = installation_name(state)
                exchange.state = _given_up(state)
                exchange.state.receipt = {"installation": name, "text": text}
                states.save(self.home, exchange.state)
                self._log("offline deactivate", "ok", "DEACTIVATED", name, None, exchange.clock.now())
            if exchange.state.receipt is None:
                raise NotActivated("NO_OFFLINE_LICENSE", texts.NO_OFFLINE_LICENSE)
            return str(exchange.state.receipt["text"])

    # Probing

    def probe(self) -> list[Probe]:
        """Asks each site whether it is there, and finds out what is wrong if it is not (A6, B6)."""
        return [self._probe(number, site) for number, site in enumerate(self.vendor.sites, start=PRIMARY)]

    def _probe(self, number: int, site: str) -> Probe:
        try:
            reply = self.transport.call(site, "GET", "/v1/ping")
            document = reply.document()
            if reply.status != 200 or document is None or document.get("message") != "successfully connected":
                raise self._fault_of(reply, site)
            self._fetch_key_set(site)
            difference = self._clock_difference(document.get("server_time"))
            if difference is not None:
                raise SiteFault("CLOCK_OFF", difference)
            lowest = self._lowest_agent_version()
            if lowest is not None and older(__version__, lowest):
                raise SiteFault("AGENT_TOO_OLD", texts.AGENT_TOO_OLD.format(version=__version__, lowest=lowest))
        except LicenseManagerError as error:
            return Probe(number, site, error.code, error.detail)
        milliseconds = round(reply.seconds * 1000)
        region = plain(document.get("region") or "-", 40)
        sentence = texts.PROBE_OK.format(milliseconds=milliseconds, region=region)
        return Probe(number, site, "OK", sentence, milliseconds, region)

    def _lowest_agent_version(self) -> str | None:
        with suppress(LicenseManagerError):
            state = self.state()
            if state.server_token and state.key_set:
                key_set = trust.read_key_set(state.key_set, self.vendor.root_keys, self.vendor.issuer)
                return trust.read_server_token(state.server_token, key_set, self.vendor.issuer).lowest_agent_version
        return None

    def _clock_difference(self, server_time: object) -> str | None:
        try:
            theirs = datetime.fromisoformat(str(server_time)).timestamp()
        except (ValueError, OverflowError):
            return None
        return self._clock_note(theirs)

    def _clock_note(self, theirs: float) -> str | None:
        ahead = self.machine.wall() - theirs
        if abs(ahead) <= TOLERANCE:
            return None
        return (texts.CLOCK_AHEAD if ahead > 0 else texts.CLOCK_BEHIND).format(difference=span(abs(ahead)))

    # The exchange

    @contextmanager
    def _exchange(self, command: str, *, damaged_is_fine: bool = False) -> Iterator[_Exchange]:
        """Holds the home, gives the state, and writes down how it ended."""
        self.home.prepare()
        with self.home.locked(LOCK_TIMEOUT):
            try:
                state = usable(states.load(self.home))
            except StateDamaged as error:
                copy = states.set_damaged_aside(self.home, self.machine.wall())
                kept = texts.DAMAGED_KEPT.format(copy=copy)
                self._log(command, "failed", error.code, kept, None, self.machine.wall())
                if not damaged_is_fine:
                    raise StateDamaged(error.code, kept) from error
                state = State()
            exchange = _Exchange(state, self.clock(state))
            turned_back = exchange.clock.turned_back()
            if turned_back:
                exchange.note(texts.CLOCK_TURNED_BACK.format(difference=span(turned_back)))
                self._log(command, "warning", "CLOCK_TURNED_BACK", exchange.notes[-1], None, exchange.clock.now())
            try:
                yield exchange
            except LicenseManagerError as error:
                self._failed(command, exchange, error)
                raise

    def _failed(self, command: str, exchange: _Exchange, error: LicenseManagerError) -> None:
        state, now = exchange.state, exchange.clock.now()
        if not isinstance(error, NotActivated):
            state.remember(exchange.clock)
            if state.server_token is not None and command == "validate":
                state.last_attempt = {"at": now, "ok": False, "code": error.code, "detail": error.detail}
            states.save(self.home, state)
        self._log(command, "failed", error.code, error.detail, None, now)

    def _round(self, attempt: Callable[[int], _Result]) -> _Result:
        """Tries the chosen site, or Site 1 and then Site 2; what a site *answers* is not tried elsewhere (A6)."""
        faults: list[tuple[int, LicenseManagerError]] = []
        for number in self._site_order():
            try:
                return attempt(number)
            except (SiteFault, Untrusted) as error:
                faults.append((number, error))
        for _, fault in faults:
            if isinstance(fault, Untrusted):
                raise fault
        sentence = " ".join(texts.ONE_SITE_FAILED.format(number=number, fault=fault) for number, fault in faults)
        if len({fault.detail for _, fault in faults}) == 1:  # a proxy's fault is the same for both
            sentence = faults[0][1].detail
        waits = [fault.retry_after for _, fault in faults if isinstance(fault, SiteFault) and fault.retry_after]
        standby = any(number != PRIMARY and fault.code == "SITE_STANDBY" for number, fault in faults)
        code = "STANDBY" if standby else faults[0][1].code
        # A standby follows nothing; at Site 1 the same answer may come after the work was done.
        sent = any(
            fault.sent and not (number != PRIMARY and fault.code == "SITE_STANDBY")
            for number, fault in faults
            if isinstance(fault, SiteFault)
        )
        raise Unreachable(
            code, texts.ALL_SITES_FAILED.format(faults=sentence), min(waits) if waits else None, sent=sent
        )

    def _site_order(self) -> list[int]:
        if self.settings.site == "auto":
            return list(range(PRIMARY, len(self.vendor.sites) + PRIMARY))
        return [min(int(self.settings.site), len(self.vendor.sites))]

    def _post(
        self,
        number: int,
        path: str,
        document: Mapping[str, Any],
        exchange: _Exchange,
        private_key: str | None,
        token: str | None,
    ) -> tuple[int, dict[str, Any]]:
        """Sends one request with a proof of its own; a clock that is off is corrected once by the site's time."""
        site = self.vendor.sites[number - PRIMARY]
        in_body = token is not None and len(token) > HEADER_TOKEN
        sent = {**document, "server_token": token} if in_body else document
        body = json.dumps(sent, separators=(",", ":")).encode()
        for corrected in (False, True):
            headers = {}
            if private_key is not None:
                headers["dpop"] = proof.proof(
                    private_key,
                    method="POST",
                    url=site + path,
                    body=body,
                    token=token,
                    now=self.machine.wall() + exchange.skew,
                )
            if token is not None and not in_body:
                headers["authorization"] = f"Bearer {token}"
            reply = self.transport.call(site, "POST", path, body, headers)
            answer = reply.document()
            if reply.status in {200, 201, 202} and answer is not None:
                return reply.status, answer
            refusal = reply.problem
            if not corrected and refusal is not None and refusal["code"] == "CLOCK_SKEWED":
                with suppress(ValueError, OverflowError):
                    theirs = datetime.fromisoformat(str(refusal.get("server_time"))).timestamp()
                    exchange.skew = theirs - self.machine.wall()
                    if sentence := self._clock_note(theirs):
                        exchange.note(sentence)
                    continue
            break
        raise self._fault_of(reply, site)

    def _fault_of(self, reply: Reply, site: str) -> LicenseManagerError:
        """A refusal that the API stands behind, or a fault of what lies between."""
        document, host = reply.problem, urlsplit(site).netloc
        if reply.status == 429 and reply.document() is not None:  # also by the gateway in front of the API
            seconds = reply.retry_after
            later = texts.TOO_MANY_REQUESTS_LATER.format(host=host)
            sentence = texts.TOO_MANY_REQUESTS(round(seconds), host=host) if seconds else later
            return Refused("TOO_MANY_REQUESTS", sentence, status=429, retry_after=seconds)
        if document is None or reply.status < 400:
            return unexpected_answer(reply, site, self.transport.proxy_for(site))
        code, detail = document["code"], plain(document.get("detail") or "")
        if reply.status == 503 and code == "TEMPORARILY_UNAVAILABLE" and detail:
            return SiteFault("SITE_STANDBY", texts.SITE_STANDBY.format(host=host, detail=detail), reply.retry_after)
        if reply.status >= 500:
            return SiteFault(
                "SITE_TROUBLE", texts.SITE_TROUBLE.format(host=host, status=reply.status), reply.retry_after
            )
        wrong = [
            texts.WRONG_FIELD.format(field=plain(item.get("pointer") or "?", 100), why=plain(item.get("detail") or ""))
            for item in _objects(document.get("errors"))[:5]
        ]
        if wrong:
            detail = " ".join([detail, *wrong])
        return Refused(
            plain(code, 64),
            detail or texts.REFUSED_PLAIN.format(code=plain(code, 64), status=reply.status),
            status=reply.status,
            members=document,
            retry_after=reply.retry_after,
        )

    # Trust

    def _fetch_key_set(self, site: str) -> trust.KeySet:
        """The site's key set, if the pinned root signed it. Raises SiteFault, Refused, Untrusted."""
        reply = self.transport.call(site, "GET", "/v1/keyset")
        if reply.status != 200 or reply.content_type in {"text/html", ""}:
            raise self._fault_of(reply, site)
        raw = reply.body.decode("ascii", errors="replace").strip()
        try:
            return trust.read_key_set(raw, self.vendor.root_keys, self.vendor.issuer)
        except Untrusted as error:
            host = urlsplit(site).netloc
            if reply.issuer is None:
                raise Untrusted(error.code, texts.NOT_SIGNED_BY_VENDOR.format(host=host)) from error
            raise Untrusted("TLS_INTERCEPTED", texts.INTERCEPTED.format(host=host, issuer=reply.issuer)) from error

    def _key_set(self, exchange: _Exchange, number: int, kid: str | None) -> trust.KeySet:
        """The key set to verify by: the known one, unless it is a day old or does not know the key."""
        state, known = exchange.state, None
        with suppress(Untrusted):
            if state.key_set is not None:
                known = trust.read_key_set(state.key_set, self.vendor.root_keys, self.vendor.issuer)
        knows = known is not None and (kid in known.keys or kid in known.revoked)
        now = exchange.clock.now()
        if known is not None and knows and 0 <= now - state.key_set_fetched_at < KEY_SET_LIFE:
            return known
        try:
            offered = self._fetch_key_set(self.vendor.sites[number - PRIMARY])
        except (SiteFault, Refused) as error:
            if known is not None and knows:
                return known
            # What was answered by this key has arrived: it must neither count as never sent nor as refused.
            raise SiteFault(error.code, error.detail, error.retry_after) from error
        if known is not None and offered.version < known.version:
            if knows:
                return known
            raise Untrusted("KEY_SET_OLDER", texts.KEY_SET_OLDER.format(offered=offered.version, known=known.version))
        state.key_set, state.key_set_fetched_at = offered.raw, now
        states.save(self.home, state)
        return offered

    def _accept_token(
        self,
        exchange: _Exchange,
        document: Mapping[str, Any],
        number: int,
        nonce: str,
        private_key: str,
        installation_id: str | None,
    ) -> trust.ServerToken:
        raw = document.get("server_token")
        if not isinstance(raw, str):
            raise Untrusted("INVALID_TOKEN", texts.TOKEN_INVALID)
        key_set = self._key_set(exchange, number, trust.kid_of(raw))
        token = trust.read_server_token(raw, key_set, self.vendor.issuer)
        self._require_expected(exchange.state, token, nonce, installation_id)
        if token.key_thumbprint != proof.key_thumbprint(private_key):
            raise Untrusted("INVALID_TOKEN", texts.WRONG_KEY_BINDING)
        return token

    @staticmethod
    def _require_expected(state: State, signed: trust.Signed, nonce: str, installation_id: str | None) -> None:
        if signed.nonce != nonce:
            raise Untrusted("WRONG_NONCE", texts.WRONG_NONCE)
        if installation_id is not None and signed.installation_id != installation_id:
            raise Untrusted("WRONG_INSTALLATION", texts.WRONG_INSTALLATION)
        Manager._require_not_older(state, signed)
        if signed.expires_at <= signed.issued_at:
            raise Untrusted("INVALID_TOKEN", texts.ALREADY_EXPIRED)

    @staticmethod
    def _require_not_older(state: State, signed: trust.Signed | trust.License) -> None:
        floor = state.floor
        if (
            floor is not None
            and floor.get("installation_id") == signed.installation_id
            and signed.sequence < (floor.get("generation", 0), floor.get("sequence", 0))
        ):
            raise Untrusted("OLDER_SEQUENCE", texts.OLDER_SEQUENCE)

    def _success(
        self,
        exchange: _Exchange,
        document: Mapping[str, Any],
        token: trust.ServerToken,
        number: int,
        fresh: bool,
        private_key: str,
    ) -> Outcome:
        state = exchange.state
        self._settle(exchange, token, fresh)
        first = document.get("first_validation") is True
        if number == PRIMARY:
            state.activation = None  # Site 1 never had it, or this token would be superseded
        state.private_key = private_key
        state.server_token, state.verdict = token.raw, None
        state.labels = _labels(document)
        state.next_validation_at = float(token.next_validation_at)
        state.site_used = number
        detail = plain(document.get("detail") or "") or (texts.ACTIVATED if first else texts.COMPLETED)
        state.last_attempt = {"at": float(token.issued_at), "ok": True, "code": "VALID", "detail": detail}
        states.save(self.home, state)
        command = "activate" if first else "validate"
        self._log(command, "ok", "VALID", detail, number, float(token.issued_at), _retention(state))
        messages = tuple(message["detail"] for message in state.labels["messages"] if message["detail"])
        return Outcome(True, "VALID", detail, number, first, False, messages, tuple(exchange.notes))

    def _accept_verdict(
        self,
        exchange: _Exchange,
        document: Mapping[str, Any],
        number: int,
        nonce: str,
        installation_id: str | None,
    ) -> trust.Verdict:
        raw = document.get("verdict")
        if not isinstance(raw, str):
            raise Untrusted("INVALID_TOKEN", texts.TOKEN_INVALID)
        verdict = trust.read_verdict(raw, self._key_set(exchange, number, trust.kid_of(raw)), self.vendor.issuer)
        self._require_expected(exchange.state, verdict, nonce, installation_id)
        return verdict

    def _refusal(
        self, exchange: _Exchange, document: Mapping[str, Any], verdict: trust.Verdict, number: int, fresh: bool
    ) -> Outcome:
        state = exchange.state
        self._settle(exchange, verdict, fresh)
        detail = plain(document.get("detail") or "") or verdict.code
        state.verdict, state.site_used = verdict.raw, number
        state.next_validation_at = self._asked_to_return(document, verdict.issued_at)
        at = float(verdict.issued_at)
        state.last_attempt = {"at": at, "ok": False, "code": verdict.code, "detail": detail}
        states.save(self.home, state)
        self._log("validate", "refused", verdict.code, detail, number, at, _retention(state))
        messages = tuple(message["detail"] for message in _labels(document)["messages"] if message["detail"])
        return Outcome(False, verdict.code, detail, number, False, verdict.final, messages, tuple(exchange.notes))

    def _settle(self, exchange: _Exchange, signed: trust.Signed, fresh: bool) -> None:
        """A signed answer consumes the nonce, raises the floor and tells the time."""
        state = exchange.state
        if fresh:
            note = self._clock_note(signed.issued_at)
            if note:
                exchange.note(note)
        exchange.clock.authenticated(float(signed.issued_at), fresh=fresh)
        state.remember(exchange.clock)
        state.pending = None
        state.answered_at = float(signed.issued_at)
        state.floor = _floor(signed)

    @staticmethod
    def _asked_to_return(document: Mapping[str, Any], issued_at: float) -> float:
        """When to ask again after a no: as asked, which is not signed, but within a minute and a day and an hour."""
        wanted = issued_at + 86400
        with suppress(ValueError, OverflowError):
            wanted = datetime.fromisoformat(str(document.get("next_validation_at"))).timestamp()
        return max(issued_at + 60, min(issued_at + 25 * 3600, wanted))

    # Small things

    def _told(self) -> dict[str, Any]:
        """What the product reported, and the administrator's settings where it reported nothing."""
        told = reporting.read(self.home)
        return {
            "app_version": told.get("app_version") or self.settings.app_version,
            "databases": told.get("databases") or list(self.settings.databases),
            "usage": told.get("usage") or {},
        }

    def _log(
        self,
        command: str,
        result: str,
        code: str,
        detail: str,
        site: int | None,
        now: float,
        retention_days: int | None = None,
    ) -> None:
        journal.append(
            self.home,
            now=now,
            command=command,
            result=result,
            code=code,
            detail=detail,
            site=site,
            retention_days=retention_days,
        )


def installation_name(state: State) -> str:
    """The installation's name for a person, or its id, or a dash."""
    name = (state.labels.get("installation") or {}).get("name")
    return name or (trust.peek_installation(state.token) if state.token else None) or "-"


def older(version: str, than: str) -> bool:
    """Whether a dotted version is lower than another; parts that are no numbers count as 0."""

    def numbers(text: str) -> list[int]:
        parts = [int(part) if part.isascii() and part.isdigit() else 0 for part in text.split(".")]
        return parts + [0] * (4 - len(parts))

    return numbers(version) < numbers(than)


def span(seconds: float) -> str:
    """A difference of time in words: `7 minutes`, `3 hours`, `2 days`."""
    for counted, size in ((texts.DAYS, 86400), (texts.HOURS, 3600), (texts.MINUTES, 60)):
        if seconds >= size:
            return counted(round(seconds / size))
    return texts.SECONDS(round(seconds))


def _refuse_offline(state: State) -> None:
    """What a license file holds is held in the portal until there is a receipt: it must not be overwritten here."""
    if state.license is not None:
        raise LicenseManagerError("OFFLINE_LICENSE", texts.DEACTIVATE_OFFLINE_FIRST)


def _given_up(state: State) -> State:
    """The state without what this server was licensed by."""
    return State(
        offline_request=state.offline_request,
        receipt=state.receipt,
        key_set=state.key_set,
        key_set_fetched_at=state.key_set_fetched_at,
        floor=state.floor,
        high_water=state.high_water,
        anchor=state.anchor,
    )


def _floor(signed: trust.Signed | trust.License) -> dict[str, Any]:
    generation, sequence = signed.sequence
    return {"installation_id": signed.installation_id, "generation": generation, "sequence": sequence}


def _is_due(outcome: Outcome, state: State) -> bool:
    """Whether the answer was so old that the next validation it names has come by the site's own clock."""
    return outcome.ok and state.next_validation_at is not None and state.next_validation_at <= state.labels["at"]


def _retention(state: State) -> int:
    return int(state.labels.get("log_retention_days") or journal.DEFAULT_RETENTION_DAYS)


def usable(state: State) -> State:
    """The same state, if its keys are keys. Raises StateDamaged."""
    try:
        if state.private_key is not None:
            proof.public_jwk(state.private_key)
        if state.activation is not None:
            proof.public_jwk(state.activation["private_key"])
        if state.offline_request is not None:
            proof.public_jwk(state.offline_request["private_key"])
    except ValueError as error:
        raise StateDamaged("STATE_DAMAGED", texts.STATE_DAMAGED) from error
    return state


def _labels(document: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer says for people, with everything cut to a shape and a size; it decides nothing."""
    customer, installation = _object(document.get("customer")), _object(document.get("installation"))
    days = document.get("log_retention_days")
    server_time = 0.0
    with suppress(ValueError, OverflowError):
        server_time = datetime.fromisoformat(str(document.get("server_time"))).timestamp()
    return {
        "at": server_time if states.is_time(server_time) else 0.0,
        "customer": {name: plain(customer.get(name) or "", 200) for name in ("name", "tax_id")},
        "installation": {
            name: plain(installation.get(name) or "", 200) for name in ("installation_id", "name", "mode")
        },
        "databases": [
            {name: plain(database.get(name) or "", 128) for name in ("name", "activated_at")}
            for database in _objects(document.get("databases"))
        ],
        "messages": [
            {"code": plain(message.get("code") or "", 64), "detail": plain(message.get("detail") or "")}
            for message in _objects(document.get("messages"))
        ],
        "log_retention_days": days if isinstance(days, int) and 1 <= days <= 36500 else None,
    }


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)][:200] if isinstance(value, list) else []


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value or len(value) > 4096:
        raise Untrusted("OTHER_CONTENT", texts.TOKEN_INVALID)
    return value


def _ticket(document: Mapping[str, Any]) -> Ticket:
    installations = tuple(
        Installation(
            _text(installation, "installation_id"),
            plain(_text(installation, "name"), 200),
            plain(installation.get("status") or "", 40),
        )
        for installation in _objects(document.get("installations"))
    )
    return Ticket(
        _text(document, "ticket"), plain(_object(document.get("customer")).get("name") or "", 200), installations
    )
