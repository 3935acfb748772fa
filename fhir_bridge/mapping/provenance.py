"""Where a result comes from: one Provenance for each (issue section 3, AI Transparency on FHIR)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.mapping import systems
from fhir_bridge.mapping.device import BRIDGE
from fhir_bridge.mapping.origin import reference, result_id
from fhir_bridge.mapping.tables_results import label

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.mapping.origin import Origin


def provenance_of_result(result: Json, origin: Origin, *, at: str) -> Json:
    """Say that AI made a DocumentReference or an Observation, from which recording, and by whose hands."""
    type_, id_ = str(result["resourceType"]), str(result["id"])
    sources = [reference("Media", origin.media)]
    if type_ != "DocumentReference":
        sources.append(reference("DocumentReference", origin.transcript))
    entities: list[JsonValue] = [{"role": "source", "what": source} for source in sources]
    return {
        "resourceType": "Provenance",
        "id": result_id(origin.media, f"provenance of {type_}/{id_}"),
        "target": [reference(type_, id_)],
        "recorded": at,
        "reason": [{"coding": [dict(label("AIAST"))]}],
        "activity": {"coding": [{"system": systems.DATA_OPERATION, "code": "CREATE", "display": "create"}]},
        "agent": [_listener(origin), _carrier()],
        "entity": entities,
    }


def _listener(origin: Origin) -> Json:
    return {
        "type": _participation("author", "Author"),
        "role": [{"coding": [{"system": systems.AI_DEVICE_TYPE, "code": "Artificial-Intelligence"}]}],
        "who": reference("Device", origin.device),
    }


def _carrier() -> Json:
    return {"type": _participation("assembler", "Assembler"), "who": reference("Device", BRIDGE)}


def _participation(code: str, display: str) -> Json:
    return {"coding": [{"system": systems.PARTICIPANT_TYPE, "code": code, "display": display}]}
