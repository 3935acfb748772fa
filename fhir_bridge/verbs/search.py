"""search: a query within a Grant's rows, page by page through one snapshot (architecture, "Searching")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import Issue
from fhir_bridge.fhir.rest.bundle import Entry, searchset
from fhir_bridge.fhir.rest.criteria import Updated
from fhir_bridge.fhir.rest.outcome import outcome
from fhir_bridge.fhir.rest.search import not_served, parse, query_of
from fhir_bridge.store import resources
from fhir_bridge.verbs import audit, audit_events
from fhir_bridge.verbs.compartment import reach_of
from fhir_bridge.verbs.criteria import order_of
from fhir_bridge.verbs.include import MOST, included
from fhir_bridge.verbs.paging import Place, links
from fhir_bridge.verbs.part import shown_as
from fhir_bridge.verbs.policy import allowed, conditions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from fhir_bridge.fhir.rest.criteria import SearchRequest
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.filter import Filter
    from fhir_bridge.store.resources import Page, Row
    from fhir_bridge.verbs.bridge import Bridge

_CUT: Final = Issue("incomplete", f"At most {MOST} resources are included: ask for fewer matches", severity="warning")


def search(bridge: Bridge, grant: Grant, path: str, pairs: Iterable[tuple[str, str]], *, strict: bool = False) -> str:
    """Answer with the first page of a search as a searchset Bundle; `path` is what `reach_of` reads.

    Raises:
        Forbidden: the Grant may search none of the types.
        BadParameter: a value that cannot be read; NotSupported: a modifier, or under `strict` a name.
    """
    request = _limited(bridge, _parsed(bridge, path, pairs, strict=strict))
    allowed(grant, request.types, "s")
    snapshot = _snapshot(bridge, grant, request)
    return _answer(bridge, grant, request, Place("search", path, request.used, snapshot, resources.now_ms()))


def _snapshot(bridge: Bridge, grant: Grant, request: SearchRequest) -> int:
    """Return what all pages are read in; commit order alone would lose rows to one who polls by time."""
    if request.types == (audit_events.TYPE,):
        return audit_events.horizon(bridge, timed=bool(request.criteria))
    if any(isinstance(each, Updated) for each in request.criteria):
        bridge.store.barrier(grant.tenant)
    return bridge.store.read(lambda conn: resources.snapshot(conn, grant.tenant)).seq


def page(bridge: Bridge, grant: Grant, place: Place) -> str:
    """Answer with a further page; the rights are judged anew."""
    return _answer(bridge, grant, _parsed(bridge, place.path, place.query), place)


def _parsed(bridge: Bridge, path: str, pairs: Iterable[tuple[str, str]], *, strict: bool = False) -> SearchRequest:
    reach = reach_of(path)
    return parse(reach.type, pairs, strict=strict, base=bridge.base, among=reach.among)


def _limited(bridge: Bridge, request: SearchRequest) -> SearchRequest:
    """Use no larger _count than is served, and show in self what is used."""
    most = bridge.settings.max_page_size
    if request.count is None or request.count <= most:
        return request
    used = tuple((name, str(most) if name == "_count" else value) for name, value in request.used)
    return replace(request, count=most, used=used)


def _answer(bridge: Bridge, grant: Grant, request: SearchRequest, place: Place) -> str:
    within = reach_of(place.path).within
    filter_ = allowed(grant, request.types, "s").narrowed(*within, *conditions(grant, request))
    audit.note_patient(request)
    found, extra, total = bridge.store.read(lambda conn: _read(conn, bridge, grant, (request, place, filter_)))
    shown, beside = shown_as(request), shown_as(replace(request, elements=()))
    entries = [Entry(row.type, row.id, shown(row.body)) for row in found.rows]
    entries += [Entry(row.type, row.id, beside(row.body), "include") for row in extra]
    query = query_of(request)
    own = f"{bridge.base}/{place.path}".rstrip("/") + (f"?{query}" if query else "")
    links_ = {"self": own, **links(bridge, grant, place.beside(found, total))}
    warnings = [*(_ignored(name) for name in request.unknown), *([_CUT] if len(extra) == MOST else [])]
    return searchset(
        entries, base=bridge.base, links=links_, total=total, outcome=outcome(warnings) if warnings else None
    )


def _read(
    conn: Connection, bridge: Bridge, grant: Grant, asked: tuple[SearchRequest, Place, Filter]
) -> tuple[Page, tuple[Row, ...], int | None]:
    """Read page, includes and total under one snapshot."""
    request, place, filter_ = asked
    kept = audit_events.AuditEvents(bridge.base) if request.types == (audit_events.TYPE,) else resources
    total = place.total
    if total is None and request.total != "none":
        total = kept.total(conn, filter_, snapshot=place.snapshot)
    if request.summary == "count":
        return resources.Page((), None), (), total
    count, order = request.count or bridge.settings.page_size, order_of(request)
    found = kept.search(conn, filter_, snapshot=place.snapshot, after=place.after, count=count, order=order)
    return found, included(conn, grant, request, found.rows, snapshot=place.snapshot), total


def _ignored(name: str) -> Issue:
    return Issue("not-supported", f"{not_served(name)}; it was ignored", severity="warning")
