"""Whatever any journey received from the bridge is good for other projects too; this comes last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def everything_received(received: Path) -> Path:
    assert any(received.iterdir()), "nothing was received: run the journeys along with this, or name what they received"
    return received


@pytest.mark.interop
def test_everything_received_passes_the_validators_of_other_projects(everything_received, judged):
    assert judged(everything_received) == []
