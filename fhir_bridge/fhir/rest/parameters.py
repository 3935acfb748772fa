"""The search parameters of each type: their numbers, and the elements they look at.

Those of FHIR R4 (http://hl7.org/fhir/R4/searchparameter-registry.html). A number names its
parameter in the key table; it is never changed and never used again: stored keys mean what
they meant when they were written.
"""

from __future__ import annotations

from typing import Final

from fhir_bridge.fhir.rest.offer import THIS, Param, ParamType, composite, date, reference, string, token

HL7 = "http://hl7.org/fhir/"
_NAME_PARTS = ("name.family", "name.given", "name.text", "name.prefix", "name.suffix")
_SUBJECTS = ("Patient", "Practitioner", "PractitionerRole", "Group", "Device", "Specimen", "Location")
_PARTICIPANTS = ("Practitioner", "PractitionerRole", "RelatedPerson")
AUTHORS = ("Practitioner", "PractitionerRole", "Organization", "Device", "Patient", "RelatedPerson")
_SOURCES = ("DocumentReference", "ImagingStudy", "Media", "QuestionnaireResponse", "Observation", "MolecularSequence")
_ADDRESS_PARTS = tuple(
    f"address.{part}" for part in ("line", "city", "district", "state", "postalCode", "country", "text")
)
_CODE: Final[tuple[ParamType, tuple[str, ...]]] = ("token", ("code",))
_REASONS = ("Condition", "Procedure", "Observation", "ImmunizationRecommendation")
_ORDERS = (
    "CarePlan",
    "DeviceRequest",
    "ImmunizationRecommendation",
    "MedicationRequest",
    "NutritionOrder",
    "ServiceRequest",
)
_PARTS = (
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationStatement",
    "Procedure",
    "Immunization",
    "ImagingStudy",
)

ENCOUNTER: Final = (
    token(100, "identifier", "identifier"),
    token(101, "status", "status", system=HL7 + "encounter-status"),
    token(102, "class", "class"),
    token(103, "type", "type"),
    date(104, "date", "period"),
    reference(105, "patient", "subject", "Patient"),
    reference(106, "subject", "subject", "Patient", "Group"),
    reference(107, "participant", "participant.individual", *_PARTICIPANTS),
    Param(108, "length", "quantity", ("length",)),
    reference(109, "practitioner", "participant.individual", "Practitioner"),
    token(110, "participant-type", "participant.type"),
    reference(111, "part-of", "partOf", "Encounter"),
    reference(112, "service-provider", "serviceProvider", "Organization"),
    reference(113, "location", "location.location", "Location"),
    date(114, "location-period", "location.period"),
    token(115, "reason-code", "reasonCode"),
    reference(116, "reason-reference", "reasonReference", *_REASONS),
    reference(117, "diagnosis", "diagnosis.condition", "Condition", "Procedure"),
    reference(118, "appointment", "appointment", "Appointment"),
    reference(119, "episode-of-care", "episodeOfCare", "EpisodeOfCare"),
    reference(120, "based-on", "basedOn", "ServiceRequest"),
    reference(121, "account", "account", "Account"),
    token(122, "special-arrangement", "hospitalization.specialArrangement"),
)

PATIENT: Final = (
    token(200, "identifier", "identifier"),
    string(201, "name", *_NAME_PARTS),
    string(202, "family", "name.family"),
    string(203, "given", "name.given"),
    date(204, "birthdate", "birthDate"),
    token(205, "gender", "gender", system=HL7 + "administrative-gender"),
    token(206, "active", "active"),
    token(207, "telecom", "telecom"),
    string(208, "address", *_ADDRESS_PARTS),
    string(209, "address-city", "address.city"),
    string(210, "address-postalcode", "address.postalCode"),
    string(211, "address-state", "address.state"),
    string(212, "address-country", "address.country"),
    token(213, "language", "communication.language"),
    date(214, "death-date", "deceasedDateTime"),
    reference(215, "general-practitioner", "generalPractitioner", "Organization", "Practitioner", "PractitionerRole"),
    reference(216, "organization", "managingOrganization", "Organization"),
    reference(217, "link", "link.other", "Patient", "RelatedPerson"),
    token(218, "phone", "telecom[system=phone]"),
    token(219, "email", "telecom[system=email]"),
    token(220, "address-use", "address.use", system=HL7 + "address-use"),
    Param(221, "deceased", "token", ("deceasedBoolean", "deceasedDateTime"), whether=True),
)

PRACTITIONER: Final = (
    token(300, "identifier", "identifier"),
    string(301, "name", *_NAME_PARTS),
    string(302, "family", "name.family"),
    string(303, "given", "name.given"),
    token(304, "active", "active"),
    token(305, "gender", "gender", system=HL7 + "administrative-gender"),
    token(306, "telecom", "telecom"),
    string(307, "address", *_ADDRESS_PARTS),
    token(308, "communication", "communication"),
    token(309, "phone", "telecom[system=phone]"),
    token(310, "email", "telecom[system=email]"),
    string(311, "address-city", "address.city"),
    string(312, "address-postalcode", "address.postalCode"),
    string(313, "address-state", "address.state"),
    string(314, "address-country", "address.country"),
    token(315, "address-use", "address.use", system=HL7 + "address-use"),
)

ORGANIZATION: Final = (
    token(400, "identifier", "identifier"),
    string(401, "name", "name", "alias"),
    token(402, "active", "active"),
    token(403, "type", "type"),
    string(404, "address", *_ADDRESS_PARTS),
    reference(405, "partof", "partOf", "Organization"),
    string(406, "address-city", "address.city"),
    string(407, "address-postalcode", "address.postalCode"),
    string(408, "address-state", "address.state"),
    string(409, "address-country", "address.country"),
    token(410, "address-use", "address.use", system=HL7 + "address-use"),
    reference(411, "endpoint", "endpoint", "Endpoint"),
)

MEDIA: Final = (
    token(500, "identifier", "identifier"),
    token(501, "status", "status", system=HL7 + "event-status"),
    token(502, "type", "type"),
    reference(503, "patient", "subject", "Patient"),
    reference(504, "subject", "subject", *_SUBJECTS),
    reference(505, "encounter", "encounter", "Encounter"),
    date(506, "created", "createdDateTime", "createdPeriod"),
    reference(507, "operator", "operator", *AUTHORS, "CareTeam"),
    reference(508, "device", "device", "Device", "DeviceMetric"),
    token(509, "modality", "modality"),
    token(510, "view", "view"),
    token(511, "site", "bodySite"),
    reference(512, "based-on", "basedOn", "ServiceRequest", "CarePlan"),
)

OBSERVATION: Final = (
    token(600, "code", "code"),
    token(601, "category", "category"),
    token(602, "status", "status", system=HL7 + "observation-status"),
    date(
        603,
        "date",
        "effectiveDateTime",
        "effectivePeriod",
        "effectiveInstant",
        "effectiveTiming.event",
        "effectiveTiming.repeat.boundsPeriod",
    ),
    reference(604, "patient", "subject", "Patient"),
    reference(605, "subject", "subject", "Patient", "Group", "Device", "Location"),
    reference(606, "encounter", "encounter", "Encounter"),
    reference(607, "derived-from", "derivedFrom", *_SOURCES),
    token(608, "identifier", "identifier"),
    reference(609, "performer", "performer", *_PARTICIPANTS, "Organization", "CareTeam", "Patient"),
    reference(610, "device", "device", "Device", "DeviceMetric"),
    reference(611, "focus", "focus"),
    reference(612, "has-member", "hasMember", "Observation", "QuestionnaireResponse", "MolecularSequence"),
    reference(613, "part-of", "partOf", *_PARTS),
    reference(614, "based-on", "basedOn", *_ORDERS),
    reference(615, "specimen", "specimen", "Specimen"),
    token(616, "method", "method"),
    token(617, "data-absent-reason", "dataAbsentReason"),
    string(618, "value-string", "valueString", "valueCodeableConcept.text"),
    token(619, "value-concept", "valueCodeableConcept"),
    date(620, "value-date", "valueDateTime", "valuePeriod"),
    Param(621, "value-quantity", "quantity", ("valueQuantity",)),
    token(622, "component-code", "component.code"),
    token(623, "component-value-concept", "component.valueCodeableConcept"),
    Param(624, "component-value-quantity", "quantity", ("component.valueQuantity",)),
    token(625, "component-data-absent-reason", "component.dataAbsentReason"),
    token(626, "combo-code", "code", "component.code"),
    token(627, "combo-value-concept", "valueCodeableConcept", "component.valueCodeableConcept"),
    Param(628, "combo-value-quantity", "quantity", ("valueQuantity", "component.valueQuantity")),
    token(629, "combo-data-absent-reason", "dataAbsentReason", "component.dataAbsentReason"),
    composite(630, "code-value-quantity", THIS, _CODE, ("quantity", ("valueQuantity",))),
    composite(631, "code-value-concept", THIS, _CODE, ("token", ("valueCodeableConcept",))),
    composite(632, "code-value-string", THIS, _CODE, ("string", ("valueString",))),
    composite(633, "component-code-value-quantity", "component", _CODE, ("quantity", ("valueQuantity",))),
    composite(634, "component-code-value-concept", "component", _CODE, ("token", ("valueCodeableConcept",))),
    composite(635, "code-value-date", THIS, _CODE, ("date", ("valueDateTime", "valuePeriod"))),
    composite(636, "combo-code-value-quantity", (THIS, "component"), _CODE, ("quantity", ("valueQuantity",))),
    composite(637, "combo-code-value-concept", (THIS, "component"), _CODE, ("token", ("valueCodeableConcept",))),
)

DOCUMENT_REFERENCE: Final = (
    token(700, "identifier", "identifier", "masterIdentifier"),
    token(701, "status", "status", system=HL7 + "document-reference-status"),
    token(702, "type", "type"),
    token(703, "category", "category"),
    reference(704, "patient", "subject", "Patient"),
    reference(705, "subject", "subject", "Patient", "Practitioner", "Group", "Device"),
    date(706, "date", "date"),
    reference(707, "encounter", "context.encounter", "Encounter"),
    reference(708, "author", "author", *AUTHORS),
    date(709, "period", "context.period"),
    reference(710, "related", "context.related"),
    reference(711, "authenticator", "authenticator", "Practitioner", "PractitionerRole", "Organization"),
    reference(712, "custodian", "custodian", "Organization"),
    reference(713, "relatesto", "relatesTo.target", "DocumentReference"),
    token(714, "relation", "relatesTo.code", system=HL7 + "document-relationship-type"),
    token(715, "security-label", "securityLabel"),
    token(716, "contenttype", "content.attachment.contentType", system="urn:ietf:bcp:13"),
    token(717, "language", "content.attachment.language", system="urn:ietf:bcp:47"),
    Param(718, "location", "uri", ("content.attachment.url",)),
    token(719, "format", "content.format"),
    token(720, "event", "context.event"),
    token(721, "facility", "context.facilityType"),
    token(722, "setting", "context.practiceSetting"),
    string(723, "description", "description"),
    composite(724, "relationship", "relatesTo", ("reference", ("target",)), ("token", ("code",))),
)

TASK: Final = (
    token(800, "status", "status", system=HL7 + "task-status"),
    token(801, "code", "code"),
    reference(802, "focus", "focus"),
    reference(803, "subject", "for"),
    reference(804, "patient", "for", "Patient"),
    reference(805, "encounter", "encounter", "Encounter"),
    token(806, "identifier", "identifier"),
    date(807, "authored-on", "authoredOn"),
    date(808, "modified", "lastModified"),
    token(809, "intent", "intent", system=HL7 + "task-intent"),
    token(810, "priority", "priority", system=HL7 + "request-priority"),
    token(811, "business-status", "businessStatus"),
    token(812, "group-identifier", "groupIdentifier"),
    reference(813, "owner", "owner", *AUTHORS, "CareTeam", "HealthcareService"),
    reference(814, "requester", "requester", *AUTHORS),
    reference(815, "part-of", "partOf", "Task"),
    reference(816, "based-on", "basedOn"),
    date(817, "period", "executionPeriod"),
    token(818, "performer", "performerType"),
)

DEVICE: Final = (
    token(1000, "identifier", "identifier"),
    token(1001, "type", "type"),
    string(1002, "device-name", "deviceName.name", "type.coding.display", "type.text"),
    token(1003, "status", "status", system=HL7 + "device-status"),
    string(1004, "manufacturer", "manufacturer"),
    string(1005, "model", "modelNumber"),
    reference(1006, "organization", "owner", "Organization"),
    reference(1007, "patient", "patient", "Patient"),
    reference(1008, "location", "location", "Location"),
    Param(1009, "url", "uri", ("url",)),
    string(1010, "udi-carrier", "udiCarrier.carrierHRF"),
    string(1011, "udi-di", "udiCarrier.deviceIdentifier"),
)

COMPOSITION: Final = (
    token(1100, "identifier", "identifier"),
    token(1101, "status", "status", system=HL7 + "composition-status"),
    token(1102, "type", "type"),
    token(1103, "category", "category"),
    date(1104, "date", "date"),
    reference(1105, "patient", "subject", "Patient"),
    reference(1106, "subject", "subject"),
    reference(1107, "encounter", "encounter", "Encounter"),
    reference(1108, "author", "author", *AUTHORS),
    string(1109, "title", "title"),
    reference(1110, "attester", "attester.party", *_PARTICIPANTS, "Patient", "Organization"),
    token(
        1111, "confidentiality", "confidentiality", system="http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    ),
    token(1112, "section", "section.code"),
    reference(1113, "entry", "section.entry"),
    token(1114, "context", "event.code"),
    date(1115, "period", "event.period"),
    token(1116, "related-id", "relatesTo.targetIdentifier"),
    reference(1117, "related-ref", "relatesTo.targetReference", "Composition"),
)
