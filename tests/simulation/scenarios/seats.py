"""Concurrent seats (C2-C8, C13, F1): stations lease, share, sleep, borrow and leave while the capacity changes under them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeVar

from licensing import activation_keys, administration, contract, deployment, seat_use, seats, stations
from licensing.errors import (
    LicensingError,
    SeatBorrowed,
    SeatLimitReached,
    SeatLost,
    SilentTooLong,
    TemporarilyUnavailable,
)
from licensing.rules import seats as rules
from licensing.rules.activation_keys import key_pool_id
from licensing.rules.seats import SUPPORT, Entry, Segment, Who
from licensing.store.activation_keys import CurrentKeyItem
from licensing.store.operations import OperationItem
from licensing.store.seats import PoolItem, SegmentItem, UseItem, segment_of_image
from licensing.tokens import ServerToken

from tests.simulation.cloud import TAX_ID, Cloud, raw
from tests.simulation.scenario import OPERATOR, Scenario, activated, read
from tests.simulation.simulator import Actor, Lost, must

T = TypeVar("T")

#: A seat: the station, and which of its leases. A support user's place is another one than its seat.
Seat = tuple[bool, str, int]
_APPLICATION = "erp"
#: Seconds after which a stream of DynamoDB forgets.
_STREAM_KEPT = 86_400
_FIRST_DAY, _LAST_DAY = date(2026, 11, 1), date(2027, 10, 31)


class _Moment(NamedTuple):
    """What the segments were between two writes: until when each seat is held, by segment; and the debt."""

    at: float
    held: Mapping[int, tuple[int, list[int]]]
    debt: int

    def spare(self, at: int) -> set[int]:
        """The segments in which a seat was free."""
        return {key for key, (quota, ends) in self.held.items() if sum(end > at for end in ends) < quota}

    def in_use(self, at: int) -> int:
        """Seats in use."""
        return sum(end > at for _, ends in self.held.values() for end in ends)


@dataclass
class _Lease:
    """A lease from its beginning to its end, each as early and as late as it can be told: a request takes its time."""

    began: tuple[int, int]
    ended: tuple[int, int] | None = None
    until: int = 0


@dataclass
class SeatLaw:
    """What must hold of a pool's segments from one write to the next, and what they tell."""

    cloud: Cloud
    pool_id: str
    #: The serial numbers of the keys that the pool may follow, by id.
    serials: Mapping[str, int]
    #: What its own station, or an administrator, may have ended: of each lease which instances, or None for all of it.
    ending: dict[Seat, set[str] | None] = field(default_factory=dict)
    #: Leases that were returned by who borrowed them.
    returned: set[Seat] = field(default_factory=set)
    serial: int = 0
    capacity: int = 0
    undealt: int = 0
    settled: bool = True
    segments: dict[str, Segment] = field(default_factory=dict)
    seats: dict[Seat, Entry] = field(default_factory=dict)
    leases: dict[Seat, _Lease] = field(default_factory=dict)
    ended: set[Seat] = field(default_factory=set)
    moments: list[_Moment] = field(default_factory=list)
    #: What the table's stream has still to deliver, by segment.
    stream: dict[str, list[seat_use.Change]] = field(default_factory=dict)
    #: Whether something was delivered later than a stream of DynamoDB keeps it.
    overdue: bool = False
    #: Whether the last write may be one of a lease.
    leasing: bool = True
    #: The peak counts from here on, at the earliest and at the latest.
    since: tuple[int, int] = (0, 0)
    _images: dict[str, dict[str, Any]] = field(default_factory=dict)
    _count: int = 0

    def check(self, *, leasing: bool = True) -> None:
        """Hold the law over the last write; ``leasing``: it may be one of a lease, which alone opens a module."""
        self.leasing = leasing
        changed: dict[str, Segment] = {}
        for key, item in self.cloud.partition(SegmentItem, self.pool_id).items():
            image = raw(item)
            version = image.get("v") or image.get("version")
            before = self._images.get(key)
            if version is None or before == image:
                continue
            last = (before.get("v") or before["version"])["N"] if before else "0"
            must(int(version["N"]) > int(last), f"{key} is written at version {version['N']} after {last}")
            self._images[key] = image
            if key == "CFG":
                self._take_pool(PoolItem.from_raw_data(image))
            elif key == "USE":
                self._take_use(UseItem.from_raw_data(image))
            elif key.startswith(("SEG#", "SUPPORT")):
                changed[key] = segment_of_image(image)
        if changed:
            self._changed(
                changed, int(self.cloud.partition(SegmentItem, self.pool_id)[next(iter(changed))].attrs["t"].value)
            )
        if changed or not self.moments or self.moments[-1].debt != -min(0, self.undealt):
            self._remember()

    def delivered(self, key: str, count: int) -> list[seat_use.Change]:
        """The next changes of a segment, as its stream delivers them."""
        batch = self.stream[key][:count]
        self.overdue |= self.cloud.now.timestamp() - batch[0].at > _STREAM_KEPT
        return batch

    def _take_pool(self, item: PoolItem) -> None:
        serial = self.serials[item.body.key_id]
        must(serial >= self.serial, f"the pool follows key {serial} after key {self.serial}")
        self.serial = serial
        self.capacity, self.undealt = item.body.capacity, int(item.undealt)
        self.settled = not item.unsettled

    def _take_use(self, item: UseItem) -> None:
        must(item.since >= self.since[0], f"the peak counted from {self.since[0]}, and counts from {item.since} again")
        if int(item.since) != self.since[0]:
            self.since = int(item.since), math.ceil(self.cloud.now.timestamp())

    def _changed(self, changed: Mapping[str, Segment], at: int) -> None:
        before, had = self.seats, self.in_use(at)
        for key, segment in changed.items():
            self._count += 1
            change = seat_use.Change(self.segments.get(key), segment, at, f"{self._count:021d}")
            self.stream.setdefault(key, []).append(change)
            self.segments[key] = segment
        self.seats = dict(self._all())
        for seat in before.keys() - self.seats.keys():
            self._gone(seat, before[seat], at)
        for seat, entry in self.seats.items():
            if seat not in before:
                self._new(seat, entry, at)
                if not seat[0] and self.settled and self.undealt < 0:
                    must(
                        had < self.capacity,
                        f"seat {had + 1} is given out, and the capacity was reduced to {self.capacity}",
                    )
            elif before[seat] != entry:
                self._renewed(seat, before[seat], entry, at)
        live = [seat for seat, entry in self.seats.items() if entry.until > at]
        must(len({seat[1] for seat in live}) == len(live), "a station has two seats")
        for segment in self.segments.values():
            used = len(segment.live(at))
            must(segment.quota >= 0, f"segment {segment.index} has a quota of {segment.quota}")
            must(used <= segment.quota, f"segment {segment.index} has {used} seats in use of {segment.quota}")
        quotas = sum(each.quota for each in self.segments.values() if each.index != SUPPORT)
        must(
            quotas + self.undealt == self.capacity, f"{quotas} dealt out and {self.undealt} not are not {self.capacity}"
        )

    def _all(self) -> Iterator[tuple[Seat, Entry]]:
        for segment in self.segments.values():
            for station, entry in segment.entries.items():
                yield (segment.index == SUPPORT, station, entry.generation), entry

    def _new(self, seat: Seat, entry: Entry, at: int) -> None:
        must(seat not in self.ended, f"lease {seat[2]} of {entry.who.user_code} has ended, and goes on")
        now = math.ceil(self.cloud.now.timestamp())
        self.leases[seat] = _Lease((min(entry.since, now), max(entry.since, now)), until=entry.until)

    def _renewed(self, seat: Seat, before: Entry, after: Entry, at: int) -> None:
        who = after.who.user_code
        must(
            after.until >= before.until,
            f"{who} was told {before.until}, and its lease ends {before.until - after.until} s earlier",
        )
        must(after.until == before.until or before.until > at, f"the lease of {who} had ended, and is revived")
        must(not before.borrowed or after.until == before.until, f"the end of {who}'s borrowed seat moves")
        must(after.borrowed or not before.borrowed, f"{who}'s seat is not borrowed any more")
        opened = {each.module for key, each in after.instances.items() if key not in before.instances}
        must(self.leasing or not opened, f"{who} closed {opened}, and has it open again")
        self.leases[seat].until = after.until

    def _gone(self, seat: Seat, entry: Entry, at: int) -> None:
        self.ended.add(seat)
        lease, now = self.leases[seat], math.ceil(self.cloud.now.timestamp())
        lease.ended = min(entry.until, at), min(entry.until, now)
        if entry.until <= at:
            return
        who = entry.who.user_code
        must(seat in self.ending, f"{who} is {entry.until - at} s before the end of its lease, and loses its seat")
        must(not entry.borrowed or seat in self.returned, f"{who} borrowed its seat, and loses it")
        closed = self.ending[seat]
        if closed is not None:
            left = {each.module for key, each in entry.instances.items() if key not in closed and each.until > at}
            must(not left, f"{who} loses its seat, and has {left} open")

    def _remember(self) -> None:
        held = {
            each.index: (each.quota, [entry.until for entry in each.entries.values()])
            for each in self.segments.values()
            if each.index != SUPPORT
        }
        self.moments.append(_Moment(self.cloud.now.timestamp(), held, max(0, -self.undealt)))

    # ── what answers say ──

    def in_use(self, at: int) -> int:
        """Seats in use, without support users' places."""
        return sum(entry.until > at for seat, entry in self.seats.items() if not seat[0])

    def answered(self, answer: contract.SeatAnswer, station: str) -> Seat:
        """The seat that a station was told to have is there, until then at least."""
        _, _, generation, _ = answer.seat_id.split(".")
        seat = answer.support, station, int(generation[1:], 16)
        entry = self.seats.get(seat)
        must(entry, f"a station is given lease {seat[2]}, and it is not there")
        assert entry
        must(entry.until >= answer.lease_until.timestamp(), "a station is told a later end than its lease has")
        return seat

    def refused(self, at: int) -> None:
        """A station was refused: no segment had a free seat all the while, unless the capacity is to fall first."""
        position = next((n for n, each in enumerate(self.moments) if each.at >= at), len(self.moments))
        moments = self.moments[max(0, position - 1) :]
        free = set.intersection(*(each.spare(at) for each in moments))
        in_debt = any(each.debt and each.in_use(at) >= self.capacity for each in moments)
        must(not free or in_debt, f"a station is refused, and a seat is free in segment {sorted(free)}")

    def lost(self, seat: Seat, at: int) -> None:
        """A station was told that its seat is lost."""
        entry = self.seats.get(seat)
        must(entry is None or entry.until <= at, f"lease {seat[2]} is told lost, and is there")

    # ── what use says ──

    def hold_peak(self, peak: int) -> None:
        """The peak is neither below what was held at once, nor above."""
        low = 0 if self.overdue else self._most(1, 0, self.since[1])
        high = self._most(0, 1, self.since[0])
        must(low <= peak <= high, f"the peak is {peak}, and {low} to {high} were in use at once")

    def _most(self, begin: int, end: int, since: int) -> int:
        now = int(self.cloud.now.timestamp())
        spans = []
        for seat, each in self.leases.items():
            last = each.ended[end] if each.ended else min(each.until, now + 1)
            if end and last == since:
                last += 1  # left in the second of the reset, after it
            if not seat[0]:
                spans.append((max(each.began[begin], since), last))
        return max((sum(one <= at < other for one, other in spans) for at, _ in spans), default=0)

    def hold_log(self) -> None:
        """Each lease that ended is in the operation log once."""
        rows = [row.action for row in self.cloud.rows(OperationItem) if row.action in ("seat.closed", "support.ended")]
        for action, support in (("seat.closed", False), ("support.ended", True)):
            told, meant = rows.count(action), sum(seat[0] is support for seat in self.ended)
            must(told == meant, f"{meant} leases ended, and {action} was told {told} times")


@dataclass
class Station:
    """A workstation with its desktop, and a browser that its launcher may open."""

    scenario: Seats
    name: str
    #: Which of its processes this is: two may act at the same moment.
    process: int = 1
    support: bool = False
    seat: str = ""
    held: Seat | None = None
    until: float = 0
    secret: str = ""
    borrowed: bool = False
    #: A seat that it had before.
    former: tuple[str, Seat] | None = None
    #: The module that was closed last on this seat.
    closed: tuple[str, str] | None = None
    #: The instances that are open, and how many were ever.
    open: list[tuple[str, str]] = field(default_factory=list)
    count: int = 0

    @property
    def who(self) -> Who:
        """Who sits there."""
        return Who(self.name, f"PC-{self.name}", "local", f"{'SUP-' if self.support else ''}{self.name}")

    @property
    def holds(self) -> bool:
        """Whether it may believe that its seat is its own."""
        return bool(self.seat) and self.until > self.scenario.now.timestamp()

    def lease(self, module: str) -> None:
        """Open a module. Raises LicensingError."""
        self.count += 1
        instance = module, f"{self.process}.{self.count}"
        body = self.scenario.request(self.who, *instance)
        self.took(self.scenario.lease(body, rules.station(self.who)))
        self.open.append(instance)

    def took(self, answer: contract.SeatAnswer) -> None:
        """Remember what it was told."""
        if answer.seat_id != self.seat:
            self.open.clear()
            self.closed = None
        self.held = self.scenario.law.answered(answer, rules.station(self.who))
        self.seat, self.until = answer.seat_id, answer.lease_until.timestamp()
        self.secret, self.borrowed = answer.share_secret, answer.borrowed

    def share(self) -> None:
        """Its launcher opens a module in the browser, on the same seat."""
        self.count += 1
        instance, secret, mine = ("web", f"{self.process}.{self.count}"), self.secret, self.held
        browser = Who("", "", f"browser-{self.process}", f"web-{self.name}")
        body = self.scenario.request(browser, *instance, share_secret=secret)
        answer = self.scenario.lease(body, rules.station(browser), rules.station(self.who))
        law = self.scenario.law
        if answer.seat_id == self.seat:
            self.took(answer)
            self.open.append(instance)
        elif mine in law.seats and mine not in law.ending:
            at = self.scenario.now.timestamp()
            must(law.seats[mine].until <= at, "a web module opened by the launcher takes a seat of its own")

    def beat(self) -> None:
        """Say that it is there."""
        instance = self.open[-1] if self.open else (None, None)
        try:
            beat = partial(self._beat, self.seat, instance)
            self.took(self.scenario.of_seat("heartbeat", self, beat))
        except SeatLost:
            self.forget()

    @staticmethod
    def _beat(
        seat: str, instance: tuple[str | None, str | None], caller: stations.Caller, now: datetime
    ) -> contract.SeatAnswer:
        return seats.heartbeat(caller, seat, *instance, now)

    def close(self) -> None:
        """Close the module that was opened last; the last one frees the seat."""
        assert self.held
        if not self.open:
            self.leave()
            return
        instance, seat = self.open.pop(), self.seat
        ending = self.scenario.law.ending.setdefault(self.held, set())
        if ending is not None:
            ending.add(rules.instance(*instance))
        try:
            self.scenario.of_seat("close", self, lambda caller, now: seats.close(caller, seat, *instance, now))
        except SeatBorrowed:
            return
        self.closed = instance
        if not self.open:
            self.forget()

    def leave(self) -> None:
        """Release the seat."""
        assert self.held
        self.scenario.law.ending[self.held] = None
        seat = self.seat
        try:
            self.scenario.of_seat("release", self, lambda caller, now: seats.close(caller, seat, None, None, now))
        except SeatBorrowed:
            return
        self.forget()

    def give_back(self) -> None:
        """Return what it borrowed."""
        assert self.held
        self.scenario.law.ending[self.held] = None
        self.scenario.law.returned.add(self.held)
        seat = self.seat
        self.scenario.of_seat("return", self, lambda caller, now: seats.give_back(caller, seat, now))
        self.forget()

    def borrow(self) -> None:
        """Take the seat offline."""
        seat, held = self.seat, self.held
        try:
            answer = self.scenario.of_seat("borrow", self, lambda caller, now: seats.borrow(caller, seat, 1, now))
        except SeatLost:
            self.forget()
            return
        assert held
        entry = self.scenario.law.seats.get(held)
        if entry is None:
            must(held in self.scenario.law.returned, "a seat is borrowed, and is not there")
            self.forget()  # its other process gave it back in the meantime
            return
        must(entry.borrowed and entry.until == answer.borrowed_until.timestamp(), "a seat is borrowed, and is not")
        self.until, self.borrowed = entry.until, True

    def haunt(self) -> None:
        """A window that was forgotten speaks of a seat that is long over."""
        if self.former is None:
            return
        seat, held = self.former
        if self.scenario.pick(2):
            self.scenario.law.ending[held] = None
            self.scenario.ask_for(held, "late release", lambda caller, now: seats.close(caller, seat, None, None, now))
            return
        try:
            self.scenario.ask_for(
                held, "late heartbeat", lambda caller, now: seats.heartbeat(caller, seat, None, None, now)
            )
        except SeatLost:
            return
        must(held not in self.scenario.law.ended, "a seat is over, and its heartbeat is taken")

    def echo(self) -> None:
        """A module that was closed is heard of once more: that it is there, or that it closes."""
        if self.closed is None:
            return
        seat, instance = self.seat, self.closed
        if self.scenario.pick(2):
            with suppress(SeatBorrowed):
                self.scenario.of_seat("late close", self, lambda caller, now: seats.close(caller, seat, *instance, now))
            return
        try:
            self.took(self.scenario.of_seat("late heartbeat", self, partial(self._beat, seat, instance)))
        except SeatLost:
            self.forget()

    def forget(self) -> None:
        """It has no seat."""
        if self.held:
            self.former = self.seat, self.held
        self.seat, self.held, self.until, self.secret, self.borrowed = "", None, 0, "", False
        self.closed = None
        self.open.clear()


class Seats(Scenario):
    """A pool of one segment, and keys that make it larger and smaller: never oversold, nobody loses a seat, and none is lost."""

    #: The seats of the keys that are issued, the first of which is imported; and how many seats are borrowed for long.
    SIZES: ClassVar[tuple[int, ...]] = (2, 3, 1, 4, 2)
    BORROWED: ClassVar[int] = 0
    #: Seconds between what a station does, between what the administrator does, and between two looks at the stream.
    PAUSES: ClassVar[tuple[tuple[int, ...], ...]] = (0, 5, 60, 301), (1, 20, 300, 1200), (5, 60, 600)

    @classmethod
    def prepare(cls, cloud: Cloud) -> Any:
        _, text = activated(cloud)
        now = deployment.now()
        token = read(text, now)
        customer = administration.find_account(TAX_ID).customer
        keys = [
            activation_keys.issue(
                customer.customer_id,
                activation_keys.Terms(
                    {TAX_ID: customer.name}, _FIRST_DAY, _LAST_DAY, {_APPLICATION: size}, support=("sup-*",)
                ),
                OPERATOR,
                now,
            )
            for size in cls.SIZES
        ]
        first = activation_keys.preview(customer.customer_id, keys[0].text, now)
        activation_keys.import_key(customer.customer_id, first.preview_id, OPERATOR, now)
        pool_id, caller = key_pool_id(customer.customer_id, _APPLICATION), stations.by_server_token(token, now)
        for n in range(cls.BORROWED):
            body = _request(pool_id, Who(f"far-{n}", f"PC-FAR-{n}", "local", f"far-{n}"), "desktop", "1")
            answer, _ = seats.lease(caller, body, now)
            seats.borrow(caller, answer.seat_id, 30, now)
        return token, customer.customer_id, pool_id, keys

    def begin(self) -> None:
        self.token: ServerToken
        self.token, self.customer_id, self.pool_id, self.keys = self.props
        self.law = SeatLaw(self.cloud, self.pool_id, {each.key.key_id: each.key.serial for each in self.keys})
        self.law.check()
        self.law.stream.clear()
        #: Who is being served a lease.
        self.leasing: set[Actor | None] = set()
        self.imported = 0
        self.stations = self.people()
        for station in self.stations:
            self.actor(f"{station.name}-{station.process}", partial(self.work, station))
        if self.pick(4):
            self.actor("administrator", self.manage)
        self.actor("stream", self.record)

    def people(self) -> list[Station]:
        """Who comes: one of them may open two modules at the same moment."""
        names = ("ada", "bob", "cleo", "dan")[: 3 + self.pick(2)]
        twice = [Station(self, "ada", 2)] if self.pick(2) else []
        return [*(Station(self, name) for name in names), *twice]

    # ── requests ──

    def request(self, who: Who, module: str, instance: str, **more: Any) -> contract.SeatRequest:
        """What a station asks for."""
        return _request(self.pool_id, who, module, instance, **more)

    def lease(self, body: contract.SeatRequest, *station: str) -> contract.SeatAnswer:
        """A seat. Raises LicensingError."""

        def serve() -> contract.SeatAnswer:
            now = self.now
            caller = self.caller()
            self.leasing.add(self.simulation.running)
            try:
                answer, _ = seats.lease(caller, body, now)
            except SeatLimitReached:
                self.law.refused(int(now.timestamp()))
                raise
            finally:
                self.leasing.discard(self.simulation.running)
            self.law.answered(answer, next(each for each in station if each in answer.seat_id))
            return answer

        return self.ask(f"lease for {body.module} {body.instance}", serve)

    def of_seat(self, what: str, station: Station, call: Callable[[stations.Caller, datetime], T]) -> T:
        """What a holder asks. Raises LicensingError."""
        held, until = station.held, station.until
        assert held
        try:
            return self.ask_for(held, what, call)
        except SeatLost:
            over = until <= self.now.timestamp() or held in self.law.ended
            must(over, f"{station.name} holds its seat, and is told that it is lost")
            raise

    def ask_for(self, seat: Seat, what: str, call: Callable[[stations.Caller, datetime], T]) -> T:
        """What somebody asks about a seat. Raises LicensingError."""

        def serve() -> T:
            now = self.now
            try:
                return call(self.caller(), now)
            except SeatLost:
                self.law.lost(seat, int(now.timestamp()))
                raise

        return self.ask(what, serve)

    def caller(self) -> stations.Caller:
        """The server's token, looked at."""
        try:
            return stations.by_server_token(self.token, self.now)
        except SilentTooLong:
            must(self.now.timestamp() >= self.token.expires_at, "a server that validated is said to be silent")
            raise

    # ── who acts ──

    def work(self, station: Station) -> None:
        for _ in range(2 + self.pick(5)):
            self.pause(self.PAUSES[0][self.pick(4)])
            try:
                self.act(station)
            except SeatLimitReached as refusal:
                self.pause(refusal.retry_after or 1)
            except SilentTooLong:
                return

    def act(self, station: Station) -> None:
        if not station.holds:
            must(not station.borrowed or station.until <= self.now.timestamp(), "a borrowed seat is over early")
            station.forget()
            station.lease("desktop")
            return
        if station.support and self.pick(4):
            station.leave()  # they come and go: three at once need no seat
            return
        if station.borrowed:
            (station.beat, station.close, station.give_back)[self.pick(3)]()
            return
        match self.pick(10):
            case 0 | 1 | 2:
                station.beat()
            case 3:
                station.lease("ledger")
            case 4:
                station.close()
            case 5:
                station.leave()
            case 6:
                station.share()
            case 7:
                self.pause((590, 600, 601, 3600)[self.pick(4)])
                if station.seat:
                    station.beat()  # a laptop that wakes up does not know how late it is
            case 8 if not station.support:
                station.borrow()
            case 9:
                station.haunt()

    def manage(self) -> None:
        for _ in range(1 + self.pick(4)):
            self.pause(self.PAUSES[1][self.pick(4)])
            match self.pick(4):
                case 0 | 1:
                    self.change_key()
                case 2:
                    self.force_release()
                case 3:
                    self.reset_peak()

    def change_key(self) -> None:
        if self.imported == len(self.keys) - 1:
            return
        self.imported += 1
        text = self.keys[self.imported].text

        def serve() -> None:
            preview = activation_keys.preview(self.customer_id, text, self.now)
            activation_keys.import_key(self.customer_id, preview.preview_id, OPERATOR, self.now)

        self.ask(f"import key {self.imported}", serve)
        must(self.law.capacity == self.SIZES[self.imported], "the key is imported, and its pool does not follow")

    def force_release(self) -> None:
        rows = self.ask("look", lambda: seats.live(self.customer_id, self.pool_id, self.now, with_ids=True))
        chosen = rows[self.pick(len(rows))] if rows else None
        if chosen is None:
            return
        seat_id = str(chosen.seat_id)
        _, station, generation, _ = seat_id.split(".")
        self.law.ending[chosen.support, station, int(generation[1:], 16)] = None
        try:
            self.ask(
                "release a seat",
                lambda: seats.force_release(self.customer_id, self.pool_id, seat_id, OPERATOR, self.now),
            )
        except SeatBorrowed:
            return

    def reset_peak(self) -> None:
        self.ask("reset the peak", lambda: seat_use.reset_peak(self.customer_id, self.pool_id, OPERATOR, self.now))

    def record(self) -> None:
        """The Seats table's stream: in order of each segment, at least once, as late as it likes."""
        while any(not actor.done for actor in self.simulation.actors if actor.name != "stream"):
            self.pause(self.PAUSES[2][self.pick(3)])
            waiting = sorted(key for key, changes in self.law.stream.items() if changes)
            if waiting and self.pick(3):
                self.deliver(waiting[self.pick(len(waiting))])

    def deliver(self, key: str) -> None:
        batch = self.law.delivered(key, 1 + self.pick(6))
        try:
            self.simulation.request(
                f"stream of {key}",
                lambda: seat_use.record(self.pool_id, batch, self.now),
                allowed=(TemporarilyUnavailable,),
            )
        except (TemporarilyUnavailable, Lost):
            return
        del self.law.stream[key][: len(batch)]

    # ── what must hold ──

    def check(self) -> None:
        running = self.simulation.running
        self.law.check(leasing=running is None or running in self.leasing)

    def finish(self) -> None:
        self.check()
        for key in sorted(self.law.stream):
            if changes := self.law.stream[key]:
                seat_use.record(self.pool_id, self.law.delivered(key, len(changes)), self.now)
                changes.clear()
        state = seats.state_of(self.customer_id, self.pool_id, self.now)
        at = int(self.now.timestamp())
        must(state.in_use == self.law.in_use(at), f"{self.law.in_use(at)} seats are in use, and {state.in_use} shown")
        self.law.hold_peak(state.peak)
        self.law.hold_log()
        self.fill()

    def fill(self) -> None:
        """A second after all leases have ended, there are as many free seats as ever."""
        ends = [entry.until for entry in self.law.seats.values() if not entry.borrowed]
        self.simulation.now += timedelta(seconds=max([0, *(end - self.now.timestamp() + 1 for end in ends)]))
        if self.now.timestamp() >= self.token.expires_at:
            return
        current = self.cloud.find(CurrentKeyItem, f"KEYS#{self.customer_id}", "CURRENT")
        assert current
        free = max(0, self.SIZES[int(current.serial) - 1] - self.law.in_use(int(self.now.timestamp())))
        for n in range(free + 1):
            who = Who(f"new-{n}", f"PC-NEW-{n}", "local", f"new-{n}")
            try:
                seats.lease(self.caller(), self.request(who, "desktop", "1"), self.now)
            except LicensingError as refusal:
                must(n == free, f"{n} of {free} free seats can be had: {refusal.code}")
                break
            must(n < free, f"more than {free} free seats can be had")
            self.check()
        must(self.law.undealt <= 0, f"{self.law.undealt} seats are dealt out to nobody")


class SupportUsers(Seats):
    """Support users beyond their three places sit on seats as others do, and nobody on both (C8)."""

    PAUSES = (0, 0, 1, 5), (1, 20, 300, 1200), (5, 60, 600)

    def people(self) -> list[Station]:
        return [Station(self, name, n, support=True) for name in ("ada", "bob", "cleo", "dan") for n in (1, 2)]


class DividedSeats(Seats):
    """The same with a pool of several segments, which grow in number: quota moves to where a station lives."""

    SIZES = (8, 10, 9, 13, 7)
    BORROWED = 6


class GrowingSeats(Seats):
    """Each key divides the pool's segments once more, while stations come and go."""

    SIZES = (8, 9, 13, 25, 49)
    PAUSES = (0, 0, 1, 5), (0, 1, 5, 20), (5, 60, 600)


class SeveralModules(Seats):
    """Stations open and close modules, and what was closed is heard of again: it stays closed, and the others keep the seat."""

    def act(self, station: Station) -> None:
        if not station.holds:
            station.forget()
        if len(station.open) < 2:
            station.lease("desktop")
        else:
            station.close()
            station.echo()


class ShrinkingSeats(Seats):
    """Keys make the pool smaller at the very moment at which stations come and go: what is taken back is free."""

    SIZES = (4, 2, 3, 1, 2)
    PAUSES = (0, 0, 1, 5), (0, 0, 1, 5), (5, 60, 600)

    def manage(self) -> None:
        for _ in range(len(self.keys)):
            self.pause(self.PAUSES[1][self.pick(4)])
            self.change_key()


class WatchedSeats(Seats):
    """The use is looked at all the time, and its peak reset again and again."""

    PAUSES = (0, 1, 5, 60), (0, 1, 5, 20), (0, 1, 60)

    def manage(self) -> None:
        for _ in range(2 + self.pick(4)):
            self.pause(self.PAUSES[1][self.pick(4)])
            self.reset_peak()


def _request(pool_id: str, who: Who, module: str, instance: str, **more: Any) -> contract.SeatRequest:
    return contract.SeatRequest(
        pool_id=pool_id, company_tax_id=TAX_ID, module=module, instance=instance, **who._asdict(), **more
    )
