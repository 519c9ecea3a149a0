"""The demo data, told as of today: every date moves with the days since the file was written."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

DEMO = Path(__file__).with_name("demo.yaml")


def read(path: Path, today: date) -> dict[str, Any]:
    """A catalogue-and-customers document; its dates are moved by ``today`` minus its ``as_of``."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    as_of = document.pop("as_of")
    for ours in ("users", "orders", "activation_keys"):
        document.pop(ours, None)
    shifted: dict[str, Any] = _shift(document, today - as_of)
    return shifted


def orders(path: Path, today: date) -> list[tuple[dict[str, Any], list[str]]]:
    """The orders of the demo, as the API takes them, each with the codes of the licenses that it makes."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    shifted = _shift(document.get("orders", []), today - document["as_of"])
    return [(order, order.pop("license_codes")) for order in shifted]


def activation_keys(path: Path, today: date) -> list[dict[str, Any]]:
    """The activation keys of the demo, in the order in which they are issued: ``imported`` ones are the customer's current key."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    shifted: list[dict[str, Any]] = _shift(document.get("activation_keys", []), today - document["as_of"])
    return shifted


def users(path: Path) -> list[dict[str, Any]]:
    """The people of the demo: name, email or ``machine``, and ``of`` which organization (a tax id, or ``vendor``)."""
    people: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8")).get("users", [])
    return people


def _shift(node: Any, by: timedelta) -> Any:
    match node:
        case dict():
            return {key: _shift(value, by) for key, value in node.items()}
        case list():
            return [_shift(value, by) for value in node]
        case date():
            return node + by
    return node
