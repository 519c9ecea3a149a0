"""CPU of a warm handler, from the full event to the full answer, against its floor: the same calls to AWS by bare botocore, and one
signature by PyJWT.

The handler runs from the built artifact in a process of its own. AWS is this process, by HTTP on loopback: it answers each question
as the local stack did the first time, so that both sides talk to the same thing, and what it takes to answer counts for neither.
"""

import base64
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from moto.backends import get_backend

from infra.local.gateway import event
from infra.local.http import Request, Response
from infra.local.http import Server as HttpServer
from infra.local.template import ACCOUNT, REGION
from infra.operator import keys
from tests.bench import artifact, counts
from tests.bench.report import Line, Part, Say
from tests.support.cloud import Cloud, Server
from tests.support.seats import Station, concurrent_pool

WARM_UP, TIMES, ROUNDS = 100, 300, 5
#: Records in a batch of the stream.
LOGGED = 25


@dataclass
class Replay:
    """AWS as it answered the first time. ``asked`` are the calls of the last answer to a function, in order."""

    answer: Callable[[Request], Response]
    asked: list[tuple[str, Any]] = field(default_factory=list)
    _known: dict[tuple[str, str], Response] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request) -> Response:
        target = request.header("x-amz-target")
        with self._lock:
            self.asked.append((target, request.body))
            place = target, _place(request.body)
            if place not in self._known:
                self._known[place] = self.answer(request)
            return self._known[place]

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its address."""
        server = HttpServer(0, self)
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


def _place(content: bytes) -> str:
    """What a call is about. Not all of it is the same each time: an entry of the log is salted."""
    body = json.loads(content)
    named = body.get("Key") or body.get("Item") or body
    return json.dumps([body.get("TableName"), *(named.get(name) for name in ("pk", "sk", "SecretId"))])


def sign_with_pem(cloud: Cloud) -> None:
    """Let a PEM key from the secret sign server tokens, as for large fleets."""
    root, now = f"kms:{cloud.stack.outputs['RootKeyArn']}", cloud.now
    key = keys.publish(root, "server", "secret:licensing/signing-keys", now)
    keys.switch(root, key.kid, now, at_once=True)
    cloud.stack._forget()


@dataclass(frozen=True)
class Call:
    """An event for a function; ``of`` so many things that it is to do."""

    name: str
    function: str
    event: str
    of: int = 1


def _call(name: str, function: str, route: str, request: Request, parameters: dict[str, str] | None = None) -> Call:
    return Call(name, function, json.dumps(event(request, route, parameters or {})))


def _request(method: str, path: str, body: Any, **headers: str) -> Request:
    content = json.dumps(body).encode() if body is not None else b""
    sent = {
        "host": "licensing.example",
        "content-type": "application/json",
        "user-agent": "license-manager/1.0.0",
        "accept-encoding": "gzip, deflate",
        **headers,
    }
    return Request(method, path, tuple(sent.items()), content, "203.0.113.7", "https")


def validating(cloud: Cloud) -> Call:
    """The daily validation of a server with twenty entitlements."""
    server = counts.fleet(cloud, 1)
    body = server.body()
    content = json.dumps(body).encode()
    url = "https://licensing.example/v1/validations"
    proof = server.proof("/v1/validations", content, htu=url)
    headers = {"authorization": f"Bearer {server.token}", "dpop": proof, "x-forwarded-proto": "https"}
    return _call(
        "validation", "ValidateServer", "POST /v1/validations", _request("POST", "/v1/validations", body, **headers)
    )


def seating(cloud: Cloud) -> list[Call]:
    """A checkout, a heartbeat and a release in a pool of a hundred seats."""
    server = Server(cloud)
    server.activate(cloud.token_of("Milano"))
    pool = concurrent_pool(cloud, server, 100)
    held = Station(pool)
    held.lease()
    seat_id = held.seat["seat_id"]
    headers = {"authorization": f"Bearer {held.token()}"}
    other = Station(pool, os_user="paolo.neri", terminal="PC-CONT-08")
    query = "?module=billing&instance=1"
    seat = f"/v1/seats/{seat_id}{query}"
    named = {"seat_id": seat_id}
    return [
        _call("seat checkout", "ManageSeats", "POST /v1/seats", _request("POST", "/v1/seats", other.ask(), **headers)),
        _call(
            "seat heartbeat", "ManageSeats", "PUT /v1/seats/{seat_id}", _request("PUT", seat, None, **headers), named
        ),
        _call(
            "seat release",
            "ManageSeats",
            "DELETE /v1/seats/{seat_id}",
            _request("DELETE", seat, None, **headers),
            named,
        ),
    ]


def logging(cloud: Cloud) -> Call:
    """The entries of the log behind a batch of validations, as the State table's stream tells of them."""
    server = counts.fleet(cloud, 1)
    table = get_backend("dynamodb")[ACCOUNT][REGION].tables["licensing-State"]

    def image() -> Any:
        return next(
            item.to_json()["Attributes"] for key, item in table.items.items() if key.value == server.claims["sub"]
        )

    images = [image()]
    for _ in range(LOGGED):
        server.validate()
        images.append(image())
    records = [
        {"eventID": str(n), "eventName": "MODIFY", "eventSource": "aws:dynamodb", "dynamodb": {
            "OldImage": old, "NewImage": new, "Keys": {"pk": new["pk"]}, "SequenceNumber": str(n)}}
        for n, (old, new) in enumerate(pairwise(images))
    ]  # fmt: skip
    return Call("log entry", "RecordOperations", json.dumps({"Records": records}), LOGGED)


def compare(cloud: Cloud, call: Call, say: Say, rounds: int) -> dict[str, Any]:
    """The handler and its floor by turns: CPU in microseconds (median of the rounds' medians), and peaks in MB."""
    handler = artifact.handlers()[call.function]
    environment = _environment(cloud, call)
    replay = Replay(cloud.stack.aws.application())
    cpu: dict[str, list[float]] = {"handler": [], "floor": []}
    peak: dict[str, list[float]] = {"handler": [], "floor": []}
    with replay.serving() as url:
        environment["AWS_ENDPOINT_URL"] = url
        run = partial(artifact.run, environment=environment)
        task = {"handler": handler, "event": call.event, "now": cloud.now.isoformat(), "kind": "warm", "warm-up": 0}
        say(f"{call.name}: listening to its calls")
        cold = [run(call.function, {**task, "times": 1}) for _ in range(3)]
        asked = len(replay.asked) // len(cold)
        replay.asked.clear()
        answer = run(call.function, {**task, "times": 2})["answer"]
        if answer.get("statusCode", 200) not in (200, 201, 204) or answer.get("batchItemFailures"):
            raise RuntimeError(f"{call.name}: {answer}")
        warm = replay.asked[asked:]  # the second time
        floor = {
            "kind": "floor",
            "calls": [_parameters(*each) for each in warm],
            "pem": _pem(),
            "claims": _claims(answer),
        }
        bounds = {"warm-up": WARM_UP // call.of, "times": TIMES // call.of}
        for at in range(1, rounds + 1):
            say(f"{call.name}: round {at} of {rounds}")
            for name, found in (
                ("handler", run(call.function, {**task, **bounds})),
                ("floor", artifact.floor({**floor, **bounds}, environment)),
            ):
                cpu[name].append(median(found["cpu"]) / 1000)
                peak[name].append(found["peak"] / 1024)
        cold_floor = [artifact.floor({**floor, "warm-up": 0, "times": 1}, environment) for _ in range(3)]
    return {
        "cpu": {name: median(found) for name, found in cpu.items()},
        "peak": {name: median(found) for name, found in peak.items()},
        "first": {
            "handler": median(each["whole"] for each in cold) / 1e6,
            "floor": median(each["whole"] for each in cold_floor) / 1e6,
        },
        "calls": [name for name, _ in floor["calls"]],
        "of": call.of,
        "memory": cloud.stack.functions.all[call.function].memory,
    }


def _parameters(target: str, body: bytes) -> tuple[str, Any]:
    return target.partition(".")[2], json.loads(body)


def _pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _claims(answer: dict[str, Any]) -> dict[str, Any]:
    """What the floor signs: as much as the handler, or next to nothing where that signs nothing."""
    body = answer.get("body") or "{}"
    text = gzip.decompress(base64.b64decode(body)) if answer.get("isBase64Encoded") else body
    token = json.loads(text).get("server_token")
    return jwt.decode(token, options={"verify_signature": False}) if token else {"sub": "nobody"}


def _environment(cloud: Cloud, call: Call) -> dict[str, str]:
    known = cloud.stack.functions.all[call.function].environment
    return {name: value for name, value in known.items() if not name.startswith("AWS_")} | {
        "SITE": "primary",
        "HOME_SITE": "true",
    }


def _calls(cloud: Cloud) -> Iterator[Call]:
    """All that is measured, each on demo data as it was."""
    for made in (lambda: [validating(cloud)], lambda: [logging(cloud)], lambda: seating(cloud)):
        cloud.stack.reset()
        yield from made()


def profile(cloud: Cloud, name: str, lines: int, say: Say) -> str:
    """Where the time of a warm handler goes, as cProfile sees it: calls of Python look dearer than they are."""
    artifact.require_built()
    sign_with_pem(cloud)
    for call in _calls(cloud):
        if call.name != name:
            continue
        replay = Replay(cloud.stack.aws.application())
        with replay.serving() as url:
            say(f"profiling: {name}")
            task = {
                "kind": "warm", "handler": artifact.handlers()[call.function], "event": call.event, "now": cloud.now.isoformat(),
                "warm-up": 10, "times": 200 // call.of, "profile": lines,
            }  # fmt: skip
            found = artifact.run(call.function, task, {**_environment(cloud, call), "AWS_ENDPOINT_URL": url})
        text: str = found["text"].replace(f"{artifact.LAYER / 'python'}/", "")
        return text
    raise ValueError(f"nothing is called {name}")


def measure(cloud: Cloud, say: Say, rounds: int = ROUNDS) -> Part:
    """Validations, and what stations ask for."""
    artifact.require_built()
    part = Part()
    sign_with_pem(cloud)
    found = {}
    for call in _calls(cloud):
        found[call.name] = compare(cloud, call, say, rounds)
        handler, floor = (found[call.name]["cpu"][name] / call.of for name in ("handler", "floor"))
        many = f" (of {call.of} at once)" if call.of > 1 else ""
        part.lines.append(Line("CPU, warm", f"{call.name}{many}", handler, "µs", 1.5, floor))
    chief = found["validation"]
    part.lines += [
        Line(
            "cold start",
            "to the first answer (validation)",
            chief["first"]["handler"],
            "ms",
            None,
            chief["first"]["floor"],
        ),
        Line(
            "memory",
            f"after {WARM_UP + TIMES} validations",
            chief["peak"]["handler"],
            "MB",
            1.3,
            chief["peak"]["floor"],
        ),
    ]
    part.data["cpu"] = found
    return part
