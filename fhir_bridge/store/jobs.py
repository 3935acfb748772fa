"""Job rows: who may write, from which position, and whether the work is done (reliability.md, rules 3 and 4).

Every function takes the connection of a transaction of `Store.write`. What concerns the order of an encounter's
jobs (`create`, `finish`, `cancel`, `again`) relies on the tenant's row being locked, so a resource is put first in the
same transaction. Every write of a worker passes `advance`, `release` or `finish`, which hold only for (epoch, owner).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import and_, func, or_, select, update

from fhir_bridge import clock
from fhir_bridge.errors import Fenced
from fhir_bridge.store import dispatch
from fhir_bridge.store.dispatch import Ticket
from fhir_bridge.store.states import DISPATCHED, STATES, TERMINAL, State
from fhir_bridge.store.tables import job

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, Row

Kind = Literal["interaction", "media"]

# A lease further ahead than any worker can have written it was written under another wall clock.
_PLAUSIBLE_LEASES: Final = 4


@dataclass(frozen=True)
class NewJob:
    """A job to be: its Task exists from acceptance on. One `interaction` job per Encounter."""

    kind: Kind
    tenant: str
    encounter: str
    task: str
    media: str | None = None
    binary: str | None = None


@dataclass(frozen=True)
class Job:
    """A job as it stands in its row."""

    id: str
    tenant: str
    kind: Kind
    encounter: str
    media: str | None
    task: str
    state: State
    transport: str | None
    epoch: int
    owner: str | None
    lease_ms: int | None
    queued_ms: int
    created_ms: int
    acked_ms: int
    session: int
    breaks: int
    doubt_ms: int | None
    suspended_ms: int | None
    cancel: bool
    error_code: str | None
    error_text: str | None

    @property
    def ticket(self) -> Ticket:
        """The run this row allows."""
        return Ticket(self.id, self.epoch)


@dataclass(frozen=True)
class Claim:
    """The right to write for a job, until another takes it over."""

    job: str
    epoch: int
    owner: str


def now_ms() -> int:
    """The wall clock in milliseconds, as the tables keep it."""
    return int(clock.now().timestamp() * 1000)


def create(conn: Connection, new: NewJob) -> Job:
    """Insert a job, and queue it when no earlier job of its encounter is under way (ruling 1).

    The job has the id of its Task.
    """
    now = now_ms()
    row = {
        "id": new.task,
        "tenant": new.tenant,
        "kind": new.kind,
        "encounter": new.encounter,
        "media": new.media,
        "binary": new.binary,
        "task": new.task,
        "state": State.STORED,
        "queued_ms": now,
        "created_ms": max(now, _last_created(conn, new) + 1),  # two of one millisecond keep their order
    }
    conn.execute(job.insert().values(row))
    queue_next(conn, new.tenant, new.encounter)
    return _one(conn, job.c.id == new.task)


def queue_next(conn: Connection, tenant: str, encounter: str) -> None:
    """Queue the encounter's next job, unless one is under way: its interaction first, then Media as they came."""
    of_encounter = and_(job.c.tenant == tenant, job.c.encounter == encounter)
    if conn.execute(select(job.c.id).where(of_encounter, job.c.state.in_(DISPATCHED)).limit(1)).first():
        return
    waiting = select(job).where(of_encounter, job.c.state == State.STORED)
    row = conn.execute(waiting.order_by(job.c.kind, job.c.created_ms, job.c.id).limit(1)).first()
    if row is not None:
        _dispatch(conn, _job(row), state=State.QUEUED)


def again(conn: Connection, id_: str) -> Job:
    """Put an ended job back in its encounter's line: `$retry`, or an Encounter that has changed since."""
    found = _one(conn, job.c.id == id_)
    if found.state not in TERMINAL:
        return found  # its run reads what is current before it ends
    _step(found.state, State.STORED)
    values = {"state": State.STORED, "cancel": False, "error_code": None, "error_text": None, "suspended_ms": None}
    if found.state is State.PUBLISHED:  # all was heard: it is heard again from the first word (ruling 3)
        values |= {"acked_ms": 0, "doubt_ms": None}
    conn.execute(update(job).where(job.c.id == id_).values(values | {"breaks": 0, "ended_ms": None}))
    queue_next(conn, found.tenant, found.encounter)
    return _one(conn, job.c.id == id_)


def cancel(conn: Connection, id_: str) -> Job:
    """Ask a job to stop: at once when no worker holds it, else at its worker's next step.

    Whoever cancels brings Task and Media along when no worker holds the job; else the worker does.
    """
    found = _one(conn, job.c.id == id_, lock=True)
    if found.state in TERMINAL:
        return found
    if found.owner is not None:
        conn.execute(update(job).where(job.c.id == id_).values(cancel=True))
        return _one(conn, job.c.id == id_)
    _step(found.state, State.CANCELLED)
    values = {"state": State.CANCELLED, "cancel": True, "epoch": found.epoch + 1, "lease_ms": None}
    conn.execute(update(job).where(job.c.id == id_).values(values | {"ended_ms": now_ms()}))
    queue_next(conn, found.tenant, found.encounter)
    return _one(conn, job.c.id == id_)


# --- the worker's side ------------------------------------------------------------------


def claim(conn: Connection, ticket: Ticket, *, owner: str, lease_seconds: float) -> Job | None:
    """Take the job for `owner`; None when another has it or the ticket is old."""
    free = and_(job.c.id == ticket.job, job.c.epoch == ticket.epoch, job.c.owner.is_(None))
    values = {"owner": owner, "lease_ms": now_ms() + int(lease_seconds * 1000)}
    row = conn.execute(update(job).where(free, job.c.state.in_(DISPATCHED)).values(values).returning(*job.c)).first()
    return None if row is None else _job(row)


def renew(conn: Connection, owner: str, ids: Iterable[str], *, lease_seconds: float) -> dict[Claim, bool]:
    """Prolong the leases of `owner` on these jobs; return what it still holds and whether each was asked to stop."""
    mine = update(job).where(job.c.owner == owner, job.c.id.in_(list(ids)))
    mine = mine.values(lease_ms=now_ms() + int(lease_seconds * 1000))
    rows = conn.execute(mine.returning(job.c.id, job.c.epoch, job.c.cancel)).all()
    return {Claim(row.id, row.epoch, owner): bool(row.cancel) for row in rows}


def advance(conn: Connection, held: Claim, *, state: State | None = None, **values: int | str | None) -> Job:
    """Write to the job under its fence; without values it only proves that the fence holds.

    Raises:
        Fenced: another worker may have the job: nothing of this transaction may stay.
    """
    fence = and_(job.c.id == held.job, job.c.epoch == held.epoch, job.c.owner == held.owner)
    if state is not None:
        _step(_state(conn, fence), state)
        values["state"] = state
    # An update even when nothing changes: the row stays locked until this transaction ends.
    row = conn.execute(update(job).where(fence).values({"owner": held.owner} | values).returning(*job.c)).first()
    if row is None:
        raise Fenced("Another worker owns the job now", at=held.job)
    return _job(row)


def release(conn: Connection, held: Claim, *, delay: float = 0.0, state: State | None = None) -> Job:
    """Give the job back, to be run again after `delay` seconds."""
    found = advance(conn, held, state=state)
    return _dispatch(conn, found, state=found.state, delay=delay)


def finish(conn: Connection, held: Claim, state: State, *, code: str | None = None, text: str | None = None) -> Job:
    """End the job and let the next of its encounter begin."""
    ended = {"error_code": code, "error_text": text, "suspended_ms": None, "lease_ms": None}
    found = advance(conn, held, state=state, ended_ms=now_ms(), **ended)
    conn.execute(update(job).where(job.c.id == held.job).values(owner=None))
    queue_next(conn, found.tenant, found.encounter)
    return _one(conn, job.c.id == held.job)


def abandoned(conn: Connection, *, lease_seconds: float) -> tuple[Job, ...]:
    """Jobs whose worker let its lease run out."""
    now = now_ms()
    implausible = now + int(lease_seconds * 1000 * _PLAUSIBLE_LEASES)
    expired = or_(job.c.lease_ms < now, job.c.lease_ms > implausible)
    return _all(conn, job.c.owner.is_not(None), expired)


def waiting(conn: Connection, *, seconds: float) -> tuple[Job, ...]:
    """Jobs without a worker that were queued more than `seconds` ago."""
    late = job.c.queued_ms < now_ms() - int(seconds * 1000)
    return _all(conn, job.c.owner.is_(None), job.c.state.in_(DISPATCHED), late)


def take_over(conn: Connection, seen: Job) -> bool:
    """Take the job from whoever had it when it was `seen`, and queue it; False when it has moved on since."""
    owner = job.c.owner.is_(None) if seen.owner is None else job.c.owner == seen.owner
    lease = job.c.lease_ms.is_(None) if seen.lease_ms is None else job.c.lease_ms == seen.lease_ms
    same = and_(job.c.id == seen.id, job.c.epoch == seen.epoch, owner, lease, job.c.state.in_(DISPATCHED))
    row = conn.execute(update(job).where(same).values(owner=None).returning(*job.c)).first()
    if row is not None:
        _dispatch(conn, _job(row), state=_job(row).state)
    return row is not None


def epochs(conn: Connection, ids: Iterable[str]) -> dict[str, tuple[int, bool]]:
    """The epoch of each job that exists, and whether it may still run."""
    rows = conn.execute(select(job.c.id, job.c.epoch, job.c.state).where(job.c.id.in_(list(ids))))
    return {row.id: (row.epoch, row.state in DISPATCHED) for row in rows}


def by_id(conn: Connection, id_: str) -> Job | None:
    """The job with this id, which is also its Task's."""
    return next(iter(_all(conn, job.c.id == id_)), None)


def of_media(conn: Connection, tenant: str, media: str) -> Job | None:
    """The job of a Media."""
    return next(iter(_all(conn, job.c.tenant == tenant, job.c.media == media)), None)


def of_encounter(conn: Connection, tenant: str, encounter: str) -> tuple[Job, ...]:
    """All jobs of an Encounter, its interaction first, then its Media as they came."""
    return _all(conn, job.c.tenant == tenant, job.c.encounter == encounter)


def counts(conn: Connection) -> dict[State, int]:
    """How many jobs stand in each state."""
    rows = conn.execute(select(job.c.state, func.count()).group_by(job.c.state))
    return {State(state): count for state, count in rows}


def _last_created(conn: Connection, new: NewJob) -> int:
    of_encounter = and_(job.c.tenant == new.tenant, job.c.encounter == new.encounter)
    return conn.execute(select(func.max(job.c.created_ms)).where(of_encounter)).scalar() or 0


def _dispatch(conn: Connection, found: Job, *, state: State, delay: float = 0.0) -> Job:
    """Begin a new epoch without an owner and enqueue its one run."""
    values = {"state": state, "epoch": found.epoch + 1, "owner": None, "lease_ms": None}
    values["queued_ms"] = now_ms() + int(delay * 1000)
    row = conn.execute(update(job).where(job.c.id == found.id).values(values).returning(*job.c)).one()
    queued = _job(row)
    dispatch.enqueue(conn, queued.ticket, queue=queued.kind, tenant=queued.tenant, delay=delay)
    return queued


def _state(conn: Connection, fence: ColumnElement[bool]) -> State:
    row = conn.execute(select(job.c.state).where(fence)).first()
    if row is None:
        raise Fenced("Another worker owns the job now")
    return State(row.state)


def _step(before: State, after: State) -> None:
    """Refuse a step the table does not have: a fault of ours, never of the EHR."""
    if after != before and after not in STATES[before].follows:
        raise ValueError(f"a job does not go from {before} to {after}")


def _one(conn: Connection, which: ColumnElement[bool], *, lock: bool = False) -> Job:
    query = select(job).where(which)
    return _job(conn.execute(query.with_for_update() if lock else query).one())


def _all(conn: Connection, *which: ColumnElement[bool]) -> tuple[Job, ...]:
    query = select(job).where(*which).order_by(job.c.kind, job.c.created_ms, job.c.id)
    return tuple(_job(row) for row in conn.execute(query))


def _job(row: Row[tuple[object, ...]]) -> Job:
    columns = {name: value for name, value in row._asdict().items() if name in Job.__dataclass_fields__}
    return Job(**(columns | {"state": State(columns["state"]), "cancel": bool(columns["cancel"])}))
