"""Sniffing: what a file is by its first bytes, and what never reaches ffmpeg."""

from __future__ import annotations

import contextlib
import io

import pytest
from audio_recordings import MADE, made
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.audio import HEAD, agrees, probe, sniff
from fhir_bridge.errors import UnusableAudio

KIND = {
    "wav": ("wav", "audio/wav"),
    "wave64": ("wav", "audio/wav"),
    "rf64": ("wav", "audio/wav"),
    "aiff": ("aiff", "audio/aiff"),
    "mp3": ("mp3", "audio/mpeg"),
    "flac": ("flac", "audio/flac"),
    "ogg": ("ogg", "audio/ogg"),
    "webm": ("webm", "audio/webm"),
    "m4a": ("mp4", "audio/mp4"),
    "aac": ("aac", "audio/aac"),
}

REFUSED = {
    "sdp": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 10.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n",
    "hls playlist": b"#EXTM3U\n#EXTINF:10,\nhttp://10.0.0.1/a.mp3\n",
    "concat script": b"ffconcat version 1.0\nfile 'http://10.0.0.1/a.wav'\n",
    "json": b'{"resourceType": "Media"}',
    "html": b"<!doctype html><p>login</p>",
    "utf-16 text": "\ufeffAuf Wiedersehen".encode("utf-16"),
    "avi": b"RIFF\x10\x00\x00\x00AVI LIST",
    "8svx": b"FORM\x00\x00\x00\x108SVXVHDR",
    "midi": b"MThd\x00\x00\x00\x06",
    "amr": b"#!AMR\n\x3c\x00",
    "zip": b"PK\x03\x04aaaa",
    "png": b"\x89PNG\r\n\x1a\n",
    "zeros": bytes(5000),
    "ones": b"\xff" * 5000,
    "one sync without a second": b"\xff\xfb\x90\x64" + bytes(4000),
    "adts shorter than its header": b"\xff\xf1\x50\x80\x00\x9f\xfc" + bytes(4000),
    "mpeg rate that does not exist": b"\xff\xfb\x9c\x64" + bytes(4000),
    "mpeg version that does not exist": b"\xff\xeb\x90\x64" + bytes(4000),
    "half a header": b"\xff",
    "half an id3 tag": b"ID3",
    "id3 tag with a length that is none": b"ID3\x04\x00\x00\xff\xff\xff\xff" + bytes(100),
}


@pytest.mark.parametrize("name", MADE)
def test_each_container_is_told_by_its_first_bytes(name):
    kind = next(name.removesuffix(end) for end in ("", name[name.find("-") :]) if name.removesuffix(end) in KIND)
    found = sniff(made(name)[:HEAD])

    assert (found.container, found.mime) == KIND[kind]


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused_with_what_to_send_instead(name):
    with pytest.raises(UnusableAudio, match="send WAV, AIFF, MP3, FLAC"):
        sniff(REFUSED[name])
    with pytest.raises(UnusableAudio, match="send WAV, AIFF, MP3, FLAC"):
        probe(io.BytesIO(REFUSED[name]))


def test_an_empty_file_is_refused_as_empty():
    with pytest.raises(UnusableAudio, match="empty"):
        probe(io.BytesIO())


@given(st.binary(max_size=300))
def test_bytes_are_named_or_refused_and_nothing_else_happens(head):
    with contextlib.suppress(UnusableAudio):
        assert sniff(head).mime.startswith("audio/")


@given(st.text(min_size=1, max_size=200), st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-16-be"]))
def test_no_text_is_taken_for_frames(text, encoding):
    if text[:3] != "ID3":
        with pytest.raises(UnusableAudio):
            sniff(text.encode(encoding, "surrogatepass"))


def id3(length: int) -> bytes:
    size = bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + size + bytes(length)


@pytest.mark.parametrize("length", [0, 100, HEAD - 10, HEAD - 9, 100_000])
@pytest.mark.parametrize(("name", "container"), [("mp3-bare", "mp3"), ("aac", "aac"), ("flac", "flac")])
def test_what_stands_behind_an_id3_tag_counts(name, container, length):
    assert probe(io.BytesIO(id3(length) + made(name))).container == container


def test_an_id3_tag_with_a_footer_is_skipped_whole():
    tag = bytearray(id3(20))
    tag[5] |= 0x10
    assert sniff(bytes(tag) + b"3DI\x04\x00\x00\x00\x00\x00\x14" + made("aac")).container == "aac"


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("wav", "audio/wav"),
        ("wav", "audio/x-wav; codec=pcm"),
        ("wav", "AUDIO/WAVE"),
        ("mp3", "audio/mp3"),
        ("ogg-opus", "audio/opus"),
        ("ogg-opus", "application/ogg"),
        ("webm", "video/webm;codecs=opus"),
        ("m4a", "audio/x-m4a"),
        ("aac", "audio/aac"),
        ("flac", "application/octet-stream"),
        ("flac", None),
        ("flac", ""),
    ],
)
def test_a_declared_type_that_can_mean_what_was_found_agrees(name, declared):
    assert agrees(sniff(made(name)[:HEAD]), declared)


@pytest.mark.parametrize(
    ("name", "declared"),
    [("wav", "audio/mpeg"), ("mp3", "audio/wav"), ("aac", "audio/mp4"), ("wav", "image/wav"), ("ogg-opus", "audio")],
)
def test_a_declared_type_that_means_something_else_does_not_agree(name, declared):
    assert not agrees(sniff(made(name)[:HEAD]), declared)
