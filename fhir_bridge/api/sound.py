"""Media as the recording itself, for whoever asks for sound and for nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response

from fhir_bridge.api import binary, reading
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.api.negotiate import asks_for_sound, takes_sound
from fhir_bridge.errors import NotAcceptable
from fhir_bridge.fhir.resource.reader import read as read_json
from fhir_bridge.fhir.resource.tree import only, text
from fhir_bridge.verbs.read import read as read_row

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json

routes = Blueprint("sound", __name__, url_prefix="/fhir/Media")


@routes.get("/<id:id_>")
def read(id_: str) -> Response:
    """Read a Media, or the bytes of its Binary when Accept names sound alone."""
    if not asks_for_sound():
        return reading.read("Media", id_)
    who = grant()
    row = read_row(bridge(), who, "Media", id_)
    return binary.read(_binary_of(read_json(row.body)))


def _binary_of(media: Json) -> str:
    content = only(media, "content")
    found = text(content, "contentType") or ""
    if not takes_sound(found):
        raise NotAcceptable(f"This recording is {found}")
    return (text(content, "url") or "").rpartition("/")[2]
