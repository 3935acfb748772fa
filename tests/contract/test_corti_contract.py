"""The Corti client against the local Corti, which was written by others from the same reference."""

import io
import time
import wave
from dataclasses import dataclass

import pytest

from fhir_bridge import clock
from fhir_bridge.corti.client import CortiClient
from fhir_bridge.corti.endpoint import endpoint_of
from fhir_bridge.corti.messages import (
    CortiEncounter,
    CortiPatient,
    Ended,
    Facts,
    InteractionDraft,
    Participant,
    Segment,
    StreamConfig,
    Transcript,
    Usage,
)
from fhir_bridge.corti.recorded import FactChange, FactDraft, TranscriptDraft
from fhir_bridge.corti.socket import Stream
from fhir_bridge.corti.stream import Patience
from fhir_bridge.corti.token import TokenSource
from fhir_bridge.errors import (
    ConfigRefused,
    CortiDuplicate,
    CortiLoginFailed,
    CortiNotFound,
    CortiRefused,
    CortiThrottled,
    CortiTimeout,
    CortiUnavailable,
)
from fhir_bridge.sandbox.script import Script, ScriptEngine
from fhir_bridge.sandbox.server import Sandbox

PCM = "audio/pcm; rate=16000; channels=1; bits=16"
CONFIG = StreamConfig("en", "en", (Participant(0, "multiple"),), diarize=True, audio_format=PCM)
SCRIPT = Script.model_validate(
    {
        "utterances": [
            {"start": 0.5, "end": 1.5, "speaker": 0, "text": "What brings you here?"},
            {"start": 2.0, "end": 4.0, "speaker": 1, "text": "My knee hurts."},
        ],
        "facts": [{"at": 4.0, "group": "chief-complaint", "text": "Knee pain"}],
    }
)
WORDS = ("What brings you here?", "My knee hurts.")


@dataclass(frozen=True)
class Slice:
    payload: bytes
    start: float
    end: float


def silence(seconds=5.0):
    for n in range(int(seconds * 4)):
        yield Slice(bytes(8_000), n / 4, (n + 1) / 4)


def wav(seconds=5):
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(bytes(32_000 * seconds))
    file.seek(0)
    return file


class Hurried(clock.Clock):
    def sleep(self, seconds):
        """Wait for nothing: the retries are what is tested."""


def draft(identifier="V-1~0a1b2c3d", status="planned"):
    return InteractionDraft(CortiEncounter(identifier, status, "outpatient"), CortiPatient("MRN-1"))


@pytest.fixture
def sandbox():
    with Sandbox(ScriptEngine(SCRIPT), ("127.0.0.1", 0), ("client-1", "secret-1")) as running:
        yield running


def reach(sandbox, **other):
    endpoint = endpoint_of("eu", "base", sandbox.url, sandbox.url)
    tokens = TokenSource(endpoint, **{"client_id": "client-1", "client_secret": "secret-1", **other})
    return endpoint, tokens, CortiClient(endpoint, tokens)


@pytest.fixture
def corti(sandbox):
    return reach(sandbox)[2]


@pytest.fixture
def interaction(corti):
    return corti.create_interaction(draft())


@pytest.fixture
def stream(sandbox, interaction):
    endpoint, tokens, _ = reach(sandbox)

    def made(config=CONFIG, **options):
        url = endpoint.stream_url(interaction.id, interaction.websocket_url)
        patience = Patience(config=2, flushed=0.5, ended=3, linger=0.2)
        return Stream(url, tokens, config, silence(), **{"pace": 20, "patience": patience, **options})

    return made


def said(messages):
    return tuple(one.text for message in messages if isinstance(message, Transcript) for one in message.segments)


def learnt(messages):
    return {one.id: one.text for message in messages if isinstance(message, Facts) for one in message.facts}


# --- the stream -------------------------------------------------------------------------------


def test_a_stream_brings_words_and_facts_and_ends(stream, corti, interaction):
    with stream() as live:
        messages = list(live)

    assert sorted(said(messages)) == sorted(WORDS)
    assert list(learnt(messages).values()) == ["Knee pain"]
    assert any(isinstance(message, Usage) and message.final for message in messages)
    assert isinstance(messages[-1], Ended | Usage)
    assert {fact.id for fact in corti.facts(interaction.id)} == set(learnt(messages))


@pytest.mark.parametrize(
    "switches",
    [
        {"fact_key": "facts"},
        {"fact_key": "data"},
        {"type_case": "lower"},
        {"type_case": "upper"},
        {"bare_config_accepted": True},
        {"unknown_messages": True},
        {"shuffled_segments": True},
        {"usage": "after"},
        {"usage": "none"},
        {"flushed": False},
        {"close_after_ended": False},
        {"ping_interval": 0.05},
        {"config_delay": 0.3},
        {"repeat_facts": True},
        {"hold_transcripts": True},
        {"websocket_url_query": False},
        {"final_delay": 0.5},
    ],
    ids=str,
)
def test_a_stream_is_understood_in_every_form_corti_may_choose(sandbox, stream, switches):
    for name, value in switches.items():
        setattr(sandbox.switches, name, value)
    with stream() as live:
        messages = list(live)

    assert sorted(said(messages)) == sorted(WORDS)
    assert len(learnt(messages)) == 1
    assert live.complete


@pytest.mark.parametrize("form", ["CONFIG_DENIED", "CONFIG_REJECTED", "error"])
def test_a_refused_audio_format_is_told_as_one(sandbox, stream, form):
    sandbox.switches.refused_formats = ("audio/pcm",)
    sandbox.switches.format_refusal = form

    with stream() as live, pytest.raises(ConfigRefused) as refused:
        list(live)
    assert refused.value.about == "audio"


def test_a_refused_language_is_told_as_one(stream):
    config = StreamConfig("xx", "en", (Participant(0, "multiple"),), audio_format=PCM)
    with stream(config) as live, pytest.raises(ConfigRefused) as refused:
        list(live)
    assert refused.value.about == "language"


@pytest.mark.parametrize(
    ("switches", "kind"),
    [
        ({"config_silence": True}, CortiTimeout),
        ({"ended": False, "close_after_ended": False, "usage": "none"}, CortiTimeout),
        ({"drop_at_byte": 40_000}, CortiUnavailable),
        ({"close_at": 2.0, "close_code": 1011}, CortiUnavailable),
        ({"close_at": 2.0, "close_code": 1006}, CortiUnavailable),
        ({"close_at": 2.0, "close_code": 1000}, CortiUnavailable),
    ],
    ids=str,
)
def test_a_stream_that_fails_says_so(sandbox, stream, switches, kind):
    for name, value in switches.items():
        setattr(sandbox.switches, name, value)

    with stream() as live, pytest.raises(kind):
        list(live)


def test_a_connection_after_a_break_has_a_new_token_and_its_own_configuration(sandbox, stream):
    sandbox.switches.token_seconds = 1
    sandbox.switches.close_at = 2.0
    with stream() as live, pytest.raises(CortiUnavailable):
        list(live)

    with stream() as live:
        assert list(live)


# --- REST -------------------------------------------------------------------------------------


def test_an_interaction_is_created_found_patched_and_deleted(corti, interaction):
    assert corti.interaction(interaction.id).identifier == "V-1~0a1b2c3d"
    assert corti.find_interaction("V-1~0a1b2c3d").id == interaction.id
    assert corti.find_interaction("V-1") is None
    assert corti.patch_interaction(interaction.id, draft(status="completed")).status == "completed"
    assert corti.delete_interaction(interaction.id) is True
    assert corti.delete_interaction(interaction.id) is False
    with pytest.raises(CortiNotFound):
        corti.interaction(interaction.id)


@pytest.mark.parametrize("form", ["400", "409"])
@pytest.mark.parametrize("errors", ["2026", "2025"])
def test_a_reserved_identifier_is_a_duplicate(sandbox, corti, interaction, form, errors):  # noqa: ARG001 - it reserves
    sandbox.switches.duplicate_identifier = form
    sandbox.switches.error_form = errors

    with pytest.raises(CortiDuplicate):
        corti.create_interaction(draft())


def test_pages_are_followed_to_the_end(corti):
    made = {corti.create_interaction(draft(f"V-{n}")).id for n in range(7)}

    assert {one.id for one in corti.interactions(page_size=3)} == made


def test_a_recording_becomes_words_in_seconds_and_facts(sandbox, corti, interaction):
    for unit in ("ms", "s"):
        sandbox.switches.transcript_unit = unit
        recording = corti.upload_recording(interaction.id, wav())
        made = corti.create_transcript(
            interaction.id, TranscriptDraft(recording, "en", diarize=True, asynchronous=False), seconds=5.0
        )
        status = corti.transcript_status(interaction.id, made.id)
        read = corti.transcript(interaction.id, made.id, seconds=5.0)

        assert made.status == status == read.status == "completed"
        assert read.segments[1] == Segment("My knee hurts.", 2.0, 4.0, speaker=1)
        assert recording in corti.recordings(interaction.id)
        assert made.id in {one.id for one in corti.transcripts(interaction.id)}
    assert b"".join(corti.recording(interaction.id, recording)) == wav().read()
    assert corti.extract_facts("My knee hurts since Friday.", "en").facts
    assert corti.delete_transcript(interaction.id, made.id)
    assert corti.delete_recording(interaction.id, recording)


def test_an_asynchronous_transcript_is_processing_first(sandbox, corti, interaction):
    sandbox.switches.transcript_polls = 2
    recording = corti.upload_recording(interaction.id, wav())
    made = corti.create_transcript(interaction.id, TranscriptDraft(recording, "en"), seconds=5.0)

    statuses = [made.status]
    while statuses[-1] == "processing" and len(statuses) < 100:
        time.sleep(0.05)
        statuses.append(corti.transcript_status(interaction.id, made.id))
    assert statuses[:3] == ["processing"] * 3
    assert statuses[-1] == "completed"


def test_facts_are_added_changed_and_listed(corti, interaction):
    (fact,) = corti.add_facts(interaction.id, [FactDraft("Allergic to nuts", "allergies", "system")])
    (changed,) = corti.change_fact(interaction.id, FactChange(fact.id, "Allergic to all nuts"))
    (dropped,) = corti.change_facts(interaction.id, [FactChange(fact.id, discarded=True)])

    assert (fact.group, fact.source) == ("allergies", "system")
    assert changed.text == "Allergic to all nuts"
    assert dropped.discarded
    assert [one.discarded for one in corti.facts(interaction.id)] == [True]
    with pytest.raises(CortiNotFound):
        corti.add_facts(interaction.id, [FactDraft("x", "no such group")])


def test_groups_and_languages_are_known(corti):
    assert {"chief-complaint", "allergies"} <= {group.key for group in corti.fact_groups()}
    assert "en" in corti.languages()


def test_what_corti_does_not_allow_is_told(sandbox, corti):
    with pytest.raises(CortiLoginFailed):
        reach(sandbox, client_secret="wrong")[2].languages()
    with pytest.raises(CortiRefused):
        corti.interaction("not-a-uuid")
    sandbox.switches.credit = False
    with clock.use(Hurried()), pytest.raises(CortiThrottled, match="balance"):
        corti.extract_facts("My knee hurts.", "en")


def test_a_token_that_expired_is_replaced_without_a_word(sandbox, corti, interaction):
    sandbox.switches.token_seconds = 1
    assert corti.interaction(interaction.id).id == interaction.id
