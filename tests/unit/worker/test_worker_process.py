"""Worker processes that are killed, frozen and asked to end, on both databases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from fhir_bridge.store import verify
from fhir_bridge.store.states import State

SERVE = """
import sys
from fhir_bridge import settings
from fhir_bridge.worker.main import main
sys.exit(main(settings.load(None)))
"""
PACE = "20"


@pytest.fixture(params=["sqlite", "postgresql"])
def bridge_settings(request):
    return request.getfixturevalue("sqlite_settings" if request.param == "sqlite" else "postgres_settings")


@pytest.fixture
def workers(ward):
    """Starts worker processes; ends those that are left."""
    settings = ward.rooms.settings.model_dump(exclude_none=True) | {"stream_pace": PACE}
    names = ("data_dir", "database_url", "lease_seconds", "stream_pace")
    names += ("corti_api_url", "corti_auth_url", "corti_client_id")
    env = {f"FHIR_BRIDGE_{name.upper()}": str(settings[name]) for name in names if name in settings}
    env |= {"FHIR_BRIDGE_CORTI_CLIENT_SECRET": "secret"}
    env |= {"FHIR_BRIDGE_SECRET_KEY": settings["secret_key"].get_secret_value()}
    started = []

    def start() -> subprocess.Popen:
        process = subprocess.Popen([sys.executable, "-c", SERVE], env=os.environ | env)  # noqa: S603 - our own line
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.send_signal(signal.SIGCONT)
        process.wait()


def until(true, seconds=40.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def is_published(ward, media):
    return ward.job_of(media).state == State.PUBLISHED


def streams(ward, media, *, beyond_ms=0):
    return lambda: ward.job_of(media).state == State.STREAMING and ward.job_of(media).acked_ms > beyond_ms


def check(ward, media, *, numbers):
    assert ward.numbers() == list(range(numbers))
    assert len(ward.facts()) == numbers // 40
    assert ward.task_of(media)["status"] == "completed"
    assert len(ward.sandbox.state.interactions) == 1
    assert ward.store.read(verify.findings) == ()


def test_a_worker_takes_what_is_accepted_while_it_runs(ward, workers):
    workers()
    media = ward.record(ward.admit(), 40)

    until(lambda: is_published(ward, media))
    check(ward, media, numbers=40)


@pytest.mark.parametrize("origin", ["connection", "interaction"])
def test_a_killed_worker_s_recording_is_finished_by_another_without_loss_or_doubling(ward, workers, origin):
    ward.sandbox.switches.time_origin = origin
    media = ward.record(ward.admit(), 400)
    first = workers()
    until(streams(ward, media, beyond_ms=20_000))
    first.send_signal(signal.SIGKILL)
    first.wait()

    workers()
    until(lambda: is_published(ward, media))
    check(ward, media, numbers=400)
    assert ward.job_of(media).epoch > 1


def test_a_frozen_worker_that_wakes_up_writes_nothing_any_more(ward, workers):
    media = ward.record(ward.admit(), 400)
    first = workers()
    until(streams(ward, media, beyond_ms=20_000))
    first.send_signal(signal.SIGSTOP)
    owner = ward.job_of(media).owner
    workers()
    until(lambda: ward.job_of(media).owner not in {owner, None})
    first.send_signal(signal.SIGCONT)

    until(lambda: is_published(ward, media))
    check(ward, media, numbers=400)


def test_a_worker_asked_to_end_gives_its_recording_back_in_time_and_another_goes_on(ward, workers):
    media = ward.record(ward.admit(), 400)
    first = workers()
    until(streams(ward, media, beyond_ms=20_000))

    first.send_signal(signal.SIGTERM)
    assert first.wait(25) == 0
    left = ward.job_of(media)
    assert left.owner is None
    assert left.state in {State.STREAMING, State.FINALISING}

    workers()
    until(lambda: is_published(ward, media))
    check(ward, media, numbers=400)


def test_a_cancelled_recording_stops_and_its_task_says_so(ward, workers):
    media = ward.record(ward.admit(), 400)
    workers()
    until(streams(ward, media))

    ward.cancel(media)

    until(lambda: ward.job_of(media).state == State.CANCELLED)
    assert ward.task_of(media)["status"] == "cancelled"
    assert ward.resource("Media", media)["status"] == "stopped"
    assert ward.store.read(verify.findings) == ()


def test_results_can_be_read_while_the_recording_still_streams(ward, workers):
    media = ward.record(ward.admit(), 400)
    workers()

    until(lambda: ward.all("Observation") and ward.all("DocumentReference"))

    assert ward.job_of(media).state == State.STREAMING
    assert ward.resource("Media", media)["status"] == "in-progress"
    assert ward.task_of(media)["status"] == "in-progress"
    [document] = ward.all("DocumentReference")
    assert document["content"][0]["attachment"]["url"] == f"Binary/{document['id']}.text"
