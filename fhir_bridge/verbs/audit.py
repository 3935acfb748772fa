"""What a request leaves in the audit: rows with each of its writes, or one row at its end (docs/decisions/0012).

The trail of the request at hand is context, like a log's: whoever writes need not hand it on.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.criteria import AnyOf
from fhir_bridge.fhir.rest.served import PATIENT_COMPARTMENT
from fhir_bridge.store import audit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from fhir_bridge.fhir.rest.criteria import SearchRequest
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.audit import AuditRow
    from fhir_bridge.verbs.bridge import Bridge


@dataclass
class Trail:
    """One request: where it came from, what it was about, and which rows it has by now.

    `patient` and `via` (Type/id) name the patient it concerns, where that is not the
    patient of the resource itself.
    """

    request: str
    address: str | None = None
    base: str | None = None
    grant: Grant | None = None
    about: tuple[str, str] | None = None
    patient: str | None = None
    via: str | None = None
    query: str | None = None
    issue: str | None = None
    written: int = 0
    entries: list[AuditRow] = field(default_factory=list)

    def completed(self, row: AuditRow) -> AuditRow:
        """Return a row with what this request knows besides."""
        user = row.user and (encode.reference(row.user, base=self.base) or row.user)
        return replace(row, user=user, address=self.address)


_CURRENT: Final[ContextVar[Trail | None]] = ContextVar("trail", default=None)


def begin(trail: Trail) -> None:
    """Take up the trail of a request; that of the one before ends."""
    _CURRENT.set(trail)


def current() -> Trail:
    """Return the trail of the request at hand; outside of requests one that nobody reads."""
    return _CURRENT.get() or Trail("")


def note_patient(request: SearchRequest) -> None:
    """Tell whom a search concerns, if it asks for one patient."""
    asked = {value for each in request.criteria if isinstance(each, AnyOf) for value in each.values}
    patients = [value for value in asked if value.startswith("Patient/")]
    if len(patients) == 1:
        current().patient = patients[0]


def record(conn: Connection, rows: Iterable[AuditRow]) -> None:
    """Insert rows that are complete, in the transaction of what they tell about."""
    audit.record(conn, tuple(rows), compartment=PATIENT_COMPARTMENT)


def finish(bridge: Bridge, trail: Trail, row: AuditRow) -> None:
    """Write what the request has not told yet: its entries that wrote nothing, or `row` for all of it.

    Raises:
        StoreUnavailable: it was not written, so nothing may be answered.
    """
    rows = trail.entries or ([] if trail.written else [row])
    if rows:
        complete = [trail.completed(each) for each in rows]
        bridge.store.write(lambda conn: record(conn, complete))
