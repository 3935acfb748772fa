"""Json to compact text, each number as it came."""

from __future__ import annotations

import json as _json
from decimal import Decimal
from typing import TYPE_CHECKING

from fhir_bridge.fhir.resource.reader import Number

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue

_PLACE = '"\\u0000"'


def write(json: Json, *, indent: int | None = None) -> str:
    """Return `json` as compact text; encoded as UTF-8 it is what is stored and sent. `indent` is for people.

    Python's C encoder cannot write a Decimal as a number, so each is first written as a
    NUL, which no FHIR string holds, and put in afterwards.
    """
    numbers: list[str] = []

    def place(value: object) -> str:
        if not isinstance(value, Decimal):
            raise TypeError(f"{type(value).__name__} is not JSON")
        numbers.append(str(value if isinstance(value, Number) else Number(value)))
        return "\0"

    separators = (",", ":") if indent is None else (",", ": ")
    text = _json.dumps(json, ensure_ascii=False, separators=separators, allow_nan=False, default=place, indent=indent)
    return _put_in(text, numbers) if numbers else text


def write_value(value: JsonValue) -> str:
    """Return one JSON value as compact text."""
    return write({"": value})[4:-1]


def _put_in(text: str, numbers: list[str]) -> str:
    parts = text.split(_PLACE)
    if len(parts) != len(numbers) + 1:
        raise ValueError("a string holds NUL, which FHIR does not allow")
    woven = [piece for pair in zip(parts, [*numbers, ""], strict=True) for piece in pair]
    return "".join(woven)
