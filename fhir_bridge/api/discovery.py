"""What anyone may ask: the CapabilityStatement and the SMART configuration (no token)."""

from __future__ import annotations

from flask import Blueprint, Response, request

from fhir_bridge.api import respond
from fhir_bridge.api.guard import bridge
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest import capability as statement
from fhir_bridge.fhir.rest.openapi import announced
from fhir_bridge.smart.discovery import smart_configuration

routes = Blueprint("discovery", __name__, url_prefix="/fhir")


@routes.get("/metadata")
def metadata() -> Response:
    """The CapabilityStatement (no token)."""
    urls = {name: f"{bridge().origin}/oauth/{name}" for name in statement.OAUTH}
    text = write(statement.capability(bridge().base, oauth=urls))
    tag = statement.etag(text)
    if tag in request.headers.get("If-None-Match", ""):
        return Response(status=304, headers={"ETag": tag})
    return respond.body(text, headers={"ETag": tag})


@routes.get("/.well-known/smart-configuration")
def discovery() -> Response:
    """What a SMART client needs to know first (no token)."""
    return respond.plain(smart_configuration(bridge().origin, announced()))
