"""Reads the answers of Corti's REST interface (corti-api 2 and 5)."""

from __future__ import annotations

import re
from typing import Final, get_args

from fhir_bridge.corti.messages import Interaction, Json, Participant, Role, Segment
from fhir_bridge.corti.reading import first_of, id_of, number_of, object_of, objects_of, segments, text_of, whole_of
from fhir_bridge.corti.recorded import ExtractedFacts, FactDraft, FactGroup, RecordedTranscript

_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_ROLES: Final[dict[object, Role]] = {role: role for role in get_args(Role)}


def interaction(answer: object) -> Interaction:
    """Read an interaction; create calls its id `interactionId`, all others `id` (corti-api 2)."""
    body = object_of(answer)
    encounter = object_of(body.get("encounter"))
    return Interaction(
        id=id_of(body, "interactionId", "id"),
        websocket_url=text_of(body.get("websocketUrl")) or None,
        identifier=text_of(encounter.get("identifier")) or None,
        status=text_of(encounter.get("status")) or None,
        created_at=text_of(body.get("createdAt")) or None,
        updated_at=text_of(body.get("updatedAt"), body.get("lastUpdated")) or None,
        ended_at=text_of(body.get("endedAt")) or None,
    )


def extracted(answer: object) -> ExtractedFacts:
    """Read the answer of extract-facts; `value` is the old twin of `text`."""
    body = object_of(answer)
    found = [
        FactDraft(text_of(item.get("text"), item.get("value")), text_of(item.get("group")) or "other")
        for item in objects_of(body.get("facts"))
    ]
    return ExtractedFacts(tuple(fact for fact in found if fact.text), _credits(body))


def _credits(body: Json) -> float | None:
    return number_of(object_of(body.get("usageInfo")).get("creditsConsumed"))


def fact_groups(answer: object) -> tuple[FactGroup, ...]:
    """Read the fact groups with their names (`languages_id` is snake case, corti-api 5.3)."""
    return tuple(
        FactGroup(
            id=text_of(item.get("id")),
            key=text_of(item.get("key")),
            names=tuple(
                (str(one.get("languages_id")), text_of(one.get("name"))) for one in objects_of(item.get("translations"))
            ),
        )
        for item in objects_of(object_of(answer).get("data"))
        if text_of(item.get("key"))
    )


def languages(answer: object) -> tuple[str, ...]:
    """Find the language tags; the shape of this answer is not published (corti-api 3.7)."""
    found = first_of(object_of(answer), "languages", "data")
    tags: list[object] = []
    for entry in found.items() if isinstance(found, dict) else [(None, found)]:
        tags += _tags(*entry)
    return tuple(dict.fromkeys(tag for tag in tags if isinstance(tag, str) and _LANGUAGE.fullmatch(tag)))


def _tags(key: object, value: object) -> list[object]:
    if not isinstance(value, list):
        return [key]
    names = ("code", "languageCode", "language", "locale")
    return [first_of(item, *names) if isinstance(item, dict) else item for item in value]


def recorded_transcript(answer: object, seconds: float | None = None) -> RecordedTranscript:
    """Read the transcript of a recording that lasts `seconds`, as far as the caller knows."""
    body = object_of(answer)
    heard = segments(body.get("transcripts") or object_of(body.get("transcript")).get("transcripts"))
    metadata = object_of(body.get("metadata") or object_of(body.get("transcript")).get("metadata"))
    return RecordedTranscript(
        id=id_of(body, "id"),
        status=(text_of(body.get("status")) or "completed").lower(),
        recording_id=text_of(body.get("recordingId")) or None,
        segments=_in_seconds(heard, seconds),
        participants=tuple(
            Participant(whole_of(one.get("channel")) or 0, _ROLES.get(one.get("role"), "multiple"))
            for one in objects_of(metadata.get("participantsRoles"))
        ),
        credits=_credits(body),
    )


# Nobody speaks slower than one character in two seconds; milliseconds read as seconds do.
_SLOWEST_SPEECH: Final = 0.5
_BEYOND_THE_END: Final = 5.0


def _in_seconds(segments: tuple[Segment, ...], seconds: float | None) -> tuple[Segment, ...]:
    """Settle whether times are seconds or, as Corti's types say, milliseconds (corti-api 5.2)."""
    characters = sum(len(one.text) for one in segments)
    spoken = sum(one.end - one.start for one in segments)
    too_long = seconds is not None and any(one.end > seconds + _BEYOND_THE_END for one in segments)
    if not too_long and characters >= spoken * _SLOWEST_SPEECH:
        return segments
    return tuple(
        Segment(one.text, one.start / 1000, one.end / 1000, one.speaker, one.channel, one.final) for one in segments
    )
