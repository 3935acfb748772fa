"""The side channel of tests, no part of Corti: reset, switches, scripted answers, what was received."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, request
from pydantic import TypeAdapter, ValidationError

from fhir_bridge.sandbox.faults import Fault
from fhir_bridge.sandbox.switches import Switches

if TYPE_CHECKING:
    from fhir_bridge.sandbox.state import State

FAULTS = TypeAdapter(list[Fault])


def blueprint(state: State) -> Blueprint:
    """Routes below `/__sandbox`."""
    routes = Blueprint("admin", __name__, url_prefix="/__sandbox")
    routes.register_error_handler(ValidationError, lambda error: (str(error), 400))
    for add in (_switches, _faults, _clients, _seen):
        add(routes, state)
    return routes


def _switches(routes: Blueprint, state: State) -> None:
    @routes.post("/reset")
    def reset() -> Response:
        wanted = request.get_json(silent=True) or {}
        state.reset(wanted.get("seed"))
        return jsonify(state.switches.model_dump())

    @routes.get("/switches")
    def switches() -> Response:
        return jsonify(state.switches.model_dump())

    @routes.patch("/switches")
    def switch() -> Response:
        state.switches = Switches.model_validate({**state.switches.model_dump(), **request.get_json()})
        return jsonify(state.switches.model_dump())


def _faults(routes: Blueprint, state: State) -> None:
    @routes.post("/next")
    def script() -> Response:
        wanted = request.get_json()
        with state.lock:
            state.faults += FAULTS.validate_python(wanted if isinstance(wanted, list) else [wanted])
        return jsonify(pending=len(state.faults))

    @routes.delete("/next")
    def unscript() -> Response:
        with state.lock:
            state.faults.clear()
        return jsonify(pending=0)


def _clients(routes: Blueprint, state: State) -> None:
    @routes.post("/clients")
    def client() -> Response:
        state.clients |= {str(name): str(secret) for name, secret in request.get_json().items()}
        return jsonify(sorted(state.clients))


def _seen(routes: Blueprint, state: State) -> None:
    @routes.get("/requests")
    def requests() -> Response:
        return jsonify(list(state.requests))

    @routes.get("/sessions")
    def sessions() -> Response:
        return jsonify([one.show() for one in list(state.sessions)])

    @routes.get("/sessions/<int:number>/audio")
    def audio(number: int) -> Response:
        return Response(bytes(state.sessions[number].kept), mimetype="application/octet-stream")
