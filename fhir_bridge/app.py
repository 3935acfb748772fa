"""The only place that joins the web side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from fhir_bridge.api import (
    audit,
    behind,
    binary,
    cors,
    discovery,
    guard,
    health,
    later,
    operations,
    paths,
    reading,
    request_log,
    searching,
    sound,
    upload,
    writing,
)
from fhir_bridge.api.desk import Tokens
from fhir_bridge.api.oauth import authorize, inspect, launch, openid, token
from fhir_bridge.api.pages import docs
from fhir_bridge.verbs.bridge import Bridge

if TYPE_CHECKING:
    from fhir_bridge.settings import Settings


def create_app(settings: Settings, *, guests: bool = False) -> Flask:
    """Make the WSGI application. Nothing is opened that does not survive gunicorn's fork.

    `guests` lets in whoever tries the bridge beside the sandbox.
    """
    app = Flask("fhir_bridge", static_folder=None)
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    paths.learn(app)
    app.wsgi_app = behind.placed(app.wsgi_app, settings)  # type: ignore[method-assign,assignment]  # as Flask says
    bridge = Bridge.open(settings)
    app.extensions[guard.BRIDGE] = bridge
    app.extensions[guard.TOKENS] = Tokens(bridge, has_guests=guests)
    request_log.watch(app)
    cors.allow(app)
    audit.watch(app)  # last: what it puts in the place of an answer is an answer like any other
    fhir = (discovery, binary, upload, sound, later, operations, reading, searching, writing)
    gives_tokens = (token, authorize, launch, inspect, openid) if settings.built_in_issuer else ()
    for room in (*fhir, *gives_tokens, docs, health):
        app.register_blueprint(room.routes)
    return app
