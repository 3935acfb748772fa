"""What a stream tells its client, and when (corti-api 3.4): words about every 3 s of audio, facts more rarely."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fhir_bridge.sandbox.engine import Finding, Utterance
from fhir_bridge.sandbox.shapes import now
from fhir_bridge.sandbox.state import Fact, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fhir_bridge.sandbox.config import Resolved
    from fhir_bridge.sandbox.engine import Heard
    from fhir_bridge.sandbox.hearing import Hearing
    from fhir_bridge.sandbox.shapes import Json
    from fhir_bridge.sandbox.state import Interaction, State

FAST_INIT = (10.0, 20.0, 26.0, 36.0, 48.0, 60.0)
FIXED = 60.0
LONG_SILENCE = 10.0
CREDITS_PER_SECOND = 0.0002


@dataclass(frozen=True)
class Dialect:
    """Where /streams and /transcribe differ in what they say."""

    no_config: str
    ended: str
    transcripts: Callable[[list[Utterance], str], list[Json]]


def _segment(heard: Utterance, interaction: str) -> Json:
    return {
        "id": interaction,
        "transcript": heard.text,
        "final": True,
        "speakerId": heard.speaker,
        "participant": {"channel": heard.channel},
        "time": {"start": round(heard.start, 3), "end": round(heard.end, 3)},
    }


def _streams_transcripts(heard: list[Utterance], interaction: str) -> list[Json]:
    return [{"type": "transcript", "data": [_segment(one, interaction) for one in heard]}]


def _transcribe_transcripts(heard: list[Utterance], _: str) -> list[Json]:
    return [
        {
            "type": "transcript",
            "data": {
                "text": one.text,
                "rawTranscriptText": one.text,
                "start": round(one.start, 3),
                "end": round(one.end, 3),
                "isFinal": True,
            },
        }
        for one in heard
    ]


STREAMS = Dialect("CONFIG_NOT_PROVIDED", "ENDED", _streams_transcripts)
TRANSCRIBE = Dialect("CONFIG_TIMEOUT", "ended", _transcribe_transcripts)


def replaced(text: str, find: str, instead: str) -> str:
    """The text with a word written otherwise; case does not matter (corti-api 3.3)."""
    return re.sub(rf"\b{re.escape(find)}\b", instead.replace("\\", r"\\"), text, flags=re.IGNORECASE)


def fact_times(*, fast_init: bool) -> Iterator[float]:
    """Seconds of audio after which facts are generated."""
    last = 0.0
    if fast_init:
        yield from FAST_INIT
        last = FAST_INIT[-1]
    while True:
        last += FIXED
        yield last


class Teller:
    """Turns what was heard into messages and into what the interaction keeps. Runs in the ear's thread only."""

    def __init__(
        self,
        state: State,
        config: Resolved,
        interaction: Interaction | None,
        send: Callable[[Json], None],
    ) -> None:
        self.state = state
        self.config = config
        self.dialect = STREAMS if interaction else TRANSCRIBE
        self.interaction = interaction
        self.send = send
        self.base = interaction.received if interaction and state.switches.time_origin == "interaction" else 0.0
        self.pending: list[Utterance] = []
        self.findings: list[Finding] = []
        self.words: list[Utterance] = list(interaction.segments) if interaction else []
        self.facts: dict[tuple[str, str], Fact] = {}
        if interaction and not state.switches.new_fact_ids_on_resume:
            self.facts = {(one.group, one.text): one for one in interaction.facts.values()}
        self.reworded = not state.switches.reword_known_facts
        self.transcript = Transcript(state.new_id(), state.new_id(), [])
        every = state.switches.transcript_interval
        self.every = state.engine.interval if every is None else every
        self.next_transcript = self.every
        self.times = fact_times(fast_init=config.fast_init)
        self.next_facts = next(self.times)
        self.silent: set[int] = set()

    def tell(self, heard: Heard, hearing: Hearing) -> None:
        """Send what is due after this much audio."""
        self._take(heard)
        if self.config.audio_events:
            self._tell_silence(hearing)
        if hearing.seconds >= self.next_transcript:
            self.next_transcript = hearing.seconds + self.every
            if not self.state.switches.hold_transcripts:
                self._tell_words()
        if self.findings:
            self._tell_facts()
        if hearing.seconds >= self.next_facts:
            while hearing.seconds >= self.next_facts:
                self.next_facts = next(self.times)
            self._tell_words()
            self._tell_facts()
            self.send({"type": "delta_usage", "credits": self._credits(hearing)})

    def flush(self, heard: Heard) -> None:
        """Answer `flush`: words, then facts, then `flushed`."""
        self._take(heard)
        self._tell_words()
        self._tell_facts()
        if self.state.switches.flushed:
            self.send({"type": "flushed"})

    def finish(self, heard: Heard) -> None:
        """The last words and facts."""
        self._take(heard)
        self._tell_words()
        self._tell_facts()

    def end(self, hearing: Hearing) -> None:
        """`usage` and `ENDED`, in the order that is switched on."""
        usage: Json = {"type": "usage", "credits": self._credits(hearing)}
        ended: list[Json] = [{"type": self.dialect.ended}] if self.state.switches.ended else []
        order = {"before": [usage, *ended], "after": [*ended, usage], "none": ended}
        for message in order[self.state.switches.usage]:
            self.send(message)

    def _take(self, heard: Heard) -> None:
        for one in heard:
            if isinstance(one, Finding):
                self.findings.append(one)
            elif one.text.strip():
                self.pending.append(self._as_configured(one))

    def _as_configured(self, heard: Utterance) -> Utterance:
        text = heard.text
        for find, instead in self.config.replacements:
            text = replaced(text, find, instead)
        channels = self.config.channels
        return replace(
            heard,
            text=text,
            start=max(heard.start + self.base, 0.0),
            end=max(heard.end + self.base, 0.0),
            channel=channels[heard.channel]
            if self.config.multichannel and heard.channel < len(channels)
            else heard.channel,
            speaker=max(heard.speaker, 0) if self.config.diarize else -1,
        )

    def _tell_words(self) -> None:
        heard, self.pending = self.pending, []
        if not heard:
            return
        self.words += heard
        self._keep_words(heard)
        if self.state.switches.shuffled_segments:
            heard = heard[::-1]
        for message in self.dialect.transcripts(heard, self.interaction.id if self.interaction else ""):
            self.send(message)

    def _keep_words(self, heard: list[Utterance]) -> None:
        if self.interaction is None or not self.config.retained:
            return
        with self.state.lock:
            self.interaction.segments += heard
            self.transcript.segments += heard
            self.interaction.transcripts[self.transcript.id] = self.transcript

    def _tell_facts(self) -> None:
        found, self.findings = self.findings, []
        if not self.config.facts or self.interaction is None:
            return
        if not self.reworded:
            self.reworded = True
            self.send_facts([self._reworded(one) for one in self.interaction.facts.values()])
        if not self.state.engine.tells_facts:
            found += self.state.engine.facts_in(self.words)
        fresh = [self._fact(one) for one in found if (one.group, one.text) not in self.facts]
        if not fresh:
            return
        self._keep_facts(fresh)
        self.send_facts(fresh)
        if self.state.switches.repeat_facts:
            self.send_facts([self._reworded(one) for one in fresh])

    def _fact(self, found: Finding) -> Fact:
        reference = self.interaction.id if self.interaction else None
        fact = Fact(self.state.new_id(), found.text, found.group, "core", found.quote, reference)
        self.facts[found.group, found.text] = fact
        return fact

    def _reworded(self, fact: Fact) -> Fact:
        fact.text, fact.updated = f"{fact.text} (reworded)", now()
        return fact

    def _keep_facts(self, fresh: list[Fact]) -> None:
        if self.interaction is None or not self.config.retained or not self.state.switches.facts_stored:
            return
        with self.state.lock:
            self.interaction.facts |= {one.id: one for one in fresh}

    def send_facts(self, facts: list[Fact]) -> None:
        """A `facts` message; its array is called `fact` unless switched."""
        evidence = self.state.switches.evidence == "always"
        told = [one.json_of(evidence=evidence) for one in facts]
        self.send({"type": "facts", self.state.switches.fact_key: list(told)})

    def _tell_silence(self, hearing: Hearing) -> None:
        for channel, quiet in hearing.silence.items():
            if (quiet >= LONG_SILENCE) == (channel in self.silent):
                continue
            event = "longSilenceDetected" if quiet >= LONG_SILENCE else "longSilenceRecovered"
            self.silent ^= {channel}
            at = round((hearing.seconds + self.base) * 1000)
            self.send({"type": "audioEvent", "data": {"event": event, "channel": channel, "startTimeMs": at}})

    def _credits(self, hearing: Hearing) -> float:
        return round(hearing.seconds * CREDITS_PER_SECOND, 4)
