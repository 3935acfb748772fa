"""A query string as a SearchRequest: which parameters, chains, includes and result options were meant.

Rules: http://hl7.org/fhir/R4/search.html; ruling 20 on what is not known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, cast
from urllib.parse import urlencode

from fhir_bridge.errors import BadParameter, Issue, NoSuchRoute, NotSupported
from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.criteria import Chained, Criterion, Include, Reversed, SearchRequest, Sort
from fhir_bridge.fhir.rest.served import BY_TYPE, NOT_SERVED, Param, Served, targets_of
from fhir_bridge.fhir.rest.values import criterion, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST_PARAMETERS: Final = 200

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_CHAIN: Final = re.compile(r"(?P<param>[^.:]+)(:(?P<type>[^.:]+))?\.(?P<inner>.+)", re.DOTALL)
_ELEMENT: Final = re.compile(r"[a-z][A-Za-z]{0,63}")
_SHOWABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_:.\-]{0,127}")
_COLUMNS: Final[dict[str, Literal["_id", "_lastUpdated"]]] = {"_id": "_id", "_lastUpdated": "_lastUpdated"}
_RENDERING: Final = ("_format", "_pretty")  # read by whoever writes the answer


def parse(
    type_: str | None,
    pairs: Iterable[tuple[str, str]],
    *,
    strict: bool = False,
    base: str | None = None,
    among: tuple[str, ...] = (),
) -> SearchRequest:
    """Read the decoded parameters of a search for `type_`; None searches the whole system, or the types `among`.

    Empty values are ignored. `base` is the own FHIR base URL, by which absolute references
    to this server are known.

    Raises:
        NoSuchRoute: this type is not searched here.
        NotSupported: a modifier that is not served; under `strict` an unknown parameter too.
        BadParameter: a value that cannot be read.
    """
    given = [(name, value) for name, value in pairs if value]
    if len(given) > MOST_PARAMETERS:
        text = f"A search has at most {MOST_PARAMETERS} parameters"
        raise BadParameter(text, issues=(Issue("too-costly", text),))
    reading = _Reading(_searched(type_, given, among), system=type_ is None, base=base)
    for name, value in given:
        if _UNSTORABLE.search(name + value):
            raise BadParameter("A search parameter holds a character that text cannot have")
        reading.take(name, value)
    if strict and reading.unknown:
        raise NotSupported(f"{not_served(reading.unknown[0])}; leave it out or ask leniently")
    return reading.request()


def query_of(request: SearchRequest) -> str:
    """Rebuild the query of the self link: only what was used, in the order it was asked."""
    return urlencode(request.used, safe="/:|,")


def not_served(name: str) -> str:
    """Say that a parameter is not searched by, and why not where that is known."""
    head = name.partition(":")[0]
    if head in _RESULT:
        return f"{name} names what is not known here"
    reason = NOT_SERVED.get(head)
    return f"{name} is not a search parameter here" + (f": {reason}" if reason else "")


def _searched(type_: str | None, given: list[tuple[str, str]], among: tuple[str, ...]) -> tuple[Served, ...]:
    if type_ is not None:
        wanted = [type_]
    else:
        wanted = [part for name, value in given if name == "_type" for part in value.split(",")]
    rows = [BY_TYPE[name] for name in dict.fromkeys(wanted or among or BY_TYPE) if name in BY_TYPE]
    rows = [row for row in rows if "search-type" in row.interactions and (wanted or not row.apart)]
    if wanted and ({row.type for row in rows} < set(wanted) or (among and not set(wanted) <= set(among))):
        raise NoSuchRoute("A type is named that is not searched here")
    if len(rows) > 1 and (apart := next((row.type for row in rows if row.apart), None)):
        raise NotSupported(f"{apart} is searched by itself: name no other type")
    return tuple(rows)


def _shown(name: str) -> str:
    return name if _SHOWABLE.fullmatch(name) else "a parameter"


@dataclass
class _Reading:
    """What has been understood so far."""

    rows: tuple[Served, ...]
    system: bool
    base: str | None
    criteria: list[Criterion] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    revincludes: list[Include] = field(default_factory=list)
    sort: list[Sort] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    elements: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    used: list[tuple[str, str]] = field(default_factory=list)

    def take(self, name: str, value: str) -> None:
        """Understand one parameter, or remember that it was not."""
        head, _, modifier = name.partition(":")
        if head in _RESULT:
            understood = _RESULT[head](self, modifier, value)
        elif head in _RENDERING or (name == "_type" and self.system):
            understood = value
        else:
            found = self.criterion(name, value)
            self.criteria += [found] if found else []
            understood = value if found else ""
        if understood != value:
            self.unknown.append(_shown(name))
        if understood:
            self.used.append((name, understood))

    def criterion(self, name: str, value: str) -> Criterion | None:
        """Read a filter; None when there is no such parameter.

        Raises:
            NotSupported: only some of the types searched have it: the others would be found unfiltered.
        """
        if name.startswith("_has:"):
            return self._reversed(name, value)
        chain = _CHAIN.fullmatch(name)
        if chain:
            found = [self._chained(row, chain, value) for row in self.rows]
        else:
            found = [_filter(row, name, value, self.base) for row in self.rows]
        known = [one for one in found if one]
        if known and len(known) < len(found):
            raise NotSupported(f"Not every type that is searched has {_shown(name)}: name those that have it in _type")
        return joined(known) if known else None

    def _chained(self, row: Served, chain: re.Match[str], value: str) -> Criterion | None:
        param = _reference(row, chain["param"])
        if param is None:
            return None
        types = [name for name in targets_of(param) if chain["type"] in (None, name) and name in BY_TYPE]
        inner = {name: _one_step(BY_TYPE[name], chain["inner"], value, self.base) for name in types}
        found: list[Criterion] = [
            Chained(param.number, (name,), criterion) for name, criterion in inner.items() if criterion
        ]
        return joined(found) if found else None

    def _reversed(self, name: str, value: str) -> Criterion | None:
        _, type_, ref, inner, *_ = [*name.split(":", 3), "", "", ""]
        row = BY_TYPE.get(type_)
        param = _reference(row, ref) if row else None
        if row is None or param is None or not _meets(param, self.rows):
            return None
        found = _one_step(row, inner, value, self.base)
        return Reversed(type_, param.number, found) if found else None

    def request(self) -> SearchRequest:
        """Freeze what was understood.

        Raises:
            BadParameter: _summary=text with includes (search.html#summary).
        """
        if self.options.get("_summary") == "text" and (self.includes or self.revincludes):
            raise BadParameter("_summary=text goes without _include and _revinclude")
        count = int(self.options["_count"]) if "_count" in self.options else None
        summary = "count" if count == 0 else self.options.get("_summary")
        return SearchRequest(
            types=tuple(row.type for row in self.rows),
            criteria=tuple(self.criteria),
            includes=tuple(dict.fromkeys(self.includes)),
            revincludes=tuple(dict.fromkeys(self.revincludes)),
            sort=tuple(self.sort),
            count=count,
            total=cast("Literal['none', 'estimate', 'accurate'] | None", self.options.get("_total")),
            summary=cast("Literal['true', 'text', 'data', 'count', 'false'] | None", summary),
            elements=tuple(dict.fromkeys(self.elements)),
            unknown=tuple(dict.fromkeys(self.unknown)),
            used=tuple(self.used),
        )


def _filter(row: Served, name: str, value: str, base: str | None) -> Criterion | None:
    head, colon, modifier = name.partition(":")
    param = row.param(head)
    return criterion(param, modifier if colon else None, value, base) if param else None


def _one_step(row: Served, inner: str, value: str, base: str | None) -> Criterion | None:
    if inner.startswith("_has:") or "." in inner:
        raise NotSupported("A chain or _has goes one step here; ask the second step in a search of its own")
    return _filter(row, inner, value, base)


def _reference(row: Served, name: str) -> Param | None:
    param = row.param(name)
    return param if param and param.type == "reference" and not row.apart else None


def _meets(param: Param, rows: tuple[Served, ...]) -> bool:
    return any(row.type in targets_of(param) for row in rows)


# --- result parameters: each gives back the value as far as it was understood ------------


def _option(name: str, allowed: str) -> Callable[[_Reading, str, str], str]:
    def take(reading: _Reading, modifier: str, value: str) -> str:
        if modifier or name in reading.options:
            raise BadParameter(f"{name} is given once and without modifier")
        if not re.fullmatch(allowed, value, re.ASCII):
            raise BadParameter(f"{name} is {'a whole number' if name == '_count' else allowed.replace('|', ', ')}")
        reading.options[name] = value
        return value

    return take


def _included(direction: Literal["includes", "revincludes"]) -> Callable[[_Reading, str, str], str]:
    def take(reading: _Reading, modifier: str, value: str) -> str:
        if modifier not in ("", "iterate"):
            raise NotSupported("_include and _revinclude have no modifier but :iterate")
        if "*" in value.split(":"):
            raise NotSupported("_include and _revinclude name one parameter each, such as Media:encounter")
        found = _include(value, iterate=bool(modifier))
        if found is None or not (modifier or _begins(reading.rows, found, direction)):
            return ""
        getattr(reading, direction).append(found)
        return value

    return take


def _include(value: str, *, iterate: bool) -> Include | None:
    source, name, target, *more = [*value.split(":"), "", ""]
    row = BY_TYPE.get(source)
    param = _reference(row, name) if row else None
    if param is None or any(more):
        return None
    targets = tuple(type_ for type_ in targets_of(param) if type_ in BY_TYPE and target in ("", type_))
    return Include(source, param.number, targets, iterate) if targets else None


def _begins(rows: tuple[Served, ...], include: Include, direction: str) -> bool:
    types = {row.type for row in rows}
    return include.source in types if direction == "includes" else bool(types & set(include.targets))


def _sort(reading: _Reading, modifier: str, value: str) -> str:
    if modifier:
        raise NotSupported("_sort has no modifier; put - before a name to turn its order round")
    known = []
    for part in value.split(","):
        found = _sort_key(reading.rows, part.removeprefix("-"), descending=part.startswith("-"))
        if found is not None:
            reading.sort.append(found)
            known.append(part)
    return ",".join(known)


def _sort_key(rows: tuple[Served, ...], name: str, *, descending: bool) -> Sort | None:
    """Codes are sorted without their system, quantities without their unit."""
    if name in _COLUMNS:
        return Sort(_COLUMNS[name], descending)
    params = {row.param(name) for row in rows}
    param = params.pop()
    if param is None or params or param.type == "composite" or (rows[0].apart and param.type != "date"):
        return None
    system = encode.token_of(param.system) if param.system else ""
    begins = encode.unit(None, None) if param.type == "quantity" else system
    return Sort(param.number, descending, begins, bare=param.type == "token" and not system)


def _elements(reading: _Reading, modifier: str, value: str) -> str:
    names = [part for part in value.split(",") if part]
    if modifier or not all(map(_ELEMENT.fullmatch, names)):
        raise BadParameter("_elements lists names of top-level elements, such as status,subject")
    reading.elements += names
    return value


_RESULT: Final[dict[str, Callable[[_Reading, str, str], str]]] = {
    "_count": _option("_count", r"\d{1,9}"),
    "_total": _option("_total", "none|estimate|accurate"),
    "_summary": _option("_summary", "true|text|data|count|false"),
    "_include": _included("includes"),
    "_revinclude": _included("revincludes"),
    "_sort": _sort,
    "_elements": _elements,
}
