"""A visit or a patient is erased: no word of them is left anywhere, and who asks is told that they are gone."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
from conftest import example, media, wav
from sqlalchemy import select, text
from test_stopped_streams import rooms, until, working

from fhir_bridge.errors import CortiForbidden, NotFound
from fhir_bridge.sandbox.faults import Fault
from fhir_bridge.sandbox.script import Line, Script, ScriptEngine, Told
from fhir_bridge.sandbox.server import Sandbox
from fhir_bridge.store import compact, erasure, jobs, tables
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.store.states import State
from fhir_bridge.verbs.erase import ERASE, Eraser
from fhir_bridge.worker.erase import carry_on, drive
from fhir_bridge.worker.sealing import seal

__all__ = ["rooms"]  # a fixture

ASKED = AuditRow("default", "r", ERASE, 200, client="test")
WORD = "Zyxwvuts"  # planted wherever a patient's words can be
SCRIPT = Script(
    utterances=[Line(start=at, end=at + 0.9, text=f"sentence {WORD} {at}") for at in range(80)],
    facts=[Told(at=at, group="plan", text=f"plan {WORD} {at}") for at in range(1, 80, 2)],
)


@pytest.fixture
def corti():
    with Sandbox(ScriptEngine(SCRIPT), ("127.0.0.1", 0), ("client", "secret")) as running:
        yield running


@pytest.fixture
def web_settings(settings, corti):
    account = {"corti_api_url": corti.url, "corti_auth_url": corti.url, "corti_client_id": "client"}
    account |= {"corti_client_secret": "secret", "stream_pace": 50.0, "public_url": "http://127.0.0.1:8080"}
    account |= {"lease_seconds": 60.0}  # not renewed during the test: what stops a run is its own next write
    return type(settings).model_validate(settings.model_dump() | account)


@pytest.fixture
def eraser(bridge, web_settings):
    soon = web_settings.model_copy(update={"lease_seconds": 0.2, "corti_timeout_seconds": 0.4})
    return Eraser(soon, bridge.store, bridge.blobs, bridge.keyring)


@pytest.fixture(autouse=True)
def _sealed(bridge, proved):  # noqa: ARG001 - sealed first, proved afterwards
    yield
    seal(bridge.store, bridge.keyring)


@pytest.fixture
def patient(ehr):
    named = [{"family": WORD, "given": [f"{WORD}a"]}]
    return ehr.create(example("patient", name=named, identifier=[{"system": "urn:mrn", "value": f"{WORD}-7"}]))


@pytest.fixture
def heard(ehr, rooms, patient):
    """A visit with a recording that was heard, and with all else an EHR says of one."""
    subject = {"reference": f"Patient/{patient}", "display": f"Ada {WORD}"}
    number = [{"system": "urn:visit", "value": f"V-{WORD}"}]
    made = ehr.post(
        "Encounter",
        example("encounter-ambulatory", subject=subject, identifier=number),
        Idempotency_Key="once",
        If_None_Exist=f"identifier=urn:visit|V-{WORD}",
    )
    visit = made.json["id"]
    place = {"reference": f"Encounter/{visit}"}
    recording = ehr.create(media(visit, wav(6), subject=subject, note=[{"text": f"of {WORD}"}]))
    ehr.create(example("observation-blood-pressure", encounter=place, subject=subject, note=[{"text": WORD}]))
    with working(rooms):
        pass
    ehr.get(f"Patient?name={WORD}")
    ehr.get(f"Encounter?identifier=V-{WORD.upper()}")
    ehr.get(f"Observation?encounter=Encounter/{visit}")
    ehr.post(f"Patient?name={WORD}", example("patient"))
    ehr.get(f"Encounter/{visit}", Prefer="respond-async")
    ehr.get(f"Observation?patient={patient}", Prefer="respond-async")
    assert ehr.get(f"Media/{recording}").json["status"] == "completed"
    return visit, recording


def finished(eraser, rooms, reference: str):
    done = eraser.begin("default", reference, by=ASKED)
    for _ in range(20):
        done = drive(eraser, rooms.accounts, done)
        if done.state == "erased":
            return done
        until(partial(_settled, done))
    return pytest.fail("it did not end")


def _settled(done) -> bool:
    return jobs.now_ms() >= done.settled_ms


def traces(bridge, word: str = WORD) -> list[str]:
    """Name every table and file in which a word can be found, be it in free space."""
    compact.compact(bridge.store.url)
    found = []
    for table in tables.metadata.sorted_tables:
        rows = bridge.store.read(lambda conn, table=table: conn.execute(select(table)).all())
        found += [table.name for row in rows if word.casefold() in str(tuple(row)).casefold()]
    for path in bridge.settings.data_dir.rglob("*"):
        if path.is_file() and word.encode() in path.read_bytes():
            found.append(path.name)
    if bridge.store.url.get_backend_name() == "postgresql":
        found += _in_heap(bridge, word)
    return found


def _in_heap(bridge, word: str) -> list[str]:
    """Look into the files of the database itself; its log is rewritten by the server alone."""
    url = bridge.store.url.set(drivername="postgresql", username="postgres")  # who may know where they are
    with psycopg.connect(url.render_as_string(hide_password=False)) as direct:
        folder = direct.execute("SHOW data_directory").fetchone()[0]
        number = direct.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()[0]
        base = Path(folder) / "base" / str(number)
        files = [path.name for path in base.iterdir() if word.encode() in path.read_bytes()]
        named = "SELECT pg_filenode_relation(0, %s)::regclass::text"
        return [direct.execute(named, (int(file.partition(".")[0]),)).fetchone()[0] or file for file in files]


def history(ehr, place: str) -> list[str]:
    return [entry["request"]["method"] for entry in ehr.get(f"{place}/_history").json.get("entry", [])]


# --- a visit ----------------------------------------------------------------------------------


def test_of_a_patient_that_is_erased_no_word_is_left(ehr, bridge, rooms, corti, eraser, patient, heard):
    seal(bridge.store, bridge.keyring)
    assert len(set(traces(bridge))) > 5
    assert corti.state.interactions

    done = finished(eraser, rooms, f"Patient/{patient}")

    visit, recording = heard
    assert traces(bridge) == []
    assert corti.state.interactions == {}
    for place in (f"Patient/{patient}", f"Encounter/{visit}", f"Media/{recording}"):
        assert ehr.get(place).status == 410
        assert ehr.get(f"{place}/_history/1").status == 410
        assert set(history(ehr, place)) <= {"DELETE"}
    assert ehr.get(f"Patient?name={WORD}").found == []
    assert not [path for path in (bridge.settings.data_dir / "audio").rglob("*") if path.is_file()]
    report = json.loads(done.report)
    assert report["resources"].items() >= {"Patient": 1, "Encounter": 1, "Media": 1, "Binary": 1}.items()
    assert report["counts"]["interactions_at_corti"] == 1
    assert report["counts"]["files"] == 1
    assert len(report["audio_sha256"]) == 1
    assert report["counts"]["audit_rows_with_pseudonyms"] > 5
    assert visit not in done.report
    assert patient not in str(done)


def test_of_a_visit_that_is_erased_the_patient_and_other_visits_stay(ehr, rooms, corti, eraser, patient, heard):
    other = ehr.encounter(subject={"reference": f"Patient/{patient}"})
    with working(rooms):
        pass

    finished(eraser, rooms, f"Encounter/{heard[0]}")

    assert ehr.get(f"Encounter/{heard[0]}").status == 410
    assert ehr.get(f"Patient/{patient}").status == 200
    assert ehr.get(f"Encounter/{other}").status == 200
    assert len(corti.state.interactions) == 1
    assert ehr.get(f"Observation?encounter=Encounter/{heard[0]}").found == []
    assert ehr.get(f"Task?encounter=Encounter/{heard[0]}").found == []


def test_the_audit_tells_of_an_erased_visit_under_a_pseudonym_alone(ehr, bridge, rooms, eraser, heard):
    seal(bridge.store, bridge.keyring)
    before = ehr.get("AuditEvent?_count=200").json["total"]

    finished(eraser, rooms, f"Encounter/{heard[0]}")

    found = ehr.get("AuditEvent?_count=200").json
    assert found["total"] == before + 2  # the erasure, and the search before
    assert heard[0] not in json.dumps([entry["resource"] for entry in found["entry"]])
    assert heard[1] not in json.dumps([entry["resource"] for entry in found["entry"]])
    assert "Encounter/erased-" in json.dumps(found)


def test_who_polls_hears_that_an_erased_visit_is_gone(ehr, rooms, eraser, heard):
    since = ehr.get(f"Encounter/{heard[0]}").json["meta"]["lastUpdated"]

    finished(eraser, rooms, f"Encounter/{heard[0]}")

    entries = ehr.get(f"_history?_since={since}&_count=200").json["entry"]
    gone = {entry["request"]["url"] for entry in entries if entry["request"]["method"] == "DELETE"}
    assert {f"Encounter/{heard[0]}", f"Media/{heard[1]}"} <= gone


def test_an_erased_visit_does_not_come_back_under_its_id_and_takes_no_recordings(ehr, rooms, eraser, heard):
    finished(eraser, rooms, f"Encounter/{heard[0]}")

    again = ehr.put(f"Encounter/{heard[0]}", example("encounter-ambulatory", id=heard[0]))

    assert (again.status, again.issue["code"]) == (422, "business-rule")
    assert ehr.post("Media", media(heard[0])).status == 422
    assert ehr.post(f"Media/{heard[1]}/$retry", b"").status == 410


def test_a_recording_that_two_visits_name_stays_with_the_other(ehr, rooms, eraser, heard):
    shared = ehr.get(f"Media/{heard[1]}").json["content"]["url"].partition("/fhir/")[2]
    other = ehr.encounter()
    shared = shared or ehr.get(f"Media/{heard[1]}").json["content"]["url"]
    second = {"resourceType": "Media", "status": "completed", "encounter": {"reference": f"Encounter/{other}"}}
    assert ehr.post("Media", second | {"content": {"contentType": "audio/wav", "url": shared}}).status == 201

    finished(eraser, rooms, f"Encounter/{heard[0]}")

    assert ehr.get(shared, Accept="audio/wav").status == 200


def test_erasing_again_gives_the_same_proof(rooms, eraser, heard):
    done = finished(eraser, rooms, f"Encounter/{heard[0]}")

    assert eraser.begin("default", f"Encounter/{heard[0]}", by=ASKED) == done


def test_what_was_never_there_cannot_be_erased(eraser):
    with pytest.raises(NotFound):
        eraser.begin("default", "Encounter/never", by=ASKED)
    with pytest.raises(NotFound):
        eraser.begin("nowhere", "Encounter/never", by=ASKED)


def test_a_stream_that_runs_is_stopped_and_writes_nothing_any_more(ehr, bridge, rooms, corti, eraser, web_settings):
    slow = replace(rooms, settings=web_settings.model_copy(update={"stream_pace": 4.0}))
    visit = ehr.encounter()
    recording = ehr.create(media(visit, wav(60)))
    with working(slow):
        until(lambda: ehr.get(f"Observation?encounter=Encounter/{visit}").found)
        done = finished(eraser, slow, f"Encounter/{visit}")

    assert done.state == "erased"
    job = bridge.store.read(lambda conn: jobs.of_media(conn, "default", recording))
    assert (job.state, job.owner) == (State.ERASED, None)
    assert ehr.get(f"Observation?encounter=Encounter/{visit}").found == []
    assert corti.state.interactions == {}
    assert traces(bridge) == []


# --- what goes wrong --------------------------------------------------------------------------


def test_while_corti_refuses_all_is_destroyed_here_and_corti_is_asked_until_it_has_forgotten(
    ehr, rooms, corti, eraser, heard
):
    corti.state.faults.append(Fault(method="DELETE", status=403, times=50))
    began = eraser.begin("default", f"Encounter/{heard[0]}", by=ASKED)
    with pytest.raises(CortiForbidden):
        drive(eraser, rooms.accounts, began)
    assert ehr.get(f"Encounter/{heard[0]}").status == 410
    assert eraser.current(began).state == "destroyed"
    carry_on(eraser, rooms.accounts)
    assert eraser.current(began).state == "destroyed"

    corti.state.faults.clear()
    carry_on(eraser, rooms.accounts, stopping=lambda: True)
    assert corti.state.interactions
    carry_on(eraser, rooms.accounts)

    assert eraser.current(began).state == "erased"
    assert corti.state.interactions == {}
    assert json.loads(eraser.current(began).report)["counts"]["interactions_at_corti"] == 1


def test_an_interaction_whose_answer_was_lost_is_found_and_deleted(bridge, rooms, corti, eraser, heard):
    bridge.store.write(lambda conn: conn.execute(text("UPDATE interaction SET corti_id = NULL")))

    finished(eraser, rooms, f"Encounter/{heard[0]}")

    assert corti.state.interactions == {}


class Killed(BaseException):
    """What a process that dies does: nothing more."""


class Dying:
    """A store that dies before its n-th write, or right after it."""

    def __init__(self, store, at: int, *, after: bool) -> None:
        self._store, self.left, self.after, self.url = store, at, after, store.url

    def of(self, _tenant):
        return self

    def of_all(self):
        return self

    def read(self, fn):
        return self._store.read(fn)

    def write(self, fn):
        self.left -= 1
        if self.left == 0 and not self.after:
            raise Killed
        done = self._store.write(fn)
        if self.left == 0:
            raise Killed
        return done


@pytest.mark.parametrize("after", [False, True])
def test_whoever_dies_at_any_step_another_goes_on_to_the_end(ehr, bridge, rooms, corti, eraser, patient, heard, after):
    """Each write of an erasure is one step; the process dies at each in turn, and a worker carries on."""
    seal(bridge.store, bridge.keyring)
    at, ended = 0, False
    while not ended:
        at += 1
        dying = replace(eraser, store=Dying(bridge.store, at, after=after))
        try:
            drive(dying, rooms.accounts, dying.begin("default", f"Patient/{patient}", by=ASKED))
            ended = True
        except Killed:
            continue
    carry_on(eraser, rooms.accounts)

    assert at > 4
    assert traces(bridge) == []
    assert corti.state.interactions == {}
    assert bridge.store.read(erasure.unfinished) == ()
    assert ehr.get(f"Encounter/{heard[0]}").status == 410


def test_two_who_erase_at_once_make_one_erasure(bridge, rooms, eraser, patient, heard):
    ends, ready = [], threading.Barrier(2)

    def erase():
        ready.wait(10)
        ends.append(finished(eraser, rooms, f"Patient/{patient}"))

    both = [threading.Thread(target=erase) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(60)

    assert ends[0] == ends[1]
    assert heard[0] not in str(ends)
    assert traces(bridge) == []
