"""Code systems, extension URLs and ids: the names both sides of a mapping share."""

from __future__ import annotations

from functools import reduce
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from fhir_bridge.mapping.words import clean


def local(name: str) -> str:
    """Return one of our own systems, identifiers or extensions (ruling 14)."""
    return f"urn:x-fhir-bridge:{name}"


ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CPT: Final = "http://www.ama-assn.org/go/cpt"
DATA_OPERATION: Final = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
LOINC: Final = "http://loinc.org"
OBSERVATION_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
OBSERVATION_VALUE: Final = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
PARTICIPANT_TYPE: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
SNOMED: Final = "http://snomed.info/sct"
URI: Final = "urn:ietf:rfc:3986"
TASK_CODE: Final = "http://hl7.org/fhir/CodeSystem/task-code"
DATA_ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
AI_DEVICE_TYPE: Final = "http://hl7.org/fhir/uv/aitransparency/CodeSystem/AIdeviceTypeCS"

PRONOUNS_EXTENSION: Final = "http://hl7.org/fhir/StructureDefinition/individual-pronouns"
CHANNEL_ROLE: Final = local("channel-role")
TRANSPORT: Final = local("transport")
EVIDENCE: Final = local("evidence")
FACT_SOURCE: Final = local("fact-source")

FACT_GROUP: Final = local("fact-group")
FACT_ID: Final = local("fact-id")
INTERACTION_ID: Final = local("interaction-id")
CATEGORY: Final = local("category")
DOCUMENT_TYPE: Final = local("document-type")
ATTACHMENT_FORMAT: Final = local("attachment-format")
TASK_OUTPUT: Final = local("task-output")
JOB_STATE: Final = local("job-state")
DEVICE_ID: Final = local("device-id")

_ROOT: Final = uuid5(NAMESPACE_URL, "urn:x-fhir-bridge")


def uuid5_of(*parts: str) -> str:
    """Name something for ever by its parts: the same parts give the same id (architecture decision 8)."""
    return str(reduce(_step, parts, _ROOT))


def _step(space: UUID, part: str) -> UUID:
    return uuid5(space, clean(part))
