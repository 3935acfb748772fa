"""The error tree as EHRs and operators meet it: status and FHIR code of every class, one row each."""

from __future__ import annotations

import pytest

from fhir_bridge import errors
from fhir_bridge.errors import BridgeError, Issue

# http://hl7.org/fhir/R4/valueset-issue-type.html, all of it
ISSUE_TYPES = """
invalid structure required value invariant security login unknown expired forbidden suppressed processing
not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly
business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational"""

# Clients and scripts rely on these: a change here is a change of the public interface.
TREE = {
    "BridgeError": (500, "exception"),
    "Malformed": (400, "structure"),
    "Invalid": (400, "invalid"),
    "BadParameter": (400, "value"),
    "NotSupported": (400, "not-supported"),
    "NoSuchRoute": (404, "not-supported"),
    "MethodNotAllowed": (405, "not-supported"),
    "NotAcceptable": (406, "not-supported"),
    "UnsupportedMediaType": (415, "not-supported"),
    "WrongOffset": (409, "conflict"),
    "WrongProtocol": (412, "not-supported"),
    "NoSuchRange": (416, "value"),
    "TooLarge": (413, "too-long"),
    "NotFound": (404, "not-found"),
    "Gone": (410, "deleted"),
    "VersionConflict": (412, "conflict"),
    "MultipleMatches": (412, "multiple-matches"),
    "Duplicate": (409, "duplicate"),
    "Busy": (409, "conflict"),
    "BusinessRule": (422, "business-rule"),
    "UnresolvedReference": (422, "not-found"),
    "NotMapped": (422, "not-supported"),
    "UnusableAudio": (422, "value"),
    "PatchFailed": (422, "processing"),
    "Unauthenticated": (401, "login"),
    "Expired": (401, "expired"),
    "Forbidden": (403, "forbidden"),
    "OAuthError": (400, "invalid"),
    "SentBack": (400, "invalid"),
    "Throttled": (429, "throttled"),
    "Overloaded": (503, "transient"),
    "NoSpace": (507, "no-store"),
    "IssuerUnavailable": (503, "transient"),
    "StoreUnavailable": (503, "transient"),
    "CortiError": (502, "transient"),
    "CortiUnavailable": (503, "transient"),
    "CortiTimeout": (504, "timeout"),
    "CortiThrottled": (503, "throttled"),
    "CortiPaused": (503, "transient"),
    "CortiLoginFailed": (502, "login"),
    "CortiForbidden": (502, "forbidden"),
    "CortiRefused": (502, "invalid"),
    "CortiNotFound": (502, "not-found"),
    "CortiDuplicate": (502, "duplicate"),
    "ConfigRefused": (502, "invalid"),
    "CortiNonsense": (502, "exception"),
    "BadSetting": (500, "exception"),
    "Fenced": (500, "exception"),
    "BlobDamaged": (500, "exception"),
}
KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, BridgeError)}


def test_every_class_answers_with_its_status_and_code():
    assert {name: (kind.status, kind.issue) for name, kind in KINDS.items()} == TREE


@pytest.mark.parametrize("kind", KINDS.values())
def test_every_code_is_one_of_fhirs_and_every_class_says_when_it_is_raised(kind):
    assert kind.issue in ISSUE_TYPES.split()
    assert kind.__doc__


def test_only_an_outage_of_corti_or_an_unreadable_answer_is_worth_another_attempt():
    corti = {name for name, kind in KINDS.items() if issubclass(kind, errors.CortiError)}

    assert {name for name in corti if KINDS[name].retry} == {
        "CortiUnavailable",
        "CortiTimeout",
        "CortiThrottled",
        "CortiPaused",
        "CortiNonsense",
    }


def test_an_error_is_one_issue_at_its_element():
    failure = errors.NotMapped("Corti has no encounter type for this class", at="Encounter.class")

    assert str(failure) == failure.text == "Corti has no encounter type for this class"
    assert failure.issues == (Issue("not-supported", failure.text, "Encounter.class", "error"),)
    assert failure.retry_after is None


def test_an_error_of_several_findings_keeps_them_all():
    found = (Issue("required", "needed", "Encounter.status"), Issue("value", "no date", "Encounter.period.start"))

    assert errors.Invalid("Not valid", issues=found).issues == found


def test_an_error_that_passes_says_when_to_come_back():
    assert errors.Throttled("Too many requests", retry_after=7).retry_after == 7


def test_a_refused_token_says_so_in_oauths_word():
    assert errors.Expired("The token is past its end", challenge="invalid_token").challenge == "invalid_token"
    assert errors.Unauthenticated("No token").challenge is None


def test_a_path_without_the_method_lists_those_it_has():
    assert errors.MethodNotAllowed("Not here", allow=("GET", "POST")).allow == ("GET", "POST")


def test_a_weak_token_learns_the_scope_that_would_have_been_enough():
    failure = errors.Forbidden("Not allowed", scope="system/Media.c", at="Media")

    assert (failure.scope, failure.at) == ("system/Media.c", "Media")


def test_an_oauth_error_brings_its_own_status():
    assert (errors.OAuthError("invalid_request", "Twice").status, errors.OAuthError("x", "y").error) == (400, "x")
    assert errors.OAuthError("invalid_client", "Who?", status=401).status == 401


def test_an_error_that_is_sent_back_knows_where_and_under_which_state():
    failure = errors.SentBack("access_denied", "No", redirect_uri="https://app.example/cb", state="s")
    assert (failure.error, failure.redirect_uri, failure.state) == ("access_denied", "https://app.example/cb", "s")


def test_a_refused_configuration_tells_what_was_refused():
    assert errors.ConfigRefused("No", about="audio", at="Media.content").about == "audio"
    assert errors.ConfigRefused("No").about == "other"
