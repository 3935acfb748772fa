"""A wrong recording or a wrong visit is taken back in one step: results say so, work stops, Corti hears of it."""

from __future__ import annotations

import pytest
from conftest import example, media, wav
from test_stopped_streams import SCRIPT, SECONDS, corti, rooms, until, web_settings, working

from fhir_bridge.store import jobs

__all__ = ["corti", "rooms", "web_settings"]  # fixtures

pytestmark = pytest.mark.usefixtures("proved")
SHORT = 6
JSON_PATCH = "application/json-patch+json"


@pytest.fixture
def heard(ehr, rooms):
    """A visit whose recording was heard: ids of both."""
    visit = ehr.encounter()
    recording = ehr.create(media(visit, wav(SHORT)))
    with working(rooms):
        pass
    assert ehr.get(f"Media/{recording}").json["status"] == "completed"
    return visit, recording


def results(ehr, recording: str) -> list[dict]:
    found = ehr.get(f"Observation?derived-from=Media/{recording}").found
    return [*found, *ehr.get(f"DocumentReference?related=Media/{recording}").found]


def states(ehr, recording: str) -> set[str]:
    return {one["status"] for one in results(ehr, recording)}


def task_of(ehr, place: str) -> dict:
    return ehr.get(f"Task?focus={place}").found[0]


def in_error(ehr, visit: str, how: str) -> int:
    """Enter a visit in error by an update, a patch or a transaction."""
    current = ehr.get(f"Encounter/{visit}").json | {"status": "entered-in-error"}
    if how == "PUT":
        return ehr.put(f"Encounter/{visit}", current).status
    if how == "PATCH":
        change = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
        return ehr.call("PATCH", f"Encounter/{visit}", change, Content_Type=JSON_PATCH).status
    entry = {"resource": current, "request": {"method": "PUT", "url": f"Encounter/{visit}"}}
    return ehr.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).status


# --- a recording ------------------------------------------------------------------------------


def test_a_deleted_recording_takes_its_results_back(ehr, heard):
    visit, recording = heard
    other = ehr.create(example("observation-blood-pressure", encounter={"reference": f"Encounter/{visit}"}))
    assert len(results(ehr, recording)) > 2

    answer = ehr.call("DELETE", f"Media/{recording}")

    assert answer.status == 204
    assert ehr.get(f"Media/{recording}").status == 410
    assert states(ehr, recording) == {"entered-in-error"}
    documents = ehr.get(f"DocumentReference?related=Media/{recording}").found
    assert {document.get("docStatus", "entered-in-error") for document in documents} == {"entered-in-error"}
    assert ehr.get(f"Observation/{other}").json["status"] != "entered-in-error"
    assert task_of(ehr, f"Media/{recording}")["status"] == "completed"
    assert ehr.post(f"Media/{recording}/$retry", b"").status in {404, 410}


def test_a_poller_hears_that_results_were_taken_back(ehr, heard):
    _, recording = heard
    before = max(one["meta"]["lastUpdated"] for one in results(ehr, recording))

    ehr.call("DELETE", f"Media/{recording}")

    changed = ehr.get(f"Observation?_lastUpdated=gt{before}").found
    assert {one["id"] for one in changed} == set(ehr.get(f"Observation?derived-from=Media/{recording}").ids)


def test_a_recording_is_deleted_by_criteria_too(ehr, heard):
    visit, recording = heard

    assert ehr.call("DELETE", f"Media?encounter=Encounter/{visit}").status == 204

    assert states(ehr, recording) == {"entered-in-error"}


def test_a_recording_that_waits_is_deleted_with_its_job(ehr, bridge, rooms, corti):
    recording = ehr.create(media(ehr.encounter(), wav(SHORT)))

    assert ehr.call("DELETE", f"Media/{recording}").status == 204
    with working(rooms):
        pass

    job = bridge.store.read(lambda conn: jobs.of_media(conn, "default", recording))
    assert (job.state, task_of(ehr, f"Media/{recording}")["status"]) == ("cancelled", "cancelled")
    assert results(ehr, recording) == []
    assert not corti.state.sessions


def test_a_recording_at_corti_is_not_deleted_before_its_task_is_cancelled(ehr, rooms):
    recording = ehr.create(media(ehr.encounter(), wav(SECONDS)))
    with working(rooms):
        until(lambda: len(results(ehr, recording)) > 2)
        refused = ehr.call("DELETE", f"Media/{recording}")
        by_version = ehr.call("DELETE", f"Media/{recording}", If_Match='W/"1"')
        task = task_of(ehr, f"Media/{recording}")
        assert ehr.put(f"Task/{task['id']}", task | {"status": "cancelled"}).status == 200

    assert (refused.status, refused.issue["code"]) == (409, "conflict")
    assert "cancel" in refused.issue["details"]["text"]
    assert refused.headers["Retry-After"]
    assert by_version.status == 409
    assert "entered-in-error" not in states(ehr, recording)
    assert ehr.call("DELETE", f"Media/{recording}").status == 204
    assert states(ehr, recording) == {"entered-in-error"}


def test_a_recording_entered_in_error_takes_its_results_back_and_stays_so(ehr, heard):
    _, recording = heard
    current = ehr.get(f"Media/{recording}").json

    answer = ehr.put(f"Media/{recording}", current | {"status": "entered-in-error"})
    again = ehr.put(f"Media/{recording}", answer.json | {"status": "completed"})

    assert (answer.status, answer.json["status"]) == (200, "entered-in-error")
    assert states(ehr, recording) == {"entered-in-error"}
    assert again.json["status"] == "entered-in-error"
    assert ehr.post(f"Media/{recording}/$retry", b"").status == 422


def test_a_recording_entered_in_error_while_it_streams_stops(ehr, rooms):
    recording = ehr.create(media(ehr.encounter(), wav(SECONDS)))
    with working(rooms):
        until(lambda: len(results(ehr, recording)) > 2)
        change = [{"op": "replace", "path": "/status", "value": "entered-in-error"}]
        assert ehr.call("PATCH", f"Media/{recording}", change, Content_Type=JSON_PATCH).status == 200
        seen = len(results(ehr, recording))

    assert len(results(ehr, recording)) == seen < len(SCRIPT.facts)
    assert states(ehr, recording) == {"entered-in-error"}
    assert task_of(ehr, f"Media/{recording}")["status"] == "cancelled"
    assert ehr.get(f"Media/{recording}").json["status"] == "entered-in-error"


# --- a visit ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["PUT", "PATCH", "transaction"])
def test_a_visit_entered_in_error_takes_everything_of_its_recordings_back(ehr, rooms, corti, heard, how):
    visit, recording = heard
    waiting = ehr.create(media(visit, wav(SHORT, pitch=5.0)))
    other = ehr.create(example("observation-blood-pressure", encounter={"reference": f"Encounter/{visit}"}))
    edited = ehr.get(f"Observation?derived-from=Media/{recording}").found[0]
    ehr.put(f"Observation/{edited['id']}", edited | {"valueString": "corrected by hand"})

    assert in_error(ehr, visit, how) == 200

    assert {ehr.get(f"Media/{id_}").json["status"] for id_ in (recording, waiting)} == {"entered-in-error"}
    assert states(ehr, recording) == {"entered-in-error"}
    assert ehr.get(f"Observation/{other}").json["status"] != "entered-in-error"
    assert task_of(ehr, f"Media/{recording}")["status"] == "completed"
    assert task_of(ehr, f"Media/{waiting}")["status"] == "cancelled"
    assert task_of(ehr, f"Encounter/{visit}")["status"] == "accepted"
    with working(rooms):
        pass
    [interaction] = corti.state.interactions.values()
    assert interaction.encounter["status"] == "deleted"
    assert task_of(ehr, f"Encounter/{visit}")["status"] == "completed"
    assert len(corti.state.sessions) == 1
    assert ehr.post("Media", media(visit, wav(1))).status == 422


def test_a_visit_entered_in_error_twice_changes_its_results_once(ehr, heard):
    visit, recording = heard
    in_error(ehr, visit, "PUT")
    before = {one["id"]: one["meta"]["versionId"] for one in results(ehr, recording)}

    assert in_error(ehr, visit, "PUT") == 200

    assert {one["id"]: one["meta"]["versionId"] for one in results(ehr, recording)} == before


def test_a_visit_with_recordings_is_not_deleted_before_it_is_entered_in_error(ehr, rooms, corti, heard):
    visit, recording = heard

    refused = ehr.call("DELETE", f"Encounter/{visit}")
    in_error(ehr, visit, "PUT")
    deleted = ehr.call("DELETE", f"Encounter/{visit}")
    with working(rooms):
        pass

    assert (refused.status, refused.issue["code"]) == (409, "conflict")
    assert "entered-in-error" in refused.issue["details"]["text"]
    assert (deleted.status, ehr.get(f"Encounter/{visit}").status) == (204, 410)
    assert ehr.get(f"Media/{recording}").json["status"] == "entered-in-error"
    [interaction] = corti.state.interactions.values()
    assert interaction.encounter["status"] == "deleted"


def test_a_deleted_visit_is_deleted_at_corti_and_comes_back_there(ehr, rooms, corti):
    visit = ehr.encounter()
    with working(rooms):
        pass
    body = ehr.get(f"Encounter/{visit}").json

    assert ehr.call("DELETE", f"Encounter/{visit}").status == 204
    with working(rooms):
        pass
    [interaction] = corti.state.interactions.values()
    assert interaction.encounter["status"] == "deleted"

    assert ehr.put(f"Encounter/{visit}", body).status == 201
    with working(rooms):
        pass
    assert len(corti.state.interactions) == 1
    [interaction] = corti.state.interactions.values()
    assert interaction.encounter["status"] == "in-progress"
    assert task_of(ehr, f"Encounter/{visit}")["status"] == "completed"


def test_a_visit_that_is_deleted_before_corti_heard_of_it_stays_unknown_there(ehr, rooms, corti):
    visit = ehr.encounter()

    ehr.call("DELETE", f"Encounter/{visit}")
    with working(rooms):
        pass

    assert not corti.state.interactions
    assert task_of(ehr, f"Encounter/{visit}")["status"] == "completed"


def test_the_task_of_a_job_is_not_deleted_but_one_of_the_ehrs_own_is(ehr):
    recording = ehr.create(media(ehr.encounter(), wav(1)))
    own = ehr.create(example("task"))

    refused = ehr.call("DELETE", f"Task/{task_of(ehr, f'Media/{recording}')['id']}")

    assert (refused.status, refused.issue["code"]) == (422, "business-rule")
    assert ehr.call("DELETE", f"Task/{own}").status == 204
