"""POST /oauth/token and the public keys that verify what it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import Blueprint, Response, request

from fhir_bridge import log
from fhir_bridge.api import respond
from fhir_bridge.api.guard import tokens
from fhir_bridge.errors import OAuthError
from fhir_bridge.smart.flows import token_response
from fhir_bridge.smart.keys import public_set

if TYPE_CHECKING:
    from collections.abc import Mapping

routes = Blueprint("oauth", __name__)

LARGEST_FORM: Final = 64 * 1024
FORM: Final = "application/x-www-form-urlencoded"


@routes.post("/oauth/token")
def token() -> Response:
    """Give tokens to a client that proves who it is, for itself or for a code or refresh token (SMART 2.2)."""
    answer = token_response(tokens().desk(), posted(), dict(request.headers))
    log.event("oauth.token", status=answer.status, error=str(answer.body.get("error") or ""))
    return respond.plain(answer.body, status=answer.status, headers=dict(answer.headers))


@routes.get("/oauth/jwks")
def jwks() -> Response:
    """The keys that access tokens and id_tokens are signed with."""
    return respond.plain(public_set(tokens().published()), headers={"Cache-Control": "public, max-age=300"})


def posted() -> Mapping[str, str]:
    """Return the form that was posted; parameters in the URL are not read.

    Raises:
        OAuthError: it is no form, or says something twice.
    """
    request.max_content_length = LARGEST_FORM
    if request.mimetype != FORM:
        raise OAuthError("invalid_request", f"Send the parameters as {FORM}")
    if any(len(values) > 1 for _, values in request.form.lists()):
        raise OAuthError("invalid_request", "A parameter is given more than once")
    return request.form
