"""The demo data is believable: numbers that check, every kind of license, dates as of today."""

from datetime import date, timedelta
from typing import Any

import pytest
import yaml
from licensing.loading import parse
from licensing.rules.tax_ids import normalize

from infra.local import demo

TODAY = date(2028, 2, 29)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return demo.read(demo.DEMO, TODAY)


@pytest.fixture(scope="module")
def licenses(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for customer in document["customers"] for each in customer["licenses"]]


def test_the_loader_takes_it(document: dict[str, Any]) -> None:
    assert parse(document).customers


def test_dates_move_with_today(document: dict[str, Any]) -> None:
    written = yaml.safe_load(demo.DEMO.read_text())
    by = TODAY - written["as_of"]
    assert "as_of" not in document
    for before, after in zip(written["customers"], document["customers"], strict=True):
        for old, new in zip(before["licenses"], after["licenses"], strict=True):
            assert new["first_day"] == old["first_day"] + by
            assert new["last_day"] == (old["last_day"] and old["last_day"] + by)


def test_tax_ids_have_valid_check_digits_in_their_one_spelling(document: dict[str, Any]) -> None:
    ids = [customer["tax_id"] for customer in document["customers"]]
    assert [normalize(each) for each in ids] == ids
    assert {each[:2] for each in ids} == {"IT", "BR", "ES", "SE", "DE"}
    assert "BR12ABC34501DE35" in ids
    assert [customer["country"] for customer in document["customers"]] == [each[:2] for each in ids]


def test_one_customer_has_two_installations(document: dict[str, Any]) -> None:
    counts = {customer["tax_id"]: len(customer["installations"]) for customer in document["customers"]}
    assert counts.pop("IT00743110157") == 2
    assert set(counts.values()) == {1}


def test_there_is_a_suite_of_a_dozen_applications_with_a_product_each(document: dict[str, Any]) -> None:
    applications = {each["id"] for each in document["applications"]}
    assert len(applications) == 12
    assert {each["application"] for each in document["products"]} == applications
    assert len(document["products"]) == 21


def test_every_kind_of_license_occurs(document: dict[str, Any], licenses: list[dict[str, Any]]) -> None:
    types = {each["sku"]: each["type"] for each in document["products"]}
    assert {types[each["sku"]] for each in licenses} == {"perpetual", "subscription", "trial"}
    assert {each["care"] for each in licenses} == {"GOLD", "BASIC", None}
    assert {"active", "suspended"} <= {each["state"] for each in licenses}  # what is locked comes by an order
    ends = [each["last_day"] for each in licenses if each["last_day"]]
    assert any(TODAY <= each <= TODAY + timedelta(days=30) for each in ends)
    assert any(each < TODAY for each in ends)


def test_nothing_locked_is_assigned_and_no_license_beyond_its_quantity(licenses: list[dict[str, Any]]) -> None:
    for each in licenses:
        assert sum(each["allocations"].values()) <= each["quantity"]
        assert not (each["state"] == "locked" and each["allocations"])
