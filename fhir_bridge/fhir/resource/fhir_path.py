"""Places in a resource, named by the FHIRPath that patches need: names, [n], first(), last(), where(), extension()."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import NotSupported, PatchFailed
from fhir_bridge.fhir.resource.shapes import datatype, resource_shape, shape
from fhir_bridge.fhir.resource.tree import has

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.resource.shapes import Element, Shape

MOST_STEPS: Final = 64

_TEXT: Final = r"'(?:[^'\\]|\\.)*'"
_EQUATION: Final = re.compile(rf"(?P<path>[A-Za-z][A-Za-z.]*)\s*=\s*(?P<value>{_TEXT}|true|false)")
_EQUATIONS: Final = rf"{_EQUATION.pattern.replace('?P<path>', '?:').replace('?P<value>', '?:')}"
_STEP: Final = re.compile(
    rf"\.where\(\s*(?P<where>{_EQUATIONS}(?:\s+and\s+{_EQUATIONS})*)\s*\)"
    rf"|\.extension\(\s*(?P<url>{_TEXT})\s*\)"
    r"|\.(?P<end>first|last)\(\)"
    r"|\[(?P<index>\d{1,6})\]"
    r"|\.(?P<name>[A-Za-z][A-Za-z0-9]*)(?![A-Za-z0-9(])"
)


@dataclass(frozen=True)
class Place:
    """One element there is: what `holder` has under `name`, or item `index` of that when it is an array."""

    holder: Json
    name: str
    index: int | None
    element: Element
    owner: Shape

    @property
    def value(self) -> JsonValue:
        """The element; None for a primitive that has only extensions."""
        found = self.holder.get(self.name)
        if self.index is None or not isinstance(found, list):
            return found
        return found[self.index] if self.index < len(found) else None


@dataclass(frozen=True)
class Inside:
    """An element that can have others, with its type."""

    json: Json
    shape: Shape


def inside(json: Json, path: str) -> list[Inside]:
    """Return the elements at `path` that can have others; the type alone names the whole resource."""
    return _insides(_walked(json, _steps(json, path)))


def located(json: Json, path: str) -> list[Place]:
    """Return the elements at `path`.

    Raises:
        PatchFailed: the path is not one of this resource. NotSupported: it uses more of FHIRPath.
    """
    steps = _steps(json, path)
    if not any(step["name"] or step["url"] for step in steps):
        raise PatchFailed("The path has to name an element of the resource")
    return _walked(json, steps)


def lists(json: Json, path: str) -> list[tuple[Inside, Element]]:
    """Return the repeating elements that `path` names, be there any items or not."""
    steps = _steps(json, path)
    name = steps[-1]["name"] if steps else None
    if name is None:
        raise PatchFailed("The path has to name a list")
    elements = ((holder, holder.shape.elements.get(name)) for holder in _insides(_walked(json, steps[:-1])))
    return [(holder, element) for holder, element in elements if element is not None and element.many]


def _steps(json: Json, path: str) -> list[re.Match[str]]:
    root = re.match(r"[A-Za-z]+", path)
    if root is None or root[0] != json["resourceType"]:
        raise PatchFailed("The path does not begin with the type of the resource")
    steps: list[re.Match[str]] = []
    position = root.end()
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None or len(steps) == MOST_STEPS:
            text = "names, [n], first(), last(), extension('url') and where(element = 'text')"
            raise NotSupported(f"The path uses FHIRPath beyond {text}")
        steps.append(step)
        position = step.end()
    return steps


def _walked(json: Json, steps: list[re.Match[str]]) -> list[Place]:
    """Go a path from the resource on, which stands in a place of its own as in a Parameters."""
    owner = datatype("ParametersParameter")
    places = [Place({"resource": json}, "resource", None, owner.elements["resource"], owner)]
    for step in steps:
        places = _taken(places, step)
    return places


def _taken(places: list[Place], step: re.Match[str]) -> list[Place]:
    """Go one step from a collection, as FHIRPath does: an index counts in the whole of it."""
    if step["name"] or step["url"]:
        name = step["name"] or "extension"
        found = [child for holder in _insides(places) for child in _children(holder, name)]
        return _where(found, [("url", _literal(step["url"]))] if step["url"] else [])
    if step["where"]:
        return _where(places, [(each["path"], _literal(each["value"])) for each in _EQUATION.finditer(step["where"])])
    if step["index"]:
        return places[int(step["index"]) : int(step["index"]) + 1]
    return places[:1] if step["end"] == "first" else places[-1:]


def _where(places: list[Place], equations: list[tuple[str, str | bool]]) -> list[Place]:
    return [place for place in places if all(_at(place.value, path) == [text] for path, text in equations)]


def _insides(places: list[Place]) -> list[Inside]:
    return [found for place in places if (found := _inside(place)) is not None]


def _inside(place: Place) -> Inside | None:
    value = place.value
    if not isinstance(value, dict):
        return None
    contained = place.element.type == "Resource"
    kind = resource_shape(value.get("resourceType")) if contained else shape(place.element.type)
    return None if kind is None else Inside(value, kind)


def _children(of: Inside, name: str) -> Iterator[Place]:
    """Yield the elements under a name; `value` stands for valueString and its like."""
    for element in of.shape.elements.values():
        if name in {element.name, element.path} and has(of.json, element.name):
            for index in range(_length(of.json, element.name)) if element.many else (None,):
                yield Place(of.json, element.name, index, element, of.shape)


def _length(json: Json, name: str) -> int:
    arrays = (json.get(name), json.get(f"_{name}"))
    return max(len(array) for array in arrays if isinstance(array, list))


def _literal(text: str) -> str | bool:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith("'") else text == "true"


def _at(value: JsonValue, path: str) -> list[JsonValue]:
    """Return what is at a path of names, through arrays: a collection, as FHIRPath has it."""
    found = [value]
    for name in path.split("."):
        inner = [each.get(name) for each in found if isinstance(each, dict)]
        found = [item for each in inner for item in (each if isinstance(each, list) else [each]) if item is not None]
    return found
