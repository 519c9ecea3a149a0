from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from license_manager import checking, language, profile, settings
from license_manager.checking import Check
from license_manager.fingerprint import digest
from license_manager.home import Home
from license_manager.machine import Machine
from license_manager.manager import Manager, Outcome
from license_manager.state import State

from tests.unit.agent.fake_cloud import NOON, FakeCloud

FINGERPRINT = {name: digest(name, "value") for name in ("machine_id", "mac", "cpu_model")}


@dataclass
class Computer:
    """A machine whose clocks stand still until they are moved."""

    wall: float = NOON
    monotonic: float = 1000.0
    boot_id: str = "boot-1"
    fingerprint: dict[str, str] = field(default_factory=lambda: dict(FINGERPRINT))
    environ: dict[str, str] = field(default_factory=dict)

    def machine(self) -> Machine:
        return Machine(
            wall=lambda: self.wall,
            monotonic=lambda: self.monotonic,
            boot_id=lambda: self.boot_id,
            fingerprint=lambda: self.fingerprint,
            hostname=lambda: "srv-milano",
            time_zone=lambda: "Europe/Rome",
            environ=self.environ,
        )


@dataclass
class Site:
    """One customer's server against one cloud, with time passing for both."""

    cloud: FakeCloud
    computer: Computer
    path: Path

    @property
    def home(self) -> Home:
        return Home(self.path)

    def manager(self) -> Manager:
        vendor = profile.parse(self.cloud.profile())
        chosen = settings.load(self.home) if self.path.is_dir() else settings.Settings()
        return Manager(self.home, vendor, chosen, self.computer.machine(), http=self.cloud.transport())

    def pass_time(self, seconds: float = 0, days: float = 0) -> None:
        for clock in (self.cloud, self.computer):
            name = "now" if clock is self.cloud else "wall"
            setattr(clock, name, getattr(clock, name) + seconds + days * 86400)
        self.computer.monotonic += seconds + days * 86400

    def activate(self, token: str = "AT-MILANO") -> Outcome:
        with self.manager() as manager:
            return manager.activate({"activation_token": token})

    def validate(self) -> Outcome:
        with self.manager() as manager:
            return manager.validate()

    def state(self) -> State:
        return self.manager().state()

    def raw_state(self) -> dict[str, Any]:
        return dict(json.loads((self.path / "state.json").read_text()))

    def edit_state(self, **changes: Any) -> None:
        path = self.path / "state.json"
        path.write_text(json.dumps({**self.raw_state(), **changes}))

    def check(self) -> Check:
        manager = self.manager()
        state = manager.state()
        return manager.check(state, manager.clock(state).now())


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever language the machine that runs the tests speaks."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    language.use(None)
    yield
    language.use("en")


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()


@pytest.fixture
def computer() -> Computer:
    return Computer()


@pytest.fixture
def site(cloud: FakeCloud, computer: Computer, tmp_path: Path) -> Site:
    return Site(cloud, computer, tmp_path / "home")


@pytest.fixture
def product(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Check]]:
    """`license_manager.check()` as the product calls it, on the site's clocks, fingerprint and profile."""
    monkeypatch.setattr(checking.time, "time", lambda: site.computer.wall)
    monkeypatch.setattr(checking, "since_boot", lambda: site.computer.monotonic)
    monkeypatch.setattr(checking, "this_boot", lambda: site.computer.boot_id)
    monkeypatch.setattr("license_manager.fingerprint.of_this_machine", lambda: site.computer.fingerprint)
    site.path.mkdir(mode=0o700)
    (site.path / "vendor.json").write_text(json.dumps(site.cloud.profile()))
    checking._places.clear()

    def check(**options: Any) -> Check:
        return checking.check(site.path, **options)

    yield check
    checking._places.clear()
