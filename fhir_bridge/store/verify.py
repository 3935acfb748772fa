"""The invariants that can be proved from the store alone; the `verify` command prints what breaks them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, func, or_, select

from fhir_bridge.store import tables
from fhir_bridge.store.dispatch import WAITING, Ticket
from fhir_bridge.store.finding import Finding
from fhir_bridge.store.laws import LAWS, told
from fhir_bridge.store.states import DISPATCHED, STATES, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sqlalchemy import ColumnElement, Connection

_V: Final = tables.version
_AT_ONCE: Final = 1_000  # rows with bodies that are held in memory


def findings(conn: Connection) -> tuple[Finding, ...]:
    """Return everything in our tables that must not be; nothing is the proof."""
    return tuple(found for law in _LAWS for found in law(conn))


def stuck(conn: Connection, unfinished: Mapping[Ticket, str]) -> tuple[Finding, ...]:
    """Compare job rows with what the dispatcher still has to run (reliability.md, rules 3 and 4).

    A job under way has an owner or a queued run; no run of an older epoch holds a slot.
    """
    j = tables.job.c
    rows = conn.execute(select(j.id, j.tenant, j.epoch, j.owner, j.state)).all()
    queued = {ticket for ticket, status in unfinished.items() if status in WAITING}
    found = [
        Finding("a job under way has a worker or a queued run", row.tenant, row.id)
        for row in rows
        if row.state in DISPATCHED and row.owner is None and Ticket(row.id, row.epoch) not in queued
    ]
    epochs = {row.id: (row.epoch, row.tenant) for row in rows}
    for ticket, status in unfinished.items():
        epoch, tenant = epochs.get(ticket.job, (0, ""))
        if status not in WAITING and ticket.epoch < epoch:
            found.append(Finding("no run of an older epoch holds a slot", tenant, ticket.workflow))
    return tuple(found)


# --- versions ----------------------------------------------------------------------------


def _numbers_without_gaps(conn: Connection) -> Iterator[Finding]:
    t = tables.tenant.c
    counted = select(_V.c.tenant, func.count().label("rows"), func.max(_V.c.seq).label("last")).group_by(_V.c.tenant)
    of = counted.subquery()
    rows = func.coalesce(of.c.rows, 0)
    odd = or_(rows != t.seq, func.coalesce(of.c.last, 0) != t.seq)
    joined = select(t.id, t.id).join_from(tables.tenant, of, of.c.tenant == t.id, isouter=True)
    yield from told(conn, "commit numbers have no gaps", joined.where(odd))


def _times_in_commit_order(conn: Connection) -> Iterator[Finding]:
    before = func.lag(_V.c.at_ms).over(partition_by=_V.c.tenant, order_by=_V.c.seq)
    ordered = select(_V.c.tenant, _V.c.seq, _V.c.at_ms, before.label("before")).subquery()
    earlier = select(ordered.c.tenant, ordered.c.seq).where(ordered.c.at_ms < ordered.c.before)
    yield from told(conn, "lastUpdated grows in commit order", earlier)
    ahead = select(_V.c.tenant, _V.c.seq).join_from(_V, tables.tenant, _V.c.tenant == tables.tenant.c.id)
    yield from told(
        conn, "no version is newer than its tenant's last commit", ahead.where(_V.c.at_ms > tables.tenant.c.at_ms)
    )


def _one_current_version(conn: Connection) -> Iterator[Finding]:
    current = func.sum(_V.c.until.is_(None).cast(tables.job.c.epoch.type))
    odd = or_(current != 1, func.min(_V.c.vid) != 1, func.max(_V.c.vid) != func.count())
    resources = select(_V.c.tenant, _V.c.type + "/" + _V.c.id).group_by(_V.c.tenant, _V.c.type, _V.c.id).having(odd)
    yield from told(conn, "a resource has one current version and all before it", resources)


def _versions_close_each_other(conn: Connection) -> Iterator[Finding]:
    n = _V.alias()
    joined = select(_V.c.tenant, _V.c.seq).join_from(
        _V, n, and_(n.c.tenant == _V.c.tenant, n.c.seq == _V.c.until), isouter=True
    )
    follows = and_(n.c.type == _V.c.type, n.c.id == _V.c.id, n.c.vid == _V.c.vid + 1)
    broken = joined.where(_V.c.until.is_not(None), or_(n.c.seq.is_(None), ~follows))
    yield from told(conn, "a past version was replaced by the next one", broken)


def _bodies_tell_their_version(conn: Connection) -> Iterator[Finding]:
    c = _V.c
    said = '%"versionId":"' + c.vid.cast(c.body.type) + '","lastUpdated":"%'
    odd = or_(and_(c.deleted, c.body != ""), and_(~c.deleted, ~c.body.like(said)))
    yield from told(conn, "a body tells its own version, a deletion has none", select(c.tenant, c.seq).where(odd))


def _keys_of_versions(conn: Connection) -> Iterator[Finding]:
    k = tables.key
    joined = (
        select(k.c.tenant, k.c.seq)
        .join_from(k, _V, and_(_V.c.tenant == k.c.tenant, _V.c.seq == k.c.seq), isouter=True)
        .distinct()
    )
    yield from told(conn, "a search key belongs to a version", joined.where(_V.c.seq.is_(None)))


# --- what points at resources ------------------------------------------------------------


def _pointers(conn: Connection) -> Iterator[Finding]:
    o, b, j = tables.once.c, tables.blob.c, tables.job.c
    yield from told(conn, "what exists once exists", select(o.tenant, o.kind).where(~_there(o.tenant, o.type, o.id)))
    yield from told(
        conn, "content has its Binary", select(b.tenant, b.binary).where(~_there(b.tenant, "Binary", b.binary))
    )
    yield from told(conn, "a job has its Task", select(j.tenant, j.id).where(~_there(j.tenant, "Task", j.task)))
    encounters = select(j.tenant, j.id).where(~_there(j.tenant, "Encounter", j.encounter))
    yield from told(conn, "a job has its Encounter", encounters)
    media = select(j.tenant, j.id).where(j.media.is_not(None), ~_there(j.tenant, "Media", j.media))
    yield from told(conn, "a job of a recording has its Media", media)


def _one_running_job(conn: Connection) -> Iterator[Finding]:
    j = tables.job.c
    running = and_(j.owner.is_not(None), j.state.in_((State.STREAMING, State.FINALISING, State.RECONCILING)))
    several = select(j.tenant, j.encounter).where(running).group_by(j.tenant, j.encounter).having(func.count() > 1)
    yield from told(conn, "an Encounter has at most one running job", several)


def _statuses(conn: Connection) -> Iterator[Finding]:
    """Task and Media show the state of their job (rulings 5 and 7)."""
    j = tables.job.c
    for type_, shown_by in (("Task", j.task), ("Media", j.media)):
        same = and_(_V.c.tenant == j.tenant, _V.c.type == type_, _V.c.id == shown_by)
        live = and_(same, _V.c.until.is_(None), ~_V.c.deleted)
        joined = tables.job.outerjoin(_V, live)  # from the jobs: SQLite, which counts no rows, may not choose
        shown = select(j.tenant, shown_by.label("id"), j.state, _V.c.body).select_from(joined)
        for row in conn.execute(shown, execution_options={"yield_per": _AT_ONCE}):
            if row.body is None:
                continue
            phase = STATES[State(row.state)]
            right = {phase.task} if type_ == "Task" else {phase.media, "entered-in-error"}
            body = json.loads(row.body)
            if body.get("status") not in right:
                yield Finding(f"{type_}.status shows the state of its job", row.tenant, f"{type_}/{row.id}")
            elif type_ == "Task" and not _tells(body, State(row.state)):
                yield Finding("Task.businessStatus shows the state of its job", row.tenant, f"Task/{row.id}")


def _tells(task: dict[str, object], state: State) -> bool:
    """Whether a Task names its job's state; a job that becomes the next in line has not got another version."""
    match task.get("businessStatus"):
        case {"coding": [{"code": str(code)}, *_]}:
            return code == state or {code, state} <= {State.STORED, State.QUEUED}
    return False


def _in_progress(conn: Connection) -> Iterator[Finding]:
    """What was accepted is worked on: the bridge owns Media.status (ruling 7), so nobody else says in-progress."""
    c, j = _V.c, tables.job.c
    worked_on = select(j.id).where(j.tenant == c.tenant, j.media == c.id).exists()
    live = and_(c.type == "Media", c.until.is_(None), ~c.deleted, c.body.like('%"in-progress"%'))
    for row in conn.execute(select(c.tenant, c.id, c.body).where(live, ~worked_on)):
        if json.loads(row.body).get("status") == "in-progress":
            yield Finding("a Media in progress has a job", row.tenant, f"Media/{row.id}")


# --- SQL ---------------------------------------------------------------------------------

_LAWS: Final[tuple[Callable[[Connection], Iterable[Finding]], ...]] = (
    _numbers_without_gaps,
    _times_in_commit_order,
    _one_current_version,
    _versions_close_each_other,
    _bodies_tell_their_version,
    _keys_of_versions,
    _pointers,
    _one_running_job,
    _statuses,
    _in_progress,
    *LAWS,
)


def _there(tenant: ColumnElement[str], type_: ColumnElement[str] | str, id_: ColumnElement[str]) -> ColumnElement[bool]:
    v = _V.alias()
    return select(v.c.seq).where(v.c.tenant == tenant, v.c.type == type_, v.c.id == id_).exists()
