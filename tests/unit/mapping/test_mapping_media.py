from __future__ import annotations

import json

import pytest
from mapping_examples import encounter, example, media, patient, practitioner, sound

from fhir_bridge.corti.messages import Participant
from fhir_bridge.errors import NotMapped
from fhir_bridge.fhir.resource.models import model_of
from fhir_bridge.mapping.accepted import accepted_media, media_with_status
from fhir_bridge.mapping.languages import normalised
from fhir_bridge.mapping.media import stream_config_from_media, transport_of


def mapped(of=None, visit=None, *, heard=None, as_="pcm", language="en", **people):
    return stream_config_from_media(
        of or media(), visit or encounter(), sound=heard or sound(), as_=as_, language=language, **people
    )


def warned(result):
    return [(one.at, one.code) for one in result.warnings]


def test_a_whole_media_becomes_a_stream_configuration():
    result = mapped(
        model_of(example("media-url")),
        model_of(example("encounter-ambulatory")),
        patient=model_of(example("patient")),
        practitioners=[model_of(example("practitioner"))],
    )

    sent = result.value.to_json()["configuration"]
    assert sent["transcription"] == {
        "primaryLanguage": "en",
        "diarize": True,
        "isDiarization": True,
        "isMultichannel": False,
        "participants": [{"channel": 0, "role": "multiple"}],
    }
    assert sent["mode"] == {"type": "facts", "outputLocale": "en", "factGenerationInterval": "fast_init"}
    assert sent["audioFormat"] == "audio/pcm; rate=16000; channels=1; bits=16"
    assert {"Anna", "Maria", "Berg", "Jonas", "Holm"} <= {one["term"] for one in sent["keyterms"]["terms"]}
    assert result.warnings == ()


def test_the_audio_format_is_that_of_what_is_sent():
    assert mapped(heard=sound(container="mp3"), as_="native").value.audio_format == "audio/mpeg"
    assert mapped(as_="webm").value.audio_format == "audio/webm; codecs=opus"


# --- language ----------------------------------------------------------------------------


def speaks(code, *, preferred=True, system="urn:ietf:bcp:47"):
    coding = {"code": code, "system": system} if code else {"display": "Danish"}
    return patient(communication=[{"language": {"coding": [coding]}, "preferred": preferred}])


def test_the_language_is_the_media_s_else_the_encounter_s_else_the_patient_s_else_the_setting_s():
    said = media({"contentType": "audio/wav", "language": "da"})
    visit, person = encounter(language="sv"), speaks("fr")

    assert mapped(said, visit, patient=person, language="de").value.language == "da"
    assert mapped(None, visit, patient=person, language="de").value.language == "sv"
    assert mapped(patient=person, language="de").value.language == "fr"
    assert mapped(language="de").value.output_locale == "de"


@pytest.mark.parametrize(
    "person", [speaks("fr", preferred=False), speaks("fr", system="urn:house"), speaks(None), patient()]
)
def test_only_a_preferred_language_with_a_code_counts(person):
    assert mapped(patient=person).value.language == "en"


@pytest.mark.parametrize(
    ("tag", "written"),
    [
        ("EN", "en"),
        ("en_us", "en-US"),
        (" gsw-ch ", "gsw-CH"),
        ("ZH-HANT-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("de-ch-x-BERN-zh", "de-CH-x-bern-zh"),
        ("english", None),
        ("e", None),
        ("en-", None),
    ],
)
def test_a_tag_is_written_in_its_own_case(tag, written):
    assert normalised(tag) == written


@pytest.mark.parametrize(
    ("tag", "corti", "code"),
    [
        ("de-AT", "de", "informational"),
        ("en-GB", "en-GB", None),
        ("nb-NO", "no", "informational"),
        ("gsw", "gsw-CH", "informational"),
        ("tlh", "tlh", "code-invalid"),
    ],
)
def test_a_language_is_corti_s_nearest_with_a_warning_when_it_is_another(tag, corti, code):
    result = mapped(media({"contentType": "audio/wav", "language": tag}))

    assert result.value.language == corti
    assert warned(result) == ([("Media.content.language", code)] if code else [])


def test_what_is_no_tag_is_refused_in_the_media_and_passed_over_elsewhere():
    with pytest.raises(NotMapped) as refused:
        mapped(media({"contentType": "audio/wav", "language": "english"}))
    assert refused.value.at == "Media.content.language"

    result = mapped(None, encounter(language="english"))
    assert result.value.language == "en"
    assert warned(result) == [("Encounter.language", "code-invalid")]

    with pytest.raises(NotMapped) as refused:
        mapped(language="english")
    assert refused.value.at == "FHIR_BRIDGE_LANGUAGE"


# --- channels ----------------------------------------------------------------------------


def role(channel, who, kind="valueInteger"):
    parts = [{"url": "channel", kind: channel}, {"url": "role", "valueCode": who}]
    return {"url": "urn:x-fhir-bridge:channel-role", "extension": [one for one in parts if None not in one.values()]}


def test_two_channels_that_differ_are_two_participants():
    config = mapped(heard=sound(2, distinct=True)).value

    assert config.multichannel
    assert not config.diarize
    assert config.participants == (Participant(0, "multiple"), Participant(1, "multiple"))


@pytest.mark.parametrize("kind", ["valueInteger", "valueUnsignedInt"])
def test_the_media_may_say_who_is_on_which_channel(kind):
    recording = media(extension=[role(1, "patient", kind), role(0, "doctor", kind), {"url": "urn:x", "valueCode": "y"}])

    config = mapped(recording, heard=sound(2, distinct=True)).value

    assert config.participants == (Participant(0, "doctor"), Participant(1, "patient"))


def test_a_channel_nobody_names_is_of_several_speakers():
    recording = media(extension=[role(1, "patient", "valuePositiveInt")])

    config = mapped(recording, heard=sound(2, distinct=True)).value

    assert config.participants == (Participant(0, "multiple"), Participant(1, "patient"))


@pytest.mark.parametrize("channels", [1, 2])
def test_equal_channels_are_one_participant_and_roles_for_them_are_not_used(channels):
    result = mapped(media(extension=[role(0, "doctor")]), heard=sound(channels))

    assert result.value.participants == (Participant(0, "multiple"),)
    assert result.value.diarize
    assert warned(result) == [("Media.extension", "business-rule")]


@pytest.mark.parametrize(
    "extensions",
    [
        [role(2, "doctor")],
        [role(-1, "doctor")],
        [role(0, "doctor"), role(0, "patient")],
        [role(0, "nurse")],
        [role(None, "doctor")],
        [role(0, None)],
        [{"url": "urn:x-fhir-bridge:channel-role", "valueCode": "doctor"}],
    ],
)
def test_a_channel_role_that_makes_no_sense_is_refused(extensions):
    with pytest.raises(NotMapped) as refused:
        mapped(media(extension=extensions), heard=sound(2, distinct=True))

    assert refused.value.at == f"Media.extension[{len(extensions) - 1}]"


def test_nine_channels_are_too_many():
    with pytest.raises(NotMapped) as refused:
        mapped(heard=sound(9, distinct=True))

    assert refused.value.at == "Media.content"


# --- names to listen for -----------------------------------------------------------------


def test_names_are_taken_apart_once_each_without_initials():
    person = patient(name=[{"family": "van der Berg", "given": ["Anna", "M."]}, {"text": "Anna Bergsdottir"}])
    doctor = practitioner(name=[{"family": "Holm", "prefix": ["Dr."]}])

    config = mapped(patient=person, practitioners=[doctor, practitioner()]).value

    assert config.keyterms == ("Anna", "van der Berg", "Bergsdottir", "Holm")


def test_without_resources_the_displays_are_listened_for():
    visit = encounter(
        subject={"display": "Anna Berg"},
        participant=[
            {"individual": {"display": "(Holm)"}},
            {"individual": {"reference": "Practitioner/1"}},
            {"id": "x"},
        ],
    )

    assert mapped(None, visit).value.keyterms == ("Anna", "Berg", "Holm")


def test_a_name_corti_cannot_take_is_left_out_with_a_warning():
    result = mapped(patient=patient(name=[{"family": "x" * 51, "given": ["y" * 50]}, {"use": "usual"}]))

    assert result.value.keyterms == ("y" * 50,)
    assert warned(result) == [("Patient.name", "too-long")]


def test_more_than_a_thousand_names_are_cut_with_a_warning():
    result = mapped(practitioners=[practitioner(name=[{"family": f"Name{n}"} for n in range(1001)])])

    assert len(result.value.keyterms) == 1000
    assert warned(result) == [("Practitioner.name", "too-long")]


# --- transport ---------------------------------------------------------------------------


def test_the_media_may_choose_its_transport():
    url = "urn:x-fhir-bridge:transport"

    assert transport_of(media()) is None
    assert transport_of(media(extension=[{"url": "urn:x", "valueCode": "y"}])) is None
    assert transport_of(media(extension=[{"url": url, "valueCode": "stream"}])) == "stream"
    assert transport_of(media(extension=[{"url": url, "valueString": "recording"}])) == "recording"
    with pytest.raises(NotMapped) as refused:
        transport_of(media(extension=[{"url": "urn:x", "valueCode": "y"}, {"url": url, "valueCode": "pigeon"}]))
    assert refused.value.at == "Media.extension[1]"


# --- what is given back ------------------------------------------------------------------


def test_an_accepted_media_keeps_all_but_its_audio_and_status():
    sent = example("media-url") | {"_status": {"id": "s"}}
    sent["content"] |= {"data": "AAAA", "_data": {"id": "d"}}
    before = json.dumps(sent)

    given = accepted_media(
        sent, binary_url="Binary/b1", size=3, sha1="2jmj7l5rSw0yVb/vlWAYkK/YBwk=", content_type="audio/flac"
    )

    assert json.dumps(sent) == before
    assert given["content"] == {
        "language": "en",
        "title": "Consultation, 17 April 2026",
        "creation": "2026-04-17T09:05:12+02:00",
        "contentType": "audio/flac",
        "url": "Binary/b1",
        "size": 3,
        "hash": "2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
    }
    changed = {"content", "status", "_status"}
    assert {k: v for k, v in given.items() if k not in changed} == {k: v for k, v in sent.items() if k not in changed}
    assert given["status"] == "in-progress"
    assert "_status" not in given
    model_of(given)


def test_a_media_without_content_still_gets_its_binary():
    given = accepted_media(
        {"resourceType": "Media"}, binary_url="Binary/b", size=1, sha1="AA==", content_type="audio/wav"
    )

    assert given["content"] == {"contentType": "audio/wav", "url": "Binary/b", "size": 1, "hash": "AA=="}


def test_the_status_changes_and_nothing_else():
    assert media_with_status({"id": "m", "status": "in-progress", "note": []}, "completed") == {
        "id": "m",
        "status": "completed",
        "note": [],
    }
