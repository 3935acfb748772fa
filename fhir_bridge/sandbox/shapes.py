"""What clients send: strict on required fields, deaf to unknown ones, as Corti is (corti-api 2, 3, 5)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

Json: TypeAlias = dict[str, JsonValue]

LANGUAGES = (
    *("ar", "da", "nl", "en", "en-US", "en-GB", "fr", "de"),
    *("hu", "it", "no", "pt", "es", "sv", "gsw-CH", "de-CH"),
)
FACT_GROUPS = (
    "chief-complaint",
    "history-of-present-illness",
    "past-medical-history",
    "family-history",
    "social-history",
    "functional-status",
    "medications-prior-to-visit",
    "allergies",
    "demographics",
    "vital-signs",
    "laboratory-results",
    "imaging-results",
    "normal-physical-findings",
    "abnormal-physical-findings",
    "denials-of-symptoms",
    "concerns-and-expectations",
    "assessment",
    "plan",
    "actions",
    "other",
)


def rfc3339(value: datetime) -> str:
    """A moment as Corti writes it: UTC with milliseconds and `Z`."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """The present moment as Corti writes it."""
    return rfc3339(datetime.now(UTC))


def _instant(text: str) -> str:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a date-time needs its offset")
    return rfc3339(moment)


def _birth_date(text: str) -> str:
    """Published as date-time, but a plain date is taken and given back unchanged (corti-api 2)."""
    return date.fromisoformat(text).isoformat() if len(text) == len("1971-04-09") else _instant(text)


Instant = Annotated[str, AfterValidator(_instant)]
Text = Annotated[str, Field(min_length=1)]


class Shape(BaseModel):
    """A JSON object whose names are camelCase on the wire and whose unknown members are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def json_of(self) -> Json:
        """All members that were sent, by their wire names."""
        return self.model_dump(by_alias=True, mode="json", exclude_unset=True)


class Period(Shape):
    """`encounter.period`."""

    started_at: Instant
    ended_at: Instant | None = None


EncounterStatus = Literal["planned", "in-progress", "on-hold", "completed", "cancelled", "deleted"]
EncounterType = Literal["first_consultation", "consultation", "emergency", "inpatient", "outpatient"]


class Encounter(Shape):
    """`encounter` of a new interaction."""

    identifier: Text
    status: EncounterStatus
    type: EncounterType
    period: Period | None = None
    title: str | None = None


class EncounterPatch(Shape):
    """`encounter` of a PATCH: everything may be left out."""

    identifier: Text | None = None
    status: EncounterStatus | None = None
    type: EncounterType | None = None
    period: Period | None = None
    title: str | None = None


class Patient(Shape):
    """`patient` of an interaction; its identifier stays required in a PATCH."""

    identifier: Text
    name: str | None = None
    gender: Literal["male", "female", "unknown", "other"] | None = None
    birth_date: Annotated[str, AfterValidator(_birth_date)] | None = None
    pronouns: str | None = None


Uuid = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$")]


class NewInteraction(Shape):
    """Body of `POST /interactions/`."""

    encounter: Encounter
    assigned_user_id: Uuid | None = None
    patient: Patient | None = None


class InteractionPatch(Shape):
    """Body of `PATCH /interactions/{id}`."""

    encounter: EncounterPatch | None = None
    assigned_user_id: Uuid | None = None
    patient: Patient | None = None


class Participant(Shape):
    """Who speaks on a channel."""

    channel: Annotated[int, Field(ge=0, le=7)]
    role: Literal["doctor", "patient", "multiple"]


class Term(Shape):
    """One word the recogniser should know."""

    term: Annotated[str, Field(min_length=1, max_length=50)]


class Keyterms(Shape):
    """At most 1,000 terms of at most 50 characters."""

    terms: Annotated[list[Term], Field(max_length=1000)] = []


class Replacement(Shape):
    """A word to be written otherwise."""

    find: Text
    replace: str


Replacements = Annotated[list[Replacement], Field(max_length=1000)]


class NewTranscript(Shape):
    """Body of `POST …/transcripts/` (corti-api 5.2)."""

    recording_id: Uuid
    primary_language: Text
    spoken_punctuation: bool | None = None
    automatic_punctuation: bool = True
    is_multichannel: bool = False
    diarize: bool = False
    participants: list[Participant] = []
    asynchronous: bool = Field(default=False, alias="async")
    replacements: Replacements = []
    keyterms: Keyterms = Keyterms()


class NewFact(Shape):
    """One fact an EHR or a user adds."""

    text: Text
    group: Text
    source: Literal["core", "user", "system"] = "user"


class NewFacts(Shape):
    """Body of `POST …/facts/`: an empty list is an error."""

    facts: Annotated[list[NewFact], Field(min_length=1)]


class FactPatch(Shape):
    """Body of `PATCH …/facts/{factId}`; null is taken as absent."""

    text: str | None = None
    group: str | None = None
    source: Literal["core", "user", "system"] | None = None
    is_discarded: bool | None = None


class NamedFactPatch(FactPatch):
    """One entry of the batch PATCH."""

    fact_id: Uuid


class FactPatches(Shape):
    """Body of `PATCH …/facts/`."""

    facts: Annotated[list[NamedFactPatch], Field(min_length=1)]


class TextContext(Shape):
    """Text from which facts are taken."""

    type: Literal["text"]
    text: Text


class FactExtraction(Shape):
    """Body of `POST /tools/extract-facts`."""

    context: Annotated[list[TextContext], Field(min_length=1)]
    output_language: Text
