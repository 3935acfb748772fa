from __future__ import annotations

import json
from pathlib import Path

import pytest
from mapping_examples import encounter, example, media, sound

from fhir_bridge.errors import Issue, NotMapped
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.models import model_of
from fhir_bridge.mapping.docs import page
from fhir_bridge.mapping.explain import explanation_of_encounter
from fhir_bridge.mapping.media import stream_config_from_media
from fhir_bridge.mapping.task import JobView, job_state, task_from_job
from fhir_bridge.store.states import STATES, State

MADE, CHANGED = "2026-11-22T08:15:00.000Z", "2026-11-22T08:16:00.000Z"


def task(state=State.STREAMING, **changes):
    kept = {"media": "m1", "authored": MADE, "modified": CHANGED} | changes
    value = task_from_job(JobView("t1", state, "e1", **kept))
    assert checked(value) == value
    model_of(value)
    return value


def test_a_task_of_somebody_else_shows_no_state_of_ours():
    other = {"coding": [{"system": "urn:other", "code": "streaming"}]}

    assert job_state({"resourceType": "Task"}) is None
    assert job_state({"resourceType": "Task", "businessStatus": other}) is None


# --- jobs --------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
def test_each_state_of_a_job_is_a_valid_task_of_its_status(state):
    value = task(state)

    assert value["status"] == STATES[state].task
    assert value["businessStatus"]["coding"][0]["code"] == state.value
    assert job_state(value) == state
    assert value["intent"] == "order"
    assert value["code"]["coding"][0]["code"] == "fulfill"
    assert value["owner"] == {"reference": "Device/fhir-bridge"}


def test_the_focus_is_the_media_or_for_the_interaction_the_encounter():
    assert task()["focus"] == {"reference": "Media/m1"}
    assert task(media=None)["focus"] == {"reference": "Encounter/e1"}
    assert task(media=None)["encounter"] == {"reference": "Encounter/e1"}


def test_a_task_names_its_interaction_and_patient_when_they_are_known():
    value = task(interaction="i-1", subject={"reference": "Patient/p1"})

    assert value["identifier"] == [{"system": "urn:x-fhir-bridge:interaction-id", "value": "i-1"}]
    assert value["for"] == {"reference": "Patient/p1"}
    assert not {"identifier", "for"} & task().keys()


def test_progress_is_told_while_the_job_runs():
    assert task(heard=12.4, seconds=60.0)["businessStatus"]["text"].endswith(": 12 of 60 s")
    assert "12" not in task(heard=12.4)["businessStatus"]["text"]
    assert "60" not in task(State.PUBLISHED, heard=60.0, seconds=60.0)["businessStatus"]["text"]


def test_a_clock_that_went_back_does_not_break_the_order_of_times():
    value = task(authored=CHANGED, modified=MADE)

    assert value["authoredOn"] == value["lastModified"] == CHANGED


def test_outputs_are_named_by_what_they_are():
    value = task(State.PUBLISHED, outputs=("DocumentReference/d1", "Observation/o1"))

    assert [(one["type"]["text"], one["valueReference"]["reference"]) for one in value["output"]] == [
        ("Transcript", "DocumentReference/d1"),
        ("Clinical fact", "Observation/o1"),
    ]
    assert "statusReason" not in value


def test_a_failed_job_says_why_in_words_and_as_an_outcome():
    value = task(State.FAILED, issues=(Issue("login", "Corti refused the credentials", "FHIR_BRIDGE_CORTI_TENANT"),))

    assert value["statusReason"] == {"text": "Corti refused the credentials"}
    (inside,) = value["contained"]
    assert inside["resourceType"] == "OperationOutcome"
    assert inside["issue"][0]["code"] == "login"
    assert value["output"][0]["valueReference"] == {"reference": f"#{inside['id']}"}


def test_a_job_that_failed_without_a_word_still_has_a_reason():
    value = task(State.FAILED)

    assert "$retry" in value["statusReason"]["text"]
    assert value["contained"][0]["issue"][0]["code"] == "exception"


def test_a_completed_job_may_carry_a_warning():
    warning = Issue("incomplete", "The recording ends before its header says", "Media.content", "warning")

    value = task(State.PUBLISHED, outputs=("DocumentReference/d1",), issues=(warning,))

    assert value["status"] == "completed"
    assert value["contained"][0]["issue"][0]["severity"] == "warning"
    assert len(value["output"]) == 2


# --- the dry run -------------------------------------------------------------------------


def parts(explanation, name):
    return [one for one in explanation["parameter"] if one["name"] == name]


def test_a_dry_run_shows_the_payload_and_each_rule():
    whole = model_of(example("encounter-ambulatory"))

    value = explanation_of_encounter(whole, tenant="default")

    assert checked(value) == value
    model_of(value)
    (payload,) = parts(value, "interaction")
    assert json.loads(payload["valueString"])["encounter"] == {
        "identifier": "VN-2026-0417~00000000",
        "status": "in-progress",
        "type": "outpatient",
        "period": {"startedAt": "2026-04-17T07:03:00Z"},
        "title": "Check-up",
    }
    assert parts(value, "sent") == [{"name": "sent", "valueBoolean": True}]
    rules = [{part["name"]: part["valueString"] for part in one["part"]} for one in parts(value, "rule")]
    assert {
        "of": "interaction",
        "element": "Encounter.class",
        "rule": "table of classes: AMB",
        "result": "outpatient",
    } in rules
    assert parts(value, "warnings") == []


def test_a_dry_run_reports_warnings_and_what_would_not_be_sent():
    value = explanation_of_encounter(encounter(status="cancelled", **{"class": {"code": "X"}}), tenant="default")

    (warnings,) = parts(value, "warnings")
    assert warnings["resource"]["issue"][0]["expression"] == ["Encounter.class"]
    assert parts(value, "sent") == [{"name": "sent", "valueBoolean": False}]


def test_a_dry_run_with_a_media_shows_the_stream_too():
    said = media({"contentType": "audio/wav", "language": "de-AT"})
    config = stream_config_from_media(said, encounter(), sound=sound(), language="en", as_="pcm")

    value = explanation_of_encounter(encounter(), config=config, tenant="default")

    assert checked(value) == value
    (payload,) = parts(value, "stream")
    assert json.loads(payload["valueString"])["configuration"]["transcription"]["primaryLanguage"] == "de"
    assert len(parts(value, "warnings")) == 1


def test_a_dry_run_needs_no_id_yet():
    value = explanation_of_encounter(encounter(id=None), tenant="default")

    (payload,) = parts(value, "interaction")
    assert json.loads(payload["valueString"])["encounter"]["identifier"] == "id-to-be~00000000"


def test_a_dry_run_refuses_what_would_be_refused():
    with pytest.raises(NotMapped) as refused:
        explanation_of_encounter(encounter(subject={"reference": "Group/g1"}), tenant="default")

    assert refused.value.at == "Encounter.subject"


# --- the page ----------------------------------------------------------------------------


def test_the_printed_tables_are_those_of_the_code():
    printed = Path(__file__).parents[3] / "docs" / "mapping.md"

    assert printed.read_text() == page(), "run make docs"
