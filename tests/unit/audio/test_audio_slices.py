"""Slices: the bytes of a recording by time, as Corti takes them."""

from __future__ import annotations

import gc
import io
import os
import resource
import subprocess
import sys
import tracemalloc
from array import array
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from audio_recordings import MADE, decoded, made, on_two, pcm, recording, repacked, same_on_both
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_bridge.audio import audio_format, inspect, preferred, probe, slices, upload
from fhir_bridge.audio.slices import _sized
from fhir_bridge.errors import UnusableAudio

WHOLE = [name for name in MADE if inspect(io.BytesIO(made(name))).way == "whole"]
ENCODED = [name for name in MADE if inspect(io.BytesIO(made(name))).way != "decoded"]


def cut(audio: bytes, as_: str = "native", **how):
    file = io.BytesIO(audio)
    return list(slices(file, inspect(file), as_=as_, **how))


def joined(sent) -> bytes:
    return b"".join(one.payload for one in sent)


def said(audio: bytes, as_: str) -> str:
    return audio_format(inspect(io.BytesIO(audio)), as_)


def assert_well_cut(sent, *, start: float = 0.0):
    assert all(0 < len(one.payload) <= 64_000 for one in sent)
    assert sent[0].start == pytest.approx(start, abs=0.1)
    assert all(one.end == pytest.approx(two.start) for one, two in pairwise(sent))
    assert all(one.start <= one.end for one in sent)


@pytest.mark.parametrize("name", WHOLE)
def test_native_slices_joined_are_the_file(name):
    sent = cut(made(name))

    assert joined(sent) == made(name)
    assert_well_cut(sent)
    assert all(one.end - one.start <= 0.251 for one in sent[1:])
    assert sent[-1].end == inspect(io.BytesIO(made(name))).seconds


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from([("mp3", "libmp3lame"), ("flac", "flac"), ("ogg", "libopus"), ("webm", "libopus")]),
    length=st.floats(4.0, 9.0),
    seconds=st.floats(0.1, 2.0),
    channels=st.sampled_from([1, 2]),
)
def test_native_slices_joined_are_the_file_whatever_their_length(kind, length, seconds, channels):
    audio = recording(*kind, rate=48_000, seconds=length, channels=channels)
    sent = cut(audio, seconds=seconds)

    assert joined(sent) == audio
    assert_well_cut(sent)
    assert all(one.end - one.start <= max(seconds, 0.1) + 0.001 for one in sent[1:])


@pytest.mark.parametrize("name", ENCODED)
def test_the_first_slice_holds_the_header_and_some_audio(name):
    sent = cut(made(name))

    assert inspect(io.BytesIO(joined(sent[:2]))).seconds > 0.02
    assert len(sent[0].payload) > 400


def test_a_cover_picture_travels_ahead_in_slices_of_its_own():
    picture = b"APIC" + bytes([0, 0x0A, 0, 0]) + bytes(2) + bytes(163_840)
    tag = b"ID3\x03\x00\x00" + bytes(len(picture) >> shift & 0x7F for shift in (21, 14, 7, 0)) + picture
    audio = tag + made("mp3-bare")
    sent = cut(audio)

    assert joined(sent) == audio
    assert_well_cut(sent)


@pytest.mark.parametrize("name", ["wav", "aiff", "wav-24", "rf64", "wave64", "mp3-44", "flac-44", "ogg-opus", "m4a"])
def test_pcm_slices_are_the_decoded_samples(name):
    sent = cut(made(name), "pcm")

    assert joined(sent) == decoded(made(name))
    assert_well_cut(sent)
    assert {round(one.end - one.start, 4) for one in sent[:-1]} == {0.25}


@settings(max_examples=20, deadline=None)
@given(start=st.floats(0.0, 4.9), name=st.sampled_from(["wav", "wav-24", "aiff", "mp3", "flac"]))
def test_pcm_goes_on_at_the_very_sample(start, name):
    whole, rest = cut(made(name), "pcm"), cut(made(name), "pcm", start=start)
    shape = probe(io.BytesIO(made(name)))
    at = round(start * shape.rate) * shape.channels * 2

    assert joined(rest).rstrip(b"\0") == joined(whole)[at:].rstrip(b"\0")
    assert_well_cut(rest, start=start)
    assert len(joined(rest)) >= 4 * shape.rate * shape.channels * 2


def test_nothing_is_sent_from_behind_the_end():
    assert cut(made("wav"), "pcm", start=6.0) == []


@pytest.mark.parametrize(
    ("muxer", "codec", "rate", "channels", "says"),
    [
        ("wav", "pcm_s24le", 44_100, 2, "audio/pcm; rate=44100; channels=2; bits=16"),
        ("wav", "pcm_alaw", 8_000, 1, "audio/pcm; rate=8000; channels=1; bits=16"),
        ("wav", "pcm_f32le", 96_000, 1, "audio/pcm; rate=48000; channels=1; bits=16"),
        ("wav", "pcm_s16le", 4_000, 1, "audio/pcm; rate=8000; channels=1; bits=16"),
        ("aiff", "pcm_s24be", 48_000, 8, "audio/pcm; rate=48000; channels=8; bits=16"),
        ("wav", "pcm_s16le", 11_025, 1, "audio/pcm; rate=11025; channels=1; bits=16"),
    ],
)
def test_pcm_is_named_and_cut_by_what_is_sent(muxer, codec, rate, channels, says):
    audio = recording(muxer, codec, rate=rate, channels=channels)
    sent = cut(audio, "pcm")

    assert said(audio, "pcm") == says
    assert_well_cut(sent)
    assert sent[-1].end == pytest.approx(5.0, abs=0.01)
    assert len(joined(sent)) == pytest.approx(5 * min(max(rate, 8_000), 48_000) * channels * 2, rel=0.01)


def test_float_and_24_bit_sound_the_same_as_16_bit():
    for codec in ("pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le"):
        heard = array("h", joined(cut(recording("wav", codec), "pcm")))
        assert max(abs(one - two) for one, two in zip(heard, array("h", pcm(5.0)), strict=True)) <= 1


def test_identical_channels_are_sent_as_one():
    audio = recording("wav", "pcm_s16le", same_on_both(pcm(5.0)), channels=2)

    assert said(audio, "pcm") == "audio/pcm; rate=16000; channels=1; bits=16"
    assert joined(cut(audio, "pcm")) == pcm(5.0)


def test_a_short_clip_is_padded_with_silence_to_four_seconds():
    sent = cut(recording("wav", "pcm_s16le", pcm(1.1)), "pcm")

    assert joined(sent) == pcm(1.1) + bytes(2 * 16_000 * 4 - len(pcm(1.1)))
    assert_well_cut(sent)
    assert sent[-1].end == 4.0


@pytest.mark.parametrize("name", ["mp3", "webm", "adts"])
def test_a_short_clip_in_a_container_is_sent_as_padded_pcm(name):
    codec = {"mp3": "libmp3lame", "webm": "libopus", "adts": "aac"}[name]
    audio = recording(name, codec, pcm(1.5, rate=48_000), rate=48_000)
    sent = cut(audio, "native")

    assert preferred(inspect(io.BytesIO(audio))) == "pcm"
    assert said(audio, "native") == "audio/pcm; rate=48000; channels=1; bits=16"
    assert len(joined(sent)) == 4 * 48_000 * 2


@pytest.mark.parametrize(
    ("name", "form", "says"),
    [
        ("wav", "pcm", "audio/pcm; rate=16000; channels=1; bits=16"),
        ("aiff", "pcm", "audio/pcm; rate=16000; channels=1; bits=16"),
        ("mp3", "native", "audio/mpeg"),
        ("flac", "native", "audio/flac"),
        ("ogg-vorbis", "native", "audio/ogg"),
        ("webm", "native", "audio/webm"),
        ("m4a", "native", "audio/mp4"),
        ("m4a-index-last", "native", "audio/mp4"),
        ("aac", "native", "audio/mp4"),
    ],
)
def test_each_kind_has_a_first_form_and_its_name(name, form, says):
    assert preferred(inspect(io.BytesIO(made(name)))) == form
    assert said(made(name), "native") == says
    assert said(made(name), "webm") == "audio/webm; codecs=opus"


@pytest.mark.parametrize("name", ["wav", "wav-24", "mp3-44", "aac"])
def test_any_recording_can_be_sent_as_webm_with_opus(name):
    sent = cut(made(name), "webm")
    heard = inspect(io.BytesIO(joined(sent)))

    assert_well_cut(sent)
    assert (heard.container, heard.codec) == ("webm", "opus")
    assert heard.channels == probe(io.BytesIO(made(name))).channels
    assert heard.seconds == pytest.approx(inspect(io.BytesIO(made(name))).seconds, abs=0.02)
    assert not heard.truncated


def test_a_short_clip_is_padded_in_webm_too():
    assert inspect(io.BytesIO(joined(cut(recording("wav", "pcm_s16le", pcm(1.0)), "webm")))).seconds >= 4.0


def test_many_speakers_keep_their_own_channels_in_webm():
    speakers = array("h", bytes(2 * 6 * 80_000))
    speakers[3::6] = array("h", pcm(5.0))  # the channel that surround sound would filter as bass
    heard = array("h", decoded(joined(cut(recording("wav", "pcm_s16le", speakers.tobytes(), channels=6), "webm"))))

    loudness = [max(heard[channel::6]) for channel in range(6)]
    assert loudness[3] > 5_000
    assert max(loudness[:3] + loudness[4:]) < 500


@pytest.mark.parametrize("name", ["aac", "m4a-index-last"])
def test_aac_that_cannot_be_streamed_is_moved_unchanged_into_fragments(name):
    sent = cut(made(name))
    moved = joined(sent)

    assert_well_cut(sent)
    assert moved.index(b"moov") < moved.index(b"mdat")
    assert all(b"moof" in one.payload for one in sent)
    assert decoded(made(name)) in decoded(moved)


def test_films_and_matroska_are_moved_into_webm_without_their_pictures():
    film = repacked(made("webm"), "matroska", video=True)
    moved = joined(cut(film))

    assert inspect(io.BytesIO(moved)).way == "whole"
    assert probe(io.BytesIO(moved)).mime == "audio/webm"
    assert b"mjpeg" not in moved.lower()


@pytest.mark.parametrize("as_", ["native", "webm"])
@pytest.mark.parametrize("name", ENCODED)
def test_a_connection_that_resumes_begins_with_a_header_and_its_own_time(name, as_):
    long = recorded_longer(name)
    whole = inspect(io.BytesIO(long))
    sent = cut(long, as_, start=3.3)
    heard = inspect(io.BytesIO(joined(sent)))

    assert_well_cut(sent, start=3.3)
    assert sent[0].start <= 3.3
    assert audio_format(heard, "native").split(";")[0] == said(long, as_).split(";")[0]
    assert heard.seconds == pytest.approx(whole.seconds - sent[0].start, abs=0.1)
    assert not heard.truncated


@pytest.mark.parametrize("name", ENCODED)
def test_a_connection_that_resumes_near_the_end_still_gets_four_seconds(name):
    long = recorded_longer(name)
    sent = cut(long, start=inspect(io.BytesIO(long)).seconds - 0.5)

    assert inspect(io.BytesIO(joined(sent))).seconds >= 3.95


def test_what_cannot_be_moved_after_all_is_refused_with_a_remedy():
    file = io.BytesIO(recording("matroska", "pcm_s16le"))
    sound = replace(inspect(file), way="remuxed")

    with pytest.raises(UnusableAudio, match="export it as WAV"):
        list(slices(file, sound, as_="native"))


def test_nothing_read_is_nothing_sent():
    assert list(_sized(iter(()), 0.0, 0.25)) == []


@pytest.mark.parametrize("name", ["wav-24", "mp3", "flac", "ogg-opus", "webm", "m4a-index-last"])
def test_what_corti_takes_whole_is_uploaded_as_it_is(name):
    file = io.BytesIO(made(name))

    assert b"".join(upload(file, inspect(file))) == made(name)


@pytest.mark.parametrize(("name", "container"), [("aiff", "flac"), ("aac", "mp4")])
def test_what_corti_does_not_take_whole_is_uploaded_in_another_container(name, container):
    file = io.BytesIO(made(name))
    sent = b"".join(upload(file, inspect(file)))

    assert probe(io.BytesIO(sent)).container == container
    assert decoded(made(name)) in decoded(sent)


def recorded_longer(name: str) -> bytes:
    shape = probe(io.BytesIO(made(name)))
    kinds = {
        "mp3": ("mp3", "libmp3lame", {}),
        "flac": ("flac", "flac", {}),
        "ogg": ("ogg", "vorbis" if shape.codec == "vorbis" else "libopus", {}),
        "webm": ("webm", "libopus", {}),
        "mp4": ("ipod", "aac", {"moov_size": "40000"}),
        "aac": ("adts", "aac", {}),
    }
    muxer, codec, mux = kinds[shape.container]
    return recording(muxer, codec, rate=shape.rate, channels=shape.channels, seconds=9.0, mux=mux)


def test_a_resumed_flac_is_the_very_same_samples():
    assert decoded(joined(cut(made("flac"), start=0.7))) == pcm(5.0)[int(0.7 * 16_000) * 2 :]


def test_stereo_stays_stereo_when_both_speak():
    audio = recording("wav", "pcm_s16le", on_two(pcm(5.0), bytes(len(pcm(5.0)))), channels=2)

    assert said(audio, "pcm") == "audio/pcm; rate=16000; channels=2; bits=16"


def test_a_listener_who_stops_early_leaves_nothing_open(tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(made("mp3"))
    with path.open("rb") as file:
        running = slices(file, inspect(file), as_="native")
        next(running)
        running.close()
        assert joined(slices(file, inspect(file), as_="native")) == made("mp3")
    gc.collect()


@pytest.mark.parametrize("as_", ["native", "pcm", "webm"])
def test_python_holds_little_of_a_long_recording(as_):
    audio = recording("flac", "flac", pcm(120.0, rate=44_100, channels=2), rate=44_100, channels=2)
    file = io.BytesIO(audio)
    tracemalloc.start()
    try:
        sound = inspect(file)
        for _ in slices(file, sound, as_=as_):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 2_000_000


GROWTH = """
import resource, sys
from fhir_bridge.audio import inspect, slices
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open(sys.argv[1], "rb") as small, open(sys.argv[2], "rb") as large:
    for file in (small, large):
        sound = inspect(file)
        for as_ in ("native", "pcm"):
            for _ in slices(file, sound, as_=as_):
                pass
        print(most())
"""


@pytest.mark.parametrize(("muxer", "codec"), [("wav", "pcm_s24le"), ("mp3", "libmp3lame"), ("adts", "aac")])
def test_the_memory_of_the_process_does_not_grow_with_the_recording(tmp_path, muxer, codec):
    """Ten times the length may take less than a tenth of the 40 MB an hour is allowed."""
    paths = []
    for seconds in (24, 240):
        path = tmp_path / f"{seconds}"
        path.write_bytes(recording(muxer, codec, pcm(24.0) * (seconds // 24)))
        paths.append(str(path))
    root = Path(__file__).parents[3]
    out = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", GROWTH, *paths], capture_output=True, check=True, cwd=root, env={**os.environ}
    )
    small, large = (int(line) for line in out.stdout.split())
    unit = 1 if sys.platform == "darwin" else 1024

    assert resource.RUSAGE_SELF == 0
    assert (large - small) * unit < 4_000_000
