"""POST /oauth/introspect and /oauth/revoke: what a token is good for, and taking it back."""

from __future__ import annotations

from flask import Blueprint, Response, request

from fhir_bridge.api import respond
from fhir_bridge.api.guard import grant, tokens
from fhir_bridge.api.oauth.token import posted
from fhir_bridge.smart.inspection import introspected, revoked

routes = Blueprint("inspect", __name__)


@routes.post("/oauth/introspect")
def introspect() -> Response:
    """Tell about a token, to a client or to the bearer of another token (RFC 7662)."""
    form = posted()
    bearer = grant() if request.headers.get("Authorization", "")[:7].lower() == "bearer " else None
    answer = introspected(tokens().desk(), form, dict(request.headers), bearer)
    return respond.plain(answer.body, status=answer.status, headers=dict(answer.headers))


@routes.post("/oauth/revoke")
def revoke() -> Response:
    """Take back a token: a refresh token with all that came of the same approval (RFC 7009)."""
    answer = revoked(tokens().desk(), posted(), dict(request.headers))
    return respond.plain(answer.body, status=answer.status, headers=dict(answer.headers))
