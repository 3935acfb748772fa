"""The authorization server as an OpenID provider describes itself (OpenID Connect Discovery; ruling 28)."""

from __future__ import annotations

from flask import Blueprint, Response

from fhir_bridge.api import respond
from fhir_bridge.api.guard import bridge
from fhir_bridge.fhir.rest.openapi import announced
from fhir_bridge.smart.discovery import openid_configuration

routes = Blueprint("openid", __name__)


@routes.get("/.well-known/openid-configuration")
@routes.get("/fhir/.well-known/openid-configuration")
def configuration() -> Response:
    """Where and how to learn who signed in (no token)."""
    return respond.plain(openid_configuration(bridge().origin, announced()))
