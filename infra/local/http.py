"""A small HTTP/1.1 server for one application function that can be stopped and started again."""

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, unquote

HOST = "127.0.0.1"
#: More than this is not even read to the end.
_HARD_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True)
class Request:
    """One request as it came: ``target`` is the raw path with its query, header names are lower-case."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    client: str = HOST
    scheme: str = "http"

    @property
    def raw_path(self) -> str:
        """The path, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def path(self) -> str:
        """The path, decoded."""
        return unquote(self.raw_path)

    @property
    def raw_query(self) -> str:
        """The query, still percent-encoded."""
        return self.target.partition("?")[2]

    @property
    def query(self) -> dict[str, str]:
        """The query; the last of several values of a name."""
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    def header(self, name: str) -> str:
        """The values of a header joined by a comma; empty if it isn't there."""
        return ",".join(value for key, value in self.headers if key == name)


@dataclass(frozen=True)
class Response:
    """One answer; ``content-length`` is added by the server."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)


Application = Callable[[Request], Response]


class _TooLarge(Exception):
    """Raised when a body goes on beyond the hard limit."""


class _Handler(BaseHTTPRequestHandler):
    """Reads one request after the other from a connection. Any method is passed on: which exist, the API decides."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "local", ""
    timeout = 60
    wbufsize = -1  # headers and body leave together
    disable_nagle_algorithm = True
    server: "_Connections"

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        try:
            body = self._body()
        except (_TooLarge, ValueError):
            self.close_connection = True
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        request = Request(
            method=self.command,
            target=self.path,
            headers=tuple((name.lower(), value) for name, value in self.headers.items()),
            body=body,
            client=self.client_address[0],
            scheme="https" if self.server.context else "http",
        )
        response = self.server.application(request)
        self.send_response(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        length = int(self.headers.get("content-length") or 0)
        if not 0 <= length <= _HARD_LIMIT:
            raise _TooLarge
        return self.rfile.read(length)

    def _chunks(self) -> bytes:
        """RFC 9112, section 7.1; trailers are read and dropped."""
        body = bytearray()
        while size := int(self.rfile.readline(64).partition(b";")[0], 16):
            if size < 0 or len(body) + size > _HARD_LIMIT:
                raise _TooLarge
            body += self.rfile.read(size)
            self.rfile.readline(8)
        while self.rfile.readline(8192).strip():
            pass
        return bytes(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing; the application reports what it served."""


class _Connections(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Accepts connections, a thread for each, and can cut them all."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, application: Application, context: ssl.SSLContext | None) -> None:
        self.application = application
        self.context = context
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__((host, port), _Handler)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """The next connection; a TLS handshake is left to its own thread, so that nobody holds up the others."""
        connection, address = super().get_request()
        if self.context:
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._guard:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        """Close one connection."""
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that hung up, or does not trust our certificate, is no fault of this server."""

    def cut(self) -> None:
        """Close every open connection at once."""
        with self._guard:
            connections, self._open = self._open, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


class Server:
    """Serves ``application`` on a port, of loopback if no host is given; port 0 takes a free one, and keeps it.

    Constructing it takes the port (OSError if it is taken); :meth:`start` serves.
    """

    def __init__(
        self, port: int, application: Application, context: ssl.SSLContext | None = None, host: str = HOST
    ) -> None:
        self._application = application
        self._context = context
        self._host = host
        self._server: _Connections | None = _Connections(host, port, application, context)
        self._thread: threading.Thread | None = None
        self.port: int = self._server.server_address[1]

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"{'https' if self._context else 'http'}://{self._host}:{self.port}"

    def start(self) -> None:
        """Serve. Does nothing if it is serving."""
        if self._thread:
            return
        server = self._server or _Connections(self._host, self.port, self._application, self._context)
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), name=self.url, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop as if the machine had died: nobody listens any more, and open connections are cut."""
        server, self._server = self._server, None
        thread, self._thread = self._thread, None
        if server is None:
            return
        if thread:
            server.shutdown()
            thread.join()
        server.server_close()
        server.cut()
