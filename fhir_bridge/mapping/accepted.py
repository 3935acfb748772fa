"""A Media after acceptance: its audio replaced by a Binary, its status the bridge's, the rest as sent (ruling 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue

# With the audio go the remarks on it (`_data`), and what the found audio overrules.
_REPLACED: Final = frozenset(
    {"data", "_data", "url", "_url", "size", "_size", "hash", "_hash", "contentType", "_contentType"}
)


def accepted_media(
    json: Json, *, binary_url: str, size: int, sha1: str, content_type: str, status: str = "in-progress"
) -> Json:
    """Return the Media as it is given back; `sha1` is base64, as Attachment.hash wants it."""
    sent = json.get("content")
    kept = {name: value for name, value in sent.items() if name not in _REPLACED} if isinstance(sent, dict) else {}
    found: dict[str, JsonValue] = {"contentType": content_type, "url": binary_url, "size": size, "hash": sha1}
    return media_with_status({**json, "content": {**kept, **found}}, status)


def media_with_status(json: Json, status: str) -> Json:
    """Return the Media with another status and nothing else changed."""
    return {**{name: value for name, value in json.items() if name != "_status"}, "status": status}
