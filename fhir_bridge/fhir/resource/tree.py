"""Looking into parsed JSON with types, for code that needs a few elements and no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json


def each(json: Json, name: str) -> list[Json]:
    """Return the objects under `name`, be it one or an array; none if it is missing."""
    value = json.get(name)
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def only(json: Json, name: str) -> Json:
    """Return the one object under `name`, or an empty one."""
    value = json.get(name)
    return value if isinstance(value, dict) else {}


def text(json: Json, name: str) -> str | None:
    """Return the string under `name`, or None."""
    value = json.get(name)
    return value if isinstance(value, str) else None


def has(json: Json, name: str) -> bool:
    """Tell whether an element is there, with a value or only with an extension (`_name`)."""
    return name in json or f"_{name}" in json


def has_choice(json: Json, name: str) -> bool:
    """Tell whether `name`[x] is there in any of its types."""
    size = len(name)
    return any(key.startswith(name) and key[size : size + 1].isupper() for key in (key.lstrip("_") for key in json))
