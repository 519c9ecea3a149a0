"""moto's DynamoDB and KMS without what costs time and decides nothing: HTTP, AWS's protocol, parsing one expression twice.

Conditions, updates and transactions stay moto's own. With ``SLOW=1`` in the environment nothing here is used: a seed must come out
the same.
"""

import base64
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from botocore.auth import SigV4Auth
from botocore.useragent import UserAgentString
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.backends import get_backend
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.utils import camelcase_to_underscores
from moto.dynamodb.comparisons import ConditionExpressionParser
from moto.dynamodb.parsing import ast_nodes
from moto.dynamodb.responses import DynamoHandler
from werkzeug.exceptions import HTTPException

from infra.local.template import ACCOUNT, REGION

_AST: Any = ast_nodes
_JSON = {"content-type": "application/x-amz-json-1.0"}
_SIGN: Any = SigV4Auth.add_auth
_Answer = tuple[int, dict[str, str], str]


def install(until: ExitStack) -> None:
    """Be quick until ``until`` closes."""
    if os.environ.get("SLOW"):
        return
    process = BotocoreStubber.process_request

    def process_request(stubber: BotocoreStubber, request: Any) -> Any:
        service, _, action = str(request.headers.get("X-Amz-Target", b""), "utf-8").partition(".")
        if service == "DynamoDB_20120810" and action in _QUICK:
            return _dynamodb(action, json.loads(request.body))
        if (service, action) == ("TrentService", "Sign"):
            return _sign(json.loads(request.body))
        return process(stubber, request)

    until.enter_context(patch.object(BotocoreStubber, "process_request", process_request))
    until.enter_context(patch.object(SigV4Auth, "add_auth", _name_region))
    until.enter_context(patch.object(UserAgentString, "to_string", lambda text: "simulation"))
    until.enter_context(
        patch.object(ConditionExpressionParser, "parse", _parse_by_text(ConditionExpressionParser.parse))
    )
    until.enter_context(patch.object(_AST.DepthFirstTraverser, "traverse_node_recursively", _traverse))


#: Only what writes and reads items; the rest (tables, tags) stays on the slow way.
_QUICK = {
    "GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "TransactWriteItems", "BatchGetItem", "BatchWriteItem", "Scan",
}  # fmt: skip
_METHODS = {action: camelcase_to_underscores(action) for action in _QUICK}


def _dynamodb(action: str, body: dict[str, Any]) -> _Answer:
    handler = DynamoHandler()
    handler.region, handler.current_account = REGION, ACCOUNT
    handler.body = handler.params = body
    try:
        result = getattr(handler, _METHODS[action])().result
    except HTTPException as error:
        return error.code or 400, _JSON, str(error.description)
    return 200, _JSON, json.dumps(result, default=_text)


def _name_region(auth: Any, request: Any) -> None:
    """No signature, but what moto reads in it; of S3 it reads more."""
    if auth._service_name == "s3":
        _SIGN(auth, request)
        return
    scope = f"key/20261122/{auth._region_name}/{auth._service_name}/aws4_request"
    request.headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}"


def _text(value: Any) -> str:
    return base64.b64encode(value).decode()


def _sign(body: dict[str, Any]) -> _Answer:
    """``kms:Sign`` of a digest, as infra.local.aws lets moto do it."""
    key: Any = get_backend("kms")[ACCOUNT][REGION].keys[body["KeyId"].rpartition("/")[2]]
    digest = base64.b64decode(body["Message"])
    signature = key.private_key.private_key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    answer = {"KeyId": key.arn, "Signature": _text(signature), "SigningAlgorithm": body["SigningAlgorithm"]}
    return 200, _JSON, json.dumps(answer)


def _parse_by_text(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Parse each text of a condition once. The values differ from call to call, and are put into the tree."""
    trees: dict[Any, tuple[Any, list[str], list[str]]] = {}
    kinds = ConditionExpressionParser.Kind

    def filled(node: Any, values: dict[str, Any]) -> Any:
        if node.kind == kinds.EXPRESSION_ATTRIBUTE_VALUE:
            return node._replace(value=values[node.text])
        return node._replace(children=[filled(each, values) for each in node.children]) if node.children else node

    def parsed(parser: ConditionExpressionParser) -> Any:
        names, values = parser.expression_attribute_names or {}, parser.expression_attribute_values or {}
        key = parser.condition_expression, *names.items(), *values
        if key not in trees:
            make, kept = parser._make_op_condition, list[Any]()

            def make_and_keep(node: Any) -> Any:
                kept.append(node)
                return make(node)

            with patch.object(parser, "_make_op_condition", make_and_keep):
                operation = parse(parser)
            if kept:
                trees[key] = kept[0], parser.expr_attr_names_found, parser.expr_attr_values_found
            return operation
        tree, parser.expr_attr_names_found, parser.expr_attr_values_found = trees[key]
        return parser._make_op_condition(filled(tree, values))

    return parsed


def _traverse(traverser: Any, node: Any, child_id: int = -1) -> Any:
    """moto's own, asking each class once whether it is to be processed."""
    kind, wanted = type(node), vars(traverser).setdefault("wanted", {})
    if kind not in wanted:
        wanted[kind] = issubclass(kind, _AST.Node) and (issubclass(kind, traverser.nodes_to_be_processed()),)
    if not wanted[kind]:
        return node
    for place, child in enumerate(node.children or ()):
        traverser.pre_processing_of_child(node, place)
        _traverse(traverser, child, place)
    if wanted[kind] == (False,):
        return node
    parent = node.parent
    processed = traverser.process(node)
    processed.parent = parent
    if parent:
        parent.children[child_id] = processed
    return processed
