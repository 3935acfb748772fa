"""Where a search begins to look: SQLite is told, PostgreSQL knows most by its statistics.

Without statistics SQLite walks through all resources of a type and asks of each whether
it has the keys, newest first: right for a status that most have, hopeless for the one
encounter out of a hundred thousand. How many versions have a key is read off the index
of keys in no time, so each search looks before it begins. PostgreSQL cannot know how many
a reverse chain names: there that is counted too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, func, literal_column, select

from fhir_bridge.store import tables
from fhir_bridge.store.filter import Countable, Ids, Keys, Node, Reverse, conjuncts, seqs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, FromClause

    from fhir_bridge.store.rows import Rows

_FEW: Final = 1000  # so many are fetched and sorted rather than walked to in order
_SELDOM: Final[ColumnElement[float]] = literal_column("0.001")


@dataclass(frozen=True)
class Plan:
    """FROM, WHERE and ORDER BY of a search; `few` rows are fetched and sorted."""

    source: FromClause
    where: ColumnElement[bool]
    seq: ColumnElement[int]
    few: bool = False

    @classmethod
    def of(cls, conn: Connection, rows: Rows, where: Node, *, by_key: bool = False) -> Plan:
        """Choose between the few versions of one key, a key in the order of commits, and all versions so.

        A search that is sorted `by_key` walks in the order of that.
        """
        parts = list(conjuncts(where))
        if conn.dialect.name == "postgresql":
            known = cls(rows.v, and_(rows.live, where.sql(rows)), rows.v.c.seq)
            return _of_few(conn, rows, parts, [part for part in parts if isinstance(part, Reverse)]) or known
        walked = None if by_key else _of_one_value(rows, parts)
        led = [part for part in parts if isinstance(part, Countable)]
        return _of_few(conn, rows, parts, led) or walked or cls(*_rest(rows, parts), rows.v.c.seq)


def _of_few(conn: Connection, rows: Rows, parts: Sequence[Node], led: Sequence[Countable]) -> Plan | None:
    counted = [(_count(conn, rows, part), part) for part in led]
    count, few = min(counted, key=lambda each: each[0], default=(_FEW, None))
    if few is not None and count < _FEW:
        source, others = _rest(rows, [part for part in parts if part is not few])
        return Plan(source, and_(rows.v.c.seq.in_(seqs(rows, few)), others), _sorted(rows), few=True)
    if any(isinstance(part, Ids) for part in parts):
        return Plan(*_rest(rows, parts), _sorted(rows), few=True)
    return None


def _of_one_value(rows: Rows, parts: Sequence[Node]) -> Plan | None:
    """Keys of one value stand in the order of commits: the newest page is read off the index."""
    one = next((part for part in parts if isinstance(part, Keys) and len(part.values) == 1), None)
    if one is None:
        return None
    k = tables.key.alias()
    same = and_(k.c.tenant == rows.v.c.tenant, k.c.seq == rows.v.c.seq)
    has = and_(k.c.tenant == rows.tenant, k.c.param == one.param, func.likelihood(one.on(k), _SELDOM))
    source, others = _rest(rows, [part for part in parts if part is not one])
    return Plan(source.join(k, and_(same, has)), others, k.c.seq)


def _rest(rows: Rows, parts: Sequence[Node]) -> tuple[FromClause, ColumnElement[bool]]:
    return rows.v, and_(rows.live, *(part.sql(rows) for part in parts))


def _count(conn: Connection, rows: Rows, part: Countable) -> int:
    """Count up to the number from which on it does not matter."""
    leads = part.named(rows) if isinstance(part, Reverse) else seqs(rows, part)
    found = leads.limit(_FEW).subquery()
    return conn.execute(select(func.count()).select_from(found)).scalar_one()


def _sorted(rows: Rows) -> ColumnElement[int]:
    """`seq`, but as a value to sort by: otherwise an index in its order looks inviting."""
    return rows.v.c.seq + 0
