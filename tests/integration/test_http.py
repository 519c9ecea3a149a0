"""Bad input gets its stable code (api.md, "Conventions")."""

import io
import json
import logging
from datetime import UTC, date, datetime
from typing import Any

import pytest
from licensing import contract
from licensing.errors import catalogue
from pydantic import BaseModel, TypeAdapter, ValidationError

from infra import openapi
from infra.local.gateway import Gateway
from infra.local.stack import PRIMARY
from tests.support.cloud import Cloud, Server, problem

ROUTES = [
    "/v1/activation-requests",
    "/v1/activation-requests/req_1/verify",
    "/v1/activations",
    "/v1/validations",
    "/v1/deactivations",
]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"nonsense", b"\xff\xfe", b'{"a": NaN}', b"[" * 30_000, b'{"a":' * 8_000],
    ids=lambda c: str(c[:9]),
)
def test_what_is_not_json(cloud: Cloud, path: str, content: bytes) -> None:
    assert problem(cloud.post(path, content)) in [(400, "MALFORMED_JSON"), (422, "INVALID_REQUEST")]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("body", [None, 1, [], "x", {}, {"unknown": 1}], ids=str)
def test_json_of_another_shape(cloud: Cloud, path: str, body: Any) -> None:
    response = cloud.post(path, body)
    assert problem(response) == (422, "INVALID_REQUEST")
    assert response.json()["errors"]


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_larger_than_any_honest_one(cloud: Cloud, path: str) -> None:
    assert problem(cloud.post(path, b'{"tax_id": "' + b"1" * 270_000 + b'"}')) == (413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("path", ROUTES)
def test_a_body_that_is_not_declared_as_json(cloud: Cloud, path: str) -> None:
    response = cloud.post(path, b"tax_id=IT00743110157", content_type="application/x-www-form-urlencoded")
    assert problem(response) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("spelled", ["application/json", "Application/JSON", "application/json; charset=utf-8"])
def test_media_types_are_case_insensitive(cloud: Cloud, spelled: str) -> None:
    response = cloud.post("/v1/activation-requests", {"tax_id": "IT00743110157"}, content_type=spelled)
    assert response.status_code == 202


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"time_zone": "Mars/Olympus"}, "/time_zone"),
        ({"time_zone": "../../etc/passwd"}, "/time_zone"),
        ({"time_zone": "localtime"}, "/time_zone"),
        ({"time_zone": "Europe"}, "/time_zone"),
        ({"time_zone": ""}, "/time_zone"),
        ({"fingerprint": {}}, "/fingerprint"),
        ({"fingerprint": {"a": "short", "b": "x", "c": "y"}}, "/fingerprint/a"),
        ({"agent_version": "1.0-beta"}, "/agent_version"),
        ({"agent_version": "٣"}, "/agent_version"),
        ({"hostname": "a\u0000b"}, "/hostname"),
        ({"hostname": "x" * 256}, "/hostname"),
        ({"databases": ["x"] * 21}, "/databases"),
        ({"nonce": "short"}, "/nonce"),
        ({"usage": {"channels": -1}}, "/usage/channels"),
        ({"extra": 1}, "/extra"),
    ],
    ids=str,
)
def test_a_field_that_is_wrong_is_pointed_at(server: Server, changes: dict[str, Any], pointer: str) -> None:
    response = server.validate(**changes)
    assert problem(response) == (422, "INVALID_REQUEST")
    assert response.json()["errors"][0]["pointer"].startswith(pointer)


def test_what_was_sent_is_not_repeated(cloud: Cloud, server: Server) -> None:
    secret = "a-misplaced-secret-that-must-not-come-back"
    assert secret not in server.validate(hostname=[secret], nonce=secret + "!").text


@pytest.mark.parametrize("key", ["", "x" * 129])
def test_an_idempotency_key_that_is_none(cloud: Cloud, key: str) -> None:
    response = cloud.post("/v1/activation-requests", {"tax_id": "IT00743110157"}, idempotency_key=key)
    assert problem(response) == (422, "INVALID_REQUEST")


def test_secrets_stay_out_of_the_log(cloud: Cloud, server: Server) -> None:
    written = io.StringIO()
    for handler in logging.getLogger("licensing").handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(written)
    token = cloud.token_of("Bergamo")
    assert Server(cloud, machine="b").activate(token).status_code == 201
    server.validate()
    server.validate(agent_version="0.0.1")
    cloud.post("/v1/activation-requests", {"tax_id": "IT00743110157"})
    code = cloud.mailed_code()
    for message in ("activated", "refused", "code_mailed"):
        assert f'"message":"{message}"' in written.getvalue()
    for secret in (token, server.token, code, server.claims["nonce"]):
        assert secret not in written.getvalue()


def test_the_openapi_document_is_current() -> None:
    assert openapi.DOCUMENT.read_text(encoding="utf-8") == openapi.text(), "run: make openapi"


def test_the_openapi_document_names_every_route_and_its_problems(cloud: Cloud) -> None:
    document = cloud.get("/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    routes = Gateway(cloud.stack.functions, PRIMARY).routes
    served = {route.key for route in routes if not route.path.startswith(("/portal", "/unlock"))}
    described = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert described == served


def test_the_examples_of_the_openapi_document_are_true() -> None:
    shown = [kind for kind in vars(contract).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
    with_examples = [kind for kind in shown if (kind.model_config.get("json_schema_extra") or {})]
    assert len(with_examples) > 8
    for kind in with_examples:
        for example in kind.model_config["json_schema_extra"]["examples"]:  # type: ignore[call-overload, index]
            kind.model_validate(example)


@pytest.mark.parametrize("made_up", [0, "0", False, "1796083200", "true", "yes", 1.5])
def test_a_number_is_no_day_and_a_word_is_no_flag(made_up: object) -> None:
    """Found by make fuzz: pydantic takes 0 for a day of 1970, and "yes" for true."""
    for kind in (contract.Day, contract.Moment, contract.Flag):
        if kind is contract.Flag and made_up is False:
            continue
        with pytest.raises(ValidationError):
            TypeAdapter(kind).validate_python(made_up)


def test_days_moments_and_flags_as_they_are_written() -> None:
    assert TypeAdapter(contract.Day).validate_python("2026-11-22") == date(2026, 11, 22)
    assert TypeAdapter(contract.Day).validate_python(date(2026, 11, 22)) == date(2026, 11, 22)
    moment = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert TypeAdapter(contract.Moment).validate_python("2026-11-22T13:00:00+01:00") == moment
    with pytest.raises(ValidationError):
        TypeAdapter(contract.Moment).validate_python("2026-11-22T13:00:00")
    assert TypeAdapter(contract.Flag).validate_python(True) is True


def test_every_refusal_has_a_code_of_its_own_a_status_and_a_sentence() -> None:
    kinds = catalogue()
    assert len({kind.code for kind in kinds}) == len(kinds) > 15
    for kind in kinds:
        assert 400 <= kind.status < 600
        assert kind.detail.endswith((".", "errors."))


def test_ping_names_site_region_and_time(cloud: Cloud) -> None:
    answers = [cloud.get("/v1/ping", site).json() for site in (0, 1)]
    assert [each["site"] for each in answers] == ["primary", "backup"]
    assert all(each["message"] == "successfully connected" for each in answers)
    assert json.dumps(answers[0]["server_time"]).endswith('Z"')
