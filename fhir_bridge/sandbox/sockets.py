"""The two WebSocket routes: who is refused before the upgrade, and who talks (corti-api 3.1, 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response

from fhir_bridge.sandbox.refusals import Refusal
from fhir_bridge.sandbox.session import Session
from fhir_bridge.sandbox.wire import Wire, upgraded

if TYPE_CHECKING:
    from fhir_bridge.sandbox.guard import Guard
    from fhir_bridge.sandbox.state import Interaction, State


def blueprint(state: State, guard: Guard) -> Blueprint:
    """Routes below `/audio-bridge/v2`; bearer, tenant and ids were checked by the guard."""
    routes = Blueprint("sockets", __name__, url_prefix="/audio-bridge/v2")

    @routes.route("/interactions/<interaction_id>/streams", websocket=True)
    def streams(interaction_id: str) -> Response:
        interaction = guard.interaction(interaction_id)
        _second(state, interaction)
        return _talk(state, guard, interaction)

    @routes.route("/transcribe", websocket=True)
    def transcribe() -> Response:
        return _talk(state, guard, None)

    return routes


def _second(state: State, interaction: Interaction) -> None:
    """Nobody knows what Corti does with a second socket (corti-api 10)."""
    live = [one for one in list(interaction.sessions) if not one.wire.closed]
    if live and state.switches.second_socket == "refuse":
        raise Refusal(409, "interaction is being streamed")
    if state.switches.second_socket == "replace":
        for one in live:
            one.wire.close(1008, "replaced")


def _talk(state: State, guard: Guard, interaction: Interaction | None) -> Response:
    bearer = guard.bearer()

    def run(wire: Wire) -> None:
        session = Session(state, wire, bearer, interaction)
        state.sessions.append(session)
        if interaction is not None:
            interaction.sessions.append(session)
        try:
            session.run()
        finally:
            if interaction is not None:
                interaction.sessions.remove(session)

    return upgraded(run, state.switches.ping_interval)
