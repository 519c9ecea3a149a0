"""Webhooks (F7): managed by the vendor, signed, tried again until they are taken, and never sent where nobody should look."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from licensing import deployment, webhooks
from licensing.store import webhooks as store
from licensing.store.operations import OperationItem
from licensing.webhooks import Delivery, NotDelivered
from moto.backends import get_backend

from infra.local.template import REGION
from tests.integration.test_failures import faults
from tests.support.alerts import quiet, run_schedule, schema_of, set_end
from tests.support.cloud import Cloud, problem
from tests.support.visitor import ERP, GIULIA, MARTA, PAOLO, Caller


class Receiver:
    """A vendor's own system: keeps what it got, and answers as told."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(({k.lower(): v for k, v in self.headers.items()}, content))
                self.send_response(outer.answers.pop(0) if outer.answers else 204)
                self.send_header("location", "http://127.0.0.1:1/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks?of=licensing"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.stop()


def add(cloud: Cloud, url: str, *events: str) -> dict[str, Any]:
    answer = Caller(cloud, MARTA).call("POST", "/v1/webhooks", {"url": url, "events": list(events)})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def signatures(secret: str, headers: dict[str, str], content: bytes) -> str:
    """As a receiver works it out, by the specification."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + content
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


# ── managing ──


def test_a_webhook_is_added_listed_without_its_secret_and_deleted(cloud: Cloud) -> None:
    marta = Caller(cloud, MARTA)
    made = add(cloud, "https://crm.aurora.example/hooks", "LicenseExpiring")
    assert made["secret"].startswith("whsec_")
    [listed] = marta.call("GET", "/v1/webhooks").json()["items"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    assert marta.call("DELETE", f"/v1/webhooks/{made['webhook_id']}").status_code == 204
    assert marta.call("GET", "/v1/webhooks").json()["items"] == []
    assert problem(marta.call("DELETE", f"/v1/webhooks/{made['webhook_id']}")) == (404, "NOT_FOUND")
    actions = [item.action for item in OperationItem.scan() if item.action and item.action.startswith("webhook.")]
    assert sorted(actions) == ["webhook.created", "webhook.deleted"]


@pytest.mark.parametrize("name", [PAOLO, GIULIA])
def test_webhooks_are_the_vendor_s_alone(cloud: Cloud, name: str) -> None:
    caller, webhook_id = Caller(cloud, name), add(cloud, "https://crm.aurora.example/")["webhook_id"]
    for method, path in (("GET", ""), ("DELETE", f"/{webhook_id}"), ("POST", f"/{webhook_id}/test"),
                         ("POST", f"/{webhook_id}/rotate-secret")):  # fmt: skip
        assert problem(caller.call(method, f"/v1/webhooks{path}")) == (403, "FORBIDDEN")
    refused = caller.call("POST", "/v1/webhooks", {"url": "https://a.example/"})
    assert problem(refused) == (403, "FORBIDDEN")
    assert Caller(cloud, None).call("GET", "/v1/webhooks").status_code == 401
    assert Caller(cloud, ERP).call("GET", "/v1/webhooks").status_code == 200


@pytest.mark.parametrize(
    "url", ["http://crm.aurora.example/", "https://10.0.0.1/", "https://intranet/", "javascript:x"]
)
def test_a_url_that_leads_nowhere_public_is_refused(cloud: Cloud, url: str) -> None:
    answer = Caller(cloud, MARTA).call("POST", "/v1/webhooks", {"url": url})
    assert problem(answer) == (422, "WEBHOOK_URL_INVALID")


def test_loopback_is_refused_where_the_local_stack_does_not_say_otherwise(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployment, "loopback_webhooks", False)
    answer = Caller(cloud, MARTA).call("POST", "/v1/webhooks", {"url": "https://127.0.0.1/"})
    assert problem(answer) == (422, "WEBHOOK_URL_INVALID")


def test_there_are_twenty_at_most(cloud: Cloud) -> None:
    for n in range(20):
        add(cloud, f"https://crm.aurora.example/{n}")
    answer = Caller(cloud, MARTA).call("POST", "/v1/webhooks", {"url": "https://crm.aurora.example/20"})
    assert problem(answer) == (409, "TOO_MANY_WEBHOOKS")


def test_a_repeat_with_its_key_gets_the_same_webhook(cloud: Cloud) -> None:
    marta, body = Caller(cloud, MARTA), {"url": "https://crm.aurora.example/"}
    first, second = (marta.call("POST", "/v1/webhooks", body, idempotency_key="k1").json() for _ in range(2))
    assert first == second
    assert len(store.read()[0]) == 1


@pytest.mark.parametrize("fault", ["timeout_after", "conflict", "throttle"])
def test_trouble_adds_no_webhook_twice(cloud: Cloud, fault: str) -> None:
    with faults(cloud, "dynamodb", fault, "TransactWriteItems", times=1):
        answer = Caller(cloud, MARTA).call("POST", "/v1/webhooks", {"url": "https://a.example/"}, idempotency_key="k")
    assert answer.status_code == 201
    assert len(store.read()[0]) == 1


# ── delivering ──


def test_a_test_event_arrives_signed(cloud: Cloud, receiver: Receiver) -> None:
    made = add(cloud, receiver.url, "LicenseExpired")
    answer = Caller(cloud, MARTA).call("POST", f"/v1/webhooks/{made['webhook_id']}/test")
    assert answer.status_code == 202
    cloud.work_off_queue()
    [(headers, content)] = receiver.got
    assert headers["webhook-id"] == answer.json()["event_id"]
    assert abs(int(headers["webhook-timestamp"]) - cloud.now.timestamp()) < 60
    assert headers["webhook-signature"] == signatures(made["secret"], headers, content)
    body = json.loads(content)
    assert (body["type"], set(body)) == ("Test", {"type", "timestamp", "data"})
    jsonschema.validate(body["data"], schema_of("Test"))
    assert headers["host"] == receiver.url.split("/")[2]


def test_a_new_secret_signs_at_once_and_the_former_one_for_a_day(cloud: Cloud, receiver: Receiver) -> None:
    marta, made = Caller(cloud, MARTA), add(cloud, receiver.url)
    rotated = marta.call("POST", f"/v1/webhooks/{made['webhook_id']}/rotate-secret").json()
    assert rotated["secret"] != made["secret"]
    for hours in (1, 25):
        cloud.stack.clock.advance(timedelta(hours=hours))
        marta.call("POST", f"/v1/webhooks/{made['webhook_id']}/test")
        cloud.work_off_queue()
    (both, first), (one, second) = receiver.got
    assert both["webhook-signature"].split() == [
        signatures(rotated["secret"], both, first), signatures(made["secret"], both, first),
    ]  # fmt: skip
    assert one["webhook-signature"] == signatures(rotated["secret"], one, second)


def test_alerts_go_to_the_webhooks_that_want_them(cloud: Cloud, receiver: Receiver) -> None:
    quiet(cloud)
    add(cloud, receiver.url, "LicenseExpiring")
    add(cloud, receiver.url, "ServerSilent")
    cloud.set_time(f"{cloud.now.date() + timedelta(days=1)}T05:00:00+00:00")
    set_end(cloud, "CR-7JMF-4Q2D", cloud.now.date() + timedelta(days=7))
    run_schedule(cloud)
    [(_, content)] = receiver.got
    body = json.loads(content)
    assert (body["type"], body["data"]["license"]["license_code"]) == ("LicenseExpiring", "CR-7JMF-4Q2D")
    jsonschema.validate(body["data"], schema_of("LicenseExpiring"))


def queue(cloud: Cloud, name: str) -> Any:
    return get_backend("sqs")["123456789012"][REGION].queues[name]


@pytest.mark.parametrize("status", [500, 404, 302, 307])
def test_what_is_not_taken_is_sent_again_the_same_and_in_the_end_laid_aside(
    cloud: Cloud, receiver: Receiver, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_off: list[int] = []
    monkeypatch.setattr(webhooks, "put_off", lambda receipt, tries: put_off.append(tries))
    made = add(cloud, receiver.url)
    Caller(cloud, MARTA).call("POST", f"/v1/webhooks/{made['webhook_id']}/test")
    receiver.answers = [status] * 20
    for _ in range(12):
        cloud.work_off_queue()
    assert len(receiver.got) == 8
    assert put_off == list(range(1, 9))
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({content for _, content in receiver.got}) == 1
    assert len(queue(cloud, "UndeliveredWebhooks")._messages) == 1


def test_a_delivery_that_failed_waits_in_the_queue(cloud: Cloud, receiver: Receiver) -> None:
    made = add(cloud, receiver.url)
    Caller(cloud, MARTA).call("POST", f"/v1/webhooks/{made['webhook_id']}/test")
    receiver.answers = [503]
    cloud.work_off_queue()
    [message] = queue(cloud, "WebhookQueue")._messages
    assert 20 < message.visible_at / 1000 - time.time() < 40
    assert not message.visible
    cloud.work_off_queue()
    assert len(receiver.got) == 2
    assert queue(cloud, "WebhookQueue")._messages == []
    assert cloud.stack.guard.refused == []


def test_a_receiver_that_is_gone_is_taken_at_its_word(cloud: Cloud, receiver: Receiver) -> None:
    made = add(cloud, receiver.url)
    Caller(cloud, MARTA).call("POST", f"/v1/webhooks/{made['webhook_id']}/test")
    receiver.answers = [410]
    cloud.work_off_queue()
    assert store.read()[0] == ()
    assert cloud.stack.guard.refused == []


def test_what_is_on_its_way_to_a_deleted_webhook_is_dropped(cloud: Cloud, receiver: Receiver) -> None:
    made = add(cloud, receiver.url)
    marta = Caller(cloud, MARTA)
    marta.call("POST", f"/v1/webhooks/{made['webhook_id']}/test")
    marta.call("DELETE", f"/v1/webhooks/{made['webhook_id']}")
    cloud.work_off_queue()
    assert receiver.got == []
    assert queue(cloud, "WebhookQueue")._messages == []


# ── where nothing is ever sent ──


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.0.0.7"], ["8.8.8.8", "169.254.169.254"], ["::1"], ["fd00::1"]]
)
def test_a_name_that_leads_inside_is_never_connected_to(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    made = add(cloud, "https://rebinding.aurora.example/")
    connected: list[Any] = []
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (address, 443)) for address in addresses]
    )
    monkeypatch.setattr(socket, "create_connection", lambda *rest, **_: connected.append(rest))
    with pytest.raises(NotDelivered, match="address refused"):
        webhooks.deliver(Delivery(webhook_id=made["webhook_id"], event_id="evt_1", body="{}"), cloud.now)
    assert connected == []


def test_the_connection_goes_to_the_address_that_was_looked_at(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look-up could answer with another address (DNS rebinding), so there is none."""
    made = add(cloud, "https://crm.aurora.example/")
    asked, connected = list[Any](), list[Any]()

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(2, 1, 6, "", ("93.184.216.34", 443))]

    def connect(address: Any, *_: Any, **__: Any) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(NotDelivered, match="ConnectionRefusedError"):
        webhooks.deliver(Delivery(webhook_id=made["webhook_id"], event_id="evt_1", body="{}"), cloud.now)
    assert asked == ["crm.aurora.example"]
    assert connected == [("93.184.216.34", 443)]


def certificate(directory: Path, host: str) -> Path:
    """A certificate for a host that nobody vouches for, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = made.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = directory / f"{host}.pem"
    file.write_bytes(pem)
    return file


@pytest.mark.parametrize(("host", "trusted", "taken"), [("localhost", True, True), ("localhost", False, False),
                                                        ("elsewhere.example", True, False)])  # fmt: skip
def test_a_receiver_shows_a_certificate_of_its_name_by_somebody_trusted(
    cloud: Cloud,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    trusted: bool,
    taken: bool,
) -> None:
    file = certificate(tmp_path, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    webhooks._tls.cache_clear()
    if trusted:
        ours = ssl.create_default_context(cafile=str(file))
        monkeypatch.setattr(webhooks, "_tls", lambda: ours)
    made = add(cloud, f"https://localhost:{receiver.server.server_port}/")
    delivery = Delivery(webhook_id=made["webhook_id"], event_id="evt_1", body="{}")
    if taken:
        webhooks.deliver(delivery, cloud.now)
        assert len(receiver.got) == 1
    else:
        with pytest.raises(NotDelivered, match="SSL"):
            webhooks.deliver(delivery, cloud.now)
        assert receiver.got == []


def test_no_secret_is_in_a_log(cloud: Cloud, receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    made = add(cloud, receiver.url)
    Caller(cloud, MARTA).call("POST", f"/v1/webhooks/{made['webhook_id']}/test")
    receiver.answers = [500]
    cloud.work_off_queue()
    written = (cloud.stack.directory / "functions.log").read_text() + str(capsys.readouterr())
    operations = str([item.to_dynamodb_dict() for item in OperationItem.scan()])
    for text in (written, operations):
        assert made["secret"] not in text
        assert "of=licensing" not in text, "a receiver's URL may hold a secret of its own"
