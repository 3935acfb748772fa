"""A Media as the configuration of a stream: language, channels, audio format, names to listen for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge.audio.slices import audio_format
from fhir_bridge.corti.messages import MAX_KEYTERM_LENGTH, MAX_KEYTERMS, Participant, StreamConfig
from fhir_bridge.errors import NotMapped
from fhir_bridge.mapping import systems
from fhir_bridge.mapping.languages import language_of
from fhir_bridge.mapping.mapped import Mapped, Notes
from fhir_bridge.mapping.people import name_terms
from fhir_bridge.mapping.words import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fhir_bridge.audio.slices import Form
    from fhir_bridge.audio.sound import Sound
    from fhir_bridge.corti.messages import Role
    from fhir_bridge.fhir.resource.models import Encounter, Extension, Media, Patient, Practitioner

Transport = Literal["stream", "recording"]
TRANSPORTS: Final[dict[str, Transport]] = {"stream": "stream", "recording": "recording"}
ROLES: Final[dict[str, Role]] = {"doctor": "doctor", "patient": "patient"}
MAX_CHANNELS: Final = 8  # corti-api 3.6
_SHORTEST_TERM: Final = 2  # an initial is no word to listen for


def stream_config_from_media(
    media: Media,
    encounter: Encounter,
    *,
    patient: Patient | None = None,
    practitioners: Sequence[Practitioner] = (),
    sound: Sound,
    language: str,
    as_: Form,
) -> Mapped[StreamConfig]:
    """Say how this recording is to be heard (rulings 15 to 17); `language` is the setting's.

    Raises:
        NotMapped: Corti has no word for an element, which is named.
    """
    notes = Notes()
    tag = language_of(media, encounter, patient, default=language, notes=notes)
    participants = _participants(media, sound, notes)
    several = len(participants) > 1
    notes.rule("Media.content", "audio format of what is sent", format_ := audio_format(sound, as_))
    config = StreamConfig(
        language=tag,
        output_locale=tag,
        participants=participants,
        diarize=not several,
        multichannel=several,
        audio_format=format_,
        keyterms=_keyterms(encounter, patient, practitioners, notes),
    )
    return notes.mapped(config)


def transport_of(media: Media) -> Transport | None:
    """Return the transport a Media asks for by extension, or None when the setting decides (ruling 15)."""
    for index, extension in enumerate(media.extension or ()):
        if extension.url == systems.TRANSPORT:
            transport = TRANSPORTS.get(extension.valueCode or extension.valueString or "")
            if transport is None:
                raise NotMapped("The transport is stream or recording, as valueCode", at=f"Media.extension[{index}]")
            return transport
    return None


# --- channels ----------------------------------------------------------------------------------


def _participants(media: Media, sound: Sound, notes: Notes) -> tuple[Participant, ...]:
    roles = _roles(media, sound.channels)
    if not sound.distinct_channels:
        if roles:
            text = "The roles are not used: the recording has one channel, or channels that are the same"
            notes.warn(text, at="Media.extension", code="business-rule")
        notes.rule("Media.content", "one channel or equal channels: one participant, speakers told apart", "multiple")
        return (Participant(0, "multiple"),)
    if sound.channels > MAX_CHANNELS:
        raise NotMapped(f"Corti hears {MAX_CHANNELS} channels at most; mix them down", at="Media.content")
    participants = tuple(Participant(channel, roles.get(channel, "multiple")) for channel in range(sound.channels))
    named = ", ".join(one.role for one in participants)
    notes.rule("Media.content", "channels that differ: one participant each, role from channel-role", named)
    return participants


def _roles(media: Media, channels: int) -> dict[int, Role]:
    roles: dict[int, Role] = {}
    for index, extension in enumerate(media.extension or ()):
        if extension.url == systems.CHANNEL_ROLE:
            at = f"Media.extension[{index}]"
            channel, role = _channel_role(extension, at)
            if channel in roles or not 0 <= channel < channels:
                raise NotMapped(f"Name each channel once; this recording has 0 to {channels - 1}", at=at)
            roles[channel] = role
    return roles


def _channel_role(extension: Extension, at: str) -> tuple[int, Role]:
    parts = {part.url: part for part in extension.extension or ()}
    channel, role = parts.get("channel"), parts.get("role")
    numbers = (channel.valueInteger, channel.valueUnsignedInt, channel.valuePositiveInt) if channel else ()
    number = next((one for one in numbers if one is not None), None)
    word = ROLES.get(role.valueCode or role.valueString or "") if role else None
    if number is None or word is None:
        raise NotMapped(
            "channel-role needs channel (valueInteger, from 0) and role (valueCode doctor or patient)", at=at
        )
    return number, word


# --- names to listen for -----------------------------------------------------------------------


def _keyterms(
    encounter: Encounter, patient: Patient | None, practitioners: Sequence[Practitioner], notes: Notes
) -> tuple[str, ...]:
    """Give the parts of the patient's and the practitioners' names, else of the displays in the Encounter."""
    found = [*_terms("Patient.name", _patient_terms(encounter, patient), notes)]
    found += _terms("Practitioner.name", _practitioner_terms(encounter, practitioners), notes)
    terms = tuple(dict.fromkeys(found))
    if len(terms) > MAX_KEYTERMS:
        notes.warn(f"Only {MAX_KEYTERMS} names are sent: Corti takes no more", at="Practitioner.name", code="too-long")
    notes.rule("Patient.name, Practitioner.name", "parts of names as keyterms", f"{len(terms[:MAX_KEYTERMS])} terms")
    return terms[:MAX_KEYTERMS]


def _patient_terms(encounter: Encounter, patient: Patient | None) -> Iterator[str]:
    if patient is not None:
        return name_terms(patient.name or ())
    return iter(((encounter.subject and encounter.subject.display) or "").split())


def _practitioner_terms(encounter: Encounter, practitioners: Sequence[Practitioner]) -> Iterator[str]:
    if practitioners:
        return name_terms(name for one in practitioners for name in one.name or ())
    people = (one.individual for one in encounter.participant or () if one.individual)
    return (word for one in people for word in (one.display or "").split())


def _terms(element: str, words: Iterable[str], notes: Notes) -> Iterator[str]:
    for word in words:
        term = one_line(word).strip(" .,;:()[]\"'")
        if len(term) > MAX_KEYTERM_LENGTH:
            notes.warn(f"Not sent as keyterm: longer than {MAX_KEYTERM_LENGTH} characters", at=element, code="too-long")
        elif len(term) >= _SHORTEST_TERM:
            yield term
