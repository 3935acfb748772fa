"""Erasures: an intent, what it destroyed, and what others still have to forget (reliability.md; ruling 10).

intended -> destroyed (nothing of it is left in tables but what `ids`, `words`, `corti` and
`blobs` keep for the way) -> erased. Each step is one transaction or may be done again, so
whoever comes after a crash goes on.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import and_, delete, insert, or_, select, update

from fhir_bridge.store import destruction, subject, tables
from fhir_bridge.store.states import State
from fhir_bridge.store.versions import hold, now_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from fhir_bridge.store.subject import Place

Stage = Literal["intended", "destroyed", "erased"]

_E: Final = tables.erasure.c
_V: Final = tables.version.c
_IDENTITIES: Final = ("Patient", "Encounter")
_TELLING: Final = frozenset({"family", "given", "text", "value", "line", "birthDate"})
_SHORTEST: Final = 3  # of a word that is looked for: shorter ones are anywhere


@dataclass(frozen=True)
class Erasure:
    """One erasure as it stands; the texts are JSON, as their columns say."""

    id: str
    tenant: str
    subject: str
    state: Stage
    created_ms: int
    ids: str | None = None
    words: str | None = None
    corti: str = "[]"
    blobs: str = "[]"
    report: str = "{}"
    settled_ms: int = 0
    audited: int = 0
    done_ms: int | None = None

    @property
    def type(self) -> str:
        """The type of what is destroyed: Encounter or Patient."""
        return self.subject.partition("/")[0]

    @property
    def of(self) -> str:
        """Its id."""
        return self.subject.partition("/")[2]


_COLUMNS: Final = tuple(_E[field.name] for field in fields(Erasure))


def begin(conn: Connection, new: Erasure) -> Erasure:
    """Write the intent; of two for one subject the first is the one that counts until it is done."""
    hold(conn, new.tenant)
    there = of(conn, new.tenant, new.subject)
    if there is not None:
        return there
    conn.execute(insert(tables.erasure).values(**vars(new)))
    return new


def of(conn: Connection, tenant: str, subject_: str) -> Erasure | None:
    """Return the latest erasure of a subject, or by its pseudonym one that is done."""
    rows = select(*_COLUMNS).where(_E.tenant == tenant, _E.subject == subject_).order_by(_E.created_ms.desc()).limit(1)
    row = conn.execute(rows).first()
    return None if row is None else Erasure(*row)


def by_id(conn: Connection, id_: str) -> Erasure:
    """Return one erasure."""
    return Erasure(*conn.execute(select(*_COLUMNS).where(_E.id == id_)).one())


def unfinished(conn: Connection) -> tuple[Erasure, ...]:
    """Return what has to go on, the oldest first."""
    rows = select(*_COLUMNS).where(_E.state.in_(("intended", "destroyed"))).order_by(_E.created_ms)
    return tuple(Erasure(*row) for row in conn.execute(rows))


# --- destruction --------------------------------------------------------------------------


def destroy(conn: Connection, id_: str, places: Iterable[Place], *, lease_ms: int) -> None:
    """Destroy resources and all that was kept beside them; note what the rest of the way needs.

    In one transaction: whoever reads sees all of it or a tombstone, and a worker that holds
    one of its jobs writes nothing any more.
    """
    this = by_id(conn, id_)
    here = sorted(places)
    if not here:
        return
    told = _Told(this)
    told.see(conn, here)
    held = _stop(conn, this.tenant, here)
    told.corti += _interactions(conn, this.tenant, here)
    sealed = destruction.contents(conn, this.tenant, here)
    told.audio += [digest for _, digest in sealed]
    told.blobs += [blob for blob, _ in sealed]
    told.blobs += _uploads(conn, this.tenant, here)
    media = [id_ for type_, id_ in here if type_ == "Media"]
    for name, table in (("segments", tables.segment), ("facts", tables.fact)):
        told.counts[name] += destruction.results(conn, table, this.tenant, media)
    told.counts["claims"] += destruction.claims(conn, this.tenant, here)
    told.counts["keys_of_audio"] += len(sealed)
    told.counts += destruction.entomb(conn, this.tenant, here)
    settled = max(this.settled_ms, now_ms() + lease_ms if held else 0)
    conn.execute(update(tables.erasure).where(_E.id == id_).values(settled_ms=settled, **told.columns))


class _Told:
    """What an erasure has gathered so far, and is to remember."""

    def __init__(self, this: Erasure) -> None:
        self.tenant = this.tenant
        self.ids: list[str] = json.loads(this.ids or "[]")
        self.words: set[str] = set(json.loads(this.words or "[]"))
        self.corti: list[dict[str, object]] = json.loads(this.corti)
        self.blobs: list[str] = json.loads(this.blobs)
        report = json.loads(this.report)
        self.counts: Counter[str] = Counter(report.get("counts", {}))
        self.resources: Counter[str] = Counter(report.get("resources", {}))
        self.audio: list[str] = report.get("audio_sha256", [])
        self.digest: str = report.get("digest", "")

    def see(self, conn: Connection, places: Sequence[Place]) -> None:
        """Take down ids and counts, the words that name the subject, and one hash over all that will be gone."""
        known = set(self.ids)
        self.ids += [f"{type_}/{id_}" for type_, id_ in places if f"{type_}/{id_}" not in known]
        self.resources.update(type_ for type_, _ in places)
        hashed = sha256(self.digest.encode())
        for body in subject.bodies(conn, self.tenant, places):
            hashed.update(sha256(body.encode()).digest())
        self.digest = hashed.hexdigest()
        identities = [place for place in places if place[0] in _IDENTITIES]
        for body in subject.bodies(conn, self.tenant, identities):
            self.words |= _words(json.loads(body))

    def is_in(self, asked: str, answer: str) -> bool:
        """Tell whether a request, as JSON, asks by an id or a word of what was destroyed, or was answered with it."""
        ids = [place.partition("/")[2] for place in self.ids]
        words = [json.dumps(word)[1:-1].casefold() for word in self.words]
        folded = asked.casefold()
        return any(id_ in asked or id_ in answer for id_ in ids) or any(word in folded for word in words)

    @property
    def columns(self) -> dict[str, str]:
        counts = self.counts | {"files": len(self.blobs)}  # shredded once all is destroyed
        report: dict[str, object] = {"counts": counts, "resources": dict(self.resources)}
        report |= {"audio_sha256": self.audio, "digest": self.digest}
        return {
            "ids": json.dumps(self.ids),
            "words": json.dumps(sorted(self.words)),
            "corti": json.dumps(self.corti),
            "blobs": json.dumps(self.blobs),
            "report": json.dumps(report),
        }


def _words(json_: object, name: str = "") -> set[str]:
    """Return what names a person or a visit: names, addresses, numbers, dates of birth."""
    if isinstance(json_, dict):
        return {word for key, value in json_.items() if key != "meta" for word in _words(value, key)}
    if isinstance(json_, list):
        return {word for value in json_ for word in _words(value, name)}
    telling = isinstance(json_, str) and name in _TELLING and _SHORTEST <= len(json_) <= subject.AT_ONCE
    return {str(json_)} if telling else set()


def _stop(conn: Connection, tenant: str, places: Sequence[Place]) -> bool:
    """End the jobs, whoever has them; tell whether a worker had one."""
    j = tables.job.c
    mine = and_(j.tenant == tenant, or_(*(destruction.ids(column, places, type_) for column, type_ in _of_jobs())))
    held = conn.execute(select(j.id).where(mine, j.owner.is_not(None)).limit(1)).first() is not None
    ended = {"state": State.ERASED, "owner": None, "lease_ms": None, "error_code": None, "error_text": None}
    conn.execute(update(tables.job).where(mine, j.state != State.ERASED).values(epoch=j.epoch + 1, **ended))
    return held


def _of_jobs() -> tuple[tuple[ColumnElement[str | None], str], ...]:
    j = tables.job.c
    return ((j.encounter, "Encounter"), (j.media, "Media"))


def _interactions(conn: Connection, tenant: str, places: Sequence[Place]) -> list[dict[str, object]]:
    i = tables.interaction.c
    mine = and_(i.tenant == tenant, destruction.ids(i.encounter, places, "Encounter"))
    rows = conn.execute(select(i.identifier, i.corti_id, i.sent).where(mine)).all()
    conn.execute(delete(tables.interaction).where(mine))
    asked = [row for row in rows if row.sent or row.corti_id]
    return [{"identifier": row.identifier, "corti_id": row.corti_id} for row in asked]


def _uploads(conn: Connection, tenant: str, places: Sequence[Place]) -> list[str]:
    """End uploads that are about what goes."""
    u, p = tables.upload.c, tables.upload_part.c
    names = {f"{type_}/{id_}" for type_, id_ in places}
    rows = conn.execute(select(u.id, u.context).where(u.tenant == tenant, u.context.is_not(None))).all()
    ended = [row.id for row in rows if "/".join(str(row.context).split("/")[-2:]) in names]
    mine = and_(p.tenant == tenant, p.upload.in_(ended))
    blobs = list(conn.execute(select(p.blob).where(mine)).scalars())
    conn.execute(delete(tables.upload_part).where(mine))
    conn.execute(delete(tables.upload).where(u.tenant == tenant, u.id.in_(ended)))
    return blobs


def _answers(conn: Connection, told: _Told) -> list[str]:
    """Forget answers that wait to be fetched and tell of what went; an export may, and can be asked for again.

    What is being run may have read what stood before: it is run anew.
    """
    a = tables.asynchronous.c
    mine = a.tenant == told.tenant
    running = update(tables.asynchronous).where(mine, a.state == "running")
    conn.execute(running.values(state="queued", owner=None, lease_ms=None))
    rows = conn.execute(select(a.id, a.kind, a.asked, a.answer, a.files).where(mine)).all()
    gone = [row for row in rows if row.kind == "export" or told.is_in(row.asked or "", row.answer or "")]
    conn.execute(delete(tables.asynchronous).where(a.id.in_([row.id for row in gone])))
    return [str(file["blob"]) for row in gone for file in json.loads(row.files)]


def _past(conn: Connection, this: Erasure) -> int:
    """Destroy past versions that were about the subject, of resources that now are about another."""
    named = or_(*(_V.body.contains(f'{before}{this.subject}"', autoescape=True) for before in ('"', "/")))
    mine = and_(_V.tenant == this.tenant, _V.until.is_not(None), named)
    seqs = list(conn.execute(select(_V.seq).where(mine)).scalars())
    for some in subject.chunks(seqs):
        destruction.blank(conn, this.tenant, _V.seq.in_(some))
    return len(seqs)


def destroyed(conn: Connection, id_: str) -> None:
    """Destroy what is left beside the resources, and note that nothing of the subject is left in the tables."""
    this = by_id(conn, id_)
    told = _Told(this)
    told.counts["versions"] += _past(conn, this)
    told.blobs += _answers(conn, told)
    ended = update(tables.erasure).where(_E.id == id_, _E.state == "intended")
    conn.execute(ended.values(state="destroyed", **told.columns))


def note(conn: Connection, id_: str, *, pseudonyms: int = 0, **values: str | int) -> None:
    """Write how far the rest of the way is, unless another has come to its end; add `pseudonyms` to those reported."""
    mine = and_(_E.id == id_, _E.state == "destroyed")
    report = conn.execute(select(_E.report).where(mine).with_for_update()).scalar()
    if report is not None:
        counts = Counter(json.loads(report).get("counts", {})) + Counter(audit_rows_with_pseudonyms=pseudonyms)
        values["report"] = json.dumps(json.loads(report) | {"counts": counts})
        conn.execute(update(tables.erasure).where(mine).values(**values))


def finish(conn: Connection, id_: str, *, pseudonym: str, report: Mapping[str, object]) -> bool:
    """Note that all have forgotten, and forget what was needed for the way; False: another was first."""
    values = {"subject": pseudonym, "state": "erased", "ids": None, "words": None, "corti": "[]", "blobs": "[]"}
    ended = update(tables.erasure).where(_E.id == id_, _E.state == "destroyed")
    return conn.execute(ended.values(done_ms=now_ms(), report=json.dumps(report), **values)).rowcount == 1
