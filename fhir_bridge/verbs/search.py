"""search: a query within a Grant's rows, page by page through one snapshot (architecture, "Searching")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhir_bridge.errors import Issue, NotSupported
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.subset import elements, summary
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest.bundle import Entry, searchset
from fhir_bridge.fhir.rest.criteria import Sort, Updated
from fhir_bridge.fhir.rest.outcome import outcome
from fhir_bridge.fhir.rest.search import parse, query_of
from fhir_bridge.store import resources
from fhir_bridge.verbs.include import included
from fhir_bridge.verbs.paging import Place, links
from fhir_bridge.verbs.policy import allowed, conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from fhir_bridge.fhir.rest.criteria import SearchRequest
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.filter import Filter
    from fhir_bridge.store.resources import Page, Row
    from fhir_bridge.verbs.bridge import Bridge


def search(
    bridge: Bridge, grant: Grant, type_: str | None, pairs: Iterable[tuple[str, str]], *, strict: bool = False
) -> str:
    """Answer with the first page of a search as a searchset Bundle.

    Raises:
        Forbidden: the Grant may search none of the types.
        BadParameter: a value that cannot be read; NotSupported: a modifier, or under `strict` a name.
    """
    request = _sorted_as_stored(parse(type_, pairs, strict=strict, base=bridge.base), strict=strict)
    allowed(grant, request.types, "s")
    if any(isinstance(each, Updated) for each in request.criteria):
        bridge.store.barrier(grant.tenant)  # commit order alone would lose rows to a poller
    now = bridge.store.read(lambda conn: resources.snapshot(conn, grant.tenant))
    return _answer(bridge, grant, request, Place("search", type_ or "", request.used, now.seq, resources.now_ms()))


def page(bridge: Bridge, grant: Grant, place: Place) -> str:
    """Answer with a further page; the rights are judged anew."""
    return _answer(bridge, grant, parse(place.path or None, place.query, base=bridge.base), place)


def _answer(bridge: Bridge, grant: Grant, request: SearchRequest, place: Place) -> str:
    filter_ = allowed(grant, request.types, "s").narrowed(*conditions(grant, request))
    found, extra, total = bridge.store.read(lambda conn: _read(conn, bridge, grant, (request, place, filter_)))
    shown = _subset_of(request)
    entries = [Entry(row.type, row.id, shown(row.body)) for row in found.rows]
    entries += [Entry(row.type, row.id, row.body, "include") for row in extra]
    beside = {"self": _self(bridge, request), **links(bridge, grant, place.beside(found.following, total))}
    warnings = [_ignored(name) for name in request.unknown]
    return searchset(
        entries, base=bridge.base, links=beside, total=total, outcome=outcome(warnings) if warnings else None
    )


def _read(
    conn: Connection, bridge: Bridge, grant: Grant, asked: tuple[SearchRequest, Place, Filter]
) -> tuple[Page, tuple[Row, ...], int | None]:
    """Read page, includes and total under one snapshot."""
    request, place, filter_ = asked
    total = place.total
    if total is None and request.total != "none":
        total = resources.total(conn, filter_, snapshot=place.snapshot)
    if request.summary == "count":
        return resources.Page((), None), (), total
    count = min(request.count or bridge.settings.page_size, bridge.settings.max_page_size)
    found = resources.search(conn, filter_, snapshot=place.snapshot, after=place.after, count=count)
    return found, included(conn, grant, request, found.rows), total


def _subset_of(request: SearchRequest) -> Callable[[str], str]:
    """Return what _summary or _elements leave of a body: without them, all of it and unread."""
    mode = request.summary
    if mode == "true" or mode == "text" or mode == "data":  # noqa: PLR1714 - a tuple would not narrow the type
        return lambda body: write(summary(read(body), mode))
    if request.elements:
        return lambda body: write(elements(read(body), request.elements))
    return lambda body: body


def _sorted_as_stored(request: SearchRequest, *, strict: bool) -> SearchRequest:
    """Drop a _sort that is not the one order served, newest first, and say so."""
    if not request.sort or request.sort == (Sort("_lastUpdated", descending=True),):
        return request
    if strict:
        raise NotSupported("Only _sort=-_lastUpdated is served")
    used = tuple(pair for pair in request.used if pair[0] != "_sort")
    return replace(request, sort=(), used=used, unknown=(*request.unknown, "_sort"))


def _self(bridge: Bridge, request: SearchRequest) -> str:
    path = request.types[0] if len(request.types) == 1 else ""
    query = query_of(request)
    return f"{bridge.base}/{path}".rstrip("/") + (f"?{query}" if query else "")


def _ignored(name: str) -> Issue:
    return Issue("not-supported", f"{name} is not used here and was ignored", severity="warning")
