"""Webhooks: the signature of the Standard Webhooks specification, retries, and where nothing is ever sent."""

from datetime import UTC, datetime, timedelta

import pytest
from licensing.rules.webhooks import RETRIES, Webhook, is_public, new_secret, retry_after, signature, target

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def test_the_signature_is_that_of_the_specification() -> None:
    # The example that the specification's own libraries are tested with.
    signed = signature(
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_marked_and_long_enough() -> None:
    assert new_secret(bytes(32)).startswith("whsec_")


def test_for_a_day_both_secrets_sign() -> None:
    webhook = Webhook("whk_1", "https://a.example/", "whsec_Yg==", NOW, (), "whsec_YQ==", NOW)
    assert len(signature(webhook.secrets(NOW + timedelta(hours=23)), "m", 1, b"").split()) == 2
    assert webhook.secrets(NOW + timedelta(hours=24)) == ("whsec_Yg==",)


def test_a_webhook_wants_all_events_or_those_that_it_names() -> None:
    assert Webhook("whk_1", "u", "s", NOW).wants("ServerSilent")
    assert not Webhook("whk_1", "u", "s", NOW, ("LicenseExpired",)).wants("ServerSilent")


def test_tries_are_further_and_further_apart() -> None:
    assert list(RETRIES) == sorted(RETRIES)
    assert [retry_after(n) for n in range(1, 9)] == [*RETRIES, None]
    assert max(RETRIES) < 12 * 3600, "SQS hides no message for longer"


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.aurora.example/",
        "ftp://crm.aurora.example/",
        "https://",
        "https:///path",
        "https://user@crm.aurora.example/",
        "https://user:secret@crm.aurora.example/",
        "https://crm.aurora.example/#fragment",
        "https://crm.aurora.example:0x50/",
        "https://crm.aurora.example\\@evil.example/",
        "https://crm.aurora.example/ space",
        "https://crm.aurora.example/\r\nx: y",
        "https://crm.aurora.example/é",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://intranet/",
        "https://printer.local/",
        "https://metadata.google.internal/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://10.1.2.3/",
        "https://[fd00::1]/",
        "https://" + "a" * 2000 + ".example/",
    ],
)
def test_a_url_that_is_not_plainly_public_is_refused(url: str) -> None:
    assert target(url) is None


def test_a_public_https_url_is_taken_apart() -> None:
    found = target("https://CRM.aurora.example:8443/hooks?of=licensing")
    assert found
    assert (found.secure, found.host, found.port, found.path) == (
        True,
        "crm.aurora.example",
        8443,
        "/hooks?of=licensing",
    )
    assert (found := target("https://crm.aurora.example"))
    assert (found.port, found.path) == (443, "/")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://localhost:8000/", "https://[::1]:8000/"])
def test_loopback_is_let_through_where_it_is_said_so(url: str) -> None:
    found = target(url, loopback=True)
    assert found
    assert found.loopback
    assert target(url) is None


@pytest.mark.parametrize("url", ["http://crm.aurora.example/", "http://10.0.0.1/", "https://192.168.1.1/"])
def test_loopback_lets_nothing_else_through(url: str) -> None:
    assert target(url, loopback=True) is None


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "192.0.0.8",
        "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "fc00::1", "fd00:ec2::254",
        "fe80::1", "ff02::1", "2001:0:1::", "2001:db8::1", "2002:7f00:1::", "not an address",
    ],
)  # fmt: skip
def test_addresses_of_no_use_to_the_internet_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "151.101.1.1", "2600::1", "2a00:1450:4002::1"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)
