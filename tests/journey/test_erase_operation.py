"""$erase: an EHR destroys a visit or a patient, and fetches the proof once Corti has forgotten, too."""

from __future__ import annotations

import json
import time

import pytest
from conftest import example
from policy_rows import Door, given
from test_api_async import LATER, done, place_of
from test_erasing import WORD, corti, eraser, heard, patient, web_settings
from test_stopped_streams import rooms

from fhir_bridge.sandbox.faults import Fault
from fhir_bridge.store import erasure
from fhir_bridge.worker.erase import carry_on

__all__ = ["corti", "eraser", "heard", "patient", "rooms", "web_settings"]  # fixtures

pytestmark = pytest.mark.usefixtures("proved")


def told(answer) -> dict:
    """The primitive parameters of an answer, and the names of what is in its proof."""
    parameters = answer if isinstance(answer, dict) else answer.json
    assert parameters["resourceType"] == "Parameters"
    found = {each["name"]: each for each in parameters["parameter"]}
    proof = [part["name"] for part in found.pop("proof", {}).get("part", [])]
    values = {name: each.get("valueString") or each.get("valueCode") for name, each in found.items()}
    return values | {"proof": proof}


def forgotten(eraser, rooms) -> None:
    """A worker's rounds: the second when whatever a stopped worker began at Corti has come to its end."""
    for _ in range(2):
        carry_on(eraser, rooms.accounts)
        time.sleep(1.1)  # a lease and two timeouts of `eraser`
    carry_on(eraser, rooms.accounts)


@pytest.mark.parametrize("of", ["Encounter", "Patient"])
def test_what_is_erased_is_gone_when_it_is_answered_and_is_proved_when_corti_has_forgotten(
    ehr, corti, eraser, rooms, patient, heard, of
):
    reference = f"Encounter/{heard[0]}" if of == "Encounter" else f"Patient/{patient}"
    first = ehr.post(f"{reference}/$erase", b"")

    assert (first.status, told(first)["state"], told(first)["proof"]) == (200, "destroyed", [])
    assert [ehr.get(place).status for place in (reference, f"Media/{heard[1]}")] == [410, 410]
    assert corti.state.interactions
    forgotten(eraser, rooms)

    again = ehr.post(f"{reference}/$erase", {"resourceType": "Parameters"})

    assert corti.state.interactions == {}
    assert told(again)["erasure"] == told(first)["erasure"]
    assert told(again)["state"] == "erased"
    assert {"subject", "asked", "done", "resources", "counts", "audio", "digest", "seal"} == set(told(again)["proof"])
    assert ehr.post(f"{reference}/$erase", b"").json == again.json
    assert heard[0] not in json.dumps(again.json)


def test_the_answer_that_is_fetched_later_is_there_once_corti_has_forgotten(ehr, corti, eraser, rooms, heard):
    corti.state.faults.append(Fault(method="DELETE", status=403, times=50))
    place = place_of(ehr.post(f"Encounter/{heard[0]}/$erase", b"", **LATER))
    assert ehr.get(f"Encounter/{heard[0]}").status == 410
    carry_on(eraser, rooms.accounts)

    waiting = ehr.get(place)
    corti.state.faults.clear()
    forgotten(eraser, rooms)

    assert (waiting.status, waiting.headers["X-Progress"]) == (202, "destroyed here; Corti has to forget it, too")
    entry = done(ehr, place)
    assert entry["response"]["status"] == "200 OK"
    assert told(entry["resource"])["state"] == "erased"
    assert ehr.call("DELETE", place).status == 202
    assert ehr.get(place).status == 404


def test_an_answer_that_nobody_waits_for_ends_no_erasure(ehr, corti, eraser, rooms, heard):
    place = place_of(ehr.post(f"Encounter/{heard[0]}/$erase", b"", **LATER))
    ehr.call("DELETE", place)

    forgotten(eraser, rooms)

    assert corti.state.interactions == {}


@pytest.mark.parametrize(
    "bearer",
    [
        given("system/*.crus"),
        given("system/Encounter.cruds", "system/Media.cruds", "system/Observation.cruds"),
        given("system/*.cruds?_id=p1"),
        given("user/*.cruds", user="Practitioner/d1"),
        given("patient/*.cruds", patient="p1"),
    ],
    ids=str,
)
def test_to_erase_takes_the_right_to_delete_everything(app, bridge, ehr, bearer):
    door, visit = Door(app), ehr.encounter(subject={"reference": "Patient/p1"})
    token = door.token(bearer, client=ehr.name)

    answers = [
        ehr.post(f"{reference}/$erase", b"", Authorization=f"Bearer {token}")
        for reference in (f"Encounter/{visit}", "Patient/p1")
    ]

    for answer in answers:
        assert (answer.status, answer.issue["code"]) == (403, "forbidden")
        assert 'scope="system/*.d"' in answer.headers["WWW-Authenticate"]
    assert ehr.get(f"Encounter/{visit}").status == 200
    assert bridge.store.read(erasure.unfinished) == ()


def test_what_is_of_another_tenant_or_was_never_there_is_not_erased(ehr, other_ehr):
    visit = ehr.encounter()

    for answer in (other_ehr.post(f"Encounter/{visit}/$erase", b""), ehr.post("Patient/never/$erase", b"")):
        assert (answer.status, answer.issue["code"]) == (404, "not-found")
    assert ehr.get(f"Encounter/{visit}").status == 200


@pytest.mark.parametrize("place", ["Media/{}", "Encounter", "Patient", "Observation/{}"])
def test_nothing_else_is_erased_by_itself(ehr, place):
    answer = ehr.post(f"{place.format('x')}/$erase", b"")

    assert (answer.status, answer.issue["code"]) == (404, "not-supported")


def test_a_visit_whose_patient_lives_in_the_ehr_alone_goes_with_that_patient(ehr):
    visit = ehr.encounter(subject={"reference": "Patient/elsewhere"})

    answer = ehr.post("Patient/elsewhere/$erase", b"")

    assert told(answer)["state"] == "destroyed"
    assert ehr.get(f"Encounter/{visit}").status == 410


def test_each_request_to_erase_leaves_one_row_under_the_pseudonym(ehr, eraser, rooms, heard):
    name = f"Encounter/{heard[0]}/$erase"
    ehr.post(name, b"")
    forgotten(eraser, rooms)
    ehr.post(name, b"")
    ehr.post(name, b"", **LATER)

    found = [each for each in ehr.get("AuditEvent?_count=200").found if "erase" in json.dumps(each["subtype"])]

    assert len(found) == 3
    assert {each["entity"][0]["what"]["reference"].partition("-")[0] for each in found} == {"Encounter/erased"}
    assert heard[0] not in json.dumps(found)
    assert all(ehr.name in json.dumps(each["agent"]) for each in found)


def test_links_and_answers_of_before_show_nothing_of_what_was_erased(ehr, errands, patient, heard):
    """A page link, a search and an export that were fetched, or could have been, before."""
    ehr.create(example("observation-blood-pressure", encounter={"reference": f"Encounter/{heard[0]}"}))
    page = ehr.get(f"Observation?encounter=Encounter/{heard[0]}&_count=1").json
    link = next(each["url"] for each in page["link"] if each["relation"] == "next").partition("/fhir/")[2]
    places = [place_of(ehr.get(path, **LATER)) for path in (f"Patient/{patient}/$everything", "$export")]
    errands.round()
    manifest = ehr.get(places[1]).json
    file = manifest["output"][0]["url"].partition("/fhir/")[2]
    assert ehr.get(link).found
    assert ehr.get(file, Accept="application/fhir+ndjson").raw

    ehr.post(f"Patient/{patient}/$erase", b"")

    assert ehr.get(link).json.get("entry", []) == []
    assert {ehr.get(place).status for place in (*places, file)} == {404}
    assert ehr.get(f"Patient?name={WORD}").found == []
    for path in ("_history?_count=200", f"Patient/{patient}/_history", "Patient", "Media", "DocumentReference"):
        assert WORD not in ehr.get(path).raw.decode()
