"""The search parameters of what tells who did what: Provenance and AuditEvent; numbers as in parameters.py."""

from __future__ import annotations

from typing import Final

from fhir_bridge.fhir.rest.offer import Param, date, reference, string, token
from fhir_bridge.fhir.rest.parameters import AUTHORS, HL7

PROVENANCE: Final = (
    reference(900, "target", "target"),
    date(901, "recorded", "recorded"),
    reference(902, "agent", "agent.who", *AUTHORS),
    reference(903, "patient", "target", "Patient"),
    token(904, "agent-role", "agent.role"),
    token(905, "agent-type", "agent.type"),
    reference(906, "entity", "entity.what"),
    date(907, "when", "occurredDateTime", "occurredPeriod"),
    reference(908, "location", "location", "Location"),
    token(909, "signature-type", "signature.type"),
)

AUDIT_EVENT: Final = (
    token(1200, "action", "action", system=HL7 + "audit-event-action"),
    date(1201, "date", "recorded"),
    reference(1202, "agent", "agent.who", *AUTHORS),
    reference(1203, "patient", "entity.what", "Patient"),
    reference(1204, "entity", "entity.what"),
    token(1205, "outcome", "outcome", system="http://terminology.hl7.org/CodeSystem/audit-event-outcome"),
    token(1206, "subtype", "subtype"),
    token(1207, "type", "type"),
    reference(1208, "source", "source.observer", *AUTHORS),
    string(1209, "address", "agent.network.address"),
    string(1210, "agent-name", "agent.name"),
    token(1211, "agent-role", "agent.role"),
    token(1212, "altid", "agent.altId"),
    string(1213, "entity-name", "entity.name"),
    token(1214, "entity-role", "entity.role"),
    token(1215, "entity-type", "entity.type"),
    Param(1216, "policy", "uri", ("agent.policy",)),
    token(1217, "site", "source.site"),
)
