"""What an operation was given: from its URL, from Parameters, or a resource as the whole body.

http://hl7.org/fhir/R4/operations.html#request
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import BadParameter, Malformed, NotSupported

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.rest.operations import Operation

RESOURCE: Final = "resource"
_RENDERING: Final = frozenset({"_format", "_pretty"})  # read by whoever writes the answer
_AT: Final = "Parameters.parameter"


@dataclass(frozen=True)
class Inputs:
    """Primitive parameters as text, in their order, and the resource if there is one."""

    values: tuple[tuple[str, str], ...] = ()
    resource: Json | None = None

    def one(self, name: str) -> str | None:
        """Return a parameter that is given once at most."""
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> tuple[str, ...]:
        """Return a parameter that may be given several times."""
        return tuple(value for key, value in self.values if key == name)


def inputs_of(operation: Operation, pairs: Iterable[tuple[str, str]], body: Json | None) -> Inputs:
    """Read what an operation was given; an empty value is none.

    Raises:
        NotSupported: a parameter it does not take: leaving it out would give another answer than was asked for.
        BadParameter: one that is missing or given too often. Malformed: a body that cannot be its Parameters.
    """
    given = [(name, value) for name, value in pairs if value and name not in _RENDERING]
    resource = None
    if body is not None and body.get("resourceType") == "Parameters":
        told = [_parameter(index, part) for index, part in enumerate(_list(body.get("parameter", [])))]
        given += [(name, value) for name, value in told if isinstance(value, str)]
        resource = _only([value for name, value in told if name == RESOURCE and not isinstance(value, str)])
    elif body is not None:
        resource = body
    _require(operation, [name for name, _ in given] + ([RESOURCE] if resource else []))
    return Inputs(tuple(given), resource)


def _require(operation: Operation, names: list[str]) -> None:
    takes = {part.name: part for part in operation.takes}
    if unknown := [name for name in names if name not in takes]:
        known = ", ".join(takes) or "no parameters"
        what = "a resource" if unknown[0] == RESOURCE else "this parameter"
        raise NotSupported(f"${operation.name} does not take {what}; it takes {known}", at=_AT)
    for part in operation.takes:
        if names.count(part.name) < part.least:
            raise BadParameter(f"${operation.name} needs the parameter {part.name}", at=_AT)
        if part.most == "1" and names.count(part.name) > 1:
            raise BadParameter(f"${operation.name} takes {part.name} once", at=_AT)


def _parameter(index: int, part: JsonValue) -> tuple[str, str | Json]:
    at = f"{_AT}[{index}]"
    if not isinstance(part, dict) or not isinstance(part.get("name"), str):
        raise Malformed("A parameter has a name", at=f"{at}.name")
    name = str(part["name"])
    if isinstance(found := part.get(RESOURCE), dict):
        return name, found
    values = [value for key, value in part.items() if key.startswith("value")]
    if len(values) != 1 or isinstance(values[0], (dict, list)):
        raise Malformed("A parameter has one value of a primitive type, or a resource", at=at)
    return name, _text(values[0])


def _text(value: JsonValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _list(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise Malformed("Parameters.parameter must be an array", at=_AT)
    return value


def _only(resources: list[str | Json]) -> Json | None:
    if len(resources) > 1:
        raise BadParameter("One resource at a time is taken", at=_AT)
    return next((found for found in resources if isinstance(found, dict)), None)
