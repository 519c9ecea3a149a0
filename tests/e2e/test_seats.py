"""Seats as a newcomer sees them: a key is issued and imported, several processes take its seats, and one of them dies."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import license_manager
import pytest
import yaml

from tests.e2e.test_make_run import eventually, run  # noqa: F401  (a fixture)
from tests.e2e.test_make_run import license_manager as command

GROUP, COMPANY = "ESA58818501", "ESB46102372"
VENDOR, ADMINISTRATOR = "marta.conti@aurora.example", "carmen.ibanez@miradordelturia.example"
LEASE = 60
ISSUER = "https://licensing.aurora.example"
#: A product: says whether it got in, and stays until it is told to go. Heartbeats go out each second instead of each 20.
PRODUCT = """
import sys
import license_manager
from license_manager import seats
seats.BEATS = 60
home, user = sys.argv[1:]
station = license_manager.Station(user, f"PC-{user}", user_code=user)
try:
    with license_manager.seat("web-chat", company_tax_id="ESB46102372", module="chat", station=station, home=home) as seat:
        print("in", flush=True)
        sys.stdin.readline()
        print("held" if seat.held else seat.reason, flush=True)
except license_manager.Refused as error:
    print(error.code, error.members["in_use"], error.members["capacity"], flush=True)
"""


class Product:
    """One process that uses the product."""

    def __init__(self, home: Path, user: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PRODUCT, str(home), user], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def says(self) -> str:
        """The next line."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def leave(self) -> str:
        """Ends; whether it held its seat until then."""
        said, _ = self.process.communicate("\n", timeout=60)
        return said.strip()

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def crowd(run: SimpleNamespace) -> Iterator[Any]:  # noqa: F811
    """Starts products of the hotel's server."""
    started: list[Product] = []

    def product(user: str) -> Product:
        started.append(Product(run.directory / "server-1", user))
        return started[-1]

    yield product
    for each in started:
        each.process.kill()
        each.process.communicate()


class Caller:
    """Somebody who uses the API."""

    def __init__(self, site: str, token: str) -> None:
        self._site = site
        self._headers = {"authorization": f"Bearer {token}"}

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """What is answered."""
        url = self._site + path
        answer = httpx.request(method, url, json=body, headers=self._headers, trust_env=False, timeout=30)
        assert answer.is_success, answer.text
        return answer.json() if "json" in answer.headers["content-type"] else answer.text


def user(site: str, username: str) -> Caller:
    """A demo user."""
    token = httpx.post(f"{site}/local/users/{username}/token", trust_env=False).json()
    return Caller(site, token["access_token"])


def operate(run: SimpleNamespace, *arguments: str) -> "subprocess.CompletedProcess[str]":  # noqa: F811
    """The vendor's operator, who has nothing in the environment but how AWS is reached."""
    environment = {
        "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{run.port + 2}",
        "AWS_REGION": "eu-south-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local",
    }  # fmt: skip
    program = Path(sys.executable).with_name("cloud-licensing")
    return subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, timeout=60, env=environment, check=False
    )


def test_the_seats_of_a_new_key_go_round_among_processes_and_a_killed_one_s_comes_back(
    run: SimpleNamespace,  # noqa: F811
    crowd: Any,
    tmp_path: Path,
) -> None:
    vendor, admin = user(run.site, VENDOR), user(run.site, ADMINISTRATOR)
    customer = next(each for each in vendor.call("GET", "/v1/customers?limit=100")["items"] if each["tax_id"] == GROUP)
    mine = f"/v1/customers/{customer['customer_id']}/installations"
    (installation,) = admin.call("GET", mine)["items"]
    token = admin.call("GET", f"{mine}/{installation['installation_id']}/activation-token")["activation_token"]
    activated = command(run, "activate", f"--token={token}")
    assert activated.returncode == 0, activated.stdout

    today = date.fromisoformat(httpx.get(f"{run.site}/local/clock", trust_env=False).json()["now"][:10])
    file = tmp_path / "key.yaml"
    file.write_text(yaml.safe_dump({
        "customer": GROUP, "concurrent": {"web-chat": 3}, "lease_seconds": LEASE,
        "companies": [{"tax_id": GROUP, "name": "Hotel"}, {"tax_id": COMPANY, "name": "Congresos"}],
        "first_day": str(today), "last_day": str(today + timedelta(days=300)),
    }))  # fmt: skip
    assert "Say who issues" in operate(run, "activation-keys", "issue", str(file)).stderr
    text = operate(run, "--issuer", ISSUER, "activation-keys", "issue", str(file)).stdout
    preview = admin.call("POST", "/v1/keys/preview", {"text": text})
    assert [each["tax_id"] for each in preview["key"]["companies"]] == [GROUP, COMPANY]
    admin.call("POST", "/v1/keys/import", {"preview_id": preview["preview_id"], "confirm": True, "reset_peak": False})

    ana, bea, carla = (crowd(user) for user in ("ana", "bea", "carla"))
    assert [each.says() for each in (ana, bea, carla)] == ["in", "in", "in"]
    assert crowd("dora").says() == "SEAT_LIMIT_REACHED 3 3"

    assert ana.leave() == "held"
    dora = crowd("dora")
    assert dora.says() == "in"

    bea.kill()
    assert crowd("elena").says() == "SEAT_LIMIT_REACHED 3 3"
    station = Caller(run.site, license_manager.seat_token(run.directory / "server-1"))
    pool_id = next(
        each["pool_id"] for each in station.call("GET", "/v1/pools")["items"] if each["application"] == "web-chat"
    )

    def ends() -> dict[str, str]:
        return {
            row["user_code"]: row["lease_until"] for row in station.call("GET", f"/v1/pools/{pool_id}/seats")["items"]
        }

    for _ in range(3):  # the time of the cloud passes; who lives is heard of each time
        httpx.post(f"{run.site}/local/clock", json={"advance_seconds": LEASE // 3 + 1}, trust_env=False)
        before = ends()
        eventually(lambda before=before: all(ends()[user] > before[user] for user in ("carla", "dora")))
    assert set(ends()) == {"carla", "dora"}
    assert crowd("elena").says() == "in"
    assert crowd("fina").says() == "SEAT_LIMIT_REACHED 3 3"
    assert [carla.leave(), dora.leave()] == ["held", "held"]
