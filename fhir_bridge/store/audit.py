"""Who did what: rows that are inserted and never changed, but for the seal the sweep puts on them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, bindparam, cast, extract, func, insert, select

from fhir_bridge.store import tables
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, RowMapping

EXECUTED: Final = "E"
# What AuditEvent.subtype and .action say of an interaction; all else is the name of an operation.
# http://hl7.org/fhir/R4/valueset-type-restful-interaction.html, http://hl7.org/fhir/R4/valueset-audit-event-action.html
INTERACTIONS: Final = {
    "read": "R",
    "vread": "R",
    "create": "C",
    "update": "U",
    "patch": "U",
    "delete": "D",
    "search-type": EXECUTED,
    "search-system": EXECUTED,
    "history-instance": EXECUTED,
    "history-type": EXECUTED,
    "history-system": EXECUTED,
    "capabilities": EXECUTED,
    "transaction": EXECUTED,
    "batch": EXECUTED,
    "operation": EXECUTED,
}
SERIOUS: Final = "8"
# What AuditEvent.outcome says of an HTTP status below each of these; above, the failure is our own.
OUTCOMES: Final = ((400, "0"), (500, "4"))
_LOCK: Final = 0x61756474  # "audt": held shared while rows are stamped but not yet committed


@dataclass(frozen=True)
class AuditRow:
    """One interaction of one request; a search or a refusal may name no resource.

    `patient` is told where it is known; otherwise it is that of `via`, or of the resource.
    """

    tenant: str
    request: str
    verb: str
    status: int
    client: str | None = None
    user: str | None = None
    type: str | None = None
    id: str | None = None
    address: str | None = None
    patient: str | None = None
    query: str | None = None
    issue: str | None = None
    via: str | None = None

    @property
    def outcome(self) -> str:
        """The code of AuditEvent.outcome."""
        return next((outcome for end, outcome in OUTCOMES if self.status < end), SERIOUS)

    @property
    def columns(self) -> dict[str, object]:
        """What the row is stored as."""
        known = self.verb in INTERACTIONS
        verb, operation = (self.verb, None) if known else ("operation", self.verb.removeprefix("$"))
        type_, _, id_ = (self.via or f"{self.type or ''}/{self.id or ''}").partition("/")
        told = {name: getattr(self, name) for name in _TOLD}
        return told | {"verb": verb, "operation": operation, "whose": self.tenant, "of_type": type_, "of_id": id_}


@dataclass(frozen=True)
class Told:
    """A row as it stands, with its number and time."""

    n: int
    at_ms: int
    operation: str | None
    row: AuditRow


_TOLD: Final = tuple(field.name for field in fields(AuditRow) if field.name != "via")
_READ: Final = (tables.audit.c.n, tables.audit.c.at_ms, tables.audit.c.operation, *(tables.audit.c[n] for n in _TOLD))

_V, _K = tables.version.c, tables.key.c
_COMPARTMENT: Final = (
    select(func.min(_K.val))
    .join_from(tables.version, tables.key, and_(_K.tenant == _V.tenant, _K.seq == _V.seq))
    .where(_V.tenant == bindparam("whose"), _V.type == bindparam("of_type"), _V.id == bindparam("of_id"))
    .where(_V.until.is_(None), _K.param == bindparam("compartment"))
    .scalar_subquery()
)
_INSERT: Final = insert(tables.audit).values(patient=func.coalesce(bindparam("known"), _COMPARTMENT))


def record(conn: Connection, rows: Sequence[AuditRow], *, compartment: int) -> None:
    """Insert audit rows, in the transaction of what they tell about; keys of `compartment` name the patient."""
    if rows:
        beside = {"at_ms": _stamp(conn), "compartment": compartment}
        told = [row.columns for row in rows]
        conn.execute(_INSERT, [each | beside | {"known": each.pop("patient")} for each in told])


def horizon(conn: Connection) -> int:
    """Return a time before which every row that was stamped is committed; to be asked in a write of its own.

    Rows are stamped before they are committed: who polls by time would lose those that
    appear behind its last look.
    """
    if conn.dialect.name != "postgresql":
        return now_ms()  # nobody else writes
    conn.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    return _database_ms(conn)


def told(conn: Connection, tenant: str, ns: Sequence[int]) -> dict[int, Told]:
    """Return rows by their number."""
    c = tables.audit.c
    found = conn.execute(select(*_READ).where(c.tenant == tenant, c.n.in_(ns))).mappings()
    return {row["n"]: _told(row) for row in found}


def recorded(conn: Connection, tenant: str, *, after: int = 0, count: int) -> tuple[tuple[int, AuditRow], ...]:
    """Return up to `count` rows with their numbers, oldest first, from number `after` on."""
    c = tables.audit.c
    found = conn.execute(select(*_READ).where(c.tenant == tenant, c.n > after).order_by(c.n).limit(count)).mappings()
    return tuple((row["n"], _told(row).row) for row in found)


def _told(found: RowMapping) -> Told:
    row = AuditRow(**{name: found[name] for name in _TOLD})
    return Told(found["n"], found["at_ms"], found["operation"], row)


def _stamp(conn: Connection) -> int:
    if conn.dialect.name != "postgresql":
        return now_ms()  # inside the one write transaction there is: times grow in commit order
    conn.execute(select(func.pg_advisory_xact_lock_shared(_LOCK)))
    return _database_ms(conn)


def _database_ms(conn: Connection) -> int:
    """One clock for all machines."""
    now = func.floor(extract("epoch", func.clock_timestamp()) * 1000)
    return int(conn.execute(select(cast(now, tables.audit.c.at_ms.type))).scalar_one())
