"""Writing a DocumentReference: it is stored as sent, but one that withdraws a note may leave out the note.

US Core 9, "Writing Clinical Notes", Status correction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import BusinessRule
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.tree import only, text
from fhir_bridge.verbs.plan import Plan

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.verbs.case import Case

_ERROR: Final = "entered-in-error"


def plan(case: Case) -> Plan:
    """Plan one DocumentReference.

    Raises:
        BusinessRule: it withdraws the note of another subject.
    """
    return Plan((case.version(checked(_completed(case))),))


def _completed(case: Case) -> Json:
    """Return what was sent; without its content what is there, withdrawn."""
    sent = case.json
    if case.current is None or sent.get("status") != _ERROR or "content" in sent:
        return sent
    there = read(case.current.body)
    subject = only(sent, "subject")
    if subject and text(subject, "reference") != text(only(there, "subject"), "reference"):
        raise BusinessRule("The note is about another subject than the one named", at="DocumentReference.subject")
    return {**there, **sent}
