"""What an operator reads of a worker: events with ids and codes."""

from __future__ import annotations

import json
import threading

import pytest

from fhir_bridge import points
from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.store import jobs
from fhir_bridge.worker.main import for_ever
from fhir_bridge.worker.sweep import sweep


@pytest.fixture
def logged(caplog):
    caplog.set_level("INFO", logger="fhir_bridge")
    return lambda name: [
        event
        for record in caplog.records
        if record.name == "fhir_bridge" and (event := json.loads(record.getMessage()))["event"] == name
    ]


class Away:
    """A store that cannot be reached."""

    def of_all(self):
        return self

    def read(self, _fn):
        raise StoreUnavailable("away")


@pytest.fixture
def at_point():
    """Let something happen when a point is reached for the first time."""

    def plan(point, act):
        waiting = [act]
        points.watch(lambda reached: waiting.pop()() if reached == point and waiting else None)

    yield plan
    points.watch(None)


def test_a_message_that_nobody_documented_is_named_and_the_stream_goes_on(ward, logged):
    ward.sandbox.switches.unknown_messages = True
    media = ward.record(ward.admit(), 40)

    ward.work()

    named = logged("corti.unknown_message")
    assert {event["job"] for event in named} == {ward.job_of(media).id}
    assert "somethingNew" in {event["kind"] for event in named}
    assert ward.numbers() == list(range(40))


def test_a_failed_job_is_named_with_the_kind_of_its_error(ward, logged):
    ward.sandbox.switches.config_denied = "mode not available"
    media = ward.record(ward.admit(), 40)

    ward.work()

    [failed] = logged("job.failed")
    assert (failed["job"], failed["error"]) == (ward.job_of(media).id, "ConfigRefused")
    assert logged("job.finished")[-1]["state"] == "failed"


def test_a_run_whose_job_was_taken_over_says_so_and_writes_nothing_more(ward, logged, at_point):
    media = ward.record(ward.admit(), 40)
    job = ward.job_of(media).id
    at_point("reconcile.asking", lambda: ward.store.write(lambda conn: jobs.take_over(conn, ward.job_of(media))))

    ward.work()

    [fenced] = logged("job.fenced")
    assert (fenced["job"], fenced["epoch"]) == (job, ward.job_of(media).epoch - 1)
    assert ward.numbers() == list(range(40))
    assert ward.task_of(media)["status"] == "completed"


def test_a_dead_workers_job_is_taken_over_and_its_old_run_cancelled(ward, logged):
    encounter = ward.admit()
    seen = ward.job_of(encounter)
    ward.store.write(lambda conn: jobs.claim(conn, seen.ticket, owner="boot-0", lease_seconds=-1))

    sweep(ward.rooms.store, ward.ledger, lease_seconds=3.0)

    [taken] = logged("job.taken_over")
    assert (taken["job"], taken["epoch"]) == (seen.id, seen.epoch)
    assert (logged("sweep.done")[0]["taken_over"], logged("sweep.done")[0]["cancelled"]) == (1, 1)
    ward.work()
    assert ward.task_of(encounter)["status"] == "completed"


def test_a_round_that_fails_is_told_and_tried_again(ward, logged):
    done, rounds = threading.Event(), []

    def round_():
        rounds.append(len(rounds))
        if len(rounds) == 2:
            done.set()
        sweep(Away() if len(rounds) == 1 else ward.rooms.store, ward.ledger, lease_seconds=3.0)

    for_ever("sweep", round_, every=0.01, done=done)

    assert len(rounds) == 2
    assert [(event["round"], event["error"]) for event in logged("sweep.failed")] == [("sweep", "StoreUnavailable")]
