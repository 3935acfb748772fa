"""_include and _revinclude: what the matches of a page refer to, and what refers to them (ruling 19)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge.store import resources
from fhir_bridge.store.filter import Ids, Keys, OfType
from fhir_bridge.verbs.policy import seen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from fhir_bridge.fhir.rest.criteria import Include, SearchRequest
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.filter import Filter
    from fhir_bridge.store.resources import Row

MOST: Final = 1000
LEVELS: Final = 3


@dataclass(frozen=True)
class _Seen:
    """Through whose eyes and in which snapshot to look (None: as it is now)."""

    conn: Connection
    grant: Grant
    snapshot: int | None

    def search(self, filter_: Filter) -> tuple[Row, ...]:
        return resources.search(self.conn, filter_, snapshot=self.snapshot, count=MOST).rows


def included(
    conn: Connection,
    grant: Grant,
    request: SearchRequest,
    matches: tuple[Row, ...],
    *,
    snapshot: int | None = None,
) -> tuple[Row, ...]:
    """Return what the request's includes add to a page, each once and no match again; only what the Grant may see."""
    by = _Seen(conn, grant, snapshot)
    found = {_place(row): row for row in matches}
    added: dict[tuple[str, str], Row] = {}
    level, fresh = 0, matches
    while fresh and level < LEVELS and len(added) < MOST:
        rows = [row for include in _of_level(request.includes, level) for row in _forward(by, include, fresh)]
        rows += [row for include in _of_level(request.revincludes, level) for row in _back(by, include, fresh)]
        new = {_place(row): row for row in rows if _place(row) not in found}
        found |= new
        added |= new
        level, fresh = level + 1, tuple(new.values())
    return tuple(added.values())[:MOST]


def _of_level(includes: tuple[Include, ...], level: int) -> Iterable[Include]:
    return [each for each in includes if level == 0 or each.iterate]


def _forward(by: _Seen, include: Include, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    sources = [row.seq for row in rows if row.type == include.source]
    named = resources.named_by(by.conn, by.grant.tenant, sources, include.param)
    places = [value.split("/") for value in named if value.count("/") == 1]
    return tuple(
        row
        for type_ in include.targets
        if (ids := tuple(id_ for of, id_ in places if of == type_))
        for row in by.search(seen(by.grant, type_).narrowed(OfType((type_,)), Ids(ids)))
    )


def _back(by: _Seen, include: Include, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    places = tuple(f"{row.type}/{row.id}" for row in rows if row.type in include.targets)
    if not places:
        return ()
    filter_ = seen(by.grant, include.source).narrowed(OfType((include.source,)), Keys(include.param, places))
    return by.search(filter_)


def _place(row: Row) -> tuple[str, str]:
    return row.type, row.id
