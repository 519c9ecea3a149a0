from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from license_manager.service import Service, Stopper, StopRequested

from tests.unit.agent.conftest import Site

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def stopper(site: Site) -> Iterator[tuple[Stopper, Service]]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    made = Stopper()
    service = Service(site.manager, site.computer.machine(), made, lambda sentence: None)
    made.install(service)
    yield made, service
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_signal_wakes_the_service(stopper: tuple[Stopper, Service]) -> None:
    signal.raise_signal(signal.SIGTERM)
    assert stopper[0].wait(60)


def test_a_signal_gives_up_the_request_in_flight(stopper: tuple[Stopper, Service]) -> None:
    stopper[1].in_flight = True
    with pytest.raises(StopRequested):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)  # a second one finds nothing left to give up


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_at_once_and_well(number: signal.Signals, site: Site) -> None:
    site.path.mkdir(mode=0o700)
    (site.path / "vendor.json").write_text(json.dumps(site.cloud.profile()))
    with subprocess.Popen(
        [sys.executable, "-c", "from license_manager.__main__ import main; main()", "--home", str(site.path), "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "watches over" in process.stdout.readline()
        assert "Not activated yet" in process.stdout.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=5)
    assert (process.returncode, out, err) == (0, "Stopped.\n", "")
