"""PocketSphinx, the fallback where moonshine cannot be installed: it hears worse, and says so in its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.sandbox.engine import RATE, CannotListen, Utterance
from fhir_bridge.sandbox.extraction import extract

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pocketsphinx

    from fhir_bridge.sandbox.engine import Finding, Heard, Samples, Situation


class SphinxEngine:
    """English only."""

    name = "pocketsphinx en-us"
    languages: tuple[str, ...] = ("en", "en-US", "en-GB")
    interval = 3.0
    tells_facts = False

    def __init__(self, model_dir: Path | None = None) -> None:
        try:
            import pocketsphinx  # noqa: PLC0415 - not installed everywhere
        except ImportError as exc:
            raise CannotListen("pocketsphinx is not installed: pip install pocketsphinx") from exc
        self.module = pocketsphinx
        self.options = {"hmm": str(model_dir)} if model_dir else {}

    def listen(self, situation: Situation) -> SphinxListener:
        """A listener for one stream."""
        return SphinxListener([SphinxChannel(self, index) for index in range(situation.channels)])

    def facts_in(self, words: Sequence[Utterance]) -> list[Finding]:
        """Facts by the rules."""
        return extract(words)


class SphinxChannel:
    """One channel: an endpointer cuts it at pauses, a decoder hears the pieces."""

    def __init__(self, engine: SphinxEngine, index: int) -> None:
        self.index = index
        self.endpointer: pocketsphinx.Endpointer = engine.module.Endpointer(sample_rate=RATE)
        self.decoder: pocketsphinx.Decoder = engine.module.Decoder(samprate=RATE, loglevel="FATAL", **engine.options)
        self.rest = b""
        self.speaking = False

    def hear(self, sound: bytes) -> Heard:
        """Words up to the last pause."""
        joined, size = self.rest + sound, self.endpointer.frame_bytes
        whole = len(joined) - len(joined) % size
        self.rest = joined[whole:]
        frames = (joined[at : at + size] for at in range(0, whole, size))
        return [one for frame in frames for one in self._frame(self.endpointer.process(frame))]

    def flush(self) -> Heard:
        """Also what is being said."""
        rest, self.rest = self.rest, b""
        tail = self.endpointer.end_stream(rest) if rest else None
        if tail and self.speaking:
            self.decoder.process_raw(tail, no_search=False, full_utt=False)
        return self._ended() if self.speaking else []

    def _frame(self, speech: bytes | None) -> Heard:
        if speech is None:
            return []
        if not self.speaking:
            self.decoder.start_utt()
            self.speaking = True
        self.decoder.process_raw(speech, no_search=False, full_utt=False)
        return [] if self.endpointer.in_speech else self._ended()

    def _ended(self) -> Heard:
        self.decoder.end_utt()
        self.speaking = False
        heard = self.decoder.hyp()
        if heard is None or not heard.hypstr:
            return []
        start = self.endpointer.speech_start
        return [Utterance(start, max(self.endpointer.speech_end, start), heard.hypstr, self.index)]


class SphinxListener:
    """All channels of a stream, each heard for itself."""

    def __init__(self, channels: list[SphinxChannel]) -> None:
        self.channels = channels

    def hear(self, samples: Samples) -> Heard:
        """Words up to the last pause."""
        rows = zip(self.channels, samples, strict=True)
        return [one for channel, row in rows for one in channel.hear(row.tobytes())]

    def flush(self) -> Heard:
        """Also what is being said."""
        return [one for channel in self.channels for one in channel.flush()]

    def close(self) -> None:
        """Nothing is held."""
