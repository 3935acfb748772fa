"""Patches of a resource: JSON Patch (RFC 6902) and FHIRPath Patch (http://hl7.org/fhir/R4/fhirpatch.html)."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Final, cast

import jsonpatch
import jsonpointer

from fhir_bridge.errors import Invalid, Issue, Malformed, NotSupported
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.shapes import resource_shape, shape

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue

_STEP: Final = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9]*)"
    r"(?:\.where\((?P<where>[A-Za-z.]+)\s*=\s*'(?P<equals>(?:[^'\\]|\\.)*)'\))?"
    r"(?:\[(?P<index>\d{1,6})\])?(?:\.(?P<end>first|last)\(\))?(?:\.|$)"
)
_MOST_OPERATIONS: Final = 500


def json_patched(json: Json, body: bytes) -> Json:
    """Apply a JSON Patch.

    Raises:
        Malformed: no patch document. Invalid (422): an operation that cannot be, or a failed test.
    """
    wrapped = read(b'{"patch":' + body + b"}") if body.strip() else {}
    operations = wrapped.get("patch")
    if not isinstance(operations, list) or len(operations) > _MOST_OPERATIONS:
        raise Malformed("A JSON Patch is an array of operations")
    try:
        patched = jsonpatch.JsonPatch(cast("list[dict[str, object]]", operations)).apply(deepcopy(json))
    except jsonpatch.InvalidJsonPatch as exc:
        raise Malformed("An operation of the patch lacks a member, or is none of RFC 6902") from exc
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, KeyError, ValueError) as exc:
        raise _unprocessable("The patch does not fit the resource: a path that is not there, or a failed test") from exc
    if not isinstance(patched, dict):
        raise _unprocessable("The patch leaves no resource")
    return cast("Json", patched)


def fhir_patched(json: Json, parameters: Json) -> Json:
    """Apply a FHIRPath Patch: add, insert, delete, replace and move.

    Paths may have element names, `[n]`, `.first()`, `.last()` and `.where(element = 'text')`.

    Raises:
        Malformed: no patch. NotSupported: a path beyond that. Invalid (422): it meets nothing, or several elements.
    """
    patched = deepcopy(json)
    operations = parameters.get("parameter")
    if not isinstance(operations, list) or not 0 < len(operations) <= _MOST_OPERATIONS:
        raise Malformed("A FHIRPath Patch has operations", at="Parameters.parameter")
    for index, operation in enumerate(operations):
        at = f"Parameters.parameter[{index}]"
        parts = _parts(operation, at)
        kind = parts.get("type")
        if kind not in _OPERATIONS:
            raise Malformed("The type of an operation is add, insert, delete, replace or move", at=f"{at}.part")
        _OPERATIONS[str(kind)](patched, parts, at)
    return patched


def _parts(operation: JsonValue, at: str) -> dict[str, JsonValue]:
    listed = operation.get("part") if isinstance(operation, dict) and operation.get("name") == "operation" else None
    if not isinstance(listed, list):
        raise Malformed("Each parameter of a FHIRPath Patch is an operation with parts", at=at)
    found: dict[str, JsonValue] = {}
    for part in listed:
        if isinstance(part, dict) and isinstance(part.get("name"), str):
            found[str(part["name"])] = _value_of(part)
    return found


def _value_of(part: Json) -> JsonValue:
    """Return value[x], or for a backbone element the object that its own parts make."""
    named = part.get("part")
    if isinstance(named, list):
        return {str(each["name"]): _value_of(each) for each in named if isinstance(each, dict) and "name" in each}
    return next((value for name, value in part.items() if name.startswith("value")), None)


class _Node:
    """A place in a resource: in `holder` under `key`; a list stands for all its items."""

    def __init__(self, holder: dict[str, JsonValue] | list[JsonValue], key: str | int) -> None:
        self.holder = holder
        self.key = key

    @property
    def value(self) -> JsonValue:
        if isinstance(self.holder, dict):
            return self.holder.get(str(self.key))
        return self.holder[int(self.key)]

    def set(self, value: JsonValue) -> None:
        if isinstance(self.holder, dict):
            self.holder[str(self.key)] = value
        else:
            self.holder[int(self.key)] = value

    def remove(self) -> None:
        if isinstance(self.holder, dict):
            self.holder.pop(str(self.key), None)
        else:
            del self.holder[int(self.key)]


def _located(json: Json, path: JsonValue, at: str) -> list[_Node]:
    """Return the places a path names; the last step may name one that is not there yet."""
    if not isinstance(path, str):
        raise Malformed("The operation has no path", at=at)
    root, _, rest = path.partition(".")
    if root != json["resourceType"]:
        raise _unprocessable("The path does not begin with the type of the resource", at=at)
    holders: list[dict[str, JsonValue]] = [json]
    nodes: list[_Node] = []
    position = 0
    while position < len(rest):
        step = _STEP.match(rest, position)
        if step is None:
            raise NotSupported("The path uses FHIRPath beyond names, [n], first(), last() and where()", at=at)
        nodes = [node for holder in holders for node in _stepped(holder, step)]
        holders = [item for node in nodes for item in _objects(node.value)]
        position = step.end()
    return nodes


def _stepped(holder: dict[str, JsonValue], step: re.Match[str]) -> list[_Node]:
    name = step["name"]
    value = holder.get(name)
    picks = step["where"] or step["index"] or step["end"]
    if not isinstance(value, list):
        return [] if picks and (value is None or step["index"] not in (None, "0")) else [_Node(holder, name)]
    places = list(range(len(value)))
    if step["where"]:
        wanted = re.sub(r"\\(.)", r"\1", step["equals"])
        places = [place for place in places if _text_at(value[place], step["where"]) == wanted]
    if step["index"]:
        places = places[int(step["index"]) : int(step["index"]) + 1]
    if step["end"]:
        places = places[:1] if step["end"] == "first" else places[-1:]
    return [_Node(value, place) for place in places] if picks else [_Node(holder, name)]


def _text_at(value: JsonValue, path: str) -> JsonValue:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def _one(json: Json, path: JsonValue, at: str) -> _Node:
    nodes = _located(json, path, at)
    if len(nodes) != 1:
        raise _unprocessable("The path has to meet one element", at=at)
    return nodes[0]


def _add(json: Json, parts: dict[str, JsonValue], at: str) -> None:
    name, value = parts.get("name"), parts.get("value")
    if not isinstance(name, str) or value is None:
        raise Malformed("add has a path, a name and a value", at=at)
    holder = json if parts.get("path") == json["resourceType"] else _one(json, parts.get("path"), at).value
    if not isinstance(holder, dict):
        raise _unprocessable("add needs an element that can have others", at=at)
    there = holder.get(name)
    if isinstance(there, list):
        there.append(value)
    else:
        holder[name] = [value] if there is None and _repeats(json, parts, name) else value


def _repeats(json: Json, parts: dict[str, JsonValue], name: str) -> bool:
    """Tell whether an element is a list in its type, so that the first of it begins one."""
    kind = resource_shape(json["resourceType"])
    path = str(parts["path"]).partition(".")[2]
    for step in _STEP.finditer(path):
        element = kind.elements.get(step["name"]) if kind else None
        kind = shape(element.type) if element else None
    element = kind.elements.get(name) if kind else None
    return element is not None and element.many


def _insert(json: Json, parts: dict[str, JsonValue], at: str) -> None:
    items = _items(json, parts, at)
    index = parts.get("index")
    if not isinstance(index, int) or not 0 <= index <= len(items):
        raise _unprocessable("index is a place in the list, or one behind its end", at=at)
    items.insert(index, parts.get("value"))


def _delete(json: Json, parts: dict[str, JsonValue], at: str) -> None:
    nodes = _located(json, parts.get("path"), at)
    if len(nodes) > 1:
        raise _unprocessable("delete takes one element at a time", at=at)
    for node in nodes:
        node.remove()
    _prune(json)


def _replace(json: Json, parts: dict[str, JsonValue], at: str) -> None:
    node = _one(json, parts.get("path"), at)
    if node.value is None:
        raise _unprocessable("There is nothing at the path to replace", at=at)
    node.set(parts.get("value"))


def _move(json: Json, parts: dict[str, JsonValue], at: str) -> None:
    items = _items(json, parts, at)
    source, destination = parts.get("source"), parts.get("destination")
    places = range(len(items))
    if source not in places or destination not in places:
        raise _unprocessable("source and destination are places in the list", at=at)
    items.insert(int(str(destination)), items.pop(int(str(source))))


def _items(json: Json, parts: dict[str, JsonValue], at: str) -> list[JsonValue]:
    value = _one(json, parts.get("path"), at).value
    if not isinstance(value, list):
        raise _unprocessable("The path has to name a list", at=at)
    return value


def _prune(value: JsonValue) -> None:
    """Remove what a deletion left empty: FHIR has no empty lists or objects."""
    if isinstance(value, dict):
        for name in [*value]:
            _prune(value[name])
            if value[name] in ({}, []):
                del value[name]
    elif isinstance(value, list):
        for item in value:
            _prune(item)
        value[:] = [item for item in value if item not in ({}, [])]


_OPERATIONS: Final = {"add": _add, "insert": _insert, "delete": _delete, "replace": _replace, "move": _move}


def _unprocessable(text: str, *, at: str | None = None) -> Invalid:
    failure = Invalid(text, issues=(Issue("processing", text, at),))
    failure.status = 422
    return failure
