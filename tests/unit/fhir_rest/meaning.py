"""What a criterion means, said a second time over plain keys: the tests' stand-in for a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.fhir.rest.criteria import AnyOf, Contains, Either, Present, StartsWith, Within, Without

if TYPE_CHECKING:
    from fhir_bridge.fhir.rest.criteria import Criterion
    from fhir_bridge.fhir.rest.keys import SearchKey


def holds(criterion: Criterion, keys: tuple[SearchKey, ...]) -> bool:  # noqa: PLR0911 - one row a node
    match criterion:
        case AnyOf(param, values):
            return any(key.param == param and key.val in values for key in keys)
        case StartsWith(param, text):
            return any(key.param == param and key.val.startswith(text) for key in keys)
        case Contains(param, text):
            return any(key.param == param and text in key.val for key in keys)
        case Within():
            return any(
                key.param == criterion.param and _within(criterion, key)
                for key in keys
                if key.val.startswith(criterion.begins)
            )
        case Present(param):
            return any(key.param == param for key in keys)
        case Either(alternatives):
            return any(holds(one, keys) for one in alternatives)
        case Without(inner):
            return not holds(inner, keys)
    raise NotImplementedError(criterion)


def _within(asked: Within, key: SearchKey) -> bool:
    low, high = key.val, key.high or ""
    inside = asked.low <= low and high <= asked.high
    return {
        "eq": inside,
        "ne": not inside,
        "gt": high > asked.high,
        "lt": low < asked.low,
        "ge": high > asked.high or inside,
        "le": low < asked.low or inside,
        "sa": low > asked.high,
        "eb": high < asked.low,
        "ap": low <= asked.high and high >= asked.low,
    }[asked.prefix]
