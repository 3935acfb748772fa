"""What only Corti's REST interface speaks of: transcripts of recordings, facts to add or change, fact groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fhir_bridge.corti.messages import Json, Participant, Segment, keyterms_json, present

FactSource = Literal["core", "user", "system"]


@dataclass(frozen=True, slots=True)
class TranscriptDraft:
    """A transcript of an uploaded recording, as the bridge asks for it (corti-api 5.2)."""

    recording_id: str
    language: str
    participants: tuple[Participant, ...] = ()
    diarize: bool = False
    multichannel: bool = False
    keyterms: tuple[str, ...] = ()
    asynchronous: bool = True

    def to_json(self) -> Json:
        """Write the body; participants beside diarisation of one channel are refused with 400 (corti-api 5.2)."""
        named = self.multichannel or not self.diarize
        return present(
            recordingId=self.recording_id,
            primaryLanguage=self.language,
            isMultichannel=self.multichannel,
            diarize=self.diarize,
            participants=[one.to_json() for one in self.participants] if named and self.participants else None,
            keyterms=keyterms_json(self.keyterms),
            **{"async": self.asynchronous},
        )


@dataclass(frozen=True, slots=True)
class FactDraft:
    """A fact without an id yet: one to add, or one that extract-facts found."""

    text: str
    group: str
    source: FactSource = "core"

    def to_json(self) -> Json:
        """Write one item of `POST …/facts/`."""
        return {"text": self.text, "group": self.group, "source": self.source}


@dataclass(frozen=True, slots=True)
class FactChange:
    """What is to become of one fact; None leaves a member as it is."""

    fact_id: str
    text: str | None = None
    group: str | None = None
    discarded: bool | None = None

    def to_json(self) -> Json:
        """Write the members that change, without the id."""
        return present(text=self.text, group=self.group, isDiscarded=self.discarded)


@dataclass(frozen=True, slots=True)
class FactGroup:
    """One of Corti's fact groups, with its names by Corti's language id."""

    id: str
    key: str
    names: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RecordedTranscript:
    """The transcript of an uploaded recording. `status` is open: processing, completed, failed."""

    id: str
    status: str
    recording_id: str | None = None
    segments: tuple[Segment, ...] = ()
    participants: tuple[Participant, ...] = ()
    credits: float | None = None


@dataclass(frozen=True, slots=True)
class ExtractedFacts:
    """What extract-facts found in a text."""

    facts: tuple[FactDraft, ...] = ()
    credits: float | None = None
