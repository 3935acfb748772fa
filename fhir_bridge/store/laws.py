"""Laws about jobs and results: what was accepted is worked on once, what was heard stands once and in order."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, func, or_, select

from fhir_bridge.store import tables
from fhir_bridge.store.finding import Finding
from fhir_bridge.store.states import DISPATCHED, TERMINAL, State
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Select

_V: Final = tables.version.c
_J: Final = tables.job.c
_S: Final = tables.segment.c
_F: Final = tables.fact.c
_DAY_MS: Final = 24 * 3_600_000
_BRIDGE: Final = "bridge"  # the author of results
_FACT_ID: Final = "urn:x-fhir-bridge:fact-id"  # the system of Corti's ids (docs/mapping.md)


def one_job_each(conn: Connection) -> Iterator[Finding]:
    """L1: an Encounter and a recording have one job, and one recording one Binary."""
    media = select(_J.tenant, _J.media).where(_J.media.is_not(None)).group_by(_J.tenant, _J.media)
    yield from told(conn, "a recording has one job", media.having(func.count() > 1))
    visits = select(_J.tenant, _J.encounter).where(_J.kind == "interaction").group_by(_J.tenant, _J.encounter)
    yield from told(conn, "an Encounter has one job for its interaction", visits.having(func.count() > 1))
    known = select(_J.id).where(_J.tenant == _V.tenant, _J.media == _V.id).exists()
    heard = and_(_V.type == "Media", _V.until.is_(None), ~_V.deleted, _V.body.like('%"completed"%'))
    for row in conn.execute(select(_V.tenant, _V.id, _V.body).where(heard, ~known)):
        if json.loads(row.body).get("status") == "completed":
            yield Finding("a completed recording has a job", row.tenant, f"Media/{row.id}")


def words_in_order(conn: Connection) -> Iterator[Finding]:
    """L2: what a later connection heard follows what an earlier one did, and nothing that counts was heard twice."""
    of = (_S.tenant, _S.media, _S.session)
    heard = select(*of, func.min(_S.start_ms).label("first"), func.max(_S.end_ms).label("last"))
    spans = heard.where(_S.superseded.is_(False)).group_by(*of).subquery()
    before = func.max(spans.c.last).over(
        partition_by=(spans.c.tenant, spans.c.media), order_by=spans.c.session, rows=(None, -1)
    )
    follows = select(spans.c.tenant, spans.c.media, spans.c.first, before.label("before")).subquery()
    overlap = select(follows.c.tenant, follows.c.media).where(follows.c.first < follows.c.before).distinct()
    yield from told(conn, "words of a later connection follow those of an earlier one", overlap)
    backwards = select(_S.tenant, _S.media).where(or_(_S.end_ms < _S.start_ms, _S.start_ms < 0)).distinct()
    yield from told(conn, "words end after they begin", backwards)
    newest = select(_S.tenant, _S.media).join_from(
        tables.segment, tables.job, and_(_J.tenant == _S.tenant, _J.media == _S.media)
    )
    late = newest.where(_S.session > _J.session).distinct()
    yield from told(conn, "words come of a connection that their job knows", late)
    orphans = select(_S.tenant, _S.media).where(
        ~select(_J.id).where(_J.tenant == _S.tenant, _J.media == _S.media).exists()
    )
    yield from told(conn, "words belong to a recording with a job", orphans.distinct())


def transcripts(conn: Connection) -> Iterator[Finding]:
    """L2: the complete transcript of the bridge says what counts of what was heard, each word once and in order."""
    for row in conn.execute(_documents()).all():
        if row.media is None:
            continue
        body = conn.execute(select(_V.body).where(_V.tenant == row.tenant, _V.seq == row.seq)).scalar_one()
        shown = _shown(body)
        if shown is not None and shown != _counted(conn, row.tenant, row.media):
            yield Finding(
                "a transcript says what was heard, once and in order", row.tenant, f"DocumentReference/{row.id}"
            )


def _documents() -> Select[str, int, str, str | None]:
    """Every document of the bridge, with the recording that it is of, once that is published.

    Outer joins, so that SQLite, which counts no rows, goes from the documents to the jobs: it may not choose.
    """
    k = tables.key.c
    named = and_(k.tenant == _V.tenant, k.seq == _V.seq, k.val.like("Media/%"))
    of = and_(_J.tenant == k.tenant, _J.media == func.substr(k.val, len("Media/") + 1), _J.state == State.PUBLISHED)
    mine = and_(_V.type == "DocumentReference", _V.author == _BRIDGE, _V.until.is_(None), ~_V.deleted)
    joined = tables.version.outerjoin(tables.key, named).outerjoin(tables.job, of)
    return select(_V.tenant, _V.seq, _V.id, _J.media).select_from(joined).where(mine).distinct()


def _shown(body: str) -> list[str] | None:
    """Return the texts that a transcript of ours holds as JSON; None: it holds none inline."""
    for one in json.loads(body).get("content", []):
        attachment = one.get("attachment", {})
        if attachment.get("contentType") == "application/json" and "data" in attachment:
            return [str(each.get("text", "")) for each in json.loads(base64.b64decode(attachment["data"]))]
    return None


def _counted(conn: Connection, tenant: str, media: str) -> list[str]:
    order = (_S.start_ms, _S.end_ms, _S.session, _S.n)
    mine = and_(_S.tenant == tenant, _S.media == media, _S.superseded.is_(False))
    return list(conn.execute(select(_S.text).where(mine).order_by(*order)).scalars())


def facts_once(conn: Connection) -> Iterator[Finding]:
    """L3: a fact of Corti's is one recording's, and shown by one Observation, which is there."""
    shared = (
        select(_F.tenant, _F.corti_id)
        .join_from(tables.fact, tables.job, and_(_J.tenant == _F.tenant, _J.media == _F.media))
        .group_by(_F.tenant, _J.encounter, _F.corti_id)
        .having(func.count(_F.media.distinct()) > 1)
    )
    yield from told(conn, "a fact belongs to one recording", shared)
    there = select(_V.seq).where(_V.tenant == _F.tenant, _V.type == "Observation", _V.id == _F.observation).exists()
    unseen = select(_F.tenant, _F.corti_id).where(_F.withdrawn.is_(False), ~there)
    yield from told(conn, "a fact is shown by an Observation", unseen)
    shows = select(_F.tenant, _F.observation).group_by(_F.tenant, _F.observation)
    yield from told(
        conn, "an Observation shows facts of one recording", shows.having(func.count(_F.media.distinct()) > 1)
    )
    k = tables.key.c
    ids = select(_V.tenant, k.val).join_from(tables.version, tables.key, and_(k.tenant == _V.tenant, k.seq == _V.seq))
    ours = and_(_V.type == "Observation", _V.until.is_(None), _V.author == _BRIDGE, k.val.like(f"{_FACT_ID}|%"))
    stands = ~_V.body.like('%"status":"entered-in-error"%')
    several = ids.where(ours, stands).group_by(_V.tenant, k.val).having(func.count(_V.id.distinct()) > 1)
    yield from told(conn, "a fact identifies one Observation", several)


def one_interaction(conn: Connection) -> Iterator[Finding]:
    """L4: an interaction is one Encounter's; what was made was intended and sent."""
    i = tables.interaction.c
    shared = select(i.tenant, i.corti_id).where(i.corti_id.is_not(None)).group_by(i.tenant, i.corti_id)
    yield from told(conn, "an interaction belongs to one Encounter", shared.having(func.count() > 1))
    unsent = select(i.tenant, i.encounter).where(i.corti_id.is_not(None), i.sent.is_(False))
    yield from told(conn, "an interaction was asked for before it was known", unsent)


def owned_or_not(conn: Connection) -> Iterator[Finding]:
    """L5, L6: who ended has no owner, who has an owner has a lease, who waits waits for one that is under way."""
    ended = select(_J.tenant, _J.id).where(_J.state.in_(TERMINAL), or_(_J.owner.is_not(None), _J.lease_ms.is_not(None)))
    yield from told(conn, "a job that has ended belongs to no worker", ended)
    half = select(_J.tenant, _J.id).where(_J.owner.is_(None) != _J.lease_ms.is_(None))
    yield from told(conn, "a worker that has a job has a lease of it", half)
    never = select(_J.tenant, _J.id).where(_J.epoch < 1, _J.state.in_(DISPATCHED))
    yield from told(conn, "a job under way was queued", never)
    j = tables.job.alias().c
    before = select(j.id).where(j.tenant == _J.tenant, j.encounter == _J.encounter, j.state.in_(DISPATCHED)).exists()
    waits = select(_J.tenant, _J.id).where(_J.state == State.STORED, ~before)
    yield from told(conn, "a job that waits has one of its Encounter before it", waits)


def erasures_end(conn: Connection) -> Iterator[Finding]:
    """What is to be destroyed is, within a day; nothing is left of it to search by, or to carry on with."""
    e, k = tables.erasure.c, tables.key.c
    late = select(e.tenant, e.id).where(e.state != "erased", e.created_ms < now_ms() - _DAY_MS)
    yield from told(conn, "an erasure ends within a day", late)
    left = or_(e.ids.is_not(None), e.words.is_not(None), e.corti != "[]", e.blobs != "[]")
    yield from told(
        conn, "an erasure that has ended remembers nothing", select(e.tenant, e.id).where(e.state == "erased", left)
    )
    gone = and_(_V.tenant == _J.tenant, _V.type == "Encounter", _V.id == _J.encounter, _V.until.is_(None))
    standing = select(_J.tenant, _J.encounter).join_from(tables.job, tables.version, gone)
    erased = and_(_J.state == State.ERASED, _J.kind == "interaction")
    yield from told(
        conn, "an Encounter that was erased is gone", standing.where(erased, or_(~_V.deleted, _V.body != ""))
    )
    keys = select(_J.tenant, _J.encounter).join_from(tables.job, tables.version, gone)
    found = keys.join(tables.key, and_(k.tenant == _V.tenant, k.seq == _V.seq)).where(erased).distinct()
    yield from told(conn, "an Encounter that was erased is found by nothing", found)


def told(conn: Connection, law: str, broken: Select[str, object]) -> Iterator[Finding]:
    """Turn rows (tenant, id) into findings."""
    for tenant, row in conn.execute(broken):
        yield Finding(law, tenant, str(row))


LAWS: Final = (
    one_job_each,
    words_in_order,
    transcripts,
    facts_once,
    one_interaction,
    owned_or_not,
    erasures_end,
)
