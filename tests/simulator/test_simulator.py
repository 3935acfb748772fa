"""Hundreds of worlds in which everything goes wrong that can: nothing is lost, doubled or stuck in any of them."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from simulator import Simulator

from fhir_bridge.settings import Settings
from fhir_bridge.store.engine import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 25
MEMORY = Path("/dev/shm")  # noqa: S108 - faster than a disk; nothing of it has to survive


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="fhir-bridge-sim-", dir=MEMORY if MEMORY.is_dir() else None))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seeds" in metafunc.fixturenames:
        first, count = metafunc.config.getoption("--first-seed"), metafunc.config.getoption("--seeds")
        starts = range(first, first + count, BATCH)
        metafunc.parametrize("seeds", [range(n, min(n + BATCH, first + count)) for n in starts], ids=str)


@pytest.mark.timeout(600)
def test_nothing_is_lost_doubled_or_stuck_in_the_world_of_any_seed(seeds: range, migrated_file: Path, folder: Path):
    met: Counter[str] = Counter()
    for seed in seeds:
        simulator = _simulated(seed, migrated_file, folder / str(seed))
        try:
            simulator.play()
            assert not simulator.problems(), f"again with: pytest tests/simulator --first-seed {seed} --seeds 1"
        finally:
            simulator.close()
        met.update(simulator.happened)
        met.update(simulator.world.met)
        shutil.rmtree(folder / str(seed))

    if len(seeds) == BATCH:
        assert all(met[what] for what in ("killed", "frozen", "socket.reset")), "too peaceful to prove anything"


def test_the_same_seed_is_the_same_world(migrated_file: Path, folder: Path):
    stories = []
    for turn in range(2):
        simulator = _simulated(11, migrated_file, folder / str(turn))
        simulator.play()
        stories.append((simulator.time.passed, simulator.happened, simulator.world.met, simulator.visits))
        simulator.close()

    assert stories[0] == stories[1]


def _simulated(seed: int, migrated_file: Path, folder: Path) -> Simulator:
    folder.mkdir()
    shutil.copy(migrated_file, folder / FILE)
    return Simulator(Settings(data_dir=folder, secret_key="a key for tests only"), seed)
