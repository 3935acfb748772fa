"""The typed form of a resource, and the only file that imports fhir.resources.

R4 content of the served types loads in its R4B models unchanged (decision 3). The models
lose decimals and rewrite dates, so they are for checks and for mapping code: what is
stored comes from the submitted Json. All are imported here, before gunicorn forks.
"""

from __future__ import annotations

import base64
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.annotation import Annotation
from fhir.resources.R4B.attachment import Attachment
from fhir.resources.R4B.auditevent import (
    AuditEvent,
    AuditEventAgent,
    AuditEventAgentNetwork,
    AuditEventEntity,
    AuditEventSource,
)
from fhir.resources.R4B.binary import Binary
from fhir.resources.R4B.bundle import Bundle, BundleEntry, BundleEntryRequest, BundleEntryResponse
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.coding import Coding
from fhir.resources.R4B.composition import Composition, CompositionAttester, CompositionSection
from fhir.resources.R4B.contactpoint import ContactPoint
from fhir.resources.R4B.device import Device, DeviceDeviceName, DeviceVersion
from fhir.resources.R4B.documentreference import (
    DocumentReference,
    DocumentReferenceContent,
    DocumentReferenceContext,
    DocumentReferenceRelatesTo,
)
from fhir.resources.R4B.encounter import Encounter, EncounterParticipant, EncounterStatusHistory
from fhir.resources.R4B.extension import Extension
from fhir.resources.R4B.humanname import HumanName
from fhir.resources.R4B.identifier import Identifier
from fhir.resources.R4B.media import Media
from fhir.resources.R4B.meta import Meta
from fhir.resources.R4B.narrative import Narrative
from fhir.resources.R4B.observation import Observation, ObservationComponent
from fhir.resources.R4B.operationoutcome import OperationOutcome, OperationOutcomeIssue
from fhir.resources.R4B.organization import Organization
from fhir.resources.R4B.parameters import Parameters, ParametersParameter
from fhir.resources.R4B.patient import Patient, PatientCommunication
from fhir.resources.R4B.period import Period
from fhir.resources.R4B.practitioner import Practitioner
from fhir.resources.R4B.provenance import Provenance, ProvenanceAgent, ProvenanceEntity
from fhir.resources.R4B.quantity import Quantity
from fhir.resources.R4B.reference import Reference
from fhir.resources.R4B.task import Task, TaskInput, TaskOutput
from fhir_core.fhirabstractmodel import FHIRAbstractModel as Model
from pydantic import ValidationError

from fhir_bridge.errors import Invalid, Issue, Malformed
from fhir_bridge.fhir.resource.reader import Number, step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

    from fhir_bridge.fhir.resource.reader import Json, JsonValue

__all__ = [
    "Annotation",
    "Attachment",
    "AuditEvent",
    "AuditEventAgent",
    "AuditEventAgentNetwork",
    "AuditEventEntity",
    "AuditEventSource",
    "Binary",
    "Bundle",
    "BundleEntry",
    "BundleEntryRequest",
    "BundleEntryResponse",
    "CodeableConcept",
    "Coding",
    "Composition",
    "CompositionAttester",
    "CompositionSection",
    "ContactPoint",
    "Device",
    "DeviceDeviceName",
    "DeviceVersion",
    "DocumentReference",
    "DocumentReferenceContent",
    "DocumentReferenceContext",
    "DocumentReferenceRelatesTo",
    "Encounter",
    "EncounterParticipant",
    "EncounterStatusHistory",
    "Extension",
    "HumanName",
    "Identifier",
    "Media",
    "Meta",
    "Model",
    "Narrative",
    "Observation",
    "ObservationComponent",
    "OperationOutcome",
    "OperationOutcomeIssue",
    "Organization",
    "Parameters",
    "ParametersParameter",
    "Patient",
    "PatientCommunication",
    "Period",
    "Practitioner",
    "Provenance",
    "ProvenanceAgent",
    "ProvenanceEntity",
    "Quantity",
    "Reference",
    "Task",
    "TaskInput",
    "TaskOutput",
    "json_of",
    "model_class",
    "model_of",
]

_CODE_OF = {"missing": "required", "model_field_validation.missing": "required", "extra_forbidden": "structure"}


def model_class(name: str) -> type[Model] | None:
    """Return the model of a FHIR type, such as Patient, Period or EncounterParticipant."""
    try:
        found: type[Model] = get_fhir_model_class(name)
    except ValueError:
        return None
    return found


def model_of(json: Json) -> Model:
    """Return the model of a resource.

    Raises:
        Malformed: no resource type, or one that R4 does not have, here or in a part.
        Invalid: what the model refuses, one issue for each finding.
    """
    kind = json.get("resourceType")
    found = model_class(kind) if isinstance(kind, str) else None
    if not isinstance(kind, str) or found is None or not found.has_resource_base():
        raise Malformed("resourceType is missing or is no FHIR R4 resource type", at="resourceType")
    try:
        return found.model_validate(json)
    except ValidationError as exc:
        raise Invalid("The resource is not valid", issues=_issues(kind, exc.errors(include_input=False))) from exc
    except (LookupError, TypeError, ValueError, AttributeError, ImportError, ArithmeticError) as exc:
        # An unknown resourceType inside is a KeyError, a null where none can be an AttributeError.
        raise Malformed("A part of the resource has an unknown resourceType or the wrong JSON type", at=kind) from exc


def json_of(model: Model) -> Json:
    """Return a resource or datatype we built ourselves as Json, elements in FHIR's order."""
    names = type(model).get_alias_mapping()
    json: Json = {"resourceType": model.get_resource_type()} if model.has_resource_base() else {}
    for element in type(model).elements_sequence():
        field = names[element]
        for name, value in ((element, getattr(model, field)), (f"_{element}", getattr(model, f"{field}__ext", None))):
            plain = _plain(value)
            if plain not in (None, [], {}):
                json[name] = plain
    return json


def _plain(value: object) -> JsonValue:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Model):
        return json_of(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return Number(value) if isinstance(value, Decimal) else _text(value)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, UUID):
        return value.urn
    return _moment(value) if isinstance(value, (datetime, date, time)) else str(value)


def _moment(value: datetime | date | time) -> str:
    """Write a date or time in FHIR's form, UTC as Z and at most milliseconds unless there is more."""
    if not isinstance(value, (datetime, time)):
        return value.isoformat()
    precision = "microseconds" if value.microsecond % 1000 else "milliseconds" if value.microsecond else "seconds"
    return value.isoformat(timespec=precision).replace("+00:00", "Z")


def _issues(kind: str, errors: Iterable[ErrorDetails]) -> tuple[Issue, ...]:
    return tuple(_issue(_CODE_OF.get(error["type"], "value"), _expression(kind, error["loc"])) for error in errors)


def _issue(code: str, at: str) -> Issue:
    said = {"required": "is required", "structure": "is or has an element that FHIR R4 does not know"}
    return Issue(code, f"{at} {said.get(code, 'has a value its type does not allow')}", at)


def _expression(kind: str, loc: tuple[int | str, ...]) -> str:
    path = kind
    for part in loc:
        path = f"{path}[{part}]" if isinstance(part, int) else step(path, part)
    return path
