"""The two devices results name: Corti's ambient AI, and the bridge that carried its words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.mapping import systems

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue

BRIDGE: Final = "fhir-bridge"
CORTI: Final = "corti-ambient"


def bridge_device(*, version: str, url: str | None = None) -> Json:
    """Describe the bridge itself, the owner of every Task."""
    kind: JsonValue = {"text": "FHIR interface"}
    device = _device(BRIDGE, name="fhir_bridge", manufacturer="fhir_bridge", kind=kind)
    return {**device, "version": [{"value": version}], **({"url": url} if url else {})}


def corti_device(*, environment: str, recogniser: str | None = None) -> Json:
    """Describe what listened: Corti, or the local sandbox with the recogniser it used."""
    kind: JsonValue = {
        "coding": [{"system": systems.AI_DEVICE_TYPE, "code": "Artificial-Intelligence"}],
        "text": "Ambient speech recognition and fact extraction",
    }
    if recogniser is None:
        device = _device(CORTI, name=f"Corti ambient ({environment})", manufacturer="Corti", kind=kind)
        return {**device, "url": "https://www.corti.ai"}
    device = _device(CORTI, name=f"Corti sandbox ({recogniser})", manufacturer="fhir_bridge", kind=kind)
    return {**device, "note": [{"text": "A local stand-in for Corti. Not for clinical use."}]}


def _device(id_: str, *, name: str, manufacturer: str, kind: JsonValue) -> Json:
    return {
        "resourceType": "Device",
        "id": id_,
        "identifier": [{"system": systems.DEVICE_ID, "value": id_}],
        "status": "active",
        "manufacturer": manufacturer,
        "deviceName": [{"name": name, "type": "user-friendly-name"}],
        "type": kind,
    }
