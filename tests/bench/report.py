"""What a bench found: lines that are compared with their floor and target, and what plots are made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Told what is being measured at the moment.
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Line:
    """One figure. With a ``floor``, taken in the same run, their ratio is held against the ``target``; else the figure is.

    Without a target it is for the record. ``figure`` and ``floor`` are in ``unit``.
    """

    part: str
    what: str
    figure: float
    unit: str
    target: float | None = None
    floor: float | None = None

    @property
    def compared(self) -> float:
        """What is held against the target."""
        return self.figure / self.floor if self.floor else self.figure

    @property
    def reached(self) -> bool | None:
        """None where there is no target."""
        return None if self.target is None else round(self.compared, 3) <= self.target

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "part": self.part,
            "what": self.what,
            "figure": self.figure,
            "unit": self.unit,
            "floor": self.floor,
            "ratio": self.compared if self.floor else None,
            "target": self.target,
            "reached": self.reached,
        }


@dataclass(slots=True)
class Part:
    """What one part of a bench found. ``data`` is for plots and for the record."""

    lines: list[Line] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


def number(value: float | None) -> str:
    """A figure as it is read: three digits that mean something."""
    if value is None:
        return ""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def table(lines: Sequence[Line]) -> str:
    """The table at the end."""
    head = ("what", "figure", "floor", "ratio/target", "")
    rows = []
    for each in lines:
        held = f"{number(each.compared)}×" if each.floor else number(each.figure)
        rows.append(
            (
                f"{each.part}: {each.what}",
                f"{number(each.figure)} {each.unit}",
                f"{number(each.floor)} {each.unit}" if each.floor else "",
                f"{held} ≤ {number(each.target)}" if each.target is not None else (held if each.floor else ""),
                {True: "reached", False: "MISSED", None: ""}[each.reached],
            )
        )
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]

    def shown(row: Sequence[str]) -> str:
        first, *rest = zip(row, widths, strict=True)
        last = rest.pop()
        cells = [f"{first[0]:<{first[1]}}", *(f"{text:>{width}}" for text, width in rest), last[0]]
        return "  ".join(cells).rstrip()

    return "\n".join((shown(head), "─" * (sum(widths) + 2 * len(widths) - 2), *(shown(row) for row in rows)))
