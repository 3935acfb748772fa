from fhir_bridge.corti.messages import (
    CortiEncounter,
    CortiPatient,
    EncounterPeriod,
    InteractionDraft,
    Participant,
    StreamConfig,
)
from fhir_bridge.corti.recorded import FactChange, FactDraft, TranscriptDraft

DOCTOR_AND_PATIENT = (Participant(0, "doctor"), Participant(1, "patient"))


def full_draft() -> InteractionDraft:
    return InteractionDraft(
        CortiEncounter(
            "V-1~0a1b2c3d",
            "completed",
            "outpatient",
            EncounterPeriod("2026-11-22T08:15:00Z", "2026-11-22T08:40:00Z"),
            "Knee",
        ),
        CortiPatient("MRN-1", "Example Patient", "female", "1971-04-09", "she/her"),
        "0b0f4a52-7e5c-4b8f-9c77-2f4f6a3a0001",
    )


def least_draft() -> InteractionDraft:
    return InteractionDraft(CortiEncounter("V-1", "planned", "consultation"))


def test_an_interaction_names_everything_that_is_known():
    assert full_draft().to_json() == {
        "assignedUserId": "0b0f4a52-7e5c-4b8f-9c77-2f4f6a3a0001",
        "encounter": {
            "identifier": "V-1~0a1b2c3d",
            "status": "completed",
            "type": "outpatient",
            "period": {"startedAt": "2026-11-22T08:15:00Z", "endedAt": "2026-11-22T08:40:00Z"},
            "title": "Knee",
        },
        "patient": {
            "identifier": "MRN-1",
            "name": "Example Patient",
            "gender": "female",
            "birthDate": "1971-04-09",
            "pronouns": "she/her",
        },
    }


def test_an_interaction_does_not_mention_what_is_unknown():
    assert least_draft().to_json() == {"encounter": {"identifier": "V-1", "status": "planned", "type": "consultation"}}


def test_a_patch_keeps_the_identifier_and_clears_what_was_withdrawn():
    assert least_draft().to_patch() == {"encounter": {"status": "planned", "type": "consultation", "title": None}}
    draft = InteractionDraft(
        CortiEncounter("V-1", "in-progress", "consultation", EncounterPeriod("2026-11-22T08:15:00Z")),
        CortiPatient("MRN-1"),
    )

    assert draft.to_patch() == {
        "encounter": {
            "status": "in-progress",
            "type": "consultation",
            "title": None,
            "period": {"startedAt": "2026-11-22T08:15:00Z", "endedAt": None},
        },
        "patient": {"identifier": "MRN-1", "name": None, "birthDate": None, "pronouns": None},
    }


def test_a_patch_of_a_full_draft_says_what_the_draft_says():
    draft = full_draft()
    expected = draft.to_json()
    del expected["encounter"]["identifier"]

    assert draft.to_patch() == expected


def test_a_stream_configuration_names_diarisation_twice_and_the_interval_inside_the_mode():
    config = StreamConfig(
        "en",
        "en-US",
        DOCTOR_AND_PATIENT,
        multichannel=True,
        audio_format="audio/pcm; rate=16000; channels=2; bits=16",
        keyterms=("metoprolol",),
    )

    assert config.to_json() == {
        "type": "config",
        "configuration": {
            "transcription": {
                "primaryLanguage": "en",
                "diarize": False,
                "isDiarization": False,
                "isMultichannel": True,
                "participants": [{"channel": 0, "role": "doctor"}, {"channel": 1, "role": "patient"}],
            },
            "mode": {"type": "facts", "outputLocale": "en-US", "factGenerationInterval": "fast_init"},
            "audioFormat": "audio/pcm; rate=16000; channels=2; bits=16",
            "retentionPolicy": "retain",
            "keyterms": {"terms": [{"term": "metoprolol"}]},
        },
    }


def test_keyterms_that_would_have_the_configuration_refused_are_left_out():
    terms = ("", "x" * 51, "y" * 50, "y" * 50, *(f"term {n}" for n in range(1_200)))
    config = StreamConfig("en", "en", DOCTOR_AND_PATIENT, keyterms=terms).to_json()["configuration"]

    assert [one["term"] for one in config["keyterms"]["terms"]] == ["y" * 50, *(f"term {n}" for n in range(999))]
    assert "keyterms" not in StreamConfig("en", "en", DOCTOR_AND_PATIENT, keyterms=("",)).to_json()["configuration"]


def test_a_diarised_transcript_names_no_participants_unless_channels_are_apart():
    together = TranscriptDraft("r1", "en", (Participant(0, "multiple"),), diarize=True)
    apart = TranscriptDraft("r1", "en", DOCTOR_AND_PATIENT, diarize=True, multichannel=True)

    assert together.to_json() == {
        "recordingId": "r1",
        "primaryLanguage": "en",
        "isMultichannel": False,
        "diarize": True,
        "async": True,
    }
    assert apart.to_json()["participants"] == [{"channel": 0, "role": "doctor"}, {"channel": 1, "role": "patient"}]
    assert "participants" not in TranscriptDraft("r1", "en").to_json()


def test_facts_are_written_without_what_does_not_change():
    assert FactDraft("Knee pain", "chief-complaint", "system").to_json() == {
        "text": "Knee pain",
        "group": "chief-complaint",
        "source": "system",
    }
    assert FactChange("f1", discarded=True).to_json() == {"isDiscarded": True}
