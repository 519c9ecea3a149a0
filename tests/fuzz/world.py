"""What the cases meet: the demo data, one of each thing that a path or a body can name, and credentials for all of it."""

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import requests
from licensing import loading
from licensing.store import accounts, people
from licensing.store.people import resellers

from infra.local.stack import Stack
from tests.support.cloud import TAX_ID, Cloud, Server
from tests.support.seats import Pool, Station, concurrent_pool
from tests.support.visitor import CAMILA, ENRICO, GIULIA, MARTA, PAOLO, RAFAEL, Caller

#: A company that the key of the first customer names, and that is not set up yet.
_SECOND = "BR12345678000195"
#: Whose activation key ends soon, so that its renewal can be asked for.
_ENDING = "ESA58818501"
#: Where values stand under another name than their own.
_ELSEWHERE = {
    "tax_id": ["body.customer.tax_id", "body.companies[*].tax_id"],
    "sku": ["body.lines[*].sku"],
    "license_code": ["body.lines[*].license_code"],
    "x": ["body.public_key.x"],
    "y": ["body.public_key.y"],
    "module": ["body.lines[*].modules[*]"],
    "reseller": ["body.reseller_ids[*]"],
}


@dataclass
class World:
    """A stack with a server that is active, stations in its pool, keys, orders, invitations."""

    cloud: Cloud
    server: Server
    station: Station
    #: By the name that a parameter or a field has: values that exist, those of others too.
    known: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    #: By route: path parameters, and members of the body, that lead to success only together.
    fitting: dict[str, tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=dict)
    _at_first: tuple[str, dict[str, Any]] = ("", {})

    def reset(self) -> None:
        """As it was before the first case."""
        self.cloud.stack.reset()
        self.cloud.stack.clock.stop()  # a lease does not end while a route is tried
        self.server.token, self.station.seat = self._at_first

    def token(self, email: str) -> str:
        """An access token."""
        found = self.cloud.stack.user_pool.token(email)
        assert found, email
        return str(found["access_token"])

    def places(self, name: str) -> list[str]:
        """Where in a request a known value of this name may stand, as Schemathesis says it."""
        return [f"path.{name}", f"query.{name}", f"body.{name}", *_ELSEWHERE.get(name, ())]

    def remember(self) -> None:
        """:meth:`reset` leads back to here."""
        self.cloud.stack.checkpoint()
        self._at_first = (self.server.token, self.station.seat)


@contextmanager
def running(directory: Path) -> Iterator[World]:
    """A stack on loopback, with a world in it."""
    with Stack(directory=directory) as stack, httpx.Client(trust_env=False, timeout=20) as client:
        stack.queues.stop()
        cloud = Cloud(stack, client)
        server = Server(cloud)
        assert server.activate(cloud.token_of("Milano")).status_code == 201
        pool = concurrent_pool(cloud, server, 50)
        world = World(cloud, server, Station(pool))
        _fill(world, pool)
        world.remember()
        yield world


def _fill(world: World, pool: Pool) -> None:
    cloud, known = world.cloud, world.known
    customer_id = accounts.find_by_tax_id(TAX_ID) or ""
    vendor = Caller(cloud, MARTA)

    def made(method: str, path: str, body: Any = None, email: str = MARTA) -> dict[str, Any]:
        answer = Caller(cloud, email).call(method, path, body)
        assert answer.is_success, (path, answer.text)
        return dict(answer.json())

    for customer in cloud.stack.document["customers"]:
        known["tax_id"].append(customer["tax_id"])
        of = accounts.find_by_tax_id(customer["tax_id"]) or ""
        known["customer_id"].append(of)
        account = accounts.read(of)
        assert account
        known["installation_id"] += account.installations
        if of == customer_id:  # whose things the rest is
            known["customer_id"] += 3 * [of]
            known["installation_id"] += account.installations
        known["license_code"] += [each.code for each in account.licenses.values()]
    known["reseller_id"] = [each.reseller_id for each in resellers().values()]
    known["sku"] = [product["sku"] for product in cloud.stack.document["products"]]
    known["tax_id"] += ["FR40303265045", "BR11222333000181"]  # nobody's
    known["reseller"] = ["IT12345670017", *known["reseller_id"]]
    known["x"], known["y"] = [world.server.jwk["x"]], [world.server.jwk["y"]]
    known["country"], known["time_zone"] = ["IT", "FR"], ["Europe/Rome"]
    known["user_id"] = ["somebody-long-gone"] + [
        user.user_id for email in (GIULIA, ENRICO, RAFAEL, PAOLO, CAMILA) if (user := people.find_by_email(email))
    ]
    known["activation_token"] = [cloud.token_of("Bergamo"), cloud.token_of("São Paulo")]

    invited = {"email": "anna@example.com", "roles": ["contract_owner"]}
    made("POST", f"/v1/customers/{customer_id}/invitations", invited)
    known["invitation_id"] = [
        each["invitation_id"] for each in vendor.call("GET", f"/v1/customers/{customer_id}/invitations").json()["items"]
    ]
    known["webhook_id"] = [made("POST", "/v1/webhooks", {"url": "https://crm.aurora.example/licensing"})["webhook_id"]]
    known["order_id"] = [each["order_id"] for each in vendor.call("GET", "/v1/orders").json()["items"]]
    known["order_number"] = ["TP-2026-1187"]
    _keys(world, made, customer_id)
    made("POST", f"/v1/customers/{customer_id}/companies", {"tax_id": TAX_ID, "name": "Officine"})
    new_company = {"tax_id": _SECOND, "name": "Officine Brasil"}
    _fit(world, "POST", "/v1/customers/{customer_id}/companies", new_company, customer_id=customer_id)
    unused = made("POST", f"/v1/customers/{customer_id}/installations", {"name": "Roma"})["installation_id"]
    known["installation_id"] += 3 * [unused]
    _offline(world, made, customer_id)
    matrix = vendor.call("GET", f"/v1/customers/{customer_id}/allocations").json()
    known["version"] = [matrix["version"]]
    as_it_is = {name: matrix[name] for name in ("version", "allocations")}
    _fit(world, "PUT", "/v1/customers/{customer_id}/allocations", as_it_is, customer_id=customer_id)

    assert world.station.lease().status_code == 201
    known["pool_id"] += [pool.pool_id]
    known["seat_id"] = [world.station.seat["seat_id"]]
    live_view = "/v1/customers/{customer_id}/pools/{pool_id}/seats"
    _fit(world, "GET", live_view, customer_id=customer_id, pool_id=pool.pool_id)
    known["company_tax_id"] = [TAX_ID]
    code = cloud.post("/v1/activation-requests", {"tax_id": TAX_ID})
    known["request_id"] = [code.json()["request_id"]]
    cloud.mailed_code()
    subjects = [each["subject"] for each in cloud.get("/local/outbox").json()["items"]]
    known["code"] = [subject[:6] for subject in subjects if subject[:6].isdigit()][:1]
    known["nonce"] = ["q0Zl1nX8s1oV2b9aYtJ4Kw"]
    enrico = people.find_by_email(ENRICO)
    assert enrico
    _fit(world, "PUT", "/v1/customers/{customer_id}/roles/{user_id}", customer_id=customer_id, user_id=enrico.user_id)
    _fit(world, "DELETE", _INSTALLATION, customer_id=customer_id, installation_id=unused)
    report = {"time_zone": "Europe/Rome", "agent_version": "1.0.0", "app_version": "Winter 2026", "databases": []}
    way = {"activation_token": cloud.token_of("Bergamo"), "ticket": None, "installation_id": None}
    _fit(world, "POST", "/v1/activations", report | way | {"hostname": "pbx", "public_key": world.server.jwk})
    known["agent_version"] = ["1.0.0"]


_INSTALLATION = "/v1/customers/{customer_id}/installations/{installation_id}"


def _fit(world: World, method: str, path: str, body: dict[str, Any] | None = None, /, **parameters: str) -> None:
    world.fitting[f"{method} {path}"] = (parameters, body or {})


def _offline(world: World, made: Any, customer_id: str) -> None:
    """A server that may be activated offline, and one that is, with the receipt for its license."""
    names, cloud = ("Brescia", "Como"), world.cloud
    customer = {
        "name": "Officine Lombarde S.p.A.",
        "tax_id": TAX_ID,
        "country": "IT",
        "time_zone": "Europe/Rome",
        "installations": [{"name": name} for name in names],
        "licenses": [
            {"code": "FX-OFF-0001", "sku": "FX-PERP-25", "quantity": 50, "allocations": dict.fromkeys(names, 25)}
        ],
    }
    loading.load({"customers": [customer]}, cloud.now)
    account = accounts.read(customer_id)
    assert account
    free, taken = (next(key for key, each in account.installations.items() if each.name == name) for name in names)
    server = Server(cloud, machine="c")
    path = _INSTALLATION.format(customer_id=customer_id, installation_id=taken)
    given = made("POST", f"{path}/offline-activation", {"request": server.offline_request()})
    receipt = server.receipt(json.loads(given["content"])["license"])
    request = Server(cloud, machine="d").offline_request()
    world.known["request"], world.known["receipt"] = [request], [receipt]
    for what, body, key in (("activation", {"request": request}, free), ("deactivation", {"receipt": receipt}, taken)):
        _fit(world, "POST", f"{_INSTALLATION}/offline-{what}", body, customer_id=customer_id, installation_id=key)


def _keys(world: World, made: Any, customer_id: str) -> None:
    """A key that is imported, and one that waits."""
    today = world.cloud.now.date()
    key = {
        "customer_id": customer_id,
        "companies": [{"tax_id": TAX_ID, "name": "Officine"}, {"tax_id": _SECOND, "name": "Officine Brasil"}],
        "concurrent": {"erp": 6},
        "first_day": (today - timedelta(days=2)).isoformat(),
        "last_day": (today + timedelta(days=300)).isoformat(),
    }
    for imported in (True, False):
        issued = made("POST", "/v1/keys", key)
        text = Caller(world.cloud, MARTA).call("GET", f"/v1/keys/{issued['key_id']}/file").text
        preview = made("POST", "/v1/keys/preview", {"customer_id": customer_id, "text": text})
        if imported:
            made("POST", "/v1/keys/import", {"preview_id": preview["preview_id"], "confirm": True})
        world.known["key_id"].append(issued["key_id"])
        world.known["text"].append(text)
        world.known["preview_id"].append(preview["preview_id"])
    of = accounts.find_by_tax_id(_ENDING) or ""
    ends_soon = key | {
        "customer_id": of,
        "companies": [{"tax_id": _ENDING, "name": "Hotel Mirador"}],
        "last_day": (today + timedelta(days=20)).isoformat(),
    }
    issued = made("POST", "/v1/keys", ends_soon)
    text = Caller(world.cloud, MARTA).call("GET", f"/v1/keys/{issued['key_id']}/file").text
    preview = made("POST", "/v1/keys/preview", {"customer_id": of, "text": text})
    made("POST", "/v1/keys/import", {"preview_id": preview["preview_id"], "confirm": True})
    _fit(world, "POST", "/v1/keys/renewal-requests", {"customer_id": of})


class Signer(requests.auth.AuthBase):
    """Signs a request as whoever calls such a route: a user, a server with its proof, a station."""

    def __init__(self, world: World, email: str) -> None:
        self._world = world
        self._email = email
        self._calls = 0

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        path = str(request.path_url).partition("?")[0]
        self._calls += 1
        if path.startswith("/v1/seats") or (path.startswith("/v1/pools") and request.method == "GET"):
            user = path.endswith(("/usage", "/denials"))
            if not user and self._calls % 4:
                return self._bear(request, self._world.station.token())
            if not user:
                return self._prove(request, path, self._world.server.token)
        if path == "/v1/activations":
            return self._prove(request, path, "")
        if path in ("/v1/validations", "/v1/deactivations"):
            return self._prove(request, path, self._world.server.token)
        return self._bear(request, self._world.token(self._email))

    @staticmethod
    def _bear(request: requests.PreparedRequest, token: str) -> requests.PreparedRequest:
        request.headers["authorization"] = f"Bearer {token}"
        return request

    def _prove(self, request: requests.PreparedRequest, path: str, token: str) -> requests.PreparedRequest:
        content = request.body or b""
        body = content if isinstance(content, bytes) else content.encode()
        claims: dict[str, Any] = {"htm": request.method}
        claims["ath"] = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
        if not token:
            del claims["ath"]
        before, self._world.server.token = self._world.server.token, ""
        request.headers["dpop"] = self._world.server.proof(path, body, **claims)
        self._world.server.token = before
        return self._bear(request, token) if token else request
