"""FHIRPath Patch of a resource (http://hl7.org/fhir/R4/fhirpatch.html)."""

from __future__ import annotations

from collections import defaultdict
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from fhir_bridge.errors import BridgeError, Malformed, PatchFailed
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.fhir_path import inside, lists, located
from fhir_bridge.fhir.resource.patch import MOST_OPERATIONS, finished
from fhir_bridge.fhir.resource.shapes import shape
from fhir_bridge.fhir.resource.tree import each

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.fhir.resource.fhir_path import Place
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.resource.shapes import Element, Shape

T = TypeVar("T")


def fhir_patched(json: Json, parameters: Json) -> Json:
    """Apply a FHIRPath Patch: add, insert, delete, replace and move, in their order.

    Raises:
        Malformed, Invalid: no patch. NotSupported: a path beyond what is read here.
        PatchFailed: a path that meets nothing or too much, or a result that is no FHIR JSON.
    """
    operations = each(checked(parameters, of="Parameters"), "parameter")
    if not 0 < len(operations) <= MOST_OPERATIONS:
        raise Malformed(f"A FHIRPath Patch has 1 to {MOST_OPERATIONS} operations", at="Parameters.parameter")
    patched = deepcopy(json)
    for index, operation in enumerate(operations):
        _apply(patched, operation, f"Parameters.parameter[{index}]")
    return finished(patched)


@dataclass(frozen=True)
class _Parts:
    """The parts of one operation."""

    by_name: dict[str, Json]

    def text(self, name: str) -> str:
        """Return a part that is some text."""
        found = _plain(self.by_name.get(name))
        if not isinstance(found, str):
            raise Malformed(f"The operation has no {name}")
        return found

    def number(self, name: str) -> int:
        """Return a part that is a whole number."""
        found = _plain(self.by_name.get(name))
        if not isinstance(found, int) or isinstance(found, bool):
            raise Malformed(f"The operation has no {name}")
        return found

    @property
    def content(self) -> Json:
        """The part that holds the element to be written."""
        if "value" not in self.by_name:
            raise Malformed("The operation has no value")
        return self.by_name["value"]


def _apply(json: Json, operation: Json, at: str) -> None:
    parts = _Parts({str(part["name"]): part for part in each(operation, "part")})
    try:
        kind = parts.text("type") if operation["name"] == "operation" else ""
        if kind not in _OPERATIONS:
            raise Malformed("Each parameter is an operation of type add, insert, delete, replace or move")
        _OPERATIONS[kind](json, parts)
    except BridgeError as exc:
        raise type(exc)(exc.text, at=at) from exc


# --- the five operations ------------------------------------------------------------------


def _add(json: Json, parts: _Parts) -> None:
    holder = _only(inside(json, parts.text("path")))
    value = parts.content
    element = _named(holder.shape, parts.text("name"), value)
    made = _made(value, element)
    if element.many:
        arrays = _aligned(holder.json, element.name)
        arrays[0].append(made)
        for beside in arrays[1:]:
            beside.append(None)
    else:
        _clear(holder.json, holder.shape, element)
        holder.json[element.name] = made


def _insert(json: Json, parts: _Parts) -> None:
    holder, element = _only(lists(json, parts.text("path")))
    arrays = _aligned(holder.json, element.name)
    index = parts.number("index")
    if not 0 <= index <= len(arrays[0]):
        raise PatchFailed("index is a place in the list, or the one behind its end")
    arrays[0].insert(index, _made(parts.content, element))
    for beside in arrays[1:]:
        beside.insert(index, None)


def _delete(json: Json, parts: _Parts) -> None:
    places = located(json, parts.text("path"))
    if places:  # what is not there is as it should be
        _remove(_only(places))


def _replace(json: Json, parts: _Parts) -> None:
    place, value = _only(located(json, parts.text("path"))), parts.content
    element = _named(place.owner, place.element.path, value) if place.element.choice else place.element
    made = _made(value, element)
    if place.index is None:
        _clear(place.holder, place.owner, element)
        place.holder[element.name] = made
        return
    arrays = _aligned(place.holder, place.name)
    arrays[0][place.index] = made
    for beside in arrays[1:]:
        beside[place.index] = None


def _move(json: Json, parts: _Parts) -> None:
    holder, element = _only(lists(json, parts.text("path")))
    arrays = _aligned(holder.json, element.name)
    source, destination = parts.number("source"), parts.number("destination")
    if not {source, destination} <= {*range(len(arrays[0]))}:
        raise PatchFailed("source and destination are places in the list")
    for array in arrays:
        array.insert(destination, array.pop(source))


_OPERATIONS: Final[dict[str, Callable[[Json, _Parts], None]]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}


# --- elements -----------------------------------------------------------------------------


def _only(found: list[T]) -> T:
    if len(found) != 1:
        raise PatchFailed(f"The path has to meet one element and meets {len(found) or 'none'}")
    return found[0]


def _aligned(json: Json, name: str) -> list[list[JsonValue]]:
    """Return the array under `name`, and `_name` if there is one, both as long as the longer (json.html#primitive)."""
    json.setdefault(name, [])
    found = [array for key in (name, f"_{name}") if isinstance(array := json.get(key), list)]
    longest = max(map(len, found))
    for array in found:
        array.extend([None] * (longest - len(array)))
    return found


def _clear(json: Json, kind: Shape, element: Element) -> None:
    """Make room for an element that does not repeat: of value[x] there is one, and old extensions were of the old."""
    for other in kind.elements.values():
        if other.path == element.path:
            json.pop(other.name, None)
            json.pop(f"_{other.name}", None)


def _remove(place: Place) -> None:
    if place.index is None:
        _clear(place.holder, place.owner, place.element)
        return
    for array in _aligned(place.holder, place.name):
        del array[place.index]


def _named(kind: Shape, name: str, part: Json) -> Element:
    """Return the element of a type by its name, or by that of its value[x] and the type of what is given."""
    given = next((key.removeprefix("value") for key in part if key.startswith("value")), "")
    found = kind.elements.get(name) or kind.elements.get(name + given)
    if found is None:
        raise PatchFailed(f"{kind.name} has no such element, or not of this type")
    return found


def _made(part: Json, element: Element) -> JsonValue:
    """Return value[x] or the resource of a part; or for a type without value[x], what its own parts say."""
    inner = each(part, "part")
    given = _plain(part)
    if given is not None or not inner:
        return given
    kind = shape(element.type)
    if kind is None:
        raise PatchFailed("A resource is given as resource, not by parts")
    made: Json = {}
    many: dict[str, list[JsonValue]] = defaultdict(list)
    for one in inner:
        member = _named(kind, str(one["name"]), one)
        if member.many:
            many[member.name].append(_made(one, member))
        else:
            made[member.name] = _made(one, member)
    return made | many


def _plain(part: Json | None) -> JsonValue:
    return next((value for name, value in (part or {}).items() if name == "resource" or name.startswith("value")), None)
