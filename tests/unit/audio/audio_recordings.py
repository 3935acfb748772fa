"""Recordings for the tests, made when they are asked for: no binary file is kept in the repository."""

from __future__ import annotations

import io
import math
from array import array
from fractions import Fraction
from functools import cache, lru_cache

import av

LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 6: "5.1", 8: "7.1"}
FASTSTART = {"moov_size": "40000"}  # ffmpeg puts the index first when it knows how much room to leave


@lru_cache(maxsize=64)
def pcm(seconds: float = 5.0, *, rate: int = 16_000, channels: int = 1) -> bytes:
    """A warble, with another pitch on each channel."""
    count = int(rate * seconds)
    tones = [
        [int(9000 * math.sin(i * (440 + 170 * c) * math.tau / rate)) for i in range(rate)] for c in range(channels)
    ]
    samples = array("h", bytes(2 * count * channels))
    for channel, tone in enumerate(tones):
        whole = array("h", tone * (int(seconds) + 1))[:count]
        samples[channel::channels] = whole
    return samples.tobytes()


def same_on_both(mono: bytes) -> bytes:
    """Put one channel on both."""
    one = array("h", mono)
    both = array("h", bytes(4 * len(one)))
    both[::2] = both[1::2] = one
    return both.tobytes()


def on_two(left: bytes, right: bytes) -> bytes:
    """Put one channel on each side."""
    one, two = array("h", left), array("h", right)
    both = array("h", bytes(4 * len(one)))
    both[::2], both[1::2] = one, two
    return both.tobytes()


def recording(
    muxer: str,
    codec: str,
    samples: bytes | None = None,
    *,
    rate: int = 16_000,
    channels: int = 1,
    seconds: float = 5.0,
    mux: dict[str, str] | None = None,
    encode: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """Encode 16-bit samples into a container."""
    samples = pcm(seconds, rate=rate, channels=channels) if samples is None else samples
    layout = LAYOUTS[channels]
    out = io.BytesIO()
    with av.open(out, "w", format=muxer, options=mux or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=48_000 if codec == "libopus" else rate, layout=layout)
        stream.options = {"strict": "-2", **(encode or {})}
        fitted = av.AudioResampler(
            stream.codec_context.format, layout, stream.rate, stream.codec_context.frame_size or 1024
        )
        for frame in (*fitted.resample(frame_of(samples, rate, channels)), *fitted.resample(None), None):
            container.mux(stream.encode(frame))
    return out.getvalue()


def frame_of(samples: bytes, rate: int, channels: int) -> av.AudioFrame:
    frame = av.AudioFrame("s16", LAYOUTS[channels], len(samples) // 2 // channels)
    frame.planes[0].update(samples.ljust(frame.planes[0].buffer_size, b"\0"))
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    return frame


def repacked(source: bytes, muxer: str, *, gap: float = 0.0, video: bool = False) -> bytes:
    """Move packets to another container, with a hole in time after two seconds, or beside a video track."""
    out = io.BytesIO()
    with av.open(io.BytesIO(source)) as old, av.open(out, "w", format=muxer) as new:
        track = old.streams.audio[0]
        stream = new.add_stream_from_template(track)
        pictures = None
        if video:
            pictures = new.add_stream("mjpeg", rate=1)
            pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuvj420p"
        for number, packet in enumerate(old.demux(track)):
            if packet.dts is None:
                continue
            if pictures is not None and number % 50 == 0:
                picture = av.VideoFrame(32, 32, "yuvj420p")
                picture.pts = number // 50
                new.mux(pictures.encode(picture))
            if packet.pts * packet.time_base >= 2:
                packet.pts += int(gap / packet.time_base)
                packet.dts = packet.pts
            packet.stream = stream
            new.mux(packet)
    return out.getvalue()


def decoded(audio: bytes, demuxer: str | None = None) -> bytes:
    """Decode to 16 bit by ffmpeg's own judgement of the format."""
    found = bytearray()
    with av.open(io.BytesIO(audio), format=demuxer) as container:
        resampler = None
        for frame in (*container.decode(audio=0), None):
            if resampler is None:
                resampler = av.AudioResampler("s16", frame.layout.name, frame.sample_rate)
            for one in resampler.resample(frame):
                found += bytes(one.planes[0])[: one.samples * one.layout.nb_channels * 2]
    return bytes(found)


MADE = {
    "wav": lambda: recording("wav", "pcm_s16le"),
    "wav-24": lambda: recording("wav", "pcm_s24le", rate=44_100, channels=2),
    "wave64": lambda: recording("w64", "pcm_s16le"),
    "rf64": lambda: recording("wav", "pcm_s16le", mux={"rf64": "always"}),
    "aiff": lambda: recording("aiff", "pcm_s16be"),
    "mp3": lambda: recording("mp3", "libmp3lame"),
    "mp3-44": lambda: recording("mp3", "libmp3lame", rate=44_100, channels=2),
    "mp3-bare": lambda: recording("mp3", "libmp3lame", mux={"id3v2_version": "0", "write_xing": "0"}),
    "flac": lambda: recording("flac", "flac"),
    "flac-44": lambda: recording("flac", "flac", rate=44_100, channels=2),
    "ogg-opus": lambda: recording("ogg", "libopus", rate=48_000),
    "ogg-vorbis": lambda: recording("ogg", "vorbis", channels=2),
    "webm": lambda: recording("webm", "libopus", rate=48_000),
    "webm-live": lambda: recording("webm", "libopus", rate=48_000, mux={"live": "1"}),
    "m4a": lambda: recording("ipod", "aac", mux=FASTSTART),
    "m4a-fragmented": lambda: recording(
        "mp4", "aac", mux={"movflags": "empty_moov+delay_moov", "frag_duration": "1000000"}
    ),
    "m4a-index-last": lambda: recording("ipod", "aac"),
    "aac": lambda: recording("adts", "aac", rate=44_100, channels=2),
}


@cache
def made(name: str) -> bytes:
    """One of each kind, five seconds long."""
    return MADE[name]()
