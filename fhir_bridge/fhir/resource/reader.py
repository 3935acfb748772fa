"""The strict JSON reader: what FHIR's JSON form forbids is refused with its element path.

http://hl7.org/fhir/R4/json.html: no null but as a place-holder in an array of primitives,
nothing empty, decimals keep their precision. Python's parser accepts all of it, and
duplicate keys and NaN besides, so its hooks leave marks and one walk finds them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, NoReturn, Self, TypeAlias

from fhir_bridge.errors import Malformed

JsonValue: TypeAlias = "str | bool | int | Number | list[JsonValue] | dict[str, JsonValue] | None"
Json: TypeAlias = "dict[str, JsonValue]"

MAX_DEPTH: Final = 64
MAX_NODES: Final = 200_000
_MAX_DIGITS: Final = 64
_MAX_EXPONENT: Final = 300
_EXACT_INT_DIGITS: Final = 18

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_TYPE = re.compile(r"[A-Z][A-Za-z]{0,63}")
_NAME = re.compile(r"_?([a-z][A-Za-z0-9]{0,63})")
_ESCAPED_TROUBLE = re.compile(r"\\u(0000|[dD][89a-fA-F])")


class Number(Decimal):
    """A JSON number with a fraction or exponent that is written as it was read.

    1.10 and 1.1 are equal here and different to FHIR (decimal precision is meaning).
    """

    __slots__ = ("text",)
    text: str

    def __new__(cls, value: str | Decimal) -> Self:
        """Take a JSON literal or a Decimal; raise ValueError for what JSON cannot write."""
        text = str(value)
        if not _NUMBER.fullmatch(text):
            raise ValueError("not a JSON number")
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class _Refused:
    """The mark a parser hook leaves where it does not know the path."""

    why: str


def read(body: bytes | str) -> Json:
    """Return the JSON object in `body`.

    Raises:
        Malformed: with line and column for what is no JSON, with the element path for
            what FHIR's JSON does not allow. The text never repeats the body.
    """
    text = _text(body)
    parsed = _parsed(text)
    if not isinstance(parsed, dict):
        raise Malformed("The body must be one JSON object, such as a resource")
    root = parsed.get("resourceType")
    start = root if isinstance(root, str) and _TYPE.fullmatch(root) else ""
    _Walk(escapes=_ESCAPED_TROUBLE.search(text) is not None).members(parsed, start, 1)
    return parsed


def step(path: str, name: str) -> str:
    """Return the path of member `name`; a name that FHIR cannot have is not repeated.

    `_birthDate` is the same element as `birthDate` in FHIRPath.
    """
    known = _NAME.fullmatch(name)
    if known is None:
        return path
    return f"{path}.{known[1]}" if path else known[1]


def _text(body: bytes | str) -> str:
    try:
        raw = body if isinstance(body, bytes) else body.encode()
        text = raw.decode()
    except UnicodeError as exc:
        raise Malformed("The body is not UTF-8") from exc
    if text.startswith("\ufeff"):
        raise Malformed("The body starts with a byte order mark; send UTF-8 without one")
    return text


def _parsed(text: str) -> JsonValue:
    count = 0

    def members(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue | _Refused]:
        nonlocal count
        count += 1
        if count > MAX_NODES:
            raise _too_many()
        return _members(pairs)

    try:
        parsed: JsonValue = json.loads(
            text,
            object_pairs_hook=members,
            parse_float=_number,
            parse_int=_whole,
            parse_constant=lambda _: _Refused("is not a JSON number"),
        )
    except json.JSONDecodeError as exc:
        raise Malformed(f"The body is not JSON: line {exc.lineno}, column {exc.colno}") from exc
    except RecursionError as exc:
        raise Malformed(f"The body is nested deeper than {MAX_DEPTH} levels") from exc
    return parsed


def _members(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue | _Refused]:
    members: dict[str, JsonValue | _Refused] = dict(pairs)
    if len(members) != len(pairs):
        for name, given in Counter(name for name, _ in pairs).items():
            if given > 1:
                members[name] = _Refused("is given twice")
    return members


def _number(text: str) -> Number | _Refused:
    try:
        number = Number(text) if len(text) <= _MAX_DIGITS else None
    except InvalidOperation:
        number = None
    if number is None or abs(number.adjusted()) > _MAX_EXPONENT:
        return _Refused("is a number too long or too large to be kept exactly")
    return number


def _whole(text: str) -> int | Number | _Refused:
    return int(text) if len(text) <= _EXACT_INT_DIGITS and text != "-0" else _number(text)


def _too_many() -> Malformed:
    return Malformed(f"The body has more than {MAX_NODES} elements")


class _Walk:
    """One pass over parsed JSON that raises at the first thing FHIR's JSON form forbids."""

    def __init__(self, *, escapes: bool) -> None:
        """Strings are looked into only if the text has escapes that can hide NUL or half a character."""
        self.escapes = escapes
        self.nodes = 0

    def members(self, members: Json, path: str, depth: int) -> None:
        if not members:
            _refuse("is an empty object; leave it out", path)
        self._count(len(members))
        for name, value in members.items():
            at = step(path, name)
            if self.escapes:
                _characters(name, path)
            if isinstance(value, list):
                other = members.get(name[1:] if name.startswith("_") else f"_{name}")
                self._items(value, at, depth + 1, other)
            else:
                self._value(value, at, depth + 1)

    def _items(self, items: list[JsonValue], path: str, depth: int, other: JsonValue) -> None:
        if not items:
            _refuse("is an empty array; leave it out", path)
        self._count(len(items))
        beside = other if isinstance(other, list) else []
        for index, item in enumerate(items):
            if item is None and index < len(beside) and beside[index] is not None:
                continue
            if isinstance(item, list):
                _refuse("is an array inside an array", f"{path}[{index}]")
            self._value(item, f"{path}[{index}]", depth)

    def _value(self, value: JsonValue | _Refused, path: str, depth: int) -> None:
        if isinstance(value, str):
            if not value:
                _refuse("is an empty string; leave it out", path)
            if self.escapes:
                _characters(value, path)
        elif isinstance(value, dict):
            if depth > MAX_DEPTH:
                _refuse(f"is nested deeper than {MAX_DEPTH} levels", path)
            self.members(value, path, depth)
        elif value is None:
            _refuse("is null; leave it out", path)
        elif isinstance(value, _Refused):
            _refuse(value.why, path)

    def _count(self, more: int) -> None:
        self.nodes += more
        if self.nodes > MAX_NODES:
            raise _too_many()


def _characters(text: str, path: str) -> None:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        _refuse("holds a NUL or half of a surrogate pair", path)


def _refuse(why: str, path: str) -> NoReturn:
    raise Malformed(f"{path or 'The body'} {why}", at=path or None)
