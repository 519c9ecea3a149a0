"""Thousands of License Managers in a few processes, over HTTP on loopback, while Site 1 goes away and comes back, AWS is throttled
and times out, and answers are lost: nobody gets an answer that is not documented, no operation is lost or doubled, no seat is
oversold, memory stays flat. Exit status 1 if anything is wrong.

python -m tests.bench.load --servers 2000 --processes 4 --minutes 3

They activate first, which is no part of the minutes. Two days go by in these, one at the start and one at half-time.
"""

import argparse
import gc
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from moto.backends import get_backend
from stdnum.luhn import calc_check_digit

import tests.conftest  # noqa: F401  tables are named before anything is imported
from infra.local.aws import LOCK
from infra.local.stack import PRIMARY, Stack
from infra.local.template import ACCOUNT, REGION
from tests.bench import load_clients
from tests.bench.load_clients import APPLICATION, LEASE_SECONDS, Given, Key, Seen
from tests.bench.processes import at_once
from tests.bench.seat_contention import most_at_once
from tests.support import faults

#: Installations of a customer, and seats that their ten stations share.
PER_CUSTOMER, SEATS = 50, 6
#: Days that go by, the first at the start.
DAYS = 2
#: Site 1 is away for the last third of each.
OUTAGE_EVERY = 30
#: Nobody needs longer for activating everything.
LONGEST_ACTIVATION = 3600
#: What License Managers do, and which details of the entry tell one from another; one more action tells of several at once.
_TOLD_BY = {
    "server.activated": ("gen",),
    "server.validated": ("gen", "seq"),
    "server.deactivated": ("gen",),
    "seat.closed": ("terminal", "session"),
}
_OTHERS = {"seat.denied"}
#: Flat: what is resident beside the rows grows by less than this share in the last third; until then, things are met for the first
#: time, and caches fill. A shorter run says nothing about it.
GROWTH, TELLING_SECONDS = 0.03, 120
#: When it is looked at, by the share of the time; seconds before, since at the end comes what the processes tell.
_LOOKS, SHORTLY = (("activated", 0.0), ("a third", 1 / 3), ("two thirds", 2 / 3), ("the end", 1.0)), 3


@dataclass
class Customers:
    """Those that were made: installations by their tokens, and the pool of each customer."""

    tokens: list[str] = field(default_factory=list)
    pools: dict[str, str] = field(default_factory=dict)
    installations: list[str] = field(default_factory=list)


def make_customers(stack: Stack, servers: int) -> Customers:
    """As many customers as it takes, each with a license for its servers and a key for its stations."""
    from licensing import activation_keys, administration, loading, seats
    from licensing.activation_keys import Terms
    from licensing.rules.activation_keys import key_pool_id
    from licensing.rules.operations import Origin
    from licensing.store import accounts

    made, now, by = Customers(), stack.clock().replace(microsecond=0), Origin("vendor", "bench", "bench")
    for place in range(0, servers, PER_CUSTOMER):
        body = f"{7_000_000 + place // PER_CUSTOMER:07d}015"
        tax_id = f"IT{body}{calc_check_digit(body)}"
        names = [f"Server {each:05d}" for each in range(place, min(servers, place + PER_CUSTOMER))]
        customer = {
            "name": f"Customer {place // PER_CUSTOMER}", "tax_id": tax_id, "country": "IT", "time_zone": "Europe/Rome",
            "contacts": [{"name": "Somebody", "email": f"somebody@customer-{place}.example"}],
            "installations": [{"name": each} for each in names],
            "licenses": [{"code": f"LOAD-{place:05d}", "sku": "AQ-SUB-10", "quantity": len(names) * 10,
                          "last_day": "2099-12-31", "allocations": dict.fromkeys(names, 10)}],
        }  # fmt: skip
        tokens = {name: token for _, name, token in loading.load({"customers": [customer]}, now).activation_tokens}
        made.tokens += [tokens[name] for name in names]
        customer_id = accounts.find_by_tax_id(tax_id) or ""
        made.installations += administration.find_account(tax_id).installations
        terms = Terms({tax_id: "Customer"}, now.date() - timedelta(days=2), now.date() + timedelta(days=300),
                      {APPLICATION: capacity(servers)}, lease_seconds=LEASE_SECONDS)  # fmt: skip
        issued = activation_keys.issue(customer_id, terms, by, now)
        preview = activation_keys.preview(customer_id, issued.text, now)
        activation_keys.import_key(customer_id, preview.preview_id, by, now)
        made.pools[customer_id] = key_pool_id(customer_id, APPLICATION)
        seats.settle(made.pools[customer_id], now)
    return made


def capacity(servers: int) -> int:
    """Fewer seats than stations."""
    return max(1, min(servers, PER_CUSTOMER) * SEATS // PER_CUSTOMER)


class Trouble:
    """A share of the functions' AWS calls fails."""

    def __init__(self, stack: Stack, rate: float, seed: int) -> None:
        self.met: Counter[str] = Counter()
        self._stack, self._rate, self._chance = stack, rate, random.Random(seed)

    def begin(self) -> None:
        """From now on."""
        self._stack.aws.interceptor = self._intercept

    def end(self) -> None:
        """No more."""
        self._stack.aws.interceptor = None

    def _intercept(self, event: str, request: Any) -> Any:
        if self._stack.functions.running is None or self._chance.random() >= self._rate:
            return None
        _, service, called = event.split(".", 2)
        kinds = ("throttle", "conflict", "timeout_before", "timeout_after")
        fault = self._chance.choice(kinds if service == "dynamodb" else kinds[2:])
        self.met[fault] += 1
        return faults.meet(fault, called, request)


# ── memory ──


def resident() -> float:
    """The MB that this process has in memory."""
    gc.collect()
    said = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    return int(said.stdout) / 1024


def _weight(thing: Any) -> int:
    """Bytes of a tree of plain objects."""
    inner: Iterable[Any] = ()
    size = sys.getsizeof(thing)
    if isinstance(thing, Mapping):
        inner = (each for pair in thing.items() for each in pair)
    elif isinstance(thing, (list, tuple, set)):
        inner = thing
    elif hasattr(thing, "__dict__") and not isinstance(thing, type):
        inner, size = thing.__dict__.values(), size + sys.getsizeof(thing.__dict__)
    elif isinstance(thing, str) and len(thing) < 2:
        return 0  # there is one of each
    return size + sum(_weight(each) for each in inner)


def rows() -> tuple[int, float]:
    """What the emulator keeps for the functions: how many items and messages, and their MB, by a sample of each table."""
    tables = get_backend("dynamodb")[ACCOUNT][REGION].tables.values()
    queues = get_backend("sqs")[ACCOUNT][REGION].queues.values()
    stored = [
        [item for part in table.items.values() for item in part.values()] for table in tables if table.range_key_attr
    ]
    stored += [list(table.items.values()) for table in tables if not table.range_key_attr]
    stored += [queue._messages for queue in queues]
    count, size = 0, 0.0
    for things in stored:
        sample = things[:: max(1, len(things) // 200)]
        count += len(things)
        size += sum(_weight(_parts(each)) for each in sample) / max(1, len(sample)) * len(things)
    return count, size / 2**20


def _parts(thing: Any) -> Any:
    """An item without what it refers to."""
    return thing.attrs if hasattr(thing, "attrs") else thing.body


def forget_streams(stack: Stack) -> None:
    """Drop what all readers of a stream have read, as DynamoDB does after a day; the emulator keeps both images of each write."""
    known = get_backend("dynamodbstreams")[ACCOUNT][REGION].shard_iterators
    for table in get_backend("dynamodb")[ACCOUNT][REGION].tables.values():
        shard = table.stream_shard
        if shard is not None:
            readers = [
                known[each._iterator].sequence_number for each in stack.streams if each._arn.split("/")[1] == table.name
            ]
            read = (
                min(readers, default=shard.starting_sequence_number + len(shard.items)) - shard.starting_sequence_number
            )
            del shard.items[:read]
            shard.starting_sequence_number += read


@dataclass(frozen=True)
class Memory:
    """A look at it. ``size`` and ``resident`` are in MB."""

    when: str
    resident: float
    count: int
    size: float

    @property
    def rest(self) -> float:
        """What is not the rows'."""
        return self.resident - self.size


def look_at_memory(stack: Stack, when: str) -> Memory:
    """How it is now."""
    with LOCK:
        forget_streams(stack)
        return Memory(when, resident(), *rows())


def is_flat(looks: Sequence[Memory]) -> bool:
    """Whether what is not the rows' has stayed since the last look but one."""
    *_, before, last = looks
    return last.rest <= before.rest * (1 + GROWTH)


# ── the log ──


def compare(seen: Seen, logged: Counter[Key]) -> list[str]:
    """What is wrong in the log, by what License Managers know: an operation that took effect is there once, one whose answer was
    lost once at most, and no other."""
    wrong = [f"lost: {' '.join(map(str, key))}" for key in sorted(seen.known - logged.keys(), key=str)]
    wrong += [f"{count} times: {' '.join(map(str, key))}" for key, count in logged.items() if count > 1]
    others = logged.keys() - seen.known
    for action, count in Counter(str(key[0]) for key in others).items():
        if action == "seat.closed":  # many a lease ends by itself
            count = sum(key[1:] not in seen.asked for key in others if key[0] == action)
            may = 0
        else:
            may = seen.uncertain[action]
        if count > may:
            wrong.append(f"{count} times {action} of nobody; {may} answers were lost")
    return wrong


def read_log(customer_ids: Iterable[str], first: datetime, last: datetime) -> tuple[Counter[Key], Counter[str]]:
    """What License Managers and stations did, and how many entries there are of each action since ``first``."""
    from licensing.store import operations

    logged: Counter[Key] = Counter()
    actions: Counter[str] = Counter()
    for customer_id in customer_ids:
        for day in range((last.date() - first.date()).days + 1):
            for stored in operations.page(customer_id, first.date() + timedelta(days=day)):
                told = stored.operation
                if told.by.kind != "server":
                    continue
                actions[told.action] += 1
                if names := _TOLD_BY.get(told.action):
                    logged[told.action, told.subject_id, *(told.details[name] for name in names)] += 1
    return logged, actions


def gaps(logged: Iterable[Key], states: Mapping[str, Any]) -> list[str]:
    """Generations and sequences that were taken, by the servers' states, and are not in the log."""
    missing = []
    known = set(logged)
    last: dict[tuple[str, int], int] = {}
    for key in known:
        if key[0] == "server.validated":
            place = str(key[1]), int(key[2])
            last[place] = max(last.get(place, 0), int(key[3]))
    for installation_id, state in states.items():
        last[installation_id, state.gen] = state.seq
        missing += [("server.activated", installation_id, gen) for gen in range(1, state.gen + 1)]
        missing += [("server.deactivated", installation_id, gen) for gen in range(1, state.gen + (not state.held))]
    missing += [("server.validated", *place, seq) for place, most in last.items() for seq in range(1, most + 1)]
    return [f"not in the log: {' '.join(map(str, key))}" for key in missing if key not in known]


def look_at_pools(made: Customers, seen: Seen, logged: Iterable[Key], seats: int) -> tuple[int, list[str]]:
    """The most seats that were held at once in any pool, and what is wrong with the pools."""
    from licensing.store import seats as store

    wrong, most = [], 0
    closed = {key[1:] for key in logged if key[0] == "seat.closed"}
    for pool_id in made.pools.values():
        state, segments = store.get_pool(pool_id), store.segments(pool_id)
        dealt = sum(each.quota for each in segments) + (state.undealt if state else 0)
        if dealt != seats:
            wrong.append(f"quotas of {pool_id} add up to {dealt} of {seats}")
        most = max(most, at_most := most_at_once(seen.held[pool_id]))
        if at_most > seats:
            wrong.append(f"{at_most} seats held of {seats} in {pool_id}")
        closed |= {(pool_id, each.who.terminal, each.who.session) for one in segments for each in one.entries.values()}
    wrong += [f"a lease is gone without a trace: {' '.join(map(str, key))}" for key in seen.leased - closed]
    return most, wrong


# ── the run ──


def work_off(stack: Stack) -> int:
    """All that waits behind the requests; returns how many messages nobody could handle."""
    with LOCK:
        while stack.aws.hurry_queues() & {each.queue for each in stack._queues}:
            stack.queues.run_once()
        stack.queues.run_once()
        os.environ.update(PRIMARY.environment)  # where what is called from here takes place
        served = {each.queue for each in stack._queues}
        queues = get_backend("sqs")[ACCOUNT][REGION].queues
        return sum(len(queue._messages) for name, queue in queues.items() if name not in served)


class Day:
    """What happens while License Managers live: outages of Site 1, days that go by, looks at the memory."""

    def __init__(self, stack: Stack, seconds: float, offset: Any) -> None:
        self.looks: list[Memory] = []
        self.outages = 0
        self._stack, self._seconds, self._offset = stack, seconds, offset
        self._every = min(OUTAGE_EVERY, seconds)
        self._away = False
        self._days = 0

    def __call__(self, count: int, took: float) -> str:
        part = took / self._seconds
        if len(self.looks) < len(_LOOKS) and took >= _LOOKS[len(self.looks)][1] * self._seconds - SHORTLY:
            self._look()
        if self._days <= min(DAYS - 1, int(part * DAYS)):
            self._next_day()
        away = part < 1 and took % self._every > self._every * 2 / 3
        if away != self._away:
            self.outages += away
            (self._stack.sites[0].stop if away else self._stack.sites[0].start)()
            self._away = away
        with LOCK:
            forget_streams(self._stack)
        where, seconds = "away" if away else "there", self._seconds
        return f"{took:4.0f} of {seconds:.0f} s, day {self._days}: {count} requests, {count / took:.0f} a second, Site 1 {where}"

    def _look(self) -> None:
        self.looks.append(look_at_memory(self._stack, _LOOKS[len(self.looks)][0]))

    def _next_day(self) -> None:
        with LOCK:  # nobody is served in between
            self._stack.clock.advance(timedelta(days=1))
            self._offset.value = self._stack.clock.offset.total_seconds()
        self._days += 1

    def end(self) -> None:
        """Site 1 is there again."""
        self._stack.sites[0].start()
        while len(self.looks) < len(_LOOKS):
            self._look()


def table(seen: Seen) -> str:
    """Requests by route, with what was answered."""
    lines = [f"  {'requests':<38}{'':>7}{'p50':>8}{'p99':>8}   answers"]
    for route in sorted({route for route, _ in seen.answers}):
        answers = {status: count for (name, status), count in sorted(seen.answers.items()) if name == route}
        times = sorted(seen.seconds[route]) or [0.0]
        p50, p99 = statistics.median(times) * 1000, times[int(len(times) * 0.99)] * 1000
        shown = ", ".join(f"{status}: {count}" for status, count in answers.items())
        lines.append(f"  {route:<38}{sum(answers.values()):>7}{p50:>5.0f} ms{p99:>5.0f} ms   {shown}")
    lines.append("  documented codes: " + ", ".join(f"{code} {n}" for code, n in sorted(_by_code(seen).items())))
    return "\n".join(lines)


def _by_code(seen: Seen) -> Counter[str]:
    found: Counter[str] = Counter()
    for (_, code), count in seen.codes.items():
        found[code] += count
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the stack, let the License Managers at it, look, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=2000, help="with a License Manager each")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--faults", type=float, default=0.01, help="share of the functions' AWS calls that fail")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    options.seconds = options.minutes * 60
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and Ctrl-C: the processes are ended on the way out
    try:
        return run(options)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 1


def run(options: argparse.Namespace) -> int:
    """The whole of it; returns the exit status."""
    with ExitStack() as until:
        directory = Path(until.enter_context(tempfile.TemporaryDirectory()))
        until.enter_context(
            patch("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: None))
        )  # between tries
        stack = until.enter_context(Stack(directory=directory / "stack"))
        with LOCK:
            os.environ.update(PRIMARY.environment)
            made = make_customers(stack, options.servers)
        began = datetime.now(UTC)
        offset = multiprocessing.get_context("spawn").Value("d", 0.0)
        given = Given(directory / "homes", stack.vendor_file, made.tokens, offset)
        trouble = Trouble(stack, options.faults, options.seed)
        until.callback(trouble.end)
        trouble.begin()

        def activating(count: int, took: float) -> str:
            with LOCK:
                forget_streams(stack)
            return f"{took:4.0f} s: {options.servers} License Managers activate, {count} requests, {count / took:.0f} a second "

        longer = argparse.Namespace(**{**vars(options), "seconds": LONGEST_ACTIVATION})
        first, activated_in = at_once(load_clients.activate, given, longer, activating, every=1)
        day = Day(stack, options.seconds, offset)
        then, took = at_once(load_clients.live, given, options, day, every=1)
        day.end()
        trouble.end()
        stack.queues.stop()
        unhandled = work_off(stack)
        seen = Seen()
        for each in (*first, *then):
            seen.add(each)
        with LOCK:
            return report(options, stack, made, seen, day, trouble, (began, activated_in, took), unhandled)


def report(
    options: argparse.Namespace,
    stack: Stack,
    made: Customers,
    seen: Seen,
    day: Day,
    trouble: Trouble,
    times: tuple[datetime, float, float],
    unhandled: int,
) -> int:
    """Compare what License Managers know with what the deployment knows; print; the exit status."""
    from licensing.store import servers

    began, activated_in, took = times
    logged, actions = read_log(made.pools, began - timedelta(days=1), stack.clock() + timedelta(days=1))
    seats = capacity(options.servers)
    most, in_pools = look_at_pools(made, seen, logged, seats)
    states = servers.get_many(made.installations)
    never = [f"never activated: {each}" for each in made.installations if each not in states]
    strange = [f"{count} times {action}" for action, count in actions.items() if action not in {*_TOLD_BY, *_OTHERS}]
    requests = sum(seen.answers.values())
    print(
        f"{options.servers} License Managers in {options.processes} processes: activated in {activated_in:.0f} s, then {took:.0f} s"
    )
    print(f"{requests} requests, {requests / (activated_in + took):.0f} a second; Site 1 was away {day.outages} times, "
          f"{seen.failed_over} answers came from Site 2")  # fmt: skip
    print(f"AWS: {', '.join(f'{count} {name}' for name, count in sorted(trouble.met.items())) or 'no faults'}")
    print(table(seen))
    print(f"  {'in the log':<38}{'':>7}{'known':>8}{'more':>7}{'lost answers':>14}")
    for action in sorted(actions):
        known = {key for key in seen.known if key[0] == action}
        more = sum(key[0] == action for key in logged.keys() - known)
        print(f"  {action:<38}{actions[action]:>7}{len(known):>8}{more:>7}{seen.uncertain[action]:>14}")
    print(f"  seats: {len(seen.leased)} leases; most held at once in a pool {most} of {seats}")
    print(f"  {'memory':<14}{'resident':>10}{'rows':>9}{'of them':>11}{'the rest':>11}")
    for each in day.looks:
        print(f"  {each.when:<14}{each.resident:>7.0f} MB{each.count:>9}{each.size:>8.0f} MB{each.rest:>8.0f} MB")
    wrong = {
        "answers that are not documented": seen.undocumented,
        "met by License Managers": seen.faults,
        "License Managers that never activated": never,
        "operations lost or doubled": compare(seen, logged),
        "gaps in the log": gaps(logged, states),
        "other operations": strange,
        "pools": in_pools,
        "messages nobody could handle": ["…"] * unhandled,
        "memory": [] if options.seconds < TELLING_SECONDS or is_flat(day.looks) else ["it grows"],
    }
    print("\nWrong:")
    for name, found in wrong.items():
        print(f"  {name:<42}{len(found):>8}", *found[:3], sep="\n    " if found else "")
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
