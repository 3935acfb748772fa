"""Bytes in, words out: one stream's decoder and listener together, and the count of what was received."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhir_bridge.sandbox.decode import HEAD_BYTES, BadAudio, decoder, mixed_down
from fhir_bridge.sandbox.engine import RATE

if TYPE_CHECKING:
    from fhir_bridge.sandbox.decode import AudioFormat, Decoder
    from fhir_bridge.sandbox.engine import Engine, Heard, Listener, Samples, Situation

SILENT = 64
"""Largest 16-bit sample that still counts as silence (a dithered zero)."""


class Hearing:
    """Synchronous: `feed` returns when everything it was given has been listened to."""

    def __init__(
        self,
        engine: Engine,
        declared: AudioFormat | None,
        situation: Situation,
        *,
        multichannel: bool,
        wav: bool = True,
    ) -> None:
        self.engine = engine
        self.declared = declared
        self.situation = situation
        self.multichannel = multichannel
        self.wav = wav
        self.head = b""
        self.samples = 0
        self.silence: dict[int, float] = {}
        """Seconds of silence up to now, by channel."""
        self._decoder: Decoder | None = None
        self._listener: Listener | None = None

    @property
    def seconds(self) -> float:
        """How much audio was received."""
        return self.samples / RATE

    def feed(self, payload: bytes) -> Heard:
        """What became certain by these bytes."""
        if self._decoder is None:
            self.head += payload
            if len(self.head) < HEAD_BYTES:
                return []
            self._decoder = decoder(self.declared, self.head, wav=self.wav)
            payload, self.head = self.head, b""
        return self._hear(self._decoder.feed(payload))

    def flush(self) -> Heard:
        """What was said so far."""
        return self._listener.flush() if self._listener is not None else []

    def finish(self) -> Heard:
        """The rest, after the last byte."""
        if self._decoder is None:
            if self.head:
                raise BadAudio("Provided audio is invalid or corrupted.")
            return []
        return self._hear(self._decoder.finish()) + self.flush()

    def close(self) -> None:
        """Give up threads and the recogniser's stream."""
        for held in (self._decoder, self._listener):
            if held is not None:
                held.close()

    def _hear(self, samples: Samples) -> Heard:
        if not self.multichannel:
            samples = mixed_down(samples)
        if samples.shape[1] == 0:
            return []
        if self._listener is None:
            self._listener = self.engine.listen(replace(self.situation, channels=samples.shape[0]))
        self.samples += samples.shape[1]
        self._notice_silence(samples)
        return self._listener.hear(samples)

    def _notice_silence(self, samples: Samples) -> None:
        for channel, row in enumerate(samples):
            quiet = max(int(row.max()), -int(row.min())) <= SILENT
            self.silence[channel] = self.silence.get(channel, 0.0) + len(row) / RATE if quiet else 0.0
