"""Points where a test may kill a process: one list, kept equal to the code; nothing in production."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fhir_bridge import points

ROOT = Path(__file__).parents[3]
LISTED = json.loads((ROOT / "tests" / "chaos" / "points.json").read_text())
CALL = re.compile(r'points\.reached\("([^"]+)"\)')


def test_the_list_of_points_is_that_of_the_code():
    in_code = {name for file in (ROOT / "fhir_bridge").rglob("*.py") for name in CALL.findall(file.read_text())}

    assert in_code == set(LISTED)
    assert len(LISTED) >= 60
    assert set(LISTED.values()) == {"web", "worker", "migrate", "purge"}


def test_a_point_does_nothing_until_somebody_watches():
    seen = []
    points.reached("run.taken")
    points.watch(seen.append)
    try:
        points.reached("run.claimed")
    finally:
        points.watch(None)
    points.reached("run.over")

    assert seen == ["run.claimed"]
