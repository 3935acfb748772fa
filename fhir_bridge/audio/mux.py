"""The writing half of the border to ffmpeg: containers made on the fly, given out as they grow."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Final, cast

import av
from av.audio.resampler import AudioResampler
from av.bitstream import BitStreamFilterContext

from fhir_bridge.errors import UnusableAudio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

    from fhir_bridge.audio.libav import Shape, Source

_SAMPLE: Final = 2
_LAYOUTS: Final = ("", "mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
_OPUS_RATE: Final = 48_000
_OPUS_BITS_PER_CHANNEL: Final = 64_000


@dataclass(frozen=True)
class Piece:
    """Bytes of a container and the time, in seconds, up to which they reach."""

    payload: bytes
    end: float


@dataclass(frozen=True)
class Target:
    """A container to write, the codec to encode with, and the filter packets need when they are only moved."""

    muxer: str
    codec: str = ""
    options: dict[str, str] = field(default_factory=dict)
    filter: str = "null"


def remuxed(source: Source, target: Target, start: float) -> Iterator[Piece]:
    """Put the packets from the one that holds `start` on into a new container whose own time begins at zero.

    The first piece is empty and ends where that packet begins.
    """
    with _writing(target) as (sink, out):
        stream = out.add_stream_from_template(source.stream)
        moved = BitStreamFilterContext(target.filter, source.stream, stream)
        out.start_encoding()
        sink.hold()
        rebased = _Rebased()
        for packet, seconds in source.timed():
            if not packet.size or seconds + float((packet.duration or 0) * packet.time_base) <= start:
                continue
            yield Piece(sink.drained(), seconds)
            for filtered in moved.filter(rebased.packet(packet)):
                filtered.stream = stream
                out.mux(filtered)
    yield Piece(sink.drained(), source.end)


def encoded(blocks: Iterable[bytes], shape: Shape, target: Target) -> Iterator[Piece]:
    """Encode 16-bit samples; times count from the first sample."""
    opus = target.codec == "libopus"
    rate = _OPUS_RATE if opus else shape.rate
    heard = 0
    with _writing(target) as (sink, out):
        stream = cast("AudioStream", out.add_stream(target.codec, rate=rate, layout=_LAYOUTS[shape.channels]))
        if opus:
            _set_up_opus(stream, shape.channels)
        out.start_encoding()
        sink.hold()
        fitted = AudioResampler(stream.format, _LAYOUTS[shape.channels], rate, stream.frame_size or rate // 10)
        for pcm in blocks:
            for frame in fitted.resample(_frame(pcm, shape, heard)):
                out.mux(stream.encode(frame))
            heard += len(pcm) // (_SAMPLE * shape.channels)
            yield Piece(sink.drained(), heard / shape.rate)
        for last in (*fitted.resample(None), None):
            out.mux(stream.encode(last))
    yield Piece(sink.drained(), heard / shape.rate)


class _Rebased:
    """Time stamps that begin at zero and only grow, as muxers want them."""

    def __init__(self) -> None:
        self._origin: int | None = None
        self._last = -1

    def packet(self, packet: Packet[AudioStream]) -> Packet[AudioStream]:
        pts = packet.pts or 0
        self._origin = pts if self._origin is None else self._origin
        self._last = max(self._last + 1, pts - self._origin)
        packet.pts = packet.dts = self._last
        return packet


class _Sink:
    """What a muxer wrote since the last look; it cannot seek back, so neither can the muxer.

    The header is held back until audio follows: a first message must hold it and not be
    too small (corti-api 3.5).
    """

    def __init__(self) -> None:
        self._written = bytearray()
        self._header = 0

    def hold(self) -> None:
        """Take what was written so far for the header."""
        self._header = len(self._written)

    def write(self, piece: bytes) -> int:
        self._written += piece
        return len(piece)

    def drained(self) -> bytes:
        if len(self._written) <= self._header:
            return b""
        written = bytes(self._written)
        self._written.clear()
        self._header = 0
        return written


@contextmanager
def _writing(target: Target) -> Iterator[tuple[_Sink, OutputContainer]]:
    sink = _Sink()
    try:
        with av.open(sink, "w", format=target.muxer, options=target.options) as out:
            yield sink, out
    except (av.FFmpegError, ValueError) as exc:  # PyAV refuses a codec its container does not take by ValueError
        raise UnusableAudio("The audio cannot be put into a form that Corti takes; export it as WAV") from exc


def _set_up_opus(stream: AudioStream, channels: int) -> None:
    """Keep each of more than two speakers in a channel of its own: surround would filter one as bass."""
    stream.bit_rate = _OPUS_BITS_PER_CHANNEL * channels
    stream.options = {"mapping_family": "255" if channels > 2 else "-1"}  # noqa: PLR2004 - stereo


def _frame(pcm: bytes, shape: Shape, at: int) -> AudioFrame:
    samples = len(pcm) // (_SAMPLE * shape.channels)
    frame = av.AudioFrame("s16", _LAYOUTS[shape.channels], samples)
    frame.planes[0].update(pcm.ljust(frame.planes[0].buffer_size, b"\0"))
    frame.sample_rate, frame.pts, frame.time_base = shape.rate, at, Fraction(1, shape.rate)
    return frame
