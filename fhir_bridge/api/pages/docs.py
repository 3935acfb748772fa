"""Swagger UI on the OpenAPI document; every asset is served from here."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import flask_swagger_ui
import yaml
from flask import Blueprint, Response, render_template, send_from_directory

from fhir_bridge.api import guests, respond
from fhir_bridge.api.guard import bridge, tokens
from fhir_bridge.fhir.rest.openapi import document

routes = Blueprint("docs", __name__, template_folder="templates")

ASSETS: Final = Path(flask_swagger_ui.__file__).parent / "dist"
OURS: Final = Path(__file__).parent / "static"
# Swagger UI sets styles on elements; scripts come from here alone (security.md, row I).
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)


@routes.get("/openapi.json")
def openapi_json() -> Response:
    """The OpenAPI document with this server's address."""
    return respond.plain(document(bridge().origin))


@routes.get("/openapi.yaml")
def openapi_yaml() -> Response:
    """The same as YAML."""
    text = yaml.safe_dump(document(bridge().origin), sort_keys=False, allow_unicode=True)
    return Response(text, content_type="application/yaml")


@routes.get("/docs")
def page() -> Response:
    """The page itself."""
    text = render_template("docs.html", root=urlsplit(bridge().origin).path)
    answer = Response(text, content_type="text/html; charset=utf-8")
    answer.headers["Content-Security-Policy"] = POLICY
    return answer


@routes.get("/docs/sign-in.json")
def sign_in() -> Response:
    """How Authorize on the page signs a person in: as which app, and for which FHIR base."""
    here = {"aud": bridge().base, "redirect": f"{bridge().origin}{guests.REDIRECT}"}
    return respond.plain({**here, "clientId": guests.SWAGGER if tokens().has_guests else ""})


@routes.get("/docs/assets/<name>")
def asset(name: str) -> Response:
    """A script or style of Swagger UI, the one that starts it, or the page that a sign-in ends on."""
    answer = send_from_directory(OURS if (OURS / name).is_file() else ASSETS, name)
    answer.headers["Content-Security-Policy"] = POLICY
    return answer
