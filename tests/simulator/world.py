"""A Corti without sockets, a clock without time and chance that a seed foretells."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fhir_bridge import clock
from fhir_bridge.corti.messages import Evidence, Fact, Interaction, Segment
from fhir_bridge.corti.recorded import ExtractedFacts, FactDraft, RecordedTranscript
from fhir_bridge.corti.stream import Conversation, Patience, State
from fhir_bridge.errors import CortiDuplicate, CortiThrottled, CortiUnavailable
from fhir_bridge.sandbox import numbers
from fhir_bridge.sandbox.config import resolved_streams
from fhir_bridge.sandbox.engine import Situation
from fhir_bridge.sandbox.hearing import Hearing
from fhir_bridge.sandbox.numbers import NumbersEngine
from fhir_bridge.sandbox.switches import Switches

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

FACTS_EVERY = 3.0  # seconds of audio
_told: dict[bytes, int | None] = {}


def number_in(burst) -> int | None:
    """What the sandbox hears in a burst: worked out once for each, which is what takes its time."""
    key = burst.tobytes()
    if key not in _told:
        _told[key] = _number_in(burst)
    return _told[key]


_number_in, numbers.number_in = numbers.number_in, number_in


def said(fact: str) -> str:
    """What a fact says, however often it was worded otherwise."""
    return fact.partition(" again")[0]


class SimClock(clock.Clock):
    """Time passes when somebody waits; ids and jitter follow from the seed."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.passed = 0.0
        self.off = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 28, 8, tzinfo=UTC) + timedelta(seconds=self.passed + self.off)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += max(0.0, seconds)

    def token_bytes(self, size: int) -> bytes:
        return self._chance.randbytes(size)

    def random(self) -> float:
        return self._chance.random()


@dataclass
class Told:
    """One interaction, and what Corti keeps of it."""

    id: str
    identifier: str
    facts: dict[str, Fact] = field(default_factory=dict)
    recordings: dict[str, bytes] = field(default_factory=dict)
    received: float = 0.0
    words: list[str] = field(default_factory=list)


class World:
    """All of Corti. It fails as often as `trouble` says, in each way that the bridge has to live with."""

    def __init__(self, chance: random.Random, time: SimClock, trouble: float) -> None:
        self.chance, self.time, self.trouble = chance, time, trouble
        self.interactions: dict[str, Told] = {}
        self.goes_on = chance.random() < 0.5  # how it counts time on a second connection (rule 12)
        self.new_ids = chance.random() < 0.3  # whether it tells known facts anew then
        self.rewords = not self.new_ids and chance.random() < 0.3  # whether it words known facts otherwise then
        self.evidence = chance.random() < 0.5  # whether REST names the words that a fact comes from
        # A second of a recording past which no stream gets: plan B, before or after its fact was told.
        self.torn = chance.choice((2.0, 6.2)) if chance.random() < 0.2 else None
        # Whether a text of a whole recording has facts worded otherwise than its stream: those are not confirmed.
        self.words_anew = self.evidence and chance.random() < 0.5
        # How old a socket may be where Corti looks at its token all along; None: it looks once.
        self.socket_lives = chance.choice((None, None, 0.9, 1.3))
        self.engine = NumbersEngine()
        self.met: list[str] = []

    def fails(self, what: str, often: float = 1.0) -> bool:
        """Whether that goes wrong now."""
        if self.chance.random() >= self.trouble * often:
            return False
        self.met.append(what)
        return True

    def id(self) -> str:
        return clock.new_id()

    def answer(self) -> None:
        """Let time pass for a REST call, and let it fail before anything was done."""
        self.time.sleep(0.05)
        if self.fails("rest.down"):
            raise CortiUnavailable("Corti cannot be reached")
        if self.fails("rest.429", 0.3):
            raise CortiThrottled("Corti asks for patience", retry_after=3)


class SimClient:
    """The calls of fhir_bridge/corti/client.py that a worker makes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create_interaction(self, draft) -> Interaction:
        world = self._world
        world.answer()
        identifier = draft.encounter.identifier
        if any(one.identifier == identifier for one in world.interactions.values()):
            raise CortiDuplicate("Corti has this identifier")
        made = Told(world.id(), identifier)
        world.interactions[made.id] = made
        if world.fails("rest.answer_lost"):
            raise CortiUnavailable("The answer was lost")
        return Interaction(made.id, identifier=identifier)

    def find_interaction(self, identifier: str, *, among: int = 200) -> Interaction | None:
        del among
        self._world.answer()
        found = (one for one in self._world.interactions.values() if one.identifier == identifier)
        return next((Interaction(one.id, identifier=identifier) for one in found), None)

    def patch_interaction(self, interaction_id: str, draft) -> Interaction:
        self._world.answer()
        return Interaction(interaction_id, identifier=draft.encounter.identifier)

    def facts(self, interaction_id: str) -> tuple[Fact, ...]:
        self._world.answer()
        return tuple(self._world.interactions[interaction_id].facts.values())

    def upload_recording(self, interaction_id: str, audio) -> str:
        self._world.answer()
        id_ = self._world.id()
        self._world.interactions[interaction_id].recordings[id_] = audio.read()
        if self._world.chance.random() < 0.5:
            self._world.torn = None  # the next recording may well be streamed
        return id_

    def create_transcript(self, interaction_id: str, draft, *, seconds: float) -> RecordedTranscript:
        del seconds
        self._world.answer()
        content = self._world.interactions[interaction_id].recordings[draft.recording_id]
        hearing = Hearing(self._world.engine, None, Situation(channels=1), multichannel=False)
        heard = [*hearing.feed(content), *hearing.finish()]
        hearing.close()
        segments = tuple(Segment(one.text, one.start, one.end, -1, 0) for one in heard)
        return RecordedTranscript(self._world.id(), "completed", draft.recording_id, segments)

    def extract_facts(self, text: str, language: str) -> ExtractedFacts:
        del language
        self._world.answer()
        words = [word for word in text.split() if word.isdigit() and int(word) % 40 == 0]
        anew = " again" if self._world.words_anew else ""
        return ExtractedFacts(tuple(FactDraft(f"Number {word}{anew}", "other") for word in words))

    def add_facts(self, interaction_id: str, drafts) -> tuple[Fact, ...]:
        self._world.answer()
        added = [Fact(self._world.id(), one.text, one.group, created_at=clock.instant()) for one in drafts]
        self._world.interactions[interaction_id].facts |= {one.id: one for one in added}
        return tuple(added)


class SimStream:
    """One connection: the real conversation of fhir_bridge/corti/stream.py, without socket and threads."""

    world: World  # set by the class that is made for one world

    def __init__(self, url: str, tokens, config, audio, *, pace: float = 1.0, patience=None) -> None:
        del tokens, patience
        self.sent, self.complete = 0.0, False
        self._told = self.world.interactions[url.partition("/interactions/")[2].partition("/")[0]]
        self._config, self._audio, self._pace = config, audio, pace
        self._over = False

    def __enter__(self):
        world = self.world
        world.time.sleep(0.1)
        self._opened = clock.monotonic()
        if world.fails("socket.refused"):
            raise CortiUnavailable("Corti refuses the connection")
        self._talk = Conversation(self._config, now=clock.monotonic(), patience=Patience())
        asked = self._config.to_json()["configuration"]
        form = resolved_streams(asked, world.engine, Switches()).form
        self._hearing = Hearing(world.engine, form, Situation(channels=1), multichannel=False)
        self._base = self._told.received if world.goes_on else 0.0
        self._known = {} if world.new_ids else {said(one.text): one for one in self._told.facts.values()}
        self._old = set(self._told.facts) if world.rewords else set()
        self._pending, self._next = [], FACTS_EVERY
        return self

    def __exit__(self, *_: object) -> None:
        self._hearing.close()

    def abort(self) -> None:
        self._over = True

    def stop(self, *, within: float) -> None:
        self._talk.hurry(now=clock.monotonic(), within=within)
        self._audio = iter(())

    def __iter__(self) -> Iterator[object]:
        config = self._frames()
        assert len(config) == 1
        if self.world.fails("socket.no_config_answer", 0.3):
            yield from self._silence()
        yield self._says({"type": "CONFIG_ACCEPTED"})
        for piece in self._audio:
            if self._over:
                return
            self.world.time.sleep((piece.end - piece.start) / self._pace)
            self._expired()
            self._broken("socket.reset", 0.3)
            if self.world.torn is not None and piece.end > self.world.torn:
                self.world.met.append("socket.torn")
                self._talk.closed()
            self._pending += self._hearing.feed(piece.payload)
            self._told.received += piece.end - piece.start
            self.sent = piece.end
            if self._hearing.seconds >= self._next:
                self._next += FACTS_EVERY
                yield from self._tell()
        self.complete = True
        self._talk.finish(now=clock.monotonic())
        self._pending += self._hearing.flush()
        yield from self._tell()
        self._frames()
        yield self._says({"type": "flushed"})
        self._frames()
        self._broken("socket.no_ended")
        yield self._says({"type": "usage", "credits": 0.1})
        yield self._says({"type": "ENDED"})

    def _tell(self) -> Iterator[object]:
        heard, self._pending = self._pending, []
        if heard:
            self._told.words += [word for one in heard for word in one.text.split()]
            yield self._says({"type": "transcript", "data": [self._segment(one) for one in heard]})
            self._broken("socket.reset")
            if self._old:
                yield self._facts(self._reworded())
        told = [f"Number {word}" for word in self._told.words if int(word) % 40 == 0]
        fresh = [text for text in dict.fromkeys(told) if text not in self._known]
        if fresh:
            made = [self._fact(text) for text in fresh]
            self._known |= {one.text: one for one in made}
            self._told.facts |= {one.id: one for one in made}
            self._broken("socket.facts_lost")
            yield self._facts(made)

    def _fact(self, text: str) -> Fact:
        quote = Evidence("transcript", self._told.id, text.partition(" ")[2])
        evidence = (quote,) if self.world.evidence else ()
        return Fact(self.world.id(), text, "other", created_at=clock.instant(), evidence=evidence)

    def _reworded(self) -> list[Fact]:
        """Facts that were known when this connection began, once; of those that say the same, the newest."""
        newest = {said(one.text): one for one in self._told.facts.values()}.values()
        old, self._old = self._old, set()
        again = [replace(one, text=f"{one.text} again", updated_at=clock.instant()) for one in newest if one.id in old]
        self._told.facts |= {one.id: one for one in again}
        return again

    def _facts(self, told: list[Fact]):
        """A message; on the socket no evidence is named (corti-api 3.4)."""
        shown = [{"id": one.id, "text": one.text, "group": one.group, "isDiscarded": False} for one in told]
        return self._says({"type": "facts", "fact": shown})

    def _segment(self, one) -> dict[str, object]:
        time = {"start": one.start + self._base, "end": one.end + self._base}
        said = {"id": self._told.id, "transcript": one.text, "final": True, "speakerId": -1}
        return said | {"participant": {"channel": 0}, "time": time}

    def _says(self, message: dict[str, object]):
        return self._talk.receive(json.dumps(message), now=clock.monotonic())

    def _frames(self) -> tuple[str, ...]:
        return self._talk.to_send()

    def _broken(self, what: str, often: float = 1.0) -> None:
        if self.world.fails(what, often):
            self._talk.closed()

    def _expired(self) -> None:
        """End, as a Corti does that looks at the token of a connection all along (1008)."""
        lives = self.world.socket_lives
        if lives is not None and clock.monotonic() - self._opened >= lives:
            self.world.met.append("socket.expired")
            self._talk.closed()

    def _silence(self) -> Iterator[object]:
        while self._talk.state is State.CONFIGURING:
            self.world.time.sleep(1.0)
            self._talk.tick(now=clock.monotonic())
        yield from ()
