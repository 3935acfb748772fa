"""The only place that joins the web side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from fhir_bridge.api import binary, fhir, guard, health, request_log
from fhir_bridge.api.desk import Tokens
from fhir_bridge.api.oauth import token
from fhir_bridge.api.pages import docs
from fhir_bridge.verbs.bridge import Bridge

if TYPE_CHECKING:
    from fhir_bridge.settings import Settings


def create_app(settings: Settings) -> Flask:
    """Make the WSGI application. Nothing is opened that does not survive gunicorn's fork."""
    app = Flask("fhir_bridge", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    bridge = Bridge.open(settings)
    app.extensions[guard.BRIDGE] = bridge
    app.extensions[guard.TOKENS] = Tokens(bridge)
    request_log.watch(app)
    for blueprint in (binary.routes, fhir.routes, token.routes, docs.routes, health.routes):
        app.register_blueprint(blueprint)
    return app
