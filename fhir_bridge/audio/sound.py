"""What a recording is: its form at a glance (`probe`), and its length and channels by listening (`inspect`)."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge.audio.layout import layout_of
from fhir_bridge.audio.libav import Shape, opened
from fhir_bridge.errors import UnusableAudio

if TYPE_CHECKING:
    from typing import BinaryIO

    from fhir_bridge.audio.layout import Layout
    from fhir_bridge.audio.libav import Block, Source
    from fhir_bridge.audio.sniff import Container

Way = Literal["whole", "remuxed", "decoded"]

LONGEST_SECONDS: Final = 24 * 3600.0  # a small file can claim, and decode to, years of silence
_SLACK_SECONDS: Final = 1.0
_XING_SAMPLES: Final = {True: 1152, False: 576}  # of one MP3 frame, from 32 kHz up and below (ISO 11172-3, 13818-3)

# What Corti takes as it is while streaming (corti-api 3.6), by container and codec.
_STREAMED: Final[dict[Container, frozenset[str]]] = {
    "wav": frozenset(),
    "aiff": frozenset(),
    "mp3": frozenset({"mp3"}),
    "flac": frozenset({"flac"}),
    "ogg": frozenset({"opus", "vorbis"}),
    "webm": frozenset({"opus", "vorbis"}),
    "mp4": frozenset({"aac"}),
    "aac": frozenset({"aac"}),
}
_REMUXABLE: Final = frozenset({"ogg", "webm", "mp4", "aac"})
_SAMPLE_BITS: Final = {"pcm_alaw": 8, "pcm_mulaw": 8, "alac": 24}


@dataclass(frozen=True)
class Probe:
    """A recording at a glance. `bits` are those of one sample as it was recorded; 16 for lossy codecs."""

    container: Container
    mime: str
    codec: str
    rate: int
    channels: int
    bits: int


@dataclass(frozen=True)
class Sound(Probe):
    """A recording that was listened to from end to end.

    `seconds` counts decoded samples. `distinct_channels` tells that at least two
    channels truly differ (ruling 15). `truncated` tells that a part is missing or did not
    decode (ruling 24). `way` is how it reaches Corti without being decoded, if it can:
    as it is, in a new container, or not at all.
    """

    seconds: float
    distinct_channels: bool
    truncated: bool
    way: Way


def probe(file: BinaryIO) -> Probe:
    """Tell what a recording is from its header and its first decoded samples.

    Raises:
        UnusableAudio: no format read here, or nothing in it that decodes.
    """
    layout = layout_of(file)
    with opened(file, layout) as source:
        return _probe(layout, source, _first(source).shape)


def claimed_seconds(file: BinaryIO) -> float | None:
    """Give the length that a recording's header claims, if it does; only listening tells whether that is so."""
    file.seek(0)
    with opened(file, layout_of(file)) as source:
        return source.claimed_seconds


def inspect(file: BinaryIO) -> Sound:
    """Decode a whole recording, in constant memory, and tell what it is.

    Raises:
        UnusableAudio: no format read here, nothing in it that decodes, or longer than a day.
    """
    layout = layout_of(file)
    with opened(file, layout) as source:
        shape: Shape | None = None
        samples = 0
        comparison = Comparison()
        for block in source.blocks():
            shape = shape or block.shape
            samples += _samples(block)
            comparison.feed(block)
            if samples > LONGEST_SECONDS * shape.rate:
                raise UnusableAudio("The audio is longer than 24 hours; send it in parts")
        if shape is None:
            raise _silence(layout)
        seen = _probe(layout, source, shape)
        seconds = samples / shape.rate
        return Sound(
            **vars(seen),
            seconds=seconds,
            distinct_channels=comparison.distinct,
            truncated=layout.truncated or source.lost > 0 or seconds + _SLACK_SECONDS < _claimed(layout, source, shape),
            way=_way(layout, source, seconds),
        )


class Comparison:
    """Tells, while listening, whether any channel differs from the first.

    Each second is judged by every 16th sample: channels differ there when the energy of
    their difference is over 5 % (-13 dB) of their own. That lets pass what codecs, noise
    and unequal gain do to one signal, and is well below what two microphones hear of two
    people in one room. Seconds whose difference stays under -60 dB of full scale do not
    count, and more than one second in a hundred has to differ, so that a click does not
    make a second speaker.
    """

    _STEP: Final = 16
    _SHARE: Final = 0.05
    _FLOOR: Final = 32.0**2
    _SECONDS_SHARE: Final = 100

    def __init__(self) -> None:
        self._own = self._other = 0
        self._taken = 0
        self._heard = 0
        self._seconds = self._different = 0

    @property
    def distinct(self) -> bool:
        """Tell whether channels differ in what was fed so far."""
        self._judge()
        return self._different > self._seconds // self._SECONDS_SHARE

    def feed(self, block: Block) -> None:
        """Take the next samples."""
        if block.shape.channels == 1:
            return
        samples = array("h", block.pcm)
        step = block.shape.channels * self._STEP
        first = samples[::step]
        energy = sum(one * one for one in first)
        differences = [
            sum((one - two) ** 2 for one, two in zip(first, samples[channel::step], strict=True))
            for channel in range(1, block.shape.channels)
        ]
        self._own += energy
        self._other += max(differences)
        self._taken += len(first)
        self._heard += _samples(block)
        if self._heard >= block.shape.rate:
            self._judge()

    def _judge(self) -> None:
        if self._taken:
            self._seconds += 1
            loud = self._other / self._taken > self._FLOOR
            self._different += loud and self._other > self._SHARE * self._own
        self._own = self._other = self._taken = self._heard = 0


def _probe(layout: Layout, source: Source, shape: Shape) -> Probe:
    sniffed = layout.sniffed
    return Probe(sniffed.container, sniffed.mime, source.codec, shape.rate, shape.channels, _bits(source.codec))


def _first(source: Source) -> Block:
    for block in source.blocks():
        return block
    raise UnusableAudio("No audio in the file can be decoded; record or export it again")


def _silence(layout: Layout) -> UnusableAudio:
    return UnusableAudio(f"Nothing in the {layout.sniffed.mime} file can be decoded; record or export it again")


def _samples(block: Block) -> int:
    return len(block.pcm) // (2 * block.shape.channels)


def _bits(codec: str) -> int:
    if codec in _SAMPLE_BITS:
        return _SAMPLE_BITS[codec]
    digits = "".join(letter for letter in codec.removeprefix("pcm_") if letter.isdigit())
    return int(digits) if codec.startswith("pcm_") and digits else 16


def _claimed(layout: Layout, source: Source, shape: Shape) -> float:
    """Give the length the container claims where such a claim means something, else 0."""
    match layout.sniffed.container:
        case "mp3":
            return (layout.frames or 0) * _XING_SAMPLES[shape.rate >= 32_000] / shape.rate  # noqa: PLR2004 - MPEG 1
        case "mp4" | "webm" | "flac":
            return source.claimed_seconds or 0.0
        case _:
            return 0.0  # WAV and AIFF are held against the file itself, Ogg has its last page, ADTS claims nothing


def _way(layout: Layout, source: Source, seconds: float) -> Way:
    container = layout.sniffed.container
    if source.codec not in _STREAMED[container] or source.lost or abs(source.end - seconds) > _SLACK_SECONDS:
        return "decoded"  # time stamps with gaps would put every later word at the wrong time
    whole = source.alone and layout.index_first and container != "aac" and layout.sniffed.mime != "audio/x-matroska"
    if whole:
        return "whole"
    return "remuxed" if container in _REMUXABLE else "decoded"
