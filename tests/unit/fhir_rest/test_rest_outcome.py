from __future__ import annotations

from fhir.resources.R4B.operationoutcome import OperationOutcome

from fhir_bridge.errors import BusinessRule, Invalid, Issue
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.rest.outcome import from_error, outcome


def test_an_error_tells_severity_code_element_and_remedy():
    told = from_error(BusinessRule("Media needs audio; give content.data or content.url", at="Media.content"))

    assert told == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "business-rule",
                "details": {"text": "Media needs audio; give content.data or content.url"},
                "expression": ["Media.content"],
            }
        ],
    }
    OperationOutcome.model_validate(told)
    checked(told)


def test_every_finding_of_an_error_is_told_with_its_own_code():
    findings = (Issue("required", "Missing", "Encounter.status"), Issue("value", "No date", "Encounter.period.start"))

    told = from_error(Invalid("Two things are wrong", issues=findings))

    assert [issue["code"] for issue in told["issue"]] == ["required", "value"]


def test_diagnostics_name_the_request_and_nothing_else():
    told = outcome([Issue("exception", "The bridge failed")], request_id="r-1")

    assert told["issue"][0]["diagnostics"] == "Request r-1"
    assert "expression" not in told["issue"][0]


def test_a_warning_keeps_its_severity():
    assert outcome([Issue("not-supported", "Left out", severity="warning")])["issue"][0]["severity"] == "warning"
