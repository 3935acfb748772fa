"""Binary and its raw form: bytes in, bytes out (http://hl7.org/fhir/R4/binary.html)."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, request
from werkzeug.wsgi import wrap_file

from fhir_bridge.api import parse, respond, upload, writing
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.api.negotiate import answered_with, is_fhir_body, require_plain_encoding, wants_raw
from fhir_bridge.errors import UnsupportedMediaType
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.verbs.binary import content_type_of, context_of, opened, raw_json
from fhir_bridge.verbs.intake import Intake
from fhir_bridge.verbs.part import leaves, part_of
from fhir_bridge.verbs.transcript import is_rendered, rendered
from fhir_bridge.verbs.write import create as create_row
from fhir_bridge.verbs.write import update as update_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.binaries import StoredBlob
    from fhir_bridge.store.resources import Row

routes = Blueprint("binary", __name__, url_prefix="/fhir/Binary")

_THREE_DIVIDES: Final = 48 * 1024
# Shown by a browser without being run; everything else is offered as a download.
_HARMLESS: Final = ("audio/", "text/plain", "application/pdf")


@routes.post("")
def create() -> Response:
    """Create a Binary, in FHIR's form or from the raw body; or begin to upload one in parts."""
    if upload.is_asked():
        return upload.begin()
    who = grant()
    answered_with()
    parse.require_room(who, "Binary")
    if _is_in_fhirs_form():
        return writing.create("Binary")
    with Intake(bridge(), who.tenant) as intake:
        json = _raw(intake)
        return parse.stored(intake, create_row(parse.writer(who, intake), json, unless=parse.unless()))


@routes.put("/<id:id_>")
def update(id_: str) -> Response:
    """Create a Binary under the EHR's own id, or say again what is there."""
    who = grant()
    if _is_in_fhirs_form():
        return writing.update("Binary", id_)
    answered_with()
    with Intake(bridge(), who.tenant) as intake:
        json = _raw(intake) | {"id": id_}
        return parse.stored(intake, update_row(parse.writer(who, intake), id_, json, expect=parse.expected_version()))


@routes.get("/<id:id_>")
def read(id_: str) -> Response:
    """Read the bytes, or FHIR's form when FHIR is asked for; or how far an upload is."""
    if request.method == "HEAD" and upload.is_asked():
        return upload.offset(id_)
    who = grant()
    return _rendered(who, id_) if is_rendered(id_) else _answered(*opened(bridge(), who, id_))


@routes.get("/<id:id_>/_history/<vid>")
def vread(id_: str, vid: str) -> Response:
    """Read the bytes, or FHIR's form, of one version."""
    who = grant()
    return _answered(*opened(bridge(), who, id_, vid=vid))


def _is_in_fhirs_form() -> bool:
    """Tell whether the body is a Binary; any other resource is content like any other (R4 binary.html#rest)."""
    return is_fhir_body() and parse.begins_as() in {"Binary", None}


def _answered(row: Row, content: StoredBlob, file: BinaryIO) -> Response:
    """Answer with the bytes, or the range of them that is asked for, or with FHIR's form."""
    stored = content_type_of(row)
    if respond.is_known(row):
        answer = Response(status=304, headers=respond.versioned(row))
    elif not wants_raw(stored):
        part = part_of(row, request.args.items(multi=True))
        text = _as_json(part.body, file) if leaves("data", request.args.items(multi=True)) else part.body
        answer = respond.body(text, headers=respond.versioned(row))
    else:
        answer = Response(wrap_file(request.environ, file), content_type=stored, direct_passthrough=True)
        answer.headers.update(respond.versioned(row) | _shown_as(stored, context_of(row)))
        answer.content_length = content.size
        answer.headers["Accept-Ranges"] = "bytes"
        if _is_one_range():
            answer.make_conditional(request, accept_ranges=True, complete_length=content.size)
    answer.call_on_close(file.close)
    return answer


def _is_one_range() -> bool:
    """Tell whether one range of bytes is asked for; a Range of another kind is none (RFC 9110 section 14.2)."""
    asked = request.range
    return asked is not None and asked.units == "bytes" and len(asked.ranges) == 1


def _shown_as(stored: str, context: str | None) -> dict[str, str]:
    disposition = {"Content-Disposition": "inline" if stored.startswith(_HARMLESS) else "attachment"}
    return disposition | ({"X-Security-Context": context} if context else {})


def _rendered(who: Grant, id_: str) -> Response:
    """What was heard so far, as a transcript that is still growing names it."""
    row, stored, content = rendered(bridge(), who, id_)
    if wants_raw(stored.partition(";")[0]):
        return Response(content, headers=respond.versioned(row), content_type=stored)
    json: Json = {"resourceType": "Binary", "id": id_, "contentType": stored}
    return respond.body(_as_json(write(json), io.BytesIO(content)), headers=respond.versioned(row))


def _raw(intake: Intake) -> Json:
    if not request.mimetype:
        raise UnsupportedMediaType("Send the body with its Content-Type, such as audio/wav")
    require_plain_encoding()
    intake.raw(parse.stream())
    return raw_json(request.content_type or request.mimetype, request.headers.get("X-Security-Context"))


def _as_json(body: str, file: BinaryIO) -> Iterator[bytes]:
    """Write FHIR's form piece by piece: the base64 of an hour of audio is never in memory."""
    with file:
        piece = file.read(_THREE_DIVIDES)
        if not piece:  # an empty string is no FHIR: nothing was heard yet
            yield body.encode()
            return
        yield body[:-1].encode() + b',"data":"'
        while piece:
            yield base64.b64encode(piece)
            piece = file.read(_THREE_DIVIDES)
        yield b'"}'
