"""What has been kept long enough (ruling 32), and what takes it away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, delete, or_, select, update

from fhir_bridge.store import destruction, subject, tables
from fhir_bridge.store.resources import seq_at
from fhir_bridge.store.states import TERMINAL, State
from fhir_bridge.store.versions import hold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from fhir_bridge.store.subject import Numbers, Place

_AT_ONCE: Final = 500
_V: Final = tables.version.c
_J: Final = tables.job.c
_K: Final = tables.key.c


@dataclass(frozen=True)
class Old:
    """What a tenant keeps of a type no longer: what nobody has changed since `before_ms`."""

    tenant: str
    type: str
    before_ms: int


@dataclass(frozen=True)
class Gone:
    """How many resources were destroyed, and the blobs that nothing names any more."""

    count: int = 0
    blobs: tuple[str, ...] = ()


def outlived(conn: Connection, tenant: str, *, completed_before_ms: int) -> tuple[tuple[str, str], ...]:
    """Return contents (Binary, blob) whose recordings all gave their results before that time, some at a time.

    What no job names is no recording yet. Only audio that is still there is looked at, by
    its age: a job ends after its audio came.
    """
    b, j = tables.blob.c, tables.job.c
    of_blob = and_(j.tenant == b.tenant, j.binary == b.binary, j.state != State.ERASED)
    named = select(j.id).where(of_blob).exists()
    wanted = or_(j.state != State.PUBLISHED, j.ended_ms.is_(None), j.ended_ms > completed_before_ms)
    needed = select(j.id).where(of_blob, wanted).exists()
    old = and_(b.tenant == tenant, b.created_ms <= completed_before_ms)
    found = select(b.binary, b.blob).where(old, named, ~needed).order_by(b.created_ms, b.binary).limit(_AT_ONCE)
    return tuple((row.binary, row.blob) for row in conn.execute(found))


def keep(conn: Connection, tenant: str, days: str) -> bool:
    """Set how long a tenant keeps what, as JSON; False: there is no such tenant."""
    mine = update(tables.tenant).where(tables.tenant.c.id == tenant)
    return conn.execute(mine.values(retention_days=days)).rowcount == 1


def destroy(conn: Connection, old: Old, numbers: Numbers, *, count: int) -> Gone:
    """Destroy up to `count` resources that are old, all their versions, with the content that nothing else names.

    In one transaction with the look: what is changed in the meantime is not old. What a
    job is at work on stays, and so do tombstones.
    """
    hold(conn, old.tenant)
    found = _outdated(conn, old, numbers, count)
    if not found:
        return Gone()
    _forget_words(conn, old.tenant, found, numbers)
    places = sorted({*found} | subject.contents(conn, old.tenant, {*found}))
    sealed = destruction.contents(conn, old.tenant, places)
    destruction.claims(conn, old.tenant, places)
    destruction.entomb(conn, old.tenant, places)
    return Gone(len(found), tuple(blob for blob, _ in sealed))


def _outdated(conn: Connection, old: Old, numbers: Numbers, count: int) -> list[Place]:
    past = tables.version.alias().c
    same = and_(past.tenant == _V.tenant, past.type == _V.type, past.id == _V.id)
    says = or_(_V.body != "", select(past.seq).where(same, past.body != "").exists())
    of_type = and_(_V.tenant == old.tenant, _V.type == old.type, _V.until.is_(None))
    aged = and_(_V.seq <= seq_at(conn, old.tenant, old.before_ms), says, ~_worked_on(numbers))
    rows = select(_V.type, _V.id).where(of_type, aged).order_by(_V.seq).limit(count)
    return [(row.type, row.id) for row in conn.execute(rows)]


def _worked_on(numbers: Numbers) -> ColumnElement[bool]:
    """Whether a job that has not ended is about a recording, or about that of a result."""
    mine = and_(_J.tenant == _V.tenant, _J.state.not_in(TERMINAL))
    itself = select(_J.id).where(mine, _V.type == "Media", _J.media == _V.id).exists()
    named = and_(_K.tenant == _V.tenant, _K.seq == _V.seq, _K.param.in_(numbers.recordings))
    of_result = select(_J.id).join_from(tables.job, tables.key, _K.val == "Media/" + _J.media).where(mine, named)
    return or_(itself, of_result.exists())


def _forget_words(conn: Connection, tenant: str, found: Sequence[Place], numbers: Numbers) -> None:
    """Forget what transcripts were rendered from, and by what facts are known again."""
    seqs = select(_V.seq).where(_V.tenant == tenant, subject.among([p for p in found if p[0] == "DocumentReference"]))
    named = select(_K.val).where(_K.tenant == tenant, _K.param.in_(numbers.recordings), _K.seq.in_(seqs))
    media = [val.partition("/")[2] for val in conn.execute(named.distinct()).scalars() if val.startswith("Media/")]
    destruction.results(conn, tables.segment, tenant, media)
    facts = and_(tables.fact.c.tenant == tenant, destruction.ids(tables.fact.c.observation, found, "Observation"))
    conn.execute(delete(tables.fact).where(facts))
