"""Sound that carries numbers, and the engine that hears them: so that loss, doubling and order can be counted.

A frame is a quarter of a second: 180 ms of five tones that sound together, then silence. The tones are the four
hexadecimal digits of the number and a check digit, each in a band of its own, so a frame is told from any starting
point and survives Opus, MP3 and resampling; a frame that was cut is not heard at all.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fhir_bridge.sandbox.engine import RATE, Finding, Utterance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fhir_bridge.sandbox.engine import Heard, Samples, Situation

FRAME_SECONDS = 0.25
TONE_SECONDS = 0.18
RAMP_SECONDS = 0.01
LOWEST, STEP, DIGITS, BASE = 400.0, 40.0, 5, 16
AMPLITUDE = 0.12
GROUP = 4
"""Numbers in one utterance: those with the same number // GROUP."""
FACT_EVERY = 40
"""Each so-manieth number is a fact (10 s of sound)."""
LIMIT = BASE ** (DIGITS - 1)
CHANNEL_STEP = 10_000
"""Numbers of the next channel of make_wav begin so much higher."""

HOP = RATE // 100
WINDOW = int(0.12 * RATE)
LOUD = 0.25
"""Share of the burst's loudness below which it is over."""
FLOOR = 300.0
"""Loudness under which nothing begins."""
CLEAR = 2.0
"""How much stronger the told digit must be than the next."""


def digits_of(number: int) -> list[int]:
    """Four digits and their check digit."""
    if not 0 <= number < LIMIT:
        raise ValueError(f"{number} does not fit in a frame")
    plain = [(number >> shift) & 15 for shift in (12, 8, 4, 0)]
    return [*plain, _check(plain)]


def _check(plain: Sequence[int]) -> int:
    return (sum((place + 3) * digit for place, digit in enumerate(plain)) + 7) % BASE


def _frequency(band: int, digit: int) -> float:
    return LOWEST + STEP * (band * BASE + digit)


def samples(first: int, count: int, rate: int = RATE) -> Samples:
    """`count` frames in one channel, the first carrying `first`."""
    frames = [_frame(number, rate) for number in range(first, first + count)]
    return np.concatenate(frames) if frames else np.zeros(0, np.int16)


def _frame(number: int, rate: int) -> Samples:
    length, sounding = round(FRAME_SECONDS * rate), round(TONE_SECONDS * rate)
    at = np.arange(sounding) / rate
    ramp = np.clip(np.minimum(at, at[::-1]) / RAMP_SECONDS, 0, 1)
    tones = (np.sin(2 * np.pi * _frequency(band, digit) * at + band) for band, digit in enumerate(digits_of(number)))
    frame = np.zeros(length, np.int16)
    frame[:sounding] = np.round(sum(tones) * ramp * AMPLITUDE * 32767)
    return frame


def make_wav(count: int, *, first: int = 0, rate: int = RATE, channels: int = 1, pause: float = 0.0) -> bytes:
    """A 16-bit WAV of count frames, so many seconds apart; channel c begins at first + c * CHANNEL_STEP."""
    rows = [samples(first + channel * CHANNEL_STEP, count, rate) for channel in range(channels)]
    if pause:
        rows = [_apart(row, round(FRAME_SECONDS * rate), round(pause * rate)) for row in rows]
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.stack(rows, axis=1).astype("<i2").tobytes())
    return file.getvalue()


def _apart(row: Samples, frame: int, pause: int) -> Samples:
    return np.pad(row.reshape(-1, frame), ((0, 0), (0, pause))).reshape(-1)


def _tables() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Cosines and sines of each frequency, in a window."""
    at = np.arange(WINDOW) / RATE
    wanted = np.array([_frequency(band, digit) for band in range(DIGITS) for digit in range(BASE)])
    turns = 2 * np.pi * wanted[:, None] * at[None, :]
    return np.asarray(np.stack([np.cos(turns), np.sin(turns)]) * np.hanning(WINDOW), np.float32)


TABLES = _tables()


def number_in(burst: Samples) -> int | None:
    """The number a burst carries; None when it is not clear or was cut."""
    if len(burst) < WINDOW:
        return None
    middle = (len(burst) - WINDOW) // 2
    strength = np.hypot(*(TABLES @ burst[middle : middle + WINDOW].astype(np.float32))).reshape(DIGITS, BASE)
    ranked = np.sort(strength, axis=1)
    if not bool(np.all(ranked[:, -1] > CLEAR * ranked[:, -2])):
        return None
    told = [int(digit) for digit in strength.argmax(axis=1)]
    if _check(told[:-1]) != told[-1]:
        return None
    return int("".join(f"{digit:x}" for digit in told[:-1]), BASE)


def _is_loud(row: Samples) -> bool:
    """Whether a burst may begin in there: nothing is louder than its loudest sample."""
    return len(row) > 0 and max(int(row.max()), -int(row.min())) > FLOOR


@dataclass
class Channel:
    """Cuts one channel into bursts and bursts into utterances."""

    index: int
    rest: Samples = field(default_factory=lambda: np.zeros(0, np.int16))
    position: int = 0
    burst: list[Samples] = field(default_factory=list)
    began: int = 0
    peak: float = 0.0
    spoken: list[tuple[int, float, float]] = field(default_factory=list)

    def hear(self, row: Samples) -> Iterator[Utterance]:
        """Utterances that are complete."""
        joined = np.concatenate([self.rest, row]) if len(self.rest) else row
        whole = len(joined) // HOP * HOP
        self.rest = joined[whole:]
        hops = joined[:whole].reshape(-1, HOP)
        if not self.burst and not _is_loud(joined[:whole]):
            self.position += whole
            return
        for hop, loudness in zip(
            hops, np.sqrt(np.mean(np.square(hops.astype(np.float32)), axis=1)).tolist(), strict=True
        ):
            yield from self._hop(hop, loudness)
            self.position += HOP

    def _hop(self, hop: Samples, loudness: float) -> Iterator[Utterance]:
        if loudness > max(FLOOR, LOUD * self.peak):
            if not self.burst:
                self.began = self.position
            self.burst.append(hop)
            self.peak = max(self.peak, loudness)
        elif self.burst:
            yield from self._burst()

    def _burst(self) -> Iterator[Utterance]:
        number = number_in(np.concatenate(self.burst))
        self.burst, self.peak = [], 0.0
        if number is None:
            return
        if self.spoken and number != self.spoken[-1][0] + 1:
            yield from self.utter()
        self.spoken.append((number, self.began / RATE, self.position / RATE))
        if number % GROUP == GROUP - 1:
            yield from self.utter()

    def utter(self) -> Iterator[Utterance]:
        """What was told since the last utterance."""
        spoken, self.spoken = self.spoken, []
        if spoken:
            text = " ".join(str(number) for number, _, _ in spoken)
            yield Utterance(spoken[0][1], spoken[-1][2], text, self.index)

    def flush(self) -> Iterator[Utterance]:
        """Also the burst that still sounds."""
        if self.burst:
            yield from self._burst()
        yield from self.utter()


class NumbersListener:
    """Hears every channel for itself."""

    def __init__(self, channels: int) -> None:
        self.channels = [Channel(index) for index in range(channels)]

    def hear(self, samples: Samples) -> Heard:
        """Utterances that are complete."""
        heard = zip(self.channels, samples, strict=True)
        return [one for channel, row in heard for one in channel.hear(row)]

    def flush(self) -> Heard:
        """Numbers whose group is not complete."""
        return [one for channel in self.channels for one in channel.flush()]

    def close(self) -> None:
        """Nothing is held."""


class NumbersEngine:
    """Hears numbers; each FACT_EVERYth is a fact."""

    name = "numbers"
    languages: tuple[str, ...] = ()
    interval = 3.0
    tells_facts = False

    def listen(self, situation: Situation) -> NumbersListener:
        """A listener for one stream."""
        return NumbersListener(situation.channels)

    def facts_in(self, words: Sequence[Utterance]) -> list[Finding]:
        """Facts among heard numbers."""
        told = [word for one in words for word in one.text.split() if word.isdigit()]
        return [Finding("other", f"Number {word}", word) for word in told if int(word) % FACT_EVERY == 0]
