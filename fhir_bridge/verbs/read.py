"""read: the current version of one resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.errors import Gone, NotFound
from fhir_bridge.store import resources
from fhir_bridge.verbs import audit_events
from fhir_bridge.verbs.audit_events import AuditEvents
from fhir_bridge.verbs.policy import allowed

if TYPE_CHECKING:
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.filter import Filter
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bridge import Bridge


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
