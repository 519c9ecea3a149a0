from __future__ import annotations

import pytest
from license_manager.errors import Misuse
from license_manager.proxies import choose, excluded, has_password, location, masked

SITE = "https://licensing.aurora.example"


def test_the_setting_wins_over_the_environment() -> None:
    environ = {"HTTPS_PROXY": "http://env:1", "NO_PROXY": "*"}
    assert choose(SITE, "http://own:2", environ) == "http://own:2"
    assert choose(SITE, "direct", {"HTTPS_PROXY": "http://env:1"}) is None


def test_the_environment_names_a_proxy_by_scheme() -> None:
    environ = {"HTTPS_PROXY": "http://secure:1", "http_proxy": "plain:2", "ALL_PROXY": "http://all:3"}
    assert choose(SITE, None, environ) == "http://secure:1"
    assert choose("http://licensing.aurora.example", None, environ) == "http://plain:2"
    assert choose(SITE, None, {"ALL_PROXY": "http://all:3"}) == "http://all:3"
    assert choose(SITE, None, {}) is None


def test_this_machine_needs_no_proxy_of_the_environment() -> None:
    environ = {"HTTP_PROXY": "http://env:1"}
    for host in ("127.0.0.1:8001", "localhost:8001", "[::1]:8001"):
        assert choose(f"http://{host}", None, environ) is None
        assert choose(f"http://{host}", "http://own:2", environ) == "http://own:2"


@pytest.mark.parametrize(
    ("host", "no_proxy", "expected"),
    [
        ("licensing.aurora.example", "*", True),
        ("licensing.aurora.example", "aurora.example", True),
        ("licensing.aurora.example", ".aurora.example", True),
        ("licensing.aurora.example", "*.aurora.example", True),
        ("Licensing.Aurora.Example.", "aurora.example", True),
        ("notaurora.example", "aurora.example", False),
        ("licensing.aurora.example", "other.example, licensing.aurora.example", True),
        ("licensing.aurora.example", "other.example licensing.aurora.example", True),
        ("licensing.aurora.example", "licensing.aurora.example:443", True),
        ("licensing.aurora.example", "licensing.aurora.example:8443", False),
        ("licensing.aurora.example", "", False),
        ("licensing.aurora.example", ",,", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3/24", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "1.2.3", False),
        ("fd00::7", "fd00::/8", True),
        ("fd00::7", "[fd00::7]:443", True),
        ("10.1.2.3", "rubbish/99", False),
        ("licensing.aurora.example", "10.0.0.0/8", False),
    ],
)
def test_no_proxy(host: str, no_proxy: str, expected: bool) -> None:
    assert excluded(host, 443, no_proxy) is expected
    shown = f"[{host}]" if ":" in host else host
    found = choose(f"https://{shown}", None, {"HTTPS_PROXY": "http://env:1", "NO_PROXY": no_proxy})
    assert (found is None) is expected


@pytest.mark.parametrize(
    "value",
    [
        "http://bob:S3/cret@proxy.example:3128",
        "http://bob:S3#cret@proxy.example:3128",
        "http://bob:S3?cret@proxy.example:3128",
        "http://bob:12/cret@proxy.example:3128",
        "http://[::1",
        "socks5://bob:S3cret@proxy.example",
    ],
)
def test_a_proxy_of_the_environment_that_is_none_is_named_without_its_value(value: str) -> None:
    with pytest.raises(Misuse, match="HTTPS_PROXY is not usable") as caught:
        choose(SITE, None, {"HTTPS_PROXY": value})
    assert "bob" not in caught.value.detail
    assert "cret" not in caught.value.detail


@pytest.mark.parametrize("secret", ["S3/cret", "S3#cret", "S3?cret", "S3@cret", "S3://cret", ""])
def test_whatever_stands_before_the_last_at_is_hidden(secret: str) -> None:
    assert masked(f"http://bob:{secret}@proxy.example:3128") == "http://********@proxy.example:3128"
    assert masked(f"bob:{secret}@proxy.example:3128") == "********@proxy.example:3128"


def test_credentials_are_never_shown() -> None:
    address = "http://joe:ge%40heim@proxy.example:3128"
    assert masked(address) == "http://********@proxy.example:3128"
    assert location(address) == "proxy.example:3128"
    assert has_password(address)
    assert masked("http://proxy.example:3128") == "http://proxy.example:3128"
