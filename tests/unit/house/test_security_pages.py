"""What the security pages promise is proved by tests that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

PAGES: Final = Path(__file__).parents[3] / "docs" / "security"
LINK: Final = re.compile(r"\[(test_\w+)\]\(([^)]+\.py)\)")


@pytest.mark.parametrize("page", sorted(path.name for path in PAGES.glob("*.md")))
def test_every_test_that_a_page_names_exists(page):
    for name, file in LINK.findall((PAGES / page).read_text()):
        assert f"def {name}(" in (PAGES / file).read_text(), f"{name} in {file}"


def test_every_threat_names_a_test():
    lines = (PAGES / "README.md").read_text().splitlines()
    threats = [line for line in lines if line.startswith("| ") and not line.startswith(("| ---", "| threat"))]
    assert len(threats) > 30
    assert [line for line in threats if not LINK.search(line)] == []
