from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest
import requests
import websocket
from conftest import config, kinds, pcm, told

from fhir_bridge.sandbox import numbers, server


def test_words_facts_usage_and_ended_come_in_corti_s_order_and_are_kept(call):
    interaction = call.create()
    talk = call.live(interaction)
    talk.play(pcm(44))

    messages = talk.end()

    path = f"/interactions/{interaction['interactionId']}"
    facts = [one for message in messages if message["type"] == "facts" for one in message["fact"]]
    assert told(messages) == list(range(44))
    assert kinds(messages)[-2:] == ["usage", "ENDED"]
    assert kinds(messages).index("facts") < kinds(messages).index("usage")
    assert talk.code == 1000
    assert [one["text"] for one in facts] == ["Number 0", "Number 40"]
    assert facts[1]["evidence"] == [{"type": "transcript", "reference": interaction["interactionId"], "quote": "40"}]
    assert call("GET", f"{path}/facts/").json()["facts"] == facts
    stored = call("GET", f"{path}/transcripts/?full=true").json()["transcripts"][0]["transcript"]["transcripts"]
    assert " ".join(one["text"] for one in stored) == " ".join(str(number) for number in range(44))
    recording = call("GET", f"{path}/recordings/").json()["recordings"][0]
    assert call("GET", f"{path}/recordings/{recording}").content == pcm(44)


def test_a_segment_looks_as_corti_s(call):
    interaction = call.create()
    talk = call.live(interaction, transcription={"diarize": True})
    talk.play(pcm(4))
    segment = talk.end()[0]["data"][0]

    assert segment["id"] == interaction["interactionId"]
    assert (segment["final"], segment["speakerId"], segment["participant"]) == (True, 0, {"channel": 0})
    assert segment["time"] == {"start": 0.0, "end": pytest.approx(0.93, abs=0.02)}


def test_nothing_is_kept_when_retention_is_none(call):
    interaction = call.create()
    talk = call.live(interaction, retentionPolicy="none")
    talk.play(pcm(44))

    assert "facts" in kinds(talk.end())
    path = f"/interactions/{interaction['interactionId']}"
    assert call("GET", f"{path}/facts/").json() == {"facts": []}
    assert call("GET", f"{path}/transcripts/").json() == {"transcripts": []}
    assert call("GET", f"{path}/recordings/").json() == {"recordings": []}


def test_the_accepted_configuration_has_every_default_and_both_names_of_diarisation(call):
    talk = call.open(call.create())
    talk.tell(config(transcription={"isDiarization": True}, **{"X-Corti-Retention-Policy": "none"}))
    accepted = talk.next()["configuration"]

    assert accepted["transcription"]["diarize"] is accepted["transcription"]["isDiarization"] is True
    assert accepted["transcription"]["isMultichannel"] is False
    assert accepted["retentionPolicy"] == "none"
    assert accepted["mode"]["factGenerationInterval"] == "fast_init"


DENIED = [
    ({"transcription": {"primaryLanguage": "tlh"}}, "language tlh is not available; available: ar, da"),
    ({"transcription": {"participants": [{"channel": 0, "role": "nurse"}]}}, "transcription.participants.0.role"),
    ({"transcription": {"participants": [], "isMultichannel": True}}, "participant per channel"),
    ({"mode": "documentation"}, "mode.type"),
    ({"audioFormat": "application/json"}, "application/json is not supported"),
    ({"audioFormat": "audio/wav"}, "audio/wav is not supported"),
    ({"audioFormat": "audio/pcm; rate=16000; channels=1"}, "audio/pcm needs bits"),
    ({"keyterms": {"terms": [{"term": "x" * 51}]}}, "keyterms.terms.0.term"),
    ({"keyterms": {"terms": [{"term": "x"}] * 1001}}, "keyterms.terms"),
    ({"replacements": [{"find": "", "replace": "x"}]}, "replacements.0.find"),
]


@pytest.mark.parametrize(("change", "reason"), DENIED, ids=[one[1] for one in DENIED])
def test_a_bad_configuration_is_denied_with_its_reason(call, change, reason):
    talk = call.open(call.create())
    talk.tell(config(**change))
    answer = talk.next()

    assert answer["type"] == "CONFIG_DENIED"
    assert reason in answer["reason"]
    assert talk.rest() == []
    assert talk.code == 1000


def test_facts_need_the_locale_they_shall_be_written_in(call):
    talk = call.open(call.create())
    message = config()
    del message["configuration"]["mode"]["outputLocale"]
    talk.tell(message)

    assert "outputLocale" in talk.next()["reason"]


@pytest.mark.parametrize("first", [b"\0" * 100, '{"type":"end"}', "no json", "[1]"])
def test_anything_before_the_configuration_is_config_missing(call, first):
    talk = call.open(call.create())
    talk.socket.send_binary(first) if isinstance(first, bytes) else talk.tell(first)

    assert kinds(talk.rest()) == ["CONFIG_MISSING"]


def test_no_configuration_in_time_is_told_and_closed(call, sandbox):
    sandbox.switches.config_timeout = 0.2
    interaction = call.create()
    streams = call.open(interaction).rest()
    transcribe = call.open(f"{call.url.replace('http', 'ws')}/audio-bridge/v2/transcribe?tenant-name=base").rest()

    assert kinds(streams) == ["CONFIG_NOT_PROVIDED"]
    assert kinds(transcribe) == ["CONFIG_TIMEOUT"]


def test_a_second_configuration_changes_nothing(call):
    talk = call.live(call.create())
    talk.tell(config())

    assert talk.next()["type"] == "CONFIG_ALREADY_RECEIVED"
    talk.play(pcm(4))
    assert told(talk.end()) == [0, 1, 2, 3]


def test_flush_tells_what_is_pending_and_the_session_goes_on(call):
    talk = call.live(call.create())
    talk.play(pcm(2))
    talk.tell({"type": "flush"})
    before = talk.until("flushed")
    talk.play(pcm(2, first=2))
    after = talk.end()

    assert told(before) == [0, 1]
    assert kinds(before) == ["transcript", "facts", "flushed"]
    assert told(after) == [2, 3]


def status_of(call, url, query):
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        call.open(url, query)
    return refused.value.status_code


def test_a_bad_token_tenant_or_interaction_is_refused_before_the_upgrade(call):
    url = call.create()["websocketUrl"].partition("?")[0]
    token = f"token=Bearer%20{call.token}"

    assert status_of(call, url, "tenant-name=base") == 401
    assert status_of(call, url, "tenant-name=base&token=Bearer%20nonsense") == 401
    assert status_of(call, url, token) == 403
    assert status_of(call, url, f"tenant-name=other&{token}") == 403
    unknown = url.replace(url.split("/")[-2], "00000000-0000-4000-8000-000000000000")
    assert status_of(call, unknown, f"tenant-name=base&{token}") == 404
    assert status_of(call, url.replace(url.split("/")[-2], "abc"), f"tenant-name=base&{token}") == 400


def test_the_websocket_url_may_come_without_its_query(call, sandbox):
    sandbox.switches.websocket_url_query = False

    assert "?" not in call.create()["websocketUrl"]


def test_a_wav_header_under_pcm_is_the_error_that_was_seen_live(call):
    talk = call.live(call.create())
    talk.play(numbers.make_wav(8))
    messages = talk.rest()

    assert kinds(messages) == ["error", "usage", "ENDED"]
    assert messages[0]["error"]["details"] == "Provided audio is invalid or corrupted."
    assert set(messages[0]["error"]) == {"requestid", "details"}


@pytest.mark.parametrize("form", ["audio/ogg", "audio/webm; codecs=opus", "audio/mpeg", None])
def test_bytes_that_are_not_what_was_declared_are_an_error(call, form):
    talk = call.live(call.create(), audioFormat=form)
    talk.play(b"this is no audio at all, only words " * 20)

    assert kinds(talk.rest())[0] == "error"


def test_audio_of_a_few_bytes_is_an_error_at_the_end(call):
    talk = call.live(call.create(), audioFormat="audio/ogg")
    talk.play(b"Ogg")

    assert kinds(talk.end()) == ["error", "usage", "ENDED"]


def test_a_wav_without_audio_format_is_found_out_unless_switched(call, sandbox):
    talk = call.live(call.create("a"), audioFormat=None)
    talk.play(numbers.make_wav(4))
    assert told(talk.end()) == [0, 1, 2, 3]

    sandbox.switches.wav_autodetected = False
    talk = call.live(call.create("b"), audioFormat=None)
    talk.play(numbers.make_wav(4))
    assert kinds(talk.rest())[0] == "error"


def test_a_chunk_over_the_limit_is_an_error_and_not_heard(call):
    talk = call.live(call.create())
    talk.play(pcm(10), size=64_002)
    messages = talk.end()

    assert kinds(messages)[0] == "error"
    assert told(messages) == [8, 9]


@pytest.mark.parametrize(("rate", "channels", "bits"), [(44100, 2, 24), (8000, 1, 16), (48000, 2, 32)])
def test_pcm_of_any_rate_channels_and_bits_is_heard_by_its_declaration(call, rate, channels, bits):
    row = numbers.samples(0, 16, rate).astype(np.int32)
    wide = np.repeat(row[:, None], channels, axis=1)
    width = bits // 8
    raw = (wide << (32 - 16)).astype("<i4").view(np.uint8).reshape(-1, 4)[:, 4 - width :].tobytes()
    talk = call.live(call.create(), audioFormat=f"audio/pcm; rate={rate}; channels={channels}; bits={bits}")
    talk.play(raw, size=10_001)

    assert told(talk.end()) == list(range(16))


def test_bits_that_nobody_has_are_an_error(call):
    talk = call.live(call.create(), audioFormat="audio/pcm; rate=16000; channels=1; bits=12")
    talk.play(pcm(2))

    assert kinds(talk.rest())[0] == "error"


def test_each_channel_is_heard_under_its_participants_number(call):
    participants = [{"channel": 0, "role": "doctor"}, {"channel": 1, "role": "patient"}]
    form = "audio/pcm; rate=16000; channels=2; bits=16"
    talk = call.live(
        call.create(), audioFormat=form, transcription={"isMultichannel": True, "participants": participants}
    )
    talk.play(numbers.make_wav(8, channels=2)[44:])
    segments = [one for message in talk.end() if message["type"] == "transcript" for one in message["data"]]

    heard = {(one["participant"]["channel"], one["transcript"]) for one in segments}
    assert heard == {(0, "0 1 2 3"), (0, "4 5 6 7"), (1, "10000 10001 10002 10003"), (1, "10004 10005 10006 10007")}


def test_replacements_are_made_in_the_words(call):
    talk = call.live(call.create(), replacements=[{"find": "2", "replace": r"two \1"}])
    talk.play(pcm(4))

    assert talk.end()[0]["data"][0]["transcript"] == r"0 1 two \1 3"


def test_long_silence_is_told_when_asked_for(call):
    talk = call.live(call.create(), audioEvents={"enabled": True})
    talk.play(b"\0\0" * 16_000 * 11 + pcm(4), size=16_000)
    events = [one["data"] for one in talk.end() if one["type"] == "audioEvent"]

    assert [one["event"] for one in events] == ["longSilenceDetected", "longSilenceRecovered"]
    assert events[0]["startTimeMs"] == pytest.approx(10_000, abs=600)


def test_audio_faster_than_real_time_is_taken_without_loss(call):
    talk = call.live(call.create())
    began = time.monotonic()
    talk.play(pcm(1200), size=32_000)

    assert told(talk.end()) == list(range(1200))
    assert time.monotonic() - began < 60


class Patient(numbers.NumbersEngine):
    """Hears nothing until it may."""

    def __init__(self):
        self.may = threading.Event()

    def listen(self, situation):
        listener, may = super().listen(situation), self.may

        class Waiting(numbers.NumbersListener):
            def hear(self, samples):
                may.wait(30)
                return listener.hear(samples)

        return Waiting(situation.channels)


def test_a_client_that_is_faster_than_the_recogniser_is_held_back(callers):
    engine = Patient()
    with server.Sandbox(engine, ("127.0.0.1", 0), ("me", "mine")) as sandbox:
        call = callers(sandbox)
        talk = call.live(call.create())
        sender = threading.Thread(target=talk.play, args=(b"\0" * 30_000_000, 32_000))
        sender.start()
        sender.join(1.5)
        session = sandbox.state.sessions[0]
        held_back = sender.is_alive(), session.bytes
        engine.may.set()
        sender.join(30)
        talk.end()

        assert held_back[0]
        assert held_back[1] < 8_000_000
        assert session.hearing.seconds == 30_000_000 / 32_000
        call.close()


def test_facts_come_at_ten_twenty_and_twenty_six_seconds_of_audio(call):
    talk = call.live(call.create(), replacements=[])
    talk.play(pcm(200))
    messages = talk.end()

    usages = [one["credits"] for one in messages if one["type"] == "delta_usage"]
    assert [round(one / 0.0002) for one in usages] == [10, 20, 26, 36, 48]


def test_a_client_that_leaves_loses_nothing_that_was_received(call):
    interaction = call.create()
    talk = call.live(interaction)
    talk.play(pcm(8))
    talk.socket.close()

    def stored():
        listed = call("GET", f"/interactions/{interaction['interactionId']}/transcripts/").json()["transcripts"]
        return [one["transcriptSample"] for one in listed]

    until = time.monotonic() + 5
    while stored() != ["0 1 2 3 4 5 6 7"] and time.monotonic() < until:
        time.sleep(0.05)
    assert stored() == ["0 1 2 3 4 5 6 7"]


def test_a_later_connection_resumes_the_interaction(call):
    interaction = call.create()
    first = call.live(interaction)
    first.play(pcm(8))
    first.end()
    second = call.live(interaction)
    second.play(pcm(8, first=8))
    messages = second.end()

    segments = [one for message in messages if message["type"] == "transcript" for one in message["data"]]
    assert told(messages) == list(range(8, 16))
    assert segments[0]["time"]["start"] == 0.0
    assert len(call("GET", f"/interactions/{interaction['interactionId']}/transcripts/").json()["transcripts"]) == 2


def test_facts_posted_meanwhile_are_told_on_the_socket(call):
    interaction = call.create()
    talk = call.live(interaction)
    call(
        "POST",
        f"/interactions/{interaction['interactionId']}/facts/",
        json={"facts": [{"text": "Latex", "group": "allergies", "source": "system"}]},
    )
    message = talk.next()

    assert (message["type"], message["fact"][0]["text"]) == ("facts", "Latex")


def test_transcribe_tells_flat_words_and_ends_in_lower_case(call):
    talk = call.open(f"{call.url.replace('http', 'ws')}/audio-bridge/v2/transcribe?tenant-name=base")
    talk.tell(
        {
            "type": "config",
            "configuration": {"primaryLanguage": "en", "audioFormat": "audio/pcm; rate=16000; channels=1; bits=16"},
        }
    )
    accepted = talk.next()
    talk.play(pcm(4))
    messages = talk.end()

    assert accepted["type"] == "CONFIG_ACCEPTED"
    assert accepted["sessionId"]
    assert accepted["configuration"]["interimResults"] is False
    assert messages[0]["data"]["text"] == "0 1 2 3"
    assert messages[0]["data"]["isFinal"] is True
    assert kinds(messages) == ["transcript", "usage", "ended"]


def test_a_script_tells_each_item_when_that_much_audio_has_come(scripted, callers):
    script = {
        "utterances": [
            {"start": 0.5, "end": 1.0, "text": "Are you allergic?", "speaker": 0},
            {"start": 1.2, "end": 2.0, "text": "To penicillin.", "speaker": 1, "channel": 1},
            {"start": 8.0, "end": 9.0, "text": "Never reached."},
        ],
        "facts": [{"at": 1.5, "group": "allergies", "text": "Penicillin", "quote": "penicillin"}],
    }
    sandbox = scripted(script)
    call = callers(sandbox)
    talk = call.live(call.create(), transcription={"diarize": True})
    talk.play(b"\0" * 16_000 * 2 * 2)
    messages = talk.end()

    assert kinds(messages) == ["transcript", "facts", "transcript", "usage", "ENDED"]
    assert messages[0]["data"][0]["time"] == {"start": 0.5, "end": 1.0}
    assert messages[1]["fact"][0]["evidence"][0]["quote"] == "penicillin"
    assert (messages[2]["data"][0]["speakerId"], messages[2]["data"][0]["participant"]) == (1, {"channel": 1})
    extracted = call(
        "POST", "/tools/extract-facts", json={"context": [{"type": "text", "text": "x"}], "outputLanguage": "en"}
    )
    assert [one["text"] for one in extracted.json()["facts"]] == ["Penicillin"]


def test_a_script_without_facts_leaves_them_to_the_rules_and_tells_nothing_twice(scripted, callers):
    call = callers(scripted({"utterances": [{"start": 0, "end": 1, "text": "I am allergic to bees."}]}))
    interaction = call.create()
    first = call.live(interaction)
    first.play(b"\0" * 40_000)
    second_kinds = []
    messages = first.end()
    second = call.live(interaction)
    second.play(b"\0" * 40_000)
    second_kinds = kinds(second.end())

    assert [one["fact"][0]["group"] for one in messages if one["type"] == "facts"] == ["allergies"]
    assert second_kinds == ["usage", "ENDED"]


def test_no_http_answer_follows_the_close_of_a_socket(call):
    talk = call.live(call.create())
    talk.end()
    talk.socket.sock.settimeout(3)

    assert talk.socket.sock.recv(100) == b""


def test_the_side_channel_shows_what_was_received(call, sandbox):
    talk = call.live(call.create())
    talk.play(pcm(4), size=4000)
    talk.end()
    base = f"{sandbox.url}/__sandbox"
    session = requests.get(f"{base}/sessions", timeout=5).json()[0]
    sent = [one for one in session["journal"] if one["event"] == "audio"]

    assert session["bytes"] == sum(one["bytes"] for one in sent) == len(pcm(4))
    assert session["seconds"] == 1.0
    assert session["configuration"]["audioFormat"].startswith("audio/pcm")
    assert requests.get(f"{base}/sessions/0/audio", timeout=5).content == pcm(4)
    assert [one["path"] for one in requests.get(f"{base}/requests", timeout=5).json()][-2:] == [
        "/v2/interactions/",
        f"/audio-bridge/v2/interactions/{session['interaction']}/streams",
    ]
    assert json.loads(requests.get(f"{base}/switches", timeout=5).text)["fact_key"] == "fact"
