"""A stream's conversation, without I/O: what a message means, what to say next, how long to wait (corti-api 3)."""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from fhir_bridge.corti.messages import (
    About,
    ConfigAccepted,
    ConfigNack,
    Ended,
    Flushed,
    Message,
    StreamConfig,
    StreamError,
    Transcript,
    Usage,
)
from fhir_bridge.corti.reading import message
from fhir_bridge.errors import ConfigRefused, CortiError, CortiForbidden, CortiThrottled, CortiTimeout, CortiUnavailable

FLUSH: Final = '{"type":"flush"}'
END: Final = '{"type":"end"}'


class State(StrEnum):
    """Where the conversation stands."""

    CONFIGURING = "configuring"
    LIVE = "live"
    FLUSHING = "flushing"
    ENDING = "ending"
    LINGERING = "lingering"
    ENDED = "ended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds each answer may take (corti-api 9.5)."""

    connect: float = 10.0
    config: float = 10.0
    flushed: float = 30.0
    ended: float = 120.0  # from `end` to ENDED, whatever is said in between
    ended_silence: float = 60.0  # the same while nothing is said
    linger: float = 2.0  # after ENDED, for messages out of order (corti-api 3.4)
    silence: float = 60.0  # without so much as a pong
    stall: float = 30.0  # until one frame is taken
    ping: float = 15.0


# What Corti's free text says was refused; the first row that fits counts.
_ABOUT: Final[tuple[tuple[About, re.Pattern[str]], ...]] = (
    ("audio", re.compile(r"audio.?format|mime|codec|container|\bpcm\b|audio/|sampl\w+.?rate", re.IGNORECASE)),
    ("language", re.compile(r"lang|locale", re.IGNORECASE)),
    ("audio", re.compile(r"audio|format", re.IGNORECASE)),
)
_BAD_AUDIO: Final = re.compile(
    r"(invalid|corrupt|unsupported|unknown|mismatch).{0,80}(audio|format|mime|codec)"
    r"|(audio|format|mime|codec).{0,80}(invalid|corrupt|unsupported|not supported|unknown|mismatch|decod)",
    re.IGNORECASE,
)
_LONGEST_REASON: Final = 200
_NO_BALANCE: Final = "A0021"
_THROTTLED: Final = 429
_FORBIDDEN: Final = frozenset({401, 403})


def about(reason: str) -> About:
    """Tell what Corti's reason is about."""
    return next((subject for subject, pattern in _ABOUT if pattern.search(reason[:_LONGEST_REASON])), "other")


class Conversation:
    """The conversation of one connection.

    Feed it what arrives (`receive`); tell it when the audio is over (`finish`), that time
    passed (`tick`) and that the connection closed (`closed`). Send what `to_send` returns,
    and audio only while `wants_audio`. `now` is the reading of a monotonic clock.
    """

    def __init__(self, config: StreamConfig, *, now: float, patience: Patience | None = None) -> None:
        self.state = State.CONFIGURING
        self._patience = patience or Patience()
        self._config = config
        self._outgoing = deque([json.dumps(config.to_json())])
        self.deadline: float | None = now + self._patience.config  # of the monotonic clock: then `tick` does something
        self._last_end = 0.0
        self._heard_words = False
        self._heard_usage = False
        self._error: StreamError | None = None

    @property
    def wants_audio(self) -> bool:
        """Whether audio may be sent now: never before CONFIG_ACCEPTED (reliability 6)."""
        return self.state is State.LIVE

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come of this connection."""
        return self.state in {State.ENDED, State.FAILED}

    def to_send(self) -> tuple[str, ...]:
        """Take the text frames that are to be sent now."""
        frames = tuple(self._outgoing)
        self._outgoing.clear()
        return frames

    def receive(self, frame: str | bytes, *, now: float) -> Message:
        """Take one frame and return what it says.

        Raises:
            ConfigRefused: Corti refused the configuration, or hears no sound in what it gets.
            CortiError: Corti ended the stream while audio was still to come.
        """
        said = message(frame)
        self._react(said, now)
        if self.state is State.ENDING:
            self.deadline = min(self._last_end, now + self._patience.ended_silence)
        return said

    def finish(self, *, now: float) -> None:
        """All audio was sent: have Corti say what is pending, then end."""
        if self.state is State.LIVE:
            self._outgoing.append(FLUSH)
            self.state, self.deadline = State.FLUSHING, now + self._patience.flushed

    def hurry(self, *, now: float, within: float) -> None:
        """Come to an end within this many seconds, half of them for `flushed` (reliability 11)."""
        half = within / 2
        shorter = {name: min(half, getattr(self._patience, name)) for name in ("flushed", "ended", "linger")}
        self._patience = replace(self._patience, **shorter)
        self._last_end = min(self._last_end, now + within)
        if self.deadline is not None:
            self.deadline = min(self.deadline, now + within)

    def tick(self, *, now: float) -> None:
        """Let time pass.

        Raises:
            CortiTimeout: Corti did not answer the configuration, or did not end, in time.
        """
        if self.deadline is None or now < self.deadline:
            return
        if self.state is State.FLUSHING:
            self._end(now)  # `flush` is young (corti-api 3.3): who does not know it may still know `end`
        elif self.state is State.LINGERING:
            self._become(State.ENDED)
        else:
            awaited = "the configuration" if self.state is State.CONFIGURING else "the end of the stream"
            self._become(State.FAILED)
            raise CortiTimeout(f"Corti did not answer {awaited} in time")

    def closed(self) -> None:
        """Learn that the connection is closed.

        Raises:
            CortiError: it closed before all was said.
        """
        if self.state is State.LINGERING or (self.state is State.ENDING and self._heard_usage):
            self._become(State.ENDED)
        if not self.is_over:
            raise self._failed()

    def _become(self, state: State) -> None:
        self.state, self.deadline = state, None

    def _failed(self) -> CortiError:
        self._become(State.FAILED)
        return _failure(self._error)

    def _end(self, now: float) -> None:
        self._outgoing.append(END)
        self.state, self._last_end = State.ENDING, now + self._patience.ended
        self.deadline = min(self._last_end, now + self._patience.ended_silence)

    def _react(self, said: Message, now: float) -> None:
        match said:
            case ConfigAccepted() if self.state is State.CONFIGURING:
                self._become(State.LIVE)
            case ConfigNack():
                self._become(State.FAILED)
                raise self._refusal(said)
            case Transcript(segments):
                self._heard_words |= bool(segments)
            case Flushed() if self.state is State.FLUSHING:
                self._end(now)
            case Usage(final=True):
                self._heard_usage |= self.state is State.ENDING
            case Ended():
                self._ended(now)
            case StreamError():
                self._erred(said)

    def _refusal(self, nack: ConfigNack) -> ConfigRefused:
        """Quote Corti's reason, unless it repeats a keyterm: those are names of people."""
        quote = " ".join(nack.reason[:_LONGEST_REASON].split())
        names = {word for term in self._config.keyterms for word in term.casefold().split()}
        reason = f": {quote}" if quote and not any(name in quote.casefold() for name in names) else ""
        text = f"Corti refused the stream configuration ({nack.kind}){reason}"
        return ConfigRefused(text, about=about(nack.reason))

    def _ended(self, now: float) -> None:
        if self.state in {State.CONFIGURING, State.LIVE}:
            raise self._failed()
        if not self.is_over:
            self.state, self.deadline = State.LINGERING, now + self._patience.linger

    def _erred(self, error: StreamError) -> None:
        """Keep an error, fatal or not. One about the sound is fatal when nothing was heard yet (ruling 6)."""
        self._error = error
        if not self._heard_words and not self.is_over and _BAD_AUDIO.search(_text(error)):
            raise self._failed()


def _text(error: StreamError) -> str:
    return f"{error.title[:_LONGEST_REASON]} {error.detail[:_LONGEST_REASON]}"


def _failure(error: StreamError | None) -> CortiError:
    """Name what ended a stream before its time by the last error Corti sent in it."""
    if error is None:
        return CortiUnavailable("Corti closed the stream before its end")
    if error.code == _NO_BALANCE or error.status == _THROTTLED:
        return CortiThrottled("Corti ended the stream: too many requests, or no credits left; check the balance")
    if error.status in _FORBIDDEN:
        return CortiForbidden("Corti ended the stream: the account may not use it")
    if _BAD_AUDIO.search(_text(error)):
        return ConfigRefused("Corti cannot read the audio that is streamed to it", about="audio")
    return CortiUnavailable("Corti ended the stream with an error")
