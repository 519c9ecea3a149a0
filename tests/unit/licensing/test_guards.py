"""The ordered list of guards (api.md, "Server"), and what an installation may use."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from licensing.rules.entitlements import Entitlement, Standing, messages
from licensing.rules.guards import GUARDS, Facts, Policy, judge
from licensing.rules.sequence import Kind

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LICENSE = Entitlement("AQ-1", "queueing", "Queueing", "channels", 20, "subscription", last_day=date(2027, 1, 31))
STANDING = Standing("cus_1", "Acme", "IT1", "Europe/Rome", "ins_1", "Milano", entitlements=(LICENSE,))
RELEASES = ("Summer 2019", "Winter 2020", "Summer 2021")
FACTS = Facts(STANDING, "advance", "1.2.0", "Summer 2021", Policy("1.0.0", "Winter 2020", RELEASES), NOW)

ENDED = replace(LICENSE, last_day=date(2026, 11, 21))
SUSPENDED = replace(LICENSE, state="suspended")
REFUNDED = replace(LICENSE, state="refunded")
UPCOMING = replace(LICENSE, first_day=date(2026, 11, 23))


def having(*entitlements: Entitlement) -> Facts:
    return replace(FACTS, standing=replace(STANDING, entitlements=entitlements))


def stepping(step: Kind) -> Facts:
    return replace(FACTS, step=step)


OBJECTIONS = {
    "INSTALLATION_RELEASED": stepping("released"),
    "INSTALLATION_DISABLED": replace(FACTS, standing=replace(STANDING, disabled=True)),
    "CUSTOMER_DELETED": replace(FACTS, standing=replace(STANDING, customer_deleted=True)),
    "CLONE_SUSPECTED": stepping("suspect"),
    "FINGERPRINT_MISMATCH": stepping("mismatch"),
    "AGENT_VERSION_TOO_OLD": replace(FACTS, agent_version="0.9"),
    "APP_VERSION_TOO_OLD": replace(FACTS, app_version="Summer 2019"),
    "OFFLINE_INSTALLATION": replace(FACTS, standing=replace(STANDING, mode="offline")),
    "NO_LICENSE": having(),
    "LICENSE_SUSPENDED": having(SUSPENDED),
    "LICENSE_REFUNDED": having(REFUNDED),
    "EXPIRED": having(ENDED),
}


def test_the_guards_stand_in_the_order_of_the_contract() -> None:
    assert [guard.code for guard in GUARDS] == list(OBJECTIONS)


@pytest.mark.parametrize("code", OBJECTIONS)
def test_each_guard_objects_by_its_code(code: str) -> None:
    final = {"INSTALLATION_RELEASED", "INSTALLATION_DISABLED", "CUSTOMER_DELETED", "LICENSE_REFUNDED", "EXPIRED"}
    verdict = judge(OBJECTIONS[code])
    assert (verdict.code, verdict.final, verdict.valid) == (code, code in final, False)


def test_nothing_to_object() -> None:
    assert judge(FACTS).valid


def test_the_first_that_objects_names_the_code() -> None:
    worst = Facts(
        replace(STANDING, disabled=True, customer_deleted=True, mode="offline", entitlements=()),
        "suspect", "0.1", "Summer 2019", FACTS.policy, NOW,
    )  # fmt: skip
    assert judge(worst).code == "INSTALLATION_DISABLED"
    assert judge(replace(worst, step="released")).code == "INSTALLATION_RELEASED"


def test_an_installation_that_is_gone_is_released() -> None:
    assert judge(replace(FACTS, standing=None)).code == "INSTALLATION_RELEASED"


@pytest.mark.parametrize(
    ("entitlements", "code"),
    [
        ((ENDED, LICENSE), "VALID"),
        ((SUSPENDED, LICENSE), "VALID"),
        ((SUSPENDED, ENDED), "LICENSE_SUSPENDED"),  # may be reinstated, so it must not be final
        ((REFUNDED, ENDED), "LICENSE_REFUNDED"),
        ((UPCOMING, ENDED), "NO_LICENSE"),  # a renewal that begins tomorrow must not end the server today
        ((UPCOMING, SUSPENDED), "LICENSE_SUSPENDED"),
        ((replace(SUSPENDED, last_day=date(2026, 1, 1)),), "EXPIRED"),
    ],
)
def test_mixtures(entitlements: tuple[Entitlement, ...], code: str) -> None:
    assert judge(having(*entitlements)).code == code


def test_the_last_day_is_included_where_the_customer_is() -> None:
    last = having(replace(LICENSE, last_day=date(2026, 11, 22)))
    assert judge(replace(last, now=datetime(2026, 11, 22, 22, 59, 59, tzinfo=UTC))).valid
    assert judge(replace(last, now=datetime(2026, 11, 22, 23, tzinfo=UTC))).code == "EXPIRED"


def test_a_products_own_minimum_refuses_only_that_entitlement() -> None:
    newer = replace(LICENSE, license_code="AQ-2", lowest_app_version="Summer 2021")
    facts = replace(having(LICENSE, newer), app_version="Winter 2020")
    assert judge(facts).valid
    assert facts.standing is not None
    assert facts.standing.usable(NOW, "Winter 2020", RELEASES) == [LICENSE]
    said = list(messages(facts.standing, NOW, notice_days=30, app_version="Winter 2020", releases=RELEASES))
    assert [(each.code, each.license_code) for each in said] == [("APP_VERSION_TOO_OLD", "AQ-2")]
    assert judge(replace(having(newer), app_version="Winter 2020")).code == "APP_VERSION_TOO_OLD"


def test_a_release_that_the_list_does_not_name_passes() -> None:
    assert judge(replace(FACTS, app_version="Spring 2031")).valid
    assert judge(replace(FACTS, app_version=None)).valid


@pytest.mark.parametrize(("version", "too_old"), [("1.0.0", False), ("1", False), ("0.9.9", True), ("1.10", False)])
def test_versions_compare_by_number(version: str, too_old: bool) -> None:
    assert (judge(replace(FACTS, agent_version=version)).code == "AGENT_VERSION_TOO_OLD") == too_old


@pytest.mark.parametrize(("last_day", "left"), [(22, 0), (23, 1), (29, 7)])
def test_what_is_about_to_end_is_said(last_day: int, left: int) -> None:
    standing = replace(STANDING, entitlements=(replace(LICENSE, last_day=date(2026, 11, last_day)),))
    said = list(messages(standing, NOW, notice_days=7, app_version=None, releases=()))
    assert [(each.code, each.days_left) for each in said] == [("LICENSE_EXPIRING", left)]


def test_what_ended_is_said_for_a_month() -> None:
    for last_day, codes in ((date(2026, 11, 21), ["LICENSE_EXPIRED"]), (date(2026, 10, 1), [])):
        standing = replace(STANDING, entitlements=(replace(LICENSE, last_day=last_day),))
        said = messages(standing, NOW, notice_days=7, app_version=None, releases=())
        assert [each.code for each in said] == codes


def test_care_that_is_about_to_end_is_said() -> None:
    standing = replace(STANDING, entitlements=(replace(LICENSE, care="GOLD", care_until=date(2026, 11, 25)),))
    said = list(messages(standing, NOW, notice_days=7, app_version=None, releases=()))
    assert [(each.code, each.days_left) for each in said] == [("CARE_EXPIRING", 3)]
