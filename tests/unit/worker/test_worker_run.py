"""A run from the queue to results, against a Corti that hears numbers."""

from __future__ import annotations

import io

import av
import pytest

from fhir_bridge.sandbox.numbers import make_wav
from fhir_bridge.store import verify
from fhir_bridge.store.states import State
from fhir_bridge.worker import recording, stream

FACTS = 5  # in 200 numbers
RECORDING = [{"url": "urn:x-fhir-bridge:transport", "valueCode": "recording"}]


@pytest.fixture(autouse=True)
def _verified(ward):
    """What `verify` proves holds after every test (reliability.md, rule 4)."""
    yield
    assert ward.store.read(verify.findings) == ()


def issue_of(task):
    [outcome] = task["contained"]
    return outcome["issue"][0]


def test_an_encounter_becomes_an_interaction(ward):
    encounter = ward.admit()

    ward.work()

    task = ward.task_of(encounter)
    [interaction] = ward.sandbox.state.interactions.values()
    assert task["status"] == "completed"
    assert task["identifier"][0]["value"] == interaction.id


@pytest.mark.parametrize(
    ("status", "at_corti"), [("finished", "completed"), ("cancelled", "cancelled"), ("entered-in-error", "deleted")]
)
def test_an_encounter_that_changes_is_brought_up_to_date_in_corti_s_words(ward, status, at_corti):
    encounter = ward.admit(status="in-progress")
    ward.work()

    ward.amend(encounter, status=status)
    ward.work()

    [interaction] = ward.sandbox.state.interactions.values()
    assert interaction.encounter["status"] == at_corti
    assert ward.task_of(encounter)["status"] == "completed"


def test_an_encounter_cancelled_before_its_interaction_was_made_gets_none(ward):
    encounter = ward.admit()
    ward.amend(encounter, status="cancelled")

    ward.work()

    assert ward.task_of(encounter)["status"] == "completed"
    assert not ward.sandbox.state.interactions


def test_a_recording_becomes_a_transcript_and_facts(ward):
    encounter = ward.admit()
    media = ward.record(encounter, 200)

    ward.work()

    task = ward.task_of(media)
    assert task["status"] == "completed"
    assert ward.resource("Media", media)["status"] == "completed"
    assert ward.numbers() == list(range(200))
    assert len(ward.facts()) == FACTS
    assert len(task["output"]) == 1 + FACTS
    assert len(ward.all("Provenance")) == 1 + FACTS
    assert {one["id"] for one in ward.all("Device")} == {"fhir-bridge", "corti-ambient"}


def test_a_recording_can_be_uploaded_instead(ward):
    encounter = ward.admit()
    media = ward.record(encounter, 200, extension=RECORDING)

    ward.work()

    assert ward.task_of(media)["status"] == "completed"
    assert ward.numbers() == list(range(200))
    assert len(ward.facts()) == FACTS
    assert not ward.sandbox.state.sessions


def aiff(sound: bytes) -> bytes:
    """Put the samples of a WAV file into AIFF."""
    made = io.BytesIO()
    with av.open(io.BytesIO(sound), format="wav") as source, av.open(made, "w", format="aiff") as sink:
        stream = sink.add_stream("pcm_s16be", rate=source.streams.audio[0].rate, layout="mono")
        for frame in source.decode(audio=0):
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    return made.getvalue()


def files_of(ward):
    return [path for path in (ward.rooms.settings.data_dir / "audio").rglob("*") if path.is_file()]


def uploads(ward):
    [interaction] = ward.sandbox.state.interactions.values()
    return [one.content for one in interaction.recordings.values()]


def test_what_corti_does_not_take_whole_is_uploaded_without_loss_and_not_left_lying_about(ward):
    media = ward.record(ward.admit(), aiff(make_wav(80)), "audio/aiff", extension=RECORDING)

    ward.work()

    assert ward.task_of(media)["status"] == "completed"
    assert ward.numbers() == list(range(80))
    assert [one[:4] for one in uploads(ward)] == [b"fLaC"]
    assert len(files_of(ward)) == 1


def test_what_is_too_large_for_corti_is_uploaded_as_opus(ward, monkeypatch):
    monkeypatch.setattr(recording, "MOST_BYTES", 100_000)
    media = ward.record(ward.admit(), 80, extension=RECORDING)

    ward.work()

    assert ward.task_of(media)["status"] == "completed"
    assert ward.numbers() == list(range(80))
    assert [one[:4] for one in uploads(ward)] == [b"\x1aE\xdf\xa3"]
    assert len(files_of(ward)) == 1


def test_two_recordings_of_an_encounter_follow_one_another(ward):
    encounter = ward.admit()
    first = ward.record(encounter, 40)
    second = ward.record(encounter, 40)

    assert [ward.job_of(one).state for one in (first, second)] == [State.STORED, State.STORED]
    ward.work()

    assert [ward.task_of(one)["status"] for one in (first, second)] == ["completed", "completed"]
    assert len(ward.sandbox.state.interactions) == 1


def test_a_recording_that_cannot_be_heard_fails_with_what_to_do(ward):
    media = ward.record(ward.admit(), b"RIFF\x00\x00\x00\x00WAVE nothing")

    ward.work()

    assert ward.task_of(media)["status"] == "failed"
    assert ward.resource("Media", media)["status"] == "stopped"
    assert issue_of(ward.task_of(media))["severity"] == "error"


def test_wrong_credentials_fail_at_once(ward):
    ward.sandbox.state.clients.clear()
    encounter = ward.admit()

    ward.work()

    assert issue_of(ward.task_of(encounter))["code"] == "login"


def test_a_recording_after_a_failed_interaction_tries_to_make_it_itself(ward):
    known = dict(ward.sandbox.state.clients)
    ward.sandbox.state.clients.clear()
    encounter = ward.admit()
    ward.work()
    ward.sandbox.state.clients.update(known)

    media = ward.record(encounter, 40)
    ward.work()

    assert ward.task_of(media)["status"] == "completed"


def test_a_refused_configuration_fails_at_once(ward):
    ward.sandbox.switches.config_denied = "mode not available"
    media = ward.record(ward.admit(), 40)

    ward.work()

    assert ward.task_of(media)["status"] == "failed"
    assert len(ward.sandbox.state.sessions) == 1


def test_a_language_that_is_refused_is_answered_with_those_that_are_offered(ward):
    ward.sandbox.switches.config_denied = "language not available"
    media = ward.record(ward.admit(), 40)

    ward.work()

    assert "it offers " in issue_of(ward.task_of(media))["details"]["text"]


def test_pcm_that_is_refused_goes_as_webm(ward):
    ward.sandbox.switches.refused_formats = ("audio/pcm",)
    media = ward.record(ward.admit(), 80)

    ward.work()

    assert ward.task_of(media)["status"] == "completed"
    assert ward.numbers() == list(range(80))


def test_a_recording_whose_formats_are_all_refused_is_uploaded(ward):
    ward.sandbox.switches.refused_formats = ("audio/",)
    media = ward.record(ward.admit(), 80)

    ward.work()

    assert ward.job_of(media).transport == "recording"
    assert ward.numbers() == list(range(80))


def test_a_break_loses_and_doubles_nothing(ward):
    ward.sandbox.switches.close_at = 20.0
    media = ward.record(ward.admit(), 200)

    ward.work()

    assert ward.task_of(media)["status"] == "completed"
    assert ward.job_of(media).session == 2
    assert ward.numbers() == list(range(200))
    assert len(ward.facts()) == FACTS


def test_a_reset_connection_that_swallowed_words_loses_and_doubles_nothing(ward):
    ward.sandbox.switches.drop_at_byte = 700_000
    ward.sandbox.switches.untold_lost_at_break = True
    media = ward.record(ward.admit(), 200)

    ward.work()

    assert ward.numbers() == list(range(200))
    assert len(ward.facts()) == FACTS
    assert ward.task_of(media)["status"] == "completed"


def test_facts_told_again_under_new_ids_stay_one_observation_each(ward):
    ward.sandbox.switches.close_at = 30.0
    ward.sandbox.switches.new_fact_ids_on_resume = True
    media = ward.record(ward.admit(), 200)

    ward.work()

    assert len(ward.facts()) == FACTS
    assert ward.task_of(media)["status"] == "completed"
    assert any(len(one["identifier"]) > 1 for one in ward.all("Observation"))


def test_words_that_only_come_again_after_each_break_are_no_progress(ward, monkeypatch):
    monkeypatch.setattr(stream, "_FIRST_PAUSE", 0.01)
    ward.sandbox.switches.transcript_interval = 1.0
    ward.sandbox.switches.close_at = 2.5
    ward.sandbox.switches.breaks = 1_000
    media = ward.record(ward.admit(), 48)

    ward.work()

    assert ward.job_of(media).state == "published"
    assert ward.job_of(media).transport == "recording"
    assert ward.numbers() == list(range(48))


def test_after_five_breaks_without_progress_the_recording_is_uploaded(ward):
    ward.sandbox.switches.drop_at_byte = 16_000
    ward.sandbox.switches.untold_lost_at_break = True
    ward.sandbox.switches.breaks = 100
    media = ward.record(ward.admit(), 80)

    ward.work()

    assert ward.job_of(media).transport == "recording"
    assert ward.task_of(media)["status"] == "completed"
    assert ward.numbers() == list(range(80))


def test_a_stream_without_a_goodbye_is_complete_when_corti_had_flushed(ward):
    ward.sandbox.switches.ended = False
    media = ward.record(ward.admit(), 80)

    ward.work()

    assert ward.task_of(media)["status"] == "completed"
    assert ward.numbers() == list(range(80))


def test_corti_down_puts_the_task_on_hold_and_loses_nothing(ward):
    ward.sandbox.switches.credit = False
    media = ward.record(encounter := ward.admit(), 80)

    ward.work()
    assert ward.task_of(encounter)["status"] == "on-hold"
    assert ward.task_of(media)["status"] == "accepted"
    assert issue_of(ward.task_of(encounter))["severity"] == "warning"

    ward.sandbox.switches.credit = True
    ward.hurry()
    ward.work()
    assert ward.task_of(encounter)["status"] == "completed"
    assert ward.numbers() == list(range(80))


def test_corti_down_for_longer_than_a_day_fails_and_says_how_to_go_on(ward):
    ward.sandbox.switches.credit = False
    encounter = ward.admit()
    ward.work()
    ward.long_ago(ward.job_of(encounter), hours=25)

    ward.hurry()

    assert ward.task_of(encounter)["status"] == "failed"
    assert "$retry" in issue_of(ward.task_of(encounter))["details"]["text"]


def test_what_an_ehr_edited_or_deleted_is_never_overwritten(ward):
    media = ward.record(ward.admit(), 120)
    ward.work()
    [document] = ward.all("DocumentReference")
    edited, deleted, _ = ward.all("Observation")
    ward.edit(document | {"docStatus": "final"})
    ward.edit(edited | {"status": "final"})
    ward.delete(deleted)
    ward.sandbox.switches.repeat_facts = True
    ward.again(media)

    ward.work()

    [document] = ward.all("DocumentReference")
    after = {one["id"]: one for one in ward.all("Observation")}
    assert document["docStatus"] == "final"
    assert after[edited["id"]]["valueString"] == edited["valueString"]
    assert len(after) == 2


def test_a_run_repeated_from_the_start_replaces_and_never_doubles(ward):
    media = ward.record(ward.admit(), 80)
    ward.work()
    before = ward.all("Observation"), ward.numbers()
    ward.again(media)

    ward.work()

    assert (len(ward.all("Observation")), ward.numbers()) == (len(before[0]), before[1])


def test_a_late_ticket_does_nothing(ward):
    media = ward.record(ward.admit(), 40)
    job = ward.job_of(media)
    ward.work()
    before = ward.all("Task")

    ward.run(job.id, 1)
    ward.run(job.id, 99)

    assert ward.all("Task") == before


def test_a_transcript_that_takes_its_time_is_waited_for(ward):
    ward.sandbox.switches.transcript_polls = 1
    ward.sandbox.switches.visible_after = 1.5
    media = ward.record(ward.admit(), 40, extension=RECORDING)

    ward.work()

    assert ward.task_of(media)["status"] == "completed"
    assert ward.numbers() == list(range(40))


def test_a_transcript_that_fails_fails_the_task(ward):
    ward.sandbox.switches.transcript_outcome = "failed"
    media = ward.record(ward.admit(), 40, extension=RECORDING)

    ward.work()

    assert ward.task_of(media)["status"] == "failed"
    assert "another format" in issue_of(ward.task_of(media))["details"]["text"]


def test_an_uploaded_recording_asked_for_again_adds_no_fact_twice_at_corti(ward):
    media = ward.record(ward.admit(), 80, extension=RECORDING)
    ward.work()
    ward.again(media)

    ward.work()

    [interaction] = ward.sandbox.state.interactions.values()
    assert len(interaction.facts) == 2
    assert len(ward.facts()) == 2


def test_facts_of_a_stream_that_its_recording_does_not_confirm_are_withdrawn(ward):
    media = ward.record(ward.admit(), 80)
    ward.work()
    one, other = ward.all("Observation")
    ward.mishear(one)
    ward.again(media, transport="recording")

    ward.work()

    statuses = {shown["id"]: shown["status"] for shown in ward.all("Observation")}
    assert statuses.pop(one["id"]) == "entered-in-error"
    assert statuses.pop(other["id"]) == "preliminary"
    assert list(statuses.values()) == ["preliminary"]


def test_a_recording_whose_audio_was_removed_fails_and_says_so(ward):
    media = ward.record(ward.admit(), 40)
    ward.forget_audio(media)

    ward.work()

    assert ward.task_of(media)["status"] == "failed"
    assert issue_of(ward.task_of(media))["expression"] == ["Media.content.url"]


def test_a_recording_of_an_encounter_that_was_cancelled_meanwhile_fails(ward):
    encounter = ward.admit()
    media = ward.record(encounter, 40)
    ward.amend(encounter, status="cancelled")

    ward.work()

    assert issue_of(ward.task_of(media))["code"] == "business-rule"


def test_a_worker_that_stops_gives_back_what_it_was_given_too_late(ward):
    encounter = ward.admit()
    ward.rooms.leases.stop()

    ward.work(rounds=1)

    assert ward.job_of(encounter).owner is None
    assert ward.job_of(encounter).epoch == 2


def test_a_fault_of_our_own_is_shown_on_the_task_and_placed_in_the_log(ward, caplog):
    media = ward.record(ward.admit(), 40)
    ward.break_results(media)

    with caplog.at_level("INFO", logger="fhir_bridge"):
        ward.work()

    assert issue_of(ward.task_of(media))["code"] == "exception"
    assert '"event": "job.fault"' in caplog.text
    ward.mend_results(media)
