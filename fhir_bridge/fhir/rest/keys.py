"""The search keys of a resource: what a search will find it by, written when it is written.

Nothing here fails: a value that cannot be a key has none. What may be stored is decided
by fhir/resource, not here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.offer import THIS
from fhir_bridge.fhir.rest.served import (
    COMMON,
    ENCOUNTER_COMPARTMENT,
    IDENTIFIER,
    OF_TYPE,
    PATIENT_COMPARTMENT,
    TEXT,
    Param,
    Served,
    served,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fhir_bridge.fhir.resource.reader import Json, JsonValue


class SearchKey(NamedTuple):
    """One row of the key table. `high` ends the range of a date or quantity."""

    param: int
    val: str
    high: str | None = None


def keys_of(json: Json, *, base: str | None = None) -> tuple[SearchKey, ...]:
    """List the keys of a resource, compartments included, ordered and without doubles.

    `base` is the own FHIR base URL, by which absolute references to this server are known.
    Of two ranges with the same beginning the longer one stands for both.
    """
    row = served(_text(json.get("resourceType")) or "")
    if row is None:
        return ()
    widest: dict[tuple[int, str], SearchKey] = {}
    for key in _all(row, json, base):
        known = widest.get(key[:2])
        if known is None or (key.high or "") > (known.high or ""):
            widest[key[:2]] = key
    return tuple(sorted(widest.values(), key=lambda key: key[:2]))


def _all(row: Served, json: Json, base: str | None) -> Iterator[SearchKey]:
    for param in (*row.params, *COMMON):
        found = (value for path in param.paths for value in values_at(json, path))
        for value in [any(one is not False for one in found)] if param.whether else found:
            yield from _ENCODERS[param.type](param, value, base)
    yield from _compartment(PATIENT_COMPARTMENT, "Patient", row.patient, (json, base))
    yield from _compartment(ENCOUNTER_COMPARTMENT, "Encounter", row.encounter, (json, base))


def values_at(json: JsonValue, path: str) -> Iterator[JsonValue]:
    """Yield what stands at an element path, looking into every repetition."""
    if path == THIS:
        yield json
        return
    step, _, rest = path.partition(".")
    name, _, only = step.removesuffix("]").partition("[")
    for element in json if isinstance(json, list) else [json]:
        found = element.get(name) if isinstance(element, dict) else None
        if only:
            found = [one for one in found if _is(one, only)] if isinstance(found, list) else None
        if found is not None and rest:
            yield from values_at(found, rest)
        elif isinstance(found, list):
            yield from found
        elif found is not None:
            yield found


def _is(element: JsonValue, which: str) -> bool:
    name, _, value = which.partition("=")
    return isinstance(element, dict) and element.get(name) == value


def _compartment(
    number: int, type_: str, paths: tuple[str, ...], source: tuple[Json, str | None]
) -> Iterator[SearchKey]:
    json, base = source
    if json.get("resourceType") == type_ and isinstance(json.get("id"), str):
        yield SearchKey(number, f"{type_}/{json['id']}")
    member = Param(number, type_, "reference", paths, targets=(type_,))
    for path in paths:
        for value in values_at(json, path):
            yield from (key for key in _reference(member, value, base) if key.param == number)


def _token(param: Param, value: JsonValue, _: str | None) -> Iterator[SearchKey]:
    if isinstance(value, bool):
        yield SearchKey(param.number, "true" if value else "false")
    elif isinstance(value, str):
        yield from _coded(param.number, param.system, value)
    elif isinstance(value, dict) and "value" in value:
        yield from _identifier(param, value)
    elif isinstance(value, dict):
        yield from _concept(param, value)


def _coded(number: int, system: str | None, code: str) -> Iterator[SearchKey]:
    yield SearchKey(number, encode.token(code))
    yield SearchKey(number, encode.token_in(system or "", code))


def _identifier(param: Param, identifier: Json) -> Iterator[SearchKey]:
    value = _text(identifier.get("value"))
    if value is None:
        return
    yield from _coded(param.number, _text(identifier.get("system")), value)
    for coding in values_at(identifier, "type.coding"):
        if isinstance(coding, dict) and (code := _text(coding.get("code"))):
            typed = encode.token_typed(_text(coding.get("system")) or "", code, value)
            yield SearchKey(param.number + OF_TYPE, typed)
    yield from _texts(param.number, values_at(identifier, "type.text"))


def _concept(param: Param, concept: Json) -> Iterator[SearchKey]:
    """Write a Coding, or a CodeableConcept with all its codings and texts."""
    codings = concept.get("coding")
    for coding in codings if isinstance(codings, list) else [concept]:
        if isinstance(coding, dict):
            if code := _text(coding.get("code")):
                yield from _coded(param.number, _text(coding.get("system")), code)
            yield from _texts(param.number, [coding.get("display")])
    yield from _texts(param.number, [concept.get("text")])


def _texts(number: int, values: Iterable[JsonValue]) -> Iterator[SearchKey]:
    for value in values:
        if text := encode.folded(_text(value) or ""):
            yield SearchKey(number + TEXT, text)


def _reference(param: Param, value: JsonValue, base: str | None) -> Iterator[SearchKey]:
    if not isinstance(value, dict):
        return
    encoded = encode.reference(_text(value.get("reference")) or "", base=base)
    if encoded and _points_at(param, encode.type_of_reference(encoded) or _text(value.get("type"))):
        yield SearchKey(param.number, encoded)
    identifier = value.get("identifier")
    if isinstance(identifier, dict) and _points_at(param, _text(value.get("type"))):
        code = _text(identifier.get("value"))
        if code is not None:
            yield from _coded(param.number + IDENTIFIER, _text(identifier.get("system")), code)


def _points_at(param: Param, type_: str | None) -> bool:
    return type_ is None or not param.targets or type_ in param.targets


def _date(param: Param, value: JsonValue, _: str | None) -> Iterator[SearchKey]:
    if isinstance(value, str):
        if span := encode.moments(value):
            yield SearchKey(param.number, span.low, span.high)
    elif isinstance(value, dict):
        start = encode.moments(_text(value.get("start")) or "")
        end = encode.moments(_text(value.get("end")) or "")
        if start or end:
            low, high = start.low if start else encode.EARLIEST, end.high if end else encode.LATEST
            yield SearchKey(param.number, low, high)


def _string(param: Param, value: JsonValue, _: str | None) -> Iterator[SearchKey]:
    if isinstance(value, str) and (text := encode.folded(value)):
        yield SearchKey(param.number, text)
        yield SearchKey(param.number + TEXT, encode.bounded(value))


def _uri(param: Param, value: JsonValue, _: str | None) -> Iterator[SearchKey]:
    if isinstance(value, str):
        yield SearchKey(param.number, encode.bounded(value))


def _quantity(param: Param, value: JsonValue, _: str | None) -> Iterator[SearchKey]:
    """Write a number once without its unit, once with the unit's code and once with its system too."""
    amount = value.get("value") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(amount, int | Decimal) or isinstance(amount, bool):
        return
    encoded = encode.number(Decimal(amount))
    code, system = _text(value.get("code")), _text(value.get("system"))
    units = {encode.unit(None, None), encode.unit(None, _text(value.get("unit")))}
    units |= {encode.unit(None, code), encode.unit(system or "", code)} if code else set()
    for unit in units:
        yield SearchKey(param.number, unit + encoded, unit + encoded)


def _composite(param: Param, value: JsonValue, base: str | None) -> Iterator[SearchKey]:
    """Write every pair of values of one element; only the second can be a range."""
    firsts, seconds = (
        [
            key
            for path in part.paths
            for inner in values_at(value, path)
            for key in _ENCODERS[part.type](part, inner, base)
            if key.param == param.number
        ]
        for part in param.parts
    )
    for first in firsts:
        for second in seconds:
            high = None if second.high is None else encode.together(first.val, second.high)
            yield SearchKey(param.number, encode.together(first.val, second.val), high)


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None


_ENCODERS: dict[str, Callable[[Param, JsonValue, str | None], Iterator[SearchKey]]] = {
    "token": _token,
    "reference": _reference,
    "date": _date,
    "string": _string,
    "uri": _uri,
    "quantity": _quantity,
    "composite": _composite,
}
