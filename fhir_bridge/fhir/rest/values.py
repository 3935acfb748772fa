"""One search parameter's value as a criterion: prefixes, modifiers, comma and escapes by parameter type.

Rules: http://hl7.org/fhir/R4/search.html. A modifier or value that is not understood is
refused, never dropped: dropping a filter would widen a clinical result.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final, get_args

from fhir_bridge.errors import BadParameter, Issue, NotSupported
from fhir_bridge.fhir.rest import encode, ranges
from fhir_bridge.fhir.rest.criteria import (
    AnyOf,
    Contains,
    Criterion,
    Either,
    Ids,
    Prefix,
    Present,
    StartsWith,
    Updated,
    Within,
    Without,
)
from fhir_bridge.fhir.rest.served import IDENTIFIER, OF_TYPE, TEXT, Param, targets_of

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_ALTERNATIVES: Final = 500

_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,60}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,3})?")
_PREFIXES: Final[dict[str, Prefix]] = {prefix: prefix for prefix in get_args(Prefix)}
_ID: Final = re.compile(r"[A-Za-z0-9.\-]{1,64}")
_SPLIT: Final = re.compile(r"(?:[^\\,|$]|\\.|\\\Z)+|[,|$]", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\([,|$\\])")


def criterion(param: Param, modifier: str | None, raw: str, base: str | None) -> Criterion:
    """Read `raw` as a value of `param` under `modifier`.

    Raises:
        NotSupported: the modifier does not exist for this parameter, or not here.
        BadParameter: the value cannot be read.
    """
    if modifier == "":
        raise _unsupported(param, modifier)
    if modifier == "missing" and param.paths:
        return _missing(param, raw)
    alternatives = [part for part in split(raw, ",") if part]
    if len(alternatives) > MOST_ALTERNATIVES:
        text = f"{param.name} has more than {MOST_ALTERNATIVES} alternatives; ask in several searches"
        raise BadParameter(text, issues=(Issue("too-costly", text),))
    if not alternatives:
        raise BadParameter(f"{param.name} needs a value")
    if modifier == "not" and param.type == "token":
        return Without(criterion(param, None, raw, base))
    read = _READERS[_kind(param)]
    return joined([read(param, modifier, part, base) for part in alternatives])


def split(raw: str, separator: str) -> list[str]:
    """Cut at each `separator` that is not escaped by a backslash; escapes stay in."""
    parts = [""]
    for piece in _SPLIT.findall(raw):
        if piece == separator:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def plain(part: str) -> str:
    """Resolve the escapes of one value."""
    return _ESCAPE.sub(r"\1", part)


def joined(criteria: list[Criterion]) -> Criterion:
    """Join alternatives, those of one kind and parameter into one node."""
    merged: dict[object, Criterion] = {}
    for one in dict.fromkeys(criteria):
        match one, merged.get(_likeness(one)):
            case AnyOf(), AnyOf() as known:
                merged[_likeness(one)] = AnyOf(known.param, (*known.values, *one.values))
            case Ids(), Ids() as known:
                merged[Ids] = Ids((*known.values, *one.values))
            case Updated(), Updated() as known:
                merged[Updated] = Updated((*known.spans, *one.spans))
            case _:
                merged[_likeness(one)] = one
    return Either(tuple(merged.values())) if len(merged) > 1 else next(iter(merged.values()))


def _likeness(one: Criterion) -> object:
    match one:
        case AnyOf():
            return AnyOf, one.param
        case Ids() | Updated():
            return type(one)
        case _:
            return one


def _kind(param: Param) -> str:
    return param.type if param.paths else param.name


def _unsupported(param: Param, modifier: str) -> NotSupported:
    shown = f":{modifier}" if re.fullmatch(r"[A-Za-z-]{1,64}", modifier) else "this one"
    return NotSupported(f"{param.name} does not support the modifier {shown}")


def _missing(param: Param, raw: str) -> Criterion:
    if raw not in ("true", "false"):
        raise BadParameter(f"{param.name}:missing is true or false")
    also = {"token": (TEXT,), "reference": (IDENTIFIER,)}.get(param.type, ())
    present = joined([Present(param.number + variant) for variant in (0, *also)])
    return Without(present) if raw == "true" else present


def _id(param: Param, modifier: str | None, part: str, _: str | None) -> Criterion:
    if modifier:
        raise _unsupported(param, modifier)
    return Ids((plain(part),))


def _token(param: Param, modifier: str | None, part: str, _: str | None) -> Criterion:
    pieces = [plain(piece) for piece in split(part, "|")]
    if modifier == "text":
        return StartsWith(param.number + TEXT, _foldable(param, plain(part)))
    if modifier == "of-type" and param.name == "identifier":
        if len(pieces) != 3 or not all(pieces[1:]):  # noqa: PLR2004 - system, code, value
            raise BadParameter(f"{param.name}:of-type is system|code|value of the identifier's type and value")
        return AnyOf(param.number + OF_TYPE, (encode.token_typed(*pieces),))
    if modifier:
        raise _unsupported(param, modifier)
    return AnyOf(param.number, (encode.token(pieces[0]),)) if len(pieces) == 1 else _in_system(param, pieces)


def _in_system(param: Param, pieces: list[str]) -> Criterion:
    system, code, *more = pieces
    if more or not (system or code):
        raise BadParameter(f"{param.name} is code, system|code, |code or system|")
    if not code:
        return StartsWith(param.number, encode.token_of(system))
    return AnyOf(param.number, (encode.token_in(system, code),))


def _reference(param: Param, modifier: str | None, part: str, base: str | None) -> Criterion:
    if modifier == "identifier":
        pieces = [plain(piece) for piece in split(part, "|")]
        identifier = Param(param.number + IDENTIFIER, param.name, "token", param.paths)
        return _token(identifier, None, part, None) if len(pieces) == 1 else _in_system(identifier, pieces)
    targets = targets_of(param)
    if modifier and modifier not in targets:
        raise _unsupported(param, modifier)
    value = plain(part)
    if _ID.fullmatch(value):
        return AnyOf(param.number, tuple(f"{type_}/{value}" for type_ in ((modifier,) if modifier else targets)))
    encoded = encode.reference(value, base=base)
    if encoded is None or (modifier and encode.type_of_reference(encoded) != modifier):
        raise BadParameter(f"{param.name} is an id, Type/id or a URL")
    return AnyOf(param.number, (encoded,))


def _string(param: Param, modifier: str | None, part: str, _: str | None) -> Criterion:
    text = plain(part)
    if modifier == "exact":
        return AnyOf(param.number + TEXT, (encode.bounded(text),))
    if modifier == "contains":
        return Contains(param.number, _foldable(param, text))
    if modifier:
        raise _unsupported(param, modifier)
    return StartsWith(param.number, _foldable(param, text))


def _foldable(param: Param, text: str) -> str:
    found = encode.folded(text)
    if not found:
        raise BadParameter(f"{param.name} needs a letter or digit to look for")
    return found


def _uri(param: Param, modifier: str | None, part: str, _: str | None) -> Criterion:
    uri = plain(part)
    exact = AnyOf(param.number, (encode.bounded(uri),))
    if modifier == "above":
        steps = uri.split("/")
        return AnyOf(param.number, tuple(encode.bounded("/".join(steps[:end])) for end in range(len(steps), 0, -1)))
    if modifier == "below":
        return Either((exact, StartsWith(param.number, uri.rstrip("/")[: encode.BOUND - 1] + "/")))
    if modifier:
        raise _unsupported(param, modifier)
    return exact


def _date(param: Param, modifier: str | None, part: str, _: str | None) -> Criterion:
    prefix, span = _moments(param, modifier, part)
    return ranges.dates(param.number, prefix, span)


def _updated(param: Param, modifier: str | None, part: str, _: str | None) -> Criterion:
    prefix, span = _moments(param, modifier, part)
    return ranges.updated(prefix, span)


def _moments(param: Param, modifier: str | None, part: str) -> tuple[Prefix, encode.Moments]:
    if modifier:
        raise _unsupported(param, modifier)
    prefix, text = _prefix(plain(part))
    found = encode.moments(text.replace(" ", "+"))
    if found is None:
        raise BadParameter(f"{param.name} is a date such as 2026-11, 2026-11-22 or 2026-11-22T08:15:00Z")
    return prefix, found


def _prefix(text: str) -> tuple[Prefix, str]:
    known = _PREFIXES.get(text[:2])
    return (known, text[2:]) if known else ("eq", text)


def _quantity(param: Param, modifier: str | None, part: str, _: str | None) -> Criterion:
    if modifier:
        raise _unsupported(param, modifier)
    pieces = [plain(piece) for piece in split(part, "|")]
    prefix, text = _prefix(pieces[0])
    if not _DECIMAL.fullmatch(text) or len(pieces) not in (1, 3) or (len(pieces) > 1 and not pieces[2]):
        raise BadParameter(f"{param.name} is number, number|system|code or number||code")
    unit = encode.unit(pieces[1] or None, pieces[2]) if len(pieces) > 1 else encode.unit(None, None)
    return joined([*ranges.numbers(param.number, prefix, Decimal(text), unit)])


def _composite(param: Param, modifier: str | None, part: str, base: str | None) -> Criterion:
    if modifier:
        raise _unsupported(param, modifier)
    pieces = split(part, "$")
    if len(pieces) != len(param.parts) or not all(pieces):
        raise BadParameter(f"{param.name} is {'$'.join(each.type for each in param.parts)}")
    first, second = (
        _READERS[each.type](each, None, piece, base) for each, piece in zip(param.parts, pieces, strict=True)
    )
    if not isinstance(first, AnyOf):
        raise BadParameter(f"{param.name} begins with one value, such as system|code")
    return joined([_paired(value, one) for value in first.values for one in _alternatives(second)])


def _alternatives(criterion_: Criterion) -> tuple[Criterion, ...]:
    return criterion_.any if isinstance(criterion_, Either) else (criterion_,)


def _paired(first: str, second: Criterion) -> Criterion:
    """Put the first value before those of the second; a range has both ends, so it stays with that value."""
    match second:
        case AnyOf(param, values):
            return AnyOf(param, tuple(encode.together(first, value) for value in values))
        case StartsWith(param, text):
            return StartsWith(param, encode.together(first, text))
        case Within(param, prefix, low, high):
            low, high, begins = (encode.together(first, each) for each in (low, high, ""))
            return Within(param, prefix, low, high, begins)
    raise NotImplementedError(second)


_READERS: Final[dict[str, Callable[[Param, str | None, str, str | None], Criterion]]] = {
    "_id": _id,
    "_lastUpdated": _updated,
    "token": _token,
    "reference": _reference,
    "date": _date,
    "string": _string,
    "uri": _uri,
    "quantity": _quantity,
    "composite": _composite,
}
