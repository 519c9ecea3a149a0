"""A small honest cloud in memory: it checks proofs, counts sequences, signs with PyJWT, and can be told to misbehave."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ISSUER = "https://licensing.aurora.example"
SITES = ("https://site1.aurora.example", "https://site2.aurora.example")
NOON = datetime(2026, 11, 22, 11, 0, tzinfo=UTC).timestamp()  # noon in Rome


def b64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def thumbprint(jwk: dict[str, Any]) -> str:
    canonical = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return b64url(sha256(canonical.encode()).digest())


def rfc3339(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Key:
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def jwk(self) -> dict[str, Any]:
        full = json.loads(ECAlgorithm.to_jwk(self.private.public_key()))
        jwk = {name: full[name] for name in ("kty", "crv", "x", "y")}
        return {**jwk, "alg": "ES256", "kid": thumbprint(jwk)}

    @property
    def kid(self) -> str:
        return str(self.jwk["kid"])

    def sign(self, claims: dict[str, Any], typ: str, **header: Any) -> str:
        headers = {"typ": typ, "kid": self.kid, **header}
        # PyJWS, because a liar may also sign what PyJWT would not let through.
        return jwt.PyJWS().encode(json.dumps(claims).encode(), self.private, algorithm="ES256", headers=headers)


@dataclass
class Server:
    """What the cloud remembers of one installation."""

    installation_id: str
    name: str
    status: str = "available"
    gen: int = 0
    seq: int = 0
    jkt: str | None = None
    fingerprint: dict[str, str] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    activation_nonce: str = ""
    validated: bool = False


Intruder = Callable[[int, httpx.Request], httpx.Response | None]


class FakeCloud:
    def __init__(self) -> None:
        self.now = NOON
        self.time_zone = "Europe/Rome"
        self.root = Key()
        self.signer = Key()
        self.file_signer = Key()
        self.published = [self.signer]
        self.revoked: list[str] = []
        self.key_set_version = 1
        self.servers = {"ins_1": Server("ins_1", "Milano"), "ins_2": Server("ins_2", "Bergamo")}
        self.tokens = {"AT-MILANO": "ins_1", "AT-BERGAMO": "ins_2"}
        self.tickets: dict[str, list[str]] = {}
        self.code = "123456"
        self.tries = 5
        self.open_window = False
        self.no: tuple[str, bool] | None = None
        self.messages: list[dict[str, Any]] = []
        self.home_site_only = True
        self.log_retention_days: int | None = 365
        self.entitlements: list[dict[str, Any]] = [
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
                "modules": ["supervisor-dashboard"],
                "cloud_services": True,
                "pool_id": None,
                "starts_at": None,
                "ends_at": "2027-03-31T22:00:00Z",
            }
        ]
        self.down: dict[int, Callable[[httpx.Request], Exception]] = {}
        self.lose_answers = 0
        self.intruder: Intruder | None = None
        self.requests: list[tuple[int, httpx.Request]] = []

    # What tests look at and turn

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._serve)

    def profile(self) -> dict[str, Any]:
        return {
            "vendor": "Aurora Communications",
            "issuer": ISSUER,
            "sites": list(SITES),
            "root_keys": [self.root.jwk],
            "contact": {"name": "License desk", "email": "licenses@aurora.example", "phone": None, "url": None},
            "portal_url": "https://licensing.aurora.example",
        }

    def posts(self, path: str) -> list[tuple[int, dict[str, Any]]]:
        """The bodies posted to a path, each with the number of the site."""
        return [
            (site, json.loads(request.content))
            for site, request in self.requests
            if request.method == "POST" and request.url.path == path
        ]

    def refuse_connection(self, site: int) -> None:
        def fail(request: httpx.Request) -> Exception:
            error = httpx.ConnectError("[Errno 111] Connection refused", request=request)
            error.__cause__ = ConnectionRefusedError(111, "Connection refused")
            return error

        self.down[site] = fail

    def key_set(self, root: Key | None = None, **changes: Any) -> str:
        claims = {
            "iss": ISSUER,
            "version": self.key_set_version,
            "iat": int(self.now),
            "keys": [
                *({**key.jwk, "use": "server"} for key in self.published),
                {**self.file_signer.jwk, "use": "file"},
            ],
            "revoked": self.revoked,
            **changes,
        }
        return (root or self.root).sign(claims, "keys+jwt")

    def token_claims(self, server: Server, nonce: str) -> dict[str, Any]:
        where = ZoneInfo(self.time_zone)
        today = datetime.fromtimestamp(self.now, where).date()
        midnight = datetime.combine(today + timedelta(days=11), datetime.min.time(), where)
        tomorrow = datetime.combine(today + timedelta(days=1), datetime.min.time(), where) + timedelta(hours=12)
        return {
            "iss": ISSUER,
            "aud": "licensing",
            "sub": server.installation_id,
            "cus": "cus_1",
            "gen": server.gen,
            "seq": server.seq,
            "jti": f"jti-{server.gen}-{server.seq}",
            "iat": int(self.now),
            "nbf": int(self.now),
            "exp": int(midnight.timestamp()),
            "nonce": nonce,
            "cnf": {"jkt": server.jkt},
            "fp": server.fingerprint,
            "mode": "online",
            "tz": self.time_zone,
            "nxt": int(tomorrow.timestamp()),
            "min": {"agent_version": None, "app_version": None},
            "ent": [_sparse(entitlement) for entitlement in self.entitlements],
        }

    def license_file(self, request: str, signer: Key | None = None, **changes: Any) -> bytes:
        """The license file for a request file, as the portal gives it."""
        shown = jwt.get_unverified_header(request)["jwk"]
        asked = jwt.decode(request, jwt.PyJWK(shown, "ES256"), algorithms=["ES256"], options={"verify_iat": False})
        server = self.servers["ins_1"]
        server.gen += 1
        claims = self.token_claims(server, asked["nonce"])
        for name in ("exp", "nxt", "min"):
            del claims[name]
        claims |= {
            "cnf": {"jkt": thumbprint(shown)},
            "fp": asked["fp"],
            "mode": "offline",
            "names": {"customer": "Officine Lombarde S.p.A.", "tax_id": "IT00743110157", "installation": "Milano"},
            **changes,
        }
        license = (signer or self.file_signer).sign(claims, "license+jwt")
        return json.dumps({"license": license, "keyset": self.key_set()}, indent=1).encode()

    # The API

    def _serve(self, request: httpx.Request) -> httpx.Response:
        number = SITES.index(f"{request.url.scheme}://{request.url.host}") + 1
        self.requests.append((number, request))
        if number in self.down:
            raise self.down[number](request)
        if self.intruder is not None:
            answer = self.intruder(number, request)
            if answer is not None:
                return answer
        response = self._route(number, request)
        if request.method == "POST" and self.lose_answers > 0:
            self.lose_answers -= 1
            raise httpx.ReadError("connection reset", request=request)
        return response

    def _route(self, number: int, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/v1/ping":
            region = "eu-south-1" if number == 1 else "eu-west-1"
            return httpx.Response(
                200,
                json={"message": "successfully connected", "site": "primary", "region": region}
                | {"server_time": rfc3339(self.now)},
            )
        if path == "/v1/keyset":
            return httpx.Response(200, text=self.key_set(), headers={"content-type": "application/jose"})
        body = json.loads(request.content)
        if path != "/v1/validations" and self.home_site_only and number != 1:
            return problem(503, "TEMPORARILY_UNAVAILABLE", "Site 2 serves validations only.", retry_after=60)
        if path == "/v1/activation-requests":
            if body["tax_id"] != "IT00743110157":
                return problem(422, "TAX_ID_INVALID", "The check digits of this tax id are wrong.")
            if self.open_window:
                return self._ticket()
            return httpx.Response(202, json={"request_id": "req_1", "delivery": "email", "expires_in": 600})
        if path == "/v1/activation-requests/req_1/verify":
            if body["code"] != self.code:
                self.tries -= 1
                if self.tries <= 0:
                    return problem(410, "CODE_EXPIRED", "This code can't be used any more.")
                return problem(403, "CODE_WRONG", "The code is wrong.", tries_left=self.tries)
            return self._ticket()
        if path == "/v1/activations":
            return self._activate(request, body)
        if path == "/v1/validations":
            return self._validate(request, body)
        if path == "/v1/deactivations":
            return self._deactivate(request, body)
        return problem(404, "NOT_FOUND", "There is nothing here.")

    def _ticket(self) -> httpx.Response:
        ticket = f"ticket-{len(self.tickets) + 1}"
        self.tickets[ticket] = list(self.servers)
        rows = [
            {"installation_id": server.installation_id, "name": server.name, "status": server.status}
            for server in self.servers.values()
        ]
        customer = {"name": "Officine Lombarde S.p.A.", "tax_id": "IT00743110157"}
        return httpx.Response(200, json={"ticket": ticket, "customer": customer, "installations": rows})

    def _activate(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        if "activation_token" in body:
            wanted = self.tokens.get(body["activation_token"])
            if wanted is None:
                return problem(403, "ACTIVATION_TOKEN_INVALID", "This activation token is not known.")
        else:
            if body["ticket"] not in self.tickets:
                return problem(403, "TICKET_INVALID", "This ticket is not good any more.")
            wanted = body["installation_id"]
        trouble = self._proof_trouble(request, None, None)
        if trouble is not None:
            return trouble
        server = self.servers[wanted]
        repeats = server.status == "active" and body["nonce"] == server.activation_nonce
        if repeats and server.seq == 0 and server.jkt == thumbprint(body["public_key"]):
            return httpx.Response(201, json=server.answers[body["nonce"]])
        if repeats or (server.status == "active" and server.fingerprint != body["fingerprint"]):
            return problem(
                409, "INSTALLATION_TAKEN", "Another server holds this installation. Release it in the portal."
            )
        server.status, server.gen, server.seq = "active", server.gen + 1, 0
        server.jkt, server.fingerprint, server.answers = thumbprint(body["public_key"]), body["fingerprint"], {}
        server.activation_nonce = body["nonce"]
        answer = self._yes(server, body, first=True)
        return httpx.Response(201, json=answer)

    def _caller(self, request: httpx.Request, body: dict[str, Any]) -> tuple[dict[str, Any], httpx.Response | None]:
        raw = _token_of(request, body)
        claims = jwt.decode(raw, options={"verify_signature": False})
        return claims, self._proof_trouble(request, raw, claims["cnf"]["jkt"])

    def _validate(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        claims, trouble = self._caller(request, body)
        if trouble is not None:
            return trouble
        server = self.servers[claims["sub"]]
        if body["nonce"] in server.answers:
            return httpx.Response(200, json=server.answers[body["nonce"]])
        no = self.no
        if server.status != "active" or claims["gen"] < server.gen:
            no = ("INSTALLATION_RELEASED", True)
        elif claims["seq"] != server.seq:
            return problem(401, "INVALID_TOKEN", "This token is not the latest.")
        if no is not None:
            code, final = no
            signed = {
                name: self.token_claims(server, body["nonce"])[name]
                for name in ("iss", "aud", "sub", "cus", "jti", "iat", "nbf", "nonce")
            }
            signed |= {
                "gen": claims["gen"],
                "seq": claims["seq"],
                "code": code,
                "final": final,
                "exp": int(self.now) + 86400,
            }
            return httpx.Response(
                200,
                json={
                    "valid": False,
                    "code": code,
                    "final": final,
                    "detail": f"Refused: {code}.",
                    "verdict": self.signer.sign(signed, "verdict+jwt"),
                    "nonce": body["nonce"],
                    "server_time": rfc3339(self.now),
                    "next_validation_at": rfc3339(self.now + 86400),
                    "entitlements": [],
                },
            )
        server.seq += 1
        return httpx.Response(200, json=self._yes(server, body, first=False))

    def _deactivate(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        claims, trouble = self._caller(request, body)
        if trouble is not None:
            return trouble
        server = self.servers[claims["sub"]]
        if server.status == "active" and claims["gen"] == server.gen:
            if claims["seq"] < server.seq:
                return problem(403, "CLONE_SUSPECTED", "This server's state is older. Validate it first.")
            server.status = "available"
        installation = {"installation_id": server.installation_id, "name": server.name}
        return httpx.Response(200, json={"deactivated": True, "installation": installation, "nonce": body["nonce"]})

    def _yes(self, server: Server, body: dict[str, Any], first: bool) -> dict[str, Any]:
        claims = self.token_claims(server, body["nonce"])
        answer = {
            "valid": True,
            "code": "VALID",
            "final": False,
            "detail": "First validation" if first else "Operation completed",
            "first_validation": first,
            "server_token": self.signer.sign(claims, "server+jwt"),
            "next_validation_at": rfc3339(claims["nxt"]),
            "validate_before": rfc3339(claims["exp"]),
            "server_time": rfc3339(self.now),
            "nonce": body["nonce"],
            "customer": {"name": "Officine Lombarde S.p.A.", "tax_id": "IT00743110157"},
            "installation": {"installation_id": server.installation_id, "name": server.name, "mode": "online"},
            "databases": [{"name": name, "activated_at": rfc3339(NOON)} for name in body["databases"]],
            "log_retention_days": self.log_retention_days,
            "entitlements": self.entitlements,
            "messages": self.messages,
        }
        server.answers[body["nonce"]] = answer
        return answer

    def _proof_trouble(self, request: httpx.Request, token: str | None, jkt: str | None) -> httpx.Response | None:
        """Checks a proof as RFC 9449 says, with `bh`."""
        raw = request.headers["dpop"]
        header = jwt.get_unverified_header(raw)
        assert header["typ"] == "dpop+jwt"
        claims = jwt.decode(raw, jwt.PyJWK(header["jwk"], "ES256"), algorithms=["ES256"], options={"verify_iat": False})
        assert claims["htm"] == request.method
        assert claims["htu"] == str(request.url)
        assert claims["bh"] == b64url(sha256(request.content).digest())
        if token is not None:
            assert claims["ath"] == b64url(sha256(token.encode()).digest())
            if thumbprint(header["jwk"]) != jkt:
                return problem(401, "INVALID_PROOF", "The proof was made with another key.")
        if abs(claims["iat"] - self.now) > 300:
            return problem(401, "CLOCK_SKEWED", "The clock is off.", server_time=rfc3339(self.now))
        return None


def problem(status: int, code: str, detail: str, retry_after: int | None = None, **members: Any) -> httpx.Response:
    headers = {"content-type": "application/problem+json"}
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    document = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code, **members}
    return httpx.Response(status, content=json.dumps(document).encode(), headers=headers)


def _sparse(entitlement: dict[str, Any]) -> dict[str, Any]:
    """An entitlement as a token holds it: what does not apply is left out."""
    left_out = {"first_day", "starts_at"} if entitlement.get("starts_at") is None else {"first_day"}
    return {
        name: value
        for name, value in entitlement.items()
        if name not in left_out and value is not None and value is not False and value != []
    }


def _token_of(request: httpx.Request, body: dict[str, Any]) -> str:
    """As API Gateway has it: no more than 10,240 bytes of request line and headers."""
    assert sum(len(value) for value in request.headers.values()) < 10_000
    sent = str(body.get("server_token") or request.headers["authorization"].removeprefix("Bearer "))
    assert ("server_token" in body) != ("authorization" in request.headers)
    return sent
