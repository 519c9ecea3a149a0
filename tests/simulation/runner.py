"""Runs scenarios seed by seed, and tells what failed."""

import importlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.simulation.cloud import Cloud
from tests.simulation.scenario import Scenario
from tests.simulation.simulator import Choices, Recipe, Result, Simulation, shrink


def scenarios(only: str = "") -> list[type[Scenario]]:
    """All scenarios, the one of this name, or those whose name contains ``only``."""
    for path in sorted((Path(__file__).parent / "scenarios").glob("*.py")):
        importlib.import_module(f"tests.simulation.scenarios.{path.stem}")
    if only.lower() in Scenario.known:
        return [Scenario.known[only.lower()]]
    return [each for name, each in Scenario.known.items() if only.lower() in name]


def run(cloud: Cloud, kind: type[Scenario], recipe: Recipe) -> Result:
    """One run of a scenario."""
    stage = cloud.stage(kind, kind.prepare)
    choices = Choices(recipe.seed, recipe.told)
    simulation = Simulation(choices, recipe.without)
    cloud.begin(simulation, stage, recipe.seed)
    try:
        simulation.run(kind(cloud, simulation, stage.props))
    finally:
        cloud.end()
    names = [actor.name for actor in simulation.actors]
    return Result(recipe, simulation.violation, simulation.trace, simulation.steps, choices.made, names, simulation.met)


def explain(cloud: Cloud, kind: type[Scenario], failed: Result) -> str:
    """What happened, as short as it can be told, and how to see it again."""
    short = shrink(failed, lambda recipe: run(cloud, kind, recipe))
    told = "\n".join(f"  {event}" for event in short.trace)
    return (
        f"{kind.__name__}, seed {failed.recipe.seed}: {failed.violation}\n\n"
        f"Shrunk from {len(failed.trace)} lines to {len(short.trace)}:\n{told}\n"
        f"  VIOLATION  {short.violation}\n\n"
        f"Again: .venv/bin/python -m tests.simulation --only {kind.__name__} --seed {failed.recipe.seed}\n"
    )


@dataclass
class Tally:
    """What some seeds came to."""

    seeds: int = 0
    steps: int = 0
    met: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take in what other seeds came to."""
        self.seeds, self.steps, self.met = self.seeds + other.seeds, self.steps + other.steps, self.met + other.met
        self.failures += other.failures


@cache
def _cloud() -> Cloud:
    """One for as long as the process lives."""
    return Cloud().__enter__()


def tally(only: str, seeds: Iterable[int]) -> Tally:
    """Run the scenarios in turn, one seed each."""
    cloud, kinds, total = _cloud(), scenarios(only), Tally()
    for seed in seeds:
        kind = kinds[seed % len(kinds)]
        result = run(cloud, kind, Recipe(str(seed)))
        told = [explain(cloud, kind, result)] if result.violation else []
        total.add(Tally(1, result.steps, result.met, told))
    return total
