"""Responses: FHIR bodies with their headers, and every error as an OperationOutcome."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from flask import Response, g, request
from werkzeug.http import http_date

from fhir_bridge.api.negotiate import FHIR_JSON, answered_with, preference
from fhir_bridge.errors import (
    BridgeError,
    Forbidden,
    Issue,
    MethodNotAllowed,
    NoSuchRange,
    NotAcceptable,
    OAuthError,
    Unauthenticated,
)
from fhir_bridge.fhir.resource.reader import Number
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest.outcome import from_error, outcome
from fhir_bridge.verbs import audit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bundles.answers import Returns

REALM: Final = 'Bearer realm="fhir"'
# An outcome has one issue at least.
_ALL_WELL: Final = Issue("informational", "Stored as sent", severity="information")
_GONE: Final = Issue("informational", "Deleted, or not there before; past versions stay", severity="information")
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_RETURNS: Final[dict[str, Returns]] = {
    "minimal": "minimal",
    "representation": "representation",
    "operationoutcome": "OperationOutcome",
}


def body(text: str | Iterator[bytes], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with FHIR JSON in the form the client asked for."""
    if isinstance(text, str) and request.args.get("_pretty") == "true":
        text = write(json.loads(text, parse_float=Number), indent=2)
    return Response(text, status, headers, content_type=f"{answered_with()};charset=utf-8")


def row(found: Row, *, base: str, status: int = 200, hints: tuple[Issue, ...] = ()) -> Response:
    """Answer with one resource, or as Prefer asks; `hints` are warnings about what was stored."""
    if is_known(found):
        return Response(status=304, headers=versioned(found))
    wanted = _wanted()
    headers = versioned(found) | _applied(wanted)
    if request.method in _WRITES:
        headers["Location"] = f"{base}/{found.type}/{found.id}/_history/{found.vid}"
    if wanted == "minimal":
        return Response(status=status, headers=headers)
    if wanted == "operationoutcome":
        return body(write(outcome(hints or (_ALL_WELL,))), status=status, headers=headers)
    return body(found.body, status=status, headers=headers)


def deleted() -> Response:
    """Answer that a resource is gone: with nothing, unless Prefer asks for an outcome."""
    wanted = _wanted()
    if wanted == "operationoutcome":
        return body(write(outcome((_GONE,))), headers=_applied(wanted))
    return Response(status=204, headers=_applied(wanted if wanted == "minimal" else None))


def returns() -> Returns:
    """Return what Prefer asks the entries of a Bundle to be answered with: with the resources, unless it says so."""
    wanted = _wanted()
    return "representation" if wanted is None else _RETURNS[wanted]


def _wanted() -> str | None:
    """Return what Prefer asks the answer to a write to be."""
    wanted = preference("return") if request.method in _WRITES else None
    return wanted if wanted in _RETURNS else None


def _applied(wanted: str | None) -> dict[str, str]:
    return {} if wanted is None else {"Preference-Applied": f"return={_RETURNS[wanted]}"}


def is_known(found: Row) -> bool:
    """Tell whether the client that reads has this version already (http.html#cread); its ETag goes before a time."""
    if request.method not in {"GET", "HEAD"}:
        return False
    if "If-None-Match" in request.headers:
        return request.if_none_match.contains_weak(str(found.vid))
    since = request.if_modified_since
    return since is not None and found.at_ms // 1000 <= since.timestamp()


def versioned(found: Row) -> dict[str, str]:
    """Return ETag and Last-Modified of a version; both agree with its meta (http.html#versions).

    The audit learns here what is answered with.
    """
    audit.current().about = (found.type, found.id)
    return {
        "ETag": f'W/"{found.vid}"',
        "Last-Modified": http_date(datetime.fromtimestamp(found.at_ms / 1000, UTC)),
    }


def error(failure: BridgeError) -> Response:
    """Answer with the OperationOutcome of a failure."""
    text = json.dumps(from_error(failure, request_id=g.request_id), ensure_ascii=False)
    return Response(text, failure.status, _about(failure), content_type=f"{_safe_type()};charset=utf-8")


def oauth_error(failure: BridgeError) -> Response:
    """Answer with a failure as OAuth clients read it (RFC 6749 section 5.2)."""
    named = failure.error if isinstance(failure, OAuthError) else _oauth_code(failure)
    headers = {**_about(failure), "Cache-Control": "no-store", "Pragma": "no-cache"}
    return plain({"error": named, "error_description": failure.text}, status=failure.status, headers=headers)


def _oauth_code(failure: BridgeError) -> str:
    """Return OAuth's word for a failure of ours; it has two for the server's own (RFC 6749 section 4.1.2.1)."""
    if failure.status < 500:  # noqa: PLR2004 - HTTP 500
        return "invalid_request"
    return "server_error" if failure.status == 500 else "temporarily_unavailable"  # noqa: PLR2004 - HTTP 500


def _about(failure: BridgeError) -> dict[str, str]:
    """Return the headers that tell what to do about a failure."""
    headers = {}
    if failure.retry_after is not None:
        headers["Retry-After"] = str(failure.retry_after)
    if isinstance(failure, Unauthenticated):
        challenge = f'{REALM}, error="{failure.challenge}"' if failure.challenge else REALM
        headers["WWW-Authenticate"] = challenge
    if isinstance(failure, NoSuchRange):
        headers["Content-Range"] = f"bytes */{failure.size}"
    if isinstance(failure, MethodNotAllowed):
        headers["Allow"] = ", ".join(failure.allow)
    if isinstance(failure, Forbidden):
        scope = f', scope="{failure.scope}"' if failure.scope else ""
        headers["WWW-Authenticate"] = f'{REALM}, error="insufficient_scope"{scope}'
    return headers


def plain(
    members: Mapping[str, object] | Json, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON that is not FHIR."""
    return Response(json.dumps(members), status, headers, content_type="application/json")


def _safe_type() -> str:
    """An error is answered even to a client that accepts nothing we have."""
    try:
        return answered_with()
    except NotAcceptable:
        return FHIR_JSON
