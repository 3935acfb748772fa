"""Required bindings: the closed code lists of R4 for the served types and their datatypes.

One row an element, keyed by the type that defines it (EncounterStatusHistory.status is
Encounter.statusHistory.status). http://hl7.org/fhir/R4/terminologies.html#required: a
code outside such a list is an error. Only lists; what is extensible is not checked.
"""

from __future__ import annotations

from typing import Final

_GENDER = "male female other unknown"
_ENCOUNTER = "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown"
_DOCUMENT = "preliminary final amended entered-in-error"
_RELATION = "replaces transforms signs appends"
_COMPARATOR = "< <= >= >"
_UNIT_OF_TIME = "s min h d wk mo a"

REQUIRED: Final[dict[str, frozenset[str]]] = {
    element: frozenset(codes.split())
    for element, codes in {
        # datatypes
        "Address.use": "home work temp old billing",
        "Address.type": "postal physical both",
        "Age.comparator": _COMPARATOR,
        "ContactPoint.system": "phone fax email pager url sms other",
        "ContactPoint.use": "home work temp old mobile",
        "Contributor.type": "author editor reviewer endorser",
        "Count.comparator": _COMPARATOR,
        "DataRequirementSort.direction": "ascending descending",
        "Distance.comparator": _COMPARATOR,
        "Duration.comparator": _COMPARATOR,
        "HumanName.use": "usual official temp nickname anonymous old maiden",
        "Identifier.use": "usual official temp secondary old",
        "Narrative.status": "generated extensions additional empty",
        "ParameterDefinition.use": "in out",
        "Quantity.comparator": _COMPARATOR,
        "RelatedArtifact.type": (
            "documentation justification citation predecessor successor derived-from depends-on composed-of"
        ),
        "TimingRepeat.dayOfWeek": "mon tue wed thu fri sat sun",
        "TimingRepeat.durationUnit": _UNIT_OF_TIME,
        "TimingRepeat.periodUnit": _UNIT_OF_TIME,
        "TimingRepeat.when": (
            "MORN MORN.early MORN.late NOON AFT AFT.early AFT.late EVE EVE.early EVE.late NIGHT PHS "
            "HS WAKE C CM CD CV AC ACM ACD ACV PC PCM PCD PCV"
        ),
        "TriggerDefinition.type": (
            "named-event periodic data-changed data-added data-modified data-removed data-accessed data-access-ended"
        ),
        # what EHRs post
        "Encounter.status": _ENCOUNTER,
        "EncounterStatusHistory.status": _ENCOUNTER,
        "EncounterLocation.status": "planned active reserved completed",
        "Media.status": "preparation in-progress not-done on-hold stopped completed entered-in-error unknown",
        "Patient.gender": _GENDER,
        "PatientContact.gender": _GENDER,
        "PatientLink.type": "replaced-by replaces refer seealso",
        "Practitioner.gender": _GENDER,
        # what the bridge makes
        "AuditEvent.action": "C R U D E",
        "AuditEvent.outcome": "0 4 8 12",
        "AuditEventAgentNetwork.type": "1 2 3 4 5",
        "Composition.status": _DOCUMENT,
        "Composition.confidentiality": "U L M N R V",
        "CompositionAttester.mode": "personal professional legal official",
        "CompositionRelatesTo.code": _RELATION,
        "CompositionSection.mode": "working snapshot changes",
        "Device.status": "active inactive entered-in-error unknown",
        "DeviceDeviceName.type": (
            "udi-label-name user-friendly-name patient-reported-name manufacturer-name model-name other"
        ),
        "DeviceUdiCarrier.entryType": "barcode rfid manual card self-reported unknown",
        "DocumentReference.status": "current superseded entered-in-error",
        "DocumentReference.docStatus": _DOCUMENT,
        "DocumentReferenceRelatesTo.code": _RELATION,
        "Observation.status": ("registered preliminary final amended corrected cancelled entered-in-error unknown"),
        "ProvenanceEntity.role": "derivation revision quotation source removal",
        "Task.status": (
            "draft requested received accepted rejected ready cancelled in-progress on-hold failed completed "
            "entered-in-error"
        ),
        "Task.intent": ("unknown proposal plan order original-order reflex-order filler-order instance-order option"),
        "Task.priority": "routine urgent asap stat",
        # envelopes
        "Bundle.type": (
            "document message transaction transaction-response batch batch-response history searchset collection"
        ),
        "BundleEntryRequest.method": "GET HEAD POST PUT DELETE PATCH",
        "BundleEntrySearch.mode": "match include outcome",
        "OperationOutcomeIssue.severity": "fatal error warning information",
        "OperationOutcomeIssue.code": (
            "invalid structure required value invariant security login unknown expired forbidden suppressed "
            "processing not-supported duplicate multiple-matches not-found deleted too-long code-invalid "
            "extension too-costly business-rule conflict transient lock-error no-store exception timeout "
            "incomplete throttled informational"
        ),
    }.items()
}

MEDIA_TYPES: Final = frozenset(
    {"Attachment.contentType", "Binary.contentType", "Signature.sigFormat", "Signature.targetFormat"}
)
"""Bound to BCP 13, which is a grammar and not a list."""

TARGETS: Final[dict[str, tuple[str, ...]]] = {
    # R4B also allows Medication, Organization, Practitioner, Procedure and Substance.
    "Observation.subject": ("Patient", "Group", "Device", "Location"),
}
"""Reference targets where R4 is narrower than the R4B models."""

NOT_IN_R4: Final = frozenset(
    {
        # resources that came with R4B
        "AdministrableProductDefinition",
        "Citation",
        "ClinicalUseDefinition",
        "EvidenceReport",
        "Ingredient",
        "ManufacturedItemDefinition",
        "MedicinalProductDefinition",
        "NutritionProduct",
        "PackagedProductDefinition",
        "RegulatedAuthorization",
        "SubscriptionStatus",
        "SubscriptionTopic",
        "SubstanceDefinition",
        # bases that are no resource of their own
        "Resource",
        "DomainResource",
        # datatypes that came with R4B
        "CodeableReference",
        "RatioRange",
    }
)
"""Types the R4B models have and R4 does not; as a choice[x] they are unknown elements."""
