"""The transcript of a recording as a DocumentReference (issue section 3, ruling 8)."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from fhir_bridge.mapping import systems
from fhir_bridge.mapping.mapped import Mapped, Notes
from fhir_bridge.mapping.origin import reference, references
from fhir_bridge.mapping.segments import json_of_segments, text_of, vtt_of
from fhir_bridge.mapping.tables_results import FORMATS, label
from fhir_bridge.mapping.times import later, text_of_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fhir_bridge.corti.messages import Segment
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.mapping.origin import Origin
    from fhir_bridge.mapping.tables_results import FormatRow

RENDERED = {"text": text_of, "vtt": vtt_of, "segments": json_of_segments}


def document_from_transcript(
    segments: Sequence[Segment],
    origin: Origin,
    *,
    at: str,
    urls: Mapping[str, str],
    complete: bool,
    seconds: float | None = None,
) -> Mapped[Json]:
    """Show the words heard so far; `urls` has one address for each code of `FORMATS`.

    While streaming, attachments are addresses and nothing is rendered. The complete
    document holds its renderings inline, plain text first: some EHRs file only that.
    """
    notes = Notes()
    document: Json = {
        "resourceType": "DocumentReference",
        "id": origin.transcript,
        "meta": {"security": [dict(label("AIAST")), dict(label("DICTAST"))]},
        "status": "current",
        "docStatus": "preliminary",
        "type": _type(),
        "category": [{"coding": [{"system": systems.CATEGORY, "code": "transcript", "display": "Transcript"}]}],
        "date": at,
        "author": references("Device", origin.device),
        "description": "What was said, as heard by speech recognition; nobody has reviewed it",
        "content": [_content(row, segments, origin, url=urls[row.code], complete=complete) for row in FORMATS],
        "context": _context(origin, seconds, notes),
    }
    if origin.interaction is not None:
        document["identifier"] = [{"system": systems.INTERACTION_ID, "value": origin.interaction}]
    if origin.subject is not None:
        document["subject"] = origin.subject
    if complete and not segments:
        text = "No words were heard in this recording"
        notes.warn(text, at="DocumentReference.content", code="informational")
    notes.rule("transcript", "local type and LOINC 34109-9; there is no LOINC code for a transcript", "34109-9")
    return notes.mapped(document)


def _type() -> JsonValue:
    return {
        "coding": [
            {"system": systems.DOCUMENT_TYPE, "code": "transcript", "display": "Transcript of a consultation"},
            {"system": systems.LOINC, "code": "34109-9", "display": "Note"},
        ],
        "text": "Transcript of a consultation",
    }


def _content(row: FormatRow, segments: Sequence[Segment], origin: Origin, *, url: str, complete: bool) -> JsonValue:
    attachment: Json = {"contentType": row.content_type, "title": row.title}
    if origin.language is not None:
        attachment["language"] = origin.language
    rendered = RENDERED[row.code](segments, origin.participants).encode() if complete else b""
    # An empty text cannot be inline: FHIR has no empty strings.
    attachment |= _inline(rendered) if rendered else {"url": url}
    return {
        "attachment": attachment,
        "format": {"system": systems.ATTACHMENT_FORMAT, "code": row.code, "display": row.title},
    }


def _inline(rendered: bytes) -> Json:
    # SHA-1 is what Attachment.hash is defined as, not a means of security.
    sha1 = hashlib.sha1(rendered, usedforsecurity=False).digest()
    return {
        "data": base64.b64encode(rendered).decode(),
        "size": len(rendered),
        "hash": base64.b64encode(sha1).decode(),
    }


def _context(origin: Origin, seconds: float | None, notes: Notes) -> JsonValue:
    context: Json = {
        "encounter": references("Encounter", origin.encounter),
        "related": [reference("Media", origin.media)],
    }
    if origin.created is not None:
        period: Json = {"start": text_of_time(origin.created)}
        end = later(origin.created, seconds) if seconds is not None else None
        context["period"] = {**period, "end": end} if end else period
        notes.rule("Media.created", "the period of the recording, by its own length", str(period["start"]))
    return context
