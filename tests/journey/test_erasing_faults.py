"""An erasure among faults: Corti is away, refuses, has forgotten already; whoever carries it on is killed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import example, media, wav
from test_erasing import (
    ASKED,
    WORD,
    Killed,
    corti,
    eraser,
    finished,
    heard,
    patient,
    traces,
    web_settings,
)
from test_stopped_streams import rooms, working

from fhir_bridge import points
from fhir_bridge.errors import CortiError, CortiForbidden, CortiTimeout
from fhir_bridge.sandbox.faults import Fault
from fhir_bridge.store import erasure
from fhir_bridge.worker.accounts import Accounts
from fhir_bridge.worker.erase import carry_on, drive
from fhir_bridge.worker.sealing import seal

__all__ = ["corti", "eraser", "heard", "patient", "rooms", "web_settings"]  # fixtures

POINTS = sorted(
    name
    for name in json.loads((Path(__file__).parents[1] / "chaos" / "points.json").read_text())
    if name.startswith("erase.")
)


@pytest.fixture(autouse=True)
def _sealed(bridge, proved):  # noqa: ARG001 - sealed first, proved afterwards
    yield
    seal(bridge.store, bridge.keyring)


# --- Corti -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path="/interactions/", status=503, times=50),
        Fault(path="/interactions/", status=429, headers={"Retry-After": "1"}, times=50),
        Fault(path="/interactions/", drop=True, times=50),
        Fault(method="DELETE", status=403, times=50),
        Fault(method="DELETE", status=500, times=50),
    ],
    ids=lambda fault: str(fault.status or "no answer"),
)
def test_whatever_corti_says_all_is_destroyed_here_and_corti_is_asked_until_it_has_forgotten(
    ehr, bridge, rooms, corti, eraser, heard, fault
):
    corti.state.faults.append(fault.model_copy())
    began = eraser.begin("default", f"Encounter/{heard[0]}", by=ASKED)

    with pytest.raises(CortiError):
        drive(eraser, rooms.accounts, began)

    assert ehr.get(f"Encounter/{heard[0]}").status == 410
    assert eraser.current(began).state == "destroyed"
    assert not [path for path in (bridge.settings.data_dir / "audio").rglob("*") if path.is_file()]
    corti.state.faults.clear()
    assert finished(eraser, rooms, f"Encounter/{heard[0]}").state == "erased"
    assert corti.state.interactions == {}


def test_an_answer_that_does_not_come_in_time_is_asked_for_again(bridge, web_settings, corti, eraser, heard):
    hasty = web_settings.model_copy(update={"corti_timeout_seconds": 0.5})
    corti.state.faults.append(Fault(method="DELETE", delay=1.5, apply=True, times=50))
    began = eraser.begin("default", f"Encounter/{heard[0]}", by=ASKED)

    with pytest.raises(CortiTimeout):
        drive(eraser, Accounts(hasty, bridge.store, bridge.keyring), began)
    corti.state.faults.clear()
    done = drive(eraser, Accounts(web_settings, bridge.store, bridge.keyring), began)

    assert done.state == "erased"
    assert corti.state.interactions == {}
    assert json.loads(done.report)["counts"]["interactions_at_corti"] == 1


def test_what_corti_has_forgotten_already_is_forgotten(rooms, corti, eraser, heard):
    corti.state.interactions.clear()

    assert finished(eraser, rooms, f"Encounter/{heard[0]}").state == "erased"


def test_an_erasure_that_corti_keeps_waiting_keeps_no_other_waiting(ehr, rooms, corti, eraser, heard):
    other = ehr.encounter()
    with working(rooms):
        pass
    first = eraser.begin("default", f"Encounter/{heard[0]}", by=ASKED)
    second = eraser.begin("default", f"Encounter/{other}", by=ASKED)
    corti.state.faults.append(Fault(method="DELETE", status=403))
    with pytest.raises(CortiForbidden):
        drive(eraser, rooms.accounts, first)

    carry_on(eraser, rooms.accounts)

    assert [eraser.current(each).state for each in (first, second)] == ["erased", "erased"]


def test_the_audit_is_read_once_however_often_corti_is_asked(ehr, rooms, corti, eraser, heard):
    corti.state.faults.append(Fault(method="DELETE", status=403, times=50))
    began = eraser.begin("default", f"Encounter/{heard[0]}", by=ASKED)
    carry_on(eraser, rooms.accounts)
    read = eraser.current(began).audited
    before = json.loads(eraser.current(began).report)["counts"]["audit_rows_with_pseudonyms"]
    assert read > 0
    assert ehr.get(f"Encounter/{heard[0]}").status == 410  # a row more that names it

    carry_on(eraser, rooms.accounts)

    after = json.loads(eraser.current(began).report)["counts"]["audit_rows_with_pseudonyms"]
    assert (eraser.current(began).audited, after) == (read + 1, before + 1)
    corti.state.faults.clear()


# --- whoever carries it on ---------------------------------------------------------------------


def test_whoever_is_killed_at_any_point_another_goes_on_to_the_end(ehr, bridge, rooms, corti, eraser, patient, heard):
    """At each named point once, on the erasure of one patient; a second process goes on each time."""
    left, ended = list(POINTS), 0

    def watch(point: str) -> None:
        if point in left:
            left.remove(point)
            raise Killed

    points.watch(watch)
    try:
        for _ in range(4 * len(POINTS)):
            if ended > 1:
                break
            try:
                this = eraser.begin("default", f"Patient/{patient}", by=replace(ASKED, request=f"r{len(left)}"))
                ended += drive(eraser, rooms.accounts, this).state == "erased"
            except Killed:
                continue
    finally:
        points.watch(None)

    assert left == []
    assert ended > 1
    assert bridge.store.read(erasure.unfinished) == ()
    assert ehr.get(f"Encounter/{heard[0]}").status == 410
    assert corti.state.interactions == {}
    assert traces(bridge) == []


# --- what nobody thinks of ----------------------------------------------------------------------


def test_words_in_every_corner_are_gone(ehr, bridge, rooms, eraser, errands, patient, heard):
    """A name in documents, uploads, conditions, ids of requests, requests that wait, and in what was corrected away."""
    place, subject = {"reference": f"Encounter/{heard[0]}"}, {"reference": f"Patient/{patient}"}
    note = ehr.post(
        "Binary",
        f"of {WORD}".encode(),
        Content_Type="text/plain",
        X_Security_Context=f"Patient/{patient}",
    ).json["id"]
    attached = [{"attachment": {"contentType": "text/plain", "url": f"Binary/{note}", "title": WORD}}]
    ehr.create(
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "subject": subject,
            "description": WORD,
            "content": attached,
            "context": {"encounter": [place]},
        }
    )
    ehr.post(
        "Observation",
        example("observation-blood-pressure", subject=subject, note=[{"text": WORD}]),
        If_None_Exist=f"identifier={WORD}-o",
        Idempotency_Key=f"{WORD}-key",
    )
    moved = ehr.create(example("observation-blood-pressure", subject=subject, note=[{"text": WORD}]))
    other = ehr.create(example("patient"))
    ehr.put(
        f"Observation/{moved}",
        example("observation-blood-pressure", id=moved, subject={"reference": f"Patient/{other}"}),
    )
    wrong = ehr.create(media(heard[0], wav(1, pitch=5.0), note=[{"text": WORD}]))
    ehr.call("DELETE", f"Media/{wrong}")
    upload = {"Tus_Resumable": "1.0.0", "Upload_Length": "9", "X_Security_Context": f"Patient/{patient}"}
    ehr.post("Binary", b"", **upload)
    ehr.get("Patient", X_Request_Id=f"{WORD}-request")
    for path in (f"Patient?name={WORD}", "Observation?_count=200"):
        ehr.get(path, Prefer="respond-async")
    errands.round()
    for path in (f"Patient?name={WORD.lower()}", f"Encounter?identifier=V-{WORD}", "$export"):
        ehr.get(path, Prefer="respond-async")
    assert len(set(traces(bridge))) > 7

    finished(eraser, rooms, f"Patient/{patient}")

    assert traces(bridge) == []
    assert ehr.get(f"Observation/{moved}").json["subject"] == {"reference": f"Patient/{other}"}
    assert ehr.get(f"Observation/{moved}/_history/1").status == 410
    assert ehr.get(f"Binary/{note}").status == 410
