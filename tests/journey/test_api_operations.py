"""Operations: everything page by page, validation, a recording tried again or stopped; and their definitions."""

import json
import re
import threading

import pytest
from conftest import example, media, wav
from sqlalchemy import update

from fhir_bridge import clock
from fhir_bridge.fhir.rest.operations import OPERATIONS
from fhir_bridge.store import binaries, jobs, resources, tables
from fhir_bridge.store.states import State
from fhir_bridge.verbs.record import new_version

NOTHING = {"resourceType": "Parameters"}


def stands(bridge, recording: str, state: State, **columns):
    """Bring the job of a Media to a state, as a worker would have."""
    job = bridge.store.read(lambda conn: jobs.of_media(conn, "default", recording))
    values = {"state": state} | columns
    bridge.store.write(lambda conn: conn.execute(update(tables.job).where(tables.job.c.id == job.id).values(values)))


def job_of(bridge, recording: str):
    return bridge.store.read(lambda conn: jobs.of_media(conn, "default", recording))


# --- definitions ------------------------------------------------------------------------


def test_every_operation_of_the_statement_has_its_definition_where_its_canonical_says(ehr):
    statement = ehr.get("metadata", Authorization="").json["rest"][0]
    declared = [one for row in statement["resource"] for one in row.get("operation", [])]
    declared += statement.get("operation", [])

    for one in declared:
        path = one["definition"].partition("/fhir/")[2]
        found = ehr.get(path, Authorization="").json
        assert (found["resourceType"], found["url"], found["code"]) == (
            "OperationDefinition",
            one["definition"],
            one["name"],
        )
    assert {one["definition"].rpartition("/")[2] for one in declared} == {one.id for one in OPERATIONS}


def test_there_are_no_other_definitions(ehr):
    assert ehr.get("OperationDefinition/Patient-match").status == 404


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "Encounter/x/$nothing", 404, "not-supported"),
        ("GET", "$nothing", 404, "not-supported"),
        ("GET", "Condition/$validate", 404, "not-supported"),
        ("GET", "Encounter/$explain", 405, "not-supported"),
        ("GET", "Media/x/$retry", 405, "not-supported"),
        ("HEAD", "Media/x/$cancel", 405, None),
        ("GET", "Encounter/x/$everything", 404, "not-found"),
        ("GET", "Patient/x/$everything?_sort=a", 400, "not-supported"),
        ("GET", "Patient/x/$everything?_count=0", 400, "value"),
        ("GET", "Patient/x/$everything?_count=many", 400, "value"),
        ("GET", "Patient/x/$everything?_since=yesterday", 400, "value"),
        ("GET", "Patient/x/$everything?_type=Claim", 400, "value"),
        ("POST", "Media/x/$retry", 404, "not-found"),
        ("POST", "Media/x/$cancel", 404, "not-found"),
        ("GET", "Composition/x/$document", 404, "not-found"),
        ("GET", "Encounter/x/$document", 404, "not-found"),
    ],
)
def test_what_cannot_be_done_says_so(ehr, method, path, status, code):
    answer = ehr.call(method, path)

    assert answer.status == status
    assert code is None or answer.issue["code"] == code
    assert status != 405 or answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("scope", "path", "body"),
    [
        ("system/Media.cruds", "Patient/x/$everything", NOTHING),
        ("system/Encounter.r", "Encounter/x/$document", NOTHING),
        ("system/Encounter.cruds", "Composition/x/$document", NOTHING),
        ("system/Media.u", "Media/x/$retry", NOTHING),
        ("system/Media.rs system/Task.r", "Media/x/$cancel", NOTHING),
        ("system/Patient.r", "Patient/$validate", example("patient")),
        ("system/Patient.cr", "Patient/x/$validate", example("patient", id="x")),
        ("system/Patient.cu", "Patient/x/$validate", NOTHING),
    ],
)
def test_an_operation_takes_its_right(new_ehr, ehr, scope, path, body):
    ehr.put("Encounter/x", example("encounter-ambulatory", id="x"))
    answer = new_ehr(scope).post(path, body)
    assert (answer.status, answer.issue["code"]) == (403, "forbidden")


def test_an_operation_reads_its_body_like_any_other(ehr):
    id_ = ehr.encounter()
    path = f"Encounter/{id_}/$everything"

    assert ehr.post(path, b"").status == 200
    assert ehr.post(path, b"<x/>", Content_Type="application/fhir+xml").status == 415
    assert ehr.post(path, b"{", Content_Type="application/fhir+json").status == 400
    assert ehr.post(path, b" " * 5 * 2**20 + b"{}", Content_Type="application/fhir+json").status == 413
    assert ehr.get(path, Accept="application/fhir+xml").status == 406


# --- $everything ------------------------------------------------------------------------


def patient_with_visits(ehr, count: int) -> tuple[str, list[str]]:
    practitioner = ehr.create(example("practitioner"))
    patient = ehr.create(example("patient", generalPractitioner=[{"reference": f"Practitioner/{practitioner}"}]))
    people = [{"individual": {"reference": f"Practitioner/{practitioner}"}}]
    visits = [ehr.encounter(subject={"reference": f"Patient/{patient}"}, participant=people) for _ in range(count)]
    return patient, visits


def pages(ehr, path: str) -> list[dict]:
    found = [ehr.get(path).json]
    while following := [link["url"] for link in found[-1]["link"] if link["relation"] == "next"]:
        found.append(ehr.get(following[0].partition("/fhir/")[2]).json)
    return found


def matches(page: dict) -> list[str]:
    entries = page.get("entry", [])
    return [one["fullUrl"].partition("/fhir/")[2] for one in entries if one["search"]["mode"] == "match"]


def test_everything_of_a_patient_comes_page_by_page_with_what_it_refers_to(ehr):
    patient, visits = patient_with_visits(ehr, 3)
    patient_with_visits(ehr, 1)

    found = pages(ehr, f"Patient/{patient}/$everything?_count=2")

    places = [place for page in found for place in matches(page)]
    assert len(places) == len(set(places)) == found[0]["total"] == found[-1]["total"]
    assert places[0] == f"Patient/{patient}"
    assert {f"Encounter/{visit}" for visit in visits} < set(places)
    assert [place.partition("/")[0] for place in places].count("Task") == 3
    assert len(found) == 3
    for page in found:
        assert any(one["fullUrl"].split("/")[-2] == "Practitioner" for one in page["entry"])


def test_a_page_of_everything_is_of_one_moment_and_leads_back(ehr):
    patient, _ = patient_with_visits(ehr, 2)
    first = ehr.get(f"Patient/{patient}/$everything?_count=2").json
    ehr.encounter(subject={"reference": f"Patient/{patient}"})

    second = ehr.get(first["link"][1]["url"].partition("/fhir/")[2]).json
    back = {link["relation"]: link["url"] for link in second["link"]}["previous"]

    assert second["total"] == first["total"] == len(matches(first)) + len(matches(second))
    assert matches(ehr.get(back.partition("/fhir/")[2]).json) == matches(first)


def test_everything_is_narrowed_by_type_and_time(ehr):
    patient, [visit] = patient_with_visits(ehr, 1)
    before = ehr.get(f"Encounter/{visit}").json["meta"]["lastUpdated"]
    later = ehr.encounter(subject={"reference": f"Patient/{patient}"})

    changed = ehr.get(f"Patient/{patient}/$everything?_since={before}&_type=Encounter").json
    tasks = ehr.get(f"Encounter/{visit}/$everything?_type=Task,Media").found

    assert matches(changed) == [f"Encounter/{later}"]
    assert changed["link"][0]["url"].endswith("_type=Encounter")
    assert [one["resourceType"] for one in tasks] == ["Task"]
    assert ehr.get(f"Encounter/{visit}/$everything?_type=Binary").json["total"] == 0


@pytest.mark.parametrize("of", ["Encounter", "Patient"])
def test_everything_brings_the_devices_and_people_that_results_refer_to_as_far_as_the_token_may_see(ehr, new_ehr, of):
    patient, [visit] = patient_with_visits(ehr, 1)
    device = ehr.create({"resourceType": "Device", "status": "active"})
    house = ehr.create(example("organization"))
    ehr.create(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": f"Patient/{patient}"},
            "encounter": {"reference": f"Encounter/{visit}"},
            "device": {"reference": f"Device/{device}"},
            "performer": [{"reference": f"Organization/{house}"}],
        }
    )
    path = f"{of}/{patient if of == 'Patient' else visit}/$everything"

    def beside(by):
        entries = by.get(path).json["entry"]
        return {one["fullUrl"].partition("/fhir/")[2] for one in entries if one["search"]["mode"] == "include"}

    assert {f"Device/{device}", f"Organization/{house}"} < beside(ehr)
    assert any(place.startswith("Practitioner/") for place in beside(ehr))
    narrow = new_ehr("system/Encounter.r system/Patient.r system/Observation.r system/Device.r")
    assert beside(narrow) - {f"Patient/{patient}"} == {f"Device/{device}"}


def test_everything_of_an_encounter_is_paged_when_asked_to_be(ehr):
    visit = ehr.encounter()
    ehr.create(media(visit))

    found = pages(ehr, f"Encounter/{visit}/$everything?_count=1")

    assert [len(matches(page)) for page in found] == [2, 1, 1]


def test_everything_holds_what_the_token_may_see(ehr, new_ehr):
    patient, visits = patient_with_visits(ehr, 1)

    found = new_ehr("system/Patient.r system/Encounter.r").get(f"Patient/{patient}/$everything").json

    assert [one["fullUrl"].partition("/fhir/")[2] for one in found["entry"]] == [
        f"Patient/{patient}",
        f"Encounter/{visits[0]}",
    ]


# --- $validate --------------------------------------------------------------------------


def outcome(answer) -> list[tuple[str, str, str | None]]:
    assert answer.status == 200, answer.raw
    assert answer.json["resourceType"] == "OperationOutcome"
    return [(one["severity"], one["code"], one.get("expression", [None])[0]) for one in answer.json["issue"]]


WELL = [("information", "informational", None)]


def asked(resource=None, **values):
    parts = [{"name": name, "valueCode": value} for name, value in values.items()]
    parts += [{"name": "resource", "resource": resource}] if resource else []
    return {"resourceType": "Parameters", "parameter": parts} if parts else {"resourceType": "Parameters"}


def test_a_valid_resource_is_found_to_be_so_and_is_not_stored(ehr):
    assert outcome(ehr.post("Patient/$validate", example("patient"))) == WELL
    assert outcome(ehr.post("Patient/$validate", asked(example("patient"), mode="create"))) == WELL
    assert outcome(ehr.post("Media/$validate", media("nobody"))) == WELL
    assert ehr.get("Patient").json["total"] == 0


def test_all_that_is_wrong_is_told_with_its_element(ehr):
    wrong = example("patient", gender="x", birthDate="yesterday")

    found = outcome(ehr.post("Patient/$validate", asked(wrong)))

    assert set(found) == {
        ("error", "code-invalid", "Patient.gender"),
        ("error", "value", "Patient.birthDate"),
    }


def test_what_a_rule_of_the_bridge_would_refuse_is_told(ehr):
    group = example("encounter-ambulatory", subject={"reference": "Group/1"})

    [(severity, code, at)] = outcome(ehr.post("Encounter/$validate", group))

    assert (severity, code, at.partition(".")[0]) == ("error", "not-supported", "Encounter")


def test_what_corti_will_not_hear_of_is_a_warning(ehr):
    unknown = example("encounter-ambulatory", **{"class": {"system": "urn:x", "code": "new"}})
    assert ("warning") in {severity for severity, _, _ in outcome(ehr.post("Encounter/$validate", unknown))}


def test_a_resource_of_another_type_is_no_such_resource(ehr):
    [(_, code, at)] = outcome(ehr.post("Patient/$validate", asked(example("organization"))))
    assert (code, at) == ("structure", "resourceType")


def test_an_update_is_judged_against_what_is_there(ehr):
    ehr.put("Patient/p", example("patient", id="p"))
    task = ehr.get(f"Task?focus=Encounter/{ehr.encounter()}").found[0]

    assert outcome(ehr.post("Patient/p/$validate", example("patient", id="p"))) == WELL
    assert outcome(ehr.post("Patient/new/$validate", asked(example("patient", id="new"), mode="update"))) == WELL
    assert outcome(ehr.post("Patient/p/$validate", example("patient", id="q"))) == [("error", "value", "Patient.id")]
    refused = outcome(ehr.post(f"Task/{task['id']}/$validate", task | {"status": "completed"}))
    assert refused == [("error", "business-rule", "Task.status")]


def test_what_is_stored_is_judged_where_it_is(ehr):
    ehr.put("Patient/p", example("patient", id="p"))

    assert outcome(ehr.post("Patient/p/$validate", b"")) == WELL
    assert outcome(ehr.post("Patient/p/$validate", asked(mode="profile"))) == WELL
    assert outcome(ehr.post("Patient/p/$validate?mode=delete", b"")) == WELL
    assert ehr.get("Patient/p").status == 200


def test_a_deletion_that_would_be_refused_is_told(ehr, bridge):
    recording = ehr.create(media(ehr.encounter()))
    assert outcome(ehr.post(f"Media/{recording}/$validate", asked(mode="delete"))) == WELL
    stands(bridge, recording, State.STREAMING, owner="a worker")

    assert outcome(ehr.post(f"Media/{recording}/$validate", asked(mode="delete"))) == [("error", "conflict", None)]


def test_what_is_not_there_cannot_be_judged(ehr):
    ehr.put("Patient/p", example("patient", id="p"))
    ehr.call("DELETE", "Patient/p")

    assert ehr.post("Patient/x/$validate", b"").status == 404
    assert ehr.post("Patient/x/$validate", asked(mode="delete")).status == 404
    assert ehr.post("Patient/p/$validate", asked(mode="delete")).status == 410


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("Patient/$validate", asked()),
        ("Patient/$validate", asked(example("patient"), mode="update")),
        ("Patient/x/$validate", asked(example("patient", id="x"), mode="profile")),
        ("Patient/x/$validate", asked(mode="update")),
        ("Patient/$validate", asked(example("patient"), profile="http://example.org/mine")),
    ],
)
def test_a_validation_that_makes_no_sense_is_refused(ehr, path, body):
    assert ehr.post(path, body).status == 400


def test_what_is_never_written_here_is_not_judged_as_if_it_were(ehr):
    answer = ehr.post("AuditEvent/$validate", example("auditevent"))
    assert (answer.status, answer.issue["code"]) == (400, "not-supported")


def test_the_profile_of_fhir_itself_is_known(ehr):
    of = "http://hl7.org/fhir/StructureDefinition/Patient"
    assert outcome(ehr.post(f"Patient/$validate?profile={of}", example("patient"))) == WELL


def test_a_scope_that_does_not_reach_the_content_is_a_refusal(new_ehr):
    limited = new_ehr("system/Encounter.c?status=finished")
    assert limited.post("Encounter/$validate", example("encounter-ambulatory")).status == 403


# --- $retry and $cancel -----------------------------------------------------------------


def test_a_failed_recording_is_tried_again_after_its_interaction(ehr, bridge):
    encounter = ehr.encounter()
    recording = ehr.create(media(encounter))
    stands(bridge, recording, State.FAILED, acked_ms=200)
    interaction = bridge.store.read(lambda conn: jobs.of_encounter(conn, "default", encounter))[0]
    values = {"state": State.FAILED}
    change = update(tables.job).where(tables.job.c.id == interaction.id).values(values)
    bridge.store.write(lambda conn: conn.execute(change))

    answer = ehr.post(f"Media/{recording}/$retry", b"")

    assert (answer.status, answer.json["resourceType"], answer.json["status"]) == (200, "Task", "accepted")
    assert answer.json["focus"] == {"reference": f"Media/{recording}"}
    assert ehr.get(f"Media/{recording}").json["status"] == "in-progress"
    states = [job.state for job in bridge.store.read(lambda conn: jobs.of_encounter(conn, "default", encounter))]
    assert states == [State.QUEUED, State.STORED]
    assert job_of(bridge, recording).acked_ms == 200
    assert ehr.get(f"Task?focus=Encounter/{encounter}").found[0]["status"] == "accepted"


def test_a_complete_recording_is_heard_again_from_the_first_word(ehr, bridge):
    recording = ehr.create(media(ehr.encounter()))
    stands(bridge, recording, State.PUBLISHED, acked_ms=500)

    assert ehr.post(f"Media/{recording}/$retry", NOTHING).status == 200

    assert job_of(bridge, recording).acked_ms == 0


def test_a_running_recording_is_not_begun_again(ehr, bridge):
    recording = ehr.create(media(ehr.encounter()))
    stands(bridge, recording, State.STREAMING, owner="a worker")

    answer = ehr.post(f"Media/{recording}/$retry", b"")

    assert (answer.status, answer.issue["code"]) == (422, "business-rule")


def test_what_is_gone_cannot_be_heard_again(ehr, bridge):
    encounter = ehr.encounter()
    first, second, third = (ehr.post("Media", media(encounter, wav(0.2, pitch=n))).json for n in (5.0, 6.0, 7.0))
    for one in (first, second, third):
        stands(bridge, one["id"], State.FAILED)
    binary = first["content"]["url"].removeprefix("Binary/")
    bridge.store.write(lambda conn: binaries.forget(conn, "default", binary))
    ehr.call("DELETE", f"Media/{second['id']}")
    visit = ehr.get(f"Encounter/{encounter}").json
    ehr.put(f"Encounter/{encounter}", visit | {"status": "cancelled"})

    answers = [ehr.post(f"Media/{one['id']}/$retry", b"") for one in (first, second, third)]

    assert [answer.status for answer in answers] == [422, 410, 422]
    assert answers[0].issue["expression"] == ["Media.content.url"]
    assert answers[2].issue["expression"] == ["Media.encounter"]


def test_a_recording_entered_in_error_is_not_heard_again(ehr, bridge):
    encounter = ehr.encounter()
    recording = ehr.create(media(encounter))
    stands(bridge, recording, State.FAILED)
    visit = ehr.get(f"Encounter/{encounter}").json
    ehr.put(f"Encounter/{encounter}", visit | {"status": "entered-in-error"})

    answer = ehr.post(f"Media/{recording}/$retry", b"")

    assert (answer.status, answer.issue["expression"]) == (422, ["Media.status"])


def test_a_media_that_was_never_transcribed_has_nothing_to_retry(ehr, bridge):
    recording = ehr.create(media(ehr.encounter()))
    mine = tables.job.c.media == recording
    bridge.store.write(lambda conn: conn.execute(tables.job.delete().where(mine)))

    assert ehr.post(f"Media/{recording}/$retry", b"").status == 422


def test_a_recording_that_waits_is_cancelled_at_once_and_may_be_tried_again(ehr):
    recording = ehr.create(media(ehr.encounter()))

    answer, again = ehr.post(f"Media/{recording}/$cancel", b""), ehr.post(f"Media/{recording}/$cancel", b"")

    assert [(one.status, one.json["status"]) for one in (answer, again)] == [(200, "cancelled")] * 2
    assert ehr.get(f"Media/{recording}").json["status"] == "stopped"
    assert ehr.post(f"Media/{recording}/$retry", b"").json["status"] == "accepted"


def test_a_recording_that_a_worker_has_is_cancelled_at_the_workers_next_step(ehr, bridge):
    recording = ehr.create(media(ehr.encounter()))
    stands(bridge, recording, State.STREAMING, owner="a worker")

    answer = ehr.post(f"Media/{recording}/$cancel", b"")

    assert answer.status == 200
    assert job_of(bridge, recording).cancel


def test_what_has_ended_is_not_cancelled(ehr, bridge):
    recording = ehr.create(media(ehr.encounter()))
    stands(bridge, recording, State.PUBLISHED)
    assert ehr.post(f"Media/{recording}/$cancel", b"").status == 422


def test_a_task_no_longer_shows_how_it_ended_once_it_is_tried_again(ehr):
    recording = ehr.create(media(ehr.encounter()))
    ehr.post(f"Media/{recording}/$cancel", b"")

    task = ehr.post(f"Media/{recording}/$retry", b"").json

    assert not {"contained", "output", "statusReason"} & set(task)
    assert re.fullmatch(r"durable.*", task["businessStatus"]["text"])
    assert json.dumps(task).count("cancelled") == 0


class Meanwhile(clock.Clock):
    """A clock at whose first looks something else happens; not while the database is being written."""

    def __init__(self, happening, times: int) -> None:
        self.happening = happening
        self.left = times

    def now(self):
        if self.left and threading.current_thread() is threading.main_thread():
            self.left, left = 0, self.left
            self.happening()
            self.left = left - 1
        return super().now()


def test_a_media_that_is_amended_at_the_same_moment_loses_nothing(ehr, bridge):
    recording = ehr.create(media(ehr.encounter()))
    stands(bridge, recording, State.FAILED)
    before = ehr.get(f"Media/{recording}").json
    amended = new_version(before | {"deviceName": "desk microphone"}, method="PUT", base=bridge.base)

    def amend() -> None:
        bridge.store.write(lambda conn: resources.put(conn, "default", [amended]))

    with clock.use(Meanwhile(amend, 4)):
        answer = ehr.post(f"Media/{recording}/$retry", b"")

    after = ehr.get(f"Media/{recording}").json
    assert (answer.status, after["status"], after["deviceName"]) == (200, "in-progress", "desk microphone")
