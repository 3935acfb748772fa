"""CORS: a page of any origin may discover; pages of registered apps may ask for tokens and FHIR (ruling 28).

Apps whose tokens come from a trusted issuer are registered there: their pages are named with it, for FHIR alone.

SMART App Launch 2.2, "Considerations for Cross-Origin Resource Sharing (CORS) support".
Tokens travel in a header and never in a cookie, so credentials are not allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import g, request

from fhir_bridge.api.guard import bridge, tokens
from fhir_bridge.origins import origin_of

if TYPE_CHECKING:
    from flask import Flask, Response

PUBLIC: Final = frozenset(
    (
        "/fhir/metadata",
        "/fhir/.well-known/smart-configuration",
        "/fhir/.well-known/openid-configuration",
        "/.well-known/openid-configuration",
        "/oauth/jwks",
    )
)
# Not the pages at which people sign in: no script has anything to read there.
_FHIR: Final = "/fhir"
_REGISTERED: Final = (_FHIR, "/oauth/token", "/oauth/introspect", "/oauth/revoke")
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"  # which of them a path has, the request itself learns
_SENT: Final = (
    "Accept, Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Exist, If-None-Match, Prefer, Range, "
    "Tus-Resumable, Upload-Length, Upload-Metadata, Upload-Offset, X-Provenance, X-Request-Id, "
    "X-Security-Context"
)
_SHOWN: Final = (
    "Content-Location, Content-Range, ETag, Last-Modified, Location, Preference-Applied, Retry-After, "
    "Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Expires, Upload-Length, Upload-Offset, "
    "WWW-Authenticate, X-Progress, X-Request-Id"
)


def allow(app: Flask) -> None:
    """Attach to `app`."""
    app.before_request(_judge)
    app.after_request(_tell)


def _judge() -> None:
    """Decide before anything is answered: a database that does not answer is an error like any other."""
    origin = request.headers.get("Origin")
    g.cors = None
    if request.path in PUBLIC:
        g.cors = "*"
    elif origin and request.path.startswith(_REGISTERED) and (_is_of_issuer(origin) or origin in _registered()):
        g.cors = origin


def _is_of_issuer(origin: str) -> bool:
    issuers = bridge().settings.trusted_issuers
    return request.path.startswith(_FHIR) and any(origin in issuer.origins for issuer in issuers)


def _registered() -> frozenset[str | None]:
    return frozenset(map(origin_of, tokens().redirect_uris()))


def _tell(response: Response) -> Response:
    if request.path.startswith(_REGISTERED) and request.path not in PUBLIC:
        response.vary.add("Origin")
    allowed: str | None = g.get("cors")
    if allowed is None:
        return response
    response.headers["Access-Control-Allow-Origin"] = allowed
    response.headers["Access-Control-Expose-Headers"] = _SHOWN
    if request.method == "OPTIONS":
        response.headers["Access-Control-Allow-Methods"] = _METHODS
        response.headers["Access-Control-Allow-Headers"] = _SENT
        response.headers["Access-Control-Max-Age"] = "600"
    return response
