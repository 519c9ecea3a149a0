"""What comes from outside as text, or as something signed: read as it was written, or refused in the one documented way."""

import base64
import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given
from hypothesis import strategies as st
from licensing import (
    activation_keys,
    cursors,
    identity,
    languages,
    loading,
    log_reading,
    mail_events,
    offline,
    order_files,
    proofs,
    signing,
    stations,
    tokens,
)
from licensing.errors import (
    ClockSkewed,
    FormExpired,
    InvalidProof,
    InvalidRequest,
    InvalidToken,
    KeySignatureInvalid,
    OfflineFileAltered,
    OfflineFileDamaged,
    OfflineFileWrong,
    PayloadTooLarge,
    ReceiptMismatch,
    TaxIdInvalid,
)
from licensing.http import pages
from licensing.key_ring import KeyRing
from licensing.rules import accounts as account_rules
from licensing.rules import activation_keys as key_rules
from licensing.rules import cursors as list_cursors
from licensing.rules import pasted, seats, webhooks
from licensing.rules.activation_keys import Key
from licensing.rules.operations import Operation, Origin
from licensing.rules.sequence import ServerState
from licensing.rules.tax_ids import normalize
from licensing.rules.vendor import Catalogue, Vendor
from pydantic import ValidationError
from stdnum.br import cnpj
from stdnum.es import cif
from stdnum.it import iva
from stdnum.luhn import calc_check_digit

from functions.serve_portal import forms
from functions.serve_portal import keys as key_form
from tests.support.mangling import JSON, TEXTS, altered, altered_within, forged, mailed, mutated, parts, signed

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ISSUER = "https://licensing.aurora.example"


class Ring(KeyRing):
    """One key that signs and verifies for every use."""

    def __init__(self) -> None:
        super().__init__()
        self.private = ec.derive_private_key(1357, ec.SECP256R1())
        self.jwk = signing.jwk_of(self.private.public_key())

    def sign(self, use: Any, typ: str, claims: dict[str, Any], now: datetime) -> str:
        header = {"alg": "ES256", "typ": typ, "kid": self.jwk["kid"]}
        return signed(self.private, header, claims)

    def verification_key(self, use: Any, kid: str, now: datetime) -> jwt.PyJWK | None:
        return signing.public_key(self.jwk["x"], self.jwk["y"]) if kid == self.jwk["kid"] else None


RING = Ring()


@pytest.fixture(scope="module", autouse=True)
def ring() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ISSUER", ISSUER)
        patch.setattr(activation_keys, "ring", RING)
        patch.setattr(stations, "_look", lambda *_: stations._Known(ServerState(public_key=RING.jwk), None, NOW))
        patch.setattr(
            stations, "_caller", lambda known, customer_id, installation_id, now: (customer_id, installation_id)
        )
        yield


def outcome(read: Callable[[], Any], *refusals: type[Exception]) -> Any:
    """What a parser makes of something; None for the refusals that are documented. Everything else fails the test."""
    try:
        return read()
    except refusals:
        return None


# ── activation keys ──

KEY = Key(
    key_id="key_019a9c0f2d00a1",
    customer_id="cus_019a9c0f2d00a1",
    group="G1",
    serial=3,
    companies={"IT00743110157": "Officine Lombarde", "BR12345678000195": "Oficinas São João"},
    first_day=date(2026, 1, 1),
    last_day=date(2026, 12, 31),
    time_zone="Europe/Rome",
    issued_at=NOW,
    concurrent={"erp": 6},
    company_quota=2,
    support=("sup*",),
)
KEY_CLAIMS = key_rules.to_claims(KEY, ISSUER)
KEY_TOKEN = RING.sign("key", activation_keys.TYP, KEY_CLAIMS, NOW)
KEY_TEXT = key_rules.wrap(KEY_TOKEN)


@given(
    st.builds(
        Key,
        key_id=TEXTS,
        customer_id=TEXTS,
        group=TEXTS,
        serial=st.integers(1, 10**6),
        companies=st.dictionaries(TEXTS, TEXTS, max_size=3),
        first_day=st.dates(),
        last_day=st.dates(),
        time_zone=TEXTS,
        issued_at=st.integers(0, 2**32).map(lambda at: datetime.fromtimestamp(at, UTC)),
        concurrent=st.dictionaries(TEXTS, st.integers(0, 10**8), max_size=3),
        company_quota=st.none() | st.integers(0, 10**8),
        support=st.lists(TEXTS, max_size=3).map(tuple),
        lease_seconds=st.integers(1, 10**6),
        borrow_days=st.integers(0, 10**3),
    )
)
def test_a_key_is_read_as_it_was_written(key: Key) -> None:
    claims = json.loads(json.dumps(key_rules.to_claims(key, ISSUER)))
    assert key_rules.of_claims(claims, key.issued_at) == key


@given(mailed(KEY_TEXT))
def test_a_key_survives_mail_and_paste(text: str) -> None:
    assert activation_keys.read(text, NOW) == KEY


@given(mailed(KEY_TEXT), st.sampled_from(["Dear all,\n\nhere is the key:\n\n", "On Nov 22, A. wrote:\n> ", ""]))
def test_a_key_is_found_in_an_e_mail(text: str, before: str) -> None:
    assert activation_keys.read(f"{before}{text}\n\nRegards - A.\n-- \nAurora", NOW) == KEY


@given(mutated(KEY_TEXT) | forged(KEY_TOKEN) | forged(KEY_TOKEN).map(key_rules.wrap))
def test_a_damaged_key_says_the_same_or_is_refused(text: str) -> None:
    assert outcome(lambda: activation_keys.read(text, NOW), KeySignatureInvalid) in (None, KEY)


@given(altered(KEY_CLAIMS))
@example(KEY_CLAIMS | {"iat": 10**17})
@example(KEY_CLAIMS | {"iat": 10**30})
@example(KEY_CLAIMS | {"serial": float("inf")})
def test_a_signed_key_of_another_shape_is_a_key_or_refused(claims: dict[str, Any]) -> None:
    text = key_rules.wrap(RING.sign("key", activation_keys.TYP, claims, NOW))
    assert isinstance(outcome(lambda: activation_keys.read(text, NOW), KeySignatureInvalid), Key | None)


# ── server tokens, proofs, seat tokens ──

TOKEN_CLAIMS: dict[str, Any] = {
    "iss": ISSUER, "aud": "licensing", "sub": "ins_1", "cus": "cus_1", "gen": 2, "seq": 7, "jti": "ins_1.2.7",
    "iat": 1795348800, "nbf": 1795348800, "exp": 1796208800, "nonce": "q0Zl1nX8s1oV2b9aYtJ4Kw", "fp": {"mac": "m"},
    "mode": "online", "tz": "Europe/Rome", "nxt": 1795435200, "ent": [], "cnf": {"jkt": "j" * 43},
}  # fmt: skip
TOKEN = RING.sign("server", "server+jwt", TOKEN_CLAIMS, NOW)


def meaning(token: tokens.ServerToken | None) -> Any:
    return token and (token.installation_id, token.customer_id, token.gen, token.seq, token.jkt, token.expires_at)


def read_token(text: str) -> Any:
    return meaning(outcome(lambda: tokens.read_server_token(RING, ISSUER, text, NOW), InvalidToken))


def test_a_server_token_is_read_as_it_was_written() -> None:
    assert read_token(TOKEN) == ("ins_1", "cus_1", 2, 7, "j" * 43, 1796208800)


@given(forged(TOKEN))
@example("\ud800" + TOKEN)
def test_a_damaged_server_token_says_the_same_or_is_refused(text: str) -> None:
    assert read_token(text) in (None, read_token(TOKEN))
    tokens.typ_of(text)


@given(altered(TOKEN_CLAIMS))
def test_a_signed_server_token_of_another_shape_is_one_or_refused(claims: dict[str, Any]) -> None:
    read_token(RING.sign("server", "server+jwt", claims, NOW))


SERVER_KEY = ec.derive_private_key(2468, ec.SECP256R1())
SERVER_JWK = {name: value for name, value in signing.jwk_of(SERVER_KEY.public_key()).items() if name != "kid"}
REQUEST = proofs.Request("POST", "https://api.aurora.example/v1/validations", b"{}")
PROOF_CLAIMS = {
    "jti": "p1", "htm": "POST", "htu": REQUEST.url, "iat": int(NOW.timestamp()),
    "bh": "RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o",
}  # fmt: skip


def signed_by_server(claims: Any, typ: str, jwk: Any = SERVER_JWK) -> str:
    return signed(SERVER_KEY, {"alg": "ES256", "typ": typ, "jwk": jwk}, claims)


PROOF = signed_by_server(PROOF_CLAIMS, "dpop+jwt")


def read_proof(text: str) -> Any:
    return outcome(lambda: proofs.verify(text, REQUEST, now=NOW), InvalidProof, ClockSkewed)


def test_a_proof_is_read_as_it_was_written() -> None:
    assert read_proof(PROOF) == {name: SERVER_JWK[name] for name in ("kty", "crv", "x", "y")}


@given(forged(PROOF))
def test_a_damaged_proof_proves_the_same_or_nothing(text: str) -> None:
    assert read_proof(text) in (None, read_proof(PROOF))


@given(altered(PROOF_CLAIMS), altered(SERVER_JWK) | st.just(SERVER_JWK) | JSON)
def test_a_signed_proof_of_another_shape_is_one_or_refused(claims: dict[str, Any], jwk: Any) -> None:
    read_proof(signed_by_server(claims, "dpop+jwt", jwk))


SEAT_CLAIMS = {
    "iss": "ins_1",
    "cus": "cus_1",
    "aud": "seats",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 600,
}
SEAT_TOKEN = RING.sign("server", "seat+jwt", SEAT_CLAIMS, NOW)


def read_seat_token(text: str) -> Any:
    return outcome(lambda: stations.by_seat_token(text, NOW), InvalidToken, ClockSkewed)


def test_a_seat_token_is_read_as_it_was_written() -> None:
    assert read_seat_token(SEAT_TOKEN) == ("cus_1", "ins_1")


@given(forged(SEAT_TOKEN))
def test_a_damaged_seat_token_says_the_same_or_is_refused(text: str) -> None:
    assert read_seat_token(text) in (None, ("cus_1", "ins_1"))


@given(altered(SEAT_CLAIMS))
def test_a_signed_seat_token_of_another_shape_is_one_or_refused(claims: dict[str, Any]) -> None:
    read_seat_token(RING.sign("server", "seat+jwt", claims, NOW))


@given(forged(TOKEN))
def test_what_else_we_signed_is_read_the_same_or_not_at_all(text: str) -> None:
    assert RING.read("server", "server+jwt", text, NOW) in (None, TOKEN_CLAIMS)


# ── files of servers without a network ──

OFFLINE_CLAIMS = {
    "jti": "r1", "iat": 1795348800, "nonce": "q0Zl1nX8s1oV2b9aYtJ4Kw", "hostname": "pbx", "tz": "Europe/Rome",
    "fp": dict.fromkeys(("machine_id", "mac", "cpu"), "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg"),
    "app_version": "Winter 2026", "agent_version": "1.0.0", "databases": ["main"],
}  # fmt: skip
OFFLINE_REQUEST = signed_by_server(OFFLINE_CLAIMS, "offline-request+jwt")
OFFLINE_REFUSALS = (OfflineFileWrong, OfflineFileDamaged, OfflineFileAltered, PayloadTooLarge)


def read_request(text: str) -> Any:
    return outcome(lambda: offline.read_request(text), *OFFLINE_REFUSALS)


def test_an_offline_request_is_read_as_it_was_written() -> None:
    request = read_request(OFFLINE_REQUEST)
    assert (request.request_id, request.nonce, request.public_key["x"]) == (
        "r1",
        OFFLINE_CLAIMS["nonce"],
        SERVER_JWK["x"],
    )


@given(mailed(OFFLINE_REQUEST))
@example("> " + OFFLINE_REQUEST)
@example(OFFLINE_REQUEST.replace("-", "\u2011"))
def test_an_offline_request_survives_mail_and_paste(text: str) -> None:
    assert read_request(text) == read_request(OFFLINE_REQUEST)


@given(forged(OFFLINE_REQUEST))
def test_a_damaged_offline_request_says_the_same_or_is_refused(text: str) -> None:
    assert read_request(text) in (None, read_request(OFFLINE_REQUEST))


@given(altered(OFFLINE_CLAIMS), altered(SERVER_JWK) | st.just(SERVER_JWK) | JSON)
def test_a_signed_offline_request_of_another_shape_is_one_or_refused(claims: dict[str, Any], jwk: Any) -> None:
    read_request(signed_by_server(claims, "offline-request+jwt", jwk))


RECEIPT_CLAIMS = {"iss": "ins_1", "gen": 2, "license": "ins_1.2.0", "jti": "p1", "iat": 1795348800}
RECEIPT = signed(SERVER_KEY, {"alg": "ES256", "typ": "deactivation+jwt"}, RECEIPT_CLAIMS)


@pytest.fixture(scope="module")
def given_up() -> Iterator[None]:
    """What a receipt is held against: a server that gave its second license up already, so that nothing is written."""
    customer = account_rules.Customer("cus_1", "Acme", "IT1", "IT", "Europe/Rome")
    account = account_rules.Account(customer, {"ins_1": account_rules.Installation("ins_1", "Milano")}, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME_SITE", "true")
        patch.setattr(offline.servers, "get", lambda _: (ServerState(gen=2, public_key=SERVER_JWK), 1))
        patch.setattr(offline.accounts, "read", lambda _: account)
        yield


def read_receipt(text: str) -> Any:
    return outcome(
        lambda: offline.deactivate("cus_1", "ins_1", text, NOW, Origin("vendor")), *OFFLINE_REFUSALS, ReceiptMismatch
    )


@pytest.mark.usefixtures("given_up")
def test_a_receipt_is_read_as_it_was_written() -> None:
    assert read_receipt(RECEIPT).installation.installation_id == "ins_1"


@pytest.mark.usefixtures("given_up")
@given(mailed(RECEIPT))
def test_a_receipt_survives_mail_and_paste(text: str) -> None:
    assert read_receipt(text)


@pytest.mark.usefixtures("given_up")
@given(forged(RECEIPT))
def test_a_damaged_receipt_says_the_same_or_is_refused(text: str) -> None:
    """What says something else under the old signature gives nothing back."""
    if read_receipt(text):
        assert parts(pasted.compact(text))[1] == RECEIPT_CLAIMS


@pytest.mark.usefixtures("given_up")
@given(altered(RECEIPT_CLAIMS), st.just(SERVER_KEY) | st.just(RING.private))
def test_a_signed_receipt_of_another_shape_is_one_or_refused(
    claims: dict[str, Any], key: ec.EllipticCurvePrivateKey
) -> None:
    taken = read_receipt(signed(key, {"alg": "ES256", "typ": "deactivation+jwt"}, claims))
    named = all(claims.get(name) == RECEIPT_CLAIMS[name] for name in ("iss", "gen", "license"))
    assert not taken or (named and key is SERVER_KEY)


# ── cursors, seat ids ──

POSITION = {"pk": {"S": "LIST"}, "sk": {"S": "ORDER#1"}}


@given(TEXTS.filter(lambda text: text and text.isprintable()))
def test_a_position_leads_back(place: str) -> None:
    position = {"pk": {"S": "LIST"}, "sk": {"S": f"ORDER#{place}"}}
    assert cursors.read(cursors.text(position), "LIST", "ORDER#") == position


@given(
    mutated(cursors.text(POSITION) or "")
    | altered(POSITION).map(lambda other: cursors.text(other) or "")
    | JSON.map(lambda other: cursors.text(other) or "")
    | st.builds(lambda place: cursors.text(POSITION | {"sk": {"S": f"ORDER#{place}"}}) or "", TEXTS)
    | TEXTS
)
@example(cursors.text(POSITION | {"sk": {"S": "ORDER#\ud800"}}) or "")
def test_a_made_up_position_is_one_in_this_list_or_refused(text: str) -> None:
    position = outcome(lambda: cursors.read(text, "LIST", "ORDER#"), InvalidRequest)
    if position is not None:
        assert position == {"pk": {"S": "LIST"}, "sk": {"S": position["sk"]["S"]}}
        assert position["sk"]["S"].encode().startswith(b"ORDER#")


LIST_CURSOR = list_cursors.write(["2026-11-22", "x"], ["cus_1"])


@given(mutated(LIST_CURSOR) | JSON.map(lambda other: cursors.text(other) or "") | TEXTS)
def test_a_damaged_cursor_leads_to_the_same_place_or_nowhere(text: str) -> None:
    read = outcome(lambda: list_cursors.read(text, ["cus_1"]), list_cursors.CursorError)
    assert read in (None, ["2026-11-22", "x"])


SEAT = seats.SeatId("abcdefghijklmnop", 7)
SEAT_ID = seats.seat_id("pool_1", "secret", SEAT)


@given(mutated(SEAT_ID))
@example(SEAT_ID.replace("a", "\ud800"))
@example(SEAT_ID.replace(".g7.", ".g\u0667."))
def test_a_damaged_seat_id_leads_to_the_same_seat_or_to_none(text: str) -> None:
    assert seats.read_seat_id(text, "pool_1", "secret") in (None, SEAT)
    assert (seats.read_seat_id(text, "pool_1", "secret") == SEAT) == (text == SEAT_ID)


SEGMENT = seats.Segment(
    0, 0, quota=2, entries={SEAT.station: seats.Entry(7, 0, 2**40, seats.Who("u", "t", "s", ""), "c", {})}
)
SHARE_SECRET = seats.share_secret("secret", SEAT.station, SEAT.generation)


@given(mutated(SHARE_SECRET) | st.just(SHARE_SECRET))
@example(f"{SEAT.station}.\ud800")
def test_a_damaged_share_secret_opens_nothing(text: str) -> None:
    assert (seats.shares(text, "secret", SEGMENT, 0) == SEAT.station) == (text == SHARE_SECRET)


# ── tax ids ──


DIGITS = st.text("0123456789", min_size=12, max_size=12)
VALID_TAX_IDS = st.one_of(
    st.text("0123456789ABCDEFGHJKLMNPQRSTUVWXYZ", min_size=12, max_size=12)
    .map(lambda n: f"BR{n}{cnpj.calc_check_digits(n)}")
    .filter(lambda text: cnpj.is_valid(text[2:])),
    st.tuples(DIGITS, st.integers(1, 100)).map(lambda pair: f"{pair[0][:7]}{pair[1]:03d}").map(
        lambda n: f"IT{n}{calc_check_digit(n)}"
    ).filter(lambda text: iva.is_valid(text[2:])),
    DIGITS.map(lambda n: f"ESB{n[:7]}{cif.calc_check_digits('B' + n[:7])[0]}").filter(lambda text: cif.is_valid(text[2:])),
    DIGITS.map(lambda n: f"SE{n[:9]}{calc_check_digit(n[:9])}"),
)  # fmt: skip


@given(VALID_TAX_IDS, st.data())
def test_a_tax_id_has_one_spelling_however_it_is_typed(spelled: str, data: st.DataObject) -> None:
    typed = "".join(each + data.draw(st.sampled_from(["", "", "", " ", ".", "-", "/"])) for each in spelled)
    assert (
        normalize(data.draw(st.sampled_from([typed, typed.lower(), f" {typed} "]))[:32]) == spelled or len(typed) > 30
    )


@given(
    st.one_of(VALID_TAX_IDS.flatmap(mutated), st.from_regex(r"\A(GR|EL|IE|FR|ES|NL|DE|AT|BE|LT|CY)[A-Z0-9+*]{8,13}\Z"))
)
def test_what_is_taken_for_a_tax_id_is_what_was_typed(typed: str) -> None:
    spelled = outcome(lambda: normalize(typed), TaxIdInvalid)
    if spelled is not None:
        assert normalize(spelled) == spelled
        number = "".join(each for each in typed.upper() if each.isalnum() or each in "+*")
        assert spelled[2:].lstrip("0") in number  # older numbers lack a zero in front


# ── other texts ──


@given(TEXTS | st.from_regex(r"[a-zA-Z*_-]{0,10}(;q=[0-9.einfa_+-]{0,8})?(,[a-z-]{0,8};q=[0-9.]{0,4}){0,3}"))
def test_whatever_a_browser_likes_is_a_language_of_ours(text: str) -> None:
    assert languages.negotiate(text) in languages.LANGUAGES


@given(mutated("https://hooks.example.com:8443/licensing?x=1") | TEXTS)
def test_an_address_for_events_is_public_https_or_none(text: str) -> None:
    found = webhooks.target(text)
    assert found is None or (found.secure and found.host and not found.loopback)


def visited(content: bytes, content_type: str, **headers: str) -> pages.Visit:
    """A visit that sends a form."""
    event = {
        "body": base64.b64encode(content).decode(),
        "isBase64Encoded": True,
        "headers": {"content-type": content_type, **headers},
    }
    return pages.Visit(APIGatewayProxyEventV2(event), NOW, "secret", None, languages.language("en"), Origin("anyone"))


FORM_TOKEN = identity.digest("secret", "form")
FORM = urlencode({"form_token": FORM_TOKEN, "name": "São Paulo & C."})
PARTS = (
    "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n{value}\r\n'
        for name, file, value in (("form_token", "", FORM_TOKEN), ("key_file", '; filename="k.txt"', KEY_TEXT))
    )
    + "--b--\r\n"
)
MULTIPART = "multipart/form-data; boundary=b"


def test_a_form_is_read_as_it_was_sent() -> None:
    assert pages.form(visited(FORM.encode(), "application/x-www-form-urlencoded")) == {"name": "São Paulo & C."}
    assert pages.form(visited(PARTS.encode(), MULTIPART)) == {"key_file": KEY_TEXT.strip()}


@given(
    (mutated(FORM) | mutated(PARTS)).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(),
    st.just(MULTIPART) | mutated(MULTIPART) | st.just("application/x-www-form-urlencoded"),
)
def test_a_damaged_form_is_one_or_refused(content: bytes, content_type: str) -> None:
    fields = outcome(lambda: pages.form(visited(content, content_type)), FormExpired, PayloadTooLarge)
    assert fields is None or all(isinstance(value, str) for value in fields.values())


@given(mutated("https://licensing.example") | TEXTS)
@example("http://[")
def test_a_form_is_from_here_or_refused_whatever_its_origin_says(sent_from: str) -> None:
    visit = visited(b"", "text/plain", host="licensing.example", origin=sent_from)
    if outcome(lambda: pages.check_origin(visit, FORM_TOKEN) or "taken", FormExpired):
        assert "//licensing.example" in sent_from.translate({9: None, 10: None, 13: None})


WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)
HERE: Any = SimpleNamespace(now=NOW, language=languages.language("en"))
ACCOUNT: Any = SimpleNamespace(customer=SimpleNamespace(customer_id="cus_019a9c0f2d00a1", today=lambda now: now.date()))


@given(
    st.dictionaries(VALID_TAX_IDS, st.lists(WORDS, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=4),
    st.dictionaries(st.from_regex(r"\A[a-z][a-z0-9-]{0,20}\Z"), st.integers(1, 40_000), max_size=3),
    st.none() | st.integers(1, 500),
    st.lists(st.from_regex(r"\A[A-Za-z0-9]{1,10}[*]?\Z"), max_size=3),
    st.tuples(st.integers(60, 86_400), st.integers(0, 365)),
)
def test_a_form_for_a_key_says_what_was_typed(
    companies: dict[str, str], concurrent: dict[str, int], quota: int | None, support: list[str], times: tuple[int, int]
) -> None:
    typed = {
        "companies": "\r\n".join(f"{tax_id} {name}" for tax_id, name in companies.items()),
        "concurrent": "\r\n".join(f"{name} {count}" for name, count in concurrent.items()),
        "company_quota": "" if quota is None else str(quota),
        "support": ", ".join(support),
        "first_day": "2026-11-22",
        "days": "365",
        "lease_seconds": str(times[0]),
        "borrow_days": str(times[1]),
    }
    terms = key_form._terms(HERE, ACCOUNT, typed)
    assert (terms.companies, terms.concurrent, terms.company_quota) == (companies, concurrent, quota)
    assert (terms.support, str(terms.last_day)) == (tuple(support), "2027-11-21")
    assert (terms.lease_seconds, terms.borrow_days) == times


@given(
    st.dictionaries(
        st.sampled_from(
            ["companies", "concurrent", "company_quota", "support", "first_day", "days", "lease_seconds", "borrow_days"]
        ),
        TEXTS,
    )
)
def test_a_form_for_a_key_names_terms_or_the_field_that_is_wrong(fields: dict[str, str]) -> None:
    base = {"companies": "IT00743110157 Officine", "days": "365"}
    outcome(lambda: key_form._terms(HERE, ACCOUNT, base | fields), forms.FormInvalid)


ORDERS = json.dumps([{
    "order_number": "N-1", "reseller": "IT12345670017", "customer": {"tax_id": "IT00743110157"},
    "lines": [{"sku": "AQ-SUB-10", "quantity": 1, "years": 1}],
}])  # fmt: skip
YAML = """orders:
- order_number: N-1
  reseller: IT12345670017
  customer: &customer {tax_id: IT00743110157}
  lines:
  - {sku: AQ-SUB-10, quantity: 1, years: 1, first_day: 2026-12-01}
"""


def test_a_file_of_orders_is_read_as_it_was_written() -> None:
    assert [each.order_number for each in order_files.parse(ORDERS)] == ["N-1"]
    assert [str(each.lines[0].first_day) for each in order_files.parse(YAML)] == ["2026-12-01"]


@given(mutated(ORDERS) | mutated(YAML) | TEXTS | JSON.map(json.dumps))
def test_a_damaged_file_of_orders_is_one_or_refused_with_reasons_that_can_be_shown(text: str) -> None:
    try:
        order_files.parse(text)
    except order_files.FileRefused as refused:
        faults = refused.faults
    else:
        return
    assert faults
    assert "".join(f"{fault.where} {fault.text}" for fault in faults).encode()


@given(st.lists(st.tuples(TEXTS, TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=2)), max_size=3))
def test_an_exported_log_is_a_table_of_as_many_rows_and_no_formulas(
    rows: list[tuple[str, str, dict[str, str]]],
) -> None:
    found = [
        Operation("op_1", "cus_1", NOW, Origin("customer", "usr_1", name), "order.created", subject, details=details)
        for name, subject, details in rows
    ]
    table = list(csv.reader(io.StringIO("".join(log_reading.as_lines(found, "csv")), newline="")))
    assert len(table) == len(rows) + 1
    for (name, subject, details), cells in zip(rows, table[1:], strict=True):
        read = dict(zip(table[0], cells, strict=True))
        assert read["actor_name"].removeprefix("'") == name.removeprefix("'")
        assert read["subject_id"].removeprefix("'") == subject.removeprefix("'")
        assert json.loads(read["details"]) == details
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in cells)


# ── what SES tells, and what a vendor loads ──

TOLD: dict[str, Any] = {
    "mail": {
        "timestamp": "2026-11-22T12:00:00.000Z", "destination": ["ordini@example.com"],
        "tags": {"order": ["ord_1"], "mailing": ["mai_1"]},
    },
    "delivery": {"timestamp": "2026-11-22T12:00:01.000Z", "recipients": ["ordini@example.com"]},
    "bounce": {
        "timestamp": "2026-11-22T12:00:02.000Z", "bounceType": "Permanent",
        "bouncedRecipients": [{"emailAddress": "ordini@example.com", "diagnosticCode": "smtp; 550 unknown"}],
    },
    "complaint": {
        "timestamp": "2026-11-22T12:00:03.000Z", "complaintFeedbackType": "abuse",
        "complainedRecipients": [{"emailAddress": "ordini@example.com"}],
    },
    "reject": {"reason": "Bad content"},
}  # fmt: skip


def told(detail: Any) -> list[tuple[Any, ...]]:
    """What would be recorded of an event."""
    found: list[tuple[Any, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mail_events.orders, "record_delivery", lambda *given: found.append(given))
        mail_events.record(mail_events.Envelope.model_validate_json(json.dumps({"detail": detail})).detail)
    return found


def test_a_mail_event_is_read_as_ses_writes_it() -> None:
    assert [(order, mailing, email, state, at.second, reason) for order, mailing, email, state, at, reason in told(TOLD)] == [
        ("ord_1", "mai_1", "ordini@example.com", "delivered", 1, ""),
        ("ord_1", "mai_1", "ordini@example.com", "bounced", 2, "smtp; 550 unknown"),
        ("ord_1", "mai_1", "ordini@example.com", "complained", 3, "abuse"),
        ("ord_1", "mai_1", "ordini@example.com", "bounced", 0, "Bad content"),
    ]  # fmt: skip


@given(altered_within(TOLD))
@example(TOLD | {"delivery": {"timestamp": "2026-11-22T12:00:01", "recipients": ["ordini@example.com"]}})
def test_a_mail_event_of_another_shape_is_one_or_refused(detail: Any) -> None:
    for order, mailing, email, _, at, reason in outcome(lambda: told(detail), ValidationError) or ():
        assert at.tzinfo
        assert len(reason) <= 200
        "".join((order, mailing, email, reason)).encode()


LOADED: dict[str, Any] = {
    "vendor": {"name": "Aurora", "releases": ["Winter 2026"], "validation_window": {"from": "10:00", "to": "14:00"}},
    "applications": [{"id": "erp", "name": "ERP", "unit": "users", "modules": ["billing"]}],
    "products": [{"sku": "ERP-10", "application": "erp", "name": "ERP", "type": "subscription", "units_per_sku": 10}],
    "resellers": [{"name": "Padana", "tax_id": "IT12345670017", "country": "IT", "contacts": [{"name": "Paolo"}]}],
    "customers": [{
        "name": "Officine", "tax_id": "IT00743110157", "country": "IT", "time_zone": "Europe/Rome",
        "resellers": ["IT12345670017"], "installations": [{"name": "Milano", "purpose": "main"}],
        "licenses": [{
            "code": "ERP-0001", "sku": "ERP-10", "quantity": 10, "last_day": "2027-11-21", "allocations": {"Milano": 10},
        }],
    }],
}  # fmt: skip


@pytest.fixture(scope="module")
def nothing_loaded() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading.vendor_store, "catalogue", lambda: Catalogue({}, {}))
        patch.setattr(loading.vendor_store, "get", lambda: Vendor())
        patch.setattr(loading.people, "resellers", dict)
        patch.setattr(loading.accounts, "read_by_tax_id", lambda _: None)
        patch.setattr(loading.accounts, "check_claims", lambda before, codes: None)
        yield


@pytest.mark.usefixtures("nothing_loaded")
def test_a_file_to_load_is_taken_as_it_was_written() -> None:
    loading.check(LOADED, NOW)
    [customer] = loading.parse(LOADED).customers
    assert (customer.tax_id, customer.licenses[0].allocations) == ("IT00743110157", {"Milano": 10})


@pytest.mark.usefixtures("nothing_loaded")
@given(altered_within(LOADED) | JSON)
def test_a_file_to_load_of_another_shape_is_one_or_refused_with_reasons_that_can_be_shown(document: Any) -> None:
    try:
        loading.check(document, NOW)
    except loading.LoadError as refused:
        lines = refused.lines
    else:
        return
    assert lines
    assert "\n".join(lines).encode()
