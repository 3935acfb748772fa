"""One Encounter, one interaction, whatever becomes of the POST (reliability.md, rule 5)."""

from __future__ import annotations

import json

import pytest

from fhir_bridge.keyring import KeyRing
from fhir_bridge.sandbox.faults import Fault
from fhir_bridge.smart.grant import Grant
from fhir_bridge.verbs.bridge import Bridge
from fhir_bridge.verbs.explain import explain

POST = {"method": "POST", "path": "/v2/interactions/$"}


def only(ward):
    [interaction] = ward.sandbox.state.interactions.values()
    return interaction


@pytest.mark.parametrize("answer", [{"drop": True}, {"status": 200, "body": "<html>not JSON"}])
@pytest.mark.parametrize("duplicates", ["400", "409", "accept"])
def test_an_interaction_whose_answer_was_lost_or_unreadable_is_adopted(ward, duplicates, answer):
    ward.sandbox.switches.duplicate_identifier = duplicates
    ward.sandbox.state.faults.append(Fault(**POST, apply=True, **answer))
    encounter = ward.admit()

    ward.work()
    assert ward.task_of(encounter)["status"] == "on-hold"
    ward.hurry()

    assert ward.task_of(encounter)["status"] == "completed"
    assert ward.task_of(encounter)["identifier"][0]["value"] == only(ward).id


def test_a_post_that_never_arrived_is_sent_again_after_a_look(ward):
    ward.sandbox.state.faults.append(Fault(**POST, drop=True))
    encounter = ward.admit()

    ward.work()
    ward.hurry()

    assert ward.task_of(encounter)["status"] == "completed"
    assert only(ward)


def test_an_adopted_interaction_is_brought_up_to_date(ward):
    ward.sandbox.state.faults.append(Fault(**POST, apply=True, drop=True))
    encounter = ward.admit(status="in-progress")
    ward.work()
    ward.amend(encounter, status="finished")

    ward.hurry()

    assert only(ward).encounter["status"] == "completed"


def test_the_identifier_is_readable_and_belongs_to_this_intent_alone(ward):
    encounter = ward.admit()
    other = ward.admit()

    ward.work()

    sent = sorted(one.encounter["identifier"] for one in ward.sandbox.state.interactions.values())
    readable = ward.resource("Encounter", encounter)["identifier"][0]["value"]
    assert [one.rpartition("~")[0] for one in sent] == [readable, readable]
    assert len({one.rpartition("~")[2] for one in sent}) == 2
    assert {len(one.rpartition("~")[2]) for one in sent} == {8}
    assert ward.task_of(other)["status"] == "completed"


def test_a_reserved_identifier_gets_another_suffix(ward):
    reserved = {"status": 409, "body": {"requestid": "r", "status": 409, "type": "conflict", "detail": "taken"}}
    ward.sandbox.state.faults.append(Fault(**POST, **reserved))
    encounter = ward.admit()

    ward.work()

    assert ward.task_of(encounter)["status"] == "completed"
    assert only(ward)


def test_an_encounter_changed_while_its_interaction_is_made_is_not_forgotten(ward):
    encounter = ward.admit(status="in-progress")
    ward.sandbox.state.faults.append(Fault(**POST, apply=True, delay=0.5))
    ward.meanwhile(lambda: ward.amend(encounter, status="finished"), after=0.2)

    ward.work()

    assert only(ward).encounter["status"] == "completed"


def test_a_refused_interaction_fails_at_once(ward):
    ward.sandbox.state.faults.append(Fault(**POST, status=400, body={"detail": "no", "status": 400}))
    encounter = ward.admit()

    ward.work()

    assert ward.task_of(encounter)["status"] == "failed"
    assert ward.task_of(encounter)["contained"][0]["issue"][0]["code"] == "invalid"


def practitioner(id_, number):
    identifier = [{"system": "urn:example:staff", "value": number}]
    return {"resourceType": "Practitioner", "id": id_, "identifier": identifier, "name": [{"family": "Holm"}]}


def taking_part(id_, code):
    system = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
    return {
        "type": [{"coding": [{"system": system, "code": code}]}],
        "individual": {"reference": f"Practitioner/{id_}"},
    }


def test_corti_is_told_of_the_clinician_in_charge_as_the_dry_run_says(ward):
    for one in (practitioner("helper", "1"), practitioner("chief", "2")):
        ward.accept_resource(one)
    people = [taking_part("helper", "SPRF"), taking_part("chief", "PPRF")]
    sent = ward.resource("Encounter", ward.admit(participant=people))
    ward.work()

    rooms = ward.rooms
    bridge = Bridge(
        rooms.settings, rooms.store.of("default"), rooms.blobs, KeyRing.open(rooms.settings), "http://127.0.0.1:8080"
    )
    parts = explain(bridge, Grant("default", "ehr", "system/*.cruds"), sent)["parameter"]

    told = json.loads(next(part["valueString"] for part in parts if part["name"] == "interaction"))
    assert told["assignedUserId"] == only(ward).assigned_user
    assert told["patient"] == only(ward).patient
    for name in ("status", "type", "title"):
        assert told["encounter"][name] == only(ward).encounter[name]


def test_what_corti_has_no_word_for_is_a_warning_on_the_task(ward):
    encounter = ward.admit(**{"class": {"system": "urn:example:classes", "code": "TELE"}})

    ward.work()

    task = ward.task_of(encounter)
    [issue] = task["contained"][0]["issue"]
    assert task["status"] == "completed"
    assert (issue["severity"], issue["code"], issue["expression"]) == ("warning", "code-invalid", ["Encounter.class"])
    assert task["output"][0]["valueReference"] == {"reference": "#outcome"}


def test_an_encounter_that_corti_has_all_words_for_has_no_warnings(ward):
    encounter = ward.admit()

    ward.work()

    assert "contained" not in ward.task_of(encounter)
