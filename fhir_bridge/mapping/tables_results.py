"""What Corti says and FHIR's word for it: one row a code, each with its source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from fhir_bridge.mapping import systems

JobState = Literal[
    "received",
    "stored",
    "queued",
    "interaction_pending",
    "streaming",
    "suspended",
    "finalising",
    "reconciling",
    "published",
    "failed",
    "cancelled",
    "erased",
]

_GROUPS_PAGE: Final = "https://docs.corti.ai/textgen/facts"
_TASK_PAGE: Final = "http://hl7.org/fhir/R4/valueset-task-status.html"
_MEDIA_PAGE: Final = "http://hl7.org/fhir/R4/valueset-event-status.html"


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
class StateRow:
    """A job state as an EHR sees it on the Task, and on the Media the job is about."""

    state: JobState
    task: str
    media: str
    text: str
    source: str


@dataclass(frozen=True)
class LabelRow:
    """A security label of results: what asserted them."""

    code: str
    display: str
    on: str
    source: str


def _group(key: str, loinc: str | None = None, loinc_display: str | None = None, category: str | None = None) -> GroupRow:
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

# Ruling 5; the states are those of the job.
JOB_STATES: Final = {
    row.state: row
    for row in (
        StateRow("received", "accepted", "in-progress", "Accepted", _TASK_PAGE),
        StateRow("stored", "accepted", "in-progress", "Stored", _TASK_PAGE),
        StateRow("queued", "accepted", "in-progress", "Waiting for its turn", _TASK_PAGE),
        StateRow("interaction_pending", "in-progress", "in-progress", "Waiting for the interaction", _TASK_PAGE),
        StateRow("streaming", "in-progress", "in-progress", "Being heard", _TASK_PAGE),
        StateRow("suspended", "on-hold", "in-progress", "Interrupted, will go on by itself", _TASK_PAGE),
        StateRow("finalising", "in-progress", "in-progress", "Waiting for the last results", _TASK_PAGE),
        StateRow("reconciling", "in-progress", "in-progress", "Comparing results", _TASK_PAGE),
        StateRow("published", "completed", "completed", "Done", _TASK_PAGE),
        StateRow("failed", "failed", "stopped", "Failed", _TASK_PAGE),
        StateRow("cancelled", "cancelled", "stopped", "Cancelled", _MEDIA_PAGE),
        StateRow("erased", "entered-in-error", "entered-in-error", "Erased", _MEDIA_PAGE),
    )
}
TERMINAL_TASKS: Final = frozenset({"completed", "failed", "cancelled", "entered-in-error", "rejected"})

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
