"""The circuit breaker towards each Corti, shared by all workers (reliability.md, rule 10).

Closed: everything may be sent. After some failures in a row, or when Corti says how long
to stay away, it opens: nothing is sent until then. After that one caller may try (half
open): its success closes the circuit, its failure opens it for longer. It stands in the
database, so that of all workers together one tries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, delete, func, select, update

from fhir_bridge.store import tables
from fhir_bridge.store.columns import insert_new
from fhir_bridge.store.jobs import now_ms

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

FIRST_SECONDS: Final = 5.0  # the first pause; doubled each time that the one who tried failed
LONGEST_SECONDS: Final = 300.0
TRIAL_SECONDS: Final = 10.0  # for the one who tries to be answered, before another may
MOST_SECONDS: Final = 3600.0  # a pause that ends later than this was written under another wall clock

_C: Final = tables.circuit.c


@dataclass(frozen=True)
class Line:
    """Whose way to which Corti."""

    tenant: str
    region: str

    @property
    def row(self) -> ColumnElement[bool]:
        """Its row."""
        return and_(_C.tenant == self.tenant, _C.region == self.region)


def wait(conn: Connection, line: Line) -> float | None:
    """Return how many seconds to stay away; 0: this caller may try; None: nothing speaks against it."""
    now = now_ms()
    until: int | None = conn.execute(select(_C.until_ms).where(line.row)).scalar()
    if until is None:
        return None
    if now < until <= now + MOST_SECONDS * 1000:
        return (until - now) / 1000
    return 0.0 if _try(conn, line, until, now) else TRIAL_SECONDS


def _try(conn: Connection, line: Line, until: int, now: int) -> bool:
    """Be the one who tries: whoever moves the end of the pause first."""
    moved = update(tables.circuit).where(line.row, _C.until_ms == until)
    return conn.execute(moved.values(until_ms=now + int(TRIAL_SECONDS * 1000))).rowcount == 1


def close(conn: Connection, line: Line) -> bool:
    """Note that Corti answered; return whether the circuit was open."""
    was = conn.execute(delete(tables.circuit).where(line.row).returning(_C.until_ms)).scalar()
    return was is not None


def is_open(conn: Connection, line: Line) -> bool:
    """Tell whether nothing may be sent before `wait` was asked."""
    return conn.execute(select(_C.until_ms).where(line.row)).scalar() is not None


def is_doubted(conn: Connection, line: Line) -> bool:
    """Tell whether anything failed since Corti last answered."""
    return conn.execute(select(_C.failures).where(line.row)).first() is not None


def fail(
    conn: Connection, line: Line, *, most: int, tried: bool = False, retry_after: float | None = None
) -> float | None:
    """Note a failure; return for how many seconds the circuit opened by it, None when it did not.

    `most` failures in a row open it, or one that says when to come back, or that of the one
    who `tried`. Those of runs that were under way when it opened change nothing.
    """
    counted = insert_new(conn, tables.circuit).values(tenant=line.tenant, region=line.region, failures=1)
    counted = counted.on_conflict_do_update(
        index_elements=[_C.tenant, _C.region], set_={"failures": tables.circuit.c.failures + 1}
    )
    row = conn.execute(counted.returning(_C.failures, _C.pauses, _C.until_ms)).one()
    is_open = row.until_ms is not None
    if is_open and not tried:
        return None
    if row.failures < most and retry_after is None and not tried:
        return None
    pause = min(FIRST_SECONDS * 2**row.pauses, LONGEST_SECONDS) if retry_after is None else retry_after
    pause = min(pause, MOST_SECONDS)
    opened = {"until_ms": now_ms() + int(pause * 1000), "pauses": min(row.pauses + 1, 16)}
    conn.execute(update(tables.circuit).where(line.row).values(opened))
    return pause


def count_open(conn: Connection) -> int:
    """Count the circuits that are open, or half open."""
    return conn.execute(select(func.count()).select_from(tables.circuit).where(_C.until_ms.is_not(None))).scalar_one()
