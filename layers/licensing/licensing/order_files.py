"""A file of orders: checked as a whole before anything is written, then taken in one by one; safe to load again."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from licensing import orders
from licensing.contract_orders import NewOrder, OrderFile
from licensing.errors import LicensingError
from licensing.rules.operations import Origin
from licensing.rules.people import User
from licensing.texts import mark


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a file, and where: at a place, or in an order (its number) and perhaps one of its lines (from 1).

    ``text`` is in English, ``error`` can be told in any language.
    """

    where: str
    text: str
    error: LicensingError | None = None
    line: int | None = None


class FileRefused(Exception):
    """Raised when a file of orders can't be loaded as it is; nothing of it was."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of an order of the file."""

    number: str
    order_id: str
    result: Literal["taken_in", "known"]


def parse(text: str) -> list[NewOrder]:
    """The orders of a YAML or JSON text: a list of them, or a document with ``orders``. Raises FileRefused."""
    import yaml  # 20 ms that no other page needs

    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError, TypeError) as error:
        # The latter three come from tags with nothing that fits them, such as !!int "".
        place = getattr(error, "problem_mark", None)
        where = f"{place.line + 1}:{place.column + 1}" if place else ""
        raise FileRefused([Fault(where, mark("This is neither YAML nor JSON."))]) from error
    try:
        return OrderFile.model_validate({"orders": document} if isinstance(document, list) else document).orders
    except ValidationError as error:
        raise FileRefused([Fault(_place(each["loc"]), each["msg"]) for each in error.errors()]) from error


def _place(path: tuple[int | str, ...]) -> str:
    return re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, path)))


def check(user: User, bodies: list[NewOrder], now: datetime) -> list[str | None]:
    """For each order the id of the same one that was loaded before, or None. Raises FileRefused with every fault."""
    found = orders.check(user, bodies, now)
    faults = [_fault(body, each) for body, each in zip(bodies, found, strict=True) if isinstance(each, LicensingError)]
    if faults:
        raise FileRefused(faults)
    return [each for each in found if not isinstance(each, LicensingError)]


def load(
    user: User,
    bodies: list[NewOrder],
    now: datetime,
    by: Origin,
    progress: Callable[[str], object] = lambda number: None,
) -> list[Loaded]:
    """Take a file's orders in, each in a transaction of its own. Interrupted, it is simply run again: what is in stays.

    Raises FileRefused before anything is written, and what ``orders.take_in`` raises where somebody else was faster.
    """
    loaded: list[Loaded] = []
    for body, known in zip(bodies, check(user, bodies, now), strict=True):
        progress(body.order_number)
        order_id = known or orders.take_in(user, body, now, by).order_id
        loaded.append(Loaded(body.order_number, order_id, "known" if known else "taken_in"))
    return loaded


def _fault(body: NewOrder, error: LicensingError) -> Fault:
    text = error.detail.format_map({"retry_after": error.retry_after, **error.members})
    return Fault(body.order_number, text, error, error.members.get("line"))
