"""The scripted engine: fixed words at fixed moments of audio (public-interface: `--script FILE`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from fhir_bridge.sandbox.engine import RATE, CannotListen, Finding, Utterance
from fhir_bridge.sandbox.extraction import extract

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fhir_bridge.sandbox.engine import Heard, Samples, Situation

SLACK = 0.06
"""Coders cut or pad some milliseconds: an item due at the very end is still due."""


class Line(BaseModel):
    """One scripted utterance; sent when its end has been received."""

    model_config = ConfigDict(extra="forbid")
    start: float
    end: float
    text: str
    speaker: int = -1
    channel: int = 0


class Told(BaseModel):
    """One scripted fact."""

    model_config = ConfigDict(extra="forbid")
    at: float
    group: str
    text: str
    quote: str | None = None


class Script(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")
    utterances: list[Line] = []
    facts: list[Told] | None = None
    """None: the rules find facts in the scripted words."""


class ScriptEngine:
    """Says what the script says; hears only how much audio came."""

    name = "script"
    languages: tuple[str, ...] = ()
    interval = 0.0

    def __init__(self, script: Script) -> None:
        self.script = script
        self.tells_facts = script.facts is not None
        items: list[tuple[float, Line | Told]] = [(line.end, line) for line in script.utterances]
        items += [(fact.at, fact) for fact in script.facts or ()]
        self.items = sorted(items, key=lambda item: item[0])

    @classmethod
    def read(cls, path: Path) -> ScriptEngine:
        """The engine for a script file."""
        try:
            return cls(Script.model_validate_json(path.read_bytes()))
        except (OSError, ValidationError) as exc:
            raise CannotListen(f"{path} is no sandbox script: {exc}") from exc

    def listen(self, situation: Situation) -> ScriptListener:
        """A listener that goes on where the interaction's last one stopped."""
        return ScriptListener(self.items, situation)

    def facts_in(self, words: Sequence[Utterance]) -> list[Finding]:
        """All scripted facts, whatever the words are; found by the rules when the script has none."""
        if self.script.facts is None:
            return extract(words)
        return [Finding(one.group, one.text, one.quote) for one in self.script.facts]


class ScriptListener:
    """Counts audio and tells each item once per interaction."""

    def __init__(self, items: list[tuple[float, Line | Told]], situation: Situation) -> None:
        self.items = items
        self.before = situation.before
        self.told = situation.told
        self.samples = 0

    def hear(self, samples: Samples) -> Heard:
        """What is due by now."""
        self.samples += samples.shape[1]
        return self._due(0.0)

    def flush(self) -> Heard:
        """What is due, forgiving some milliseconds."""
        return self._due(SLACK)

    def close(self) -> None:
        """Nothing is held."""

    def _due(self, slack: float) -> Heard:
        reached = self.before + self.samples / RATE + slack
        due = [n for n, (at, _) in enumerate(self.items) if at <= reached and n not in self.told]
        self.told.update(due)
        return [self._heard(self.items[n][1]) for n in due]

    def _heard(self, item: Line | Told) -> Utterance | Finding:
        if isinstance(item, Told):
            return Finding(item.group, item.text, item.quote)
        start, end = item.start - self.before, item.end - self.before
        return Utterance(start, end, item.text, item.channel, item.speaker)
