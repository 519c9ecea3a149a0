"""Seats as the product sees them: leased, kept alive, lost, given back (C3-C6, C13)."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
import license_manager
import pytest
from license_manager import journal, profile, settings, trust
from license_manager.errors import Refused, Unreachable, Untrusted
from license_manager.seats import Seat, SeatDesk, Station, browser, this_station

from tests.unit.agent.conftest import Site
from tests.unit.agent.fake_cloud import NOON, Key

#: For what another thread does; nothing here waits this long unless it fails.
PATIENCE = 30
SIGNER = Key()

ASK = {"pool_id": "pool_1", "company_tax_id": "IT1", "os_user": "u", "terminal": "t", "session": "local",
       "user_code": "U", "module": "billing", "instance": "1"}  # fmt: skip


@dataclass
class SeatCloud:
    """Answers as the seats' routes do; `trouble` takes the place of the next answers."""

    now: Callable[[], float]
    requests: list[httpx.Request] = field(default_factory=list)
    trouble: list[httpx.Response | Exception] = field(default_factory=list)
    lease_seconds: int = 600
    meanwhile: Callable[[], None] = field(default=lambda: None)  # called while a request is answered

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.meanwhile()
        if self.trouble:
            answer = self.trouble.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if request.method == "DELETE":
            return httpx.Response(204)
        if request.url.path == "/v1/pools":
            return httpx.Response(
                200, json={"items": [{"pool_id": "pool_9", "application": "erp"}], "next_cursor": None}
            )
        if request.url.path.endswith("/borrow"):
            return self.lend(json.loads(request.content)["days"])
        answer = {"seat_id": "sea_1.x", "lease_seconds": self.lease_seconds, "share_secret": "s", "in_use": 1,
                  "capacity": 3, "support": False, "borrowed": False, "warnings": []}  # fmt: skip
        return httpx.Response(201 if request.method == "POST" else 200, json=answer)

    def lend(self, days: int) -> httpx.Response:
        begins = int(self.now())
        ends = begins + days * 86_400
        lease = SIGNER.sign({"sub": "sea_1.x", "iat": begins, "exp": ends}, "seat-lease+jwt")
        until = datetime.fromtimestamp(ends, UTC).isoformat()
        return httpx.Response(200, json={"seat_id": "sea_1.x", "borrowed_until": until, "lease": lease})

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]


def problem(status: int, code: str, **members: Any) -> httpx.Response:
    body = {"code": code, "detail": "No.", "status": status, **members}
    return httpx.Response(status, headers={"content-type": "application/problem+json"}, content=json.dumps(body))


@pytest.fixture
def seat_cloud(site: Site) -> SeatCloud:
    return SeatCloud(now=lambda: site.cloud.now)


@pytest.fixture
def desk(site: Site, seat_cloud: SeatCloud) -> SeatDesk:
    site.activate()
    vendor = profile.parse(site.cloud.profile())
    machine = site.computer.machine()
    return SeatDesk(site.home, vendor, settings.Settings(), machine, http=httpx.MockTransport(seat_cloud))


class Bell(threading.Event):
    """What the background thread sleeps on: time passes instead."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        if not self.is_set():
            self._site.pass_time(timeout)
        return self.is_set()


@pytest.fixture
def watch(site: Site) -> Callable[[Seat], None]:
    """Does what the background thread does until it ends."""

    def run(seat: Seat) -> None:
        bell = Bell(site)
        if seat._stop.is_set():
            bell.set()
        seat._stop = bell
        seat._run()

    return run


@pytest.fixture
def taken(desk: SeatDesk) -> Callable[..., Seat]:
    def take(on_lost: Callable[[str], object] | None = None) -> Seat:
        seat = Seat(desk, ASK, on_lost, jitter=lambda: 1.0)
        seat.take()
        return seat

    return take


def test_a_seat_token_is_the_server_s_own_word_for_ten_minutes(site: Site, desk: SeatDesk) -> None:
    token = desk.token()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert jwt.get_unverified_header(token)["typ"] == "seat+jwt"
    assert (claims["aud"], claims["exp"] - claims["iat"]) == ("seats", 600)
    assert claims["iss"].startswith("ins_")


def test_heartbeats_go_out_each_third_of_the_lease(
    site: Site, taken: Callable[..., Seat], seat_cloud: SeatCloud
) -> None:
    seat = taken()
    site.pass_time(199)
    seat.beat()
    assert seat_cloud.methods == ["POST"]
    site.pass_time(1)
    seat.beat()
    assert seat_cloud.methods == ["POST", "PUT"]
    assert seat_cloud.requests[-1].url.query == b"module=billing&instance=1"
    site.pass_time(400)
    assert seat.held


def test_the_lease_is_counted_from_before_the_request_was_sent_and_the_wall_clock_does_not_matter(
    site: Site, taken: Callable[..., Seat]
) -> None:
    seat = taken()
    site.computer.wall -= 10**6
    site.computer.monotonic += 599
    assert seat.held
    site.computer.monotonic += 1
    assert not seat.held
    assert (seat.reason, seat.seconds_left) == ("LEASE_ENDED", 0.0)


def test_a_machine_that_slept_over_its_lease_asks_for_nothing_and_knows(
    site: Site, taken: Callable[..., Seat], seat_cloud: SeatCloud, watch: Callable[[Seat], None]
) -> None:
    told: list[str] = []
    seat = taken(told.append)
    site.computer.monotonic += 3600
    watch(seat)
    assert seat_cloud.methods == ["POST"]
    assert told == ["LEASE_ENDED"]
    assert seat.lost.is_set()


def test_a_seat_that_the_cloud_took_back_is_lost_at_once(
    site: Site, taken: Callable[..., Seat], seat_cloud: SeatCloud, watch: Callable[[Seat], None]
) -> None:
    told: list[str] = []
    seat = taken(told.append)
    seat_cloud.trouble = [problem(410, "SEAT_LOST")]
    watch(seat)
    assert not seat.held
    assert told == ["SEAT_LOST"]
    seat.close()
    assert "DELETE" not in seat_cloud.methods


def test_an_outage_shorter_than_the_lease_is_not_noticed(
    site: Site, taken: Callable[..., Seat], seat_cloud: SeatCloud
) -> None:
    seat = taken()
    site.pass_time(200)
    seat_cloud.trouble = [httpx.ConnectError("down")] * 40
    for _ in range(10):
        seat.beat()
        assert seat.held
        assert 0 < seat.pause() <= 30
        site.pass_time(seat.pause())
    seat_cloud.trouble = []
    site.pass_time(30)
    seat.beat()
    assert seat.seconds_left == 600


def test_an_outage_longer_than_the_lease_ends_it(site: Site, taken: Callable[..., Seat], seat_cloud: SeatCloud) -> None:
    seat = taken()
    seat_cloud.trouble = [httpx.ConnectError("down")] * 1000
    site.pass_time(200)
    for _ in range(60):
        seat.beat()
        site.pass_time(min(30.0, seat.pause()))
    assert not seat.held
    assert seat.reason == "LEASE_ENDED"


def test_the_second_site_is_asked_when_the_first_is_gone(
    site: Site, taken: Callable[..., Seat], seat_cloud: SeatCloud
) -> None:
    seat_cloud.trouble = [httpx.ConnectError("down")]
    taken()
    assert len({request.url.host + str(request.url.port) for request in seat_cloud.requests}) == 2


def test_at_the_limit_the_product_is_told_limit_and_use(desk: SeatDesk, seat_cloud: SeatCloud) -> None:
    seat_cloud.trouble = [problem(409, "SEAT_LIMIT_REACHED", in_use=3, capacity=3, retry_after=7)]
    with pytest.raises(Refused) as refused:
        Seat(desk, ASK).take()
    assert (refused.value.code, refused.value.members["capacity"]) == ("SEAT_LIMIT_REACHED", 3)


def test_a_wrong_clock_is_set_right_by_the_site_s_time(site: Site, desk: SeatDesk, seat_cloud: SeatCloud) -> None:
    seat_cloud.trouble = [problem(401, "CLOCK_SKEWED", server_time="2027-01-01T00:00:00Z")]
    seat = Seat(desk, ASK)
    seat.take()
    token = seat_cloud.requests[-1].headers["authorization"].partition(" ")[2]
    assert jwt.decode(token, options={"verify_signature": False})["iat"] == 1_798_761_600
    assert seat.held


def test_closing_gives_the_module_back_and_trouble_there_is_no_trouble(
    taken: Callable[..., Seat], seat_cloud: SeatCloud
) -> None:
    seat = taken()
    seat_cloud.trouble = [httpx.ConnectError("down")] * 2
    seat.close()
    assert seat_cloud.methods == ["POST", "DELETE", "DELETE"]


class Queue:
    """A lock that tells when somebody waits for it."""

    def __init__(self, waits: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._waits = waits

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._waits()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.mark.parametrize("do", [Seat.take, lambda seat: seat.borrow(1), Seat.give_back, Seat.close])
def test_no_request_of_a_seat_overtakes_a_heartbeat(
    site: Site, taken: Callable[..., Seat], seat_cloud: SeatCloud, do: Callable[[Seat], object]
) -> None:
    seat = taken()
    other = threading.Thread(target=do, args=(seat,))
    moved = threading.Event()  # the other thread's request has come, or waits for its turn
    overtaken = False

    def in_the_cloud() -> None:
        nonlocal overtaken
        if threading.current_thread() is other:
            moved.set()
        else:
            other.start()
            assert moved.wait(PATIENCE)
            overtaken = len(seat_cloud.requests) > 2
            if overtaken:
                other.join(PATIENCE)

    seat._turn = Queue(moved.set)  # type: ignore[assignment]
    seat_cloud.meanwhile = in_the_cloud
    site.pass_time(200)
    seat.beat()
    other.join(PATIENCE)
    assert not overtaken
    assert seat_cloud.methods[:2] == ["POST", "PUT"]
    assert len(seat_cloud.requests) == 3


def test_a_signal_s_handler_may_close_the_seat_in_the_middle_of_a_request(
    taken: Callable[..., Seat], seat_cloud: SeatCloud
) -> None:
    seat = taken()

    def interrupted() -> None:
        seat_cloud.meanwhile = lambda: None
        seat.close()

    seat_cloud.meanwhile = interrupted
    running = threading.Thread(target=lambda: seat.borrow(1), daemon=True)
    running.start()
    running.join(PATIENCE)
    assert not running.is_alive()
    assert seat_cloud.methods == ["POST", "POST", "DELETE"]


def test_a_borrowed_seat_sends_no_heartbeat_and_closing_leaves_it(
    site: Site, taken: Callable[..., Seat], seat_cloud: SeatCloud
) -> None:
    seat = taken()
    site.pass_time(200)
    seat.borrow(1)
    seat.beat()
    seat.close()
    assert seat_cloud.methods == ["POST", "POST"]
    assert seat.borrowed
    assert seat.seconds_left > 86_000


def test_an_answer_that_is_none_is_not_believed(desk: SeatDesk, seat_cloud: SeatCloud) -> None:
    seat_cloud.trouble = [httpx.Response(200, json={"seat_id": 1}), httpx.Response(200, text="<html>")] * 2
    with pytest.raises(license_manager.seats.LicenseManagerError):
        Seat(desk, ASK).take()
    with pytest.raises((Unreachable, license_manager.seats.LicenseManagerError)):
        Seat(desk, ASK).take()


def lease(**claims: object) -> str:
    return SIGNER.sign({"iat": int(NOON), "exp": int(NOON) + 600, **claims}, "seat-lease+jwt")


@pytest.mark.parametrize("on_its_way", [0, 5])
@pytest.mark.parametrize("slow", [-290, 0, 290, 10**6])
def test_a_borrowed_seat_ends_no_later_than_in_the_cloud_whatever_the_wall_clock_says(
    site: Site, taken: Callable[..., Seat], seat_cloud: SeatCloud, slow: float, on_its_way: float
) -> None:
    site.computer.wall -= slow
    seat = taken()
    site.pass_time(0.9)  # into the cloud's second
    seat_cloud.meanwhile = lambda: site.pass_time(on_its_way)
    ends = trust.peek(seat.borrow(1))["exp"]
    assert ends - on_its_way - 1 <= site.cloud.now + seat.seconds_left <= ends


def test_borrowing_again_counts_to_the_same_end(site: Site, taken: Callable[..., Seat], seat_cloud: SeatCloud) -> None:
    seat = taken()
    seat.borrow(1)
    site.pass_time(40_000)
    again = lease(iat=int(site.cloud.now), exp=int(NOON) + 86_400)
    seat_cloud.trouble = [httpx.Response(200, json={"lease": again})]
    assert seat.borrow(1) == again
    assert seat.seconds_left == 86_400 - 40_000 - 1


@pytest.mark.parametrize("text", [None, 7, {}, "", "x", "x.y.z"])
def test_a_seat_is_not_borrowed_by_what_is_no_text_of_a_lease(
    taken: Callable[..., Seat], seat_cloud: SeatCloud, text: object
) -> None:
    seat = taken()
    seat_cloud.trouble = [httpx.Response(200, json={"borrowed_until": "2026-12-01T00:00:00Z", "lease": text})]
    with pytest.raises(Untrusted):
        seat.borrow(3)
    assert not seat.borrowed
    assert seat.seconds_left == 600


@pytest.mark.parametrize("claims", [{"exp": None}, {"exp": "9"}, {"exp": 5}, {"iat": None}, {"iat": True}, {"iat": -1}])
def test_a_seat_is_not_borrowed_for_no_time_at_all(
    taken: Callable[..., Seat], seat_cloud: SeatCloud, claims: dict[str, object]
) -> None:
    seat = taken()
    seat_cloud.trouble = [httpx.Response(200, json={"lease": lease(**claims)})]
    with pytest.raises(Untrusted):
        seat.borrow(3)
    assert not seat.borrowed


def test_the_end_of_a_borrowed_seat_is_told_when_it_comes(
    site: Site, taken: Callable[..., Seat], seat_cloud: SeatCloud, watch: Callable[[Seat], None]
) -> None:
    told: list[tuple[str, float]] = []
    seat = taken(lambda reason: told.append((reason, site.cloud.now)))
    seat.borrow(2)
    watch(seat)
    ((reason, at),) = told
    assert reason == "LEASE_ENDED"
    assert -2 <= at - NOON - 2 * 86_400 <= 0
    assert seat.lost.is_set()
    assert seat_cloud.methods == ["POST", "POST"]


@pytest.mark.parametrize(
    ("reason", "lose"),
    [
        ("LEASE_ENDED", lambda site, seat: (site.pass_time(600), seat.held)),
        ("LEASE_ENDED", lambda site, seat: (seat.borrow(1), site.pass_time(86_400), seat.held)),
        ("RETURNED", lambda site, seat: (seat.borrow(1), seat.give_back())),
        ("SEAT_LOST", lambda site, seat: (site.pass_time(200), seat.beat())),
    ],
)
def test_whoever_notices_the_loss_the_background_thread_tells_it(
    site: Site, desk: SeatDesk, seat_cloud: SeatCloud, reason: str, lose: Callable[[Site, Seat], object]
) -> None:
    told: list[tuple[str, str]] = []
    done = threading.Event()

    def on_lost(reason: str) -> None:
        told.append((reason, threading.current_thread().name))
        done.set()

    with Seat(desk, ASK, on_lost, jitter=lambda: 1.0) as seat:
        if reason == "SEAT_LOST":
            seat_cloud.trouble = [problem(410, "SEAT_LOST")]
        lose(site, seat)
        assert done.wait(PATIENCE)
        assert not seat.held
    assert told == [(reason, "license-manager-seat")]


def test_a_seat_that_is_closed_tells_nothing(site: Site, desk: SeatDesk) -> None:
    told: list[str] = []
    with Seat(desk, ASK, told.append) as seat:
        pass
    site.pass_time(600)
    assert not seat.held
    assert told == []


@pytest.mark.parametrize(
    "damage", [{"private_key": "x"}, {"private_key": None}, {"server_token": "x"}, {"high_water": "x"}]
)
def test_files_that_are_damaged_meanwhile_end_no_background_thread(
    site: Site,
    taken: Callable[..., Seat],
    seat_cloud: SeatCloud,
    watch: Callable[[Seat], None],
    damage: dict[str, object],
) -> None:
    told: list[str] = []
    seat = taken(told.append)
    site.edit_state(**damage)
    watch(seat)
    assert told == ["LEASE_ENDED"]
    assert seat_cloud.methods == ["POST"]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_product_that_fails_when_its_seat_is_lost_is_written_down_and_the_seat_stays_lost(
    site: Site, desk: SeatDesk
) -> None:
    def on_lost(reason: str) -> None:
        raise ValueError("password=hunter2")

    with Seat(desk, ASK, on_lost, jitter=lambda: 1.0) as seat:
        site.pass_time(600)
        assert not seat.held
    assert seat.lost.is_set()
    entry = journal.entries(site.home)[-1]
    assert (entry["command"], entry["result"], entry["code"]) == ("seat", "failed", "ON_LOST_FAILED")
    assert "LEASE_ENDED" in entry["detail"]
    assert "ValueError (test_seats.py:" in entry["detail"]
    assert "hunter2" not in entry["detail"]


@pytest.mark.parametrize("items", [None, 7, "x", [7], [{"application": "erp"}], {"application": "erp"}])
def test_a_list_of_pools_that_is_none_has_no_pool(desk: SeatDesk, seat_cloud: SeatCloud, items: object) -> None:
    seat_cloud.trouble = [httpx.Response(200, json={"items": items})]
    with pytest.raises(Refused) as caught:
        desk.pool("erp")
    assert caught.value.code == "NOT_FOUND"


def test_an_application_is_looked_up_and_a_pool_id_is_not(desk: SeatDesk, seat_cloud: SeatCloud) -> None:
    assert desk.pool("pool_7") == "pool_7"
    assert seat_cloud.requests == []
    assert desk.pool("erp") == "pool_9"
    with pytest.raises(Refused):
        desk.pool("crm")


def test_the_pool_of_an_application_is_asked_for_by_its_name(desk: SeatDesk, seat_cloud: SeatCloud) -> None:
    with pytest.raises(Refused):
        desk.pool("erp & più=1")
    assert seat_cloud.requests[-1].url.raw_path == b"/v1/pools?application=erp%20%26%20pi%C3%B9%3D1"
    assert desk.pool("erp") == "pool_9"


def test_where_there_is_no_key_at_all_the_vendor_s_sentence_says_so(desk: SeatDesk, seat_cloud: SeatCloud) -> None:
    seat_cloud.trouble = [problem(403, "KEY_MISSING")]
    with pytest.raises(Refused) as refused:
        desk.pool("erp")
    assert (refused.value.code, str(refused.value)) == ("KEY_MISSING", "No.")


def test_a_module_is_called_the_same_in_all_requests(
    site: Site, desk: SeatDesk, seat_cloud: SeatCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("license_manager.seats.desk", lambda home: desk)
    seat = license_manager.seat(
        "erp", company_tax_id="IT1", module=" billing\n", station=Station("u", "t"), instance=" 1 "
    )
    with seat:
        site.pass_time(250)
        seat.beat()
    taken, kept, closed = seat_cloud.requests[1:]
    said = json.loads(taken.content)
    assert (said["module"], said["instance"]) == ("billing", "1")
    assert kept.url.query == closed.url.query == b"module=billing&instance=1"


@pytest.mark.parametrize(
    ("environ", "session"),
    [
        ({}, "local"),
        ({"XDG_SESSION_ID": "4"}, "local"),
        ({"SSH_CONNECTION": "x", "XDG_SESSION_ID": "4"}, "4"),
        ({"XRDP_SESSION": "1", "DISPLAY": ":10.0"}, ":10.0"),
    ],
)
def test_a_workstation_is_local_and_each_remote_session_its_own(
    environ: dict[str, str], session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert this_station("GF12", environ, "PC-1").session == session


def test_a_browser_has_neither_user_nor_terminal() -> None:
    assert browser("GF12", "s1") == Station("", "", "s1", "GF12")


def test_importing_the_package_loads_no_http_client() -> None:
    import subprocess
    import sys

    code = "import sys, license_manager; sys.exit('httpx' in sys.modules or 'license_manager.seats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
