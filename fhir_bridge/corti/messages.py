"""What the bridge and Corti say to each other about interactions and in streams, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Json = dict[str, object]

Role = Literal["doctor", "patient", "multiple"]
EncounterStatus = Literal["planned", "in-progress", "on-hold", "completed", "cancelled", "deleted"]
EncounterType = Literal["first_consultation", "consultation", "emergency", "inpatient", "outpatient"]
Gender = Literal["male", "female", "unknown", "other"]
About = Literal["audio", "language", "other"]

# corti-api 3.3: more or longer terms are refused with the whole configuration.
MAX_KEYTERMS: Final = 1_000
MAX_KEYTERM_LENGTH: Final = 50


def present(**members: object) -> Json:
    """Make an object of the members that are known."""
    return {name: value for name, value in members.items() if value is not None}


# --- what the bridge asks ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EncounterPeriod:
    """When the encounter took place, as RFC 3339 in UTC."""

    started_at: str
    ended_at: str | None = None


@dataclass(frozen=True, slots=True)
class CortiEncounter:
    """The encounter inside an interaction; `identifier` is reserved at Corti for ever."""

    identifier: str
    status: EncounterStatus
    type: EncounterType
    period: EncounterPeriod | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class CortiPatient:
    """The patient inside an interaction."""

    identifier: str
    name: str | None = None
    gender: Gender | None = None
    birth_date: str | None = None
    pronouns: str | None = None


@dataclass(frozen=True, slots=True)
class InteractionDraft:
    """An interaction as the bridge wants it to be (corti-api 2)."""

    encounter: CortiEncounter
    patient: CortiPatient | None = None
    assigned_user_id: str | None = None

    def to_json(self) -> Json:
        """Write the body of `POST /interactions/`: nothing that is unknown is mentioned."""
        encounter, period, patient = self.encounter, self.encounter.period, self.patient
        return present(
            assignedUserId=self.assigned_user_id,
            encounter=present(
                identifier=encounter.identifier,
                status=encounter.status,
                type=encounter.type,
                period=period and present(startedAt=period.started_at, endedAt=period.ended_at),
                title=encounter.title,
            ),
            patient=patient
            and present(
                identifier=patient.identifier,
                name=patient.name,
                gender=patient.gender,
                birthDate=patient.birth_date,
                pronouns=patient.pronouns,
            ),
        )

    def to_patch(self) -> Json:
        """Write the body of `PATCH /interactions/{id}`: what was withdrawn becomes null, the identifier stays."""
        body = self.to_json()
        encounter = {"title": None} | _object(body["encounter"])
        del encounter["identifier"]
        if "period" in encounter:
            encounter["period"] = {"endedAt": None} | _object(encounter["period"])
        body["encounter"] = encounter
        if "patient" in body:
            body["patient"] = {"name": None, "birthDate": None, "pronouns": None} | _object(body["patient"])
        return body


def _object(value: object) -> Json:
    return dict(value) if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Participant:
    """Who speaks on a channel (0-based)."""

    channel: int
    role: Role

    def to_json(self) -> Json:
        """Write one item of `participants`."""
        return {"channel": self.channel, "role": self.role}


def keyterms_json(terms: tuple[str, ...]) -> Json | None:
    """Write `keyterms`, of what Corti can take: a keyterm is a hint, and one too long has the whole stream refused."""
    usable = [{"term": term} for term in dict.fromkeys(terms) if 0 < len(term) <= MAX_KEYTERM_LENGTH]
    return {"terms": usable[:MAX_KEYTERMS]} if usable else None


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """How one stream is to be heard (corti-api 3.3)."""

    language: str
    output_locale: str
    participants: tuple[Participant, ...]
    diarize: bool = False
    multichannel: bool = False
    audio_format: str | None = None
    keyterms: tuple[str, ...] = ()
    interval: Literal["fixed", "fast_init"] = "fast_init"
    retention: Literal["retain", "none"] = "retain"

    def to_json(self) -> Json:
        """Write the `config` message. Both names of diarisation are sent (corti-api 6)."""
        return {
            "type": "config",
            "configuration": present(
                transcription={
                    "primaryLanguage": self.language,
                    "diarize": self.diarize,
                    "isDiarization": self.diarize,
                    "isMultichannel": self.multichannel,
                    "participants": [one.to_json() for one in self.participants],
                },
                mode={
                    "type": "facts",
                    "outputLocale": self.output_locale,
                    "factGenerationInterval": self.interval,
                },
                audioFormat=self.audio_format,
                retentionPolicy=self.retention,
                keyterms=keyterms_json(self.keyterms),
            ),
        }


# --- what Corti answers -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interaction:
    """An interaction as Corti knows it."""

    id: str
    websocket_url: str | None = None
    identifier: str | None = None
    status: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    ended_at: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """Words said on one channel; times are seconds from the start of the session or recording."""

    text: str
    start: float
    end: float
    speaker: int | None = None
    channel: int = 0
    final: bool = True


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where in the conversation a fact comes from."""

    type: str
    reference: str
    quote: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A clinical fact; the same id may come again with other content."""

    id: str
    text: str
    group: str
    group_id: str | None = None
    discarded: bool = False
    source: str = "core"
    created_at: str | None = None
    updated_at: str | None = None
    evidence: tuple[Evidence, ...] = ()


# --- what a stream says ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConfigAccepted:
    """Audio may be sent now."""


@dataclass(frozen=True, slots=True)
class ConfigNack:
    """The configuration was refused, missing or late; `kind` is Corti's word for it in upper case."""

    kind: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Transcript:
    """Segments, not always in the order they were said (corti-api 3.4)."""

    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """New or updated facts."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Flushed:
    """All that was pending has been said."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Credits since the session began; `final` unless it is an interim estimate."""

    credits: float
    final: bool = True


@dataclass(frozen=True, slots=True)
class AudioEvent:
    """A remark on the sound: long silence, bad quality, or their end."""

    event: str
    channel: int
    start: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Corti has nothing more to say."""


@dataclass(frozen=True, slots=True)
class StreamError:
    """Something went wrong at Corti; every member may be missing (corti-api 3.4)."""

    request: str | None = None
    code: str | None = None
    status: int | None = None
    title: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message Corti began to send after this was written: kept by name, otherwise ignored."""

    kind: str


Message = (
    ConfigAccepted | ConfigNack | Transcript | Facts | Flushed | Usage | AudioEvent | Ended | StreamError | Unknown
)
