"""What the License Manager reads: files that people carry, answers of whoever sits between, what somebody edited.

Each is read as it was written, or refused in the one documented way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st
from license_manager import ladder, offline, profile, proof, proxies, settings, state, trust
from license_manager.errors import Misuse, StateDamaged, Untrusted
from license_manager.settings import Settings
from license_manager.transport import Reply
from licensing.rules import heartbeat

from tests.support.mangling import JSON, TEXTS, altered, forged, mutated, signed
from tests.unit.agent.fake_cloud import ISSUER, FakeCloud, Key

ROOT, SIGNER, FILE_SIGNER, SEAT_SIGNER = (
    Key(ec.derive_private_key(number, ec.SECP256R1())) for number in (11, 12, 13, 14)
)


def by(key: Key, claims: Any, typ: str) -> str:
    return signed(key.private, {"alg": "ES256", "typ": typ, "kid": key.kid}, claims)


CLOUD = FakeCloud()
CLOUD.root, CLOUD.signer, CLOUD.file_signer, CLOUD.published = ROOT, SIGNER, FILE_SIGNER, [SIGNER]
KEY_SET_CLAIMS = trust.peek(CLOUD.key_set())
KEY_SET_CLAIMS["keys"].append({**SEAT_SIGNER.jwk, "use": "seat"})
KEY_SET_TEXT = by(ROOT, KEY_SET_CLAIMS, "keys+jwt")
KEY_SET = trust.read_key_set(KEY_SET_TEXT, [ROOT.jwk], ISSUER)
TOKEN_CLAIMS = CLOUD.token_claims(CLOUD.servers["ins_1"], "n" * 43) | {
    "cnf": {"jkt": "j" * 43},
    "fp": {"mac": "m" * 43},
}
TOKEN = by(SIGNER, TOKEN_CLAIMS, "server+jwt")
VERDICT_CLAIMS = TOKEN_CLAIMS | {"code": "INSTALLATION_DISABLED", "final": True}
VERDICT = by(SIGNER, VERDICT_CLAIMS, "verdict+jwt")
LICENSE_CLAIMS = TOKEN_CLAIMS | {"mode": "offline", "names": {"customer": "Officine"}}
LICENSE = by(FILE_SIGNER, LICENSE_CLAIMS, "license+jwt")
LEASE_CLAIMS = {"iss": ISSUER, "aud": "seat-leases", "sub": "sea_1.x", "exp": 1796208800, "ins": "ins_1"}
LEASE = by(SEAT_SIGNER, LEASE_CLAIMS, "seat-lease+jwt")

#: Each kind of signed text: how it is read, one of it, and who signs it.
Kind = tuple[Callable[[str], Any], str, dict[str, Any], Key, str]
KINDS: dict[str, Kind] = {
    "key set": (lambda raw: trust.read_key_set(raw, [ROOT.jwk], ISSUER), KEY_SET_TEXT, KEY_SET_CLAIMS, ROOT, "keys+jwt"),
    "server token": (lambda raw: trust.read_server_token(raw, KEY_SET, ISSUER), TOKEN, TOKEN_CLAIMS, SIGNER, "server+jwt"),
    "verdict": (lambda raw: trust.read_verdict(raw, KEY_SET, ISSUER), VERDICT, VERDICT_CLAIMS, SIGNER, "verdict+jwt"),
    "license": (lambda raw: trust.read_license(raw, KEY_SET, ISSUER), LICENSE, LICENSE_CLAIMS, FILE_SIGNER, "license+jwt"),
    "lease": (lambda raw: trust.read_lease(raw, KEY_SET, ISSUER), LEASE, LEASE_CLAIMS, SEAT_SIGNER, "seat-lease+jwt"),
}  # fmt: skip


def meaning(read: Any) -> Any:
    """All that something signed says, without the text that it stood in."""
    if isinstance(read, trust.KeySet):
        return read.version, sorted(read.keys), sorted(read.file_keys), sorted(read.seat_keys), read.revoked
    if isinstance(read, tuple):
        return read
    return {name: value for name, value in vars(read).items() if name != "raw"}


def outcome(read: Callable[[], Any], *refusals: type[Exception]) -> Any:
    """What a parser makes of something; None for the refusals that are documented. Everything else fails the test."""
    try:
        return read()
    except refusals:
        return None


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_what_is_signed_and_damaged_says_the_same_or_is_not_trusted(kind: str, data: st.DataObject) -> None:
    read, raw, _, _, _ = KINDS[kind]
    found = outcome(lambda: read(data.draw(forged(raw))), Untrusted)
    assert found is None or meaning(found) == meaning(read(raw))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raw", ["\ud800.e30.e30", "", ".", "..", "\0", "[" * 100_000, 7, None], ids=repr)
def test_what_is_no_token_is_not_trusted(kind: str, raw: Any) -> None:
    with pytest.raises(Untrusted):
        KINDS[kind][0](raw)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_what_is_signed_and_of_another_shape_is_read_or_not_trusted(kind: str, data: st.DataObject) -> None:
    read, _, claims, key, typ = KINDS[kind]
    outcome(lambda: read(by(key, data.draw(altered(claims)), typ)), Untrusted)


@given(JSON, st.sampled_from(["keys", "revoked", "version"]))
def test_a_key_set_of_another_shape_is_one_or_not_trusted(value: Any, name: str) -> None:
    raw = by(ROOT, KEY_SET_CLAIMS | {name: [value] if name != "version" else value}, "keys+jwt")
    outcome(lambda: trust.read_key_set(raw, [ROOT.jwk], ISSUER), Untrusted)


@given(altered(ROOT.jwk) | JSON.filter(lambda value: isinstance(value, dict)))
def test_a_key_is_a_key_or_not_usable(jwk: dict[str, Any]) -> None:
    outcome(lambda: trust.public_key(jwk), Untrusted)


@given(forged(TOKEN))
def test_a_look_at_what_is_not_verified_never_fails(raw: str) -> None:
    trust.peek(raw)
    trust.kid_of(raw)
    trust.peek_installation(raw)


# ── files of a server without a network ──

FILE = json.dumps({"license": LICENSE, "keyset": KEY_SET_TEXT}, indent=1)


@given(
    st.sampled_from([40, 60, 72, 76]),
    st.sampled_from(["\n", "\r\n", "\n ", " \n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_a_license_file_survives_mail_and_editors(width: int, end: str, encoding: str) -> None:
    lines = [line[start : start + width] for line in FILE.split("\n") for start in range(0, len(line), width)]
    assert offline.read_file(end.join(lines).encode(encoding)) == (LICENSE, KEY_SET_TEXT)


@given(
    mutated(FILE).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
)
@example(json.dumps({"license": "\ud800", "keyset": KEY_SET_TEXT}).encode())
@example(json.dumps({"license": LICENSE, "keyset": "\ud800"}).encode())
@example(b"[" * 100_000)
@example(b'{"license": ' + b"9" * 5000 + b', "keyset": ""}')
def test_a_damaged_license_file_says_the_same_or_is_not_trusted(content: bytes) -> None:
    def read() -> trust.License:
        license, key_set = offline.read_file(content)
        return trust.read_license(license, trust.read_key_set(key_set, [ROOT.jwk], ISSUER), ISSUER)

    found = outcome(read, Untrusted)
    assert found is None or meaning(found) == meaning(KINDS["license"][0](LICENSE))


# ── what somebody edited ──

STATE = state.State(
    private_key="PEM",
    server_token=TOKEN,
    key_set=KEY_SET_TEXT,
    high_water=1.5,
    pending={"kind": "validation", "nonce": "n"},
)


@given(st.builds(
    state.State,
    private_key=st.none() | TEXTS,
    server_token=st.none() | TEXTS,
    pending=st.none() | st.fixed_dictionaries({"kind": TEXTS, "nonce": TEXTS}),
    floor=st.none() | st.fixed_dictionaries({"installation_id": TEXTS, "generation": st.integers(), "sequence": st.integers()}),
    high_water=st.floats(0, 1e10),
    site_used=st.none() | st.integers(),
))  # fmt: skip
def test_a_state_is_read_as_it_was_written(held: state.State) -> None:
    assert state.parse(json.dumps(asdict(held), indent=1).encode()) == held


@given(
    mutated(json.dumps(asdict(STATE))).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | altered(asdict(STATE)).map(lambda other: json.dumps(other).encode())
    | st.binary()
)
def test_an_edited_state_is_one_or_damaged(content: bytes) -> None:
    found = outcome(lambda: state.parse(content), StateDamaged)
    assert isinstance(found, state.State | None)
    if found and found.private_key:
        outcome(lambda: proof.public_jwk(found.private_key or ""), ValueError)


@given(altered(CLOUD.profile()) | JSON)
def test_an_edited_vendor_profile_is_one_or_says_what_is_wrong(document: Any) -> None:
    assert isinstance(outcome(lambda: profile.parse(document), ValueError), profile.VendorProfile | None)


@given(altered(asdict(Settings(proxy="http://proxy:3128", validate_at="12:00", app_version="1.0", language="it"))))
def test_edited_settings_are_settings_or_misuse(changes: dict[str, Any]) -> None:
    assert isinstance(outcome(lambda: settings.change(Settings(), changes), Misuse), Settings | None)


@given(mutated("https://user:secret@proxy.example:3128/") | TEXTS)
def test_a_proxy_s_address_is_one_or_refused_and_its_password_is_never_shown(text: str) -> None:
    found = outcome(lambda: proxies.checked(text), ValueError)
    if found is not None:
        assert proxies.location(found)
        assert "@" not in proxies.location(found)
    hidden = proxies.masked(text).rpartition("@")[0]
    assert hidden in ("", "********", "http://********", "https://********")


@given(
    mutated("localhost, .example.com:8080, [::1]:443, 10.0.0.0/8, *") | TEXTS,
    st.sampled_from(["a.example.com", "10.1.2.3", "::1"]),
)
@example("example.com:²", "a.example.com")
@example("[::1]:²", "::1")
def test_any_no_proxy_list_can_be_lived_with(listed: str, host: str) -> None:
    assert isinstance(proxies.excluded(host, 443, listed), bool)


# ── answers ──


@given(
    st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | st.just(b"[" * 100_000),
    st.sampled_from(["application/json", "application/problem+json", "text/html", ""]),
    st.dictionaries(st.sampled_from(["retry-after", "proxy-authenticate"]), TEXTS),
)
def test_any_answer_is_an_object_or_none(body: bytes, content_type: str, headers: dict[str, str]) -> None:
    reply = Reply(200, content_type, body, headers, 0.1, None)
    assert isinstance(reply.document(), dict | None)
    assert reply.problem is None or isinstance(reply.problem["code"], str)
    assert reply.retry_after is None or 0 <= reply.retry_after <= 86400


# ── the ten days ──

MOMENTS = st.integers(1_577_836_800, 2_051_222_400)
ZONES = st.sampled_from(
    ["Europe/Rome", "Pacific/Auckland", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Kiritimati", "UTC"]
)
RUNGS = ["ok", "warning", "grace", "blocked"]


@given(MOMENTS, st.integers(-(10**6), 10**7), st.integers(0, 10**6), ZONES)
def test_the_ladder_only_goes_down_with_time_and_is_the_cloud_s(last: int, silent: int, more: int, zone: str) -> None:
    now = ladder.rung(last, last + silent, zone)
    later = ladder.rung(last, last + silent + more, zone)
    assert later.silent_days >= now.silent_days
    assert RUNGS.index(later.status) >= RUNGS.index(now.status)
    assert (now.grace_day is not None) == (now.status == "grace")
    last_at, now_at = (datetime.fromtimestamp(at, UTC) for at in (last, last + silent))
    assert max(0, heartbeat.silent_days(last_at, now_at, zone)) == now.silent_days
    assert heartbeat.rung(now.silent_days) == now.status
