"""SMART scopes, v1 and v2: reading, narrowing, asking.

Grammar and enforcement: SMART App Launch 2.2, "Scopes and Launch Context".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal, cast
from urllib.parse import parse_qsl, quote

Level = Literal["patient", "user", "system"]
Right = Literal["c", "r", "u", "d", "s"]
Query = tuple[tuple[str, str], ...]

RIGHTS: Final = "cruds"
_V1: Final = {"read": "rs", "write": "cud", "*": "cruds"}
# What stands for itself in the query of a scope: characters of a scope-token (RFC 6749 section 3.3)
# that a query does not end at. All others are written as %XX: a decoded blank would begin a new scope.
_SAFE: Final = "!$'()*,-./:;@_|~"
_FORM: Final = re.compile(
    r"(?P<level>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]{1,40})"
    r"\.(?:(?P<v1>read|write|\*)|(?P<v2>c?r?u?d?s?))(?:\?(?P<query>[^ ]+))?"
)


@dataclass(frozen=True)
class Scope:
    """One resource scope. `type` may be `*`; `rights` are letters of `cruds` in that order."""

    level: Level
    type: str
    rights: str
    query: Query = ()
    v1: bool = False

    def covers(self, type_: str, right: Right) -> bool:
        """Tell whether this scope, its query aside, gives `right` on `type_`."""
        return self.type in {"*", type_} and right in self.rights

    def __str__(self) -> str:
        names = {rights: name for name, rights in _V1.items()}
        rights = names[self.rights] if self.v1 and self.rights in names else self.rights
        query = "&".join(f"{quote(name, safe=_SAFE)}={quote(value, safe=_SAFE)}" for name, value in self.query)
        return f"{self.level}/{self.type}.{rights}" + (f"?{query}" if query else "")


def parse(text: str) -> tuple[Scope, ...]:
    """Read the resource scopes of a scope string; what cannot be read is ignored, never guessed."""
    return tuple(scope for word in dict.fromkeys(text.split()) if (scope := _scope(word)) is not None)


def _scope(word: str) -> Scope | None:
    found = _FORM.fullmatch(word)
    if found is None:
        return None
    rights = _V1[found["v1"]] if found["v1"] else found["v2"]
    query = tuple(parse_qsl(found["query"] or "", keep_blank_values=True))
    if not rights or (found["query"] and (found["v1"] or not query)):
        return None
    return Scope(cast("Level", found["level"]), found["type"], rights, query, v1=bool(found["v1"]))


def others(text: str) -> tuple[str, ...]:
    """Return the words of a scope string that are no resource scopes, such as `openid` or `launch`."""
    return tuple(word for word in dict.fromkeys(text.split()) if "/" not in word or word.startswith("launch/"))


def narrowed(requested: str, registered: str) -> str:
    """Return what of `requested` is within `registered`, as a scope string that may be empty.

    A request wider than the registration is narrowed to what both allow.
    """
    found = dict.fromkeys(word for word in others(requested) if word in others(registered))
    held = parse(registered)
    within = dict.fromkeys(both for asked in parse(requested) for each in held if (both := _both(asked, each)))
    kept = [scope for scope in within if not any(_wider(other, scope) for other in within)]
    return " ".join([*found, *map(str, kept)])


def within(requested: str, given: str) -> bool:
    """Tell whether every word of `requested` can be read and is within `given`."""
    return all(
        word in others(given) or str(next(iter(parse(word)), "")) == narrowed(word, given) != ""
        for word in requested.split()
    )


def _both(asked: Scope, held: Scope) -> Scope | None:
    types = {asked.type, held.type} - {"*"}
    rights = "".join(right for right in asked.rights if right in held.rights)
    if asked.level != held.level or len(types) > 1 or not rights:
        return None
    query = tuple(sorted({*asked.query, *held.query}))
    return replace(asked, type=types.pop() if types else "*", rights=rights, query=query)


def _wider(one: Scope, other: Scope) -> bool:
    """Tell whether `one` gives all that `other` gives, and more."""
    same = replace(one, v1=False) == replace(other, v1=False)
    return (
        not same
        and one.level == other.level
        and one.type in {"*", other.type}
        and set(other.rights) <= set(one.rights)
        and set(one.query) <= set(other.query)
    )
