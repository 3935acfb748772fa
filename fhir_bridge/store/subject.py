"""What belongs to a visit or a patient, as rows: what an erasure has to destroy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import and_, or_, select, tuple_

from fhir_bridge.store import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

T = TypeVar("T")
Place = tuple[str, str]  # type, id

_V: Final = tables.version.c
_K: Final = tables.key.c
_J: Final = tables.job.c
_BINARY: Final = re.compile(r"\bBinary/([A-Za-z0-9\-.]{1,64})")
AT_ONCE: Final = 400  # values in one list of a statement


@dataclass(frozen=True)
class Numbers:
    """The search parameters that tell what belongs together: compartments, Provenance.target, and those of results."""

    patient: int
    encounter: int
    target: int
    recordings: tuple[int, ...]


def visit(conn: Connection, tenant: str, patient: str, numbers: Numbers) -> str | None:
    """Name an Encounter of a patient."""
    found = _with_keys(conn, tenant, (numbers.patient,), [f"Patient/{patient}"])
    return min((id_ for type_, id_ in found if type_ == "Encounter"), default=None)


def of_encounter(conn: Connection, tenant: str, encounter: str, numbers: Numbers) -> set[Place]:
    """Return all that belongs to an Encounter: recordings, results, tasks, and what an EHR said of it."""
    found = {("Encounter", encounter)} | _with_keys(conn, tenant, (numbers.encounter,), [f"Encounter/{encounter}"])
    jobs = select(_J.task, _J.media).where(_J.tenant == tenant, _J.encounter == encounter)
    for task, media in conn.execute(jobs):
        found |= {("Task", task)} | ({("Media", media)} if media else set())
    recordings = [f"Media/{id_}" for type_, id_ in found if type_ == "Media"]
    found |= _with_keys(conn, tenant, numbers.recordings, recordings)
    return _completed(conn, tenant, found, numbers=numbers, root=f"Encounter/{encounter}")


def of_patient(conn: Connection, tenant: str, patient: str, numbers: Numbers) -> set[Place]:
    """Return all in the compartment of a patient; the visits themselves are `visit` by `visit`."""
    found = {("Patient", patient)} | _with_keys(conn, tenant, (numbers.patient,), [f"Patient/{patient}"])
    return _completed(conn, tenant, found, numbers=numbers, root=f"Patient/{patient}")


def _completed(conn: Connection, tenant: str, found: set[Place], *, numbers: Numbers, root: str) -> set[Place]:
    """Add the contents of what was found, and the Provenance of all of it; keep what exists."""
    found |= contents(conn, tenant, found, beside=_binaries_about(conn, tenant, root))
    places = [f"{type_}/{id_}" for type_, id_ in found]
    found |= {place for place in _with_keys(conn, tenant, (numbers.target,), places) if place[0] == "Provenance"}
    return {place for chunk in chunks(sorted(found)) for place in _existing(conn, tenant, chunk)}


def contents(conn: Connection, tenant: str, places: set[Place], *, beside: Iterable[str] = ()) -> set[Place]:
    """Return the Binaries that these resources name, or that are named `beside`, and that nothing else needs."""
    named = {id_ for body in bodies(conn, tenant, places) for id_ in _BINARY.findall(body)} | {*beside}
    return {("Binary", id_) for id_ in named if not _needed(conn, tenant, id_, places)}


def bodies(conn: Connection, tenant: str, places: Iterable[Place]) -> Iterator[str]:
    """Yield the text of every version of these resources."""
    for chunk in chunks(sorted(places)):
        rows = select(_V.body).where(_V.tenant == tenant, among(chunk), _V.body != "")
        yield from conn.execute(rows.order_by(_V.seq)).scalars()


def among(places: Sequence[Place]) -> ColumnElement[bool]:
    """Whether a version is one of these resources'."""
    return tuple_(_V.type, _V.id).in_(places)


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut a list into what one statement takes."""
    return (values[start : start + AT_ONCE] for start in range(0, len(values), AT_ONCE))


def _with_keys(conn: Connection, tenant: str, params: Sequence[int], vals: Sequence[str]) -> set[Place]:
    found: set[Place] = set()
    joined = select(_V.type, _V.id).join_from(
        tables.key, tables.version, and_(_V.tenant == _K.tenant, _V.seq == _K.seq, _V.until.is_(None))
    )
    for start in range(0, len(vals), AT_ONCE):
        some = vals[start : start + AT_ONCE]
        rows = conn.execute(joined.where(_K.tenant == tenant, _K.param.in_(params), _K.val.in_(some)))
        found |= {(row.type, row.id) for row in rows}
    return found


def _existing(conn: Connection, tenant: str, chunk: Sequence[Place]) -> set[Place]:
    rows = conn.execute(select(_V.type, _V.id).where(_V.tenant == tenant, among(chunk), _V.until.is_(None)))
    return {(row.type, row.id) for row in rows}


def _binaries_about(conn: Connection, tenant: str, root: str) -> set[str]:
    """Name the Binaries whose securityContext is the subject: they have no keys."""
    about = _V.body.contains(f'"{root}"', autoescape=True)
    rows = select(_V.id).where(_V.tenant == tenant, _V.type == "Binary", _V.until.is_(None), about)
    return set(conn.execute(rows).scalars())


def _needed(conn: Connection, tenant: str, binary: str, found: set[Place]) -> bool:
    """Tell whether a resource that stays names this content, too."""
    stays = and_(_V.tenant == tenant, or_(_V.type == "Media", _V.type == "DocumentReference"), _V.until.is_(None))
    rows = conn.execute(
        select(_V.type, _V.id).where(stays, _V.body.contains(f'Binary/{binary}"', autoescape=True), ~_V.deleted)
    )
    return any((row.type, row.id) not in found for row in rows)
