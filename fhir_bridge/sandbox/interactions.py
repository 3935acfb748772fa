"""`/v2/interactions/…` with the recordings and facts of an interaction (corti-api 2, 5.1, 5.3)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from flask import Blueprint, Response, jsonify, request

from fhir_bridge.sandbox.refusals import Refusal
from fhir_bridge.sandbox.shapes import (
    FACT_GROUPS,
    FactPatch,
    FactPatches,
    InteractionPatch,
    Json,
    NewFacts,
    NewInteraction,
    now,
)
from fhir_bridge.sandbox.state import Fact, Interaction, Recording, group_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from fhir_bridge.sandbox.guard import Guard
    from fhir_bridge.sandbox.state import State

    Answer = tuple[Response, int]

RECORDING_LIMIT = 150 * 1024 * 1024
EMPTY = (b"", 204)


def _sortable(value: JsonValue) -> str:
    return "" if value is None else str(value)


SORTS: dict[str, Callable[[Interaction], str]] = {
    "id": lambda one: one.id,
    "assignedUserId": lambda one: one.assigned_user,
    "patient": lambda one: _sortable((one.patient or {}).get("identifier")),
    "createdAt": lambda one: one.created,
    "endedAt": lambda one: _sortable(one.ended),
    "updatedAt": lambda one: one.updated,
}


def websocket_url(state: State, interaction: Interaction) -> str:
    """Where the interaction is streamed to; the token is the client's to add."""
    base = state.url.replace("http", "ws", 1)
    url = f"{base}/audio-bridge/v2/interactions/{interaction.id}/streams"
    return f"{url}?tenant-name={quote(interaction.owner.realm)}" if state.switches.websocket_url_query else url


def shown(state: State, interaction: Interaction) -> Json:
    """An interaction as GET, list and PATCH answer it."""
    answer: Json = {
        "id": interaction.id,
        "assignedUserId": interaction.assigned_user,
        "encounter": interaction.encounter,
        "patient": interaction.patient,
        "endedAt": interaction.ended,
        "createdAt": interaction.created,
        "updatedAt": interaction.updated,
        "lastUpdated": interaction.updated,
        "websocketUrl": websocket_url(state, interaction),
    }
    return with_extras(state, answer)


def with_extras(state: State, answer: Json) -> Json:
    """Corti adds members without notice: clients must not mind (change policy)."""
    return {**answer, "sandbox": {"heardBy": state.engine.name}} if state.switches.extra_fields else answer


def blueprint(state: State, guard: Guard) -> Blueprint:
    """Routes below `/v2/interactions`."""
    routes = Blueprint("interactions", __name__, url_prefix="/v2/interactions")
    _interaction_routes(routes, state, guard)
    _recording_routes(routes, state, guard)
    _fact_routes(routes, state, guard)
    return routes


def _interaction_routes(routes: Blueprint, state: State, guard: Guard) -> None:
    @routes.post("/")
    def create() -> Answer:
        interaction = _created(state, guard)
        answer: Json = {"interactionId": interaction.id, "websocketUrl": websocket_url(state, interaction)}
        return jsonify(with_extras(state, answer)), state.switches.create_status

    @routes.get("/")
    def index() -> Response:
        return jsonify(interactions=[shown(state, one) for one in _page(state, guard)])

    @routes.get("/<interaction_id>")
    def get(interaction_id: str) -> Response:
        return jsonify(shown(state, guard.interaction(interaction_id)))

    @routes.patch("/<interaction_id>")
    def patch(interaction_id: str) -> Response:
        interaction = guard.interaction(interaction_id)
        _patch(interaction, guard.body(InteractionPatch))
        return jsonify(shown(state, interaction))

    @routes.delete("/<interaction_id>")
    def delete(interaction_id: str) -> tuple[bytes, int]:
        interaction = guard.interaction(interaction_id)
        with state.lock:
            state.interactions.pop(interaction.id, None)
        return EMPTY


def _created(state: State, guard: Guard) -> Interaction:
    guard.credit()
    wanted = guard.body(NewInteraction)
    owner = guard.bearer().owner
    reserved = (owner, wanted.encounter.identifier)
    with state.lock:
        if reserved in state.identifiers and state.switches.duplicate_identifier != "accept":
            raise Refusal(int(state.switches.duplicate_identifier), "encounter identifier already exists")
        state.identifiers.add(reserved)
        interaction = Interaction(
            id=state.new_id(),
            owner=owner,
            assigned_user=wanted.assigned_user_id or state.new_id(),
            encounter=wanted.encounter.json_of(),
            patient=wanted.patient.json_of() if wanted.patient else None,
        )
        state.interactions[interaction.id] = interaction
    return interaction


def _patch(interaction: Interaction, wanted: InteractionPatch) -> None:
    if wanted.encounter is not None:
        sent = {name: value for name, value in wanted.encounter.json_of().items() if value is not None}
        interaction.encounter = {**interaction.encounter, **sent}
    if wanted.patient is not None:
        interaction.patient = {**(interaction.patient or {}), **wanted.patient.json_of()}
    interaction.assigned_user = wanted.assigned_user_id or interaction.assigned_user
    interaction.updated = now()


def _page(state: State, guard: Guard) -> list[Interaction]:
    sort = SORTS.get(request.args.get("sort", "createdAt"))
    direction = request.args.get("direction", "desc")
    size, index = _positive("pageSize", 10), _positive("index", 1)
    if sort is None or direction not in {"asc", "desc"}:
        raise Refusal(400, "invalid query")
    with state.lock:
        found = [one for one in state.interactions.values() if one.owner == guard.bearer().owner]
    statuses = request.args.getlist("encounterStatus")
    if statuses:
        # several values are broken in Corti: only the first counts (corti-api 2)
        found = [one for one in found if one.encounter.get("status") == statuses[0]]
    if patient := request.args.get("patient"):
        found = [one for one in found if (one.patient or {}).get("identifier") == patient]
    found.sort(key=sort, reverse=direction == "desc")
    return found[(index - 1) * size : index * size]


def _positive(name: str, default: int) -> int:
    text = request.args.get(name, str(default))
    if not text.isdigit() or int(text) == 0:
        raise Refusal(400, f"{name} is no positive number")
    return int(text)


def _recording_routes(routes: Blueprint, state: State, guard: Guard) -> None:
    @routes.get("/<interaction_id>/recordings/")
    def recordings(interaction_id: str) -> Response:
        held = guard.interaction(interaction_id).recordings.values()
        return jsonify(recordings=[one.id for one in held if state.recording_ready(one)])

    @routes.post("/<interaction_id>/recordings/")
    def record(interaction_id: str) -> Answer:
        interaction = guard.interaction(interaction_id)
        guard.credit()
        if (request.content_length or 0) > RECORDING_LIMIT:
            raise Refusal(413, "recording is larger than 150 MB")
        content = request.get_data(cache=False)
        if not content:
            raise Refusal(400, "recording is empty")
        recording = Recording(state.new_id(), content, time.monotonic())
        with state.lock:
            interaction.recordings[recording.id] = recording
        return jsonify(with_extras(state, {"recordingId": recording.id})), 201

    @routes.get("/<interaction_id>/recordings/<recording_id>")
    def recording(interaction_id: str, recording_id: str) -> Response:
        found = guard.interaction(interaction_id).recordings.get(recording_id.lower())
        if found is None or not state.recording_ready(found):
            raise Refusal(404, "recording not found")
        return Response(found.content, mimetype="application/octet-stream")

    @routes.delete("/<interaction_id>/recordings/<recording_id>")
    def unrecord(interaction_id: str, recording_id: str) -> tuple[bytes, int]:
        interaction = guard.interaction(interaction_id)
        with state.lock:
            interaction.recordings.pop(recording_id.lower(), None)
        return EMPTY


def _fact_routes(routes: Blueprint, state: State, guard: Guard) -> None:
    @routes.get("/<interaction_id>/facts/")
    def facts(interaction_id: str) -> Response:
        kept = list(guard.interaction(interaction_id).facts.values())
        return jsonify(facts=[one.json_of(evidence=state.switches.evidence != "never") for one in kept])

    @routes.post("/<interaction_id>/facts/")
    def add(interaction_id: str) -> Response:
        interaction = guard.interaction(interaction_id)
        added = [Fact(state.new_id(), one.text, _group(one.group), one.source) for one in guard.body(NewFacts).facts]
        with state.lock:
            interaction.facts |= {one.id: one for one in added}
        _echo(interaction, added)
        return jsonify(facts=[_added(one) for one in added])

    @routes.patch("/<interaction_id>/facts/")
    def patch_all(interaction_id: str) -> Response:
        interaction = guard.interaction(interaction_id)
        wanted = guard.body(FactPatches).facts
        changed = [(_fact(interaction, one.fact_id), one) for one in wanted]
        for fact, one in changed:
            _change(fact, one)
        return jsonify(facts=[fact.json_of() for fact, _ in changed])

    @routes.patch("/<interaction_id>/facts/<fact_id>")
    def patch_one(interaction_id: str, fact_id: str) -> Response:
        fact = _fact(guard.interaction(interaction_id), fact_id)
        _change(fact, guard.body(FactPatch))
        return jsonify(with_extras(state, fact.json_of()))


def _group(group: str) -> str:
    if group not in FACT_GROUPS:
        raise Refusal(404, "fact group not found")
    return group


def _fact(interaction: Interaction, fact_id: str) -> Fact:
    found = interaction.facts.get(fact_id.lower())
    if found is None:
        raise Refusal(404, "fact not found")
    return found


def _change(fact: Fact, wanted: FactPatch) -> None:
    fact.text = wanted.text or fact.text
    fact.group = _group(wanted.group) if wanted.group else fact.group
    fact.source = wanted.source or fact.source
    fact.discarded = fact.discarded if wanted.is_discarded is None else wanted.is_discarded
    fact.updated = now()


def _added(fact: Fact) -> Json:
    names = ("id", "text", "group", "groupId", "source", "isDiscarded", "updatedAt")
    full = fact.json_of()
    return {name: full[name] for name in names}


def _echo(interaction: Interaction, added: list[Fact]) -> None:
    """Facts posted during a stream are told on its socket as well (corti-api 5.3)."""
    for session in list(interaction.sessions):
        if session.teller is not None and not session.over.is_set():
            session.teller.send_facts(added)


def fact_groups() -> Json:
    """`GET /factgroups/`, with its snake_case member."""
    named = [(group, group.replace("-", " ").capitalize()) for group in FACT_GROUPS]
    entries = [
        {
            "id": group_id(key),
            "key": key,
            "translations": [
                {"id": str(uuid5(NAMESPACE_URL, f"{key}/en")), "languages_id": "en", "name": name},
            ],
        }
        for key, name in named
    ]
    return {"data": cast("JsonValue", entries)}
