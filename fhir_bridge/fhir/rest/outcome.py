"""OperationOutcome: what the EHR is told, in FHIR's one form for errors and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_bridge.errors import BridgeError, Issue
    from fhir_bridge.fhir.resource.reader import Json, JsonValue


def outcome(issues: Iterable[Issue], *, request_id: str | None = None) -> Json:
    """Show findings; `request_id` is what an operator can look up, the only diagnostics ever given."""
    shown: list[JsonValue] = [_issue(issue, request_id) for issue in issues]
    return {"resourceType": "OperationOutcome", "issue": shown}


def from_error(error: BridgeError, *, request_id: str | None = None) -> Json:
    """Show an error with all its findings; never empty, since FHIR wants one issue at least."""
    return outcome(error.issues, request_id=request_id)


def _issue(issue: Issue, request_id: str | None) -> Json:
    shown: Json = {"severity": issue.severity, "code": issue.code, "details": {"text": issue.text}}
    if request_id:
        shown["diagnostics"] = f"Request {request_id}"
    if issue.at:
        shown["expression"] = [issue.at]
    return shown
