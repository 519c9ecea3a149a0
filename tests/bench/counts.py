"""What a validation and a seat cost in requests and capacity units, counted at botocore by DynamoDB's published rules."""

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from licensing import loading
from moto.backends import get_backend

from infra.local.template import ACCOUNT, REGION
from tests.bench import seat_costs
from tests.bench.report import Line, Part, Say
from tests.support.cloud import TAX_ID, Cloud, Server
from tests.support.units import Meter, Units, item_size

ENTITLEMENTS = 20
SERVERS = (1, 10, 100)
POOLS = (10, 100, 1000, 10_000)


def fleet(cloud: Cloud, servers: int) -> Server:
    """A customer with so many servers, each of them with twenty entitlements; one of them activated, and some days old."""
    document = deepcopy(cloud.stack.document)
    customer = next(each for each in document["customers"] if each["tax_id"] == TAX_ID)
    names = ["Milano", *(f"Server {n:03d}" for n in range(1, servers))]
    kinds = [each for each in customer["licenses"] if "Milano" in each["allocations"]]
    customer["installations"] = [*customer["installations"], *({"name": name} for name in names[1:])]
    for at in range(ENTITLEMENTS):
        kind = kinds[at % len(kinds)]
        own = {"quantity": 10 * servers, "allocations": dict.fromkeys(names, 10)}
        if at < len(kinds):
            kind.update(own)
        else:
            customer["licenses"].append({**kind, **own, "code": f"{kind['code']}-{at}"})
    loading.load({"customers": [customer]}, cloud.now)
    server = Server(cloud, report={"databases": ["main", "archive"]})
    server.activate(cloud.token_of("Milano"))
    server.report["usage"] = {"advanced-queueing": 17}
    found = len(server.claims["ent"])
    if found != ENTITLEMENTS:
        raise RuntimeError(f"the server has {found} entitlements")
    for _ in range(9):  # all slots of the ring of nonces are taken
        server.validate()
    cloud.work_off_streams()
    return server


def validation(cloud: Cloud, servers: int) -> tuple[dict[str, Units], Counter[str], dict[str, int]]:
    """Units by table, calls by name, and sizes in bytes, of one validation and the log's entry behind it."""
    server = fleet(cloud, servers)
    calls: Counter[str] = Counter()
    meter = Meter(lambda operation, table, partition: table.removeprefix("licensing-"))

    def note(event: str, request: Any) -> None:
        calls[event.removeprefix("before-send.")] += 1
        meter.note(event, request)

    cloud.stack.aws.interceptor = note
    try:
        response = server.validate()
        cloud.work_off_streams()
    finally:
        cloud.stack.aws.interceptor = None
    meter.settle()
    if not response.json()["valid"]:
        raise RuntimeError(response.text)
    sizes = {
        "answer": int(response.headers["content-length"])
        + sum(len(name) + len(value) + 4 for name, value in response.headers.items())
    }
    tables = get_backend("dynamodb")[ACCOUNT][REGION].tables
    newest = max(
        (
            item.to_json()["Attributes"]
            for part in tables["licensing-Operations"].items.values()
            for item in part.values()
        ),
        key=lambda item: item["sk"]["S"],
    )
    sizes["log entry"] = item_size(newest)
    sizes["state"] = item_size(
        tables["licensing-State"].items[_key(tables["licensing-State"], server.claims["sub"])].to_json()["Attributes"]
    )
    standing = next(
        item for key, part in tables["licensing-Licensing"].items.items() if key.value == server.claims["cus"]
        for name, item in part.items() if name.value == f"ENT#{server.claims['sub']}"
    )  # fmt: skip
    sizes["projection"] = item_size(standing.to_json()["Attributes"])
    return dict(meter.by_kind), calls, sizes  # type: ignore[arg-type]


def _key(table: Any, name: str) -> Any:
    return next(key for key in table.items if key.value == name)


def median(units: Sequence[Units]) -> Units:
    """Of reads and writes, each for itself."""
    at = len(units) // 2
    return Units(sorted(each.read for each in units)[at], sorted(each.write for each in units)[at])


def validations(cloud: Cloud, say: Say) -> Part:
    """At 1, 10 and 100 servers per customer."""
    part = Part()
    growth = part.data["validation"] = []
    for servers in SERVERS:
        say(f"counting validations at {servers} servers per customer")
        cloud.stack.reset()
        by_table, calls, sizes = validation(cloud, servers)
        reads, writes = (sum(getattr(each, kind) for each in by_table.values()) for kind in ("read", "write"))
        many = f"{servers} server{'s' if servers > 1 else ''} per customer"
        part.lines += [
            Line("validation", f"reads, {many}", reads, "RRU", 1),
            Line("validation", f"writes (state, log), {many}", writes, "WRU", 2),
        ]
        growth.append({"servers": servers, "read": reads, "write": writes, "sizes": sizes, "calls": dict(calls)})
    return part


def seats(cloud: Cloud, say: Say, pools: Sequence[int] = POOLS) -> Part:
    """Checkout, heartbeat, release, moved quota and refusals, by the size of the pool."""
    part = Part()
    growth = part.data["seats"] = []

    def fresh(capacity: int) -> Any:
        cloud.stack.reset()
        server = Server(cloud)
        server.activate(cloud.token_of("Milano"))
        return seat_costs.opened(cloud, server, capacity)

    for capacity in pools:
        say(f"counting seats in a pool of {capacity:,}")
        usual = {
            name: median(found)
            for name, found in seat_costs.usual(*fresh(capacity), 3 if capacity == 10 else 20).items()
        }
        moved = [units for units, _ in seat_costs.moves(*fresh(capacity), max(2, min(12, capacity // 50)))]
        refused = seat_costs.refusals(*fresh(capacity), 10)
        found = {**usual, "moved": median(moved), "refused": max(refused, key=lambda each: each.write)}
        growth.append({"capacity": capacity, **{name: vars(units) for name, units in found.items()}})

    def most(name: str, kind: str) -> float:
        return max(each[name][kind] for each in growth)

    many = f"pools of {pools[0]:,} to {pools[-1]:,}"
    targets = {"checkout": (1, 1), "heartbeat": (0, 1), "release": (0, 1), "moved": (3, 5)}
    for name, (reads, writes) in targets.items():
        what = "checkout that moves quota" if name == "moved" else name
        part.lines += [
            Line("seats", f"{what}, reads, {many}", most(name, "read"), "RRU", reads),
            Line("seats", f"{what}, writes, {many}", most(name, "write"), "WRU", writes),
        ]
    part.lines.append(Line("seats", f"denial, writes in the request, {many}", most("refused", "write"), "WRU", 0))
    say("counting denials")
    pool, _ = fresh(10)
    behind = seat_costs.true_denials(pool, 100)
    part.lines.append(
        Line("seats", "denial, writes behind the request, 100 in a minute", behind.write / 100, "WRU", 0.1)
    )
    return part
