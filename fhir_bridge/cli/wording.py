"""The text of an error as a person at a terminal reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fhir_bridge.errors import BridgeError


def worded(failure: BridgeError) -> str:
    """Name the setting, file or option at fault, unless the text does so itself."""
    named = failure.at is None or failure.at in failure.text
    return failure.text if named else f"{failure.at}: {failure.text}"
