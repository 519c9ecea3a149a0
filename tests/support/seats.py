"""Stations that lease seats over HTTP, with seat tokens by their server's key."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import jwt
from licensing import loading, seats, stations
from licensing.rules.accounts import pool_id
from licensing.store import accounts
from licensing.store import seats as store
from licensing.store.seats import PoolState

from tests.support.cloud import TAX_ID, Cloud, Server

APPLICATION = "attendant-console"


@dataclass
class Pool:
    """The pool of a concurrent license on the Milano server."""

    cloud: Cloud
    server: Server
    customer_id: str
    pool_id: str
    code: str

    def look(self) -> PoolState:
        state = store.get_pool(self.pool_id)
        assert state is not None
        return state

    def in_use(self) -> int:
        at = int(self.cloud.now.timestamp())
        return sum(len(each.live(at)) for each in store.segments(self.pool_id))

    def allocate(self, quantity: int, **changes: Any) -> None:
        """Give the license another quantity, as the portal will."""
        license = {"code": self.code, "sku": "AC-SUB-1", "quantity": max(quantity, 1), "last_day": "2099-12-31"}
        customer = next(each for each in self.cloud.stack.document["customers"] if each["tax_id"] == TAX_ID)
        shown = {name: customer[name] for name in ("name", "tax_id", "country", "time_zone")}
        allocations = {"Milano": quantity} if quantity else {}
        customer = {**shown, "licenses": [{**license, "allocations": allocations, **changes}]}
        loading.load({"customers": [customer]}, self.cloud.now)

    def pass_seconds(self, seconds: int) -> None:
        self.cloud.stack.clock.advance(timedelta(seconds=seconds))

    def forget(self) -> None:
        """As another process would, or a minute later."""
        seats.forget()
        stations.forget()


def concurrent_pool(cloud: Cloud, server: Server, quantity: int, code: str = "AC-TEST-0001") -> Pool:
    cloud.stack.clock.stop()  # leases are told apart by the second
    customer_id = server.claims["cus"]
    pool = Pool(cloud, server, customer_id, "", code)
    pool.allocate(quantity)
    account = accounts.read(customer_id)
    assert account is not None
    license_id = next(key for key, each in account.licenses.items() if each.code == code)
    pool.pool_id = pool_id(license_id, server.claims["sub"])
    pool.forget()
    return pool


@dataclass
class Station:
    """A workstation, or with ``os_user=""`` a browser."""

    pool: Pool
    os_user: str = "giulia.ferrario"
    terminal: str = "PC-CONT-07"
    session: str = "local"
    user_code: str = "GF12"
    seat: dict[str, Any] = field(default_factory=dict)
    company: str = TAX_ID
    token_changes: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    key: Any = None

    def token(self) -> str:
        server, now = self.pool.server, int(self.pool.cloud.now.timestamp())
        claims = {
            "iss": server.claims["sub"],
            "cus": server.claims["cus"],
            "aud": "seats",
            "iat": now,
            "exp": now + 600,
        }
        claims = {name: value for name, value in {**claims, **self.token_changes}.items() if value is not None}
        return jwt.encode(claims, self.key or server.key, "ES256", {"typ": "seat+jwt", **self.header})

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> httpx.Response:
        cloud = self.pool.cloud
        url = cloud.stack.sites[self.pool.server.site].url + path
        headers = {"authorization": f"Bearer {token or self.token()}"}
        return cloud.http.request(method, url, json=body, headers=headers)

    def ask(self, module: str = "billing", instance: str = "1", **changes: Any) -> dict[str, Any]:
        return {
            "pool_id": self.pool.pool_id,
            "company_tax_id": self.company,
            "os_user": self.os_user,
            "terminal": self.terminal,
            "session": self.session,
            "user_code": self.user_code,
            "module": module,
            "instance": instance,
            **changes,
        }

    def lease(self, module: str = "billing", instance: str = "1", **changes: Any) -> httpx.Response:
        response = self.call("POST", "/v1/seats", self.ask(module, instance, **changes))
        if response.is_success:
            self.seat = response.json()
        return response

    def heartbeat(self, query: str = "", seat_id: str = "") -> httpx.Response:
        return self.call("PUT", f"/v1/seats/{seat_id or self.seat['seat_id']}{query}")

    def close(self, query: str = "", seat_id: str = "") -> httpx.Response:
        return self.call("DELETE", f"/v1/seats/{seat_id or self.seat['seat_id']}{query}")


def crowd(pool: Pool, count: int) -> list[Station]:
    return [Station(pool, os_user=f"user{n}", terminal=f"PC-{n:05d}") for n in range(count)]
