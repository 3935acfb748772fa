"""JSON Patch of a resource (RFC 6902)."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Final

import jsonpatch
import jsonpointer

from fhir_bridge.errors import Malformed, PatchFailed
from fhir_bridge.fhir.resource.patch import MOST_OPERATIONS, finished
from fhir_bridge.fhir.resource.reader import read

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue

_POINTER: Final = re.compile(r"(?:/(?:[^~/]|~[01])*)+", re.DOTALL)
_MEMBERS: Final[dict[str, tuple[str, ...]]] = {
    "add": ("value",),
    "replace": ("value",),
    "test": ("value",),
    "remove": (),
    "move": ("from",),
    "copy": ("from",),
}
_MOST_COPIED: Final = 200_000  # elements and characters: a few copies of copies fill any memory
_DOES_NOT_FIT: Final = (
    jsonpatch.JsonPatchException,
    jsonpointer.JsonPointerException,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


def json_patched(json: Json, body: bytes) -> Json:
    """Apply a JSON Patch.

    Raises:
        Malformed: no patch document.
        PatchFailed: an operation that cannot be, a failed test, or a result that is no FHIR JSON.
    """
    patched = deepcopy(json)
    left = _MOST_COPIED
    for index, operation in enumerate(_operations(body)):
        try:
            if operation["op"] == "copy":
                left -= _weight(jsonpointer.resolve_pointer(patched, str(operation["from"])), left)
            jsonpatch.JsonPatch([operation]).apply(patched, in_place=True)
        except _DOES_NOT_FIT as exc:
            text = "does not fit the resource: its path is not there, or its test failed"
            raise PatchFailed(f"Operation {index} of the patch {text}") from exc
    return finished(patched)


def _operations(body: bytes) -> list[Json]:
    found = read(b'{"patch":' + body + b"}").get("patch") if body.strip() else None
    if not isinstance(found, list) or len(found) > MOST_OPERATIONS:
        raise Malformed(f"A JSON Patch is an array of 1 to {MOST_OPERATIONS} operations")
    return [_operation(each, index) for index, each in enumerate(found)]


def _operation(each: JsonValue, index: int) -> Json:
    op = each.get("op") if isinstance(each, dict) else None
    if not isinstance(each, dict) or not isinstance(op, str) or op not in _MEMBERS:
        raise Malformed(f"Operation {index} of the patch is none of {', '.join(_MEMBERS)}")
    if not set(_MEMBERS[op]) <= set(each):
        raise Malformed(f"Operation {index} of the patch has no {_MEMBERS[op][0]}")
    for pointer in (each.get("path"), each.get("from", "/")):
        if not isinstance(pointer, str) or not _POINTER.fullmatch(pointer):
            raise Malformed(f"Operation {index} of the patch has no JSON Pointer such as /name/0/family as its place")
    return each


def _weight(value: JsonValue, left: int) -> int:
    """Return how much a value holds.

    Raises:
        PatchFailed: more than is left to be copied.
    """
    weight, waiting = 0, [value]
    while waiting:
        value = waiting.pop()
        weight += len(value) if isinstance(value, str) else 1
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
        if weight > left:
            raise PatchFailed("The patch copies too much")
    return weight
