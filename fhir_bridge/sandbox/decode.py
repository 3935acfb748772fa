"""Sound from the bytes a client sends, bit by bit as they come: raw PCM by its MIME type, containers through PyAV."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Protocol

import av
import numpy as np

from fhir_bridge.sandbox.engine import RATE

if TYPE_CHECKING:
    from fhir_bridge.sandbox.engine import Samples

CORRUPTED = "Provided audio is invalid or corrupted."
HEAD_BYTES = 16
PCM = "audio/pcm"
FORMATS = {
    "audio/ogg": "ogg",
    "audio/opus": "ogg",
    "audio/vorbis": "ogg",
    "audio/webm": "matroska",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/mpeg3": "mp3",
    "audio/flac": "flac",
    "audio/mp4": "mov",
    "audio/m4a": "mov",
}
"""The MIME types Corti lists for streaming (corti-api 3.6) and the demuxer each means."""


class BadAudio(Exception):
    """The bytes are not the audio they were said to be."""


@dataclass(frozen=True)
class AudioFormat:
    """A parsed `audioFormat`; None of it is guessed for PCM."""

    mime: str
    rate: int = 0
    channels: int = 0
    bits: int = 0

    @classmethod
    def parse(cls, text: str) -> AudioFormat:
        """Raises BadAudio with the reason Corti would give."""
        header = Message()
        header["Content-Type"] = text
        mime = header.get_content_type()
        if mime == PCM:
            return cls(mime, *(_positive(header.get_param(name), name) for name in ("rate", "channels", "bits")))
        if mime not in FORMATS:
            raise BadAudio(f"audio format {mime} is not supported")
        return cls(mime)


def _positive(value: object, name: str) -> int:
    if not isinstance(value, str) or not value.isdigit() or int(value) == 0:
        raise BadAudio(f"{PCM} needs {name}")
    return int(value)


def sniffed(head: bytes) -> str | None:
    """The demuxer for these first bytes."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "wav"
    if head[4:8] == b"ftyp":
        return "mov"
    for magic, name in ((b"OggS", "ogg"), (b"\x1a\x45\xdf\xa3", "matroska"), (b"fLaC", "flac"), (b"ID3", "mp3")):
        if head.startswith(magic):
            return name
    return "mp3" if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 in {0xE2, 0xE4, 0xE6} else None  # noqa: PLR2004 - MPEG frame sync


class Decoder(Protocol):
    """Turns bytes into sound; every answer is (channels, samples) at RATE."""

    def feed(self, payload: bytes) -> Samples:
        """Sound that is complete by now."""
        ...

    def finish(self) -> Samples:
        """What was still held back."""
        ...

    def close(self) -> None:
        """Give up threads."""
        ...


def decoder(declared: AudioFormat | None, head: bytes, *, wav: bool = True) -> Decoder:
    """The decoder for a stream that begins with `head`; a wrong beginning is refused as Corti was seen to."""
    found = sniffed(head)
    if declared is not None and declared.mime == PCM:
        if found == "wav":
            raise BadAudio(CORRUPTED)
        return PcmDecoder(declared)
    if found is None or (declared is not None and found != FORMATS[declared.mime]) or (found == "wav" and not wav):
        raise BadAudio(CORRUPTED)
    return ContainerDecoder(found)


def mixed_down(samples: Samples) -> Samples:
    """One channel."""
    if samples.shape[0] == 1:
        return samples
    mixed: Samples = samples.astype(np.int32).mean(axis=0, keepdims=True).astype(np.int16)
    return mixed


def empty(channels: int = 1) -> Samples:
    """No sound yet."""
    return np.zeros((channels, 0), np.int16)


class PcmDecoder:
    """Signed little-endian samples in frames."""

    def __init__(self, form: AudioFormat) -> None:
        if form.bits not in {16, 24, 32}:
            raise BadAudio(f"{form.bits} bits are not supported")
        self.form = form
        self.width = form.bits // 8
        self.rest = b""
        self.resampler = None if form.rate == RATE else [_resampler("mono") for _ in range(form.channels)]

    def feed(self, payload: bytes) -> Samples:
        """Whole frames; the rest waits."""
        joined = self.rest + payload
        whole = len(joined) - len(joined) % (self.width * self.form.channels)
        self.rest = joined[whole:]
        frames = self._sixteen(joined[:whole]).reshape(-1, self.form.channels).T
        return self._resampled(frames)

    def finish(self) -> Samples:
        """The resampler's tail; half a frame is nothing."""
        if self.resampler is None:
            return empty(self.form.channels)
        return _stacked([_frames(one.resample(None)) for one in self.resampler])

    def close(self) -> None:
        """Give up what the resampler holds: threads, and memory of its own."""
        self.resampler = None

    def _sixteen(self, payload: bytes) -> Samples:
        if self.width == 2:  # noqa: PLR2004 - bytes
            return np.frombuffer(payload, "<i2").astype(np.int16)
        parts = np.frombuffer(payload, np.uint8).reshape(-1, self.width)
        return np.ascontiguousarray(parts[:, -2:]).view("<i2").reshape(-1).astype(np.int16)

    def _resampled(self, frames: Samples) -> Samples:
        if self.resampler is None or frames.shape[1] == 0:
            return np.ascontiguousarray(frames)
        heard = []
        for row, one in zip(frames, self.resampler, strict=True):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(row[None, :]), format="s16", layout="mono")
            frame.sample_rate = self.form.rate
            heard.append(_frames(one.resample(frame)))
        return _stacked(heard)


def _resampler(layout: str) -> av.AudioResampler:
    return av.AudioResampler(format="s16p", layout=layout, rate=RATE)


def _frames(frames: list[av.AudioFrame]) -> Samples:
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1).astype(np.int16) if frames else empty()


def _stacked(rows: list[Samples]) -> Samples:
    return np.concatenate(rows, axis=0)


class Pipe:
    """A file object that a demuxer reads while it is still being written; tells when the reader starves."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.content = bytearray()
        self.ended = False
        self.starving = False

    def read(self, size: int) -> bytes:
        """Called by PyAV: waits for at least one byte."""
        with self.changed:
            while not self.content and not self.ended:
                self.starving = True
                self.changed.notify_all()
                self.changed.wait()
            self.starving = False
            taken = bytes(self.content[:size])
            del self.content[:size]
            return taken

    def write(self, payload: bytes, *, last: bool = False) -> None:
        """Hand over bytes."""
        with self.changed:
            self.content += payload
            self.ended = self.ended or last
            self.starving = False
            self.changed.notify_all()

    def settle(self, thread: threading.Thread) -> None:
        """Wait until the reader has used up everything, or is gone."""
        with self.changed:
            while not self.starving and thread.is_alive():
                self.changed.wait(0.05)


class ContainerDecoder:
    """Demuxes and decodes in a thread that only ever runs while `feed` waits for it."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.pipe = Pipe()
        self.heard: list[Samples] = []
        self.failed = False
        self.thread = threading.Thread(target=self._work, name="sandbox-decoder", daemon=True)
        self.thread.start()

    def feed(self, payload: bytes) -> Samples:
        """Everything these bytes complete."""
        self.pipe.write(payload)
        return self._taken()

    def finish(self) -> Samples:
        """The decoder's and resampler's tails."""
        self.pipe.write(b"", last=True)
        return self._taken()

    def close(self) -> None:
        """Let the thread run out."""
        self.pipe.write(b"", last=True)
        self.thread.join(5)

    def _taken(self) -> Samples:
        self.pipe.settle(self.thread)
        heard, self.heard = self.heard, []
        if self.failed:
            raise BadAudio(CORRUPTED)
        sound = [one for one in heard if one.shape[1]]
        return np.concatenate(sound, axis=1) if sound else empty()

    def _work(self) -> None:
        try:
            with av.open(self.pipe, "r", format=self.form) as container:
                self._decode(container)
        except (av.FFmpegError, ValueError, IndexError):
            self.failed = True

    def _decode(self, container: av.container.InputContainer) -> None:
        stream = container.streams.audio[0]
        resampler: av.AudioResampler | None = None
        for frame in container.decode(stream):
            resampler = resampler or _resampler(frame.layout.name)
            self.heard.append(_frames(resampler.resample(frame)))
        if resampler is not None:
            self.heard.append(_frames(resampler.resample(None)))
