"""`test` names each fault. The real ones (sockets, TLS, proxies) are in tests/e2e/test_proxy.py."""

from __future__ import annotations

import gzip
import socket
import ssl
from collections.abc import Callable

import httpx
import pytest
from license_manager import settings
from license_manager.transport import LARGEST_ANSWER

from tests.unit.agent.conftest import Site
from tests.unit.agent.fake_cloud import Key, problem


def found(site: Site) -> list[tuple[str, str]]:
    with site.manager() as manager:
        return [(probe.code, probe.detail) for probe in manager.probe()]


def fails(error: type[httpx.HTTPError], cause: BaseException | None) -> Callable[[httpx.Request], Exception]:
    def make(request: httpx.Request) -> Exception:
        made = error(str(cause), request=request)  # type: ignore[call-arg]
        made.__cause__ = cause
        return made

    return make


def certificate_error(verify_code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = verify_code
    return error


def test_both_sites_are_well(site: Site) -> None:
    (first, one), (second, two) = found(site)
    assert (first, second) == ("OK", "OK")
    assert "region eu-south-1" in one
    assert "region eu-west-1" in two


@pytest.mark.parametrize(
    ("error", "cause", "code"),
    [
        (httpx.ConnectError, socket.gaierror(-2, "Name or service not known"), "DNS"),
        (httpx.ConnectError, ConnectionRefusedError(111, "refused"), "CONNECTION_REFUSED"),
        (httpx.ConnectError, OSError(101, "Network is unreachable"), "UNREACHABLE"),
        (httpx.ConnectTimeout, TimeoutError(), "TIMEOUT"),
        (httpx.ReadTimeout, TimeoutError(), "TIMEOUT"),
        (httpx.ConnectError, certificate_error(20), "TLS_UNTRUSTED"),
        (httpx.ConnectError, certificate_error(18), "TLS_UNTRUSTED"),
        (httpx.ConnectError, certificate_error(10), "TLS_EXPIRED"),
        (httpx.ConnectError, certificate_error(62), "TLS_NAME"),
        (httpx.ConnectError, ssl.SSLError(1, "wrong version number"), "TLS_FAILED"),
        (httpx.ReadError, ConnectionResetError(104, "reset"), "CONNECTION_LOST"),
        (httpx.RemoteProtocolError, None, "CONNECTION_LOST"),
    ],
)
def test_what_lies_on_the_way(error: type[httpx.HTTPError], cause: BaseException | None, code: str, site: Site) -> None:
    site.cloud.down[1] = fails(error, cause)
    (first, sentence), (second, _) = found(site)
    assert (first, second) == (code, "OK")
    assert "site1.aurora.example" in sentence


@pytest.mark.parametrize(
    ("error", "said", "code", "password"),
    [
        (httpx.ConnectError, "refused", "PROXY_UNREACHABLE", False),
        (httpx.ConnectTimeout, "", "PROXY_TIMEOUT", False),
        (httpx.ProxyError, "407 Proxy Authentication Required", "PROXY_AUTH_REQUIRED", False),
        (httpx.ProxyError, "407 Proxy Authentication Required", "PROXY_AUTH_WRONG", True),
        (httpx.ProxyError, "401 Unauthorized", "PROXY_AUTH_WRONG", True),
        (httpx.ProxyError, "403 Filtered", "PROXY_DENIED", False),
        (httpx.ProxyError, "503 Service Unavailable", "PROXY_CANNOT_CONNECT", False),
    ],
)
def test_what_a_proxy_does(error: type[httpx.HTTPError], said: str, code: str, password: bool, site: Site) -> None:
    user = "joe:geheim@" if password else ""
    settings.save(site.home, settings.Settings(proxy=f"http://{user}proxy.example:3128"))

    def make(request: httpx.Request) -> Exception:
        made = error(said, request=request)  # type: ignore[call-arg]
        made.__cause__ = OSError(111, "refused") if error is httpx.ConnectError else None
        return made

    site.cloud.down[1] = make
    (first, sentence), _ = found(site)
    assert first == code
    assert "proxy.example:3128" in sentence
    assert "geheim" not in sentence


def test_a_captive_portal(site: Site) -> None:
    page = httpx.Response(200, text="<html>Please log in", headers={"content-type": "text/html"})
    site.cloud.intruder = lambda number, request: page if number == 1 else None
    (first, sentence), _ = found(site)
    assert first == "OTHER_CONTENT"
    assert "text/html" in sentence


def test_a_redirect_is_other_content(site: Site) -> None:
    away = httpx.Response(302, headers={"location": "https://login.example"})
    site.cloud.intruder = lambda number, request: away
    assert found(site)[0][0] == "OTHER_CONTENT"


def test_json_of_somebody_else(site: Site) -> None:
    site.cloud.intruder = lambda number, request: httpx.Response(200, json={"status": "ok"})
    assert found(site)[0][0] == "OTHER_CONTENT"


def test_a_few_bytes_that_unpack_to_more_than_any_answer(site: Site) -> None:
    bomb = gzip.compress(b" " * 2 * LARGEST_ANSWER)
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    site.cloud.intruder = lambda number, request: httpx.Response(200, content=bomb, headers=headers)
    (code, sentence), *_ = found(site)
    assert code == "OTHER_CONTENT"
    assert "too large" in sentence


def test_a_site_in_trouble(site: Site) -> None:
    site.cloud.intruder = lambda number, request: problem(500, "INTERNAL_ERROR", "Oops.")
    assert found(site)[0][0] == "SITE_TROUBLE"


def test_the_throttle_in_front_of_the_functions(site: Site) -> None:
    site.cloud.intruder = lambda number, request: httpx.Response(429, json={"message": "Too Many Requests"})
    code, sentence = found(site)[0]
    assert (code, sentence) == ("TOO_MANY_REQUESTS", "site1.aurora.example asks to slow down. Try again later.")


def test_a_key_set_that_the_root_did_not_sign(site: Site) -> None:
    def forge(number: int, request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/v1/keyset":
            return None
        return httpx.Response(200, text=site.cloud.key_set(root=Key()), headers={"content-type": "application/jose"})

    site.cloud.intruder = forge
    code, sentence = found(site)[0]
    assert code == "KEY_SET_FORGED"
    assert "not signed by the vendor's root" in sentence


def test_a_clock_that_is_off(site: Site) -> None:
    site.computer.wall += 3600
    code, sentence = found(site)[0]
    assert (code, sentence) == ("CLOCK_OFF", "This server's clock is 1 hour ahead of the vendor's. Set it right (NTP).")


def test_a_license_manager_that_is_too_old(site: Site) -> None:
    site.activate()
    normal = site.cloud.token_claims
    site.cloud.token_claims = lambda server, nonce: {  # type: ignore[method-assign]
        **normal(server, nonce),
        "min": {"agent_version": "99.0", "app_version": None},
    }
    site.validate()
    assert found(site)[0][0] == "AGENT_TOO_OLD"


def test_probing_needs_no_activation_and_sends_nothing_secret(site: Site) -> None:
    site.activate()
    site.cloud.requests.clear()
    found(site)
    for _, request in site.cloud.requests:
        assert request.method == "GET"
        assert not {"authorization", "dpop"} & set(request.headers)
