"""The reading half of the border to ffmpeg: PyAV's errors end here and in `mux`.

A demuxer is forced by what was sniffed and given a nameless file object, so ffmpeg
guesses nothing and opens nothing else.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NoReturn

import av
from av.audio.resampler import AudioResampler

from fhir_bridge.audio.layout import Patched
from fhir_bridge.errors import UnusableAudio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

    from fhir_bridge.audio.layout import Layout

MOST_CHANNELS: Final = 8  # corti-api 3.6
_SAMPLE: Final = 2

# Decoders that may see what an EHR sent; ffmpeg has hundreds, and most are old and little used.
_CODECS: Final = frozenset(
    {"mp3", "mp2", "aac", "flac", "opus", "vorbis", "alac", "speex", "gsm", "gsm_ms", "amr_nb", "amr_wb"}
)
_CODEC_FAMILIES: Final = ("pcm_", "adpcm_")


@dataclass(frozen=True)
class Shape:
    """Rate and channels of 16-bit samples."""

    rate: int
    channels: int


@dataclass(frozen=True)
class Block:
    """Interleaved 16-bit little-endian samples, and the shape of the frame they were decoded from."""

    pcm: bytes
    shape: Shape


class Source:
    """An open recording: its first audio track."""

    def __init__(self, container: InputContainer, stream: AudioStream) -> None:
        self._container = container
        self.stream = stream
        self.codec = stream.codec_context.codec.canonical_name
        self.lost = 0
        self.end = 0.0

    @property
    def alone(self) -> bool:
        """Tell whether nothing but cover pictures accompanies the audio."""
        others = [stream for stream in self._container.streams if stream is not self.stream]
        return all(stream.disposition & av.stream.Disposition.attached_pic for stream in others)

    @property
    def claimed_seconds(self) -> float | None:
        """Give the length that the header claims, if it does."""
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        return self._container.duration / av.time_base if self._container.duration else None

    def blocks(self, rate: int | None = None) -> Iterator[Block]:
        """Decode to 16 bit, at `rate` when given. Packets that do not decode are counted in `lost`."""
        resampler = _Resampler(rate)
        for packet, _ in self.timed():
            for frame in self._decoded(packet):
                yield from resampler.feed(frame)
        yield from resampler.flush()

    def knots(self) -> Iterator[tuple[int, float]]:
        """Give the place in the file and the time of each packet."""
        for packet, seconds in self.timed():
            if packet.size and packet.pos is not None and packet.pos >= 0:
                yield packet.pos, seconds

    def timed(self) -> Iterator[tuple[Packet[AudioStream], float]]:
        """Give packets with their time; the first is at zero, and encoder delay does not count below it.

        The last one is empty, which asks decoders for what they still hold.
        """
        origin: float | None = None
        tick, ticks = (self.stream.time_base or Fraction(1)).as_integer_ratio()
        for packet in self._packets():
            seconds = self.end
            if packet.pts is not None:
                seconds = packet.pts * tick / ticks
                origin = max(0.0, seconds) if origin is None else origin
                seconds = max(0.0, seconds - origin)
            self.end = max(self.end, seconds + (packet.duration or 0) * tick / ticks)
            yield packet, seconds

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        packets = self._container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:  # what came before it is good, and what follows cannot be found
                self.lost += 1
                return
            yield packet

    def _decoded(self, packet: Packet[AudioStream]) -> list[AudioFrame]:
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self.lost += 1
            return []
        _refuse_unsafe(frames)
        return frames


@contextmanager
def opened(file: BinaryIO, layout: Layout) -> Iterator[Source]:
    """Open a recording with the demuxer its first bytes call for.

    Raises:
        UnusableAudio: broken, without an audio track, or in a codec not decoded here.
    """
    name = layout.sniffed.mime
    try:
        container = av.open(
            Patched(file, layout.fixes),
            "r",
            format=layout.sniffed.demuxer,
            metadata_errors="ignore",
            io_open=_refuse,
        )
    except (av.FFmpegError, ValueError) as exc:
        raise UnusableAudio(f"The {name} file cannot be read; record or export it again") from exc
    with container:
        yield Source(container, _track(container, name))


class _Resampler:
    """Decoded frames to 16 bit. A stream that changes its shape midway keeps the one it began with."""

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._layout: str | None = None
        self._seen: tuple[str, str, int] | None = None
        self._inner: AudioResampler | None = None

    def feed(self, frame: AudioFrame) -> Iterator[Block]:
        seen = (frame.format.name, frame.layout.name, frame.sample_rate)
        if seen != self._seen:
            yield from self.flush()
            if frame.layout.nb_channels > MOST_CHANNELS:
                raise UnusableAudio(f"The audio has more than {MOST_CHANNELS} channels; send at most that many")
            self._layout = self._layout or frame.layout.name
            self._rate = self._rate or frame.sample_rate
            self._inner, self._seen = AudioResampler("s16", self._layout, self._rate), seen
        yield from self._through(frame)

    def flush(self) -> Iterator[Block]:
        yield from self._through(None)

    def _through(self, frame: AudioFrame | None) -> Iterator[Block]:
        if self._inner is None:
            return
        try:
            converted = self._inner.resample(frame)
        except av.FFmpegError as exc:
            raise UnusableAudio("The audio changes its form midway in a way that cannot be followed") from exc
        for out in converted:
            channels = out.layout.nb_channels
            pcm = bytes(out.planes[0])[: out.samples * channels * _SAMPLE]
            yield Block(pcm, Shape(out.sample_rate, channels))


def _track(container: InputContainer, name: str) -> AudioStream:
    if not container.streams.audio:
        raise UnusableAudio(f"The {name} file has no audio track; send the recording itself")
    stream = container.streams.audio[0]
    codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
    if codec not in _CODECS and not codec.startswith(_CODEC_FAMILIES):
        raise UnusableAudio(f"The codec of the {name} file is not read here; export it as WAV")
    return stream


def _refuse_unsafe(frames: list[AudioFrame]) -> None:
    """Refuse channel layouts that only a list can describe.

    PyAV 18.1 frees such a list twice: with the frame, and with the Python object that
    stands for its layout. So these objects get a reference that nobody gives back.
    """
    unsafe = [frame.layout for frame in frames if "(" in frame.layout.name or "ambisonic" in frame.layout.name]
    for layout in unsafe:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
    if unsafe:
        raise UnusableAudio("The audio arranges its channels in a way not read here; export it as WAV")


def _refuse(*_: object) -> NoReturn:
    raise UnusableAudio("The audio refers to another file or address; send a recording that holds its own audio")
