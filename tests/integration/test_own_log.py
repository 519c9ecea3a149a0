"""The vendor's and resellers' own operation log: read, exported, verified, sealed and cut like a customer's (A9, F6)."""

from datetime import timedelta
from typing import Any

import pytest
from licensing import log_cleanup, people, sealing
from licensing.rules.operations import Origin
from licensing.rules.people import VENDOR, Invitation
from licensing.store import operations as store
from licensing.store import people as people_store
from licensing.store.seals import HeadItem

from tests.integration.test_log import everything, happened, ids
from tests.support.browser import Browser
from tests.support.cloud import Cloud
from tests.support.visitor import ENRICO, GIULIA, MARTA, PAOLO, Caller

SOMEBODY = Origin("vendor", "marta", "Marta Rossi", "192.0.2.7")


def reseller_of(email: str) -> str:
    user = people_store.find_by_email(email)
    assert user
    return user.organization


def test_the_vendor_reads_its_own_log_and_a_reseller_its_own(cloud: Cloud) -> None:
    reseller_id = reseller_of(PAOLO)
    people.invite(Invitation("anna@aurora.example", VENDOR, ()), SOMEBODY, cloud.now)
    people.invite(Invitation("ugo@tp.example", reseller_id, ()), SOMEBODY, cloud.now)
    for email, owner in ((MARTA, VENDOR), (MARTA, reseller_id), (PAOLO, reseller_id)):
        found = Caller(cloud, email).call("GET", f"/v1/teams/{owner}/operations?action=person.invited")
        assert found.status_code == 200, found.text
        [told] = found.json()["items"]
        assert told["actor_name"] == "Marta Rossi"
        visitor = Browser(cloud).signed_in(email)
        visitor.get(f"/portal/teams/{owner}/log")
        assert "Person invited Marta Rossi" in visitor.text
    for path in (f"/v1/teams/{VENDOR}/operations", f"/v1/teams/{VENDOR}/operations/seal"):
        assert Caller(cloud, PAOLO).call("GET", path).status_code == 404
        assert Caller(cloud, GIULIA).call("GET", path).status_code == 404
    assert Caller(cloud, MARTA).call("GET", "/v1/teams/res_unknown/operations/seal").status_code == 404
    assert cloud.stack.guard.refused == []


@pytest.mark.parametrize("email", [MARTA, PAOLO])
def test_own_logs_are_exported_and_verified(cloud: Cloud, email: str) -> None:
    cloud.stack.clock.advance(timedelta(days=10))
    owner = reseller_of(email)
    at = cloud.now - timedelta(days=4)
    happened(owner, at, by=SOMEBODY, action="person.invited")
    assert log_cleanup.clean(owner, cloud.now).sealed_days == 2  # and that on which the demo data were loaded
    verified = Caller(cloud, email).call("GET", f"/v1/teams/{owner}/operations/seal").json()
    assert (verified["intact"], verified["days"]) == (True, 2)
    visitor, base = Browser(cloud).signed_in(email), f"/portal/teams/{owner}/log"
    visitor.get(f"{base}/verify?from={at:%Y-%m-%d}")
    assert "Nothing was altered, removed or added." in visitor.text
    visitor.get(f"{base}/export")
    assert "person.invited" in visitor.get(f"{base}/export/csv?action=person.").text
    assert cloud.stack.guard.refused == []


def test_a_log_offers_only_actions_that_can_be_in_it(cloud: Cloud) -> None:
    visitor = Browser(cloud).signed_in(GIULIA)
    visitor.get(f"/portal/customers/{reseller_of(GIULIA)}/log")
    assert "server.validated" in visitor.page
    assert not any(name in visitor.page for name in ("webhook.", "reseller.", "vendor.changed", "signing_key."))
    visitor = Browser(cloud).signed_in(MARTA)
    visitor.get(f"/portal/teams/{VENDOR}/log")
    assert "webhook.deleted" in visitor.page
    assert not any(name in visitor.page for name in ("server.", "order.", "log.retention_changed"))


def test_own_logs_are_sealed_and_cut_by_the_schedule_after_a_year(cloud: Cloud) -> None:
    owners = (VENDOR, reseller_of(PAOLO))
    cloud.stack.clock.advance(timedelta(days=10))
    old, young = cloud.now - timedelta(days=3), cloud.now + timedelta(days=300)
    told: dict[str, Any] = {}
    for owner in owners:
        HeadItem(f"LOG#{owner}", "HEAD", sealed_through=str(old.date() - timedelta(days=1))).save()
        happened(owner, old, by=SOMEBODY, action="person.invited")
        told[owner] = happened(owner, young, by=SOMEBODY, action="person.removed")
    cloud.stack.clock.advance(timedelta(days=365))
    queued = cloud.http.post(f"{cloud.stack.sites[0].url}/local/schedules/CleanLogs/run").json()["result"]["queued"]
    assert queued == 16 + 1 + len(people_store.resellers())
    for owner in owners:
        assert store.page(owner, old.date()) == []
        found = everything(owner, cloud.now, newest_first=False)
        assert told[owner].operation_id in ids(found)
        assert "log.cut" in [each.action for each in found]
        verified = sealing.verify(owner, old.date(), cloud.now.date(), cloud.now)
        assert not verified.findings
        assert verified.cut
    assert cloud.stack.guard.refused == []


def test_who_has_no_team_has_no_log_of_one(cloud: Cloud) -> None:
    visitor = Browser(cloud).signed_in(ENRICO)
    assert visitor.get(f"/portal/teams/{VENDOR}/log").status_code == 404
    assert visitor.get(f"/portal/teams/{reseller_of(ENRICO)}/log").status_code == 403
