"""More stations than seats log in at the same time, from several processes over HTTP on loopback: all seats are given out, none
twice. Prints what a checkout costs, in capacity units by DynamoDB's published rules.

python -m tests.bench.login_storm --stations 5000 --capacity 4000 --processes 4
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.httpsession import URLLib3Session

from infra.local.aws import LOCK
from infra.local.http import Request, Response
from tests.bench.processes import PATIENCE, at_once, rate
from tests.bench.seat_contention import APPLICATION, TAX_ID, OverHttp, caller_of, pool_over_http
from tests.support.units import Meter, Units

#: In a request: which station's checkout it belongs to.
_STATION = "x-station"
#: Seconds; longer than the storm, so that no seat comes back in it.
_LEASE = 86_400


def log_in(
    given: tuple[dict[str, str], str],
    number: int,
    options: argparse.Namespace,
    start: Any,
    progress: Any,
    results: Any,
) -> None:
    """One process: every so many-th station asks for a seat, again only where it is told to."""
    environment, customer_id = given
    os.environ.update(environment)
    from licensing import contract, seats
    from licensing.errors import SeatLimitReached, TemporarilyUnavailable
    from licensing.rules.activation_keys import key_pool_id

    caller, pool_id = caller_of(customer_id), key_pool_id(customer_id, APPLICATION)
    now = {"station": 0}
    send = URLLib3Session.send

    def tell(session: URLLib3Session, request: Any) -> Any:
        request.headers[_STATION] = str(now["station"])
        return send(session, request)

    URLLib3Session.send = tell  # type: ignore[method-assign]  # of this process, which ends with the storm
    seats.owned_pool(caller, pool_id, datetime.now(UTC))  # whatever is read once a minute has been read
    outcomes: dict[int, str] = {}
    again = 0
    start.wait(PATIENCE)
    for station in range(number + 1, options.stations + 1, options.processes):
        now["station"] = station
        body = contract.SeatRequest(
            pool_id=pool_id, company_tax_id=TAX_ID, os_user=f"m.rossi{station}", terminal=f"PC-{station:05d}",
            session="local", user_code=f"U{station:05d}", module="billing", instance="1",
        )  # fmt: skip
        while station not in outcomes:
            try:
                outcomes[station] = seats.lease(caller, body, datetime.now(UTC))[0].seat_id
            except SeatLimitReached:
                outcomes[station] = ""
            except TemporarilyUnavailable:
                again += 1
        progress.value += 1
    results.put((outcomes, again))


def metered(pool: OverHttp) -> Meter:
    """Count from now on what each station's checkout costs, by its number."""
    answer = pool.stack._applications["AWS"]
    asking = 0
    meter = Meter(lambda *_: asking)

    def counting(request: Request) -> Response:
        nonlocal asking
        target, station = request.header("x-amz-target"), request.header(_STATION)
        if not target.startswith("DynamoDB_") or not station:
            return answer(request)
        with LOCK:
            asking = int(station)
            meter.call(target.partition(".")[2], json.loads(request.body))
            response = answer(request)
            meter.settle()
        return response

    pool.stack._applications["AWS"] = counting
    return meter


def table(kinds: dict[str, list[Units]]) -> str:
    """What each kind of checkout cost."""
    lines = [f"  {'':<22}{'how many':>9}{'RRU':>8}{'most':>7}{'WRU':>8}{'most':>7}"]
    for name, units in kinds.items():
        if units:
            reads, writes = [each.read for each in units], [each.write for each in units]
            means = sum(reads) / len(units), sum(writes) / len(units)
            lines.append(
                f"  {name:<22}{len(units):>9}{means[0]:>8.2f}{max(reads):>7g}{means[1]:>8.2f}{max(writes):>7g}"
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the pool, let everybody in who fits, check, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stations", type=int, default=5000, help="of all processes together")
    parser.add_argument("--capacity", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=1800, help="it is given up after so long")
    options = parser.parse_args(arguments)
    from licensing.store import seats as store

    with pool_over_http(options.capacity, _LEASE) as pool:
        meter = metered(pool)

        def record_use(count: int, took: float) -> str:
            with LOCK:  # as the function behind the stream does, which waits five seconds for more
                for stream in pool.stack.streams:
                    while stream.poll():
                        pass
            return rate(count, options.stations, took)

        found, took = at_once(log_in, pool.given, options, record_use)
        now = store.epoch(datetime.now(UTC))
        held = [each for segment in store.segments(pool.pool_id) for each in segment.live(now)]
        dealt = pool.quotas()
    costs = meter.by_kind
    outcomes = {station: seat for part, _ in found for station, seat in part.items()}
    seated = {seat for seat in outcomes.values() if seat}
    kinds: dict[str, list[Units]] = {"in its own segment": [], "quota moved": [], "refused": []}
    for station, seat in outcomes.items():
        kind = "refused" if not seat else "quota moved" if costs[station].write > 2 else "in its own segment"
        kinds[kind].append(costs[station])
    refused, again = sum(not seat for seat in outcomes.values()), sum(each for _, each in found)
    print(
        f"{len(outcomes)} stations by {options.processes} processes in {took:.0f} s: {len(outcomes) / took:.0f} a second"
    )
    print(f"{len(seated)} seats of {options.capacity} given out, {refused} stations refused, {again} told to ask again")
    print(table({**kinds, "all": list(costs.values())}))
    print(f"{len(held)} stations hold a seat; quotas add up to {dealt}")
    expected = min(options.stations, options.capacity)
    right = len(seated) == len(set(held)) == expected and dealt == options.capacity
    return 0 if right and refused == options.stations - expected else 1


if __name__ == "__main__":
    sys.exit(main())
