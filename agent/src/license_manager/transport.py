"""One HTTP request to one site, through whatever lies between; and when it fails, which of them is at fault.

httpx says ConnectError for a wrong name, a closed port and a bad certificate alike, so the causes behind it are looked at.
Nothing here decides whether an answer is believed: see trust.py.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from . import language, proxies
from .errors import LicenseManagerError, Misuse
from .settings import Settings
from .texts import texts
from .version import __version__

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 20.0
WHOLE_TIMEOUT = 60.0
LARGEST_REQUEST = 256 * 1024
LARGEST_ANSWER = 1024 * 1024
PROBLEM_TYPE = "application/problem+json"


class SiteFault(LicenseManagerError):
    """Raised when a site gave no answer that can be used; `code` names the cause, `detail` says what to do.

    `sent` is false where the request can't have reached the site: no connection came about.
    """

    exit_code = 4

    def __init__(self, code: str, detail: str, retry_after: float | None = None, *, sent: bool = True) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after
        self.sent = sent


@dataclass(frozen=True)
class Reply:
    """An HTTP answer, read to its end; `seconds` is the round trip, `issuer` who issued the certificate seen."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str]
    seconds: float
    issuer: str | None

    @property
    def problem(self) -> dict[str, Any] | None:
        """The problem document with a code by which the vendor's API says no (RFC 9457), or None if that is not its
        word: a proxy or a filter may answer in JSON, too."""
        document = self.document() if self.content_type == PROBLEM_TYPE else None
        return document if document is not None and isinstance(document.get("code"), str) else None

    @property
    def retry_after(self) -> float | None:
        """The `Retry-After` in seconds, if it was given so (RFC 9110; a date is not used by the contract)."""
        value = self.headers.get("retry-after", "")
        return min(float(value), 86400.0) if re.fullmatch(r"[0-9]{1,9}", value) else None

    def document(self) -> dict[str, Any] | None:
        """The JSON object in the body, or None if it is something else."""
        if self.content_type not in {"application/json", PROBLEM_TYPE}:
            return None
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None


class Transport:
    """Requests to the vendor's sites with the administrator's proxy and CA. Use as a context manager."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], replacement: httpx.BaseTransport | None = None
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._replacement = replacement
        self._clients: dict[str, httpx.Client] = {}

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def proxy_for(self, site: str) -> str | None:
        """The proxy that leads to a site, with its credentials; None if there is none. Raises Misuse."""
        return proxies.choose(site, self._settings.proxy, self._environ)

    def call(
        self, site: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Sends one request and reads the whole answer. Raises SiteFault if there is none."""
        if body is not None and len(body) > LARGEST_REQUEST:
            raise Misuse("PAYLOAD_TOO_LARGE", texts.REQUEST_TOO_LARGE)
        proxy = self.proxy_for(site)
        try:
            return self._send(self._client(site, proxy), site + path, method, body, headers or {})
        except httpx.HTTPError as error:
            fault = self._fault(error, site, proxy)
            fault.sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)
            raise fault from error
        except httpx.InvalidURL as error:
            raise SiteFault("DNS", texts.DNS.format(host=_host(site)), sent=False) from error

    def _send(
        self, client: httpx.Client, url: str, method: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Reply:
        all_headers = {
            "user-agent": f"license-manager/{__version__}",
            "accept": "application/json, application/problem+json, application/jose",
            "accept-encoding": "gzip",  # a quarter of what a day's answer takes; the limit below is on what comes out
            "accept-language": language.current(),
            **({"content-type": "application/json"} if body is not None else {}),
            **headers,
        }
        started = time.monotonic()
        content = bytearray()
        with client.stream(method, url, content=body, headers=all_headers) as response:
            issuer = _issuer(response)  # now: once the body is read the connection may be closed
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > LARGEST_ANSWER:
                    raise SiteFault("OTHER_CONTENT", texts.ANSWER_TOO_LARGE.format(host=_host(url)))
                if time.monotonic() - started > WHOLE_TIMEOUT:  # a trickle never runs into the read timeout
                    raise SiteFault("TIMEOUT", texts.TIMEOUT.format(host=_host(url)))
            return Reply(
                status=response.status_code,
                content_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
                body=bytes(content),
                headers={name.lower(): value for name, value in response.headers.items()},
                seconds=time.monotonic() - started,
                issuer=issuer,
            )

    def _client(self, site: str, proxy: str | None) -> httpx.Client:
        if site not in self._clients:
            self._clients[site] = self._new_client(self._tls(), proxy)
        return self._clients[site]

    def _new_client(self, tls: ssl.SSLContext, proxy: str | None) -> httpx.Client:
        timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
        if self._replacement is not None:
            return httpx.Client(transport=self._replacement, timeout=timeout, trust_env=False)
        try:
            through = None if proxy is None else httpx.Proxy(proxy, ssl_context=tls if _is_tls(proxy) else None)
        except (ValueError, httpx.InvalidURL) as error:
            raise Misuse("INVALID_SETTING", texts.SETTING_WRONG.format(why=texts.BAD_PROXY)) from error
        return httpx.Client(verify=tls, proxy=through, timeout=timeout, trust_env=False, follow_redirects=False)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        paths = ssl.get_default_verify_paths()
        if paths.cafile is None and paths.capath is None and not context.cert_store_stats()["x509_ca"]:
            import certifi  # comes with httpx; for a Python that does not know its system's trust

            context.load_verify_locations(certifi.where())
        if self._settings.ca_file is not None:
            try:
                context.load_verify_locations(self._settings.ca_file)
            except OSError as error:
                raise Misuse("INVALID_SETTING", texts.SETTING_WRONG.format(why=texts.BAD_CA_FILE)) from error
        return context

    def _shown_issuer(self, site: str, proxy: str | None) -> str:
        """Who issued the certificate that is shown, for the sentence about it: nothing secret is sent for this."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        issuer = None
        with (
            contextlib.suppress(httpx.HTTPError, LicenseManagerError),
            self._new_client(context, proxy) as client,
        ):
            issuer = self._send(client, f"{site}/v1/ping", "GET", None, {}).issuer
        return issuer or texts.UNKNOWN_ISSUER

    def _fault(self, error: httpx.HTTPError, site: str, proxy: str | None) -> SiteFault:
        words: dict[str, Any] = {
            "host": _host(site),
            "name": urlsplit(site).hostname,
            "port": urlsplit(site).port or (443 if _is_tls(site) else 80),
            "proxy": proxies.location(proxy) if proxy else "",
        }
        for cause in _causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                if proxy and _is_tls(proxy) and not _is_tls(site):
                    return _named("PROXY_TLS", words)
                words["issuer"] = self._shown_issuer(site, proxy)
                return _named(_CERTIFICATE_FAULTS.get(cause.verify_code, "TLS_UNTRUSTED"), words)
        if isinstance(error, httpx.ProxyError):
            return self._proxy_fault(str(error), proxy or "", words)
        # Until CONNECT has succeeded, what can't be reached is the proxy.
        connecting_to_proxy = proxy is not None and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        if isinstance(error, httpx.TimeoutException):
            return _named("PROXY_TIMEOUT" if connecting_to_proxy else "TIMEOUT", words)
        for cause in _causes(error):
            if isinstance(cause, socket.gaierror):
                return _named("PROXY_DNS" if connecting_to_proxy else "DNS", words)
            if isinstance(cause, ssl.SSLError):
                return _named("TLS_FAILED", {**words, "why": getattr(cause, "reason", None) or cause})
            if isinstance(cause, OSError) and connecting_to_proxy:
                return _named("PROXY_UNREACHABLE", words)
            if isinstance(cause, ConnectionRefusedError):
                return _named("CONNECTION_REFUSED", words)
            if isinstance(cause, OSError) and cause.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
                return _named("UNREACHABLE", words)
        if connecting_to_proxy:
            return _named("PROXY_UNREACHABLE", words)
        return _named("CONNECTION_LOST", words)

    def _proxy_fault(self, said: str, proxy: str, words: dict[str, Any]) -> SiteFault:
        found = re.match(r"[0-9]{3}", said)
        status = int(found.group()) if found else 0
        return proxy_refusal(status, proxy, words) or _named("PROXY_CANNOT_CONNECT", {**words, "status": said or "?"})


def proxy_refusal(status: int, proxy: str, words: dict[str, Any]) -> SiteFault | None:
    """What a proxy means by a status: squid asks with 407; tinyproxy says 401 to a wrong password, too."""
    if status in {401, 407}:
        return _named("PROXY_AUTH_WRONG" if proxies.has_password(proxy) else "PROXY_AUTH_REQUIRED", words)
    if status == 403:
        return _named("PROXY_DENIED", words)
    return None


def unexpected_answer(reply: Reply, site: str, proxy: str | None) -> SiteFault:
    """The fault when something answered that is not the vendor's API."""
    words: dict[str, Any] = {"host": _host(site), "proxy": proxies.location(proxy) if proxy else ""}
    if proxy is not None and not _is_tls(site) and "json" not in reply.content_type:
        asks = "proxy-authenticate" in reply.headers or reply.status in {401, 407}
        if asks or reply.status == 403:
            refusal = proxy_refusal(reply.status, proxy, words)
            if refusal is not None:
                return refusal
        if reply.status in {502, 503, 504}:
            return _named("PROXY_CANNOT_CONNECT", {**words, "status": reply.status})
    if reply.status >= 500:
        return SiteFault(
            "SITE_TROUBLE", texts.SITE_TROUBLE.format(host=words["host"], status=reply.status), reply.retry_after
        )
    kind = reply.content_type or texts.NO_CONTENT_TYPE
    return _named("OTHER_CONTENT", {**words, "status": reply.status, "content_type": kind})


# OpenSSL's X509_V_ERR_* that deserve another sentence than "not trusted".
_CERTIFICATE_FAULTS = {9: "TLS_EXPIRED", 10: "TLS_EXPIRED", 62: "TLS_NAME", 64: "TLS_NAME"}


def _named(code: str, words: Mapping[str, Any]) -> SiteFault:
    """The fault with this code, whose sentence has the same name."""
    return SiteFault(code, str(getattr(texts, code)).format(**words))


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _is_tls(url: str) -> bool:
    return url.startswith("https://")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _issuer(response: httpx.Response) -> str | None:
    stream = response.extensions.get("network_stream")
    tls = stream.get_extra_info("ssl_object") if stream is not None else None
    certificate = tls.getpeercert(True) if tls is not None else None
    if not certificate:
        return None
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        issuer = x509.load_der_x509_certificate(certificate).issuer
    except ValueError:
        return None
    for wanted in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in issuer.get_attributes_for_oid(wanted):
            return repr(plain(str(attribute.value)))
    return None


def plain(text: object, longest: int = 500) -> str:
    """A text from outside that may be shown: no control characters that could move the cursor, not endless."""
    return "".join(character if character.isprintable() else " " for character in str(text))[:longest].strip()
