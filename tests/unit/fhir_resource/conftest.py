"""The examples every test of this package starts from."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fhir_bridge.fhir.resource.reader import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.fhir.resource.reader import Json

EXAMPLES = Path(__file__).parents[2] / "examples"
READ = {path.stem: read(path.read_bytes()) for path in sorted(EXAMPLES.glob("*.json"))}


@pytest.fixture(scope="session")
def example() -> Callable[..., Json]:
    """A fresh copy of an example, with members replaced."""

    def fresh(name: str, /, **members: object) -> Json:
        return copy.deepcopy(READ[name]) | {key.rstrip("_"): value for key, value in members.items()}

    return fresh


@pytest.fixture(params=list(READ))
def any_example(request: pytest.FixtureRequest) -> Json:
    return copy.deepcopy(READ[request.param])
