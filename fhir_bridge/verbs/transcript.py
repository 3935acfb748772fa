"""The growing transcript: while audio streams, a DocumentReference names Binary ids that are rendered when read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.corti.messages import Segment
from fhir_bridge.errors import NotFound
from fhir_bridge.fhir.resource.reader import read as read_json
from fhir_bridge.mapping.origin import result_id
from fhir_bridge.mapping.tables_results import FORMATS
from fhir_bridge.mapping.transcript import RENDERED
from fhir_bridge.store import results
from fhir_bridge.store.results import MediaKey, SegmentRow
from fhir_bridge.verbs import audit
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import read

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bridge import Bridge

_TYPES: Final[dict[str, str]] = {row.code: row.content_type for row in FORMATS}
_RENDERED: Final = {str(code): render for code, render in RENDERED.items()}


def is_rendered(binary: str) -> bool:
    """Tell whether a Binary id names a rendering: that of its DocumentReference, a dot, and the format's code."""
    return binary.rpartition(".")[2] in _TYPES


def rendered(bridge: Bridge, grant: Grant, binary: str) -> tuple[Row, str, bytes]:
    """Return the DocumentReference, the Content-Type and the words heard so far.

    Raises:
        Forbidden: no right to read Binaries. Forbidden, NotFound, Gone: as reading the DocumentReference itself.
    """
    allowed(grant, ("Binary",), "r")
    document, _, code = binary.rpartition(".")
    audit.current().via = f"DocumentReference/{document}"
    row = read(bridge, grant, "DocumentReference", document)
    media = _media_of(read_json(row.body))
    if document != result_id(media, "transcript"):  # what an EHR wrote there leads to no other recording's words
        raise NotFound("This DocumentReference is no transcript of a recording")
    of = MediaKey(grant.tenant, media)
    segments = bridge.store.read(lambda conn: results.segments(conn, of))
    text = _RENDERED[code]([_segment(each) for each in segments])
    return row, _TYPES[code], text.encode()


def _media_of(document: Json) -> str:
    context = document.get("context")
    related = context.get("related") if isinstance(context, dict) else None
    first = related[0] if isinstance(related, list) and related else None
    reference = first.get("reference") if isinstance(first, dict) else None
    if not isinstance(reference, str) or not reference.startswith("Media/"):
        raise NotFound("This DocumentReference is no transcript of a recording")
    return reference.removeprefix("Media/")


def _segment(row: SegmentRow) -> Segment:
    return Segment(
        row.text, row.start_ms / 1000, row.end_ms / 1000, speaker=row.speaker, channel=row.channel, final=True
    )
