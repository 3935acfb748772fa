"""Real FHIR JSON for the mapping tests, as models."""

from __future__ import annotations

import json
from pathlib import Path

from fhir_bridge.audio.sound import Sound
from fhir_bridge.fhir.resource.models import model_of

EXAMPLES = Path(__file__).parents[2] / "examples"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
LOINC = "http://loinc.org"


def example(name, **changes):
    """One of tests/examples; a change of None leaves the element out."""
    sent = json.loads((EXAMPLES / f"{name}.json").read_text()) | changes
    return {key: value for key, value in sent.items() if value is not None}


def encounter(**changes):
    """The smallest Encounter, with changes."""
    sent = {"resourceType": "Encounter", "id": "e1", "status": "in-progress", "class": {"system": ACT, "code": "AMB"}}
    return model_of({key: value for key, value in (sent | changes).items() if value is not None})


def media(content=None, **changes):
    sent = {
        "resourceType": "Media",
        "id": "m1",
        "status": "completed",
        "content": content or {"contentType": "audio/wav"},
    }
    return model_of(sent | changes)


def patient(**changes):
    return model_of({"resourceType": "Patient"} | changes)


def practitioner(**changes):
    return model_of({"resourceType": "Practitioner"} | changes)


def sound(channels=1, *, distinct=False, container="wav"):
    return Sound(
        container=container,
        mime=f"audio/{container}",
        codec="pcm_s16le" if container == "wav" else container,
        rate=16_000,
        channels=channels,
        bits=16,
        seconds=10.0,
        distinct_channels=distinct,
        truncated=False,
        way="decoded" if container == "wav" else "whole",
    )
