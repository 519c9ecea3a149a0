"""What it costs: the list prices times the counts. Per million validations, per million seat hours, per month for whole fleets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench import prices
from tests.bench.report import Line, Part

#: A day has one validation a server; the log keeps a year, as it comes.
DAYS, KEPT_DAYS = 30, 365
FLEETS = (1_000, 100_000, 10_000_000)
#: Servers validate within this window, in seconds.
WINDOW = 4 * 3600
#: How the State table's stream is read (template.yaml): at most so many records at once, after so many seconds, by so many readers.
BATCH, BATCH_SECONDS, READERS = 100, 5, 4 * 10
#: A seat is held through a shift, and its lease of ten minutes renewed three times in each.
SHIFT_HOURS, HEARTBEATS_PER_HOUR = 4, 18
#: Write units for each write of a seat, by what records how many are in use: some for each pool and batch of the stream.
USE_WRITES = 0.1


@dataclass(frozen=True, slots=True)
class Request:
    """What one request takes: units, bytes that go out, and milliseconds of processor in a function of ``memory`` MB.

    ``calls`` are to DynamoDB, one after the other.
    """

    read: float
    write: float
    calls: int
    cpu_ms: float
    bytes_out: float = 0
    memory: int = 1024


def billed_ms(cpu_ms: float, calls: int, memory: int) -> float:
    """How long a function runs: waiting for DynamoDB, and computing with its share of a processor."""
    return calls * prices.DYNAMODB_MS + cpu_ms / min(1, memory / prices.LAMBDA_FULL_CORE_MB)


def compute(cpu_ms: float, calls: int, memory: int = 1024) -> float:
    """Dollars for a million runs, without what each request costs."""
    return billed_ms(cpu_ms, calls, memory) / 1000 * memory / 1024 * prices.LAMBDA_GB_SECOND * prices.MILLION


def gateway(millions: float) -> float:
    """Dollars for so many million requests in a month."""
    cost, left, begin = 0.0, millions, 0.0
    for end, price in prices.HTTP_API:
        part = min(left, end - begin)
        cost, left, begin = cost + part * price, left - part, end
    return cost


def batch(servers: float) -> float:
    """How many entries of the log a function gets at once, at the noon of a fleet: a few servers' come one by one."""
    return max(1.0, min(BATCH, servers / WINDOW * BATCH_SECONDS / READERS))


def served(request: Request) -> dict[str, float]:
    """Dollars for a million requests through the gateway, by service."""
    return {
        "HTTP API": gateway(1),
        "Lambda requests": prices.LAMBDA_REQUESTS,
        "Lambda compute": compute(request.cpu_ms, request.calls, request.memory),
        "DynamoDB reads": request.read * prices.DYNAMODB_READ,
        "DynamoDB writes": request.write * prices.DYNAMODB_WRITE,
    }


def validation(
    request: Request, entry: Request, servers: float = FLEETS[-1]
) -> tuple[dict[str, float], dict[str, float]]:
    """A million validations of a fleet, with the log's entries behind them: what one site with the PEM signer costs, and what is a
    line of its own.
    """
    at_once = batch(servers)
    core = served(request)
    core["the log's writes"] = entry.write * prices.DYNAMODB_WRITE
    core["the log's function"] = prices.LAMBDA_REQUESTS / at_once + compute(entry.cpu_ms, entry.calls, entry.memory)
    apart = {
        "data to the internet": request.bytes_out * prices.MILLION / 1e9 * prices.OUT_GB,
        "log ingestion (access log)": prices.ACCESS_LOG_BYTES * prices.MILLION / 1e9 * prices.LOGS_GB,
        "traces (X-Ray's default sampling)": prices.XRAY_SHARE * prices.XRAY_TRACES * (1 + 1 / at_once),
        "queues": 0.0,
        "second site (replicated writes)": (request.write + entry.write) * prices.DYNAMODB_REPLICATED_WRITE,
        "KMS signer instead of PEM": prices.KMS_10K * 100,
    }
    return core, apart


def seat_hour(checkout: Request, heartbeat: Request, release: Request, use: float) -> dict[str, float]:
    """A million hours of a seat in use; ``use`` are write units of the use that is recorded behind each write of a seat."""
    parts = ((checkout, 1 / SHIFT_HOURS), (release, 1 / SHIFT_HOURS), (heartbeat, HEARTBEATS_PER_HOUR))
    found: dict[str, float] = {}
    for request, times in parts:
        for name, dollars in served(request).items():
            found[name] = found.get(name, 0) + dollars * times
    found["use, recorded behind"] = use * prices.DYNAMODB_WRITE * sum(times for _, times in parts)
    return found


def month(servers: int, request: Request, entry: Request, sizes: Mapping[str, float]) -> dict[str, float]:
    """A month of a fleet that validates once a day at two sites' deployment, with a year of its log kept; dollars."""
    millions = servers * DAYS / prices.MILLION
    core, apart = validation(request, entry, servers)
    per_million = {**core, **apart}
    bill = {name: dollars * millions for name, dollars in per_million.items() if name != "KMS signer instead of PEM"}
    bill["HTTP API"] = gateway(millions)
    kept = servers * (KEPT_DAYS * sizes["log entry"] + sizes["state"] + sizes["projection"]) / 1e9
    bill["data kept at both sites, with backups"] = 2 * kept * (prices.DYNAMODB_STORAGE + prices.DYNAMODB_BACKUP)
    bill["KMS keys and the secret"] = 6 * prices.KMS_KEY + prices.SECRET
    return bill


def measure(counted: Mapping[str, Any], cpu: Mapping[str, Any]) -> Part:
    """From what was counted and measured in this run."""
    found = counted["validation"][0]
    sizes = found["sizes"]

    def of_seats(name: str, asked: str) -> Request:
        worst = counted["seats"][-1][name]
        took = cpu[asked]
        return Request(worst["read"], worst["write"], len(took["calls"]), took["cpu"]["handler"] / 1000, 900)

    chief, entry = cpu["validation"], cpu["log entry"]
    took = chief["cpu"]["handler"] / 1000
    request = Request(found["read"], found["write"] - 1, len(chief["calls"]), took, sizes["answer"], chief["memory"])
    behind = Request(0, 1, 1, entry["cpu"]["handler"] / 1000 / entry["of"], memory=entry["memory"])
    core, apart = validation(request, behind)
    seat = seat_hour(
        of_seats("checkout", "seat checkout"),
        of_seats("heartbeat", "seat heartbeat"),
        of_seats("release", "seat release"),
        USE_WRITES,
    )
    months = {str(servers): month(servers, request, behind, sizes) for servers in FLEETS}
    part = Part(data={"validations": {"core": core, "apart": apart}, "seat_hours": seat, "months": months})
    part.lines.append(Line("price", "a million validations, one site, PEM signer", sum(core.values()), "$", 3))
    part.lines += [Line("price", f"  apart: {name}", dollars, "$") for name, dollars in apart.items()]
    part.lines.append(Line("price", "a million seat hours", sum(seat.values()), "$"))
    part.lines += [
        Line("price", f"a month of {servers:,} servers, all of it", sum(months[str(servers)].values()), "$")
        for servers in FLEETS
    ]
    return part
