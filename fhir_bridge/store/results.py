"""What Corti said so far: segments and facts of each Media, and the interaction of each Encounter."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, or_, select, update

from fhir_bridge.store.tables import fact, interaction, job, segment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection


@dataclass(frozen=True)
class MediaKey:
    """Whose results these are."""

    tenant: str
    media: str


@dataclass(frozen=True)
class SegmentRow:
    """Words of one stream connection (`session`), placed in the recording's own time."""

    session: int
    n: int
    start_ms: int
    end_ms: int
    speaker: int | None
    channel: int
    text: str


@dataclass(frozen=True)
class FactRow:
    """Which recording's Observation shows a fact of Corti's; a fact resent under a new id shares it by `likeness`.

    `withdrawn`: the recording as a whole did not confirm it (rule 8), so nothing shows it.
    """

    media: str
    corti_id: str
    observation: str
    likeness: str
    withdrawn: bool = False


@dataclass(frozen=True)
class InteractionRow:
    """The interaction of an Encounter: intended before it is asked for, never asked for twice blindly."""

    tenant: str
    encounter: str
    identifier: str
    intended_ms: int
    sent: bool = False
    corti_id: str | None = None
    websocket_url: str | None = None
    synced_vid: int = 0


@dataclass(frozen=True)
class Received:
    """How much audio, in milliseconds, an interaction has got of all connections together: surely, and at most."""

    least_ms: int
    most_ms: int


# --- segments ---------------------------------------------------------------------------


def add_segments(conn: Connection, of: MediaKey, rows: Iterable[SegmentRow]) -> None:
    """Keep segments as they arrive."""
    values = [asdict(row) | asdict(of) for row in rows]
    if values:
        conn.execute(segment.insert(), values)


def segments(conn: Connection, of: MediaKey) -> tuple[SegmentRow, ...]:
    """The segments that count, in the order they were said (corti-api 3.4: sort by start, then end)."""
    order = (segment.c.start_ms, segment.c.end_ms, segment.c.session, segment.c.n)
    columns = [segment.c[name] for name in SegmentRow.__dataclass_fields__]
    query = select(*columns).where(_segments_of(of), segment.c.superseded.is_(False)).order_by(*order)
    return tuple(SegmentRow(**row._asdict()) for row in conn.execute(query))


def supersede(conn: Connection, of: MediaKey, *, before: int, base_ms: int) -> None:
    """Withdraw what sessions older than `before` heard past `base_ms`: the new session hears it again."""
    past = or_(segment.c.end_ms > base_ms, segment.c.start_ms >= base_ms)
    older = and_(_segments_of(of), segment.c.session < before, past)
    conn.execute(update(segment).where(older).values(superseded=True))


# --- facts ------------------------------------------------------------------------------


def facts(conn: Connection, tenant: str, encounter: str) -> tuple[FactRow, ...]:
    """Every fact of an Encounter's recordings with the Observation that shows it."""
    columns = [fact.c[name] for name in FactRow.__dataclass_fields__]
    of_encounter = and_(job.c.tenant == tenant, job.c.encounter == encounter)
    of_job = and_(fact.c.tenant == job.c.tenant, fact.c.media == job.c.media)
    query = select(*columns).join_from(fact, job, of_job).where(of_encounter).order_by(fact.c.media, fact.c.corti_id)
    return tuple(FactRow(**row._asdict()) for row in conn.execute(query))


def add_facts(conn: Connection, tenant: str, rows: Iterable[FactRow]) -> None:
    """Remember which Observation shows each of these facts; a fact that is known of a recording keeps its own."""
    for row in rows:
        one = and_(fact.c.tenant == tenant, fact.c.media == row.media, fact.c.corti_id == row.corti_id)
        now = {"likeness": row.likeness, "withdrawn": row.withdrawn}
        if not conn.execute(update(fact).where(one).values(now)).rowcount:
            conn.execute(fact.insert().values(asdict(row) | {"tenant": tenant}))


def forget_facts(conn: Connection, tenant: str, rows: Iterable[FactRow]) -> None:
    """Forget facts of recordings that were taken back: they are another's now."""
    for row in rows:
        one = and_(fact.c.tenant == tenant, fact.c.media == row.media, fact.c.corti_id == row.corti_id)
        conn.execute(delete(fact).where(one))


def forget(conn: Connection, of: MediaKey) -> None:
    """Drop all segments of a Media: what the recording says replaces what the stream said (rule 8)."""
    conn.execute(delete(segment).where(_segments_of(of)))


# --- interactions -------------------------------------------------------------------------


def interaction_of(conn: Connection, tenant: str, encounter: str) -> InteractionRow | None:
    """What is known of an Encounter's interaction."""
    columns = [interaction.c[name] for name in InteractionRow.__dataclass_fields__]
    of_encounter = and_(interaction.c.tenant == tenant, interaction.c.encounter == encounter)
    row = conn.execute(select(*columns).where(of_encounter)).first()
    return None if row is None else InteractionRow(**(row._asdict() | {"sent": bool(row.sent)}))


def put_interaction(conn: Connection, row: InteractionRow) -> None:
    """Write an intent, or what became of it."""
    one = and_(interaction.c.tenant == row.tenant, interaction.c.encounter == row.encounter)
    if not conn.execute(update(interaction).where(one).values(asdict(row))).rowcount:
        conn.execute(interaction.insert().values(asdict(row)))


def received(conn: Connection, tenant: str, encounter: str) -> Received:
    """How much audio an Encounter's interaction got by streams."""
    of_encounter = and_(interaction.c.tenant == tenant, interaction.c.encounter == encounter)
    row = conn.execute(select(interaction.c.told_ms, interaction.c.received_ms).where(of_encounter)).first()
    return Received(0, 0) if row is None else Received(row.told_ms, row.received_ms)


def note_received(conn: Connection, tenant: str, encounter: str, got: Received) -> None:
    """Write how much it got by now."""
    of_encounter = and_(interaction.c.tenant == tenant, interaction.c.encounter == encounter)
    values = {"told_ms": got.least_ms, "received_ms": got.most_ms}
    conn.execute(update(interaction).where(of_encounter).values(values))


def _segments_of(of: MediaKey) -> ColumnElement[bool]:
    return and_(segment.c.tenant == of.tenant, segment.c.media == of.media)
