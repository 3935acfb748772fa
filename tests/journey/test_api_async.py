"""Answers that are fetched later (Prefer: respond-async), by whoever asked and by nobody else."""

import json
import time
from datetime import timedelta

from conftest import example, media, wav
from sqlalchemy import update
from test_api_operations import job_of, stands

from fhir_bridge import clock
from fhir_bridge.app import create_app
from fhir_bridge.errors import Issue
from fhir_bridge.mapping.task import JobView, task_from_job
from fhir_bridge.store import resources, tables
from fhir_bridge.store.states import State
from fhir_bridge.verbs.record import new_version
from fhir_bridge.verbs.retention import Keeper
from fhir_bridge.worker.errands import Errands
from fhir_bridge.worker.rooms import Rooms

LATER = {"Prefer": "respond-async"}
HERE = "http://127.0.0.1:8080/fhir/"


def place_of(answer) -> str:
    assert answer.status == 202, answer.raw
    assert not answer.raw
    assert answer.headers["Preference-Applied"] == "respond-async"
    assert answer.headers["Content-Location"].startswith(f"{HERE}_async/")
    return answer.headers["Content-Location"].removeprefix(HERE)


def done(ehr, place: str) -> dict:
    """The one entry of the answer."""
    answer = ehr.get(place)
    assert answer.status == 200, answer.raw
    assert answer.headers["Content-Type"].startswith("application/fhir+json")
    assert answer.json["type"] == "batch-response"
    [entry] = answer.json["entry"]
    return entry


def end(bridge, recording: str, state: State, *issues: Issue) -> None:
    """Let the job of a Media end, as its worker would."""
    job = job_of(bridge, recording)
    now = clock.instant()
    view = JobView(job.task, state, job.encounter, now, now, recording, issues=issues)
    shown = new_version(task_from_job(view), method="PUT", base=bridge.base)
    bridge.store.write(lambda conn: resources.put(conn, "default", [shown]))
    stands(bridge, recording, state, owner=None)


# --- recordings -------------------------------------------------------------------------


def test_a_recording_is_done_when_its_task_is(ehr, bridge):
    place = place_of(ehr.post("Media", media(ehr.encounter()), **LATER))
    [recording] = ehr.get("Media").ids
    running = ehr.get(place)
    end(bridge, recording, State.PUBLISHED)

    entry = done(ehr, place)

    assert running.status == 202
    assert running.headers["X-Progress"] == "durable, waits for an earlier job of its encounter"
    assert running.headers["Retry-After"] == "1"
    assert entry["response"]["status"] == "201 Created"
    assert entry["response"]["location"] == f"Media/{recording}/_history/1"
    assert entry["resource"]["id"] == recording
    assert "outcome" not in entry["response"]


def test_what_is_told_of_a_recording_is_of_the_version_that_is_shown(ehr, bridge):
    place = place_of(ehr.post("Media", media(ehr.encounter()), **LATER))
    [recording] = ehr.get("Media").ids
    now = ehr.get(f"Media/{recording}").json
    changed = new_version(now | {"status": "completed"}, method="PUT", base=bridge.base)
    bridge.store.write(lambda conn: resources.put(conn, "default", [changed]))
    end(bridge, recording, State.PUBLISHED)

    entry = done(ehr, place)

    meta = entry["resource"]["meta"]
    assert meta["versionId"] == "2"
    assert entry["response"]["location"] == f"Media/{recording}/_history/2"
    assert entry["response"]["etag"] == 'W/"2"'
    assert entry["response"]["lastModified"] == meta["lastUpdated"]


def test_what_the_task_says_of_a_failure_is_told_and_the_poll_is_no_failure(ehr, bridge):
    place = place_of(ehr.post("Media", media(ehr.encounter()), Prefer="return=minimal, respond-async"))
    [recording] = ehr.get("Media").ids
    end(bridge, recording, State.FAILED, Issue("timeout", "Corti did not answer"))

    entry = done(ehr, place)

    assert entry["response"]["status"].startswith("422 ")
    [issue] = entry["response"]["outcome"]["issue"]
    assert (issue["severity"], issue["code"]) == ("error", "timeout")
    assert "Corti did not answer" in issue["details"]["text"]
    assert "resource" not in entry


def test_a_warning_of_the_task_is_told_as_one(ehr, bridge):
    place = place_of(ehr.post("Media", media(ehr.encounter()), Prefer="respond-async, return=OperationOutcome"))
    [recording] = ehr.get("Media").ids
    end(bridge, recording, State.PUBLISHED, Issue("incomplete", "Cut short", severity="warning"))

    entry = done(ehr, place)

    assert entry["response"]["status"] == "201 Created"
    assert entry["response"]["outcome"]["issue"][0]["severity"] == "warning"
    assert entry["resource"]["resourceType"] == "OperationOutcome"


def test_a_recording_that_was_cancelled_meanwhile_did_not_come_to_its_end(ehr):
    place = place_of(ehr.post("Media", media(ehr.encounter()), **LATER))
    [recording] = ehr.get("Media").ids
    ehr.post(f"Media/{recording}/$cancel", b"")
    ehr.call("DELETE", f"Media/{recording}")

    entry = done(ehr, place)

    assert entry["response"]["status"].startswith("422 ")
    assert entry["response"]["outcome"]["issue"][0]["code"] == "business-rule"
    assert "resource" not in entry


def test_a_recording_sent_again_is_awaited_as_well(ehr, bridge):
    sent = media(ehr.encounter())
    recording = ehr.create(sent)
    place = place_of(ehr.post("Media", sent, **LATER))
    end(bridge, recording, State.PUBLISHED)
    assert done(ehr, place)["response"]["status"] == "200 OK"


def test_a_refusal_is_told_at_once(ehr):
    answer = ehr.post("Media", media("nobody"), **LATER)
    assert (answer.status, answer.issue["code"]) == (422, "not-found")


def test_what_needs_no_waiting_is_answered_at_once(ehr):
    answer = ehr.post("Patient", example("patient"), **LATER)
    assert (answer.status, answer.json["resourceType"]) == (201, "Patient")
    assert "Preference-Applied" not in answer.headers


URN = "urn:uuid:11111111-1111-4111-8111-111111111111"


def test_a_transaction_is_done_when_the_tasks_of_its_recordings_are(ehr, bridge):
    visit = example("encounter-ambulatory")
    entries = [{"fullUrl": URN, "resource": visit, "request": {"method": "POST", "url": "Encounter"}}]
    for pitch in (5.0, 6.0):
        sound = media("x", wav(0.2, pitch=pitch), encounter={"reference": URN})
        entries.append({"resource": sound, "request": {"method": "POST", "url": "Media"}})
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}

    place = place_of(ehr.post("", bundle, **LATER))
    first, second = ehr.get("Media").ids
    end(bridge, first, State.FAILED, Issue("exception", "No luck"))
    half = ehr.get(place)
    end(bridge, second, State.PUBLISHED)
    entry = done(ehr, place)

    assert half.status == 202
    assert entry["response"]["status"] == "200 OK"
    assert entry["resource"]["type"] == "transaction-response"
    assert [issue["details"]["text"] for issue in entry["response"]["outcome"]["issue"]] == [f"Media/{first}: No luck"]


def test_a_transaction_without_recordings_is_answered_at_once(ehr):
    entry = {"resource": example("patient"), "request": {"method": "POST", "url": "Patient"}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert ehr.post("", bundle, **LATER).json["type"] == "transaction-response"


def test_a_retry_is_done_when_the_recording_is(ehr, bridge):
    recording = ehr.create(media(ehr.encounter()))
    end(bridge, recording, State.FAILED, Issue("exception", "No luck"))
    place = place_of(ehr.post(f"Media/{recording}/$retry", b"", **LATER))
    running = ehr.get(place)
    end(bridge, recording, State.PUBLISHED)

    entry = done(ehr, place)

    assert running.status == 202
    assert (entry["response"]["status"], entry["resource"]["status"]) == ("200 OK", "completed")


def test_a_cancellation_is_done_when_the_worker_has_let_go(ehr, bridge):
    recording = ehr.create(media(ehr.encounter()))
    stands(bridge, recording, State.STREAMING, owner="a worker")
    place = place_of(ehr.post(f"Media/{recording}/$cancel", b"", **LATER))
    running = ehr.get(place)
    end(bridge, recording, State.CANCELLED)

    assert running.headers["X-Progress"] == "audio is on its way to Corti"
    assert done(ehr, place)["response"]["status"] == "200 OK"


# --- what a worker runs -----------------------------------------------------------------


def test_a_search_is_run_by_a_worker(ehr, errands):
    id_ = ehr.encounter()
    place = place_of(ehr.get("Encounter?status=in-progress&_format=json", **LATER))
    waiting = ehr.get(place)
    errands.round()

    entry = done(ehr, place)

    assert (waiting.status, waiting.headers["X-Progress"]) == (202, "waits for a worker")
    assert entry["response"]["status"] == "200 OK"
    assert [one["resource"]["id"] for one in entry["resource"]["entry"]] == [id_]
    assert entry["resource"]["link"][0]["url"] == f"{HERE}Encounter?status=in-progress&_format=json"


def test_searches_by_post_of_compartments_and_of_all_types_are_run_too(ehr, errands):
    patient = ehr.create(example("patient"))
    ehr.encounter(subject={"reference": f"Patient/{patient}"})
    form = {"Content_Type": "application/x-www-form-urlencoded"} | LATER
    places = [
        place_of(ehr.post("Encounter/_search", b"status=in-progress", **form)),
        place_of(ehr.get(f"Patient/{patient}/Encounter", **LATER)),
        place_of(ehr.get("?_type=Encounter,Patient", **LATER)),
    ]
    errands.round()
    assert [done(ehr, place)["resource"]["total"] for place in places] == [1, 1, 2]


def test_a_refusal_of_what_a_worker_runs_is_its_answer(ehr, errands):
    place = place_of(ehr.get("Encounter?colour=blue", Prefer="respond-async, handling=strict"))
    errands.round()

    entry = done(ehr, place)

    assert entry["response"]["status"] == "400 Bad Request"
    assert entry["response"]["outcome"]["issue"][0]["code"] == "not-supported"


def test_operations_are_run_by_a_worker(ehr, errands):
    visit = ehr.encounter()
    places = [
        place_of(ehr.get(f"Encounter/{visit}/$everything?_type=Task", **LATER)),
        place_of(ehr.post("Encounter/$explain", example("encounter-ambulatory"), **LATER)),
        place_of(ehr.get(f"Encounter/{visit}/$document", **LATER)),
        place_of(ehr.get("Encounter/nobody/$document", **LATER)),
    ]
    errands.round()

    kinds = [done(ehr, place) for place in places]

    assert [one["response"]["status"][:3] for one in kinds] == ["200", "200", "200", "404"]
    assert [one["resource"]["resourceType"] for one in kinds[:3]] == ["Bundle", "Parameters", "Bundle"]


def test_a_worker_sees_no_more_than_the_caller(new_ehr, ehr, errands):
    ehr.encounter()
    limited = new_ehr("system/Encounter.rs?status=finished")
    place = place_of(limited.get("Encounter", **LATER))
    errands.round()
    assert done(limited, place)["resource"]["total"] == 0


# --- whose it is, and for how long ------------------------------------------------------


def test_a_status_is_for_the_client_who_asked(ehr, new_ehr, other_ehr, errands):
    place = place_of(ehr.get("Encounter", **LATER))
    errands.round()

    for stranger in (new_ehr(), other_ehr):
        assert stranger.get(place).status == 404
        assert stranger.call("DELETE", place).status == 404
    assert ehr.get(place, Authorization="").status == 401
    assert done(ehr, place)


def test_whoever_polls_too_fast_is_told_to_wait(ehr):
    place = place_of(ehr.get("Encounter", **LATER))

    answers = [ehr.get(place) for _ in range(2)]

    assert [answer.status for answer in answers] == [202, 429]
    assert (answers[1].issue["code"], answers[1].headers["Retry-After"]) == ("throttled", "1")


def test_who_has_waited_for_long_is_asked_to_come_less_often(ehr):
    place = place_of(ehr.get("Encounter", **LATER))
    with clock.use(After(seconds=60)):
        assert ehr.get(place).headers["Retry-After"] == "5"


def test_a_request_that_is_dropped_is_gone_and_never_run(ehr, errands):
    place = place_of(ehr.get("Encounter", **LATER))

    dropped = ehr.call("DELETE", place)
    errands.round()

    assert (dropped.status, dropped.raw) == (202, b"")
    assert [ehr.get(place).status, ehr.call("DELETE", place).status] == [404, 404]


def test_dropping_a_recording_that_is_under_way_cancels_it(ehr, bridge):
    place = place_of(ehr.post("Media", media(ehr.encounter()), **LATER))
    [recording] = ehr.get("Media").ids

    ehr.call("DELETE", place)

    assert ehr.get(f"Media/{recording}").json["status"] == "stopped"
    assert job_of(bridge, recording).state == State.CANCELLED


def test_dropping_what_has_ended_or_may_not_be_cancelled_changes_nothing(ehr, new_ehr, bridge):
    encounter = ehr.encounter()
    place = place_of(ehr.post("Media", media(encounter), **LATER))
    [recording] = ehr.get("Media").ids
    end(bridge, recording, State.PUBLISHED)
    limited = new_ehr("system/Media.c system/Encounter.r")
    second = place_of(limited.post("Media", media(encounter, wav(0.2)), **LATER))

    assert [ehr.call("DELETE", place).status, limited.call("DELETE", second).status] == [202, 202]

    assert job_of(bridge, recording).state == State.PUBLISHED
    assert [task["status"] for task in ehr.get("Task?code=fulfill").found].count("cancelled") == 0


class After(clock.Clock):
    def __init__(self, **span: float) -> None:
        self.span = timedelta(**span)

    def now(self):
        return super().now() + self.span


def test_an_answer_is_kept_for_an_hour(ehr, bridge, errands, web_settings):
    place = place_of(ehr.get("Encounter", **LATER))
    errands.round()
    assert "Expires" in ehr.get(place).headers

    with clock.use(After(minutes=61)):
        ehr._token = ""
        late = ehr.get(place)
        assert Keeper(web_settings, bridge.store, bridge.blobs, bridge.keyring).apply().strays == 1

    assert late.status == 404
    assert bridge.store.read(lambda conn: conn.execute(tables.asynchronous.select()).all()) == []


def test_any_process_answers(ehr, web_settings, errands):
    place = place_of(ehr.get("Encounter", **LATER))
    errands.round()
    other = create_app(web_settings)
    ehr.http = other.test_client()

    assert done(ehr, place)
    other.extensions["fhir-bridge"].store.close()


# --- workers that die, stop or fail -----------------------------------------------------


def row(bridge):
    return bridge.store.read(lambda conn: conn.execute(tables.asynchronous.select()).one())


def left(bridge, **values) -> None:
    """Leave the one request as a worker may have left it."""
    bridge.store.write(lambda conn: conn.execute(update(tables.asynchronous).values(**values)))


def test_what_a_dead_worker_left_is_run_by_another(ehr, bridge, errands):
    place = place_of(ehr.get("Encounter", **LATER))
    left(bridge, state="running", owner="dead", epoch=1, lease_ms=int(time.time() * 1000) + 5000)
    errands.round()
    assert ehr.get(place).status == 202

    left(bridge, lease_ms=int(time.time() * 1000) - 1)
    errands.round()

    assert done(ehr, place)["response"]["status"] == "200 OK"


def test_what_ends_a_worker_each_time_is_answered_with_a_fault(ehr, bridge, errands):
    place = place_of(ehr.get("Encounter", **LATER))
    left(bridge, state="running", owner="dead", epoch=3, lease_ms=0)
    errands.round()

    entry = done(ehr, place)

    assert entry["response"]["status"].startswith("500 ")
    assert entry["response"]["outcome"]["issue"][0]["code"] == "exception"


def test_a_worker_that_stops_begins_nothing(ehr, bridge, web_settings):
    place_of(ehr.get("Encounter", **LATER))
    rooms = Rooms.open(web_settings, boot="boot-2")
    Errands(rooms, stopping=lambda: True).round()
    assert row(bridge).state == "queued"
    rooms.close()


def test_progress_and_answers_are_json_that_names_nobody(ehr, bridge):
    place_of(ehr.post("Encounter/$explain", example("encounter-ambulatory"), **LATER))
    kept = json.loads(row(bridge).asked)
    assert set(kept) == {"grant", "origin", "path", "pairs", "operation", "resource"}
    assert "Bearer" not in row(bridge).asked
