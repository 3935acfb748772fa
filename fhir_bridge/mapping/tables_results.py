"""What Corti says and FHIR's word for it: one row a code, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fhir_bridge.mapping import systems

_GROUPS_PAGE: Final = "https://github.com/corticph/corti-sdk-javascript"


@dataclass(frozen=True)
class GroupRow:
    """A Corti fact group: its key, the LOINC section code where one is certain, and FHIR's category."""

    key: str
    display: str
    loinc: str | None
    loinc_display: str | None
    category: str | None
    source: str


@dataclass(frozen=True)
class LabelRow:
    """A security label of results: what asserted them."""

    code: str
    display: str
    on: str
    source: str


def _group(
    key: str, loinc: str | None = None, loinc_display: str | None = None, category: str | None = None
) -> GroupRow:
    source = f"https://loinc.org/{loinc}" if loinc else _GROUPS_PAGE
    return GroupRow(key, key.replace("-", " ").capitalize(), loinc, loinc_display, category, source)


# Ruling 14. A key outside this table keeps its own code and gets no LOINC code.
FACT_GROUPS: Final = {
    row.key: row
    for row in (
        _group("chief-complaint", "10154-3", "Chief complaint Narrative - Reported"),
        _group("history-of-present-illness", "10164-2", "History of Present illness Narrative"),
        _group("past-medical-history", "11348-0", "History of Past illness Narrative"),
        _group("family-history", "10157-6", "History of family member diseases Narrative"),
        _group("social-history", "29762-2", "Social history Narrative", "social-history"),
        _group("functional-status", "47420-5", "Functional status assessment note", "survey"),
        _group("medications-prior-to-visit", "10160-0", "History of Medication use Narrative"),
        _group("allergies", "48765-2", "Allergies and adverse reactions Document"),
        _group("demographics"),
        _group("vital-signs", "8716-3", "Vital signs", "vital-signs"),
        _group("laboratory-results", "30954-2", "Relevant diagnostic tests/laboratory data Narrative", "laboratory"),
        _group("imaging-results", "18748-4", "Diagnostic imaging study", "imaging"),
        _group("normal-physical-findings", "29545-1", "Physical findings Narrative", "exam"),
        _group("abnormal-physical-findings", "29545-1", "Physical findings Narrative", "exam"),
        _group("denials-of-symptoms", "10187-3", "Review of systems Narrative - Reported", "survey"),
        _group("concerns-and-expectations"),
        _group("assessment", "51848-0", "Evaluation note"),
        _group("plan", "18776-5", "Plan of care note"),
        _group("actions"),
        _group("other"),
    )
}

_LABEL_PAGE: Final = "https://terminology.hl7.org/CodeSystem-v3-ObservationValue.html"
LABELS: Final = {
    row.code: row
    for row in (
        LabelRow("AIAST", "Artificial Intelligence asserted", "transcript, fact, Provenance.reason", _LABEL_PAGE),
        LabelRow("DICTAST", "Dictation asserted", "transcript", _LABEL_PAGE),
    )
}


def label(code: Literal["AIAST", "DICTAST"]) -> dict[str, str]:
    """Return a security label as Coding."""
    return {"system": systems.OBSERVATION_VALUE, "code": code, "display": LABELS[code].display}


@dataclass(frozen=True)
class FormatRow:
    """One rendering of a transcript, the first the one an EHR files that takes a single attachment."""

    code: Literal["text", "vtt", "segments"]
    content_type: str
    title: str
    source: str


FORMATS: Final = (
    FormatRow(
        "text", "text/plain; charset=utf-8", "Transcript", "https://www.rfc-editor.org/rfc/rfc2046#section-4.1.3"
    ),
    FormatRow("vtt", "text/vtt; charset=utf-8", "Transcript with times", "https://www.w3.org/TR/webvtt1/"),
    FormatRow(
        "segments", "application/json", "Transcript segments", "https://github.com/corticph/corti-sdk-javascript"
    ),
)


@dataclass(frozen=True)
class OutputRow:
    """How a Task names what came out, by resource type."""

    resource: str
    code: str
    display: str
    source: str


_OUTPUT_PAGE: Final = "http://hl7.org/fhir/R4/task-definitions.html#Task.output"
OUTPUTS: Final = {
    row.resource: row
    for row in (
        OutputRow("DocumentReference", "transcript", "Transcript", _OUTPUT_PAGE),
        OutputRow("Observation", "fact", "Clinical fact", _OUTPUT_PAGE),
        OutputRow("OperationOutcome", "outcome", "What went wrong or deserves attention", _OUTPUT_PAGE),
    )
}
