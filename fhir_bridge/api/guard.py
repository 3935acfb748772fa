"""Who asks: the access token of a request becomes a Grant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import current_app, g, request

from fhir_bridge.errors import OAuthError, Unauthenticated
from fhir_bridge.verbs import audit

if TYPE_CHECKING:
    from fhir_bridge.api.desk import Tokens
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.verbs.bridge import Bridge

BRIDGE: Final = "fhir-bridge"
TOKENS: Final = "fhir-bridge-tokens"


def bridge() -> Bridge:
    """Return the open rooms of this process: of the tenant whose token the request bears, once that is known."""
    found: Bridge = current_app.extensions[BRIDGE]
    tenant: str | None = g.get("tenant")
    return found if tenant is None else found.of(tenant)


def tokens() -> Tokens:
    """Return what issues and verifies tokens in this process."""
    found: Tokens = current_app.extensions[TOKENS]
    return found


def grant() -> Grant:
    """Return the Grant of this request's bearer token.

    A token is taken from the Authorization header alone; a client that was disabled
    after its token was issued is refused (ruling 25).

    Raises:
        Unauthenticated: none, or one that does not hold (RFC 6750 section 3.1).
    """
    token = _bearer()
    found = tokens().grant(token)
    audit.current().grant, g.tenant = found, found.tenant
    if not tokens().is_active(found):
        raise Unauthenticated("The token was taken back, or its client is disabled", challenge="invalid_token")
    return found


def _bearer() -> str:
    values = request.headers.getlist("Authorization")
    # A server joins repeated headers with commas, which no token has (RFC 6750 section 2.1).
    if "access_token" in request.args or len(values) > 1 or any("," in value for value in values):
        raise OAuthError("invalid_request", "Send one token, in the Authorization header only")
    scheme, _, token = (values[0] if values else "").strip().partition(" ")
    if scheme.lower() != "bearer":  # without an error attribute: nobody tried a token (RFC 6750 section 3.1)
        raise Unauthenticated("Send an access token in the Authorization header, as Bearer")
    return token.strip()
