"""Whatever any journey of this run received from the bridge holds what FHIR asks; these come last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fhir_bridge.errors import BridgeError
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.models import model_of
from fhir_bridge.fhir.resource.reader import read

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def everything_received(received: Path) -> Path:
    if not any(received.iterdir()):
        pytest.skip("nothing was received: run the journeys along with this")
    return received


def test_everything_received_passes_our_own_checks_and_the_models(everything_received):
    wrong = {path.name: fault for path in everything_received.rglob("*.json") if (fault := _fault(path))}
    assert wrong == {}


@pytest.mark.interop
def test_everything_received_passes_the_validators_of_other_projects(everything_received, judged):
    assert judged(everything_received) == []


def _fault(path: Path) -> str:
    try:
        model_of(checked(read(path.read_bytes())))
    except BridgeError as error:
        return f"{error} in {path.read_text()[:300]}"
    return ""
