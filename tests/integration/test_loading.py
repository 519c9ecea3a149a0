"""The catalogue-and-customers file: a vendor begins with its own data, and keeps it current."""

from copy import deepcopy
from dataclasses import replace
from datetime import time
from typing import Any

import pytest
from licensing import administration, loading
from licensing.loading import LoadError
from licensing.store import accounts, standings

from tests.support.cloud import VENDOR, Cloud, Server

DOCUMENT: dict[str, Any] = {
    "applications": [{"id": "chat", "name": "Chat", "unit": "users", "modules": ["history"]}],
    "products": [
        {"sku": "CHAT-1", "application": "chat", "name": "Chat", "type": "subscription"},
        {"sku": "CHAT-P", "application": "chat", "name": "Chat for good", "type": "perpetual"},
    ],
    "customers": [
        {
            "name": "Acme",
            "tax_id": "FR40303265045",
            "country": "FR",
            "time_zone": "Europe/Paris",
            "contacts": [{"email": "it@acme.example"}],
            "installations": [{"name": "Paris"}],
            "licenses": [
                {
                    "code": "CHAT-0001",
                    "sku": "CHAT-1",
                    "quantity": 10,
                    "last_day": "2027-12-31",
                    "allocations": {"Paris": 10},
                }
            ],
        }
    ],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The document with one thing changed: ``customers.0.tax_id``."""
    document = deepcopy(DOCUMENT)
    node: Any = document
    *steps, last = path.split(".")
    for step in steps:
        node = node[int(step) if step.isdigit() else step]
    node[last] = value
    return document


def faults(document: dict[str, Any], cloud: Cloud) -> str:
    with pytest.raises(LoadError) as raised:
        loading.load(document, cloud.now)
    return "\n".join(raised.value.lines)


def test_a_new_customer_gets_activation_tokens_that_work(cloud: Cloud) -> None:
    report = loading.load(DOCUMENT, cloud.now)
    assert report.lines() == ["Acme: created"]
    [(customer, installation, token)] = report.activation_tokens
    assert (customer, installation) == ("Acme", "Paris")
    answer = Server(cloud).activate(token).json()
    assert [(each["name"], each["quantity"], each["unit"]) for each in answer["entitlements"]] == [
        ("Chat", 10, "users")
    ]


def test_loading_again_changes_nothing(cloud: Cloud) -> None:
    loading.load(DOCUMENT, cloud.now)
    report = loading.load(DOCUMENT, cloud.now)
    assert report.lines() == ["Acme: unchanged"]
    assert report.activation_tokens == []


def test_loading_again_keeps_ids_and_tokens(cloud: Cloud) -> None:
    loading.load(DOCUMENT, cloud.now)
    before = administration.find_account("FR40303265045")
    assert loading.load(changed("customers.0.licenses.0.quantity", 25), cloud.now).lines() == ["Acme: changed"]
    after = administration.find_account("FR40303265045")
    assert after.installations == before.installations
    assert after.licenses.keys() == before.licenses.keys()


def test_a_changed_catalogue_reaches_every_server(cloud: Cloud) -> None:
    [(_, _, token)] = loading.load(DOCUMENT, cloud.now).activation_tokens
    server = Server(cloud)
    server.activate(token)
    loading.load({"applications": [{**DOCUMENT["applications"][0], "name": "Talk"}]}, cloud.now)
    assert server.validate().json()["entitlements"][0]["name"] == "Talk"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("customers.0.tax_id", "FR40303265044", "customers[0].tax_id"),
        ("customers.0.time_zone", "Europe/Atlantis", "customers[0].time_zone"),
        ("customers.0.licenses.0.quantity", 0, "customers[0].licenses[0].quantity"),
        ("customers.0.licenses.0.quantity", 1.5, "customers[0].licenses[0].quantity"),
        ("customers.0.licenses.0.quantity", 9, "10 are assigned, the license has 9"),
        ("customers.0.licenses.0.allocations", {"Lyon": 1}, "unknown installations: Lyon"),
        ("customers.0.licenses.0.sku", "NONE", "there is no product NONE"),
        ("customers.0.licenses.0.modules", ["video"], "no such modules: video"),
        ("customers.0.licenses.0.last_day", None, "a subscription needs a last_day"),
        ("customers.0.licenses.0.first_day", "2028-01-01", "last_day comes before first_day"),
        ("customers.0.color", "red", "customers[0].color"),
        ("products.0.application", "none", "there is no application none"),
        ("customers", [DOCUMENT["customers"][0]] * 2, "more than once"),
        ("vendor", {"name": "V", "validation_window": {"from": "14:00", "to": "10:00"}}, "end later than it begins"),
        ("vendor", {"name": "V", "validation_window": {"from": "15:00"}}, "end later than it begins"),
        ("vendor", {"name": "V", "lowest_app_version": "X"}, "not among the releases"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_loaded(cloud: Cloud, path: str, value: Any, said: str) -> None:
    assert said in faults(changed(path, value), cloud)
    assert accounts.find_by_tax_id("FR40303265045") is None


@pytest.mark.parametrize("fault", ["FR40303265044", None])
def test_a_fault_in_one_customer_loads_none(cloud: Cloud, fault: str | None) -> None:
    document = deepcopy(DOCUMENT)
    bad = deepcopy(document["customers"][0])
    bad.update(name="Bad", tax_id=fault or "DE136695976")
    bad["licenses"][0].update(code="CHAT-0002", allocations={"Paris": 11})
    document["customers"].append(bad)
    document["applications"][0]["name"] = "Talk"
    faults(document, cloud)
    assert accounts.find_by_tax_id("FR40303265045") is None
    assert "chat" not in loading.vendor_store.catalogue().applications


def test_what_the_file_does_not_mention_stays(cloud: Cloud) -> None:
    loading.load(changed("customers.0.log_retention_days", 30), cloud.now)
    before = administration.find_account("FR40303265045")
    told = {"name": "Acme SA", "tax_id": "FR40303265045", "country": "FR", "time_zone": "Europe/Paris"}
    license = {"code": "CHAT-0001", "sku": "CHAT-1", "quantity": 12}
    loading.load({"customers": [{**told, "installations": [{"name": "Paris"}], "licenses": [license]}]}, cloud.now)
    after = administration.find_account("FR40303265045")
    assert after.customer == replace(before.customer, name="Acme SA")
    assert after.installations == before.installations
    [(key, was)] = before.licenses.items()
    assert after.licenses == {key: replace(was, quantity=12)}


def test_what_the_vendor_and_catalogue_parts_do_not_mention_stays(cloud: Cloud) -> None:
    full = {
        "name": "V", "releases": ["A", "B"], "lowest_app_version": "A", "notice_days": 9,
        "contact": {"name": "Desk", "email": "desk@v.example", "phone": "1"},
        "agent": {"latest": "2.0", "lowest": "1.0", "download_url": "https://v.example"},
        "validation_window": {"from": "02:00", "to": "04:00"},
    }  # fmt: skip
    product = {**DOCUMENT["products"][0], "units_per_sku": 5, "cloud_services": False, "lowest_app_version": "B"}
    loading.load({**DOCUMENT, "vendor": full, "products": [product]}, cloud.now)
    vendor, catalogue = loading.vendor_store.get(), loading.vendor_store.catalogue()
    less = {
        "name": "V", "lowest_app_version": "B", "agent": {"latest": "2.1"}, "contact": {"email": "new@v.example"},
        "validation_window": {"to": "05:00"},
    }  # fmt: skip
    named = [{key: part[key] for key in ("id", "name", "unit")} for part in DOCUMENT["applications"]]
    loading.load({"vendor": less, "applications": named, "products": DOCUMENT["products"][:1]}, cloud.now)
    assert loading.vendor_store.catalogue() == catalogue
    after = loading.vendor_store.get()
    assert after == replace(
        vendor,
        lowest_app_version="B",
        agent=replace(vendor.agent, latest="2.1"),
        contact=replace(vendor.contact, email="new@v.example"),
        window=replace(vendor.window, end=time(5)),
    )


def test_a_license_is_judged_as_it_will_be_not_as_the_file_puts_it(cloud: Cloud) -> None:
    loading.load(DOCUMENT, cloud.now)
    customer = {key: DOCUMENT["customers"][0][key] for key in ("name", "tax_id", "country", "time_zone")}
    entry = {"code": "CHAT-0001", "sku": "CHAT-1", "quantity": 10, "first_day": "2028-06-01"}
    assert "last_day comes before" in faults({"customers": [{**customer, "licenses": [entry]}]}, cloud)
    new = {"code": "CHAT-0009", "sku": "CHAT-1", "quantity": 10}
    assert "needs a last_day" in faults({"customers": [{**customer, "licenses": [new]}]}, cloud)


def test_a_disabled_installation_does_not_stop_the_file(cloud: Cloud) -> None:
    loading.load(DOCUMENT, cloud.now)
    account = administration.find_account("FR40303265045")
    [installation] = account.installations
    administration.disable(account.customer.customer_id, installation, VENDOR, cloud.now)
    report = loading.load(DOCUMENT, cloud.now)
    assert report.notes == ["Acme: Paris is disabled, so CHAT-0001 is not assigned to it"]


def test_a_projection_that_was_never_brought_up_to_date_is_made_up_for(cloud: Cloud) -> None:
    """The load that renamed it died before it came to this customer, which the next file does not name."""
    loading.load(DOCUMENT, cloud.now)
    renamed = [{**DOCUMENT["applications"][0], "name": "Talk"}]
    known = loading.vendor_store.catalogue()
    application = replace(known.applications["chat"], name="Talk")
    loading.vendor_store.put_catalogue(replace(known, applications={"chat": application}))
    loading.load({"applications": renamed}, cloud.now)
    account = administration.find_account("FR40303265045")
    [standing] = account.standings.values()
    assert standing.entitlements[0].name == "Talk"


@pytest.mark.parametrize("hour", [600, 10.0, "24:00", "10", "10:00+02:00"])
def test_a_time_of_day_is_text(cloud: Cloud, hour: object) -> None:
    """YAML reads an unquoted 10:00 as 600, which would be ten minutes past midnight."""
    assert "validation_window" in faults({"vendor": {"name": "V", "validation_window": {"from": hour}}}, cloud)


def test_a_license_code_of_another_customer_is_refused(cloud: Cloud) -> None:
    assert "belongs to another customer" in faults(changed("customers.0.licenses.0.code", "AQ-7F3K-92MD"), cloud)
    assert accounts.find_by_tax_id("FR40303265045") is None


def test_a_customer_larger_than_a_transaction_is_loaded_in_stages(cloud: Cloud) -> None:
    names = [f"Server {n}" for n in range(120)]
    document = deepcopy(DOCUMENT)
    customer = document["customers"][0]
    customer["installations"] = [{"name": name} for name in names]
    customer["licenses"][0].update(quantity=1200, allocations=dict.fromkeys(names, 10))
    report = loading.load(document, cloud.now)
    assert len(report.activation_tokens) == 120
    customer["licenses"][0]["last_day"] = "2031-12-31"
    loading.load(document, cloud.now)
    server = Server(cloud)
    server.activate(report.activation_tokens[77][2])
    assert server.claims["ent"][0]["last_day"] == "2031-12-31"


def test_a_stage_that_was_never_reached_is_made_up_for_by_loading_again(cloud: Cloud) -> None:
    loading.load(DOCUMENT, cloud.now)
    account = administration.find_account("FR40303265045")
    [installation] = account.installations
    standings.StandingItem.get(account.customer.customer_id, f"ENT#{installation}").delete()
    loading.load(DOCUMENT, cloud.now)
    assert standings.get(account.customer.customer_id, installation) is not None


def test_a_large_customer_whose_load_was_interrupted_is_completed_by_loading_again(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = deepcopy(DOCUMENT)
    [license] = document["customers"][0]["licenses"]
    document["customers"][0]["licenses"] = [{**license, "code": f"CHAT-{n:04d}"} for n in range(120)]
    parts = iter([accounts._write_part])

    def interrupted(*part: Any) -> None:
        if (write := next(parts, None)) is None:
            raise KeyboardInterrupt
        write(*part)

    with monkeypatch.context() as patched:
        patched.setattr(accounts, "_write_part", interrupted)
        with pytest.raises(KeyboardInterrupt):
            loading.load(document, cloud.now)
    loading.load(document, cloud.now)
    assert len(administration.find_account("FR40303265045").licenses) == 120


def test_a_write_that_somebody_else_overtook_changes_nothing(cloud: Cloud) -> None:
    loading.load(DOCUMENT, cloud.now)
    read = administration.find_account("FR40303265045")
    loading.load(changed("customers.0.name", "Acme SA"), cloud.now)
    with pytest.raises(accounts.StaleVersion):
        accounts.write(read, read.__class__(read.customer, {}, {}, read.version), loading.vendor_store.catalogue())
    assert administration.find_account("FR40303265045").customer.name == "Acme SA"


def test_an_installation_with_more_licenses_than_a_transaction_can_be_disabled(cloud: Cloud) -> None:
    document = deepcopy(DOCUMENT)
    [license] = document["customers"][0]["licenses"]
    document["customers"][0]["licenses"] = [{**license, "code": f"CHAT-{n:04d}"} for n in range(120)]
    loading.load(document, cloud.now)
    account = administration.find_account("FR40303265045")
    [installation] = account.installations
    administration.disable(account.customer.customer_id, installation, VENDOR, cloud.now)
    after = administration.find_account("FR40303265045")
    assert after.standings[installation].disabled
    assert not any(each.allocations for each in after.licenses.values())
