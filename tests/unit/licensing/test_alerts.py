"""What is due (F7): every step once, the most urgent after days without a run, nothing for an end that moved."""

import json
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from licensing.languages import language
from licensing.rules import alerts as rules
from licensing.rules.accounts import Account, Customer, Installation, License, OfflineGrant
from licensing.rules.activation_keys import Key as ActivationKey
from licensing.rules.alert_events import EVENT_TYPES, event
from licensing.rules.alert_texts import what, what_to_do
from licensing.rules.alerts import Alert, Finding, Group, People, Recipient, Subject
from licensing.rules.key_set import Key, KeySet, Use
from licensing.rules.people import User
from licensing.rules.reports import Report
from licensing.rules.sequence import ServerState
from licensing.rules.vendor import AlertDays, Catalogue, Contact, Product
from licensing.texts import english

DAYS = AlertDays()
END = date(2027, 3, 31)
LICENSE = Subject("license", "lic_1", "Fax Server", "FX-1", END, "Europe/Rome")
SILENCE = Subject("silence", "ins_1", "Milano", "pbx", END, "Europe/Rome")
SCHEMAS = Path(__file__).resolve().parents[3] / "docs" / "events"


def at(day: date, hour: int = 6) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def told_over(subject: Subject, runs: list[date], days: AlertDays = DAYS) -> list[Alert]:
    """What is told when the schedule runs on these days."""
    told: dict[str, int] = {}
    found = []
    for day in runs:
        for each, alert in rules.due_alerts([subject], told, days, at(day)):
            found.append(alert)
            told = {**told, each.key: alert.step}
    return found


def daily(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


# ── when ──


def test_each_threshold_is_told_on_its_day_and_the_end_on_the_day_after() -> None:
    found = told_over(LICENSE, daily(END - timedelta(days=100), END + timedelta(days=60)))
    assert [(each.step, each.days) for each in found] == [(n, n) for n in (-60, -30, -14, -7, -3, -1, 0, 1)]
    assert not any(each.passed_over for each in found)


def test_silence_is_told_on_days_three_seven_and_ten() -> None:
    found = told_over(SILENCE, daily(END, END + timedelta(days=100)))
    assert [each.days for each in found] == [3, 7, 10]


def test_an_outage_leaves_the_most_urgent_once_and_says_what_was_passed_over() -> None:
    runs = [END - timedelta(days=n) for n in (61, 60, 12, 11, 2)]
    found = told_over(LICENSE, runs)
    assert [(each.step, each.days, each.passed_over) for each in found] == [
        (-60, -60, ()), (-14, -12, (-30,)), (-3, -2, (-7,)),
    ]  # fmt: skip


def test_after_an_outage_over_the_end_only_the_end_is_told() -> None:
    [only] = told_over(LICENSE, daily(END + timedelta(days=20), END + timedelta(days=40)))
    assert (only.step, only.days) == (rules.ENDED, 20)


def test_what_ended_long_ago_is_no_news() -> None:
    assert told_over(LICENSE, daily(END + timedelta(days=32), END + timedelta(days=90))) == []


def test_an_end_that_moved_is_told_anew_and_never_twice() -> None:
    told: dict[str, int] = {}
    ends = {END - timedelta(days=30): END, END - timedelta(days=29): END + timedelta(days=5),
            END - timedelta(days=25): END + timedelta(days=5), END - timedelta(days=24): END}  # fmt: skip
    found = []
    for today, end in ends.items():
        moved = replace(LICENSE, day=end)
        for each, alert in rules.due_alerts([moved], told, DAYS, at(today)):
            told = rules.remembered(told, [moved], DAYS, at(today)) | {each.key: alert.step}
            found.append((alert.day, alert.step))
    assert found == [(END, -30), (END + timedelta(days=5), -60), (END + timedelta(days=5), -30)]


def test_thresholds_from_before_a_license_was_there_are_not_told() -> None:
    bought = END - timedelta(days=20)
    found = told_over(replace(LICENSE, known_since=bought), daily(bought, END))
    assert [each.step for each in found] == [-14, -7, -3, -1, 0]


def test_a_day_is_one_of_the_customer_s_calendar() -> None:
    evening = datetime(2027, 3, 1, 23, tzinfo=UTC)  # in Rome the 2nd has begun, in Manaus the 1st is not over
    assert rules.due(replace(LICENSE, day=date(2027, 4, 1)), None, DAYS, evening)
    assert rules.due(replace(LICENSE, day=date(2027, 4, 1), time_zone="America/Manaus"), -60, DAYS, evening) is None


def test_thresholds_are_the_vendor_s_to_set() -> None:
    days = AlertDays(before=(10, 90), silent=(5,))
    runs = daily(END - timedelta(days=100), END + timedelta(days=40))
    assert [each.step for each in told_over(LICENSE, runs, days)] == [-90, -10, 0, 1]
    assert [each.step for each in told_over(SILENCE, runs, days)] == [5, 10]


@pytest.mark.parametrize("kind", ["license", "silence"])
def test_what_must_be_known_is_told_whatever_the_vendor_sets(kind: Any) -> None:
    subject = replace(LICENSE, kind=kind)
    found = told_over(subject, daily(END - timedelta(days=100), END + timedelta(days=60)), AlertDays((), ()))
    assert [each.step for each in found] == ([10] if kind == "silence" else [0, 1])
    assert all(each.must_be_known for each in found)


@pytest.mark.parametrize(
    ("group", "name"),
    [("Nordljus Group", "Nordljus Group"), ("cus_01a2b3", "Nordljus Vård AB"), ("cus_other", "Nordljus Vård AB")],
)
def test_an_activation_key_is_known_by_a_name_and_machines_learn_its_group(group: str, name: str) -> None:
    key = ActivationKey("key_1", "cus_01a2b3", group, 1, {}, TODAY, TODAY + timedelta(days=7), "UTC", at(TODAY))
    subject = rules.activation_key(key, at(TODAY), "Nordljus Vård AB")
    told = rules.due(subject, None, DAYS, at(TODAY))
    assert told
    assert what(told, english) == f"The activation key of {name} ends in 7 days, on {subject.day}."
    assert event(finding("cus_01a2b3", told, to=()), told)[1]["key"] == {"key_id": "key_1", "group": group}


@given(st.sets(st.integers(0, 130)), st.booleans())
def test_whatever_days_it_runs_on_each_step_is_told_or_passed_over_once(days: set[int], silent: bool) -> None:
    begin = END - timedelta(days=70)
    runs = [begin + timedelta(days=n) for n in sorted(days)]
    subject = SILENCE if silent else LICENSE
    found = told_over(subject, [each for run in runs for each in (run, run)])
    said = [step for each in found for step in (*each.passed_over, each.step)]
    assert len(said) == len(set(said))
    assert all(each.step <= each.days for each in found)
    last = max(
        (day for day in runs if not rules.is_old(subject.day, rules.steps(subject.kind, DAYS), day)), default=None
    )
    reached = [step for step in rules.steps(subject.kind, DAYS) if last and subject.day + timedelta(days=step) <= last]
    assert said == reached


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_a_year_with_renewals_and_failed_runs_is_told_exactly(seed: int) -> None:
    """Day by day; what is expected is said by a second, simpler account of the rule."""
    chance = random.Random(seed)
    end, day = date(2027, 1, 20), date(2027, 1, 1)
    told: dict[str, int] = {}
    sent: list[tuple[date, int]] = []
    expected: list[tuple[date, int]] = []
    reached: dict[date, int] = {}
    for _ in range(365):
        if chance.random() < 0.02:
            end += timedelta(days=chance.choice([30, 90, 365]))
        for _ in range(chance.choice([0, 1, 1, 1, 2])):
            subject = replace(LICENSE, day=end, time_zone="UTC")
            due = rules.due_alerts([subject], told, DAYS, at(day))
            sent += [(alert.day, alert.step) for _, alert in due]
            told = rules.remembered(told, [subject], DAYS, at(day)) | {each.key: alert.step for each, alert in due}
            left = (end - day).days
            nearest = min((n for n in (*DAYS.before, -1) if left <= n), default=None)
            if nearest is not None and left >= -31 and reached.get(end, 1000) > nearest:
                expected.append((end, -nearest))
                reached[end] = nearest
        day += timedelta(days=1)
    assert sent == expected
    assert len(sent) == len(set(sent))


def test_what_was_told_is_remembered_as_long_as_it_matters() -> None:
    told = {LICENSE.key: -30, "license#lic_2#2020-01-01": 1, SILENCE.key: 10}
    later = at(END + timedelta(days=200))
    assert rules.remembered(told, [SILENCE], DAYS, later) == {SILENCE.key: 10}
    assert rules.remembered(told, [], DAYS, at(END)) == {LICENSE.key: -30, SILENCE.key: 10}


# ── of what ──

CUSTOMER = Customer(
    "cus_1", "Officine", "IT1", "IT", "Europe/Rome", "it", (Contact("Giulia", "giulia@officine.example"),)
)
CATALOGUE = Catalogue({}, {"SUB": Product("SUB", "fax", "Fax", "subscription"), "TRY": Product("TRY", "fax", "Fax", "trial"),
                           "PERP": Product("PERP", "fax", "Fax", "perpetual")})  # fmt: skip
TODAY = date(2026, 11, 25)


def account(*licenses: License, **installations: Installation) -> Account:
    return Account(CUSTOMER, installations, {each.license_id: each for each in licenses})


def lic(sku: str = "SUB", **members: Any) -> License:
    return License("lic_1", "FX-1", sku, 10, **{"last_day": END, **members})


def test_licenses_trials_and_care_end() -> None:
    found = list(rules.subjects_of(account(lic(care="GOLD", care_until=date(2027, 1, 31))), {}, {}, CATALOGUE))
    assert [(each.kind, each.day) for each in found] == [("license", END), ("care", date(2027, 1, 31))]
    [trial] = rules.subjects_of(account(lic("TRY")), {}, {}, CATALOGUE)
    assert trial.kind == "trial"
    [care] = rules.subjects_of(account(lic("PERP", last_day=None, care="GOLD", care_until=END)), {}, {}, CATALOGUE)
    assert care.kind == "care"


def test_care_beyond_the_license_is_of_no_use() -> None:
    [only] = rules.subjects_of(account(lic(care="GOLD", care_until=END + timedelta(days=1))), {}, {}, CATALOGUE)
    assert only.kind == "license"


@pytest.mark.parametrize("state", ["locked", "returned", "refunded"])
def test_nobody_is_told_of_a_license_that_is_not_theirs(state: Any) -> None:
    assert not list(rules.subjects_of(account(lic(state=state, care="A", care_until=END)), {}, {}, CATALOGUE))


def test_an_offline_license_ends_on_its_last_day_there() -> None:
    grant = OfflineGrant("jti", 1, at(TODAY), datetime(2027, 3, 31, 22, tzinfo=UTC))  # midnight in Rome
    [only] = rules.subjects_of(
        account(ins_1=Installation("ins_1", "Keller", "offline", offline=grant)), {}, {}, CATALOGUE
    )
    assert (only.kind, only.day) == ("offline_license", END)
    forever = Installation("ins_1", "Keller", "offline", offline=replace(grant, until=None))
    assert not list(rules.subjects_of(account(ins_1=forever), {}, {}, CATALOGUE))


def test_the_silence_of_a_server_counts_by_its_own_calendar() -> None:
    milano = account(lic(allocations={"ins_1": 5}), ins_1=Installation("ins_1", "Milano"))
    state = ServerState(held=True, validated_at=datetime(2026, 11, 20, 3, tzinfo=UTC),
                        report=Report(hostname="pbx", time_zone="America/Manaus"))  # fmt: skip
    found = [each for each in rules.subjects_of(milano, {"ins_1": state}, {}, CATALOGUE) if each.kind == "silence"]
    assert [(each.day, each.time_zone, each.code) for each in found] == [(date(2026, 11, 19), "America/Manaus", "pbx")]
    released = replace(state, held=False)
    assert "silence" not in {each.kind for each in rules.subjects_of(milano, {"ins_1": released}, {}, CATALOGUE)}


@pytest.mark.parametrize(
    ("license", "installation", "watched"),
    [
        (lic(allocations={"ins_1": 1}), Installation("ins_1", "A"), True),
        (lic(allocations={"ins_1": 1}), Installation("ins_1", "A", "offline"), False),
        (lic(allocations={"ins_1": 1}), Installation("ins_1", "A", disabled=True), False),
        (lic(), Installation("ins_1", "A"), False),
        (lic(allocations={"ins_1": 1}, last_day=TODAY), Installation("ins_1", "A"), True),
        (lic(allocations={"ins_1": 1}, last_day=TODAY - timedelta(days=1)), Installation("ins_1", "A"), False),
        (lic(allocations={"ins_1": 1}, first_day=TODAY + timedelta(days=1)), Installation("ins_1", "A"), False),
        (lic(allocations={"ins_1": 1}, state="suspended"), Installation("ins_1", "A"), False),
    ],
)
def test_silence_means_something_where_a_license_is_in_force(
    license: License, installation: Installation, watched: bool
) -> None:
    assert rules.watched_installations(account(license, ins_1=installation), at(TODAY)) == (
        ["ins_1"] if watched else []
    )


def test_signing_keys_are_due_after_a_year() -> None:
    keys = (
        Key("k1", "server", {}, "kms:1", "signing", at(TODAY)),
        Key("k2", "server", {}, "kms:2", "verifying", at(TODAY)),
    )
    [only] = rules.signing_keys(KeySet(1, keys), DAYS)
    assert (only.subject_id, only.day) == ("k1", TODAY + timedelta(days=365))


# ── to whom ──


def test_everybody_is_written_to_once_in_their_language() -> None:
    own = People(
        "customer", [User("u1", "Giulia@officine.example", "Giulia", "cus_1", language="es")], CUSTOMER.contacts, "it"
    )
    reseller = People("reseller", [User("u2", "paolo@padana.example", "Paolo", "res_1"), User("u3", "", "ERP", "res_1")],
                      (Contact("", "giulia@officine.example"), Contact("Desk", "")), "it")  # fmt: skip
    assert rules.recipients([own, reseller]) == (
        Recipient("Giulia@officine.example", "customer", "es", "Giulia"),
        Recipient("paolo@padana.example", "reseller", "it", "Paolo"),
    )


def alert(step: int = -14, kind: Any = "license", code: str = "FX-1", day: date = END) -> Alert:
    return Alert(kind, f"lic_{code}", "Fax", code, day, step, step, facts={"sku": "SUB", "type": "subscription"})


@pytest.mark.parametrize(
    ("told", "organization", "wanted"),
    [
        (alert(-14), "customer", False),
        (alert(0), "customer", True),
        (alert(1), "customer", True),
        (alert(0), "reseller", False),
        (alert(7, "silence"), "customer", True),  # another kind than the one done without
        (alert(-3, "care"), "vendor", False),
    ],
)
def test_people_can_do_without_alerts_but_not_without_what_stops_them(
    told: Alert, organization: Any, wanted: bool
) -> None:
    assert rules.is_wanted(told, organization, ("expiry",)) == wanted


def test_a_server_about_to_be_blocked_is_told_whatever_the_preferences() -> None:
    assert [rules.is_wanted(alert(n, "silence"), "customer", ("silence",)) for n in (3, 7, 10)] == [False, False, True]


# ── digests ──


def finding(customer_id: str, *alerts: Alert, to: tuple[Recipient, ...]) -> Finding:
    return Finding(customer_id, customer_id.upper(), "IT1", "Seller", at(TODAY), alerts, to)


GIULIA = Recipient("giulia@officine.example", "customer", "it")
PAOLO = Recipient("paolo@padana.example", "reseller", "it")


def test_one_digest_a_person_grouped_by_customer_the_most_urgent_first() -> None:
    found = [finding("cus_1", alert(-14), to=(GIULIA, PAOLO)), finding("cus_2", alert(0), alert(-60), to=(PAOLO,))]
    digests = rules.digests(found, TODAY)
    assert digests == rules.digests(reversed(found), TODAY)
    assert [each.customer_id for each in digests["paolo@padana.example"].groups] == ["cus_2", "cus_1"]
    assert [each.customer_id for each in digests["giulia@officine.example"].groups] == ["cus_1"]


def test_a_digest_shows_a_hundred_and_counts_the_others() -> None:
    found = [
        finding(f"cus_{n:03d}", *(alert(-14, code=f"FX-{n}-{i}") for i in range(3)), to=(PAOLO,)) for n in range(40)
    ]
    digest = rules.digests(found, TODAY)["paolo@padana.example"]
    assert sum(len(group.alerts) for group in digest.groups) == rules.MOST_SHOWN
    assert digest.more == 20


def test_somebody_of_two_organizations_gets_one_digest() -> None:
    as_vendor = replace(PAOLO, organization="vendor", email="Paolo@padana.example")
    found = [finding("cus_1", alert(), to=(PAOLO,)), finding("cus_2", alert(), to=(as_vendor,))]
    [digest] = rules.digests(found, TODAY).values()
    assert [group.organization for group in digest.groups] == ["reseller", "vendor"]


def test_what_was_found_after_the_day_s_digests_were_made_is_said_as_it_is_the_day_after() -> None:
    late = finding("cus_1", alert(-1), alert(7, "silence"), to=(PAOLO,))
    [digest] = rules.digests([late], TODAY + timedelta(days=1)).values()
    assert {each.kind: each.days for each in digest.groups[0].alerts} == {"license": 0, "silence": 8}


def test_of_one_end_a_digest_tells_the_most_urgent_step_only() -> None:
    found = [finding("cus_1", alert(step, day=day), to=(PAOLO,)) for step, day in ((-1, END), (0, END), (-1, TODAY))]
    [digest] = rules.digests(found, TODAY).values()
    assert sorted((each.step, each.day) for each in digest.groups[0].alerts) == [(-1, TODAY), (0, END)]


# ── words and events ──


@pytest.mark.parametrize(
    ("days", "said"),
    [(-14, "Fax ends in 14 days, on 2027-03-31."), (-1, "Fax ends tomorrow, 2027-03-31."),
     (0, "Fax ends today, 2027-03-31."), (3, "Fax ended on 2027-03-31.")],
)  # fmt: skip
def test_what_is_said_fits_the_day(days: int, said: str) -> None:
    assert what(replace(alert(), days=days), english) == said


def test_silence_says_when_the_server_will_be_blocked_or_that_it_is() -> None:
    assert "will be blocked on 2027-04-11" in what(alert(7, "silence"), english)
    assert "has been blocked since 2027-04-11" in what(replace(alert(10, "silence"), days=11), english)


ALL_KINDS: list[Any] = ["license", "trial", "care", "activation_key", "offline_license", "silence", "signing_key"]


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("organization", ["customer", "reseller", "vendor"])
def test_every_alert_says_what_to_do(kind: Any, organization: Any) -> None:
    said = what_to_do(alert(kind=kind), Group("cus_1", "C", "Padana", organization, ()), english)
    assert said.endswith((".", "keys switch."))
    assert "{" not in said
    assert ("reaches the internet" in said) == (kind == "silence")


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("step", [-14, 0, 1])
def test_every_event_is_as_its_schema_says(kind: Any, step: int) -> None:
    facts = {
        "sku": "SUB",
        "type": "subscription",
        "care": "GOLD",
        "use": "server",
        "group": "Grupo",
        "signing_since": "2026-01-01",
    }
    subject_id = {"silence": "ins_1", "offline_license": "ins_1", "activation_key": "key_1"}.get(kind, "lic_1")
    told = replace(alert(abs(step) + 2 if kind == "silence" else step, kind), facts=facts, subject_id=subject_id)
    event_type, detail = event(finding("cus_1", told, to=()), told)
    schema = json.loads((SCHEMAS / f"{event_type}.v1.json").read_text())
    jsonschema.validate(json.loads(json.dumps(detail)), schema, format_checker=jsonschema.FormatChecker())
    assert set(detail) == set(schema["required"])


def test_every_type_of_event_has_a_schema_and_every_schema_a_type() -> None:
    assert {path.name.partition(".")[0] for path in SCHEMAS.glob("*.v1.json")} == set(EVENT_TYPES)
    for path in SCHEMAS.glob("*.json"):
        jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))


def test_an_event_keeps_its_id_and_another_has_another() -> None:
    ids = {
        rules.event_id(of, each) for of in ("cus_1", "cus_2") for each in (alert(-14), alert(-7), alert(-14, "care"))
    }
    assert len(ids) == 6
    assert rules.event_id("cus_1", alert(-14)) == rules.event_id("cus_1", replace(alert(-14), days=-12))


@pytest.mark.parametrize("use", get_args(Use))
def test_a_signing_key_says_what_it_signs(use: Any) -> None:
    told = replace(alert(0, "signing_key"), name=use)
    said = {what(told, language(tag).text) for tag in ("en", "it", "es", "pt-BR", "sv")}
    assert len(said) == 5
    assert f"for {use} is due" not in what(told, english)


def test_a_sentence_that_ends_with_a_company_s_name_has_one_full_stop() -> None:
    group = Group("cus_1", "C", "Telefonia Padana S.r.l.", "customer", ())
    for tag in ("en", "it", "es", "pt-BR", "sv"):
        for kind in ("license", "trial", "care"):
            said = what_to_do(alert(kind=kind), group, language(tag).text)
            assert "S.r.l." in said
            assert said.endswith(".")
            assert not said.endswith("..")
