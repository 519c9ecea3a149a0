"""The server under the sites: HTTP/1.1, TLS, and gone when it is stopped."""

import http.client
import socket
import ssl
from collections.abc import Iterator

import pytest

from infra.local.http import Request, Response, Server


def echo(request: Request) -> Response:
    return Response(200, (("x-method", request.method), ("x-target", request.target)), request.body)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(0, echo)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    yield connection
    connection.close()


def test_requests_of_any_method_share_a_connection(connection: http.client.HTTPConnection) -> None:
    for method in ("GET", "POST", "PATCH", "BREW"):
        connection.request(method, "/a%2Fb?c=d", body=b"body")
        response = connection.getresponse()
        assert (response.read(), response.headers["x-method"], response.headers["x-target"]) == (
            (b"body", method, "/a%2Fb?c=d")
        )


def test_head_has_a_length_and_no_body(connection: http.client.HTTPConnection) -> None:
    connection.request("HEAD", "/", body=b"12345")
    response = connection.getresponse()
    assert (response.headers["content-length"], response.read()) == ("5", b"")


def test_a_chunked_body_is_put_together(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/", body=iter([b"one ", b"two"]), encode_chunked=True)
    assert connection.getresponse().read() == b"one two"


def test_a_length_that_is_none_is_refused(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n")
        assert b" 413 " in client.makefile("rb").readline()


def test_a_stopped_server_cuts_its_connections_and_can_come_back_on_its_port(server: Server) -> None:
    port = server.port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert client.recv(4096)
        server.stop()
        assert client.recv(4096) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    server.start()
    assert server.port == port
    socket.create_connection(("127.0.0.1", port), timeout=10).close()


def test_stopping_and_starting_twice_is_fine(server: Server) -> None:
    server.start()
    server.stop()
    server.stop()


def test_a_taken_port_is_an_os_error(server: Server) -> None:
    with pytest.raises(OSError, match="in use"):
        Server(server.port, echo)


def test_a_client_that_does_not_speak_tls_holds_nobody_up(tls: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    for_server, for_client = tls
    server = Server(0, echo, for_server)
    server.start()
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10):
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=for_client)
            connection.request("POST", "/", body=b"secret")
            assert connection.getresponse().read() == b"secret"
            connection.close()
    finally:
        server.stop()
