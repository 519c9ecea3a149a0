"""A simulated day of ten million servers: when they call, with and without the spread window, and what stands in the way.

When a server calls is the product's own decision (``heartbeat.next_validation``). It puts a server into the window by a hash of its
id; a share of a SHA-256 is as good as a random number, so the ten million are drawn, and a sample is asked of the rule itself.
"""

from collections import deque
from datetime import UTC, datetime
from typing import Any

import numpy as np
from licensing.rules.heartbeat import Window, next_validation

from tests.bench.report import Line, Part, Say

SERVERS, SEED, SAMPLE = 10_000_000, 20_260_401, 20_000
DAY = 24 * 3600
#: Quotas and limits that AWS documents. A new on-demand table takes 4,000 writes a second, by four partitions.
ENVIRONMENTS_PER_10_S, WRITES_PER_PARTITION, PARTITIONS, SIGNATURES = 1000, 1000, 4, 1000
#: template.yaml: requests a second, and at once, that the API lets through.
API_RATE, API_BURST = 1000, 2000
#: How far the clocks of servers that all mean noon are apart, in seconds (one sigma), without a window.
CLOCKS = 20.0
#: A cold start and a warm answer, in seconds; generous beside what is measured.
COLD, WARM = 1.0, 0.05


def arrivals(spread: bool, servers: int = SERVERS, seed: int = SEED) -> Any:
    """How many servers of one time zone call in each second of a day, from the local midnight on."""
    chance = np.random.default_rng(seed)
    window = Window()
    opens = window.start.hour * 3600
    width = (window.end.hour - window.start.hour) * 3600
    if spread:
        moments = opens + (chance.random(servers) * width).astype(np.int64)
    else:
        moments = (12 * 3600 + chance.normal(0, CLOCKS, servers)).astype(np.int64)
    return np.bincount(moments.clip(0, DAY - 1), minlength=DAY)


def sampled(servers: int = SAMPLE) -> Any:
    """Seconds since the local midnight at which the rule itself lets servers call."""
    now = datetime(2026, 4, 1, 11, tzinfo=UTC)
    midnight = datetime(2026, 4, 2, tzinfo=UTC)
    moments = [next_validation(f"ins_{number:020d}", now, "UTC", Window()) for number in range(servers)]
    return np.array([(moment - midnight).total_seconds() for moment in moments])


def environments(per_second: Any) -> tuple[int, int]:
    """How many environments Lambda makes, and requests that find none: a request that meets no idle one makes its own, as long as
    the quota lasts, and is answered when that is ready.
    """
    per_tick = 1 / WARM
    made, idle, refused, quota = 0, 0, 0, float(ENVIRONMENTS_PER_10_S)
    done: deque[tuple[float, int]] = (
        deque()
    )  # environments that are busy for a tick, or starting, by when they are idle
    starting: deque[tuple[float, int]] = deque()
    for second in np.flatnonzero(per_second):
        arriving = int(per_second[second])
        for tick in range(int(per_tick)):
            at = second + tick * WARM
            quota = min(ENVIRONMENTS_PER_10_S, quota + ENVIRONMENTS_PER_10_S / 10 * WARM)
            for queue in (done, starting):
                while queue and queue[0][0] <= at + 1e-9:
                    idle += queue.popleft()[1]
            asked = arriving * (tick + 1) // int(per_tick) - arriving * tick // int(per_tick)
            served = min(asked, idle)
            new = min(asked - served, int(quota))
            idle, made, quota = idle - served, made + new, quota - new
            refused += asked - served - new
            done.append((at + WARM, served))
            starting.append((at + COLD, new))
    return made, refused


def through_the_gateway(per_second: Any) -> int:
    """Requests that the API's own throttle turns away: a bucket of the burst, filled at the rate."""
    bucket, refused = float(API_BURST), 0
    for count in per_second:
        bucket = min(API_BURST, bucket + API_RATE)
        refused += int(max(0, count - bucket))
        bucket -= min(count, bucket)
    return refused


def described(per_second: Any) -> dict[str, float]:
    """Peaks, and what would be throttled."""
    open_seconds = per_second[10 * 3600 : 14 * 3600]
    made, no_environment = environments(per_second)
    return {
        "peak": int(per_second.max()),
        "mean": float(open_seconds.mean()),
        "environments": made,
        "no_environment": no_environment,
        "gateway": through_the_gateway(per_second),
        "writes": int((per_second - WRITES_PER_PARTITION * PARTITIONS).clip(0).sum()),
        "signatures": int((per_second - SIGNATURES).clip(0).sum()),
    }


def measure(say: Say) -> Part:
    """With and without the window."""
    part = Part()
    for name, spread in (("spread", True), ("noon", False)):
        say(f"a day of {SERVERS:,} servers: {name}")
        per_second = arrivals(spread)
        part.data[name] = {**described(per_second), "per_minute_peak": _minutes(per_second)}
    spread, noon = part.data["spread"], part.data["noon"]
    quarters = np.histogram(sampled(), bins=16, range=(10 * 3600, 14 * 3600))[0]
    part.data["sample"] = {"largest quarter of an hour ÷ mean": float(quarters.max() / quarters.mean())}
    throttled = sum(spread[name] for name in ("no_environment", "gateway", "writes", "signatures"))
    part.lines = [
        Line("fleet", "10 M servers, peak ÷ mean in the window", spread["peak"] / spread["mean"], "×", 1.2),
        Line("fleet", "throttled by Lambda, gateway, partitions or KMS", throttled, "requests", 0),
        Line("fleet", "busiest second", spread["peak"], "requests"),
        Line("fleet", "environments that Lambda makes", spread["environments"], "in all", ENVIRONMENTS_PER_10_S),
        Line("fleet", "busiest second if all came at noon", noon["peak"], "requests"),
        Line("fleet", "turned away by the gateway if all came at noon", noon["gateway"] / SERVERS * 100, "%"),
    ]
    return part


def _minutes(per_second: Any) -> list[int]:
    """The largest second of each minute from 9 to 15."""
    hours = per_second[9 * 3600 : 15 * 3600]
    found: list[int] = hours.reshape(-1, 60).max(axis=1).tolist()
    return found
