"""Activation keys (C1, C2, C6, C9-C11): issue, survive e-mail, preview, import, companies, renewal."""

import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from itertools import count
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from licensing import activation_keys, companies, identity, seat_use, seats
from licensing.activation_keys import IssuedKey, Terms
from licensing.errors import (
    CompanyExists,
    CompanyLimitReached,
    InvalidRequest,
    KeyExpired,
    KeyForeignCompany,
    KeyMissing,
    KeyMixedGroups,
    KeyNotYetValid,
    KeyRenewalTooEarly,
    KeySignatureInvalid,
    KeySuperseded,
    LicensingError,
    NotFound,
    PreviewStale,
)
from licensing.key_ring import ring
from licensing.rules import activation_keys as rules
from licensing.rules.activation_keys import key_pool_id
from licensing.store import accounts
from licensing.store import seats as seat_store
from licensing.store.operations import OperationItem

from tests.integration.test_failures import faults
from tests.support.cloud import TAX_ID, VENDOR, Cloud, Server, problem
from tests.support.seats import Pool, Station, crowd

SECOND, THIRD = "BR12345678000195", "SE5565678900"
A_YEAR_AGO = date(2025, 12, 1)
GROUP = {TAX_ID: "Officine Lombarde", SECOND: "Officine Brasil"}


@pytest.fixture(autouse=True)
def noon(cloud: Cloud) -> None:
    """Far from midnight, so that it is the same day here and there."""
    cloud.set_time("2026-11-25T11:00:00+00:00")


@pytest.fixture
def customer_id(cloud: Cloud) -> str:
    found = accounts.find_by_tax_id(TAX_ID)
    assert found
    return found


def today(cloud: Cloud) -> date:
    return cloud.now.date()


def terms(cloud: Cloud, **changes: Any) -> Terms:
    usual: dict[str, Any] = {
        "companies": GROUP,
        "first_day": today(cloud) - timedelta(days=1),
        "last_day": today(cloud) + timedelta(days=364),
        "concurrent": {"erp": 4},
        "support": ("sup*",),
    }
    return Terms(**{**usual, **changes})


def issue(cloud: Cloud, customer_id: str, **changes: Any) -> IssuedKey:
    return activation_keys.issue(customer_id, terms(cloud, **changes), VENDOR, cloud.now)


def take(cloud: Cloud, customer_id: str, issued: IssuedKey, **options: Any) -> rules.Key:
    preview = activation_keys.preview(customer_id, issued.text, cloud.now)
    return activation_keys.import_key(customer_id, preview.preview_id, VENDOR, cloud.now, **options)


def key_pool(cloud: Cloud, server: Server, customer_id: str) -> Pool:
    seats.forget()
    return Pool(cloud, server, customer_id, key_pool_id(customer_id, "erp"), "")


# ── the text ──


def test_a_key_says_what_the_vendor_put_into_it(cloud: Cloud, customer_id: str) -> None:
    issued = issue(cloud, customer_id, company_quota=1, lease_seconds=120, borrow_days=5)
    assert activation_keys.read(issued.text, cloud.now) == issued.key
    assert issued.key.serial == 1
    assert issue(cloud, customer_id).key.serial == 2


@pytest.mark.parametrize(
    "mangle",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", " "),
        lambda text: text.replace("\n", "\n> "),
        lambda text: text.replace("\n", "\u00a0\n\u00a0"),
        lambda text: f"\ufeffDear all,\n\nhere it is:\n\n\u201c{text}\u201d\n\nRegards - A.",
        lambda text: f"> > {text.replace(chr(10), chr(10) + '> > ')}",
        lambda text: text.replace("-----", "\u2014\u2014-"),
        lambda text: "\u200b".join(text),
        lambda text: "".join(text.splitlines()[1:-1]),
        lambda text: text.replace("A", "A\u00ad"),
        lambda text: text + "\n\n" + text,
    ],
)
def test_a_key_survives_mail_and_paste(cloud: Cloud, customer_id: str, mangle: Any) -> None:
    issued = issue(cloud, customer_id)
    assert activation_keys.read(mangle(issued.text), cloud.now) == issued.key


def test_a_key_with_any_byte_damaged_is_refused(cloud: Cloud, customer_id: str) -> None:
    issued = issue(cloud, customer_id)
    token = rules.unwrap(issued.text)[0]
    for place in range(len(token)):
        for wrong in ("A" if token[place] != "A" else "B", "", ".", "\u00e9"):
            damaged = token[:place] + wrong + token[place + 1 :]
            if damaged == token:
                continue
            with pytest.raises(KeySignatureInvalid):
                activation_keys.read(rules.wrap(damaged), cloud.now)


@given(st.text(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_text_is_taken_for_a_key(cloud: Cloud, text: str) -> None:
    with pytest.raises(KeySignatureInvalid):
        activation_keys.read(text, cloud.now)


def test_other_tokens_of_ours_are_no_keys(cloud: Cloud, server: Server, customer_id: str) -> None:
    claims = rules.to_claims(issue(cloud, customer_id).key, "https://elsewhere.example")
    foreign_issuer = ring.sign("key", "key+jwt", claims, cloud.now)
    other_use = ring.sign("server", "key+jwt", claims, cloud.now)
    unsigned = jwt.encode(claims, None, "none", {"typ": "key+jwt"})
    for token in (server.token, foreign_issuer, other_use, unsigned):
        with pytest.raises(KeySignatureInvalid):
            activation_keys.read(rules.wrap(token), cloud.now)


def test_hundreds_of_companies_fit_into_a_key_and_are_imported_at_once(cloud: Cloud, customer_id: str) -> None:
    from stdnum.br import cnpj

    numbers = (f"{n:08d}0001" for n in range(1, 601))
    companies = {f"BR{number}{cnpj.calc_check_digits(number)}": f"Filial {n}" for n, number in enumerate(numbers)}
    issued = issue(cloud, customer_id, companies=companies)
    preview = activation_keys.preview(customer_id, issued.text, cloud.now)
    assert len(preview.changes.added) == 600
    with faults(cloud, "dynamodb", "none", times=0):
        activation_keys.import_key(customer_id, preview.preview_id, VENDOR, cloud.now)
    current = activation_keys.current_key(customer_id, cloud.now)
    assert current is not None
    assert len(current.key.companies) == 600


def test_a_key_that_could_not_be_imported_is_not_issued(
    cloud: Cloud, customer_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = len(rules.unwrap(issue(cloud, customer_id).text)[0])
    monkeypatch.setattr(rules, "LONGEST_KEY", fits + 10)
    longer = {TAX_ID: "Officine Lombarde di Milano", SECOND: "Officine Brasil"}
    with pytest.raises(InvalidRequest):
        issue(cloud, customer_id, companies=longer)
    assert len(activation_keys.issued(customer_id)) == 1


# ── importing ──


def test_the_preview_says_which_companies_change_and_nothing_changes_by_looking(cloud: Cloud, customer_id: str) -> None:
    take(cloud, customer_id, issue(cloud, customer_id))
    issued = issue(cloud, customer_id, companies={TAX_ID: "Officine Lombarde S.p.A.", THIRD: "Officine Nord"})
    preview = activation_keys.preview(customer_id, issued.text, cloud.now)
    assert preview.changes.added == {THIRD: "Officine Nord"}
    assert preview.changes.changed == {TAX_ID: "Officine Lombarde S.p.A."}
    assert preview.changes.removed == {SECOND: "Officine Brasil"}
    current = activation_keys.current_key(customer_id, cloud.now)
    assert current is not None
    assert current.key.serial == 1


def test_keys_that_must_not_be_imported_are_refused_with_the_reason(cloud: Cloud, customer_id: str) -> None:
    other = accounts.find_by_tax_id("ESA58818501")
    assert other
    day = today(cloud)
    old, newest = issue(cloud, customer_id), issue(cloud, customer_id)
    take(cloud, customer_id, newest)
    cases: list[tuple[str, type[LicensingError]]] = [
        (old.text, KeySuperseded),
        (issue(cloud, customer_id, last_day=day - timedelta(days=2)).text, KeyExpired),
        (issue(cloud, customer_id, first_day=day + timedelta(days=2)).text, KeyNotYetValid),
        (issue(cloud, other, companies={"ESA58818501": "Hotel"}).text, KeyForeignCompany),
        (issue(cloud, customer_id, group="another").text, KeyMixedGroups),
        (newest.text + issue(cloud, other, companies={"ESA58818501": "Hotel"}).text, KeyMixedGroups),
        (newest.text[:-80], KeySignatureInvalid),
        ("", KeySignatureInvalid),
    ]
    for text, error in cases:
        with pytest.raises(error):
            activation_keys.preview(customer_id, text, cloud.now)


@pytest.mark.parametrize(
    "tax_id",
    [
        "",
        " ",
        "IT00743110158",
        "BR12345678000196",
        "XX1",
        "IT０0743110157",
        "IT00743110157\x00",
        "IT" + "9" * 500,
        "'--",
    ],
)
def test_a_key_is_not_issued_for_what_is_no_tax_id(cloud: Cloud, customer_id: str, tax_id: str) -> None:
    token = cloud.post("/local/users/marta.conti@aurora.example/token", b"").json()["access_token"]
    companies = [{"tax_id": "IT00743110157", "name": "Officine"}, {"tax_id": tax_id, "name": "X"}]
    days = {"first_day": str(today(cloud)), "last_day": str(today(cloud) + timedelta(days=300))}
    asked = {"customer_id": customer_id, "companies": companies, "concurrent": {"erp": 1}, **days}
    before = len(activation_keys.issued(customer_id))
    answer = cloud.post("/v1/keys", asked, authorization=f"Bearer {token}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in ("TAX_ID_INVALID", "INVALID_REQUEST")
    assert len(activation_keys.issued(customer_id)) == before


def test_no_two_customers_keys_name_one_company(cloud: Cloud, customer_id: str) -> None:
    other = accounts.find_by_tax_id("ESA58818501")
    assert other
    hotel = {"ESA58818501": "Hotel", SECOND: "Officine Brasil"}
    issue(cloud, customer_id)
    with pytest.raises(KeyMixedGroups):
        issue(cloud, other, companies=hotel)
    issue(cloud, customer_id, companies={TAX_ID: "Officine Lombarde"})
    with pytest.raises(KeyMixedGroups):  # claimed a moment ago: a key that names it may be on its way
        issue(cloud, other, companies=hotel)
    cloud.stack.clock.advance(timedelta(minutes=6))
    assert issue(cloud, other, companies=hotel).key.companies == hotel
    with pytest.raises(KeyMixedGroups):
        issue(cloud, customer_id)


def test_a_key_is_not_issued_for_companies_of_another_group(cloud: Cloud, customer_id: str) -> None:
    other = accounts.find_by_tax_id("ESA58818501")
    assert other
    take(cloud, other, issue(cloud, other, companies={"ESA58818501": "Hotel"}))
    with pytest.raises(KeyMixedGroups):
        issue(cloud, customer_id, companies={**GROUP, "ESA58818501": "Hotel"})


def test_importing_again_changes_nothing_and_an_old_preview_is_refused(cloud: Cloud, customer_id: str) -> None:
    first = activation_keys.preview(customer_id, issue(cloud, customer_id).text, cloud.now)
    second = activation_keys.preview(customer_id, issue(cloud, customer_id).text, cloud.now)
    for _ in range(2):
        activation_keys.import_key(customer_id, second.preview_id, VENDOR, cloud.now)
    with pytest.raises(KeySuperseded):
        activation_keys.import_key(customer_id, first.preview_id, VENDOR, cloud.now)
    third, fourth = (activation_keys.preview(customer_id, issue(cloud, customer_id).text, cloud.now) for _ in range(2))
    activation_keys.import_key(customer_id, third.preview_id, VENDOR, cloud.now)
    with pytest.raises(PreviewStale):
        activation_keys.import_key(customer_id, fourth.preview_id, VENDOR, cloud.now)
    with pytest.raises(NotFound):
        activation_keys.import_key(customer_id, identity.new_id("pre", cloud.now), VENDOR, cloud.now)


@pytest.mark.parametrize("fault", ["timeout_after", "timeout_before", "throttle"])
@pytest.mark.slow
def test_an_interrupted_import_is_completed_by_a_repeat(
    cloud: Cloud, server: Server, customer_id: str, fault: str
) -> None:
    preview = activation_keys.preview(customer_id, issue(cloud, customer_id).text, cloud.now)
    for calls in range(1, 12):
        with dying_after(cloud, calls, fault) as hit:
            try:
                activation_keys.import_key(customer_id, preview.preview_id, VENDOR, cloud.now)
            except LicensingError:
                assert hit
        activation_keys.import_key(customer_id, preview.preview_id, VENDOR, cloud.now)
        pool = key_pool(cloud, server, customer_id)
        state = pool.look()
        assert state.undealt + sum(each.quota for each in seat_store.segments(pool.pool_id)) == 4
        preview = activation_keys.preview(customer_id, issue(cloud, customer_id).text, cloud.now)


@contextmanager
def dying_after(cloud: Cloud, calls: int, fault: str) -> Iterator[list[str]]:
    """From this call on nothing gets through, as for a process that dies there."""
    seen = count()
    with faults(cloud, "dynamodb", fault) as hit:
        intercept = cloud.stack.aws.interceptor
        assert intercept is not None
        cloud.stack.aws.interceptor = lambda event, request: intercept(event, request) if next(seen) >= calls else None
        yield hit


# ── seats of a key ──


def test_all_companies_of_the_group_share_the_pool(cloud: Cloud, server: Server, customer_id: str) -> None:
    take(cloud, customer_id, issue(cloud, customer_id))
    pool = key_pool(cloud, server, customer_id)
    stations = [replace(each, company=(TAX_ID, SECOND)[n % 2]) for n, each in enumerate(crowd(pool, 5))]
    assert [station.lease().status_code for station in stations] == [201] * 4 + [409]
    stations[0].company = SECOND
    assert stations[0].lease().status_code == 200
    rows = seats.live(customer_id, pool.pool_id, cloud.now, with_ids=False)
    assert [row.company_tax_id for row in rows] == [SECOND, SECOND, TAX_ID, SECOND]
    assert problem(Station(pool, company=THIRD).lease()) == (403, "KEY_FOREIGN_COMPANY")


def test_a_seat_is_over_once_the_key_does_not_name_its_company(cloud: Cloud, server: Server, customer_id: str) -> None:
    take(cloud, customer_id, issue(cloud, customer_id))
    pool = key_pool(cloud, server, customer_id)
    station = Station(pool, company=SECOND)
    station.lease()
    take(cloud, customer_id, issue(cloud, customer_id, companies={TAX_ID: "Officine Lombarde"}))
    seats.forget()
    assert problem(station.heartbeat()) == (403, "KEY_FOREIGN_COMPANY")
    assert pool.in_use() == 0
    assert problem(station.heartbeat()) == (410, "SEAT_LOST")


def test_a_company_that_was_admitted_a_moment_ago_is_refused_once_another_key_is_current(
    cloud: Cloud, server: Server, customer_id: str
) -> None:
    take(cloud, customer_id, issue(cloud, customer_id))
    pool = key_pool(cloud, server, customer_id)
    assert Station(pool).lease().status_code == 201
    pool.pass_seconds(30)
    assert Station(pool, os_user="marco", company=SECOND).lease().status_code == 201
    take(cloud, customer_id, issue(cloud, customer_id, companies={TAX_ID: "Officine Lombarde"}))
    pool.pass_seconds(30)
    assert problem(Station(pool, os_user="anna", company=SECOND).lease()) == (403, "KEY_FOREIGN_COMPANY")


def test_a_company_begins_to_work_within_the_key_s_quota(cloud: Cloud, server: Server, customer_id: str) -> None:
    take(cloud, customer_id, issue(cloud, customer_id, company_quota=1))
    pool = key_pool(cloud, server, customer_id)
    first, other = crowd(pool, 2)
    other.company = SECOND
    assert first.lease().status_code == 201
    assert companies.of(customer_id) == {TAX_ID: "Officine Lombarde"}
    assert problem(other.lease()) == (409, "COMPANY_LIMIT_REACHED")
    companies.remove(customer_id, TAX_ID, VENDOR, cloud.now)
    assert other.lease().status_code == 201
    told = [each.subject_id for each in OperationItem.scan() if each.action == "company.created"]
    assert sorted(told) == sorted([TAX_ID, SECOND])


def test_where_there_is_no_key_whoever_asks_for_an_application_s_pool_is_told_so(
    cloud: Cloud, server: Server, customer_id: str
) -> None:
    pool = key_pool(cloud, server, customer_id)
    station = Station(pool)
    assert problem(station.call("GET", "/v1/pools?application=erp")) == (403, "KEY_MISSING")
    take(cloud, customer_id, issue(cloud, customer_id))
    seats.forget()
    (found,) = station.call("GET", "/v1/pools?application=erp").json()["items"]
    assert found["pool_id"] == pool.pool_id
    assert station.call("GET", "/v1/pools?application=crm").json()["items"] == []


def test_support_users_use_no_seat_up_to_three_and_count_from_the_fourth(
    cloud: Cloud, server: Server, customer_id: str
) -> None:
    take(cloud, customer_id, issue(cloud, customer_id))
    pool = key_pool(cloud, server, customer_id)
    support = [replace(each, user_code=f"SUP{n}") for n, each in enumerate(crowd(pool, 5))]
    assert [station.lease().json()["support"] for station in support] == [True, True, True, False, False]
    assert pool.in_use() == 2
    assert [station.lease().status_code for station in support] == [200] * 5
    assert support[0].heartbeat().status_code == 200
    assert support[0].close().status_code == 204
    assert support[3].lease().json()["support"] is False, "who has a seat keeps it"
    shown = support[1].call("GET", f"/v1/pools/{pool.pool_id}").json()
    assert (shown["in_use"], shown["support_in_use"]) == (2, 2)
    rows = seats.live(customer_id, pool.pool_id, cloud.now, with_ids=True)
    assert [row.support for row in rows] == [False, False, True, True]
    assert rows[-1].seat_id
    seats.force_release(customer_id, pool.pool_id, rows[-1].seat_id, VENDOR, cloud.now)
    assert len(seats.live(customer_id, pool.pool_id, cloud.now, with_ids=True)) == 3


def test_a_key_pool_outlives_its_renewal_and_the_peak_is_reset_where_asked(
    cloud: Cloud, server: Server, customer_id: str
) -> None:
    take(cloud, customer_id, issue(cloud, customer_id))
    pool = key_pool(cloud, server, customer_id)
    stations = crowd(pool, 4)
    for station in stations:
        station.lease()
    pool.pass_seconds(1)
    stations[0].close()
    cloud.work_off_streams()
    pool.pass_seconds(60)
    take(cloud, customer_id, issue(cloud, customer_id, concurrent={"erp": 6}))
    seats.forget()
    assert seats.state_of(customer_id, pool.pool_id, cloud.now).peak == 4
    assert stations[1].heartbeat().json()["capacity"] == 6
    pool.pass_seconds(60)
    take(cloud, customer_id, issue(cloud, customer_id, concurrent={"erp": 6}), reset_peak=True)
    assert seats.state_of(customer_id, pool.pool_id, cloud.now).peak == 3


def test_a_new_key_reaches_the_pool_within_a_minute_even_if_its_import_died_after_the_write(
    cloud: Cloud, server: Server, customer_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(cloud, customer_id, issue(cloud, customer_id))
    pool = key_pool(cloud, server, customer_id)
    stations = crowd(pool, 6)
    assert [station.lease().status_code for station in stations[:5]] == [201] * 4 + [409]
    monkeypatch.setattr(activation_keys, "_follow", lambda key, now: None)
    take(cloud, customer_id, issue(cloud, customer_id, concurrent={"erp": 5}))
    pool.pass_seconds(60)
    assert [station.lease().status_code for station in stations] == [200] * 4 + [201, 409]


def test_an_import_that_is_completed_late_leaves_the_pool_to_the_newer_key(
    cloud: Cloud, server: Server, customer_id: str
) -> None:
    late = take(cloud, customer_id, issue(cloud, customer_id))
    newer = take(cloud, customer_id, issue(cloud, customer_id, concurrent={"erp": 6}))
    seats.open_pool(late.pool("erp"), cloud.now)
    kept = key_pool(cloud, server, customer_id).look().pool
    assert (kept.key_id, kept.capacity) == (newer.key_id, 6)


def test_after_the_last_day_nobody_is_seated_and_no_lease_goes_on(
    cloud: Cloud, server: Server, customer_id: str
) -> None:
    take(cloud, customer_id, issue(cloud, customer_id, last_day=today(cloud) + timedelta(days=2)))
    pool = key_pool(cloud, server, customer_id)
    station = Station(pool)
    assert station.lease().json()["warnings"][0] == {
        "code": "KEY_EXPIRING", "days_left": 2,
        "detail": f"The activation key ends in 2 days, on {today(cloud) + timedelta(days=2)}.",
    }  # fmt: skip
    ends_at = pool.look().pool.ends_at
    assert ends_at
    cloud.stack.clock.set(ends_at)
    assert problem(station.heartbeat()) == (403, "KEY_EXPIRED")
    assert problem(station.lease()) == (403, "KEY_EXPIRED")
    assert station.close().status_code == 204


def test_an_application_that_the_new_key_does_not_name_offers_nothing_and_who_is_in_may_finish(
    cloud: Cloud, server: Server, customer_id: str
) -> None:
    take(cloud, customer_id, issue(cloud, customer_id))
    pool = key_pool(cloud, server, customer_id)
    station = Station(pool)
    station.lease()
    take(cloud, customer_id, issue(cloud, customer_id, concurrent={"crm": 2}))
    seats.forget()
    assert problem(Station(pool, os_user="marco").lease()) == (409, "SEAT_LIMIT_REACHED")
    assert station.heartbeat().status_code == 200
    assert pool.look().pool.capacity == 0


# ── companies ──


def test_a_company_needs_a_key_that_names_it_and_is_valid(cloud: Cloud, customer_id: str) -> None:
    def create(tax_id: str) -> str:
        return companies.create(customer_id, tax_id, "Officine", VENDOR, cloud.now)

    with pytest.raises(KeyMissing):
        create(TAX_ID)
    take(cloud, customer_id, issue(cloud, customer_id, last_day=today(cloud)))
    assert create("12.345.678/0001-95") == SECOND
    with pytest.raises(KeyForeignCompany):
        create(THIRD)
    with pytest.raises(CompanyExists):
        create(SECOND)
    companies.edit(customer_id, SECOND, "Officine do Brasil", VENDOR, cloud.now)
    assert companies.of(customer_id) == {SECOND: "Officine do Brasil"}
    with pytest.raises(NotFound):
        companies.edit(customer_id, TAX_ID, "x", VENDOR, cloud.now)
    cloud.stack.clock.advance(timedelta(days=2))
    with pytest.raises(KeyExpired):
        create(TAX_ID)
    with pytest.raises(KeyExpired):
        companies.edit(customer_id, SECOND, "x", VENDOR, cloud.now)


def test_the_quota_of_companies_is_kept(cloud: Cloud, customer_id: str) -> None:
    take(cloud, customer_id, issue(cloud, customer_id, company_quota=1))
    companies.create(customer_id, SECOND, "Officine", VENDOR, cloud.now)
    with pytest.raises(CompanyLimitReached):
        companies.create(customer_id, TAX_ID, "Officine", VENDOR, cloud.now)
    companies.remove(customer_id, SECOND, VENDOR, cloud.now)
    with pytest.raises(NotFound):
        companies.remove(customer_id, SECOND, VENDOR, cloud.now)
    companies.create(customer_id, TAX_ID, "Officine", VENDOR, cloud.now)


# ── renewal ──


def test_the_renewed_key_is_sent_once_before_day_thirty_and_can_be_imported_at_once(
    cloud: Cloud, customer_id: str
) -> None:
    issued = issue(cloud, customer_id)
    take(cloud, customer_id, issued)
    sent: list[IssuedKey] = []
    for days in (300, 28, 1, 1, 1, 1):
        cloud.stack.clock.advance(timedelta(days=days))
        activation_keys.renew_due(cloud.now, sent.append)
    (renewal,) = sent
    assert (issued.key.last_day - renewal.key.first_day).days >= rules.RENEWED_BEFORE
    assert renewal.key.last_day == issued.key.last_day.replace(year=issued.key.last_day.year + 1)
    assert renewal.key.companies == issued.key.companies
    assert take(cloud, customer_id, renewal).serial == 2


def test_a_renewal_that_could_not_be_sent_is_sent_by_the_next_run_and_issued_once(
    cloud: Cloud, customer_id: str
) -> None:
    issue(cloud, customer_id, first_day=A_YEAR_AGO, last_day=today(cloud) + timedelta(days=33))
    sent: list[IssuedKey] = []

    def fail(issued: IssuedKey) -> None:
        sent.append(issued)
        raise seats.TemporarilyUnavailable

    with pytest.raises(activation_keys.RenewalsFailed):
        activation_keys.renew_due(cloud.now, fail)
    assert activation_keys.renew_due(cloud.now, sent.append) == 1
    assert activation_keys.renew_due(cloud.now, sent.append) == 0
    assert sent[0] == sent[1]
    assert len(activation_keys.issued(customer_id)) == 2


def test_a_trial_s_key_is_not_renewed_by_itself(cloud: Cloud, customer_id: str) -> None:
    issue(cloud, customer_id, last_day=today(cloud) + timedelta(days=30))
    assert activation_keys.renew_due(cloud.now, lambda issued: None) == 0
    assert len(activation_keys.issued(customer_id)) == 1


def test_the_schedule_mails_the_key_with_the_text_as_a_file(cloud: Cloud, customer_id: str) -> None:
    issue(cloud, customer_id, first_day=A_YEAR_AGO, last_day=today(cloud) + timedelta(days=33))
    (function, _), *_ = [
        (function, trigger)
        for function, trigger in cloud.stack.functions.triggers("ScheduleV2")
        if function.name == "RenewKeys"
    ]
    assert cloud.stack.invoke(function, {}) == {"sent": 1}
    assert not cloud.stack.guard.refused
    message = email.message_from_bytes(cloud.stack.aws.sent_mail[-1].raw_data.encode(), policy=email.policy.default)
    (attachment,) = message.iter_attachments()
    assert activation_keys.read(attachment.get_content(), cloud.now).serial == 2
    body = message.get_body()
    assert body is not None
    assert activation_keys.read(body.get_content(), cloud.now).serial == 2


def test_the_customer_can_ask_for_the_renewal_from_day_thirty_on(cloud: Cloud, customer_id: str) -> None:
    sent: list[IssuedKey] = []
    with pytest.raises(KeyMissing):
        activation_keys.request_renewal(customer_id, VENDOR, cloud.now, sent.append)
    take(cloud, customer_id, issue(cloud, customer_id, last_day=today(cloud) + timedelta(days=31)))
    with pytest.raises(KeyRenewalTooEarly):
        activation_keys.request_renewal(customer_id, VENDOR, cloud.now, sent.append)
    cloud.stack.clock.advance(timedelta(days=1))
    for _ in range(2):
        activation_keys.request_renewal(customer_id, VENDOR, cloud.now, sent.append)
    assert sent[0] == sent[1]
    assert activation_keys.renew_due(cloud.now, sent.append) == 0


def test_use_of_a_key_pool_is_told_to_the_log(cloud: Cloud, server: Server, customer_id: str) -> None:
    take(cloud, customer_id, issue(cloud, customer_id))
    pool = key_pool(cloud, server, customer_id)
    station, support = Station(pool), Station(pool, os_user="a", user_code="SUP1")
    station.lease()
    support.lease()
    pool.pass_seconds(30)
    station.close()
    for _ in range(2):
        cloud.work_off_streams()
        for stream in cloud.stack.streams:
            stream.rewind()
    seat_use.reset_peak(customer_id, pool.pool_id, VENDOR, cloud.now)
    actions = [each.action for each in OperationItem.scan() if each.pk.startswith(customer_id)]
    for action in ("key.issued", "key.imported", "seat.closed", "support.began", "peak.reset"):
        assert actions.count(action) == 1, action
