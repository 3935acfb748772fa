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
    NotAcceptable,
    OAuthError,
    Unauthenticated,
)
from fhir_bridge.fhir.rest.outcome import from_error, outcome
from fhir_bridge.verbs import audit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.resources import Row

REALM: Final = 'Bearer realm="fhir"'
_ALL_WELL: Final = Issue("informational", "Stored as sent", severity="information")  # an outcome has one issue at least


def body(text: str | Iterator[bytes], *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with FHIR JSON in the form the client asked for."""
    if isinstance(text, str) and request.args.get("_pretty") == "true":
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return Response(text, status, headers, content_type=f"{answered_with()};charset=utf-8")


def row(found: Row, *, base: str, status: int = 200, hints: tuple[Issue, ...] = ()) -> Response:
    """Answer with one resource, or as Prefer asks; `hints` are warnings about what was stored."""
    headers = versioned(found)
    if status != 200 or request.method in {"POST", "PUT"}:  # noqa: PLR2004 - HTTP 200
        headers["Location"] = f"{base}/{found.type}/{found.id}/_history/{found.vid}"
    wanted = preference("return") if request.method in {"POST", "PUT"} else None
    if wanted in {"minimal", "operationoutcome", "representation"}:
        headers["Preference-Applied"] = f"return={wanted if wanted != 'operationoutcome' else 'OperationOutcome'}"
    if wanted == "minimal":
        return Response(status=status, headers=headers)
    if wanted == "operationoutcome":
        return body(json.dumps(outcome(hints or (_ALL_WELL,))), status=status, headers=headers)
    return body(found.body, status=status, headers=headers)


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
