"""Drives one conversation over one WebSocket: a reader, a sender and a watchdog (corti-api 3.5 and 9)."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, Self, cast

from websocket import ABNF, WebSocketTimeoutException

from fhir_bridge import clock
from fhir_bridge.corti.connection import BROKEN, open_websocket
from fhir_bridge.corti.inbox import Inbox
from fhir_bridge.corti.stream import Conversation, Patience, State
from fhir_bridge.errors import CortiTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fhir_bridge.corti.messages import Message, StreamConfig
    from fhir_bridge.corti.token import TokenSource

_INBOX: Final = 256 * 1024  # bytes; one message more may be in flight, so that a stream stays below 1 MiB
_TICK: Final = 0.2
_LOOK, _SOON = 1.0, 0.01  # the watchdog sleeps until something is due, within these
_NAP: Final = 0.25  # a pause is taken in naps, so that a stop is noticed
_MAX_LAG: Final = 1.0  # seconds a late sender may catch up; Corti degrades on bursts (corti-api 3.5)
_SAYS: Final = frozenset({ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY})


class Slice(Protocol):
    """A piece of sound, as the audio package cuts it."""

    @property
    def payload(self) -> bytes:
        """What is sent, at most 64,000 bytes."""

    @property
    def start(self) -> float:
        """Where it begins, in seconds of the recording."""

    @property
    def end(self) -> float:
        """Where it ends."""


class Stream:
    """One connection, from its first message to its last.

        with Stream(url, tokens, config, slices, pace=1.0) as stream:
            for message in stream:
                ...

    Entering connects. The loop runs in the caller's thread and ends when Corti has said
    everything, or raises what went wrong after the last message that arrived. `stop` and
    `abort` may be called from any thread. `audio` is read by the sender, and not after the
    `with` block.
    """

    def __init__(
        self,
        url: str,
        tokens: TokenSource,
        config: StreamConfig,
        audio: Iterable[Slice],
        *,
        pace: float = 1.0,
        patience: Patience | None = None,
    ) -> None:
        self.sent = 0.0  # seconds: the end of the last slice that was sent
        self.complete = False  # whether all audio was sent
        self._url, self._tokens, self._config, self._audio = url, tokens, config, audio
        self._pace, self._patience = pace, patience or Patience()
        self._inbox = Inbox(_INBOX)
        self._turn = threading.Condition()  # guards the conversation
        self._over = threading.Event()
        self._stopping = threading.Event()

    def __enter__(self) -> Self:
        """Connect and start.

        Raises:
            CortiError: no token, no connection, or Corti refuses the upgrade.
        """
        self._websocket = open_websocket(self._url, self._tokens, self._patience)
        self._socket = cast("socket.socket", self._websocket.sock)  # connected, so there is one
        now = clock.monotonic()
        self._heard = self._pinged = now
        self._conversation = Conversation(self._config, now=now, patience=self._patience)
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="corti-stream")
        for role in (self._read, self._send, self._watch):
            self._start(role)
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()
        self._threads.shutdown(wait=True)
        self._websocket.shutdown()  # type: ignore[no-untyped-call]  # websocket-client ships no types

    def __iter__(self) -> Iterator[Message]:
        while (message := self._inbox.take()) is not None:
            yield message

    def stop(self, *, within: float) -> None:
        """End after the slice that is being sent, waiting this long for what Corti still has to say.

        The loop then ends without an error, whatever Corti answers.
        """
        with self._turn:
            self._stopping.set()
            self._conversation.hurry(now=clock.monotonic(), within=within)
            if self._conversation.state is State.CONFIGURING:
                self._conclude(None)
            self._turn.notify_all()

    def abort(self) -> None:
        """End at once; what was received and not taken yet is dropped."""
        self._conclude(None)
        self._inbox.drop()

    # --- three threads ---

    def _read(self) -> None:
        """Take what Corti says until it closes; only this thread judges what a lost connection means."""
        while (frame := self._next_frame()) is not None:
            self._heard = now = clock.monotonic()
            if frame.opcode in _SAYS:
                with self._turn:
                    said = self._conversation.receive(frame.data, now=now)
                    self._turn.notify_all()
                self._inbox.put(said, len(frame.data))
        with self._turn:
            self._conversation.closed()

    def _next_frame(self) -> ABNF | None:
        """Return the next message or pong; pings are answered on the way. None once the connection is closed."""
        while True:
            try:
                opcode, received = self._websocket.recv_data_frame(control_frame=True)
            except WebSocketTimeoutException:
                continue  # what that means is the watchdog's to say
            except BROKEN:
                return None
            if opcode == ABNF.OPCODE_CLOSE:
                return None
            frame: ABNF = received
            frame.opcode = opcode  # of a message in fragments, the first one's
            return frame

    def _send(self) -> None:
        """Send the configuration; after its acceptance the sound; after that what the conversation asks for."""
        self._speak_while(lambda: self._conversation.state is State.CONFIGURING)
        self._send_audio()
        with self._turn:
            self._conversation.finish(now=clock.monotonic())
            self._turn.notify_all()
        self._speak_while(lambda: True)

    def _speak_while(self, condition: Callable[[], bool]) -> None:
        while condition() and not self._over.is_set():
            with self._turn:
                frames = self._conversation.to_send()
                if not frames:
                    self._turn.wait(_TICK)
            for text in frames:
                self._transmit(text, ABNF.OPCODE_TEXT)
            self._keep_alive()

    def _send_audio(self) -> None:
        pace = _Pace(self._pace)
        for piece in self._audio:
            if not self._is_due(pace.due(piece.start)):
                return
            self._transmit(piece.payload, ABNF.OPCODE_BINARY)
            self.sent = piece.end
            self._keep_alive()
        self.complete = True

    def _is_due(self, due: float) -> bool:
        """Wait until then; False when no more audio is wanted."""
        while self._conversation.wants_audio and not self._over.is_set() and not self._stopping.is_set():
            left = due - clock.monotonic()
            if left <= 0:
                return True
            clock.sleep(min(left, _NAP))
        return False

    def _keep_alive(self) -> None:
        now = clock.monotonic()
        if now - self._pinged >= self._patience.ping:
            self._pinged = now
            self._transmit(b"", ABNF.OPCODE_PING)

    def _transmit(self, payload: bytes | str, opcode: int) -> None:
        try:
            self._websocket.send(payload, opcode)
        except BROKEN:
            self._hang_up()  # the reader takes what Corti said before it closed, then ends the stream

    def _watch(self) -> None:
        """Let time pass for the conversation, and notice a connection that died without a word."""
        while not self._over.is_set():
            with self._turn:
                now = clock.monotonic()
                if self._inbox.is_full:
                    self._heard = now  # Corti is not silent, its reader has to wait
                else:
                    self._conversation.tick(now=now)
                if not self._conversation.is_over:
                    if now - self._heard > self._patience.silence:
                        raise CortiTimeout("Corti's stream fell silent")
                    self._turn.wait(self._time_to_look(now))
                    continue
            with suppress(*BROKEN):
                self._websocket.send_close()
            return

    def _time_to_look(self, now: float) -> float:
        """Seconds until something may have to be done, if nobody says so before."""
        due = min(self._heard + self._patience.silence, self._conversation.deadline or now + _LOOK)
        return min(_LOOK, max(_SOON, due - now))

    # --- the end, whoever brings it about ---

    def _start(self, role: Callable[[], None]) -> None:
        self._threads.submit(role).add_done_callback(self._returned)

    def _returned(self, thread: Future[None]) -> None:
        """End with the error of a thread that failed, or when one returns because all was said."""
        error = thread.exception()
        if error is not None or self._conversation.is_over:
            self._conclude(error)

    def _conclude(self, error: BaseException | None) -> None:
        """Close the inbox and wake whoever waits. The first conclusion counts."""
        with self._turn:
            if self._over.is_set():
                return
            self._over.set()
            self._turn.notify_all()
        self._inbox.close(None if self._stopping.is_set() else error)
        self._hang_up()

    def _hang_up(self) -> None:
        """Wake whoever reads or writes. The plain socket's shutdown leaves what has arrived readable, under TLS too."""
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Pace:
    """When each slice is due, at `pace` times real time; a sender that is late may catch up by a second only."""

    def __init__(self, pace: float) -> None:
        self._pace = pace
        self._origin: float | None = None

    def due(self, start: float) -> float:
        """Return the monotonic time at which sound that starts at `start` is to be sent."""
        now, offset = clock.monotonic(), start / self._pace
        if self._origin is None:
            self._origin = now - offset
        self._origin = max(self._origin, now - offset - _MAX_LAG)
        return self._origin + offset
