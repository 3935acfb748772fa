import json

import pytest

from fhir_bridge.corti.messages import Ended, Flushed, Participant, StreamConfig, StreamError, Transcript, Unknown
from fhir_bridge.corti.stream import END, FLUSH, Conversation, Patience, State, about
from fhir_bridge.errors import (
    ConfigRefused,
    CortiError,
    CortiForbidden,
    CortiThrottled,
    CortiTimeout,
    CortiUnavailable,
)

CONFIG = StreamConfig("en", "en", (Participant(0, "multiple"),), diarize=True, keyterms=("Anna Beispiel",))
WORDS = [{"transcript": "My knee.", "time": {"start": 0, "end": 1}}]
BAD_AUDIO = {"requestid": "q1", "details": "Provided audio is invalid or corrupted."}


class Talk:
    """A conversation with a clock one can turn."""

    def __init__(self) -> None:
        self.now = 100.0
        self.conversation = Conversation(CONFIG, now=self.now)

    def hear(self, kind, **body):
        return self.conversation.receive(json.dumps({"type": kind, **body}), now=self.now)

    def wait(self, seconds):
        self.now += seconds
        self.conversation.tick(now=self.now)

    def finish(self):
        self.conversation.finish(now=self.now)

    @property
    def state(self):
        return self.conversation.state


@pytest.fixture
def talk():
    return Talk()


@pytest.fixture
def live(talk):
    talk.conversation.to_send()
    talk.hear("CONFIG_ACCEPTED")
    return talk


@pytest.fixture
def ending(live):
    live.finish()
    live.hear("flushed")
    live.conversation.to_send()
    return live


def test_the_configuration_is_said_first_and_audio_waits_for_its_acceptance(talk):
    assert [json.loads(frame) for frame in talk.conversation.to_send()] == [CONFIG.to_json()]
    assert not talk.conversation.wants_audio
    talk.hear("transcript", data=WORDS)
    assert not talk.conversation.wants_audio

    talk.hear("config_accepted")

    assert talk.conversation.wants_audio
    assert talk.conversation.to_send() == ()


def test_a_configuration_that_was_received_already_counts_as_accepted(talk):
    talk.hear("CONFIG_ALREADY_RECEIVED")

    assert talk.conversation.wants_audio


def test_a_second_acceptance_changes_nothing(ending):
    ending.hear("CONFIG_ACCEPTED")

    assert ending.state is State.ENDING


@pytest.mark.parametrize("kind", ["DENIED", "REJECTED", "MISSING", "NOT_PROVIDED", "TIMEOUT"])
@pytest.mark.parametrize("write", [str.upper, str.lower])
def test_every_refusal_fails_at_once(talk, kind, write):
    with pytest.raises(ConfigRefused, match=f"CONFIG_{kind}"):
        talk.hear(write(f"config_{kind}"))

    assert talk.conversation.is_over
    assert not talk.conversation.wants_audio


@pytest.mark.parametrize(
    ("reason", "subject"),
    [
        ("language unavailable", "language"),
        ("primaryLanguage xx is not supported for audio", "language"),
        ("unknown outputLocale", "language"),
        ("unsupported audioFormat for language en", "audio"),
        ("MIME type application/json", "audio"),
        ("cannot use PCM", "audio"),
        ("audio not allowed", "audio"),
        ("invalid format", "audio"),
        ("participants must not be empty", "other"),
        ("", "other"),
    ],
)
def test_a_refusal_tells_what_it_is_about(talk, reason, subject):
    assert about(reason) == subject
    with pytest.raises(ConfigRefused) as refused:
        talk.hear("CONFIG_DENIED", reason=reason)
    assert refused.value.about == subject


def test_a_refusal_quotes_corti_but_never_a_name(talk):
    with pytest.raises(ConfigRefused) as refused:
        talk.hear("CONFIG_DENIED", reason="language\n\tunavailable " + "x" * 500)
    assert refused.value.text.startswith(
        "Corti refused the stream configuration (CONFIG_DENIED): language unavailable x"
    )
    assert len(refused.value.text) < 300

    with pytest.raises(ConfigRefused) as refused:
        Talk().hear("CONFIG_DENIED", reason="term 'BEISPIEL' is not allowed")
    assert refused.value.text == "Corti refused the stream configuration (CONFIG_DENIED)"


def test_a_configuration_that_is_not_answered_in_time_is_given_up(talk):
    talk.wait(9.9)

    with pytest.raises(CortiTimeout, match="configuration"):
        talk.wait(0.1)
    assert talk.state is State.FAILED


def test_a_live_stream_may_be_silent_for_ever(live):
    live.wait(10_000)

    assert live.conversation.wants_audio


def test_the_end_is_flush_flushed_end_ended_and_then_what_is_late(live):
    live.finish()
    assert live.conversation.to_send() == (FLUSH,)
    assert not live.conversation.wants_audio
    live.hear("transcript", data=WORDS)
    assert live.hear("flushed") == Flushed()
    assert live.conversation.to_send() == (END,)

    assert live.hear("ENDED") == Ended()
    assert live.state is State.LINGERING
    live.hear("usage", credits=0.1)
    live.wait(1.9)
    assert not live.conversation.is_over
    live.wait(0.1)

    assert live.state is State.ENDED
    live.conversation.closed()
    assert live.state is State.ENDED


def test_finishing_twice_or_before_the_stream_is_live_says_nothing(live):
    live.finish()
    live.finish()
    assert live.conversation.to_send() == (FLUSH,)
    fresh = Talk()
    fresh.conversation.to_send()
    fresh.finish()
    assert fresh.conversation.to_send() == ()


def test_a_server_that_does_not_know_flush_is_asked_to_end(live):
    live.finish()
    live.conversation.to_send()
    live.wait(30)

    assert live.conversation.to_send() == (END,)
    live.hear("flushed")  # late: changes nothing
    assert live.conversation.to_send() == ()


def test_an_end_that_does_not_come_is_given_up_after_a_minute_of_silence(ending):
    ending.wait(59)
    ending.hear("facts", fact=[])
    ending.wait(59)

    with pytest.raises(CortiTimeout, match="end of the stream"):
        ending.wait(1)


def test_an_end_that_does_not_come_is_given_up_after_two_minutes_of_talk(ending):
    for _ in range(3):
        ending.wait(39)
        ending.hear("facts", fact=[])

    with pytest.raises(CortiTimeout):
        ending.wait(3)


def test_a_close_after_ended_is_the_end(ending):
    ending.hear("ENDED")
    ending.conversation.closed()

    assert ending.state is State.ENDED


def test_a_close_after_the_final_usage_is_the_end_even_if_ended_was_lost(ending):
    ending.hear("delta_usage", credits=0.1)
    with pytest.raises(CortiUnavailable):
        ending.conversation.closed()
    assert ending.state is State.FAILED

    other = Talk()
    other.hear("CONFIG_ACCEPTED")
    other.hear("usage", credits=0.1)  # before `end` it proves nothing
    other.finish()
    other.hear("flushed")
    other.hear("usage", credits=0.2)
    other.conversation.closed()
    assert other.state is State.ENDED


def test_a_server_that_ends_instead_of_flushing_has_heard_everything(live):
    live.finish()
    live.hear("ENDED")

    assert live.state is State.LINGERING


@pytest.mark.parametrize("kind", ["talk", "live"])
def test_an_end_before_all_audio_was_sent_is_a_break(kind, request):
    early = request.getfixturevalue(kind)

    with pytest.raises(CortiUnavailable, match="before its end"):
        early.hear("ENDED")
    early.hear("ENDED")  # over is over
    assert early.state is State.FAILED


@pytest.mark.parametrize("kind", ["talk", "live"])
def test_a_close_before_all_was_said_is_a_break(kind, request):
    early = request.getfixturevalue(kind)

    with pytest.raises(CortiUnavailable):
        early.conversation.closed()
    early.conversation.closed()  # told once


def test_audio_that_corti_cannot_read_is_a_refused_format(live):
    with pytest.raises(ConfigRefused) as refused:
        live.hear("error", error=BAD_AUDIO)

    assert refused.value.about == "audio"
    live.hear("error", error=BAD_AUDIO)  # over is over


def test_a_bad_piece_of_audio_does_not_end_a_stream_that_was_understood(live):
    live.hear("transcript", data=[])
    live.hear("transcript", data=WORDS)

    assert live.hear("error", error=BAD_AUDIO) == StreamError("q1", detail=BAD_AUDIO["details"])
    assert live.conversation.wants_audio


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"status": 429}, CortiThrottled),
        ({"id": "A0021"}, CortiThrottled),
        ({"status": 403}, CortiForbidden),
        ({"status": 500, "details": "Anna said something"}, CortiUnavailable),
        ({}, CortiUnavailable),
    ],
)
def test_an_error_that_ends_the_stream_says_why_it_ended(live, error, kind):
    live.hear("error", error=error)

    with pytest.raises(CortiError) as ended:
        live.hear("ENDED")
    assert type(ended.value) is kind
    assert "Anna" not in ended.value.text


def test_unknown_messages_are_returned_and_change_nothing(live):
    assert live.hear("noveltyOf2027") == Unknown("noveltyOf2027")
    assert live.conversation.receive("not json", now=0) == Unknown("not JSON")
    assert live.conversation.receive(b'{"type":"transcript"}', now=0) == Transcript(())
    assert live.conversation.wants_audio


def test_a_hurried_stream_comes_to_its_end_within_the_time_it_is_given(live):
    live.conversation.hurry(now=live.now, within=10)
    live.finish()
    live.wait(5)
    assert live.conversation.to_send() == (FLUSH, END)

    with pytest.raises(CortiTimeout):
        live.wait(5)


def test_a_stream_that_is_ending_already_can_be_hurried_too(ending):
    ending.conversation.hurry(now=ending.now, within=3)
    ending.wait(2.9)

    with pytest.raises(CortiTimeout):
        ending.wait(0.1)


def test_the_deadlines_can_be_chosen():
    conversation = Conversation(CONFIG, now=0, patience=Patience(config=1))

    with pytest.raises(CortiTimeout):
        conversation.tick(now=1)
