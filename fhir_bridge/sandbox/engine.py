"""What listens: the one interface behind which recognisers, scripts and number hearing stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Samples: TypeAlias = "npt.NDArray[np.int16]"
    """Sound at RATE, one row per channel."""

RATE = 16_000


@dataclass(frozen=True)
class Utterance:
    """Words that were heard; times in seconds of audio."""

    start: float
    end: float
    text: str
    channel: int = 0
    speaker: int = -1
    """-1 where nobody told speakers apart."""


@dataclass(frozen=True)
class Finding:
    """A clinical fact; `quote` stands in the words that were said."""

    group: str
    text: str
    quote: str | None = None


Heard: TypeAlias = "list[Utterance | Finding]"


@dataclass(frozen=True)
class Situation:
    """Under which circumstances a listener listens."""

    channels: int = 1
    diarize: bool = False
    before: float = 0.0
    """Seconds of audio the same interaction has had on earlier connections."""
    told: set[int] = field(default_factory=set)
    """Items of a script that were already told in this interaction."""


class Listener(Protocol):
    """Listens to one stream from its start to its end."""

    def hear(self, samples: Samples) -> Heard:
        """Take in sound; return what is certain by now."""
        ...

    def flush(self) -> Heard:
        """Return what was said so far, without waiting for a pause."""
        ...

    def close(self) -> None:
        """Forget the stream."""
        ...


class Engine(Protocol):
    """Makes listeners; is made once per sandbox."""

    name: str
    languages: tuple[str, ...]
    """What it understands; empty means anything."""
    interval: float
    """Seconds of audio between transcript messages; 0 sends at once."""
    tells_facts: bool
    """Whether its listeners tell facts themselves, at their own moments."""

    def listen(self, situation: Situation) -> Listener:
        """A listener for one stream."""
        ...

    def facts_in(self, words: Sequence[Utterance]) -> list[Finding]:
        """Facts in words that were said."""
        ...


class CannotListen(Exception):
    """No recogniser, or not the one that was asked for; the text says what to install."""
