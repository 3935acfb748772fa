"""Whether a filter lets content through that is not stored yet, judged by the keys it will have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.store.filter import And, Between, Contains, Ids, Keys, Not, OfType, Or, Prefix, Present
from fhir_bridge.store.rows import LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fhir_bridge.store.comparing import Comparison
    from fhir_bridge.store.filter import Node
    from fhir_bridge.store.versions import NewVersion


def holds(node: Node, version: NewVersion) -> bool | None:  # noqa: C901, PLR0911 - one row a node
    """Judge by keys alone; None: what the node asks cannot be told before it is stored."""
    match node:
        case And(nodes):
            return _worst(holds(each, version) for each in nodes)
        case Or(nodes):
            return _turned(_worst(_turned(holds(each, version)) for each in nodes))
        case Not(inner):
            return _turned(holds(inner, version))
        case OfType(types):
            return version.type in types
        case Ids(ids):
            return version.id in ids
        case Keys(param, values):
            return any(val in values for val, _ in _of(version, param))
        case Prefix(param, text):
            return any(val.startswith(text) for val, _ in _of(version, param))
        case Contains(param, text):
            return any(text in val for val, _ in _of(version, param))
        case Between(param, low, high, prefix, begins):
            keys = [key for key in _of(version, param) if key[0].startswith(begins)]
            return any(_COMPARED[prefix](*key, low, high) for key in keys)
        case Present(param):
            return bool(_of(version, param))
        case _:
            return None


def _of(version: NewVersion, param: int) -> list[tuple[str, str]]:
    return [(val, LAST if high is None else high) for number, val, high in version.keys if number == param]


def _worst(found: Iterable[bool | None]) -> bool | None:
    every = list(found)
    return False if False in every else None if None in every else True


def _turned(found: bool | None) -> bool | None:  # noqa: FBT001 - a third value is what this is about
    return None if found is None else not found


def _within(val: str, end: str, low: str, high: str) -> bool:
    return low <= val and end <= high


# As in store/filter: the key's range val..end against the range asked for.
_COMPARED: Final[dict[Comparison, Callable[[str, str, str, str], bool]]] = {
    "eq": _within,
    "ne": lambda val, end, low, high: not _within(val, end, low, high),
    "gt": lambda _val, end, _low, high: end > high,
    "lt": lambda val, _end, low, _high: val < low,
    "ge": lambda val, end, low, high: end > high or _within(val, end, low, high),
    "le": lambda val, end, low, high: val < low or _within(val, end, low, high),
    "sa": lambda val, _end, _low, high: val > high,
    "eb": lambda _val, end, low, _high: end < low,
    "ap": lambda val, end, low, high: val <= high and end >= low,
}
