"""The simulation in small: some seeds of each scenario; a seed is the same each time; what fails is found, told and shrunk."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulation.cloud import Cloud
from tests.simulation.mutants import MUTANTS
from tests.simulation.runner import explain, run, scenarios
from tests.simulation.scenario import Scenario
from tests.simulation.simulator import Choices, Recipe, Result, Simulation, must, shrink

SEEDS = 3


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        yield cloud


@pytest.mark.parametrize("kind", scenarios(), ids=lambda kind: kind.__name__)
def test_holds(cloud: Cloud, kind: type[Scenario]) -> None:
    for seed in range(SEEDS):
        result = run(cloud, kind, Recipe(str(seed)))
        assert result.violation is None, explain(cloud, kind, result)


def test_a_seed_is_the_same_each_time(cloud: Cloud) -> None:
    (kind,) = scenarios("ActivationRace")
    first, other, again = (run(cloud, kind, Recipe(seed)) for seed in ("5", "6", "5"))
    assert list(map(str, first.trace)) == list(map(str, again.trace)) != list(map(str, other.trace))


def test_a_bug_is_told_by_a_trace_that_can_be_replayed(cloud: Cloud) -> None:
    mutant = next(each for each in MUTANTS if each.name == "one machine per installation is checked by nobody")
    (kind,) = scenarios(mutant.scenario)
    with mutant.applied():
        failed = next(filter(lambda result: result.violation, (run(cloud, kind, Recipe(str(n))) for n in range(50))))
        told, again = explain(cloud, kind, failed), run(cloud, kind, failed.recipe)
    assert "takes the installation from another machine" in told
    assert "TransactWriteItems" in told
    assert again.trace == failed.trace
    assert run(cloud, kind, failed.recipe).violation is None


def test_every_mutant_still_fits_the_code() -> None:
    for mutant in MUTANTS:
        with mutant.applied():
            pass


class Tally:
    """Two actors who read, and then write: the classic, without any cloud."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation, self.total, self.added = simulation, 0, 0

    def begin(self) -> None:
        for name in ("first", "second", "bystander"):
            self.simulation.actor(name, self.idle if name == "bystander" else self.add)

    def idle(self) -> None:
        for _ in range(5):
            self.simulation.pause(self.simulation.pick(3))

    def add(self) -> None:
        for _ in range(1 + self.simulation.pick(3)):
            seen = self.total
            self.simulation.note(f"reads {seen}")
            self.simulation.pause(0)
            self.total, self.added = seen + 1, self.added + 1
            self.simulation.note(f"writes {self.total}")

    def check(self) -> None:
        must(self.total == self.added, f"{self.added} were added, and there are {self.total}")

    def finish(self) -> None:
        """Nothing more."""


def tally(recipe: Recipe) -> Result:
    choices = Choices(recipe.seed, recipe.told)
    simulation = Simulation(choices, recipe.without)
    script: Any = Tally(simulation)
    simulation.run(script)
    return Result(
        recipe,
        simulation.violation,
        simulation.trace,
        simulation.steps,
        choices.made,
        [a.name for a in simulation.actors],
    )


def test_what_fails_is_shrunk_to_what_it_takes() -> None:
    failed = next(filter(lambda result: result.violation, (tally(Recipe(str(seed))) for seed in range(100))))
    short = shrink(failed, tally)
    assert short.violation
    assert len(short.trace) <= 6
