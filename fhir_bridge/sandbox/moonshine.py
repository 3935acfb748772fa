"""The moonshine recogniser: its tiny English model lies inside its package, so nothing is downloaded.

It could tell speakers apart, but only slower than real time and after the fact (measured: 1.25 times real time),
so everybody is one speaker here.
"""

from __future__ import annotations

import functools
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fhir_bridge.sandbox.engine import RATE, CannotListen, Utterance
from fhir_bridge.sandbox.extraction import extract

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moonshine_voice.transcriber import Stream, Transcriber, TranscriptEvent

    from fhir_bridge.sandbox.engine import Finding, Heard, Samples, Situation

UPDATE_SECONDS = 2.0
"""More often costs more than it tells: at 0.5 s recognition is slower than real time."""
ROLLOVER_SECONDS = 120.0
"""A stream lists all its lines at each update: begin a new one at a pause now and then."""
OPTIONS = {"return_audio_data": "false"}
MODELS = ("tiny-en-streaming", "base-en-streaming", "tiny-en", "base-en")


def _model_path(model_dir: Path | None) -> Path:
    from moonshine_voice.utils import get_model_path  # noqa: PLC0415 - loads the library

    path = model_dir or Path(get_model_path("tiny-en"))
    if not (path / "tokenizer.bin").is_file():
        raise CannotListen(f"{path} holds no moonshine model (tokenizer.bin and *.ort)")
    return path


@functools.cache
def _transcriber(path: Path) -> Transcriber:
    """One load per model and process."""
    from moonshine_voice.errors import MoonshineError  # noqa: PLC0415 - loads the library
    from moonshine_voice.moonshine_api import ModelArch  # noqa: PLC0415 - loads the library
    from moonshine_voice.transcriber import Transcriber  # noqa: PLC0415 - loads the library

    size = "BASE" if "base" in path.name else "TINY"
    arch = ModelArch[f"{size}_STREAMING" if "streaming" in path.name else size]
    try:
        return Transcriber(path, arch, update_interval=UPDATE_SECONDS, options=OPTIONS)
    except MoonshineError as exc:
        raise CannotListen(f"{path} could not be loaded as a {arch.name} model") from exc


class MoonshineEngine:
    """English only."""

    languages: tuple[str, ...] = ("en", "en-US", "en-GB")
    interval = 3.0
    tells_facts = False

    def __init__(self, model_dir: Path | None = None) -> None:
        try:
            path = _model_path(model_dir)
        except ImportError as exc:
            raise CannotListen("moonshine-voice is not installed: pip install 'fhir-bridge[sandbox]'") from exc
        self.name = f"moonshine {path.name}"
        self.transcriber = _transcriber(path)
        self.turn = threading.Lock()

    def listen(self, situation: Situation) -> MoonshineListener:
        """A listener for one stream."""
        return MoonshineListener([MoonshineChannel(self, index) for index in range(situation.channels)])

    def facts_in(self, words: Sequence[Utterance]) -> list[Finding]:
        """Facts by the rules."""
        return extract(words)


class MoonshineChannel:
    """One channel: a recogniser's stream, begun anew now and then, and the lines it completed."""

    def __init__(self, engine: MoonshineEngine, index: int) -> None:
        self.engine = engine
        self.index = index
        self.base = 0.0
        self.seconds = 0.0
        self.talking = False
        self.lines: list[Utterance] = []
        self.failure: Exception | None = None
        self.stream: Stream | None = None

    def hear(self, row: Samples) -> Heard:
        """Lines that ended in a pause."""
        with self.engine.turn:
            stream = self.stream or self._begin()
            stream.add_audio((row.astype(np.float32) / 32768).tolist(), RATE)
        self.seconds += len(row) / RATE
        if self.seconds > ROLLOVER_SECONDS and not self.talking:
            return self.flush()
        return self._taken()

    def flush(self) -> Heard:
        """Also the line that is being spoken."""
        if self.stream is not None:
            with self.engine.turn:
                self.stream.stop()
        heard = self._taken()
        self.close()
        return heard

    def close(self) -> None:
        """Free the recogniser's stream."""
        stream, self.stream = self.stream, None
        if stream is not None:
            with self.engine.turn:
                stream.close()
            self.base, self.seconds = self.base + self.seconds, 0.0

    def _begin(self) -> Stream:
        self.stream = self.engine.transcriber.create_stream(update_interval=UPDATE_SECONDS)
        self.stream.add_listener(self._notice)
        self.stream.start()
        return self.stream

    def _notice(self, event: TranscriptEvent) -> None:
        """Called by the recogniser for each change of a line."""
        kind = type(event).__name__
        if kind == "Error":
            self.failure = event.error
            return
        self.talking = kind != "LineCompleted"
        if kind == "LineCompleted":
            line = event.line
            start = self.base + line.start_time
            text = re.sub(r",[,\s]*,", ",", line.text).strip()
            self.lines.append(Utterance(start, start + line.duration, text, self.index))

    def _taken(self) -> Heard:
        if self.failure is not None:
            raise CannotListen("the recogniser failed") from self.failure
        heard, self.lines = self.lines, []
        return list(heard)


class MoonshineListener:
    """All channels of a stream, each heard for itself."""

    def __init__(self, channels: list[MoonshineChannel]) -> None:
        self.channels = channels

    def hear(self, samples: Samples) -> Heard:
        """Lines that ended in a pause."""
        return [one for channel, row in zip(self.channels, samples, strict=True) for one in channel.hear(row)]

    def flush(self) -> Heard:
        """Also the lines that are being spoken."""
        return [one for channel in self.channels for one in channel.flush()]

    def close(self) -> None:
        """Free the recogniser's streams."""
        for channel in self.channels:
            channel.close()
