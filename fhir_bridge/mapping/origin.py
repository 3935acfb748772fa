"""What a result comes from: the recording, its Encounter and patient, and when it was made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_bridge.fhir.resource.models import Patient, json_of
from fhir_bridge.mapping.device import CORTI
from fhir_bridge.mapping.people import contained_in, preferred
from fhir_bridge.mapping.systems import uuid5_of

if TYPE_CHECKING:
    from fhir_bridge.corti.messages import Participant
    from fhir_bridge.fhir.resource.models import Encounter, Media, Reference
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.mapping.times import FhirTime


@dataclass(frozen=True)
class Origin:
    """One recording, as its results refer to it."""

    media: str
    encounter: str
    subject: Json | None = None
    interaction: str | None = None
    created: FhirTime | None = None
    started: FhirTime | None = None
    language: str | None = None
    participants: tuple[Participant, ...] = ()
    device: str = CORTI

    @property
    def transcript(self) -> str:
        """The id of the DocumentReference that holds the transcript."""
        return result_id(self.media, "transcript")


def origin_of(
    media: Media,
    encounter: Encounter,
    *,
    interaction: str | None = None,
    language: str | None = None,
    participants: tuple[Participant, ...] = (),
) -> Origin:
    """Collect what results need from the stored Media and Encounter; both have ids by then."""
    period = media.createdPeriod
    return Origin(
        media=str(media.id),
        encounter=str(encounter.id),
        subject=subject_of(encounter, media),
        interaction=interaction,
        created=media.createdDateTime or (period.start if period else None),
        started=encounter.period.start if encounter.period else None,
        language=language,
        participants=participants,
    )


def result_id(media: str, name: str) -> str:
    """Name a result by its recording and Corti's id: a repeated run replaces it (decision 8)."""
    return uuid5_of(media, name)


def reference(type_: str, id_: str) -> Json:
    """Refer to a resource of this server."""
    return {"reference": f"{type_}/{id_}"}


def references(type_: str, id_: str) -> list[JsonValue]:
    """Refer to one resource where FHIR wants a list."""
    return [reference(type_, id_)]


def subject_of(encounter: Encounter, media: Media | None = None) -> Json | None:
    """Refer to the patient of the Encounter, else of the Media, as every other resource may.

    A contained patient cannot be pointed at from outside: it is named by its identifier.
    """
    if encounter.subject is not None:
        return _outside(encounter.subject, encounter)
    if (
        media is not None
        and media.subject is not None
        and ("Patient" in {media.subject.type, *(media.subject.reference or "").split("/")})
    ):
        return _outside(media.subject, media)
    return None


def _outside(subject: Reference, within: Encounter | Media) -> Json | None:
    """Rewrite a reference so that it holds outside its resource: a contained patient is named, not pointed at."""
    json = json_of(subject)
    patient = contained_in(within, subject)
    if not (subject.reference or "").startswith("#"):
        return json
    del json["reference"]
    identifier = preferred(patient.identifier) if isinstance(patient, Patient) else None
    if identifier is not None and "identifier" not in json:
        json["identifier"] = json_of(identifier)
    return json or None
