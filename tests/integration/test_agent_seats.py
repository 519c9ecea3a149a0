"""The License Manager's seats against the whole cloud, over HTTP."""

import shutil
import threading
from pathlib import Path

import pytest
from license_manager import profile, seats, settings
from license_manager.errors import Refused
from license_manager.home import Home
from license_manager.machine import Machine
from license_manager.manager import Manager
from licensing import seats as cloud_seats
from licensing.rules.accounts import pool_id
from licensing.store import accounts

from tests.support.cloud import VENDOR, Cloud
from tests.support.seats import Pool

#: For what another thread does; nothing here waits this long unless it fails.
PATIENCE = 30


@pytest.fixture
def home(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    shutil.copy(cloud.stack.vendor_file, path / "vendor.json")
    vendor = profile.read(path / "vendor.json")
    with Manager(Home(path), vendor, settings.Settings(), Machine(environ={})) as manager:
        manager.activate({"activation_token": cloud.token_of("Valencia")})
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def pool(cloud: Cloud) -> Pool:
    """The demo's three operators of the hotel."""
    customer_id = accounts.find_by_tax_id("ESA58818501")
    assert customer_id
    account = accounts.read(customer_id)
    assert account
    license_id = next(key for key, each in account.licenses.items() if each.code == "AC-4BTR-7V9J")
    (installation,) = account.installations
    return Pool(cloud, None, customer_id, pool_id(license_id, installation), "")  # type: ignore[arg-type]


def seat(home: Path, n: int = 0, **options: object) -> seats.Seat:
    station = seats.Station(f"user{n}", f"PC-{n}", "local", f"U{n}")
    usual = {"company_tax_id": "ESA58818501", "module": "console", "station": station, "home": home}
    return seats.seat("attendant-console", **{**usual, **options})  # type: ignore[arg-type]


def test_seats_are_held_inside_the_block_and_free_behind_it(home: Path, pool: Pool) -> None:
    with seat(home, 1) as first, seat(home, 2), seat(home, 3):
        assert pool.in_use() == 3
        assert first.held
        with pytest.raises(Refused) as refused, seat(home, 4):
            pass
        assert refused.value.code == "SEAT_LIMIT_REACHED"
        assert (refused.value.members["in_use"], refused.value.members["capacity"]) == (3, 3)
    assert pool.in_use() == 0


def test_two_modules_of_a_desktop_and_the_browser_it_opened_ride_on_one_seat(home: Path, pool: Pool) -> None:
    web = {"station": seats.browser("U1", "b-1"), "module": "web"}
    with seat(home, 1) as desktop, seat(home, 1, module="other"):
        with seat(home, share_secret=desktop.share_secret, **web) as shared:
            assert shared.seat_id == desktop.seat_id
            assert pool.in_use() == 1
        with seat(home, **web):
            assert pool.in_use() == 2
        assert pool.in_use() == 1
    assert pool.in_use() == 0


def test_the_background_thread_tells_the_product_when_its_seat_was_released(
    cloud: Cloud, home: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()
    monkeypatch.setattr(seats, "BEATS", 6000)
    with seat(home, 1, on_lost=lambda reason: told.set()) as held:
        cloud_seats.force_release(pool.customer_id, pool.pool_id, held.seat_id, VENDOR, cloud.now)
        assert told.wait(PATIENCE)
        assert not held.held
        assert held.reason == "SEAT_LOST"


def test_a_borrowed_seat_is_good_offline_until_it_is_given_back(home: Path, pool: Pool) -> None:
    with seat(home, 1) as held:
        lease = held.borrow(2)
    assert pool.in_use() == 1
    assert seats.borrowed_until(lease, home) is not None
    with pytest.raises(seats.Untrusted):
        seats.borrowed_until(lease[:-4] + "AAAA", home)
    held.give_back()
    assert pool.in_use() == 0
