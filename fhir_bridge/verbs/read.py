"""read: the current version of one resource."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import Gone, NotFound
from fhir_bridge.fhir.resource.reader import read as read_json
from fhir_bridge.fhir.resource.subset import elements, summary
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest.search import parse
from fhir_bridge.store import resources
from fhir_bridge.verbs import audit_events
from fhir_bridge.verbs.audit_events import AuditEvents
from fhir_bridge.verbs.policy import allowed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.filter import Filter
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bridge import Bridge


_PARTS: Final = ("_summary", "_elements")


def read(bridge: Bridge, grant: Grant, type_: str, id_: str) -> Row:
    """Return a resource that the Grant may read.

    Raises:
        Forbidden: the Grant may read nothing of this type.
        NotFound: there is none, or none that it may see: the same answer for both.
        Gone: it was deleted.
    """
    row = find(bridge, allowed(grant, (type_,), "r"), type_, id_)
    if row is None:
        raise NotFound(f"There is no {type_} with this id")
    if row.deleted:
        raise Gone(f"This {type_} was deleted")
    return row


def find(bridge: Bridge, filter_: Filter, type_: str, id_: str) -> Row | None:
    """Return the current version within a filter; a deletion counts."""
    if type_ == audit_events.TYPE:
        return bridge.store.read(lambda conn: AuditEvents(bridge.base).read(conn, filter_, id_))
    return bridge.store.read(lambda conn: resources.read(conn, filter_, type_, id_))


def part_of(row: Row, pairs: Iterable[tuple[str, str]]) -> Row:
    """Return what _summary or _elements leave of a resource (http.html#read); without them, all of it."""
    asked = [pair for pair in pairs if pair[0] in _PARTS]
    request = parse(row.type, asked, strict=True) if asked else None
    mode = request.summary if request else None
    if mode == "true" or mode == "text" or mode == "data":  # noqa: PLR1714 - a tuple would not narrow the type
        return replace(row, body=write(summary(read_json(row.body), mode)))
    names = request.elements if request else ()
    return replace(row, body=write(elements(read_json(row.body), names))) if names else row
