"""What AWS does to a caller when it does not do what it was asked."""

import json
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from moto.core.botocore_stubber import BotocoreStubber, MockRawResponse

_real = BotocoreStubber.process_request


def meet(fault: str, called: str, request: Any) -> AWSResponse:
    """Let a call fail: ``throttle``, ``conflict``, ``timeout_before`` or ``timeout_after`` (it took effect)."""
    if fault == "timeout_before":
        raise ConnectTimeoutError(endpoint_url=request.url)
    if fault == "timeout_after":
        carry_out(request)
        raise ReadTimeoutError(endpoint_url=request.url)
    if fault == "conflict" and called == "TransactWriteItems":
        count = len(json.loads(request.body)["TransactItems"])
        reasons = [{"Code": "TransactionConflict", "Message": "x"}] + [{"Code": "None"}] * (count - 1)
        return _refusal(request, "TransactionCanceledException", CancellationReasons=reasons)
    return _refusal(request, "TransactionConflictException" if fault == "conflict" else "ThrottlingException")


def carry_out(request: Any) -> None:
    """Let a call take effect."""
    _real(BotocoreStubber(), request)


def answer(request: Any, status: int, body: dict[str, Any]) -> AWSResponse:
    """An answer that moto did not give."""
    headers: Any = {"content-type": "application/x-amz-json-1.0"}
    return AWSResponse(request.url, status, headers, MockRawResponse(json.dumps(body).encode()))


def _refusal(request: Any, code: str, **members: Any) -> AWSResponse:
    return answer(request, 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": code, **members})
