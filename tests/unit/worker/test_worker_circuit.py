"""While Corti does not answer, jobs wait without being tried; afterwards one goes first."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from fhir_bridge.sandbox.faults import Fault
from fhir_bridge.store import tables, verify

LONG = 1000


@pytest.fixture(autouse=True)
def _verified(ward):
    yield
    assert ward.store.read(verify.findings) == ()


@pytest.fixture
def events(caplog):
    caplog.set_level("INFO", logger="fhir_bridge")

    def named(name):
        told = (json.loads(record.getMessage()) for record in caplog.records if record.name == "fhir_bridge")
        return [event for event in told if event["event"] == name]

    return named


def away(ward, **how):
    ward.sandbox.state.faults.append(Fault(path="/interactions/", times=LONG, **how))


def back(ward):
    ward.sandbox.state.faults.clear()


def let_the_pause_pass(ward):
    ended = update(tables.circuit).values(until_ms=0)
    ward.store.write(lambda conn: conn.execute(ended))


def asked(ward):
    return len(ward.sandbox.state.requests)


def statuses(ward, encounters):
    return {ward.task_of(each)["status"] for each in encounters}


def test_corti_s_retry_after_holds_all_jobs_of_the_tenant_and_none_of_them_is_tried(ward, events):
    away(ward, status=503, headers={"Retry-After": "120"})
    first = ward.admit()
    ward.work()
    sent = asked(ward)
    others = [ward.admit() for _ in range(8)]

    ward.work()

    assert asked(ward) == sent
    assert statuses(ward, [first, *others]) == {"on-hold"}
    assert [(each["state"], each["seconds"]) for each in events("corti.circuit")] == [("open", 120)]
    waits = [each["seconds"] for each in events("job.suspended") if each["error"] == "CortiPaused"]
    assert len(waits) == 8
    assert all(119 <= wait <= 150 for wait in waits)
    assert len(set(waits)) > 1


def test_after_the_pause_one_job_goes_first_and_its_answer_lets_all_others_go(ward, events):
    away(ward, status=503, headers={"Retry-After": "120"})
    encounters = [ward.admit() for _ in range(5)]
    ward.work()
    let_the_pause_pass(ward)
    sent = asked(ward)

    ward.hurry()
    assert [each["state"] for each in events("corti.circuit")] == ["open", "trying", "open"]
    assert asked(ward) - sent <= 1
    assert statuses(ward, encounters) == {"on-hold"}

    back(ward)
    let_the_pause_pass(ward)
    ward.hurry()
    ward.hurry()
    assert statuses(ward, encounters) == {"completed"}
    assert [each["state"] for each in events("corti.circuit")][-2:] == ["trying", "closed"]


def test_failures_in_a_row_without_a_word_open_it_too(ward, events):
    away(ward, drop=True)
    encounters = [ward.admit() for _ in range(7)]

    ward.work()

    [opened] = events("corti.circuit")
    assert (opened["tenant"], opened["region"], opened["state"]) == ("default", "eu", "open")
    assert statuses(ward, encounters) == {"on-hold"}
    assert len([each for each in events("job.suspended") if each["error"] == "CortiPaused"]) == 2


def test_a_job_that_is_held_back_spends_neither_breaks_nor_versions_of_its_task(ward):
    away(ward, status=503, headers={"Retry-After": "120"})
    encounter = ward.admit()
    ward.work()
    task = ward.job_of(encounter).task
    before = ward.vid("Task", task)

    for _ in range(3):
        ward.hurry()

    assert ward.vid("Task", task) == before
    assert ward.job_of(encounter).breaks == 0


def test_a_stream_that_is_accepted_closes_it(ward, events):
    encounter = ward.admit()
    ward.work()
    media = ward.record(encounter, 40)
    row = {"tenant": "default", "region": "eu", "failures": 5, "pauses": 1, "until_ms": 0}
    ward.store.write(lambda conn: conn.execute(tables.circuit.insert().values(row)))

    ward.work()

    assert [each["state"] for each in events("corti.circuit")] == ["trying", "closed"]
    assert ward.numbers() == list(range(40))
    assert ward.task_of(media)["status"] == "completed"
