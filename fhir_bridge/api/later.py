"""Answers that are fetched later (Prefer: respond-async): 202 with a place to ask, that place, and files of exports."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Final, ParamSpec

from flask import Blueprint, Response, request
from werkzeug.http import http_date
from werkzeug.wsgi import wrap_file

from fhir_bridge.api import respond
from fhir_bridge.api.guard import bridge, grant
from fhir_bridge.api.negotiate import answered_with, preference
from fhir_bridge.errors import NotAcceptable
from fhir_bridge.fhir.rest.bundle import Done
from fhir_bridge.verbs import asynchronous
from fhir_bridge.verbs.asynchronous import Finished, Kind
from fhir_bridge.verbs.export import NDJSON
from fhir_bridge.verbs.intake import tenant_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.erasure import Erasure
    from fhir_bridge.verbs.asynchronous import Pending

P = ParamSpec("P")

routes = Blueprint("later", __name__, url_prefix="/fhir/_async")

_LINES: Final = (NDJSON, "application/ndjson", "application/fhir+json", "application/json")
_APPLIED: Final = {"Preference-Applied": "respond-async"}


def wanted() -> bool:
    """Tell whether the client wants to fetch the answer later."""
    return preference("respond-async") is not None


def accepted(who: Grant, kind: Kind, asked: Json) -> Response:
    """Have a worker run what only reads."""
    return _at(asynchronous.enqueue(bridge(), who, kind, asked))


def awaited(view: Callable[P, Response]) -> Callable[P, Response]:
    """Let the answer of a view that writes be fetched once the recordings it began with are transcribed.

    What is written is written at once; the client is told of a refusal at once as well.
    """

    @wraps(view)
    def call(*args: P.args, **kwargs: P.kwargs) -> Response:
        answer = view(*args, **kwargs)
        media = _recordings(answer) if wanted() and answer.status_code in {200, 201} else []
        return _kept(answer, "create" if "Location" in answer.headers else "transaction", media) if media else answer

    return call


def kept(who: Grant, kind: Kind, body: str, media: str) -> Response:
    """Keep the answer of an operation on a recording until it is transcribed."""
    return _at(asynchronous.keep(bridge(), who, kind, done=Done(200, body=body), media=[media]))


def erased(who: Grant, this: Erasure) -> Response:
    """Keep the answer to an erasure until all have forgotten."""
    return _at(asynchronous.keep_erasure(bridge(), who, this))


@routes.get("/<string:id_>")
def status(id_: str) -> Response:
    """How far a request is, or what it came to."""
    who = grant()
    answered_with()
    found = asynchronous.poll(bridge(), who, id_)
    return _finished(found) if isinstance(found, Finished) else _pending(found)


@routes.delete("/<string:id_>")
def drop(id_: str) -> Response:
    """End a request, or forget its answer."""
    who = grant()
    answered_with()
    asynchronous.drop(bridge(), who, id_)
    return Response(status=202)


@routes.get("/<string:id_>/<int:number>")
def file(id_: str, number: int) -> Response:
    """One file of an export: a resource a line."""
    who = grant()
    if request.accept_mimetypes and request.accept_mimetypes.best_match(_LINES) is None:
        raise NotAcceptable(f"Files of exports are {NDJSON}")
    found = asynchronous.file_of(bridge(), who, id_, number)
    blob, size = str(found["blob"]), int(str(found["size"]))
    opened = bridge().blobs.reader(blob, str(found["key"]), tenant_key(bridge(), who.tenant), size)
    answer = Response(wrap_file(request.environ, opened), content_type=NDJSON, direct_passthrough=True)
    answer.content_length = size
    answer.call_on_close(opened.close)
    return answer


def _pending(found: Pending) -> Response:
    return Response(status=202, headers={"X-Progress": found.progress, "Retry-After": str(found.seconds)})


def _finished(found: Finished) -> Response:
    headers = {"Expires": http_date(datetime.fromtimestamp(found.expires_ms / 1000, UTC))}
    if found.manifest is not None:
        return respond.plain(found.manifest, headers=headers)
    return respond.body(found.bundle, headers=headers)


def _at(id_: str) -> Response:
    answered_with()
    return Response(status=202, headers=_APPLIED | {"Content-Location": f"{bridge().base}/_async/{id_}"})


def _kept(answer: Response, kind: Kind, media: list[str]) -> Response:
    location, body = answer.headers.get("Location", ""), answer.get_data(as_text=True)
    done = Done(
        answer.status_code,
        location=location.removeprefix(f"{bridge().base}/") or None,
        etag=answer.headers.get("ETag"),
        body=body or None,
    )
    return _at(asynchronous.keep(bridge(), grant(), kind, done=done, media=media))


def _recordings(answer: Response) -> list[str]:
    """Name the Media that an answer says were written: by its Location, or by those in its Bundle."""
    if "Location" in answer.headers:
        places = [answer.headers["Location"].removeprefix(f"{bridge().base}/")]
    else:
        entries = json.loads(answer.get_data()).get("entry", [])
        places = [str(one.get("response", {}).get("location", "")) for one in entries]
    return [place.split("/")[1] for place in places if place.startswith("Media/")]
