"""How many runs each tenant may have at once: what it asks for, or an equal part of what all ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from fhir_bridge.store import tables
from fhir_bridge.store.jobs import now_ms
from fhir_bridge.store.states import DISPATCHED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection


def demand(conn: Connection, kind: str) -> tuple[int, ...]:
    """Count, for each tenant that has any, the jobs of a kind that run or could: those that wait for Corti do not."""
    j = tables.job.c
    now = or_(j.owner.is_not(None), j.queued_ms <= now_ms())
    counted = select(func.count()).where(j.kind == kind, j.state.in_(DISPATCHED), now).group_by(j.tenant)
    return tuple(conn.execute(counted).scalars())


def fair(total: int, demands: Iterable[int]) -> int:
    """Return the most that one tenant may have, so that nobody waits for another's surplus and no slot stays empty.

    Who asks for less than an equal part gets it; the others share what that leaves.
    """
    left, waiting = total, sorted(demands)
    for number, asked in enumerate(waiting):
        others = len(waiting) - number
        if asked * others > left:
            return max(1, -(-left // others))
        left -= asked
    return total
