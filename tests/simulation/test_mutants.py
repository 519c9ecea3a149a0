"""Self-check: each bug that we make on purpose is caught within 1,000 seeds (``make simulation``)."""

from collections.abc import Iterator

import pytest

from tests.simulation.cloud import Cloud
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.runner import run, scenarios
from tests.simulation.simulator import Recipe

SEEDS = 1000


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        yield cloud


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_is_caught(cloud: Cloud, mutant: Mutant) -> None:
    (kind,) = scenarios(mutant.scenario)
    cloud.stage(kind, kind.prepare)
    with mutant.applied():
        caught = next((seed for seed in range(SEEDS) if run(cloud, kind, Recipe(str(seed))).violation), None)
    assert caught is not None, f"{mutant.name}: not noticed in {SEEDS} seeds of {mutant.scenario}"
    print(f"{mutant.name}: seed {caught}")
