"""What anyone may ask: the CapabilityStatement and the SMART configuration (no token)."""

from __future__ import annotations

from flask import Blueprint, Response, request

from fhir_bridge.api import respond
from fhir_bridge.api.guard import bridge, tokens
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest import capability as statement
from fhir_bridge.fhir.rest.openapi import announced
from fhir_bridge.smart.discovery import ENDPOINTS, configuration_elsewhere, smart_configuration

routes = Blueprint("discovery", __name__, url_prefix="/fhir")


@routes.get("/metadata")
def metadata() -> Response:
    """The CapabilityStatement (no token)."""
    text = capabilities()
    tag = statement.etag(text)
    if tag in request.headers.get("If-None-Match", ""):
        return Response(status=304, headers={"ETag": tag})
    return respond.body(text, headers={"ETag": tag})


@routes.get("/.well-known/smart-configuration")
def discovery() -> Response:
    """What a SMART client needs to know first (no token)."""
    theirs = tokens().elsewhere()
    ours = smart_configuration(bridge().origin, announced())
    return respond.plain(ours if theirs is None else configuration_elsewhere(theirs, announced()))


def capabilities() -> str:
    """Write the CapabilityStatement of this server."""
    return write(statement.capability(bridge().base, oauth=_oauth_urls()))


def _oauth_urls() -> dict[str, str]:
    theirs = tokens().elsewhere()
    if theirs is None:
        return {name: f"{bridge().origin}/oauth/{name}" for name in statement.OAUTH}
    found = {name: theirs.get(endpoint) for name, endpoint in zip(statement.OAUTH, ENDPOINTS, strict=True)}
    return {name: url for name, url in found.items() if isinstance(url, str)}
