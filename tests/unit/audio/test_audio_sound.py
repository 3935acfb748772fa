"""Sounds: what a recording is, whatever its header says."""

from __future__ import annotations

import io
import random
import socket
import struct
import subprocess
import sys
from array import array
from pathlib import Path

import av
import pytest
from audio_recordings import MADE, made, on_two, pcm, recording, repacked, same_on_both
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge.audio import inspect, probe, slices
from fhir_bridge.audio.layout import Layout
from fhir_bridge.audio.libav import _Resampler, opened
from fhir_bridge.audio.sniff import Sniffed
from fhir_bridge.audio.sound import LONGEST_SECONDS
from fhir_bridge.errors import BlobDamaged, UnusableAudio

FIVE = pytest.approx(5.0, abs=0.13)  # codecs add their delay


def listened(audio: bytes):
    return inspect(io.BytesIO(audio))


def noise(seconds: float, loudness: int, rate: int = 16_000) -> bytes:
    chance = random.Random(7)  # noqa: S311 - noise, not secrets
    return array("h", [chance.randint(-loudness, loudness) for _ in range(int(rate * seconds))]).tobytes()


def mixed(one: bytes, two: bytes) -> bytes:
    return array("h", [left + right for left, right in zip(array("h", one), array("h", two), strict=True)]).tobytes()


def with_length(wav: bytes, claimed: int) -> bytes:
    at = wav.index(b"data") + 4
    return wav[:at] + struct.pack("<I", claimed) + wav[at + 4 :]


@pytest.mark.parametrize("name", MADE)
def test_every_kind_is_measured_by_its_samples(name):
    sound = listened(made(name))

    assert sound.seconds == FIVE
    assert not sound.truncated


@pytest.mark.parametrize("name", MADE)
def test_a_glance_tells_the_same_as_listening(name):
    seen, sound = probe(io.BytesIO(made(name))), listened(made(name))

    assert seen == type(seen)(**{field: getattr(sound, field) for field in vars(seen)})


@pytest.mark.parametrize(
    ("muxer", "codec", "bits"),
    [
        ("wav", "pcm_u8", 8),
        ("wav", "pcm_s16le", 16),
        ("wav", "pcm_s24le", 24),
        ("wav", "pcm_s32le", 32),
        ("wav", "pcm_f32le", 32),
        ("wav", "pcm_f64le", 64),
        ("wav", "pcm_alaw", 8),
        ("wav", "pcm_mulaw", 8),
        ("wav", "adpcm_ima_wav", 16),
        ("wav", "adpcm_ms", 16),
        ("aiff", "pcm_s8", 8),
        ("aiff", "pcm_s16be", 16),
        ("aiff", "pcm_s24be", 24),
        ("aiff", "pcm_s32be", 32),
        ("aiff", "pcm_f32be", 32),
        ("aiff", "pcm_alaw", 8),
        ("aiff", "pcm_s16le", 16),
    ],
)
def test_wav_and_aiff_are_read_in_every_form(muxer, codec, bits):
    sound = listened(recording(muxer, codec, rate=8_000))

    assert (sound.container, sound.codec, sound.bits, sound.rate) == (muxer, codec, bits, 8_000)
    assert sound.seconds == FIVE
    assert sound.way == "decoded"


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF - 36, 1_000, 3_201])
def test_a_wav_whose_header_lies_about_its_length_is_measured_by_its_samples(claimed):
    sound = listened(with_length(made("wav"), claimed))

    assert sound.seconds == 5.0
    assert not sound.truncated


def test_a_wav_without_a_length_and_with_one_too_long_differ_in_being_truncated():
    cut = made("wav")[:-64_000]

    assert listened(cut).seconds == listened(with_length(cut, 0)).seconds == 3.0
    assert listened(cut).truncated
    assert not listened(with_length(cut, 0)).truncated


@pytest.mark.parametrize("tail", [b"LIST\x04\x00\x00\x00INFO", b"\x00", b"id3 \x0b\x00\x00\x00" + b"x" * 11 + b"\x00"])
def test_what_follows_the_samples_of_a_wav_is_not_sound(tail):
    assert listened(made("wav") + tail).seconds == 5.0


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF, 8 + 3_200])
def test_an_aiff_whose_header_lies_about_its_length_is_measured_by_its_samples(claimed):
    audio = made("aiff")
    at = audio.index(b"SSND") + 4
    sound = listened(audio[:at] + struct.pack(">I", claimed) + audio[at + 4 :])

    assert sound.seconds == 5.0
    assert not sound.truncated


def test_a_big_endian_wav_is_read():
    little = array("h", pcm(5.0))
    little.byteswap()
    swapped = little.tobytes()
    form = struct.pack(">HHIIHH", 1, 1, 16_000, 32_000, 2, 16)
    sound = listened(b"RIFX" + struct.pack(">I", 36 + len(swapped)) + b"WAVEfmt " + struct.pack(">I", 16) + form
                     + b"data" + struct.pack(">I", 0) + swapped)  # fmt: skip

    assert sound.seconds == 5.0
    assert not sound.truncated


@pytest.mark.parametrize("name", ["wav", "aiff", "mp3", "flac", "ogg-opus", "ogg-vorbis", "webm", "m4a"])
def test_a_recording_cut_off_in_the_middle_is_used_as_far_as_it_goes(name):
    audio = made(name)
    sound = listened(audio[: len(audio) * (8 if name == "m4a" else 6) // 10])

    assert 1.0 < sound.seconds < 4.0
    assert sound.truncated


def test_packets_that_do_not_decode_are_left_out():
    audio = bytearray(made("m4a"))
    middle = (audio.index(b"mdat") + len(audio)) // 2
    audio[middle : middle + 3_000] = b"\xa5" * 3_000
    sound = listened(bytes(audio))

    assert 3.5 < sound.seconds < 5.0
    assert sound.truncated
    assert sound.way == "decoded"


def test_a_frame_without_a_length_ends_what_can_be_used():
    sound = listened(made("aac") + b"\xff\xf1\x50\x80\x00\x1f\xfc" + bytes(100))

    assert sound.seconds == FIVE
    assert sound.truncated


def test_an_m4a_that_lost_its_index_is_refused():
    with pytest.raises(UnusableAudio, match="cannot be read"):
        listened(made("m4a-index-last")[:-2_000])


@pytest.mark.parametrize("name", ["wav", "aiff", "flac", "mp3", "ogg-opus", "webm", "m4a", "aac"])
def test_a_header_without_audio_is_refused(name):
    kept = {"wav": 78, "aiff": 54, "mp3": 200, "m4a": 20_000, "aac": 5}.get(name, 120)
    for look in (probe, inspect):
        with pytest.raises(UnusableAudio):
            look(io.BytesIO(made(name)[:kept]))


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(MADE)),
    cut=st.floats(0, 1),
    wounds=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
)
def test_damaged_recordings_are_used_or_refused_and_nothing_else_happens(name, cut, wounds):
    audio = bytearray(made(name))
    del audio[int(len(audio) * cut) :]
    for where, value in wounds if audio else ():
        audio[int(where * len(audio))] = value
    try:
        sound = listened(bytes(audio))
        file = io.BytesIO(bytes(audio))
        sent = list(slices(file, sound, as_="native"))
    except UnusableAudio as refused:
        assert refused.text.endswith(("again", "WAV", "itself", "AAC (ADTS)", "recording", "most", "followed"))  # noqa: PT017 - each says what to do
        return
    assert all(len(one.payload) <= 64_000 for one in sent)
    assert sent[0].start == 0.0


@pytest.mark.parametrize("muxer", ["wav", "mp3", "ogg", "flac"])
def test_the_same_on_both_channels_is_one_speaker(muxer):
    codec = {"wav": "pcm_s16le", "mp3": "libmp3lame", "ogg": "libopus", "flac": "flac"}[muxer]
    speech = mixed(pcm(5.0, rate=48_000), noise(5.0, 6_000, 48_000))
    quality = {"b": "32000"} if muxer in {"mp3", "ogg"} else {}
    sound = listened(recording(muxer, codec, same_on_both(speech), rate=48_000, channels=2, encode=quality))

    assert sound.channels == 2
    assert not sound.distinct_channels


def test_mp3_that_codes_each_channel_apart_is_still_one_speaker():
    speech = same_on_both(mixed(pcm(5.0), noise(5.0, 3_000)))
    sound = listened(recording("mp3", "libmp3lame", speech, channels=2, encode={"joint_stereo": "0", "b": "32000"}))

    assert not sound.distinct_channels


def test_noise_and_unequal_gain_do_not_make_a_second_speaker():
    speech = pcm(5.0)
    quieter = array("h", [sample * 9 // 10 for sample in array("h", speech)]).tobytes()
    sound = listened(recording("wav", "pcm_s16le", on_two(mixed(speech, noise(5.0, 200)), quieter), channels=2))

    assert not sound.distinct_channels


def test_a_click_does_not_make_a_second_speaker():
    speech = pcm(200.0, rate=8_000)
    clicked = array("h", speech)
    clicked[400_000:400_100] = array("h", [20_000] * 100)
    sound = listened(recording("wav", "pcm_s16le", on_two(speech, clicked.tobytes()), rate=8_000, channels=2))

    assert not sound.distinct_channels


@pytest.mark.parametrize("other", ["another voice", "silence", "crosstalk", "opposite phase"])
def test_channels_that_truly_differ_are_told(other):
    voice, second = pcm(5.0), noise(5.0, 8_000)
    right = {
        "another voice": second,
        "silence": bytes(len(voice)),
        "crosstalk": mixed(array("h", [s // 2 for s in array("h", voice)]).tobytes(), second),
        "opposite phase": array("h", [-sample for sample in array("h", voice)]).tobytes(),
    }[other]

    assert listened(recording("wav", "pcm_s16le", on_two(voice, right), channels=2)).distinct_channels


def test_a_second_speaker_who_speaks_late_and_briefly_is_heard():
    voice = pcm(20.0)
    right = voice[: 32_000 * 18] + noise(2.0, 5_000)

    assert listened(recording("wav", "pcm_s16le", on_two(voice, right), channels=2)).distinct_channels


def test_silence_on_both_channels_is_one_speaker():
    assert not listened(recording("wav", "pcm_s16le", bytes(400_000), channels=2)).distinct_channels


def test_more_than_eight_channels_are_refused():
    count = 9
    form = struct.pack("<HHIIHH", 1, count, 16_000, 32_000 * count, 2 * count, 16)
    body = bytes(2 * count * 16_000)
    wav = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(body)) + body

    with pytest.raises(UnusableAudio, match="more than 8 channels"):
        listened(wav)


UNSAFE = """
import io, sys
from fhir_bridge.audio.layout import Layout
from fhir_bridge.audio.libav import opened
from fhir_bridge.audio.sniff import Sniffed
from fhir_bridge.errors import UnusableAudio
audio = io.BytesIO(sys.stdin.buffer.read())
for _ in range(20):
    with opened(audio, Layout(Sniffed("aiff", "audio/aiff", "aiff"))) as source:
        try:
            list(source.blocks())
        except UnusableAudio as refused:
            print(refused.text)
"""


def test_a_layout_that_ffmpeg_has_no_name_for_is_refused_and_does_no_harm():
    """PyAV 18.1 frees the layout of such frames twice, which ends the process sooner or later."""
    audio = recording("aiff", "pcm_s16be", channels=8, seconds=1.0)
    run = [sys.executable, "-c", UNSAFE]
    ended = subprocess.run(run, input=audio, capture_output=True, check=True, cwd=Path(__file__).parents[3])  # noqa: S603 - our own interpreter and script

    assert ended.stdout.count(b"arranges its channels") == 20
    assert ended.stderr == b""


def test_a_recording_that_turns_from_one_channel_to_two_stays_on_one():
    sound = listened(recording("adts", "aac", rate=44_100) + recording("adts", "aac", rate=44_100, channels=2))

    assert sound.channels == 1
    assert sound.seconds == pytest.approx(10.0, abs=0.2)


def test_a_recording_that_changes_beyond_following_is_refused():
    resampler = _Resampler(None)
    frame = av.AudioFrame("s16", "mono", 160)
    frame.sample_rate = 16_000
    list(resampler.feed(frame))
    frame.sample_rate = -1

    with pytest.raises(UnusableAudio, match="changes its form"):
        list(resampler.feed(frame))


def test_an_aiff_and_a_wav_that_describe_their_loudspeakers_are_read_as_plain_channels():
    assert listened(recording("aiff", "pcm_s16be", channels=8)).channels == 8
    wav = bytearray(recording("wav", "pcm_s24le", channels=2))
    mask = wav.index(b"fmt ") + 8 + 20
    wav[mask : mask + 4] = struct.pack("<I", 0b101)  # front left and front centre

    assert listened(bytes(wav)).channels == 2


def test_a_codec_that_is_not_read_here_is_refused():
    with pytest.raises(UnusableAudio, match="export it as WAV"):
        listened(recording("matroska", "ac3", rate=48_000))


def test_a_file_without_an_audio_track_is_refused():
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as film:
        stream = film.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        film.mux(stream.encode(av.VideoFrame(32, 32, "yuvj420p")))
        film.mux(stream.encode(None))

    with pytest.raises(UnusableAudio, match="no audio track"):
        listened(out.getvalue())


def test_a_recording_longer_than_a_day_is_refused(monkeypatch):
    monkeypatch.setattr("fhir_bridge.audio.sound.LONGEST_SECONDS", 4.0)

    assert LONGEST_SECONDS == 24 * 3600
    with pytest.raises(UnusableAudio, match="24 hours"):
        listened(made("wav"))


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("wav", "decoded"),
        ("aiff", "decoded"),
        ("mp3", "whole"),
        ("flac", "whole"),
        ("ogg-opus", "whole"),
        ("webm-live", "whole"),
        ("m4a", "whole"),
        ("m4a-fragmented", "whole"),
        ("m4a-index-last", "remuxed"),
        ("aac", "remuxed"),
    ],
)
def test_the_way_to_corti_follows_from_the_container(name, way):
    assert listened(made(name)).way == way


def test_matroska_and_films_go_on_as_webm():
    assert listened(repacked(made("webm"), "matroska")).way == "remuxed"
    assert listened(repacked(made("webm"), "matroska", video=True)).way == "remuxed"


def test_codecs_corti_does_not_list_are_decoded():
    assert listened(recording("matroska", "pcm_s16le")).way == "decoded"
    assert listened(recording("ogg", "flac")).way == "decoded"
    assert listened(recording("mp4", "alac")).way == "decoded"
    assert listened(recording("mp2", "mp2", rate=44_100)).way == "decoded"


def test_a_recording_with_a_hole_in_its_time_stamps_is_decoded():
    sound = listened(repacked(made("webm"), "webm", gap=60.0))

    assert sound.seconds == FIVE
    assert sound.way == "decoded"


def test_titles_that_are_not_utf_8_do_not_matter():
    tag = b"TIT2\x00\x00\x00\x04\x00\x00\x03\xff\xfe\xff"
    head = b"ID3\x04\x00\x00" + bytes([0, 0, 0, len(tag)]) + tag

    assert listened(head + made("mp3-bare")).seconds == FIVE


def test_damage_of_the_blob_is_not_taken_for_bad_audio():
    class Breaking(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 100_000:
                raise BlobDamaged("Stored audio does not verify")
            return super().read(size)

    with pytest.raises(BlobDamaged):
        inspect(Breaking(made("wav")))


def test_ffmpeg_opens_nothing_that_a_recording_names():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:{server.getsockname()[1]}/a.ts\n#EXT-X-ENDLIST\n"
        layout = Layout(Sniffed("mp3", "audio/mpeg", "hls"))  # as if the first bytes had not been looked at
        with pytest.raises(UnusableAudio), opened(io.BytesIO(playlist.encode()), layout) as source:
            list(source.blocks())
        with pytest.raises(TimeoutError):
            server.accept()
