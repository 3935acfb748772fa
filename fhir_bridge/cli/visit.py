"""The demo's consultation: posted by an EHR as Encounter and Media, and followed until its results are complete."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.audio import HEAD, inspect, sniff
from fhir_bridge.cli.ehr import worded
from fhir_bridge.errors import UnusableAudio
from fhir_bridge.fhir.resource.models import DocumentReference, Observation, OperationOutcome, Task
from fhir_bridge.mapping import systems

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from fhir_bridge.cli.ehr import Ehr
    from fhir_bridge.fhir.resource.models import CodeableConcept
    from fhir_bridge.fhir.resource.reader import Json

INLINE_BYTES: Final = 8 * 2**20  # a longer recording is uploaded as a raw Binary first
ENDED: Final = frozenset({"completed", "failed", "cancelled", "rejected", "entered-in-error"})
_PATIENT: Final[Json] = {"identifier": {"system": "urn:example:patients", "value": "demo-1"}, "display": "Demo Patient"}


@dataclass(frozen=True)
class Recording:
    """An audio file: its type, and its length in seconds where it can be told."""

    file: Path
    mime: str
    seconds: float | None


@dataclass(frozen=True)
class Words:
    """One utterance, at seconds of the recording."""

    start: float
    end: float
    text: str
    speaker: int | None


@dataclass(frozen=True)
class Fact:
    """One clinical fact as a table shows it."""

    id: str
    text: str
    group: str
    loinc: str | None


@dataclass(frozen=True)
class Status:
    """What a look at the bridge found."""

    words: tuple[Words, ...]
    facts: tuple[Fact, ...]
    phase: str
    ended: str | None
    reason: str | None


def recording_of(file: Path) -> Recording:
    """Look at a file. What cannot be read is sent all the same: the bridge says what is wrong with it."""
    with file.open("rb") as opened:
        try:
            mime = sniff(opened.read(HEAD)).mime
            opened.seek(0)
            return Recording(file, mime, inspect(opened).seconds)
        except UnusableAudio:
            return Recording(file, "application/octet-stream", None)


def post(ehr: Ehr, recording: Recording, *, transport: str | None) -> tuple[str, str]:
    """Post the Encounter and its recording as Media; return their ids."""
    encounter = ehr.create(_encounter())
    return encounter, ehr.create(_media(encounter, _content(ehr, recording), transport))


def look(ehr: Ehr, encounter: str, media: str) -> Status:
    """Read what has come so far, as an EHR that polls does."""
    place = f"Encounter/{encounter}"
    task = ehr.found(Task, focus=f"Media/{media}")[0]
    documents = ehr.found(DocumentReference, encounter=place)
    facts = [_fact(one) for one in ehr.found(Observation, encounter=place) if one.status != "entered-in-error"]
    phase = (task.businessStatus and task.businessStatus.text) or task.status
    return Status(
        words=tuple(words for document in documents for words in _words(ehr, document)),
        facts=tuple(sorted(facts, key=lambda fact: (fact.group, fact.text))),
        phase=str(phase),
        ended=task.status if task.status in ENDED else None,
        reason=_reason(task),
    )


def _encounter() -> Json:
    return {
        "resourceType": "Encounter",
        "identifier": [{"use": "official", "system": "urn:example:visits", "value": f"demo-{clock.new_id()[:8]}"}],
        "status": "in-progress",
        "class": {"system": systems.ACT_CODE, "code": "AMB", "display": "ambulatory"},
        "subject": _PATIENT,
        "period": {"start": clock.instant()},
    }


def _media(encounter: str, content: Json, transport: str | None) -> Json:
    extension: Json = {"extension": [{"url": systems.TRANSPORT, "valueCode": transport}]} if transport else {}
    return {
        "resourceType": "Media",
        **extension,
        "status": "completed",
        "subject": _PATIENT,
        "encounter": {"reference": f"Encounter/{encounter}"},
        "createdDateTime": clock.instant(),
        "content": content,
    }


def _content(ehr: Ehr, recording: Recording) -> Json:
    content: Json = {"contentType": recording.mime, "title": "Consultation"}
    if recording.file.stat().st_size <= INLINE_BYTES:
        return content | {"data": base64.b64encode(recording.file.read_bytes()).decode()}
    return content | {"url": f"Binary/{ehr.upload(recording.file, recording.mime)}"}


def _words(ehr: Ehr, document: DocumentReference) -> Iterable[Words]:
    """Read the segments: behind a URL while the transcript grows, inline when it is complete."""
    for content in document.content:
        if content.format is None or content.format.code != "segments":
            continue
        attachment = content.attachment
        text = attachment.data or ehr.text(str(attachment.url), str(attachment.contentType))
        for one in json.loads(text):
            yield Words(one["start"], one["end"], one["text"], one.get("speaker"))


def _fact(observation: Observation) -> Fact:
    group = observation.code.text or _code(observation.code, systems.FACT_GROUP) or "-"
    return Fact(str(observation.id), observation.valueString or "-", group, _code(observation.code, systems.LOINC))


def _code(concept: CodeableConcept, system: str) -> str | None:
    return next((coding.code for coding in concept.coding or () if coding.system == system), None)


def _reason(task: Task) -> str | None:
    outcomes = [one for one in task.contained or () if isinstance(one, OperationOutcome)]
    return worded(outcomes[0]) if outcomes else None
