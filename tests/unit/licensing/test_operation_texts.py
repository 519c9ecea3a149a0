"""Every action that the code records has a text for people."""

import ast
from collections.abc import Iterator
from pathlib import Path

from licensing.rules.operation_texts import ACTIONS

LIBRARY = Path(__file__).resolve().parents[3] / "layers" / "licensing" / "licensing"


def recorded() -> Iterator[str]:
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "operation":
                action = node.args[2]
                if isinstance(action, ast.Constant):
                    yield str(action.value)


def test_every_action_has_a_text() -> None:
    found = set(recorded())
    assert len(found) > 30
    assert found <= set(ACTIONS)
