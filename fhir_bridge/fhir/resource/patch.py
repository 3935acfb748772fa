"""What both forms of patch have in common: how far they may go, and what they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import Malformed, PatchFailed
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.writer import write

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue

MOST_OPERATIONS: Final = 500


def finished(patched: Json) -> Json:
    """Return what a patch made, without what deletions left empty, read as strictly as a resource that was sent.

    Raises:
        PatchFailed: it is no FHIR JSON, or beyond the limits of a body.
    """
    try:
        _prune(patched)
        return read(write(patched))
    except Malformed as exc:
        raise PatchFailed(exc.text, issues=exc.issues) from exc
    except RecursionError as exc:
        raise PatchFailed("The patch nests the resource too deeply") from exc


def _prune(value: JsonValue) -> None:
    """Remove what is empty, as FHIR has no empty arrays and objects: inner ones first."""
    if isinstance(value, dict):
        for name in [*value]:
            _prune(value[name])
            if _is_empty(value[name]):
                del value[name]
    elif isinstance(value, list):
        for item in value:
            _prune(item)
        value[:] = [item for item in value if not _is_empty(item)]


def _is_empty(value: JsonValue) -> bool:
    """Tell whether nothing is said: nulls are but place-holders beside an array of primitives."""
    if isinstance(value, list):
        return all(item is None for item in value)
    return value == {}
