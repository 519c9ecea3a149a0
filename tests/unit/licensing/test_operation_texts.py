"""Every action that the code records has a text for people."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from licensing.rules.alerts import AlertKind
from licensing.rules.operation_texts import ACTIONS, DETAILS, KINDS

LIBRARY = Path(__file__).resolve().parents[3] / "layers" / "licensing" / "licensing"


def recorded() -> Iterator[tuple[str, set[str]]]:
    """Actions, each with the names of its details."""
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "operation":
                action = node.args[2]
                if isinstance(action, ast.Constant):
                    yield str(action.value), {each.arg for each in node.keywords if each.arg}


def test_every_action_has_a_text() -> None:
    found = {action for action, _ in recorded()}
    assert len(found) > 30
    assert found <= set(ACTIONS)


def test_what_people_read_of_alerts_and_of_the_log_itself_has_names() -> None:
    found = {name for action, details in recorded() if action.startswith(("alert.", "log.")) for name in details}
    assert {"threshold", "days_before", "entries"} <= found <= set(DETAILS)
    assert set(KINDS) == set(get_args(AlertKind))
