"""Parts of a resource for `_summary` and `_elements`, marked as SUBSETTED.

http://hl7.org/fhir/R4/search.html#summary and #elements: what is required or can change
the meaning of the rest is always there, so that a part is still a valid resource.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge.fhir.resource.links import fragments, is_used
from fhir_bridge.fhir.resource.shapes import datatype, resource_shape
from fhir_bridge.fhir.resource.tree import each, only

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.resource.shapes import Element, Shape

Summary = Literal["true", "text", "data"]

SUBSETTED: Final[Json] = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}

_ALWAYS: Final = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})
_MODIFIERS: Final[dict[str, frozenset[str]]] = {
    "Device": frozenset({"status"}),
    "Organization": frozenset({"active"}),
    "Patient": frozenset({"active", "deceased", "link"}),
}
"""Elements that are modifiers and not required anyway (isModifier in the R4 definitions)."""


def summary(json: Json, mode: Summary) -> Json:
    """Return the part of `json` that `_summary=<mode>` asks for."""
    keep: dict[Summary, Callable[[Element], bool]] = {
        "true": lambda element: element.summary,
        "text": lambda element: element.name == "text",
        "data": lambda element: element.name != "text",
    }
    return _tagged(_part(json, keep[mode], deep=mode == "true"))


def elements(json: Json, names: Collection[str]) -> Json:
    """Return the part of `json` with the top-level elements `names` (`effective` stands for effective[x])."""
    return _tagged(_part(json, lambda element: not {element.name, element.path}.isdisjoint(names), deep=False))


def is_subset(json: Json) -> bool:
    """Tell whether a resource is marked as a part: it must not replace the whole."""
    return any(tag.get("code") == SUBSETTED["code"] for tag in each(only(json, "meta"), "tag"))


def _part(json: Json, keep: Callable[[Element], bool], *, deep: bool) -> Json:
    kind = resource_shape(json.get("resourceType"))
    if kind is None:
        return json
    part = _members(json, kind, keep, deep=deep)
    named = set(fragments(part))
    contained: list[JsonValue] = [inner for inner in each(json, "contained") if is_used(inner, named)]
    return part | {"contained": contained} if contained else part


def _members(json: Json, kind: Shape, keep: Callable[[Element], bool], *, deep: bool) -> Json:
    part: Json = {}
    for name, value in json.items():
        element = kind.elements.get(name.removeprefix("_"))
        if name in _ALWAYS or (element is not None and (_stays(element, kind) or keep(element))):
            part[name] = _inner(value, element, keep) if deep and element is not None else value
    return part


def _stays(element: Element, kind: Shape) -> bool:
    needed = element.required or any(choice.required and element.name in choice.names for choice in kind.choices)
    return needed or element.path in _MODIFIERS.get(kind.name, frozenset())


def _inner(value: JsonValue, element: Element, keep: Callable[[Element], bool]) -> JsonValue:
    if isinstance(value, list):
        return [_inner(item, element, keep) for item in value]
    if not isinstance(value, dict) or element.primitive or element.type in {"Resource", "Meta", "Extension"}:
        return value
    return _members(value, datatype(element.type), keep, deep=True) or value


def _tagged(part: Json) -> Json:
    if is_subset(part):
        return part
    meta = only(part, "meta")
    return part | {"meta": meta | {"tag": [*each(meta, "tag"), {**SUBSETTED}]}}
