"""Hundreds of worlds in which everything goes wrong that can: nothing is lost, doubled or stuck in any of them."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulator import Ground, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 50
MEMORY = Path("/dev/shm")  # noqa: S108 - faster than a disk; nothing of it has to survive


@pytest.fixture(scope="module")
def ground(migrated_file: Path) -> Iterator[Ground]:
    folder = Path(tempfile.mkdtemp(prefix="fhir-bridge-sim-", dir=MEMORY if MEMORY.is_dir() else None))
    made = Ground(migrated_file, folder)
    yield made
    made.close()
    shutil.rmtree(folder, ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" in metafunc.fixturenames:
        first, count = metafunc.config.getoption("--first-seed"), metafunc.config.getoption("--seeds")
        starts = range(first, first + count, BATCH)
        metafunc.parametrize("seeds", [range(n, min(n + BATCH, first + count)) for n in starts], ids=str)


@pytest.mark.timeout(600)
@pytest.mark.no_cover  # what it is about are worlds, not lines: these it would count over and over
def test_nothing_is_lost_doubled_or_stuck_in_the_world_of_any_seed(seeds: range, ground: Ground):
    met: Counter[str] = Counter()
    for seed in seeds:
        simulator = Simulator(ground, seed)
        simulator.play()
        assert not simulator.problems(), f"again with: pytest tests/simulator --first-seed {seed} --seeds 1"
        met.update(simulator.happened)
        met.update(simulator.world.met)

    if len(seeds) == BATCH:
        wanted = ("killed", "frozen", "socket.reset", "socket.torn", "socket.expired")
        assert all(met[what] for what in wanted), "too peaceful to prove anything"


def test_the_same_seed_is_the_same_world(ground: Ground):
    stories = []
    for _ in range(2):
        simulator = Simulator(ground, 11)
        simulator.play()
        stories.append((simulator.time.passed, simulator.happened, simulator.world.met, simulator.visits))

    assert stories[0] == stories[1]
