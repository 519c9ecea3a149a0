"""moto's DynamoDB and KMS without what costs time and decides nothing: HTTP, AWS's protocol, parsing one expression twice.

Conditions, updates and transactions stay moto's own. With ``SLOW=1`` in the environment nothing here is used: a seed must come out
the same.
"""

import base64
import json
import os
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
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
from moto.dynamodb.responses import DynamoHandler
from werkzeug.exceptions import HTTPException

from infra.local.template import ACCOUNT, REGION

_JSON = {"content-type": "application/x-amz-json-1.0"}
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
    until.enter_context(patch.object(SigV4Auth, "add_auth", lambda auth, request: None))
    until.enter_context(patch.object(UserAgentString, "to_string", lambda text: "simulation"))
    lex = ConditionExpressionParser._lex_condition_expression
    parse = ConditionExpressionParser.parse
    until.enter_context(patch.object(ConditionExpressionParser, "_lex_condition_expression", _once_per_expression(lex)))
    until.enter_context(patch.object(ConditionExpressionParser, "parse", _twice_in_a_row(parse)))


#: Only what writes and reads items; the rest (tables, tags) stays on the slow way.
_QUICK = {"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "TransactWriteItems", "BatchGetItem", "Scan"}
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


def _text(value: Any) -> str:
    return base64.b64encode(value).decode()


def _sign(body: dict[str, Any]) -> _Answer:
    """``kms:Sign`` of a digest, as infra.local.aws lets moto do it."""
    key: Any = get_backend("kms")[ACCOUNT][REGION].keys[body["KeyId"].rpartition("/")[2]]
    digest = base64.b64decode(body["Message"])
    signature = key.private_key.private_key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    answer = {"KeyId": key.arn, "Signature": _text(signature), "SigningAlgorithm": body["SigningAlgorithm"]}
    return 200, _JSON, json.dumps(answer)


def _once_per_expression(lex: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @lru_cache(maxsize=500)
    def nodes(expression: str) -> tuple[Any, ...]:
        return tuple(lex(ConditionExpressionParser(expression, {}, {})))

    return lambda parser: deque(nodes(parser.condition_expression))


def _twice_in_a_row(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """moto parses each condition to see what it names, and again to judge by it."""
    last: list[Any] = [None]

    def parsed(parser: ConditionExpressionParser) -> Any:
        given = parser.condition_expression, parser.expression_attribute_names, parser.expression_attribute_values
        if last[0] is None or last[0][0] != given:
            last[0] = given, parse(parser), parser.expr_attr_names_found, parser.expr_attr_values_found
        _, operation, parser.expr_attr_names_found, parser.expr_attr_values_found = last[0]
        return operation

    return parsed
