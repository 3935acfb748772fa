"""AuditEvent from an audit row, in the shape of IHE's Basic Audit Log Patterns (https://profiles.ihe.net/ITI/BALP/)."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final

from fhir_bridge.mapping import systems
from fhir_bridge.mapping.device import BRIDGE
from fhir_bridge.mapping.origin import reference
from fhir_bridge.store.audit import INTERACTIONS

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.store.audit import AuditRow, Told

CLIENT: Final = systems.local("client")
OPERATION: Final = systems.local("operation")
REST: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
REST_DISPLAY: Final = "RESTful Operation"
INTERACTION: Final = "http://hl7.org/fhir/restful-interaction"
ENTITY_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
REQUEST: Final = ("https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType", "XrequestId")
PERSON, OBJECT, OTHER = "1", "2", "4"
ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
PATIENT, DOMAIN_RESOURCE, QUERY = "1", "4", "24"
_SOURCE: Final = "http://terminology.hl7.org/CodeSystem/security-source-type"
_DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_IP, _URI = "2", "5"  # http://hl7.org/fhir/R4/valueset-network-type.html

_SENDS: Final = (_DCM, "110153", "Source Role ID")
_TAKES: Final = (_DCM, "110152", "Destination Role ID")
_AUTHOR: Final = (_PARTICIPATION, "AUT", "author (originator)")
_READER: Final = (_PARTICIPATION, "IRCP", "information recipient")
# What client, server and user are in each action (BALP: Create, Read, Update, Delete, Query).
_AGENTS: Final = {
    "C": (_SENDS, _TAKES, _AUTHOR),
    "R": (_TAKES, _SENDS, _READER),
    "U": (_SENDS, _TAKES, _AUTHOR),
    "D": (
        (_DCM, "110150", "Application"),
        (systems.PARTICIPANT_TYPE, "custodian", "Custodian"),
        (_PARTICIPATION, "CST", "custodian"),
    ),
    "E": (_SENDS, _TAKES, _READER),
}


def audit_event_from_row(told: Told, *, recorded: str, base: str) -> Json:
    """One audit row as it is read: nothing but the row is looked at, so it always reads the same."""
    row = told.row
    failed: Json = {} if row.outcome == "0" else _failure(row)
    return {
        "resourceType": "AuditEvent",
        "id": str(told.n),
        "meta": {"versionId": "1", "lastUpdated": recorded},
        **({"contained": failed["contained"]} if failed else {}),
        "type": {"system": REST, "code": "rest", "display": REST_DISPLAY},
        "subtype": _subtypes(told),
        "action": INTERACTIONS[row.verb],
        "recorded": recorded,
        "outcome": row.outcome,
        **({"outcomeDesc": failed["outcomeDesc"]} if failed else {}),
        "agent": _agents(row, base),
        "source": {
            "observer": reference("Device", BRIDGE),
            "type": [{"system": _SOURCE, "code": "4", "display": "Application Server"}],
        },
        "entity": _entities(row),
    }


def _failure(row: AuditRow) -> Json:
    code = row.issue or "processing"
    issue: Json = {"severity": "error", "code": code}
    return {
        "contained": [{"resourceType": "OperationOutcome", "id": "outcome", "issue": [issue]}],
        "outcomeDesc": f"{row.status} {code}",
    }


def _subtypes(told: Told) -> list[JsonValue]:
    subtypes: list[JsonValue] = [{"system": INTERACTION, "code": told.row.verb}]
    return [*subtypes, {"system": OPERATION, "code": told.operation}] if told.operation else subtypes


def _agents(row: AuditRow, base: str) -> list[JsonValue]:
    client, server, user = (_kind(*kind) for kind in _AGENTS[INTERACTIONS[row.verb]])
    network: Json = {"network": {"address": row.address, "type": _IP}} if row.address else {}
    known: Json = {"altId": row.client} if row.client else {}
    agents: list[JsonValue] = [
        {"type": client, "who": _client(row), **known, "requestor": row.user is None, **network},
        {
            "type": server,
            "who": reference("Device", BRIDGE),
            "requestor": False,
            "network": {"address": base, "type": _URI},
        },
    ]
    return [*agents, {"type": user, "who": _user(row.user), "requestor": True}] if row.user else agents


def _client(row: AuditRow) -> Json:
    return {"identifier": {"system": CLIENT, "value": row.client}} if row.client else {"display": "not authenticated"}


def _user(user: str) -> Json:
    return {"reference": user} if "/" in user else {"identifier": {"value": user}}


def _entities(row: AuditRow) -> list[JsonValue]:
    """What it was about, what was asked, whom it concerns, why it failed, and which request it was."""
    entities: list[JsonValue] = []
    if row.type and row.id:
        entities.append({"what": reference(row.type, row.id), "type": _entity(OBJECT), "role": _role(DOMAIN_RESOURCE)})
    if row.query is not None:
        query = b64encode(row.query.encode()).decode()
        entities.append({"type": _entity(OBJECT), "role": _role(QUERY), "query": query})
    if row.patient is not None:
        entities.append({"what": {"reference": row.patient}, "type": _entity(PERSON), "role": _role(PATIENT)})
    if row.outcome != "0":
        entities.append({"what": {"reference": "#outcome"}, "type": _entity(OTHER)})
    request: Json = {"identifier": {"value": row.request}}
    return [*entities, {"what": request, "type": {"system": REQUEST[0], "code": REQUEST[1]}}]


def _kind(system: str, code: str, display: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _entity(code: str) -> Json:
    return {"system": ENTITY_TYPE, "code": code}


def _role(code: str) -> Json:
    return {"system": ROLE, "code": code}
