"""Runs in a process of its own, on the functions' runtime, with nothing but what is measured on its path: a handler, or its floor.

It gets its task as JSON on standard input, and prints what it found as JSON. CPU is that of this process alone.
"""

import contextlib
import datetime
import importlib
import importlib.machinery
import io
import json
import resource
import sys
import time
from collections import Counter
from typing import Any


def resident_kb() -> int:
    """The memory that is resident now, in KB; Linux alone says it."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def peak_kb() -> int:
    """The most memory that was resident, in KB. Not by rusage on Linux: it remembers the parent before exec."""
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    except FileNotFoundError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most // 1024 if sys.platform == "darwin" else most


def measured(call: Any, times: int) -> list[int]:
    """CPU nanoseconds of each time."""
    took = []
    for _ in range(times):
        begin = time.process_time_ns()
        call()
        took.append(time.process_time_ns() - begin)
    return took


def first_client() -> None:
    """The client that the first request to DynamoDB would make, if this function has ways there."""
    if tables := sys.modules.get("licensing.store.tables"):
        _ = tables.Item._get_connection().connection.client


def cold(task: dict[str, Any]) -> dict[str, Any]:
    """Import a handler, and make its first client; or the floor: a client of boto3."""
    begin, cpu = time.perf_counter_ns(), time.process_time_ns()
    if task["handler"]:
        module, _, _ = task["handler"].rpartition(".")
        importlib.import_module(module)
        first_client()
    else:
        import boto3

        boto3.client("dynamodb")
    return {"cpu": time.process_time_ns() - cpu, "wall": time.perf_counter_ns() - begin}


def memory(task: dict[str, Any]) -> dict[str, Any]:
    """Import a handler, and make its first client: KB by top-level package, each without what it imports in turn."""
    found: Counter[str] = Counter({"the interpreter": resident_kb()})
    inner = [0]

    def watched(load: Any) -> Any:
        def call(loader: Any, what: Any) -> Any:
            before = resident_kb()
            inner.append(0)
            try:
                return load(loader, what)
            finally:  # some modules are tried, and are not there
                grown = resident_kb() - before
                found[loader.name.split(".")[0]] += grown - inner.pop()
                inner[-1] += grown

        return call

    source, extension = importlib.machinery.SourceFileLoader, importlib.machinery.ExtensionFileLoader
    for kind, name in ((source, "exec_module"), (extension, "create_module"), (extension, "exec_module")):
        setattr(kind, name, watched(getattr(kind, name)))
    importlib.import_module(task["handler"].rpartition(".")[0])
    before, inner[-1] = resident_kb(), 0
    first_client()
    found["its first client"] = resident_kb() - before - inner[-1]
    return {"kb": found}


class Context:
    """What Lambda hands over beside the event. Always the same request id: what is asked of AWS stays the same, too."""

    function_name = "bench"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:eu-south-1:123456789012:function:bench"
    aws_request_id = "6f1e0d52-6d0b-4f0a-9a53-0b1f3e0c6c1e"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """Plenty."""
        return 25_000


def warm(task: dict[str, Any]) -> dict[str, Any]:
    """A warm handler from the full event to the full answer, at one moment."""
    module, _, name = task["handler"].rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    from licensing import deployment

    moment = datetime.datetime.fromisoformat(task["now"])
    deployment.clock = lambda: moment
    answer: dict[str, Any] = {}

    def call() -> None:
        nonlocal answer
        answer = handler(json.loads(task["event"]), Context())

    measured(call, task["warm-up"])
    if lines := task.get("profile"):
        import cProfile
        import pstats

        profiler, text = cProfile.Profile(), io.StringIO()
        profiler.runcall(measured, call, task["times"])
        statistics = pstats.Stats(profiler, stream=text)
        statistics.sort_stats("cumulative").print_stats(lines)
        statistics.sort_stats("tottime").print_stats(lines)
        return {"text": text.getvalue()}
    return {"cpu": measured(call, task["times"]), "answer": answer}


def floor(task: dict[str, Any]) -> dict[str, Any]:
    """The same calls to AWS by bare botocore, and one signature of the same size by PyJWT."""
    import boto3
    import jwt
    from botocore import xform_name
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    client = boto3.client("dynamodb")
    calls = [(getattr(client, xform_name(operation)), parameters) for operation, parameters in task["calls"]]
    key: Any = load_pem_private_key(task["pem"].encode(), None)

    def call() -> None:
        for ask, parameters in calls:
            ask(**parameters)
        jwt.encode(task["claims"], key, "ES256", {"typ": "server+jwt", "kid": "0" * 43})

    measured(call, task["warm-up"])
    return {"cpu": measured(call, task["times"])}


def main() -> None:
    """Do what the task says."""
    task = json.load(sys.stdin)
    begin = time.process_time_ns()
    with contextlib.redirect_stdout(io.StringIO()):
        found = {"cold": cold, "memory": memory, "warm": warm, "floor": floor}[task["kind"]](task)
    json.dump({**found, "whole": time.process_time_ns() - begin, "peak": peak_kb()}, sys.stdout)


if __name__ == "__main__":
    main()
