"""The cloud under the simulator: the real library, real botocore, moto; every AWS call goes through ``_Seam``.

Made once per process. Each seed begins with the items of its scenario's stage; only what the seed before it touched is put back.
"""

import tests.conftest  # noqa: F401  the tables' names, before the library is imported

# isort: split
import copy
import json
import logging
import os
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

import boto3
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from licensing import alerts, deployment, identity, key_ring, loading, seats, stations
from licensing.store import accounts, people
from licensing.store import alerts as alert_store
from licensing.store import vendor as vendor_settings
from licensing.store.tables import Item
from moto.backends import get_backend
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse
from moto.dynamodb.models.dynamo_type import DynamoType
from pynamodb.models import Model

from infra.local.aws import Aws
from infra.local.provision import Provisioned
from infra.local.stack import ISSUER, PRIMARY, TEMPLATE
from infra.local.template import ACCOUNT, REGION, functions
from infra.operator import keys
from tests.simulation import quick
from tests.simulation.simulator import BEGIN, Call, Simulation

M = TypeVar("M", bound=Model)

_WRITES = {"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem"}
#: What is seen from outside; the invariants are looked at after these too.
_TOLD = {"SendEmail", "PutEvents"}
#: Parts of the directory of customers: enough for races between them, and a day of a schedule has fewer calls.
_SHARDS = 3
#: Items of one transaction of an account: few enough for a customer that is set up to be written in several.
_PART_ITEMS = 8
_DOMAIN = "aurora.example"
_JSON: Any = {"content-type": "application/x-amz-json-1.0"}

TAX_ID = "IT00743110157"
#: One customer with two installations and what can be assigned to them.
DOCUMENT: dict[str, Any] = {
    "vendor": {
        "name": "Aurora Communications",
        "contact": {"name": "License desk", "email": "licenses@aurora.example"},
        "portal_url": "https://licensing.aurora.example",
    },
    "applications": [{"id": "queueing", "name": "Queueing", "unit": "channels"}],
    "products": [{"sku": "AQ", "application": "queueing", "name": "Queueing", "type": "perpetual"}],
    "customers": [
        {
            "name": "Officine Lombarde S.p.A.",
            "tax_id": TAX_ID,
            "country": "IT",
            "time_zone": "Europe/Rome",
            "contacts": [{"name": "Giulia Ferrario", "email": "giulia@officine.example"}],
            "installations": [{"name": "Milano"}, {"name": "Bergamo"}],
            "licenses": [
                {"code": "AQ-1000", "sku": "AQ", "quantity": 10, "allocations": {"Milano": 4, "Bergamo": 2}},
                {"code": "AQ-2000", "sku": "AQ", "quantity": 5, "allocations": {"Milano": 1, "Bergamo": 1}},
            ],
        }
    ],
}


@dataclass
class Stage:
    """What all seeds of a scenario begin with: the items of all tables, and what its ``prepare`` gave."""

    items: dict[str, dict[Any, Any]]
    props: Any = None


@dataclass
class Mail:
    """A message of a queue; ``at`` is when it was sent, in epoch seconds of the virtual clock."""

    body: str
    at: float


@dataclass
class _Run:
    """What the seam remembers of one run."""

    simulation: Simulation
    #: The answers to transactions by ClientRequestToken: DynamoDB repeats them, moto does not.
    answered: dict[str, tuple[int, Any, bytes]] = field(default_factory=dict)


class _OfProcess(MutableMapping[Any, Any]):
    """A cache of the real code's: each process has its own, and a late one may know what others forgot long ago."""

    def __init__(self, name: str, process: Callable[[], dict[str, Any]]) -> None:
        self._name = name
        self._process = process

    @property
    def _mine(self) -> dict[Any, Any]:
        mine: dict[Any, Any] = self._process().setdefault(self._name, {})
        return mine

    def __getitem__(self, key: Any) -> Any:
        return self._mine[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._mine[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._mine[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._mine)

    def __len__(self) -> int:
        return len(self._mine)


#: Where the real code keeps for a minute what decides about requests.
_CACHES = (*((seats, each) for each in ("_pools", "_views", "_keys", "_admitted")), (stations, "_known"))


class Cloud(AbstractContextManager["Cloud"]):
    """All of AWS in this process, for one run after another. One at a time."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._run: _Run | None = None
        self._touched: set[tuple[str, Any]] = set()
        self._staged: Stage | None = None
        self._stages: dict[Any, Stage] = {}
        self._real_sleep = time.sleep
        self._memory: dict[str, Any] = {}
        #: Where ids and secrets come from.
        self._chance = random.Random("stage")
        #: What the second site holds of the tables that it writes itself; empty unless a scenario fills it (``Replication``).
        self.backup: dict[str, Any] = {}
        #: Messages sent to queues, oldest first.
        self.queue: list[Mail] = []
        #: What was put on event buses, oldest first: each event's detail.
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> "Cloud":
        self._aws = self._open.enter_context(Aws(lambda: self.now))
        self._open.enter_context(patch.dict(os.environ))
        logging.disable(logging.CRITICAL)
        self._open.callback(logging.disable, logging.NOTSET)
        self._open.enter_context(patch.object(deployment, "clock", lambda: self.now))
        self._open.enter_context(patch.object(time, "sleep", self._sleep))
        self._open.enter_context(patch.object(identity, "secrets", self._secrets()))
        for module, name in _CACHES:
            cache = _OfProcess(f"{module.__name__}.{name}", self._process)
            self._open.enter_context(patch.object(module, name, cache))
        for module in (accounts, alert_store):
            self._open.enter_context(patch.object(module, "SHARDS", _SHARDS))
        self._open.enter_context(patch.object(accounts, "_PART_ITEMS", _PART_ITEMS))
        for each in vars(alerts._Finder).values():
            if isinstance(
                each, cached_property
            ):  # until Python 3.12 it holds a lock of all actors while one of them waits
                self._open.enter_context(patch.object(each, "lock", nullcontext(), create=True))
        quick.install(self._open)
        stack = Provisioned(TEMPLATE, {"Issuer": ISSUER, "MailSender": f"licenses@{_DOMAIN}", "MailIdentity": _DOMAIN})
        boto3.client("sesv2", region_name=REGION).create_email_identity(EmailIdentity=_DOMAIN)
        found = list(functions(stack.document, stack.resolver))
        os.environ.update({**found[0].environment, **PRIMARY.environment})
        self._forget()
        keys.initialize(f"kms:{stack.outputs['RootKeyArn']}", "kms", BEGIN)
        loaded = loading.load(DOCUMENT, BEGIN)
        #: Installation name to its activation token.
        self.activation_tokens = {name: token for _, name, token in loaded.activation_tokens}
        self._tables = get_backend("dynamodb")[ACCOUNT][REGION].tables
        for table in self._tables.values():
            table.stream_shard = None  # nobody reads it here, and it would remember every seed
        self._beginning = self._items()
        self._open.enter_context(patch.object(BotocoreStubber, "__call__", self._seam(BotocoreStubber.__call__)))
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()
        self._forget()

    # ── for the runner ──

    def stage(self, name: Any, prepare: Callable[["Cloud"], Any]) -> Stage:
        """What a scenario begins with, made once."""
        if name not in self._stages:
            self._put_back(Stage(self._beginning))
            self._touched.clear()
            self._staged = None
            self._forget()
            self._chance.seed("stage")
            props = prepare(self)
            self._stages[name] = Stage(self._items(), props)
            self._touched.clear()
            self._staged = self._stages[name]
        return self._stages[name]

    def begin(self, simulation: Simulation, stage: Stage, seed: str) -> None:
        """Back to the stage, with chance and time of this run."""
        self._put_back(stage)
        self._run = _Run(simulation)
        self.queue.clear()
        self.events.clear()
        self._aws.sent_mail.clear()
        self._aws.empty_buckets()
        self._aws.empty_queues()
        self.backup.clear()
        self._forget()
        random.seed(seed)
        self._chance.seed(f"{seed}/secrets")

    def end(self) -> None:
        """The run is over."""
        self._run = None

    # ── for scenarios: reading without a call ──

    @property
    def now(self) -> Any:
        """The virtual time."""
        return self._run.simulation.now if self._run else BEGIN

    def find(self, model: type[M], pk: str, sk: str | None = None, site: int = 0) -> M | None:
        """An item as it stands, seen by no actor."""
        table = self._tables[model.Meta.table_name]
        partition = self._at(site, table.name).get(DynamoType({"S": pk}))
        item: Any = partition.get(DynamoType({"S": sk})) if partition and table.range_key_attr else partition
        return model.from_raw_data(raw(item)) if item else None

    def rows(self, model: type[M], prefix: str = "") -> Iterator[M]:
        """All items whose partition begins with ``prefix``, as they stand."""
        table = self._tables[model.Meta.table_name]
        kind = Item.kind.get_discriminator(model) if issubclass(model, Item) else None
        for pk, partition in list(table.items.items()):
            if pk.value.startswith(prefix):
                items: list[Any] = list(partition.values()) if table.range_key_attr else [partition]
                for item in items:
                    if kind is None or item.attrs["kind"].value == kind:
                        yield model.from_raw_data(raw(item))

    def partition(self, model: type[M], pk: str) -> dict[str, Any]:
        """The raw items of a partition by sort key, as they stand; ``raw.attrs`` are its attributes."""
        partition = self._tables[model.Meta.table_name].items.get(DynamoType({"S": pk})) or {}
        return {key.value: item for key, item in partition.items()}

    def snapshot(self, table: str, site: int = 0) -> dict[Any, Any]:
        """All items of a table, to be put back by ``restore``."""
        return {key: copy.deepcopy(item) for key, item in self._at(site, table).items()}

    def restore(self, table: str, items: dict[Any, Any]) -> None:
        """A table restored to what it was."""
        now = self._tables[table].items
        self._touched.update((table, key) for key in now.keys() | items.keys())
        now.clear()
        now.update(copy.deepcopy(items))

    def copied_item(self, table: str, pk: str, site: int = 0) -> Any:
        """A copy of the item of a table without sort key, to be put elsewhere by ``put_item``."""
        return copy.deepcopy(self._at(site, table)[DynamoType({"S": pk})])

    def put_item(self, table: str, item: Any, site: int = 0) -> None:
        """Let a site hold this item, as replication does: without a call, and without a condition."""
        key = item.attrs[self._tables[table].hash_key_attr]
        self._touched.add((table, key))
        self._at(site, table)[key] = copy.deepcopy(item)

    @property
    def sent_mail(self) -> list[Any]:
        """What SES was given to send."""
        return self._aws.sent_mail

    # ── within ──

    def _forget(self) -> None:
        key_ring.ring.forget()
        vendor_settings.forget()
        people.forget()
        self._memory.clear()

    def _process(self) -> dict[str, Any]:
        return self._run.simulation.process if self._run else self._memory

    def _secrets(self) -> SimpleNamespace:
        chance = self._chance
        return SimpleNamespace(
            token_bytes=chance.randbytes,
            token_hex=lambda n: chance.randbytes(n).hex(),
            randbelow=chance.randrange,
            choice=chance.choice,
        )

    def _sleep(self, seconds: float) -> None:
        if self._run and self._run.simulation.running:
            self._run.simulation.sleep(seconds)
        else:
            self._real_sleep(seconds)

    def _at(self, site: int, table: str) -> Any:
        return self.backup[table] if site and table in self.backup else self._tables[table].items

    def _items(self) -> dict[str, dict[Any, Any]]:
        return {
            name: {key: copy.deepcopy(part) for key, part in table.items.items()}
            for name, table in self._tables.items()
        }

    def _put_back(self, stage: Stage) -> None:
        if stage is not self._staged:
            for name, table in self._tables.items():
                self._touched.update((name, key) for key in table.items.keys() | stage.items[name].keys())
            self._staged = stage
        for name, key in self._touched:
            items = self._tables[name].items
            if key in stage.items[name]:
                items[key] = copy.deepcopy(stage.items[name][key])
            else:
                items.pop(key, None)
        self._touched.clear()

    def _seam(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(stubber: BotocoreStubber, event_name: str, request: Any, **kwargs: Any) -> Any:
            _, service, operation = event_name.split(".", 2)
            body = json.loads(request.body or b"{}") if service in ("dynamodb", "sqs", "eventbridge") else {}
            for table, pk in _targets(operation, body):
                self._touched.add((table, pk))
            if self._run is None:
                self._take(operation, body)
                return original(stubber, event_name, request, **kwargs)
            made = Call(operation, _where(operation, body), operation in _WRITES | _TOLD)
            return self._step(self._run, made, body, request, lambda: original(stubber, event_name, request, **kwargs))

        return call

    def _step(self, run: _Run, call: Call, body: dict[str, Any], request: Any, go: Callable[[], Any]) -> Any:
        fault = run.simulation.step(call)
        if fault == "timeout_before":
            raise ConnectTimeoutError(endpoint_url=request.url)
        # A transaction that took effect is not in conflict when it is sent again with its token.
        settled = call.operation in _TOLD or body.get("ClientRequestToken") in run.answered
        if fault == "throttle" or (fault == "conflict" and settled):
            return _refusal(request.url, "ThrottlingException")
        if fault == "conflict":
            if call.operation != "TransactWriteItems":
                return _refusal(request.url, "TransactionConflictException")
            reasons = [
                {"Code": "TransactionConflict", "Message": "x"},
                *({"Code": "None"} for _ in body["TransactItems"][1:]),
            ]
            return _refusal(request.url, "TransactionCanceledException", CancellationReasons=reasons)
        response = self._at_its_site(run, lambda: self._once(run, body.get("ClientRequestToken"), request, go))
        self._take(call.operation, body)
        run.simulation.made(call, _outcome(response))
        if fault == "timeout_after":
            raise ReadTimeoutError(endpoint_url=request.url)
        return response

    def _take(self, operation: str, body: dict[str, Any]) -> None:
        """Keep what was sent to a queue, or put on a bus."""
        match operation:
            case "SendMessage":
                self.queue.append(Mail(body["MessageBody"], self.now.timestamp()))
            case "SendMessageBatch":
                self.queue += (Mail(each["MessageBody"], self.now.timestamp()) for each in body["Entries"])
            case "PutEvents":
                self.events += (json.loads(each["Detail"]) for each in body["Entries"])

    def _at_its_site(self, run: _Run, go: Callable[[], Any]) -> Any:
        actor = run.simulation.running
        if not (actor and actor.site and self.backup):
            return go()
        home = {name: self._tables[name].items for name in self.backup}
        for name, items in self.backup.items():
            self._tables[name].items = items
        try:
            return go()
        finally:
            for name, items in home.items():
                self._tables[name].items = items

    @staticmethod
    def _once(run: _Run, token: str | None, request: Any, go: Callable[[], Any]) -> Any:
        if token in run.answered:
            status, headers, content = run.answered[token]
            return AWSResponse(request.url, status, headers, MockRawResponse(content))
        response = go()
        if token and response.status_code == 200:
            run.answered[token] = response.status_code, response.headers, response.content
        return response


def second_site(cloud: Cloud, table: str) -> None:
    """Give Site 2 a table of its own, equal to the home site's at this moment."""
    copied: Any = defaultdict(dict)
    copied.update(cloud.snapshot(table))
    cloud.backup[table] = copied


def raw(item: Any) -> dict[str, Any]:
    """An item as streams and botocore have it."""
    return {name: value.to_regular_json() for name, value in item.attrs.items()}


def _targets(operation: str, body: dict[str, Any]) -> Iterator[tuple[str, DynamoType]]:
    if operation not in _WRITES:
        return
    for table, requests in body.get("RequestItems", {}).items():
        for request in requests:
            ((_, each),) = request.items()
            yield table, DynamoType((each.get("Key") or each["Item"])["pk"])
    actions = body.get("TransactItems") or ([{"": body}] if "TableName" in body else [])
    for action in actions:
        ((kind, each),) = action.items()
        if kind != "ConditionCheck":
            yield each["TableName"], DynamoType((each.get("Key") or each["Item"])["pk"])


def _where(operation: str, body: dict[str, Any]) -> str:
    """Table and keys, as short as a person needs them."""
    if operation in ("SendMessage", "SendMessageBatch"):
        return str(body["QueueUrl"]).rpartition("/")[2]
    if "TableName" in body and "KeyConditionExpression" in body:
        return f"{_short(body['TableName'])} {_brief(next(iter(body['ExpressionAttributeValues'].values()))['S'])}"
    if "RequestItems" in body:
        return ", ".join(sorted(map(_short, body["RequestItems"])))
    actions = body.get("TransactItems") or ([{"": body}] if "TableName" in body else [])
    return ", ".join(sorted(_place(next(iter(action.values()))) for action in actions))


def _place(each: dict[str, Any]) -> str:
    key = each.get("Key") or each.get("Item") or {}
    parts = [_brief(key[name]["S"]) for name in ("pk", "sk") if name in key]
    return f"{_short(each['TableName'])} {'/'.join(dict.fromkeys(parts))}"


def _brief(key: str) -> str:
    """An id by its end, a digest by its beginning."""
    kind, _, rest = key.rpartition("#")
    name, _, digits = rest.partition("_")
    return f"{kind}#{name}…{digits[-4:]}".removeprefix("#") if digits else f"{kind}#{rest[:8]}" if kind else key


def _short(table: str) -> str:
    return table.rpartition("-")[2]


def _outcome(response: Any) -> str:
    if response.status_code == 200:
        return "ok"
    kind = str(json.loads(response.content).get("__type", response.status_code)).rpartition("#")[2]
    return "condition failed" if kind in ("ConditionalCheckFailedException", "TransactionCanceledException") else kind


def _refusal(url: str, code: str, **members: Any) -> AWSResponse:
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": code, **members}).encode()
    return AWSResponse(url, 400, _JSON, MockRawResponse(body))
