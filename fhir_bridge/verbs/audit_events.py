"""AuditEvents read and searched like any other type, though they are kept as audit rows (docs/decisions/0012)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.served import BY_TYPE, IDENTIFIER, PATIENT_COMPARTMENT, TEXT
from fhir_bridge.mapping import audit as mapped
from fhir_bridge.mapping.device import BRIDGE
from fhir_bridge.store import audit
from fhir_bridge.store.audit_search import TYPE, From, FromPlace, FromPresence
from fhir_bridge.store.audit_search import Shelf as Rows
from fhir_bridge.store.filter import And, Between, Filter, Ids, Not, Or, Stamped
from fhir_bridge.store.versions import instant, now_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fhir_bridge.store.audit_search import Source, Sources
    from fhir_bridge.store.comparing import Comparison
    from fhir_bridge.store.filter import Node
    from fhir_bridge.store.resources import By, Cursor, Page, Row
    from fhir_bridge.verbs.bridge import Bridge

__all__ = ["TYPE", "AuditEvents", "horizon"]

_NUMBERS: Final = {param.name: param.number for param in BY_TYPE[TYPE].params}


def _coded(column: str, system: str) -> tuple[From, ...]:
    return From(column), From(column, encode.token_in(system, ""))


def _fixed(system: str, code: str) -> tuple[From, ...]:
    return From(before=encode.token(code)), From(before=encode.token_in(system, code))


def _where(what: Literal["place", "query", "patient", "failure"], system: str, code: str) -> tuple[FromPresence, ...]:
    return FromPresence(what, encode.token(code)), FromPresence(what, encode.token_in(system, code))


_BRIDGE: Final = From(before=f"Device/{BRIDGE}")
# What each parameter looks at; a test holds it against the elements that served.py names. What is not here
# looks at elements that no row has: nothing is found by it.
_LOOKED_AT: Final[dict[str, tuple[Source, ...]]] = {
    "action": _coded("action", "http://hl7.org/fhir/audit-event-action"),
    "agent": (From("user"), _BRIDGE),
    "patient": (From("patient"),),
    "entity": (FromPlace(), From("patient")),
    "outcome": _coded("outcome", "http://terminology.hl7.org/CodeSystem/audit-event-outcome"),
    "subtype": (*_coded("verb", mapped.INTERACTION), *_coded("operation", mapped.OPERATION)),
    "type": _fixed(mapped.REST, "rest"),
    "source": (_BRIDGE,),
    "altid": _coded("client", ""),
    "entity-type": (
        *_where("place", mapped.ENTITY_TYPE, mapped.OBJECT),
        *_where("query", mapped.ENTITY_TYPE, mapped.OBJECT),
        *_where("patient", mapped.ENTITY_TYPE, mapped.PERSON),
        *_where("failure", mapped.ENTITY_TYPE, mapped.OTHER),
        *_fixed(*mapped.REQUEST),
    ),
    "entity-role": (
        *_where("place", mapped.ROLE, mapped.DOMAIN_RESOURCE),
        *_where("query", mapped.ROLE, mapped.QUERY),
        *_where("patient", mapped.ROLE, mapped.PATIENT),
    ),
}
_SOURCES: Final[Sources] = {
    **{_NUMBERS[name]: sources for name, sources in _LOOKED_AT.items()},
    _NUMBERS["agent"] + IDENTIFIER: _coded("client", mapped.CLIENT),
    _NUMBERS["type"] + TEXT: (From(before=encode.folded(mapped.REST_DISPLAY)),),
    PATIENT_COMPARTMENT: (From("patient"),),
}


@dataclass(frozen=True)
class AuditEvents:
    """The AuditEvents of a server whose FHIR base URL is `base`."""

    base: str

    @property
    def rows(self) -> Rows:
        """The audit's rows, as they are searched; each has been told by this server."""
        address = _NUMBERS["address"]
        told_by = {
            address: (From("address"), From(before=encode.folded(self.base))),
            address + TEXT: (From("address"), From(before=encode.bounded(self.base))),
        }
        return Rows({**_SOURCES, **told_by})

    def read(self, conn: Connection, filter_: Filter, id_: str) -> Row | None:
        """Return one."""
        found = self.rows.search(conn, _timed(filter_.narrowed(Ids((id_,)))), after=None, count=1)
        return next(iter(self._rendered(conn, filter_.tenant, found).rows), None)

    def search(
        self,
        conn: Connection,
        filter_: Filter,
        *,
        snapshot: int,
        after: Cursor | None = None,
        count: int,
        order: tuple[By, ...] = (),
    ) -> Page:
        """Return a page of those before `snapshot`, which is a time."""
        found = self.rows.search(conn, _before(filter_, snapshot), after=after, count=count, order=order)
        return self._rendered(conn, filter_.tenant, found)

    def total(self, conn: Connection, filter_: Filter, *, snapshot: int) -> int:
        """Count all of them before `snapshot`."""
        return self.rows.total(conn, _before(filter_, snapshot))

    def _rendered(self, conn: Connection, tenant: str, page: Page) -> Page:
        told = audit.told(conn, tenant, [row.seq for row in page.rows])
        return replace(page, rows=tuple(self._event(row, told[row.seq]) for row in page.rows))

    def _event(self, row: Row, told: audit.Told) -> Row:
        json = mapped.audit_event_from_row(told, recorded=instant(told.at_ms), base=self.base)
        return replace(row, type=TYPE, id=str(told.n), body=write(json))


def horizon(bridge: Bridge, *, timed: bool) -> int:
    """Return the snapshot of a search; one by time must not see the later of two rows before the earlier."""
    return bridge.store.write(audit.horizon) if timed else now_ms() + 1


def _before(filter_: Filter, snapshot: int) -> Filter:
    return _timed(filter_.narrowed(Stamped(below_ms=snapshot)))


def _timed(filter_: Filter) -> Filter:
    return Filter(filter_.tenant, _in_ms(filter_.where))


def _in_ms(node: Node) -> Node:
    """Ask for times as they are kept: an event's is a moment, so every prefix is one span."""
    match node:
        case And(nodes):
            return And(tuple(map(_in_ms, nodes)))
        case Or(nodes):
            return Or(tuple(map(_in_ms, nodes)))
        case Not(inner):
            return Not(_in_ms(inner))
        case Between(param, low, high, prefix) if param == _NUMBERS["date"]:
            return _span(prefix, encode.ms_of(low), encode.ms_of(high) + 1)
        case _:
            return node


def _span(prefix: Comparison, first: int, after: int) -> Node:
    within = Stamped(first, after)
    spans: dict[Comparison, Node] = {
        "ne": Not(within),
        "gt": Stamped(after),
        "sa": Stamped(after),
        "ge": Stamped(first),
        "lt": Stamped(below_ms=first),
        "eb": Stamped(below_ms=first),
        "le": Stamped(below_ms=after),
    }
    return spans.get(prefix, within)
