import logging
import queue
import socket
import threading
import time
from dataclasses import dataclass
from itertools import count

import pytest
import websocket
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from fhir_bridge import clock
from fhir_bridge.corti import connection
from fhir_bridge.corti.inbox import Inbox
from fhir_bridge.corti.messages import (
    ConfigAccepted,
    Ended,
    Flushed,
    Participant,
    Segment,
    StreamConfig,
    Transcript,
    Unknown,
    Usage,
)
from fhir_bridge.corti.socket import Stream
from fhir_bridge.corti.stream import Patience
from fhir_bridge.errors import (
    BlobDamaged,
    ConfigRefused,
    CortiForbidden,
    CortiLoginFailed,
    CortiNotFound,
    CortiTimeout,
    CortiUnavailable,
)

CONFIG = StreamConfig("en", "en", (Participant(0, "multiple"),))
HASTE = Patience(connect=2, config=1, flushed=1, ended=1, ended_silence=1, linger=0.1, silence=5, stall=5, ping=5)
WORDS = [{"transcript": "My knee.", "time": {"start": 0, "end": 1}}]
HEARD = Transcript((Segment("My knee.", 0, 1),))


@dataclass(frozen=True)
class Slice:
    payload: bytes
    start: float
    end: float


def slices(number=4, size=8_000, start=0.0):
    for n in range(number):
        yield Slice(bytes([n % 256]) * size, start + n / 4, start + (n + 1) / 4)


def polite(peer, heard=None):
    """Play Corti from the configuration to the close."""
    peer.accept()
    while (event := peer.hear()) is not None:
        if isinstance(event, BytesMessage) and heard is not None:
            heard.append(bytes(event.data))
        if isinstance(event, TextMessage) and "flush" in event.data:
            peer.say("transcript", data=WORDS)
            peer.say("flushed")
        if isinstance(event, TextMessage) and "end" in event.data:
            peer.say("usage", credits=0.1)
            peer.say("ENDED")
            peer.close()
            return


@pytest.fixture
def stream(websockets, tokens):
    def made(audio=None, **options):
        audio = slices() if audio is None else audio
        return Stream(websockets.url, tokens, CONFIG, audio, **{"pace": 1_000, "patience": HASTE, **options})

    return made


def test_a_stream_goes_from_the_configuration_to_the_end(websockets, stream):
    heard = []
    websockets.scene = lambda peer: polite(peer, heard)

    with stream() as live:
        messages = list(live)

    assert messages == [ConfigAccepted(), HEARD, Flushed(), Usage(0.1), Ended()]
    assert heard == [piece.payload for piece in slices()]
    assert live.complete
    assert live.sent == 1.0


def test_no_audio_is_sent_before_the_configuration_is_accepted(websockets, stream):
    order = []

    def scene(peer):
        assert peer.hear_text() == CONFIG.to_json()
        time.sleep(0.3)
        order.append("accepted")
        peer.say("CONFIG_ACCEPTED")
        while not isinstance(event := peer.hear(), BytesMessage):
            assert event is not None
        order.append("audio")
        peer.reset()

    websockets.scene = scene
    with stream() as live, pytest.raises(CortiUnavailable):
        list(live)
    assert order == ["accepted", "audio"]


def test_every_connection_has_a_new_token(websockets, stream):
    websockets.scene = polite
    for _ in range(2):
        with stream() as live:
            list(live)

    assert [target.partition("streams?")[2] for target in websockets.targets] == [
        "tenant-name=base&token=Bearer%20token-1",
        "tenant-name=base&token=Bearer%20token-2",
    ]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, CortiLoginFailed),
        (403, CortiForbidden),
        (404, CortiNotFound),
        (503, CortiUnavailable),
        (307, CortiUnavailable),
    ],
)
def test_a_refused_upgrade_says_why_and_never_shows_the_token(websockets, stream, status, kind, caplog, capfd):
    websockets.reject = status
    websocket.enableTrace(traceable=True)
    try:
        with caplog.at_level(logging.DEBUG), pytest.raises(kind) as refused, stream():
            pass
    finally:
        websocket.enableTrace(traceable=False)

    shown = caplog.text + "".join(capfd.readouterr())
    error = refused.value
    while error is not None:
        shown += repr(error) + str(error)
        error = error.__cause__ or error.__context__
    assert "token-1" in websockets.targets[0]
    assert "token-1" not in shown
    assert "token=" not in shown


def test_what_is_said_on_a_stream_is_not_traced(websockets, stream, caplog, capfd):
    websockets.scene = polite
    websocket.enableTrace(traceable=True)
    try:
        with caplog.at_level(logging.DEBUG), stream() as live:
            list(live)
    finally:
        websocket.enableTrace(traceable=False)

    shown = caplog.text + "".join(capfd.readouterr())
    assert "knee" not in shown
    assert "token-1" not in shown


def test_a_host_that_does_not_listen_or_does_not_answer_is_an_outage(tokens):
    with pytest.raises(CortiUnavailable), Stream("ws://127.0.0.1:1/", tokens, CONFIG, []):
        pass
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/?a=b"
        with pytest.raises(CortiTimeout), Stream(url, tokens, CONFIG, [], patience=Patience(connect=0.1)):
            pass


def test_a_certificate_nobody_vouches_for_is_refused_before_the_token_is_sent(secure_websockets, stream):
    with pytest.raises(CortiUnavailable) as refused, stream():
        pass
    assert refused.value.__cause__ is None
    assert secure_websockets.targets == []


@pytest.fixture
def trusted(certificate, monkeypatch):
    monkeypatch.setattr(connection, "DEFAULT_CA_BUNDLE_PATH", str(certificate))
    connection._tls.cache_clear()
    yield
    connection._tls.cache_clear()


@pytest.mark.usefixtures("trusted")
def test_a_stream_goes_over_tls_from_the_configuration_to_the_end(secure_websockets, stream):
    heard = []
    secure_websockets.scene = lambda peer: polite(peer, heard)

    with stream(slices(40)) as live:
        assert list(live)[-1] == Ended()
    assert len(heard) == 40


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("leave", [Stream.abort, lambda live: live.stop(within=0.2)])
def test_a_stream_over_tls_can_be_left_in_the_middle(secure_websockets, stream, leave):
    def scene(peer):
        peer.accept()
        while peer.hear() is not None:
            pass

    secure_websockets.scene = scene
    with stream(slices(10_000), pace=5) as live:
        iterator = iter(live)
        assert next(iterator) == ConfigAccepted()
        leave(live)
        assert list(iterator) == []


def test_a_refused_configuration_fails_at_once(websockets, stream):
    def scene(peer):
        peer.hear_text()
        peer.say("CONFIG_DENIED", reason="language unavailable")
        peer.close()

    websockets.scene = scene
    with stream() as live, pytest.raises(ConfigRefused) as refused:
        list(live)
    assert refused.value.about == "language"
    assert not live.complete


def test_a_configuration_that_is_never_answered_is_given_up(websockets, stream):
    websockets.scene = lambda peer: [peer.hear() for _ in range(3)]

    with stream(patience=Patience(config=0.1)) as live, pytest.raises(CortiTimeout, match="configuration"):
        list(live)


def test_what_corti_said_before_a_break_arrives_before_the_error(websockets, stream):
    def scene(peer):
        peer.accept()
        peer.say("transcript", data=WORDS)
        time.sleep(0.1)
        peer.reset()

    websockets.scene = scene
    messages = []
    with stream(slices(10_000), pace=1) as live, pytest.raises(CortiUnavailable):
        messages.extend(live)
    with pytest.raises(StopIteration):
        next(iter(live))
    assert not live.complete


def test_a_refusal_is_not_lost_to_a_connection_that_closes_while_audio_is_sent(websockets, stream):
    def scene(peer):
        peer.accept()
        peer.hear()
        peer.say("error", error={"details": "Provided audio is invalid or corrupted."})
        peer.close()

    websockets.scene = scene
    with stream(slices(10_000)) as live, pytest.raises(ConfigRefused) as refused:
        list(live)
    assert refused.value.about == "audio"


@pytest.mark.parametrize("code", [1000, 1006, 1008, 1011, 1012])
def test_a_close_in_the_middle_is_a_break_whatever_its_code(websockets, stream, code):
    def scene(peer):
        peer.accept()
        peer.hear()
        peer.close(1000 if code == 1006 else code) if code != 1006 else peer.reset()

    websockets.scene = scene
    with stream(slices(10_000), pace=10) as live, pytest.raises(CortiUnavailable):
        list(live)


def test_pings_are_answered_and_sent(websockets, stream):
    seen = []

    def scene(peer):
        peer.accept()
        peer.send(Ping(payload=b"are you there"))
        while len(seen) < 2:
            event = peer.hear()
            assert event is not None
            if isinstance(event, (Ping, Pong)):
                seen.append(event)
        peer.reset()

    websockets.scene = scene
    with stream(slices(10_000), pace=4, patience=Patience(ping=0.1)) as live, pytest.raises(CortiUnavailable):
        list(live)
    assert Pong(payload=b"are you there") in seen
    assert any(isinstance(event, Ping) for event in seen)


def test_a_connection_without_so_much_as_a_pong_is_given_up(websockets, stream):
    done = threading.Event()

    def scene(peer):
        peer.accept()
        done.wait(5)  # reads nothing, answers nothing

    websockets.scene = scene
    with (
        stream(slices(10_000), pace=1, patience=Patience(silence=0.3)) as live,
        pytest.raises(CortiTimeout, match="silent"),
    ):
        list(live)
    done.set()


def test_a_server_that_takes_no_more_audio_is_given_up(websockets, stream):
    done = threading.Event()

    def scene(peer):
        peer.accept()
        done.wait(5)

    websockets.scene = scene
    flood = slices(10_000, size=64_000)
    with stream(flood, patience=Patience(stall=0.3, silence=60)) as live, pytest.raises(CortiUnavailable):
        list(live)
    done.set()
    assert not live.complete


def test_a_pause_of_corti_is_no_break(websockets, stream):
    def scene(peer):
        peer.accept()
        time.sleep(0.5)
        polite_end(peer)

    websockets.scene = scene
    with stream([], patience=Patience(stall=0.1, linger=0)) as live:
        assert list(live)[-1] == Ended()


def test_an_end_that_never_comes_is_given_up(websockets, stream):
    def scene(peer):
        peer.accept()
        while peer.hear() is not None:
            pass

    websockets.scene = scene
    patience = Patience(flushed=0.1, ended=0.3)
    with stream(patience=patience) as live, pytest.raises(CortiTimeout, match="end of the stream"):
        list(live)
    assert live.complete


def test_a_server_that_says_ended_but_does_not_close_is_left(websockets, stream):
    closed = queue.SimpleQueue()

    def scene(peer):
        peer.accept()
        while (event := peer.hear()) is not None:
            if isinstance(event, TextMessage) and "end" in event.data:
                peer.say("ENDED")
                peer.say("usage", credits=0.3)
            if isinstance(event, TextMessage) and "flush" in event.data:
                peer.say("flushed")
            if isinstance(event, CloseConnection):
                closed.put(event.code)

    websockets.scene = scene
    with stream() as live:
        messages = list(live)
    assert messages[-2:] == [Ended(), Usage(0.3)]
    assert closed.get(timeout=10) == 1000


def test_a_stopped_stream_ends_after_a_slice_with_what_corti_still_says(websockets, stream):
    heard = []
    websockets.scene = lambda peer: polite(peer, heard)

    messages = []
    with stream(slices(10_000), pace=5) as live:
        for message in live:
            messages.append(message)
            if message == ConfigAccepted():
                threading.Timer(0.2, live.stop, kwargs={"within": 5}).start()
    assert messages[-1] == Ended()
    assert HEARD in messages
    assert not live.complete
    assert 0 < live.sent == len(heard) / 4 < 100


def test_a_stopped_stream_ends_in_time_and_without_an_error_when_corti_says_nothing(websockets, stream):
    def scene(peer):
        peer.accept()
        while peer.hear() is not None:
            pass

    websockets.scene = scene
    with stream(slices(10_000), pace=5, patience=Patience()) as live:
        iterator = iter(live)
        assert next(iterator) == ConfigAccepted()
        started = time.monotonic()
        live.stop(within=0.4)
        assert list(iterator) == []
        assert time.monotonic() - started < 2


def test_a_stream_stopped_before_it_began_just_ends(websockets, stream):
    websockets.scene = lambda peer: [peer.hear() for _ in range(3)]

    with stream(patience=Patience()) as live:
        live.stop(within=5)
        assert list(live) == []


def test_an_aborted_stream_ends_at_once(websockets, stream):
    websockets.scene = polite

    with stream(slices(10_000), pace=1) as live:
        iterator = iter(live)
        next(iterator)
        threading.Timer(0.1, live.abort).start()
        assert list(iterator) == []


def test_leaving_the_loop_early_leaves_no_thread_behind(websockets, stream):
    websockets.scene = polite

    with stream(slices(10_000), pace=1) as live:
        for _ in live:
            break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("corti-stream")]


def test_damaged_audio_is_told_to_the_one_who_listens(websockets, stream):
    def damaged():
        yield from slices(2)
        raise BlobDamaged("the audio does not verify")

    websockets.scene = polite
    with stream(damaged()) as live, pytest.raises(BlobDamaged):
        list(live)


def test_unknown_and_broken_messages_do_no_harm(websockets, stream):
    def scene(peer):
        peer.send(TextMessage(data="not json"))
        peer.send(BytesMessage(data=b"\xff\x00"))
        peer.say("novelty")
        peer.send(TextMessage(data='{"type":"transcript",', message_finished=False))
        peer.send(TextMessage(data='"data":[{"text":"in two"}]}'))
        polite(peer)

    websockets.scene = scene
    with stream() as live:
        messages = list(live)
    assert messages[:4] == [
        Unknown("not JSON"),
        Unknown("not JSON"),
        Unknown("novelty"),
        Transcript((Segment("in two", 0, 0),)),
    ]
    assert messages[-1] == Ended()


@pytest.mark.parametrize(
    "flood",
    [
        b"\x81\x7f" + (2**33).to_bytes(8, "big"),
        b"\x01\x7e\xff\xff" + b"a" * 65_535 + (b"\x00\x7e\xff\xff" + b"a" * 65_535) * 20,
        b"\xff" * 20,
    ],
)
def test_a_message_without_bounds_or_sense_breaks_the_connection_and_not_the_memory(websockets, stream, flood):
    def scene(peer):
        peer.accept()
        peer.send_bytes(flood)
        while peer.hear() is not None:
            pass

    websockets.scene = scene
    with stream(slices(10_000), pace=1) as live, pytest.raises(CortiUnavailable):
        list(live)


def test_a_slow_listener_slows_corti_down_within_a_mebibyte(websockets, stream):
    words = "knee " * 2_000

    def scene(peer):
        peer.accept()
        for _ in range(600):
            peer.say("transcript", data=[{"transcript": words}])
        polite_end(peer)

    websockets.scene = scene
    with stream(patience=Patience(linger=0.1)) as live:
        iterator = iter(live)
        next(iterator)
        time.sleep(0.3)
        held = live._inbox._size
        received = sum(len(message.segments) for message in iterator if isinstance(message, Transcript))
    assert received == 600
    assert held < 512 * 1024


def polite_end(peer):
    while (event := peer.hear()) is not None:
        if isinstance(event, TextMessage) and "flush" in event.data:
            peer.say("flushed")
        if isinstance(event, TextMessage) and "end" in event.data:
            peer.say("ENDED")
            peer.close()
            return


def test_a_full_inbox_is_not_taken_for_silence():
    inbox = Inbox(10)
    inbox.put(Flushed(), 10)
    assert inbox.is_full
    blocked = threading.Thread(target=inbox.put, args=(Ended(), 10))
    blocked.start()
    assert inbox.take() == Flushed()
    blocked.join(2)
    assert inbox.take() == Ended()
    inbox.drop()
    inbox.close(CortiUnavailable("too late to be told"))
    inbox.put(Ended(), 1)
    assert inbox.take() is None


def test_words_that_wait_are_taken_at_once_and_stay_before_and_after_what_came_between():
    inbox, words = Inbox(1_000), [Transcript((Segment(str(n), n, n + 1),)) for n in range(4)]
    for message in (words[0], words[1], Flushed(), words[2], words[3]):
        inbox.put(message, 100)
    assert inbox.take() == Transcript(words[0].segments + words[1].segments)
    assert inbox.take() == Flushed()
    assert inbox.take() == Transcript(words[2].segments + words[3].segments)
    inbox.put(Flushed(), 1_000)
    assert inbox.is_full


def test_a_listener_that_pauses_longer_than_silence_is_allowed_loses_nothing(websockets, stream):
    def scene(peer):
        peer.accept()
        for _ in range(60):
            peer.say("transcript", data=[{"transcript": "knee " * 2_000}])
        polite_end(peer)

    websockets.scene = scene
    with stream(patience=Patience(silence=0.3, linger=0.1)) as live:
        iterator = iter(live)
        next(iterator)
        time.sleep(1)
        assert sum(len(message.segments) for message in iterator if isinstance(message, Transcript)) == 60


class Pacer(clock.Clock):
    """Real threads, but a sleep only moves the clock."""

    def __init__(self):
        self.passed = 0.0
        self.slept = []

    def monotonic(self):
        return self.passed

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.passed += seconds


@pytest.mark.parametrize(("pace", "seconds"), [(1.0, 9.75), (4.0, 2.4375)])
def test_audio_is_sent_at_its_own_pace(websockets, stream, pace, seconds):
    websockets.scene = polite
    with clock.use(Pacer()) as pacer, stream(slices(40), pace=pace, patience=Patience(linger=0)) as live:
        list(live)

    assert sum(pacer.slept) == pytest.approx(seconds)
    assert max(pacer.slept) <= 0.25


def test_a_resumed_stream_starts_at_once_and_a_late_sender_catches_up_by_a_second_only(websockets, stream):
    websockets.scene = polite

    def late(pacer):
        for n, piece in zip(count(), slices(40, start=1_800.0), strict=False):
            if n == 8:
                pacer.passed += 60.0
            yield piece

    patience = Patience(linger=0, silence=600)  # the minute in which time jumps is not Corti's silence
    with clock.use(Pacer()) as pacer, stream(late(pacer), pace=1, patience=patience) as live:
        list(live)

    assert sum(pacer.slept) == pytest.approx(9.75 - 0.25 - 1.0)
    assert live.sent == 1_810.0
