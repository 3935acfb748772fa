"""What stands beside interactions: languages, fact groups, fact extraction (corti-api 3.7, 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, request

from fhir_bridge.sandbox.config import language_refusal
from fhir_bridge.sandbox.engine import Finding, Utterance
from fhir_bridge.sandbox.extraction import sentences
from fhir_bridge.sandbox.interactions import fact_groups, with_extras
from fhir_bridge.sandbox.refusals import Refusal
from fhir_bridge.sandbox.shapes import LANGUAGES, FactExtraction, Json

if TYPE_CHECKING:
    from pydantic import JsonValue

    from fhir_bridge.sandbox.guard import Guard
    from fhir_bridge.sandbox.state import State

ENDPOINTS = {"streams", "transcribe", "transcripts"}


def blueprint(state: State, guard: Guard) -> Blueprint:
    """Routes below `/v2` that belong to no interaction."""
    routes = Blueprint("tools", __name__, url_prefix="/v2")

    @routes.get("/languages/")
    def languages() -> Response:
        if request.args.get("endpoint", "streams") not in ENDPOINTS:
            raise Refusal(400, "unknown endpoint")
        offered = state.engine.languages or LANGUAGES
        return jsonify(languages={code: {"streams": True, "transcribe": True, "transcripts": True} for code in offered})

    @routes.get("/factgroups/")
    def groups() -> Response:
        return jsonify(fact_groups())

    @routes.post("/tools/extract-facts")
    @routes.post("/tools/extract-facts/")
    def extract_facts() -> Response:
        guard.credit()
        wanted = guard.body(FactExtraction)
        if (unknown := language_refusal(wanted.output_language, state.engine)) is not None:
            raise Refusal(400, unknown)
        found = _found(state, [one.text for one in wanted.context])
        facts: list[JsonValue] = [{"group": one.group, "text": one.text, "value": one.text} for one in found]
        usage: Json = {"creditsConsumed": round(0.001 * len(wanted.context), 4)}
        return jsonify(
            with_extras(state, {"facts": facts, "outputLanguage": wanted.output_language, "usageInfo": usage})
        )

    return routes


def _found(state: State, texts: list[str]) -> list[Finding]:
    return state.engine.facts_in([Utterance(0.0, 0.0, line) for text in texts for line in sentences(text)])
