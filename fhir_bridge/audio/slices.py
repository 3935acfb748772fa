"""The bytes of a recording by time, in a form that Corti takes while it streams (corti-api 3.5, 3.6)."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge.audio.layout import layout_of
from fhir_bridge.audio.libav import Shape, opened
from fhir_bridge.audio.mux import Piece, Target, encoded, remuxed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from fhir_bridge.audio.libav import Block
    from fhir_bridge.audio.sniff import Container
    from fhir_bridge.audio.sound import Sound

Form = Literal["native", "pcm", "webm"]
_Form = Literal["whole", "remuxed", "pcm", "webm"]

SLICE_SECONDS: Final = 0.25
MOST_BYTES: Final = 64_000
LEAST_SECONDS: Final = 4.0  # of one connection: less often yields no transcript at all (corti-api 3.5)
_RUN_UP: Final = 0.25  # decoders give no sound for their first packets
LOWEST_RATE, HIGHEST_RATE = 8_000, 48_000
_SAMPLE: Final = 2
_JUST: Final = 1e-6

_WEBM: Final = Target("webm", "libopus", options={"live": "1", "cluster_time_limit": "200"})
_FLAC: Final = Target("flac", "flac")
# Fragmented MP4 keeps AAC as it was recorded and needs no index (audio/mp4 is in
# Corti's list, raw AAC is not). Each fragment holds a fifth of a second.
_MP4: Final = Target("mp4", options={"movflags": "empty_moov+delay_moov+default_base_moof", "frag_duration": "200000"})
_REMUX: Final[dict[Container, Target]] = {
    "mp3": Target("mp3", options={"write_xing": "0", "id3v2_version": "0"}),
    "ogg": Target("ogg", options={"page_duration": "200000"}),
    "webm": _WEBM,
    "mp4": _MP4,
    "aac": Target(_MP4.muxer, options=_MP4.options, filter="aac_adtstoasc"),
}
_NATIVE_FORMAT: Final[dict[Container, str]] = {
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "webm": "audio/webm",
    "mp4": "audio/mp4",
    "aac": "audio/mp4",
}


@dataclass(frozen=True)
class Slice:
    """Bytes to send as one message, and the seconds of the recording they hold."""

    payload: bytes
    start: float
    end: float


def preferred(sound: Sound) -> Literal["native", "pcm"]:
    """Tell which form to try first: the recording's own when Corti can follow it, else PCM."""
    return "pcm" if _form(sound, "native") == "pcm" else "native"


def audio_format(sound: Sound, as_: Form) -> str:
    """Name what `slices` gives, as the stream configuration's `audioFormat`."""
    match _form(sound, as_):
        case "pcm":
            shape = pcm_shape(sound)
            return f"audio/pcm; rate={shape.rate}; channels={shape.channels}; bits=16"
        case "webm":
            return "audio/webm; codecs=opus"
        case _:
            return _NATIVE_FORMAT[sound.container]


def slices(
    file: BinaryIO, sound: Sound, *, as_: Form, start: float = 0.0, seconds: float = SLICE_SECONDS
) -> Iterator[Slice]:
    """Cut a recording into slices of `seconds`, none over 64,000 bytes, reading it as it goes.

    `native` is the recording's own bytes, cut at packets (the slices joined are the file);
    where that cannot be streamed its packets go into a new container, and where that
    cannot be either, or the recording is shorter than four seconds, it means `pcm`.
    PCM keeps rate and channels, but for channels that all say the same, which become one.

    With `start` the slices are those of a new connection, as after a break. PCM goes on at
    the very sample. Everything else begins anew, header first and its own time at
    zero as PCM's is: packets from the one that holds `start`, or, for FLAC and Opus made
    here, encoded from the very sample. The first slice's `start` is where the
    recording was taken up. Each connection gets at least four seconds: PCM is padded with
    silence, a native one begins that much earlier.

    Raises:
        UnusableAudio: from the iterator, when the recording does not decode after all.
    """
    form = _form(sound, as_)
    if form in {"whole", "remuxed"}:
        start = min(start, sound.seconds - LEAST_SECONDS - _RUN_UP)
    match form:
        case "pcm":
            return _pcm_slices(file, sound, start, seconds)
        case "webm":
            return _sized(_encoded(file, sound, _WEBM, start), start, seconds)
        case "whole" if start <= 0:
            return _sized(_whole(file, sound, seconds), 0.0, seconds)
        case _ if sound.container == "flac":
            return _sized(_encoded(file, sound, _FLAC, start), start, seconds)
    return _sized(_remuxed(file, sound, max(0.0, start)), None, seconds)


def taken_whole(sound: Sound) -> bool:
    """Tell whether Corti takes the recording whole as it is (corti-api 5.1)."""
    return sound.container not in {"aiff", "aac"}


def upload(file: BinaryIO, sound: Sound) -> Iterator[bytes]:
    """Give a recording as Corti takes it whole (corti-api 5.1), piece by piece.

    AIFF and raw AAC are not in that list: the one goes as FLAC, which loses nothing but
    bits beyond 16, the other in MP4. Everything else goes as it is.
    """
    match sound.container:
        case "aiff":
            yield from (piece.payload for piece in _encoded(file, sound, _FLAC, 0.0))
        case "aac":
            yield from (piece.payload for piece in _remuxed(file, sound, 0.0))
        case _:
            file.seek(0)
            yield from iter(lambda: file.read(MOST_BYTES), b"")


def pcm_shape(sound: Sound) -> Shape:
    """Tell the rate and the channels in which PCM is sent."""
    channels = sound.channels if sound.distinct_channels else 1
    return Shape(min(max(sound.rate, LOWEST_RATE), HIGHEST_RATE), channels)


def _form(sound: Sound, as_: Form) -> _Form:
    if as_ != "native":
        return as_
    if sound.way == "decoded" or sound.seconds < LEAST_SECONDS:
        return "pcm"  # silence cannot be added to encoded audio without encoding it
    return sound.way


def _samples(file: BinaryIO, sound: Sound, start: float) -> Iterator[bytes]:
    """Decode from the sample at `start`, then add silence up to the least length."""
    shape = pcm_shape(sound)
    width = shape.channels * _SAMPLE
    skip = round(start * shape.rate) * width
    given = 0
    with opened(file, layout_of(file)) as source:
        for block in source.blocks(shape.rate):
            pcm = _one_channel(block) if shape.channels < block.shape.channels else block.pcm
            kept = pcm[skip:]
            skip = max(0, skip - len(pcm))
            given += len(kept)
            if kept:
                yield kept
    missing = int(LEAST_SECONDS * shape.rate) * width - given
    if given and missing > 0:
        yield bytes(missing)


def _one_channel(block: Block) -> bytes:
    return array("h", block.pcm)[:: block.shape.channels].tobytes()


def _pcm_slices(file: BinaryIO, sound: Sound, start: float, seconds: float) -> Iterator[Slice]:
    shape = pcm_shape(sound)
    width = shape.channels * _SAMPLE
    at = round(start * shape.rate)
    for payload in _cut(_samples(file, sound, start), min(int(seconds * shape.rate), MOST_BYTES // width) * width):
        end = at + len(payload) // width
        yield Slice(payload, at / shape.rate, end / shape.rate)
        at = end


def _cut(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Regroup bytes into runs of `size`; the last is what remains."""
    pending = bytearray()
    for piece in pieces:
        pending += piece
        whole = len(pending) - len(pending) % size
        for at in range(0, whole, size):
            yield bytes(pending[at : at + size])
        del pending[:whole]
    if pending:
        yield bytes(pending)


def _encoded(file: BinaryIO, sound: Sound, target: Target, start: float) -> Iterator[Piece]:
    shape = pcm_shape(sound)
    blocks = _cut(_samples(file, sound, start), shape.rate // 20 * shape.channels * _SAMPLE)
    for piece in encoded(blocks, shape, target):
        yield Piece(piece.payload, start + piece.end)


def _remuxed(file: BinaryIO, sound: Sound, start: float) -> Iterator[Piece]:
    with opened(file, layout_of(file)) as source:
        for piece in remuxed(source, _REMUX[sound.container], start):
            yield Piece(piece.payload, min(piece.end, sound.seconds))


def _whole(file: BinaryIO, sound: Sound, seconds: float) -> Iterator[Piece]:
    """Give the file's own bytes from packet to packet.

    Ogg pages hold a second and more: they are cut evenly, but for the first, which stays
    with the header because half a page says nothing about what it holds.
    """
    size = file.seek(0, os.SEEK_END)
    with opened(file, layout_of(file)) as source:
        for (first, begin), (last, end) in pairwise(_growing(source.knots(), size, sound.seconds)):
            parts = max(1, min(int((end - begin) / seconds + 1 - _JUST), last - first)) if first else 1
            for part in range(parts):
                low, high = (first + (last - first) * number // parts for number in (part, part + 1))
                yield Piece(_read(file, low, high - low), begin + (end - begin) * (part + 1) / parts)


def _growing(knots: Iterable[tuple[int, float]], size: int, seconds: float) -> Iterator[tuple[int, float]]:
    """Keep the knots that go on in the file, from its first byte, which is the header's, to its last."""
    place, time = -1, 0.0
    yield 0, 0.0
    for byte, at in knots:
        time = max(time, min(at, seconds))
        if place < 0:
            place = byte  # what is before the first packet goes with it
        elif place < byte < size:
            place = byte
            yield place, time
    yield size, seconds


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    """Read beside the demuxer, which finds its place in the file as it left it."""
    before = file.tell()
    file.seek(at)
    piece = file.read(size)
    file.seek(before)
    return piece


def _sized(pieces: Iterable[Piece], start: float | None, seconds: float) -> Iterator[Slice]:
    """Join pieces while they stay within `seconds`; a piece that is longer stands alone."""
    pending, began, ended = bytearray(), start, start
    for piece in pieces:
        if began is None or ended is None:  # the first piece of a remux ends where its first packet begins
            pending, began, ended = bytearray(piece.payload), piece.end, piece.end
            continue
        if pending and ended > began and piece.end - began > seconds + _JUST:
            yield from _bounded(bytes(pending), began, ended)
            pending, began = bytearray(), ended
        pending += piece.payload
        ended = max(ended, piece.end)
    if began is not None and ended is not None and pending:
        yield from _bounded(bytes(pending), began, ended)


def _bounded(payload: bytes, start: float, end: float) -> Iterator[Slice]:
    """Split what is over the limit into equal parts."""
    parts = -(-len(payload) // MOST_BYTES)
    for part in range(parts):
        low, high = (len(payload) * number // parts for number in (part, part + 1))
        span = end - start
        yield Slice(payload[low:high], start + span * part / parts, start + span * (part + 1) / parts)
