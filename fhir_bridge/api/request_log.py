"""What surrounds every request: its id, its log line, its headers, and every failure as an answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import werkzeug.exceptions
from flask import g, request
from werkzeug.exceptions import HTTPException

from fhir_bridge import clock, log
from fhir_bridge.api import respond
from fhir_bridge.errors import (
    BridgeError,
    Malformed,
    MethodNotAllowed,
    NoSuchRange,
    NoSuchRoute,
    TooLarge,
    UnsupportedMediaType,
)
from fhir_bridge.verbs import audit

if TYPE_CHECKING:
    from flask import Flask, Response

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_SHOWABLE: Final = re.compile(r"[ -~]{1,200}")
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_OF_STATUS: Final = {
    404: (NoSuchRoute, "There is nothing at this path"),
    413: (TooLarge, "The body is too large"),
    415: (UnsupportedMediaType, "This body is not read here"),
}


def watch(app: Flask) -> None:
    """Attach to `app`."""
    app.before_request(_begin)
    app.after_request(_end)
    app.register_error_handler(BridgeError, _refused)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _failed)


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else clock.new_id()
    g.not_taken = given if given != g.request_id and _SHOWABLE.fullmatch(given) else None
    g.began = clock.monotonic()


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    if g.not_taken:  # http.html#custom: a client that named its request finds its answer
        response.headers["X-Correlation-Id"] = g.not_taken
    if response.mimetype == "text/html" and response.calculate_content_length() == 0:
        del response.headers["Content-Type"]  # Flask's word for nothing; none of ours is HTML
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "no-store" if _is_oauth() else "no-cache")
    log.event(
        "web.request",
        method=request.method if request.method in _METHODS else "OTHER",
        route=str(request.url_rule) if request.url_rule else None,
        status=response.status_code,
        ms=round((clock.monotonic() - g.began) * 1000),
        request=g.request_id,
    )
    return response


def _refused(failure: BridgeError) -> Response:
    audit.current().issue = failure.issues[0].code
    return respond.oauth_error(failure) if _is_oauth() else respond.error(failure)


def _http(failure: HTTPException) -> Response:
    if isinstance(failure, werkzeug.exceptions.MethodNotAllowed):
        allow = tuple(sorted(failure.valid_methods or ()))
        return _refused(MethodNotAllowed("This path does not have this method", allow=allow))
    if isinstance(failure, werkzeug.exceptions.RequestedRangeNotSatisfiable):
        return _refused(NoSuchRange("The content ends before this range begins", size=failure.length))
    kind, text = _OF_STATUS.get(failure.code or 400, (Malformed, "The request cannot be read"))
    return _refused(kind(text))


def _failed(failure: Exception) -> Response:
    """Our own fault: the caller gets a number to tell, the log its kind, neither its words."""
    log.event("web.failed", request=g.request_id, error=type(failure).__name__)
    return _refused(BridgeError("The bridge failed at this request; tell its operator the request id"))


def _is_oauth() -> bool:
    return request.path.partition("/")[2].partition("/")[0] == "oauth"
