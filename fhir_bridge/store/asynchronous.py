"""Requests whose answer is fetched later: what to run, who runs it, and what it came to (fhir-smart-rules 1.8).

A run is owned like a job's: by (epoch, owner) and a lease, so whoever dies is taken over
from, and whoever comes back too late writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import and_, delete, func, insert, or_, select, update

from fhir_bridge.errors import Fenced
from fhir_bridge.store import tables
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

State = Literal["queued", "running", "done"]

# A lease further ahead than any worker can have written it was written under another wall clock.
_PLAUSIBLE_LEASES: Final = 4


@dataclass(frozen=True)
class Request:
    """One request as it stands. `asked`, `answer`, `waits` and `files` are JSON, which is not read here."""

    id: str
    tenant: str
    client: str
    kind: str
    created_ms: int
    state: State = "queued"
    asked: str | None = None
    waits: str = "[]"
    epoch: int = 0
    owner: str | None = None
    lease_ms: int | None = None
    progress: str | None = None
    answer: str | None = None
    files: str = "[]"
    polled_ms: int | None = None
    done_ms: int | None = None


@dataclass(frozen=True)
class Turn:
    """The right to run a request, until another takes it over."""

    id: str
    epoch: int
    owner: str


_T: Final = tables.asynchronous.c
_COLUMNS: Final = tuple(_T[field.name] for field in fields(Request))


# --- the caller's side ------------------------------------------------------------------


def add(conn: Connection, new: Request) -> None:
    """Keep a request: queued for a worker, or done but for the jobs it waits for."""
    conn.execute(insert(tables.asynchronous).values(**vars(new)))


def of(conn: Connection, id_: str) -> Request | None:
    """Return a request."""
    row = conn.execute(select(*_COLUMNS).where(_T.id == id_)).first()
    return None if row is None else Request(*row)


def polled(conn: Connection, id_: str, *, after_ms: int) -> bool:
    """Note that it was asked for; False when that is less than `after_ms` since the last time."""
    now = now_ms()
    due = or_(_T.polled_ms.is_(None), _T.polled_ms <= now - after_ms, _T.polled_ms > now)
    noted = update(tables.asynchronous).where(_T.id == id_, due).values(polled_ms=now)
    return conn.execute(noted).rowcount == 1


def ended(conn: Connection, id_: str) -> int:
    """Note when all that a request waited for was first seen to have ended; return that moment."""
    conn.execute(update(tables.asynchronous).where(_T.id == id_, _T.done_ms.is_(None)).values(done_ms=now_ms()))
    found = conn.execute(select(_T.done_ms).where(_T.id == id_)).scalar()
    return found or now_ms()


def remove(conn: Connection, id_: str) -> None:
    """Forget a request; whoever runs it finds out when it wants to write."""
    conn.execute(delete(tables.asynchronous).where(_T.id == id_))


def under_way(conn: Connection, tenant: str, client: str, kind: str) -> int:
    """Count what a client has of one kind that has not ended."""
    mine = and_(_T.tenant == tenant, _T.client == client, _T.kind == kind, _T.state != "done")
    return conn.execute(select(func.count()).select_from(tables.asynchronous).where(mine)).scalar_one()


# --- the worker's side ------------------------------------------------------------------


def waiting(conn: Connection, *, lease_seconds: float) -> str | None:
    """Name the oldest request that nobody runs, or whose worker let its lease run out."""
    free = select(_T.id).where(_free(lease_seconds)).order_by(_T.created_ms, _T.id)
    return conn.execute(free.limit(1)).scalar()


def claim(conn: Connection, id_: str, *, owner: str, lease_seconds: float) -> Request | None:
    """Take a request for `owner`; None when another was faster."""
    free = update(tables.asynchronous).where(_T.id == id_, _free(lease_seconds))
    taken = free.values(state="running", owner=owner, epoch=_T.epoch + 1, lease_ms=_until(lease_seconds))
    row = conn.execute(taken.returning(*_COLUMNS)).first()
    return None if row is None else Request(*row)


def prolong(conn: Connection, turn: Turn, *, progress: str, lease_seconds: float) -> None:
    """Go on, and tell how far it is.

    Raises:
        Fenced: it was taken over, or nobody wants it any more.
    """
    _write(conn, turn, progress=progress, lease_ms=_until(lease_seconds))


def release(conn: Connection, turn: Turn) -> None:
    """Give it back, to be run by another at once."""
    _write(conn, turn, state="queued", owner=None, lease_ms=None)


def finish(conn: Connection, turn: Turn, *, answer: str, files: str = "[]") -> None:
    """Say what it came to."""
    _write(conn, turn, state="done", answer=answer, files=files, done_ms=now_ms(), owner=None, lease_ms=None)


def outlived(conn: Connection, *, done_before_ms: int, created_before_ms: int) -> tuple[Request, ...]:
    """Return requests that ended so long ago, or began so long ago, that nobody will fetch them."""
    old = or_(_T.done_ms < done_before_ms, _T.created_ms < created_before_ms)
    return tuple(Request(*row) for row in conn.execute(select(*_COLUMNS).where(old).order_by(_T.created_ms)))


def _free(lease_seconds: float) -> ColumnElement[bool]:
    now = now_ms()
    implausible = now + int(lease_seconds * 1000 * _PLAUSIBLE_LEASES)
    expired = and_(_T.state == "running", or_(_T.lease_ms < now, _T.lease_ms > implausible))
    return or_(_T.state == "queued", expired)


def _until(lease_seconds: float) -> int:
    return now_ms() + int(lease_seconds * 1000)


def _write(conn: Connection, turn: Turn, **values: str | int | None) -> None:
    mine = and_(_T.id == turn.id, _T.epoch == turn.epoch, _T.owner == turn.owner)
    if conn.execute(update(tables.asynchronous).where(mine).values(**values)).rowcount != 1:
        raise Fenced("Another worker runs this request now", at=turn.id)
