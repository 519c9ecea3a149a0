"""The whole cloud in this process, and a server that talks to it over HTTP."""

import base64
import hashlib
import json
import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from licensing.rules.operations import Origin

from infra.local.aws import LOCK
from infra.local.queues import QueueSource
from infra.local.stack import PRIMARY, Stack

TAX_ID = "IT00743110157"
#: Who makes the changes that tests make beside the API.
VENDOR = Origin("vendor", "cloud-licensing", "tests")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def component(value: str) -> str:
    return b64(hashlib.sha256(value.encode()).digest())


def new_nonce() -> str:
    return secrets.token_urlsafe(16)


@dataclass
class Cloud:
    """The stack, with what tests ask of it."""

    stack: Stack
    http: httpx.Client

    @property
    def now(self) -> datetime:
        return self.stack.clock().replace(microsecond=0)

    def set_time(self, moment: str) -> None:
        self.stack.clock.set(datetime.fromisoformat(moment).astimezone(UTC))

    def token_of(self, installation: str) -> str:
        return next(token for _, name, token in self.stack.activation_tokens if name == installation)

    def post(self, path: str, body: Any, site: int = 0, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return self.http.post(self.stack.sites[site].url + path, content=content, headers=named)

    def get(self, path: str, site: int = 0) -> httpx.Response:
        return self.http.get(self.stack.sites[site].url + path)

    def work_off_queue(self) -> int:
        """Hand the queued messages to their function, without waiting for delay or visibility; returns how many."""
        with LOCK:
            waiting = self.stack.aws.hurry_queues()
            queues = [each for each in self.stack.queues.sources if isinstance(each, QueueSource)]
            return sum(source.poll() for source in queues if source.queue in waiting)

    def work_off_streams(self) -> int:
        """Hand what the tables' streams tell to their functions; returns how many records were done with."""
        done = sum(done for stream in self.stack.streams for done in iter(stream.poll, 0))
        os.environ.update(PRIMARY.environment)  # where what a test calls itself takes place
        return done

    def mailed_code(self) -> str:
        """The newest code in the outbox, once the queue has been worked off."""
        while self.work_off_queue():
            pass
        newest = self.get("/local/outbox").json()["items"][0]
        return str(newest["subject"].split()[0])


@dataclass
class Server:
    """A customer's server: what the License Manager does on the wire, and nothing else."""

    cloud: Cloud
    key: ec.EllipticCurvePrivateKey | None = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    machine: str = "a"
    token: str = ""
    report: dict[str, Any] = field(default_factory=dict)
    site: int = 0
    proof_seconds: int = 0

    def fingerprint(self) -> dict[str, str]:
        return {name: component(f"{self.machine}/{name}") for name in ("machine_id", "mac", "cpu", "disk", "product")}

    @property
    def jwk(self) -> dict[str, str]:
        assert self.key
        jwk = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {name: jwk[name] for name in ("kty", "crv", "x", "y")}

    def body(self, nonce: str | None = None, **changes: Any) -> dict[str, Any]:
        return {
            "fingerprint": self.fingerprint(),
            "hostname": f"host-{self.machine}",
            "time_zone": "Europe/Rome",
            "app_version": None,
            "agent_version": "1.0.0",
            "databases": [],
            "nonce": nonce or new_nonce(),
            **self.report,
            **changes,
        }

    def proof(self, path: str, content: bytes, **claims: Any) -> str:
        assert self.key
        made = {
            "jti": secrets.token_urlsafe(12),
            "htm": "POST",
            "htu": self.cloud.stack.sites[self.site].url + path,
            "iat": int(self.cloud.now.timestamp()) + self.proof_seconds,
            "bh": b64(hashlib.sha256(content).digest()),
            **({"ath": b64(hashlib.sha256(self.token.encode()).digest())} if self.token else {}),
            **claims,
        }
        return jwt.encode(made, self.key, "ES256", {"typ": "dpop+jwt", "jwk": self.jwk})

    def call(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        content = json.dumps(body).encode()
        if self.key:
            headers.setdefault("dpop", self.proof(path, content))
        if self.token:
            headers.setdefault("authorization", f"Bearer {self.token}")
        sent = {name: value for name, value in headers.items() if value}
        return self.cloud.post(path, content, self.site, **sent)

    def activate(self, activation_token: str, **changes: Any) -> httpx.Response:
        self.token = ""
        key = {"public_key": self.jwk} if self.key else {}
        body = {"activation_token": activation_token, **self.body(), **key, **changes}
        return self.took(self.call("/v1/activations", body))

    def validate(self, nonce: str | None = None, **changes: Any) -> httpx.Response:
        return self.took(self.call("/v1/validations", self.body(nonce, **changes)))

    def deactivate(self) -> httpx.Response:
        return self.call("/v1/deactivations", {"nonce": new_nonce()})

    def offline_request(self, nonce: str | None = None, **claims: Any) -> str:
        """The request file of a server without a network."""
        assert self.key
        report = self.body(nonce)
        made = {name: report[name] for name in ("hostname", "app_version", "agent_version", "databases", "nonce")}
        made |= {"fp": report["fingerprint"], "tz": report["time_zone"], "jti": secrets.token_urlsafe(12), "iat": 1}
        return jwt.encode(made | claims, self.key, "ES256", {"typ": "offline-request+jwt", "jwk": self.jwk})

    def receipt(self, license: str, /, **claims: Any) -> str:
        """The deactivation receipt for a license."""
        assert self.key
        said = jwt.decode(license, options={"verify_signature": False})
        made = {
            "iss": said["sub"],
            "gen": said["gen"],
            "license": said["jti"],
            "jti": secrets.token_urlsafe(12),
            "iat": 1,
        }
        return jwt.encode(made | claims, self.key, "ES256", {"typ": "deactivation+jwt"})

    def took(self, response: httpx.Response) -> httpx.Response:
        if response.is_success and response.json().get("valid"):
            self.token = response.json()["server_token"]
        return response

    @property
    def claims(self) -> dict[str, Any]:
        return jwt.decode(self.token, options={"verify_signature": False})


def problem(response: Any) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == response.status_code
    assert body["detail"]
    return response.status_code, body["code"]
