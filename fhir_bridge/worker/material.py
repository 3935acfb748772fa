"""What a run works on, read from the store: an Encounter with its people, a Media with its sound."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from fhir_bridge.audio import Sound, inspect
from fhir_bridge.errors import BlobDamaged, NotFound
from fhir_bridge.fhir.resource.models import Encounter, Media, Model, Patient, Practitioner, model_of
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.rest import encode
from fhir_bridge.mapping.people import responsible
from fhir_bridge.store import Filter, binaries, resources
from fhir_bridge.store.history import vread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.resources import Row
    from fhir_bridge.worker.rooms import Run

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Visit:
    """An Encounter as it stands, and who takes part in it, and who is in charge, as far as the store knows them."""

    encounter: Encounter
    vid: int
    patient: Patient | None
    practitioners: tuple[Practitioner, ...]
    responsible: Practitioner | None = None


@dataclass(frozen=True)
class Recording:
    """A Media and what its sound was found to be."""

    media: Media
    sound: Sound


def visit_of(run: Run) -> Visit:
    """Read the run's Encounter, its patient and its practitioners; one that was deleted counts as entered in error."""
    row = run.read(lambda conn: resources.read(conn, Filter(run.job.tenant), "Encounter", run.job.encounter))
    assert row is not None  # noqa: S101 - a job has its Encounter, of which past versions stay
    encounter = _typed(Encounter, read(row.body) if not row.deleted else _before_deletion(run, row))
    people = (one.individual.reference for one in encounter.participant or () if one.individual)
    found = (_referenced(run, Practitioner, reference) for reference in people)
    subject = encounter.subject.reference if encounter.subject else None
    doctor = responsible(encounter)
    return Visit(
        encounter,
        row.vid,
        _referenced(run, Patient, subject),
        tuple(one for one in found if one is not None),
        _referenced(run, Practitioner, doctor.reference if doctor else None),
    )


def _before_deletion(run: Run, row: Row) -> Json:
    filter_ = Filter(run.job.tenant)
    last = run.read(lambda conn: vread(conn, filter_, row.type, row.id, vid=row.vid - 1))
    assert last is not None  # noqa: S101 - a deletion follows what it deletes
    return read(last.body) | {"status": "entered-in-error"}


def recording_of(run: Run) -> Recording:
    """Read the run's Media and listen to its sound from end to end.

    Raises:
        NotFound: the Media was deleted.
        UnusableAudio: nothing in it can be heard.
    """
    media = None if run.job.media is None else media_of(run, run.job.media)
    if media is None:
        raise NotFound("The Media was deleted")
    with sound_of(run, media) as file:
        return Recording(media, inspect(file))


def media_of(run: Run, id_: str) -> Media | None:
    """Read a Media; None when it was deleted."""
    json = run.resource("Media", id_)
    return None if json is None else _typed(Media, json)


@contextmanager
def sound_of(run: Run, media: Media) -> Iterator[BinaryIO]:
    """Open the audio of a Media: decrypted and verified as it is read.

    Raises:
        BlobDamaged: it is not there any more.
    """
    binary = str(media.content.url or "").rpartition("/")[2]
    stored = run.read(lambda conn: binaries.of(conn, run.job.tenant, binary))
    if stored is None:
        raise BlobDamaged("The audio of this Media was removed; send it again as a new Media", at="Media.content.url")
    with run.rooms.blobs.reader(stored.blob, stored.wrapped_key, run.account.audio_key, stored.size) as file:
        yield file


def _referenced(run: Run, model: type[M], reference: str | None) -> M | None:
    """Read what a reference names, when it is here: other people live in the EHR only (ruling 18)."""
    type_, _, id_ = (encode.reference(reference or "", base=run.rooms.base) or "").partition("/")
    json = run.resource(type_, id_) if type_ == model.get_resource_type() and "/" not in id_ else None
    return None if json is None else _typed(model, json)


def _typed(model: type[M], json: Json) -> M:
    found = model_of(json)
    if not isinstance(found, model):
        raise NotFound("The resource has another type than its place says")
    return found
