"""What an operator reads of a request: its route and its kind of failure, nothing that was sent."""

from __future__ import annotations

import json
import logging

import pytest


@pytest.fixture
def logged(caplog):
    caplog.set_level(logging.INFO, logger="fhir_bridge")
    return lambda name: [
        event for record in caplog.records if (event := json.loads(record.getMessage()))["event"] == name
    ]


def test_a_request_is_logged_by_its_route_without_ids_and_queries(ehr, logged):
    ehr.get("Patient?name=Ada&identifier=urn:mrn|1234", X_Request_Id="asked-1")

    [event] = [event for event in logged("web.request") if event["request"] == "asked-1"]
    assert event.keys() == {"at", "event", "method", "route", "status", "ms", "request"}
    assert (event["method"], event["route"], event["status"]) == ("GET", "/fhir/<type_>", 200)


def test_a_fault_of_ours_is_logged_by_its_kind_and_never_by_its_words(app, ehr, logged, caplog):
    @app.get("/broken")
    def broken():
        raise RuntimeError("Ada Lovelace, born 1815")

    answer = ehr.http.get("/broken", headers={"X-Request-Id": "broken-1"})

    assert answer.status_code == 500
    [event] = logged("web.failed")
    assert (event["request"], event["error"]) == ("broken-1", "RuntimeError")
    assert "Lovelace" not in caplog.text


def test_a_refused_login_is_logged_with_its_oauth_error(ehr, logged):
    ehr.token_answer(client_id=ehr.name, client_secret="wrong")

    [event] = logged("oauth.token")
    assert (event["status"], event["error"]) == (401, "invalid_client")
    assert "wrong" not in json.dumps(event)
