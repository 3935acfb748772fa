"""Facts from what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fhir_bridge.sandbox.engine import Finding, Utterance


def sentences(text: str) -> list[str]:
    """The lines of a text."""
    return text.splitlines()


def extract(heard: Sequence[Utterance]) -> list[Finding]:  # noqa: ARG001 - rules follow
    """Nothing yet."""
    return []
