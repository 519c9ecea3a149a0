"""AWS in this process: moto behind one lock, one set of data for both regions, reachable over HTTP as well."""

import copy
import io
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import datetime
from functools import lru_cache
from typing import Any
from unittest.mock import patch

from botocore.awsrequest import AWSPreparedRequest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto import mock_aws
from moto.backends import get_backend
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.common_models import BaseModel
from moto.core.model import StructureShape
from moto.core.responses import ActionResult
from moto.core.serialize import JSONSerializer
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, LimitedSizeDict
from moto.dynamodb.models.table import Table
from moto.dynamodb.parsing.ast_nodes import DepthFirstTraverser  # type: ignore[attr-defined]
from moto.dynamodb.parsing.expressions import UpdateExpressionParser  # type: ignore[attr-defined]
from moto.kms.responses import KmsResponse
from moto.kms.utils import ECDSAPrivateKey
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import FakeKey, FakeMultipart, S3Backend
from moto.sqs.exceptions import InvalidParameterValue
from moto.sqs.models import Queue, SQSBackend
from moto.sqs.responses import SQSResponse
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from infra.local.http import Request, Response
from infra.local.template import ACCOUNT, BACKUP_REGION, REGION

#: Held by whoever runs a function or calls moto: neither moto nor Powertools' resolvers are made for threads.
LOCK = threading.RLock()

#: Services whose data both regions share, as global tables and replicas would in the end.
_SHARED = ("cognito-idp", "dynamodb", "events", "kms", "secretsmanager", "ses", "sesv2", "sqs")

#: Answered as a call in this process is, by what their ``x-amz-target`` begins with: the web application that moto builds
#: around the others takes longer than most of their answers.
_DIRECT = {"DynamoDB_": "dynamodb", "AmazonSQS.": "sqs"}

#: Asked before each AWS call: the event's name (``before-send.dynamodb.GetItem``) and the request; an answer that is
#: not None takes the place of moto's.
Interceptor = Callable[[str, Any], Any]


class Aws(AbstractContextManager["Aws"]):
    """moto, started and stopped; what it remembers ends with it. One at a time in a process.

    ``guard`` and then ``interceptor`` see each call first, but none that they make themselves; both may be set at any
    time. ``clock`` tells when an e-mail is sent.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self.guard: Interceptor | None = None
        self.interceptor: Interceptor | None = None
        self._asking = False
        self._open = ExitStack()

    def __enter__(self) -> "Aws":
        """Start. From here on no AWS call leaves this process."""
        self._open.enter_context(mock_aws())
        self._open.enter_context(patch.object(BotocoreStubber, "__call__", self._one_at_a_time()))
        _let_go_of_what_is_gone(self._open)
        _honor_digests(self._open)
        _undo_only_what_was_touched(self._open)
        _query_only_the_partition(self._open)
        _parse_each_expression_once(self._open)
        _copy_attribute_values_quickly(self._open)
        _write_attribute_values_as_they_are(self._open)
        _move_messages(self._open)
        _list_only_the_prefix(self._open)
        for service in _SHARED:
            backends = get_backend(service)[ACCOUNT]  # type: ignore[call-overload]
            backends[BACKUP_REGION] = backends[REGION]
            self._open.callback(backends.pop, BACKUP_REGION, None)
        get_backend("ses")[ACCOUNT][REGION].sent_messages = _Stamped(self._clock)
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop, and forget everything."""
        self._open.close()

    def _one_at_a_time(self) -> Callable[..., Any]:
        """moto's stubber behind the lock, the guard and the interceptor."""
        original = BotocoreStubber.__call__

        def call(stubber: BotocoreStubber, event_name: str, request: Any, **kwargs: Any) -> Any:
            with LOCK:
                answer = None if self._asking else self._ask(event_name, request)
                return original(stubber, event_name, request, **kwargs) if answer is None else answer

        return call

    def _ask(self, event_name: str, request: Any) -> Any:
        self._asking = True
        try:
            answers = (each(event_name, request) for each in (self.guard, self.interceptor) if each)
            return next((answer for answer in answers if answer is not None), None)
        finally:
            self._asking = False

    @property
    def sent_mail(self) -> list[Any]:
        """What SES was given to send, oldest first.

        Objects with ``id``, ``source``, ``destinations``, ``raw_data`` and ``sent_at`` (aware datetime).
        """
        messages: list[Any] = get_backend("ses")[ACCOUNT][REGION].sent_messages
        return messages

    def snapshot(self) -> Callable[[], None]:
        """Remember all tables and users as they are; returns what puts them back, but for the key set: License Managers rightly
        refuse one that went back to an older version.
        """
        tables = get_backend("dynamodb")[ACCOUNT][REGION].tables
        pools = get_backend("cognito-idp")[ACCOUNT][REGION].user_pools
        # Pickled, since reading it back is several times as fast as a deep copy.
        remembered = io.BytesIO()
        items_and_users = (
            {name: table.items for name, table in tables.items()},
            {pool_id: pool.users for pool_id, pool in pools.items()},
        )
        pickler = pickle.Pickler(remembered)
        # Otherwise each attribute that is put back makes moto add up the size of all of its item.
        pickler.dispatch_table = {LimitedSizeDict: lambda attributes: (_limited, (dict(attributes),))}
        pickler.dump(items_and_users)

        def restore() -> None:
            known_items, known_users = pickle.loads(remembered.getbuffer())  # noqa: S301  our own
            for name, items in known_items.items():
                kept = {key: part for key, part in tables[name].items.items() if key.value == "KEYSET"}
                tables[name].items.clear()
                tables[name].items.update({**items, **kept})
            for pool_id, users in known_users.items():
                pools[pool_id].users.clear()
                pools[pool_id].users.update(users)

        return restore

    def empty_queues(self) -> None:
        """Forget all messages, delayed ones too; SQS itself purges a queue once a minute at most."""
        for queue in get_backend("sqs")[ACCOUNT][REGION].queues.values():
            queue._messages.clear()
            queue.pending_messages.clear()

    def empty_buckets(self) -> None:
        """Forget all objects, locked ones too."""
        for bucket in get_backend("s3")[ACCOUNT]["aws"].buckets.values():
            bucket.keys.clear()

    def hurry_queues(self) -> set[str]:
        """Let all delays and visibility timeouts be over; returns the names of the queues with messages."""
        queues = get_backend("sqs")[ACCOUNT][REGION].queues
        for queue in queues.values():
            for message in queue._messages:
                message.delayed_until = message.visible_at = 0
        return {name for name, queue in queues.items() if queue._messages}

    def application(self) -> Callable[[Request], Response]:
        """moto as an HTTP application, for ``AWS_ENDPOINT_URL``: the same data, behind the same lock."""
        dispatcher = DomainDispatcherApplication(create_backend_app)
        stubber = BotocoreStubber()

        def directly(request: Request, service: str) -> Response:
            url = f"https://{service}.{REGION}.amazonaws.com{request.target}"
            named: Any = dict(request.headers)
            asked = AWSPreparedRequest(request.method, url, named, request.body, False)
            with LOCK:
                status, found, content = stubber.process_request(asked) or (404, {}, b"")
            body = content if isinstance(content, bytes) else content.encode()
            return Response(status, tuple(found.items()), body)

        def answer(request: Request) -> Response:
            target = request.header("x-amz-target")
            if service := next((name for prefix, name in _DIRECT.items() if target.startswith(prefix)), ""):
                return directly(request, service)
            environment = EnvironBuilder(
                path=request.path,
                query_string=request.raw_query,
                method=request.method,
                headers=Headers(list(request.headers)),
                input_stream=io.BytesIO(request.body),
                base_url=f"{request.scheme}://{request.header('host') or 'localhost'}",
            ).get_environ()
            with LOCK:
                body, status, headers = run_wsgi_app(dispatcher, environment, buffered=True)
                content = b"".join(body)
            kept = tuple((name, value) for name, value in headers if name.lower() != "content-length")
            return Response(int(status.split()[0]), kept, content)

        return answer


def _limited(attributes: dict[str, Any]) -> LimitedSizeDict:
    made = LimitedSizeDict()
    dict.update(made, attributes)
    return made


class _Stamped(list[Any]):
    """A list of messages that notes on each when it came, as SES dates what it sends; moto does not."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._clock = clock

    def append(self, message: Any) -> None:
        """Note the time, and append."""
        message.sent_at = self._clock()
        super().append(message)


def _let_go_of_what_is_gone(until: ExitStack) -> None:
    """Keep no list of all objects that were ever made, as moto does for a page of its own server: each former version of an item
    would stay in memory. Those of S3 are closed by that list."""
    make = BaseModel.__new__

    def make_unlisted(kind: type[BaseModel], *arguments: Any, **named: Any) -> BaseModel:
        return make(kind) if issubclass(kind, FakeKey | FakeMultipart) else object.__new__(kind)

    until.enter_context(patch.object(BaseModel, "__new__", staticmethod(make_unlisted)))


def _undo_only_what_was_touched(until: ExitStack) -> None:
    """Make a transaction undo its own items; moto copies whole tables, once per action, in case it has to."""
    transact = DynamoDBBackend.transact_write_items

    def streamed(table: Table) -> list[Any]:
        return table.stream_shard.items if table.stream_shard else []

    def touched(backend: DynamoDBBackend, actions: list[dict[str, Any]]) -> Iterator[tuple[Table, Any, Any, Any, int]]:
        for action in actions:
            ((kind, operation),) = action.items()
            if kind == "ConditionCheck":
                continue
            table = backend.get_table(operation["TableName"])
            source = operation.get("Key") or operation["Item"]
            pk = DynamoType(source[table.hash_key_attr])
            sk = DynamoType(source[table.range_key_attr]) if table.range_key_attr else None
            yield table, pk, sk, copy.deepcopy(table.get_item(pk, sk)), len(streamed(table))

    def transact_write_items(backend: DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        before = list(touched(backend, transact_items))
        try:
            transact(backend, transact_items)
        except Exception:
            for table, pk, sk, item, in_stream in before:
                if item is None:
                    table.delete_item(pk, sk)
                elif sk is None:
                    table.items[pk] = item
                else:
                    table.items[pk][sk] = item
                del streamed(table)[in_stream:]
            raise

    until.enter_context(patch.object(Table, "__deepcopy__", lambda table, memo: table, create=True))
    until.enter_context(patch.object(DynamoDBBackend, "transact_write_items", transact_write_items))


def _query_only_the_partition(until: ExitStack) -> None:
    """Make a query look at its partition; moto looks at, and sorts, the whole table for each."""
    query = Table.query

    def query_partition(table: Table, hash_key: DynamoType, *rest: Any, **options: Any) -> Any:
        *_, index_name, _, _ = rest
        if index_name or not table.range_key_attr:
            return query(table, hash_key, *rest, **options)
        part = list(table.items.get(hash_key, {}).values())
        with patch.object(table, "all_items", lambda: part):
            return query(table, hash_key, *rest, **options)

    until.enter_context(patch.object(Table, "query", query_partition))


def _parse_each_expression_once(until: ExitStack) -> None:
    """Make moto remember what it read in an update expression, and which nodes a traverser looks for; the product's expressions are
    few, since names and values are placeholders, and moto changes a copy only."""
    until.enter_context(patch.object(UpdateExpressionParser, "make", lru_cache(256)(UpdateExpressionParser.make)))

    def nodes_to_be_processed(traverser: DepthFirstTraverser) -> tuple[type, ...]:
        known: tuple[type, ...] | None = vars(traverser).get("known_nodes")
        if known is None:
            known = vars(traverser)["known_nodes"] = tuple(traverser._processing_map())
        return known

    until.enter_context(patch.object(DepthFirstTraverser, "nodes_to_be_processed", nodes_to_be_processed))


def _copy_attribute_values_quickly(until: ExitStack) -> None:
    """Copy an attribute value, which is a tree, member by member; moto asks the copy module at each, and keeps a memory of all."""

    def copied(value: DynamoType, memo: dict[int, Any] | None = None) -> DynamoType:
        made = DynamoType.__new__(DynamoType)
        made.type, content = value.type, value.value
        if made.type == "M":
            content = {name: copied(each) for name, each in content.items()}
        elif made.type == "L":
            content = [copied(each) for each in content]
        elif isinstance(content, list):
            content = list(content)
        made.value = content
        return made

    until.enter_context(patch.object(DynamoType, "__deepcopy__", copied))


def _write_attribute_values_as_they_are(until: ExitStack) -> None:
    """Make an answer write the one member that an attribute value has; moto looks for all ten, by every spelling it knows, which
    is most of what a read takes."""
    serialize = JSONSerializer._serialize_type_structure

    def serialize_structure(serializer: JSONSerializer, into: Any, value: Any, shape: StructureShape, key: str) -> None:
        if shape.name != "AttributeValue":
            serialize(serializer, into, value, shape, key)
            return
        ((kind, content),) = value.items()
        written: dict[str, Any] = {}
        serializer._serialize(written, content, shape.members[kind], kind)
        into[key] = written

    until.enter_context(patch.object(JSONSerializer, "_serialize_type_structure", serialize_structure))


def _move_messages(until: ExitStack) -> None:
    """Give moto the redrive of dead letters, which it lacks: all of them go to where they came from, at once.

    A dead-letter queue here has one queue before it; SQS itself remembers each message's.
    """
    tasks: list[dict[str, Any]] = []

    def named(backend: SQSBackend, arn: str) -> Queue:
        return backend.get_queue(arn.rpartition(":")[2])

    def start(response: SQSResponse) -> ActionResult:
        arn = response._get_param("SourceArn")
        backend = response.sqs_backend
        letters = named(backend, arn)
        before = [each for each in backend.queues.values() if each.dead_letter_queue is letters]
        if not before:
            raise InvalidParameterValue("Source queue must be configured as a Dead Letter Queue.")
        wanted = response._get_param("DestinationArn")
        queue = named(backend, wanted) if wanted else before[0]
        moved = len(letters._messages)
        for message in letters._messages:
            backend.send_message(queue.name, message.body, message_attributes=message.message_attributes)
        letters._messages.clear()
        handle = f"task-{len(tasks)}"
        tasks.append(
            {
                "Status": "COMPLETED",
                "SourceArn": arn,
                "DestinationArn": wanted,
                "ApproximateNumberOfMessagesMoved": moved,
                "ApproximateNumberOfMessagesToMove": moved,
            }
        )
        return ActionResult({"TaskHandle": handle})

    def list_tasks(response: SQSResponse) -> ActionResult:
        arn = response._get_param("SourceArn")
        return ActionResult({"Results": [each for each in reversed(tasks) if each["SourceArn"] == arn]})

    until.enter_context(patch.object(SQSResponse, "start_message_move_task", start, create=True))
    until.enter_context(patch.object(SQSResponse, "list_message_move_tasks", list_tasks, create=True))


def _list_only_the_prefix(until: ExitStack) -> None:
    """Make a list of versions look at its prefix; moto copies the whole bucket, objects and all, for each."""
    listed = S3Backend.list_object_versions

    def list_object_versions(
        backend: S3Backend, bucket_name: str, delimiter: Any = None, key_marker: Any = None, max_keys: Any = 1000,
        prefix: str = "", version_id_marker: Any = None,
    ) -> Any:  # fmt: skip
        keys = backend.get_bucket(bucket_name).keys
        named = [(name, versions) for name, versions in keys.iterlists() if name.startswith(prefix)]
        with patch.object(keys, "iterlists", lambda: iter(named)):
            return listed(backend, bucket_name, delimiter, key_marker, max_keys, prefix, version_id_marker)

    until.enter_context(patch.object(S3Backend, "list_object_versions", list_object_versions))


def _honor_digests(until: ExitStack) -> None:
    """Make ``kms:Sign`` with ``MessageType=DIGEST`` sign the digest; moto signs the digest of the digest."""
    state = threading.local()
    sign, key_sign = KmsResponse.sign, ECDSAPrivateKey.sign

    def honoring_sign(response: KmsResponse) -> Any:
        state.digest = response._get_param("MessageType") == "DIGEST"
        try:
            return sign(response)
        finally:
            state.digest = False

    def honoring_key_sign(key: ECDSAPrivateKey, message: bytes, signing_algorithm: str) -> Any:
        if not getattr(state, "digest", False) or signing_algorithm != "ECDSA_SHA_256":
            return key_sign(key, message, signing_algorithm)
        return key.private_key.sign(message, ec.ECDSA(Prehashed(hashes.SHA256())))

    until.enter_context(patch.object(KmsResponse, "sign", honoring_sign))
    until.enter_context(patch.object(ECDSAPrivateKey, "sign", honoring_key_sign))
