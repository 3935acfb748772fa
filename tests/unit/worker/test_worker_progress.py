"""What an EHR sees of a recording on its way: in the Task, version by version."""

from __future__ import annotations

import re

import pytest

from fhir_bridge.store import verify
from fhir_bridge.worker import publish


@pytest.fixture(autouse=True)
def _verified(ward):
    yield
    assert ward.store.read(verify.findings) == ()


def told(task):
    """The state that a Task names, and what it says of it."""
    shown = task["businessStatus"]
    return shown["coding"][0]["code"], shown["text"]


def states(ward, id_):
    """Each state that the Task named, once for each time it came to it."""
    codes = [told(task)[0] for task in ward.versions("Task", ward.job_of(id_).task)]
    return [code for before, code in zip([None, *codes], codes, strict=False) if code != before]


def test_each_state_of_a_job_is_a_version_of_its_task(ward):
    encounter = ward.admit()
    media = ward.record(encounter, 80)

    ward.work()

    begun = ["stored", "interaction_pending"]
    assert states(ward, encounter) == [*begun, "published"]
    assert states(ward, media) == [*begun, "streaming", "finalising", "reconciling", "published"]


def test_a_job_that_waits_for_corti_says_so_each_time(ward):
    ward.sandbox.switches.credit = False
    encounter = ward.admit()
    ward.work()
    ward.sandbox.switches.credit = True

    ward.hurry()

    assert states(ward, encounter) == ["stored", "interaction_pending", "suspended", "interaction_pending", "published"]


def test_while_a_recording_streams_its_task_tells_how_far_it_is_with_the_transcript(ward, monkeypatch):
    monkeypatch.setattr(publish, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(publish, "OF_IT", 0.0)
    media = ward.record(ward.admit(), 200)

    ward.work()

    streaming = [text for task in ward.versions("Task", ward.job_of(media).task) for _, text in [told(task)]]
    heard = [int(found[1]) for text in streaming if (found := re.search(r": (\d+) of 50 s$", text))]
    assert heard == sorted(heard)
    assert heard[0] == 0
    assert heard[-1] == 50
    [document] = ward.all("DocumentReference")
    grown = ward.versions("DocumentReference", document["id"])
    assert len(set(heard)) >= len(grown) - 2 > 3
    assert told(ward.task_of(media)) == ("published", "results are complete")


def test_between_two_versions_of_progress_two_seconds_pass(ward):
    media = ward.record(ward.admit(), 200)

    ward.work()

    versions = ward.versions("Task", ward.job_of(media).task)
    assert len([task for task in versions if told(task)[0] == "streaming"]) == 2  # its beginning, and the first words


def test_an_edited_transcript_stays_and_the_task_goes_on_telling(ward, monkeypatch):
    monkeypatch.setattr(publish, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(publish, "OF_IT", 0.0)
    media = ward.record(ward.admit(), 80)
    ward.work()
    [document] = ward.all("DocumentReference")
    ward.edit(document | {"docStatus": "final"})
    before = len(ward.versions("Task", ward.job_of(media).task))
    ward.again(media)

    ward.work()

    again = ward.versions("Task", ward.job_of(media).task)[before:]
    assert any(told(task)[1].endswith(": 20 of 20 s") for task in again)
    assert ward.all("DocumentReference")[0]["docStatus"] == "final"


def test_a_connection_that_breaks_is_no_new_state(ward):
    ward.sandbox.switches.close_at = 30.0
    media = ward.record(ward.admit(), 200)

    ward.work()

    assert told(ward.task_of(media))[0] == "published"
    assert states(ward, media).count("streaming") == 1


def test_the_longer_a_transcript_is_the_less_often_it_is_shown_while_it_grows(ward, monkeypatch):
    monkeypatch.setattr(publish, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(publish, "OF_IT", 1_000.0)
    monkeypatch.setattr(publish, "MOST_SECONDS", 1_000.0)
    ward.record(ward.admit(), 200)

    ward.work()

    [document] = ward.all("DocumentReference")
    assert len(ward.versions("DocumentReference", document["id"])) == 2, "its first words, and all of it"
    assert ward.numbers() == list(range(200))
