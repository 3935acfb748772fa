"""Resumable upload on /fhir/Binary: tus 1.0 with creation and expiration (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, g, request
from werkzeug.exceptions import ClientDisconnected
from werkzeug.http import http_date

from fhir_bridge.api import parse
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.api.negotiate import require_plain_encoding
from fhir_bridge.errors import BadParameter, NotSupported, WrongOffset, WrongProtocol
from fhir_bridge.verbs import upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.verbs.upload import Standing

routes = Blueprint("upload", __name__, url_prefix="/fhir/Binary")

VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,creation-with-upload,expiration"
BYTES: Final = "application/offset+octet-stream"
_MOST_DIGITS: Final = 15
# Names of the metadatum that says what is uploaded: ours, and that of a common client.
_TYPES: Final = ("contentType", "filetype")
_UNKNOWN: Final = "application/octet-stream"


def is_asked() -> bool:
    """Tell whether the request speaks tus."""
    return "Tus-Resumable" in request.headers


@routes.after_app_request
def announce(response: Response) -> Response:
    """Say which version is spoken, and when asked by OPTIONS what else there is."""
    if request.path.startswith(routes.url_prefix or "/") and (is_asked() or request.method == "OPTIONS"):
        response.headers["Tus-Resumable"] = response.headers["Tus-Version"] = VERSION
        response.headers["Tus-Extension"] = EXTENSIONS
        response.headers["Tus-Max-Size"] = str(bridge().settings.max_binary_bytes)
    return response


@routes.patch("/<id_>")
def resume(id_: str) -> Response:
    """Take the next bytes of an upload."""
    who = grant()
    if request.mimetype != BYTES:
        parse.require("Binary", "patch")  # a Binary is not patched otherwise (ruling 21)
    _require_version()
    at = upload.standing(bridge(), who, id_)
    if _number("Upload-Offset") != at.offset:
        raise WrongOffset(f"The next byte of this upload is number {at.offset}")
    return _told(_appended(who, at), status=204)


def begin() -> Response:
    """Begin an upload, perhaps with its first bytes."""
    who = grant()
    _require_version()
    parse.require_room(who, "Binary")
    if "Upload-Defer-Length" in request.headers:
        raise NotSupported("Say how long the upload is, in Upload-Length")
    size, context = _number("Upload-Length"), request.headers.get("X-Security-Context")
    at = upload.begin(bridge(), who, size=size, content_type=_content_type(), context=context)
    if request.mimetype == BYTES:
        at = _appended(who, at)
    answer = _told(at, status=201)
    answer.headers["Location"] = f"{bridge().base}/Binary/{at.id}"
    return answer


def offset(id_: str) -> Response:
    """Tell where an upload goes on."""
    who = grant()
    _require_version()
    return _told(upload.standing(bridge(), who, id_), status=200)


def _appended(who: Grant, at: Standing) -> Standing:
    with bridge().door.inside(bridge().settings, who.tenant):
        return upload.append(bridge(), who, at, _arriving(), request=g.request_id)


def _told(at: Standing, *, status: int) -> Response:
    headers = {"Upload-Offset": str(at.offset), "Upload-Length": str(at.size), "Cache-Control": "no-store"}
    if at.expires_ms is not None:
        headers["Upload-Expires"] = http_date(datetime.fromtimestamp(at.expires_ms / 1000, UTC))
    return Response(status=status, headers=headers)


def _require_version() -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise WrongProtocol(f"Uploads speak tus {VERSION}: say so in Tus-Resumable")
    require_plain_encoding()


def _number(header: str) -> int:
    text = request.headers.get(header, "")
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise BadParameter(f"{header} is a whole number of bytes")
    return int(text)


def _content_type() -> str:
    """Read what is uploaded from Upload-Metadata: names with base64 values, separated by commas."""
    words = (word.split() for word in request.headers.get("Upload-Metadata", "").split(","))
    given = {word[0]: word[1] for word in words if len(word) > 1}
    text = next((given[name] for name in _TYPES if name in given), None)
    if text is None:
        return _UNKNOWN
    try:
        return base64.b64decode(text, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise BadParameter("Upload-Metadata has its values in base64") from exc


def _arriving() -> Iterator[bytes]:
    """Yield what arrives; when the line breaks, what came before counts."""
    try:
        yield from parse.stream()
    except ClientDisconnected:
        return
