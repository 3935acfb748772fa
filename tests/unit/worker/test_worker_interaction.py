"""One Encounter, one interaction, whatever becomes of the POST (reliability.md, rule 5)."""

from __future__ import annotations

import pytest

from fhir_bridge.sandbox.faults import Fault

POST = {"method": "POST", "path": "/v2/interactions/$"}


def only(ward):
    [interaction] = ward.sandbox.state.interactions.values()
    return interaction


@pytest.mark.parametrize("duplicates", ["400", "409", "accept"])
def test_an_interaction_whose_answer_was_lost_is_adopted(ward, duplicates):
    ward.sandbox.switches.duplicate_identifier = duplicates
    ward.sandbox.state.faults.append(Fault(**POST, apply=True, drop=True))
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
