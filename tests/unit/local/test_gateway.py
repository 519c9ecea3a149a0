"""The local gateway has API Gateway's manners."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from infra.local.functions import Functions
from infra.local.gateway import MAX_BODY_BYTES, Gateway
from infra.local.http import Request, Response
from infra.local.stack import PRIMARY
from infra.local.template import Function, Trigger

ROUTES = ("GET /v1/things", "POST /v1/things", "GET /v1/things/{thing_id}", "GET /v1/things/newest", "ANY /all/{rest+}")


class Recorder(Functions):
    """Functions that remember the event, and return what they are told to."""

    def __init__(self, returned: Any = None, error: Exception | None = None) -> None:
        super().__init__([function(key) for key in ROUTES])
        self.returned = returned if returned is not None else {"statusCode": 200, "body": "ok"}
        self.error = error
        self.event: dict[str, Any] = {}
        self.name = ""

    def invoke(self, function: Function, event: Mapping[str, Any], site: object) -> Any:
        self.name, self.event = function.name, dict(event)
        if self.error:
            raise self.error
        return self.returned


def function(key: str) -> Function:
    method, path = key.split(" ")
    trigger = Trigger("Event", "HttpApi", {"Method": method, "Path": path})
    return Function(key, "module.handler", 10, 128, {}, (trigger,))


@pytest.fixture
def call() -> Callable[..., tuple[Response, Recorder]]:
    def calling(method: str, target: str, *headers: tuple[str, str], body: bytes = b"", **returned: Any) -> Any:
        recorder = Recorder(**returned)
        request = Request(method, target, (("host", "127.0.0.1:8001"), *headers), body)
        return Gateway(recorder, PRIMARY)(request), recorder

    return calling


Call = Callable[..., tuple[Response, Recorder]]


def test_an_event_is_payload_format_2(call: Call) -> None:
    headers = (("content-type", "application/json"), ("accept", "a"), ("accept", "b"), ("cookie", "c=1; d=2"))
    _, recorder = call("POST", "/v1/things?a=1&b=x%20y&a=2", *headers, body=b'{"x": 1}')
    event = recorder.event
    assert event["version"] == "2.0"
    assert event["routeKey"] == event["requestContext"]["routeKey"] == "POST /v1/things"
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == "/v1/things"
    assert event["rawQueryString"] == "a=1&b=x%20y&a=2"
    assert event["queryStringParameters"] == {"a": "1,2", "b": "x y"}
    assert event["headers"]["accept"] == "a,b"
    assert event["cookies"] == ["c=1", "d=2"]
    assert "cookie" not in event["headers"]
    assert (event["body"], event["isBase64Encoded"]) == ('{"x": 1}', False)
    assert "pathParameters" not in event


def test_forwarding_headers_are_the_gateway_s_own(call: Call) -> None:
    _, recorder = call("GET", "/v1/things", ("x-forwarded-proto", "https"), ("x-forwarded-for", "1.2.3.4"))
    headers = recorder.event["headers"]
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-forwarded-port"] == "8001"
    assert headers["x-forwarded-for"] == "1.2.3.4, 127.0.0.1"


@pytest.mark.parametrize(
    ("content_type", "is_text"),
    [
        ("application/json", True),
        ("application/problem+json; charset=utf-8", True),
        ("text/plain", True),
        ("application/x-www-form-urlencoded", False),
        ("application/octet-stream", False),
    ],
)
def test_bodies_that_are_no_text_are_base64(call: Call, content_type: str, is_text: bool) -> None:
    _, recorder = call("POST", "/v1/things", ("content-type", content_type), body=b"a=1")
    assert recorder.event["isBase64Encoded"] is not is_text
    assert recorder.event["body"] == ("a=1" if is_text else base64.b64encode(b"a=1").decode())


def test_path_parameters_are_decoded_once(call: Call) -> None:
    _, recorder = call("GET", "/v1/things/a%2Fb%2520c")
    assert recorder.event["pathParameters"] == {"thing_id": "a/b%20c"}


def test_the_most_specific_route_takes_a_request(call: Call) -> None:
    assert call("GET", "/v1/things/newest")[1].name == "GET /v1/things/newest"
    assert call("DELETE", "/all/of/it")[1].event["pathParameters"] == {"rest": "of/it"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nothing"),
        ("GET", "/v1/things/"),
        ("DELETE", "/v1/things"),
        ("HEAD", "/v1/things"),
        ("OPTIONS", "/v1/things"),
        ("BREW", "/v1/things"),
    ],
)
def test_what_has_no_route_is_404_in_json(call: Call, method: str, path: str) -> None:
    response, recorder = call(method, path)
    assert (response.status, json.loads(response.body)) == (404, {"message": "Not Found"})
    assert not recorder.name


def test_a_body_above_ten_megabytes_never_reaches_a_function(call: Call) -> None:
    assert call("POST", "/v1/things", body=b"x" * MAX_BODY_BYTES)[0].status == 200
    response, recorder = call("POST", "/v1/things", body=b"x" * (MAX_BODY_BYTES + 1))
    assert response.status == 413
    assert not recorder.name


def test_a_response_keeps_status_headers_cookies_and_binary_body(call: Call) -> None:
    returned = {
        "statusCode": 201,
        "headers": {"X-One": 1},
        "cookies": ["a=1", "b=2"],
        "body": base64.b64encode(b"\x00\xff").decode(),
        "isBase64Encoded": True,
    }
    response, _ = call("GET", "/v1/things", returned=returned)
    assert (response.status, response.body) == (201, b"\x00\xff")
    assert ("x-one", "1") in response.headers
    assert [value for name, value in response.headers if name == "set-cookie"] == ["a=1", "b=2"]


def test_a_function_that_fails_or_answers_nonsense_is_500_in_json(call: Call) -> None:
    from infra.local.functions import FunctionFailed

    for trouble in ({"error": FunctionFailed("x")}, {"returned": {"statusCode": "many"}}):
        response, _ = call("GET", "/v1/things", **trouble)
        assert (response.status, json.loads(response.body)) == (500, {"message": "Internal Server Error"})


def test_without_a_status_what_is_returned_is_the_body(call: Call) -> None:
    response, _ = call("GET", "/v1/things", returned={"plain": True})
    assert (response.status, json.loads(response.body)) == (200, {"plain": True})
