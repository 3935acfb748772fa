"""How much audio each tenant had accepted today, and how many recordings wait: what new ones are admitted by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import case, delete, func, select

from fhir_bridge.store import tables
from fhir_bridge.store.columns import insert_new
from fhir_bridge.store.states import DISPATCHED, State
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection

DAY_MS: Final = 86_400_000
_KEPT_DAYS: Final = 2

_A: Final = tables.audio_spent.c
_J: Final = tables.job.c


@dataclass(frozen=True)
class Audio:
    """The length of one recording."""

    tenant: str
    media: str
    ms: int


@dataclass(frozen=True)
class Waiting:
    """Recordings that no worker has begun: of one tenant, and of all."""

    tenant: int
    total: int


def today() -> int:
    """Return the day, in UTC: days since 1970."""
    return now_ms() // DAY_MS


def seconds_left() -> int:
    """Return in how many seconds the next day begins."""
    return max(1, (DAY_MS - now_ms() % DAY_MS) // 1000)


def spend(conn: Connection, audio: Audio) -> int:
    """Count a recording; return what its tenant has spent today, this one included.

    The tenant's row has to be locked: of two at once one sees the other.
    """
    new = insert_new(conn, tables.audio_spent).values(**vars(audio), day=today())
    conn.execute(new.on_conflict_do_nothing())
    return spent(conn, audio.tenant)


def spent(conn: Connection, tenant: str) -> int:
    """Return how many milliseconds of audio a tenant had accepted today."""
    summed = select(func.coalesce(func.sum(_A.ms), 0)).where(_A.tenant == tenant, _A.day == today())
    return int(conn.execute(summed).scalar_one())


def forget(conn: Connection) -> int:
    """Delete what no budget is counted by any more; return how many rows."""
    return conn.execute(delete(tables.audio_spent).where(_A.day <= today() - _KEPT_DAYS)).rowcount


def waiting(conn: Connection, tenant: str) -> Waiting:
    """Count the recordings that wait for a worker, those of an encounter behind another included."""
    state = _J.state.in_((*DISPATCHED, State.STORED))
    mine = func.count(case((_J.tenant == tenant, 1)))
    counted = select(mine, func.count()).where(_J.kind == "media", _J.owner.is_(None), state)
    return Waiting(*conn.execute(counted).one())
