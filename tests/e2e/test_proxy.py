"""The License Manager against the whole local stack over TLS with a private CA, through real proxies, with real faults.

tinyproxy and squid are Debian's; without them the tests that need them are skipped.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from license_manager import profile
from license_manager.errors import Unreachable
from license_manager.home import Home
from license_manager.machine import Machine
from license_manager.manager import Manager
from license_manager.settings import Settings

from infra.local.stack import Stack

USER, PASSWORD = "joe", "geheim"
SITE_NAME = "licensing.aurora.example"
SQUID_PASSWORDS = Path("/usr/lib/squid/basic_ncsa_auth")


# A private CA


class Authority:
    """A certificate authority such as a company or an eavesdropper runs."""

    def __init__(self, name: str, folder: Path) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.folder = folder
        self.certificate = self._sign(self.name, self.key.public_key(), authority=True)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, *names: str, days: int = 30) -> ssl.SSLContext:
        """TLS for a server with these names; `days` in the past gives one that has run out."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]), key.public_key(), names=names, days=days
        )
        path = self.folder / f"{names[0]}-{days}-{time.monotonic_ns()}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _sign(
        self,
        subject: x509.Name,
        public_key: ec.EllipticCurvePublicKey,
        *,
        names: tuple[str, ...] = (),
        authority: bool = False,
        days: int = 30,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=authority,
                    crl_sign=authority,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_name(name) for name in names]), critical=False
            )
        return builder.sign(self.key, hashes.SHA256())


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


# Proxies


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[int]:
    """A program until the end of the block; it is there once its port answers."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 20
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that a proxy which gives up root can still enter."""
    with tempfile.TemporaryDirectory(prefix="proxy-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def tinyproxy(open_folder: Path) -> Iterator[int]:
    program = shutil.which("tinyproxy", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/sbin")
    if program is None:
        pytest.skip("tinyproxy is not installed (apt-get install tinyproxy)")
    port = free_port()
    settings = open_folder / "tinyproxy.conf"
    settings.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 30\nBasicAuth {USER} {PASSWORD}\nMaxClients 20\n")
    with running([program, "-d", "-c", str(settings)], port, open_folder / "tinyproxy.log") as listening:
        yield listening


@pytest.fixture(scope="module")
def squid(open_folder: Path) -> Iterator[int]:
    program = shutil.which("squid", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None or not SQUID_PASSWORDS.exists():
        pytest.skip("squid is not installed (apt-get install squid)")
    port, folder = free_port(), open_folder / "squid"
    folder.mkdir()
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", PASSWORD], check=True, capture_output=True, text=True
    ).stdout.strip()
    (folder / "passwords").write_text(f"{USER}:{hashed}\n")
    (folder / "hosts").write_text(f"127.0.0.1 localhost {SITE_NAME}\n")
    if os.geteuid() == 0:
        shutil.chown(folder, "proxy", "proxy")
    settings = folder / "squid.conf"
    settings.write_text(
        f"http_port 127.0.0.1:{port}\n"
        f"auth_param basic program {SQUID_PASSWORDS} {folder}/passwords\n"
        "auth_param basic realm company\n"
        "acl known proxy_auth REQUIRED\n"
        "acl forbidden dstdomain forbidden.example\n"
        "http_access deny forbidden\n"
        "http_access allow known\n"
        "http_access deny all\n"
        f"hosts_file {folder}/hosts\n"
        "cache deny all\n"
        "access_log none\n"
        f"cache_log {folder}/cache.log\n"
        f"pid_filename {folder}/squid.pid\n"
        f"coredump_dir {folder}\n"
        "shutdown_lifetime 0 seconds\n"
        "pinger_enable off\n"
    )
    with running([program, "-N", "-f", str(settings)], port, folder / "squid.log") as listening:
        yield listening


# The stack and a server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proxy")


@pytest.fixture(scope="module")
def company(folder: Path) -> Authority:
    return Authority("Company CA", folder)


@pytest.fixture(scope="module")
def stack(folder: Path, company: Authority) -> Iterator[Stack]:
    context = company.server("127.0.0.1", "localhost", SITE_NAME)
    with Stack(directory=folder / "stack", context=context) as running_stack:
        yield running_stack


@dataclass
class Server:
    """A customer's server: one home, one vendor profile, and the command as it is installed."""

    home: Path
    vendor: Path
    environ: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).parent / "license-manager"
        return subprocess.run(
            [str(program), "--home", str(self.home), "--vendor", str(self.vendor), *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **self.environ},
        )

    def set(self, name: str, value: str) -> None:
        done = self.run("settings", "set", name, value)
        assert done.returncode == 0, done.stderr

    def succeeds(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def change_sites(self, *sites: str) -> None:
        self.vendor.write_text(json.dumps({**json.loads(self.vendor.read_text()), "sites": list(sites)}))

    def fault_of_site_1(self) -> str:
        done = self.run("test")
        assert done.returncode == 4, done.stdout + done.stderr
        [line] = [line for line in done.stdout.splitlines() if "Site 1" in line]
        assert line.startswith("✘"), line
        return line


@pytest.fixture
def server(tmp_path: Path, stack: Stack, company: Authority) -> Server:
    vendor = tmp_path / "vendor.json"
    vendor.write_text(stack.vendor_file.read_text())
    made = Server(tmp_path / "home", vendor, {})
    made.set("ca_file", str(company.file))
    return made


@pytest.fixture
def token(stack: Stack) -> Iterator[str]:
    """An activation token whose installation is free, as in fresh demo data."""
    yield stack.activation_tokens[0][2]
    stack.reset()


@pytest.fixture(params=["tinyproxy", "squid"])
def proxy(request: pytest.FixtureRequest) -> int:
    return int(request.getfixturevalue(request.param))


# Through a proxy


def test_activates_fails_over_and_returns_through_a_proxy(proxy: int, server: Server, stack: Stack, token: str) -> None:
    server.set("proxy", f"http://{USER}:{PASSWORD}@127.0.0.1:{proxy}")
    assert server.succeeds("test").count("✔ Site") == 2
    assert "First validation (Site 1)" in server.succeeds("activate", "--token", token)
    assert "Operation completed (Site 1)" in server.succeeds("validate")
    stack.sites[0].stop()
    try:
        assert "Operation completed (Site 2)" in server.succeeds("validate")
        assert "can't reach" in server.fault_of_site_1()
    finally:
        stack.sites[0].start()
    assert "Operation completed (Site 1)" in server.succeeds("validate")
    assert PASSWORD not in "".join(server.succeeds(*command) for command in (["log"], ["settings", "show"], ["test"]))


class Lossy(httpx.HTTPTransport):
    """Cuts the connection after the cloud has activated, before its answer arrives."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if request.url.path == "/v1/activations":
            response.close()
            raise httpx.ReadError("cut", request=request)
        return response


def test_an_activation_whose_answer_was_lost_is_settled_with_the_real_cloud(
    server: Server, stack: Stack, company: Authority, token: str
) -> None:
    def lose_answer() -> None:
        cut = Lossy(verify=ssl.create_default_context(cafile=str(company.file)))
        vendor = profile.read(server.vendor)
        with (
            Manager(Home(server.home), vendor, Settings(), Machine(), http=cut) as manager,
            pytest.raises(Unreachable, match="cut before the answer came"),
        ):
            manager.activate({"activation_token": token})

    server.succeeds("activate", "--token", token)
    lose_answer()
    assert "First validation (Site 1)" in server.succeeds("validate")
    assert "Operation completed (Site 1)" in server.succeeds("validate")
    lose_answer()
    assert "is available again" in server.succeeds("deactivate", "--yes")
    assert "First validation (Site 1)" in server.succeeds("activate", "--token", token)
    stack.sites[0].stop()
    try:
        assert server.run("activate", "--again", "--token", token).returncode == 4
        assert "Operation completed (Site 2)" in server.succeeds("validate")
    finally:
        stack.sites[0].start()


def test_a_manual_choice_sticks_while_its_site_is_away(server: Server, stack: Stack, token: str) -> None:
    server.succeeds("activate", "--token", token)
    server.succeeds("site", "use", "1")
    stack.sites[0].stop()
    try:
        done = server.run("validate")
        assert (done.returncode, "refuses the connection" in done.stderr) == (4, True)
        server.succeeds("site", "use", "2")
        assert "(Site 2)" in server.succeeds("validate")
    finally:
        stack.sites[0].start()
    assert "(Site 2)" in server.succeeds("validate")
    server.succeeds("site", "use", "auto")
    assert "(Site 1)" in server.succeeds("validate")


def test_the_proxy_of_the_environment_reaches_what_only_it_can_resolve(
    squid: int, server: Server, stack: Stack, token: str
) -> None:
    server.change_sites(*(site.url.replace("127.0.0.1", SITE_NAME) for site in stack.sites))
    server.environ["HTTPS_PROXY"] = f"http://{USER}:{PASSWORD}@127.0.0.1:{squid}"
    assert "First validation" in server.succeeds("activate", "--token", token)
    server.environ["NO_PROXY"] = "aurora.example"
    assert "can't be resolved" in server.fault_of_site_1()


# `test` names each fault


def test_names_a_proxy_that_asks_for_a_password(proxy: int, server: Server) -> None:
    server.set("proxy", f"http://127.0.0.1:{proxy}")
    assert "asks for a password" in server.fault_of_site_1()


def test_names_a_wrong_password_for_the_proxy(proxy: int, server: Server) -> None:
    server.set("proxy", f"http://{USER}:wrong@127.0.0.1:{proxy}")
    assert "does not accept the user name or password" in server.fault_of_site_1()


def test_names_a_proxy_that_does_not_allow_the_site(squid: int, server: Server) -> None:
    server.change_sites("https://forbidden.example")
    server.set("proxy", f"http://{USER}:{PASSWORD}@127.0.0.1:{squid}")
    assert "does not allow forbidden.example" in server.fault_of_site_1()


def test_names_a_proxy_that_can_not_be_reached(server: Server) -> None:
    server.set("proxy", f"http://127.0.0.1:{free_port()}")
    assert "can't be reached. Check the setting" in server.fault_of_site_1()


def test_names_a_proxy_whose_name_can_not_be_resolved(server: Server) -> None:
    server.set("proxy", "http://proxy.invalid:3128")
    assert "proxy's name proxy.invalid:3128 can't be resolved" in server.fault_of_site_1()


def test_names_a_site_that_can_not_be_resolved(server: Server) -> None:
    server.change_sites("https://licensing.invalid")
    assert "The name licensing.invalid can't be resolved" in server.fault_of_site_1()


def test_names_a_closed_port(server: Server) -> None:
    server.change_sites(f"https://127.0.0.1:{free_port()}")
    assert "refuses the connection" in server.fault_of_site_1()


def test_names_a_site_that_never_answers(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server.change_sites(f"https://127.0.0.1:{silent.getsockname()[1]}")
        assert "did not answer in time" in server.fault_of_site_1()


def test_names_the_issuer_of_a_certificate_that_is_not_trusted(server: Server, proxy: int) -> None:
    server.set("ca_file", "")
    assert "issued by 'Company CA'" in server.fault_of_site_1()
    server.set("proxy", f"http://{USER}:{PASSWORD}@127.0.0.1:{proxy}")
    assert "issued by 'Company CA'" in server.fault_of_site_1()


def test_names_tls_that_is_none(server: Server, stack: Stack) -> None:
    server.change_sites(stack.aws_url.replace("http://", "https://"))
    assert "TLS with 127.0.0.1" in server.fault_of_site_1()


def test_names_a_clock_that_is_off(server: Server, stack: Stack) -> None:
    stack.clock.advance(timedelta(hours=3))
    try:
        assert "clock is 3 hours behind" in server.fault_of_site_1()
    finally:
        stack.clock.reset()


@contextmanager
def impostor(context: ssl.SSLContext, answer: Callable[[str], tuple[str, bytes]]) -> Iterator[str]:
    """Something that answers in place of the vendor; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content_type, body = answer(self.path)
            self.send_response(200)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            thread.join()


def portal(_: str) -> tuple[str, bytes]:
    return "text/html", b"<html>Welcome to our guest network"


def test_names_a_captive_portal(server: Server, company: Authority) -> None:
    with impostor(company.server("127.0.0.1"), portal) as address:
        server.change_sites(address)
        assert "Something else answered" in server.fault_of_site_1()


def test_names_a_certificate_for_another_name(server: Server, company: Authority) -> None:
    with impostor(company.server("other.example"), portal) as address:
        server.change_sites(address)
        assert "is for another name" in server.fault_of_site_1()


def test_names_a_certificate_that_has_run_out(server: Server, company: Authority) -> None:
    with impostor(company.server("127.0.0.1", days=-1), portal) as address:
        server.change_sites(address)
        assert "is not valid today" in server.fault_of_site_1()


def test_names_an_interception_behind_an_installed_ca(server: Server, stack: Stack, token: str) -> None:
    """TLS passes, the probe is forwarded honestly, but the list of keys is signed by somebody else."""
    import jwt

    forger = ec.generate_private_key(ec.SECP256R1())
    kid = stack.vendor_profile["root_keys"][0]["kid"]
    forged = jwt.encode(
        {"iss": stack.vendor_profile["issuer"], "version": 99, "iat": int(time.time()), "keys": [], "revoked": []},
        forger,
        algorithm="ES256",
        headers={"typ": "keys+jwt", "kid": kid},
    )
    server_time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ping = {"message": "successfully connected", "site": "primary", "region": "x", "server_time": server_time}

    def forge(path: str) -> tuple[str, bytes]:
        if path == "/v1/keyset":
            return "application/jose", forged.encode()
        return "application/json", json.dumps(ping).encode()

    eavesdropper = Authority("Inspection CA", server.home)
    server.set("ca_file", str(eavesdropper.file))
    with impostor(eavesdropper.server("127.0.0.1"), forge) as address:
        server.change_sites(address)
        line = server.fault_of_site_1()
    assert "TLS is intercepted and the answer was not signed by the vendor's root" in line
    assert "issued by 'Inspection CA'" in line
