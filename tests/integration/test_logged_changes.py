"""Changes that are easily forgotten by the operation log (A9): each is there, once, and none where nothing changed."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from licensing import administration, alert_preferences, loading
from licensing.key_ring import ring
from licensing.log_reading import Filters, list_operations
from licensing.rules.operations import Origin
from licensing.rules.people import VENDOR
from licensing.store import alerts, key_sets
from licensing.store import people as people_store

from infra.operator import keys
from tests.support.cloud import TAX_ID, Cloud, Server
from tests.support.seats import Station, concurrent_pool
from tests.support.visitor import GIULIA, Caller

SOMEBODY = Origin("vendor", "marta", "Marta Rossi", "192.0.2.7")


def customer_id() -> str:
    return administration.find_account(TAX_ID).customer.customer_id


def told(cloud: Cloud, owner: str, action: str) -> list[Any]:
    return list(list_operations(owner, cloud.now, filters=Filters(action=action), limit=1000, newest_first=False).items)


def test_loading_a_file_tells_what_it_changed_of_the_vendor_catalogue_and_resellers_once(cloud: Cloud) -> None:
    document = {
        "vendor": {"name": "Aurora Nuova"},
        "applications": [{"id": "chat", "name": "Chat", "unit": "users"}],
        "products": [{"sku": "CHAT-1", "application": "chat", "name": "Chat", "type": "perpetual"}],
        "resellers": [{"name": "Acme", "tax_id": "FR40303265045", "country": "FR"}],
    }
    before = len(told(cloud, VENDOR, "vendor.changed"))
    for _ in range(2):
        loading.load(document, cloud.now, by=SOMEBODY)
    assert len(told(cloud, VENDOR, "vendor.changed")) == before + 1
    [catalogue] = [each for each in told(cloud, VENDOR, "catalogue.") if each.by.name]
    assert (catalogue.by.name, catalogue.details) == ("Marta Rossi", {"changed": "chat, CHAT-1"})
    [reseller] = [each for each in people_store.resellers().values() if each.name == "Acme"]
    assert [each.action for each in told(cloud, reseller.reseller_id, "")] == ["reseller.created"]
    document["resellers"][0]["country"] = "BE"  # type: ignore[index]
    loading.load(document, cloud.now + timedelta(seconds=1), by=SOMEBODY)
    cloud.stack.clock.advance(timedelta(seconds=2))
    assert [each.action for each in told(cloud, reseller.reseller_id, "")] == ["reseller.created", "reseller.changed"]


def test_a_seat_that_is_borrowed_and_given_back_early_is_told(cloud: Cloud, server: Server) -> None:
    pool = concurrent_pool(cloud, server, 3)
    station = Station(pool)
    seat = station.lease().json()["seat_id"]
    for _ in range(2):
        station.call("POST", f"/v1/seats/{seat}/borrow", {"days": 3})
    for _ in range(2):
        station.call("POST", f"/v1/seats/{seat}/return")
    [borrowed] = told(cloud, customer_id(), "seat.borrowed")
    [returned] = told(cloud, customer_id(), "seat.returned")
    assert borrowed.by.kind == "server"
    assert borrowed.by.name
    assert borrowed.by.address
    assert "until" in borrowed.details
    assert returned.subject_id == borrowed.subject_id
    seat = station.lease().json()["seat_id"]
    station.call("POST", f"/v1/seats/{seat}/return")  # not a borrowed one
    assert len(told(cloud, customer_id(), "seat.returned")) == 1
    assert cloud.stack.guard.refused == []


@pytest.fixture
def key_set() -> Iterator[None]:
    """Puts it back: it outlives the demo data."""
    remembered = key_sets.KeySetItem.get("KEYSET", "KEYSET")
    yield
    remembered.save()
    ring.forget()


@pytest.mark.usefixtures("key_set")
def test_each_step_of_a_signing_key_is_told_in_the_vendor_s_log(cloud: Cloud) -> None:
    root, was = f"kms:{cloud.stack.outputs['RootKeyArn']}", key_sets.get()
    assert was
    old = next(each.kid for each in was.key_set.keys if (each.use, each.stage) == ("seat", "signing"))
    new = keys.publish(root, "seat", "kms", cloud.now, SOMEBODY).kid
    keys.switch(root, new, cloud.now, at_once=True, by=SOMEBODY)
    keys.change(root, cloud.now, lambda each: keys.rules.revoke(each, old, cloud.now), SOMEBODY)
    never = keys.publish(root, "seat", "kms", cloud.now, SOMEBODY).kid
    keys.change(root, cloud.now, lambda each: keys.rules.withdraw(each, never), SOMEBODY)
    steps = {
        (each.action.partition(".")[2], each.subject_id) for each in told(cloud, VENDOR, "signing_key.") if each.by.name
    }
    assert steps == {
        ("published", new), ("switched", new), ("revoked", old), ("published", never), ("withdrawn", never),
    }  # fmt: skip


def test_what_a_user_does_without_is_told_where_it_changed(cloud: Cloud) -> None:
    caller = Caller(cloud, GIULIA)
    for _ in range(2):
        assert caller.call("PUT", "/v1/alert-preferences", {"unsubscribed": ["silence"]}).status_code == 200
    [changed] = told(cloud, customer_id(), "alert.preferences_changed")
    assert (changed.by.id, changed.details) == (changed.subject_id, {"unsubscribed": "silence"})
    assert cloud.stack.guard.refused == []


def test_a_contact_that_unsubscribes_by_its_link_is_told_in_its_customer_s_log(cloud: Cloud) -> None:
    contact = "anna@acme.example"
    acme = {"name": "Acme", "tax_id": "FR40303265045", "country": "FR", "time_zone": "Europe/Paris"}
    loading.load({"customers": [acme | {"contacts": [{"name": "Anna", "email": contact}]}]}, cloud.now)
    for _ in range(2):
        alert_preferences.unsubscribe(alerts.address(contact).token, Origin("anyone", address="192.0.2.9"), cloud.now)
    [changed] = told(
        cloud, administration.find_account(acme["tax_id"]).customer.customer_id, "alert.preferences_changed"
    )
    assert (changed.by.name, changed.by.address) == (contact, "192.0.2.9")
    assert changed.details == {"unsubscribed": "expiry, silence"}
