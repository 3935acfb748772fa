"""Primitive types: which JSON type each has and what its text must look like.

http://hl7.org/fhir/R4/datatypes.html#primitive. fhir.resources turns "12" into 12 and
broken base64 into nothing; here nothing is converted, a value fits or is refused.
"""

from __future__ import annotations

import re
from binascii import Error as BadBase64
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

import pybase64

from fhir_bridge.fhir.resource.narrative import fault_in
from fhir_bridge.fhir.resource.reader import Number

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.fhir.resource.reader import JsonValue

_MAX_STRING: Final = 1024 * 1024
_MAX_INT: Final = 2**31 - 1

_YEAR = r"(?!0000)[0-9]{4}"
_MONTH = r"(0[1-9]|1[0-2])"
_DAY = r"(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]{1,9})?"
_ZONE = r"(Z|[+-]((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_DATE = re.compile(rf"{_YEAR}(-{_MONTH}(-{_DAY})?)?")
_DATE_TIME = re.compile(rf"{_YEAR}(-{_MONTH}(-{_DAY}(T{_TIME}{_ZONE})?)?)?")
_INSTANT = re.compile(rf"{_YEAR}-{_MONTH}-{_DAY}T{_TIME}{_ZONE}")
_FULL_DATE = 10

MEDIA_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+*-]+(\s*;.*)?", re.ASCII)


@dataclass(frozen=True)
class Format:
    """A primitive type: the JSON type it needs, the test of its value, what to write instead."""

    json: type[str | bool | int | Number]
    fits: Callable[[str], bool]
    hint: str


def fault(kind: str, value: JsonValue) -> tuple[str, str] | None:
    """Return (issue code, what is wrong) if `value` is no FHIR primitive of type `kind`."""
    rule = FORMATS[kind]
    if not _has_type(value, rule.json):
        return "structure", f"must be a JSON {_JSON_NAMES[rule.json]}, not {json_name(value)}"
    if kind == "xhtml":
        wrong = fault_in(str(value))
        return ("invariant", wrong) if wrong else None
    return None if rule.fits(str(value)) else ("value", f"is no valid {kind}: {rule.hint}")


def json_name(value: JsonValue) -> str:
    """Return what JSON calls the type of `value`, with an article."""
    return f"{'an' if isinstance(value, (list, dict)) else 'a'} {_JSON_NAMES.get(type(value), 'null')}"


def _has_type(value: JsonValue, wanted: type) -> bool:
    if isinstance(value, bool) or wanted is bool:
        return isinstance(value, bool) and wanted is bool
    return isinstance(value, (int, Number)) if wanted is Number else isinstance(value, wanted)


def _matching(pattern: str | re.Pattern[str]) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _between(low: int, high: int) -> Callable[[str], bool]:
    return lambda text: low <= int(text) <= high


def _dated(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None and _in_calendar(text)


def _in_calendar(text: str) -> bool:
    """30 February fits the pattern and is no day."""
    if len(text) < _FULL_DATE:
        return True
    try:
        date.fromisoformat(text[:_FULL_DATE])
    except ValueError:
        return False
    return True


def _base64(text: str) -> bool:
    """Padding is needed; R4 allows white space between groups of four (mail-style lines)."""
    try:
        pybase64.b64decode("".join(text.split()), validate=True)
    except BadBase64:
        return False
    return True


def _short_enough(text: str) -> bool:
    return len(text) <= _MAX_STRING


_JSON_NAMES: Final[dict[type, str]] = {
    str: "string",
    bool: "boolean",
    int: "number",
    Number: "number",
    list: "array",
    dict: "object",
}
_NO_SPACE = "no white space"
_TEXT = Format(str, _short_enough, "at most 1 MiB of text")

FORMATS: Final[dict[str, Format]] = {
    "base64Binary": Format(str, _base64, "base64 with its padding"),
    "boolean": Format(bool, lambda _: True, "true or false"),
    "canonical": Format(str, _matching(r"\S+"), _NO_SPACE),
    "code": Format(str, _matching(r"\S+( \S+)*"), "no white space but single spaces inside"),
    "date": Format(str, _dated(_DATE), "YYYY, YYYY-MM or YYYY-MM-DD, a day that exists"),
    "dateTime": Format(
        str, _dated(_DATE_TIME), "YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with Z or an offset such as +01:00"
    ),
    "decimal": Format(Number, lambda _: True, "a number"),
    "id": Format(str, _matching(r"[A-Za-z0-9\-.]{1,64}"), "1 to 64 of A-Z, a-z, 0-9, - and ."),
    "instant": Format(str, _dated(_INSTANT), "YYYY-MM-DDThh:mm:ss.sss with Z or an offset such as +01:00"),
    "integer": Format(int, _between(-_MAX_INT - 1, _MAX_INT), "32 bits"),
    "markdown": _TEXT,
    "oid": Format(str, _matching(r"urn:oid:[0-2](\.(0|[1-9][0-9]*))+"), "urn:oid:1.2.3"),
    "positiveInt": Format(int, _between(1, _MAX_INT), "1 to 2147483647"),
    "string": _TEXT,
    "time": Format(str, _matching(_TIME), "hh:mm:ss without a zone"),
    "unsignedInt": Format(int, _between(0, _MAX_INT), "0 to 2147483647"),
    "uri": Format(str, _matching(r"\S+"), _NO_SPACE),
    "url": Format(str, _matching(r"\S+"), _NO_SPACE),
    "uuid": Format(
        str, _matching(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "urn:uuid: and a lower-case UUID"
    ),
    "xhtml": Format(str, lambda _: True, "an XHTML div"),
}
