"""The WebSocket below the sessions: upgrade inside Flask, back-pressure, resets, and no HTTP answer afterwards."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from flask import Response, request
from werkzeug.serving import WSGIRequestHandler
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wsproto.events import Event

MOST_BYTES = 65_536
"""Read from the socket at once."""
RESET = 1006
GOODBYE = 2.0
"""Seconds a client has to answer our close frame."""


class QuietHandler(WSGIRequestHandler):
    """HTTP/1.1, no access log, and nothing more is read from a connection that became a WebSocket."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        """Say nothing: tests print enough."""

    def connection_dropped(self, *_: object) -> None:
        """A hijacked or reset connection is over."""
        self.close_connection = True


class Hijacked(Response):
    """The response of a connection that has spoken WebSocket: writes nothing (see QuietHandler)."""

    def __call__(self, *_: object) -> list[bytes]:
        """Tell werkzeug that the connection is gone."""
        raise ConnectionAbortedError


class ConnectionClosed(Exception):
    """The conversation is over; `code` is what the client closed with, if it did."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Wire:
    """One WebSocket connection, seen from its session. Its thread alone receives; any may send.

    What the session does not receive stays in the socket, and so holds the client back.
    """

    def __init__(self, ping_interval: float | None) -> None:
        self.closed = False  # by either side
        self._raw: socket.socket = request.environ["werkzeug.socket"]
        self._readable = select.poll()
        self._readable.register(self._raw, select.POLLIN)
        self._protocol = WSConnection(ConnectionType.SERVER)
        self._judging, self._sending = threading.Lock(), threading.Lock()  # the protocol's state; the socket
        self._said: deque[bytes | str] = deque()
        self._parts: list[bytes | str] = []
        self._code = 0
        self._silent = False  # nothing more can arrive
        self._pings = _Pings(ping_interval)
        headers = [(name.lower().encode(), value.encode()) for name, value in request.headers]
        self._protocol.initiate_upgrade_connection(headers, request.full_path)
        self._speak(AcceptConnection())

    def receive(self, timeout: float) -> bytes | str | None:
        """The next message; None when there was none in time.

        Raises:
            ConnectionClosed: by either side.
        """
        until = time.monotonic() + timeout
        while not self._said:
            if self.closed:
                raise ConnectionClosed(self._code)
            left = until - time.monotonic()
            if left <= 0:
                return None
            self._ping()
            self._read(left)
        return self._said.popleft()

    def send(self, text: str) -> None:
        """Send a text frame; a client that went away is noticed by `receive`."""
        if not self.closed and not self._speak(TextMessage(text)):
            self.closed = True

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close with a code; RESET resets TCP instead."""
        if code == RESET:
            self.reset()
        elif not self.closed:
            self.closed = True
            self._speak(CloseConnection(code, reason))

    def reset(self) -> None:
        """Break the connection as a failing network does."""
        self.closed = True
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._shut()

    def end(self) -> None:
        """Give the client a moment for its close frame: an answer cut off would look like a reset."""
        until = time.monotonic() + GOODBYE
        while not self._silent and (left := until - time.monotonic()) > 0:
            self._read(left)
        self._shut()

    # --- frames ---

    def _read(self, seconds: float) -> None:
        """Take what arrives within so many seconds."""
        if not self._readable.poll(seconds * 1000):
            return
        try:
            payload = self._raw.recv(MOST_BYTES)
        except OSError:
            payload = b""
        if not payload:
            self._silent = self.closed = True
            return
        with self._judging:
            answers = b"".join(self._heard(payload))
        if answers:  # else nothing waits here while a slow client holds back what is sent
            self._transmit(answers)

    def _heard(self, payload: bytes) -> Iterator[bytes]:
        """What the protocol itself answers to what was received."""
        try:
            self._protocol.receive_data(payload)
            for event in self._protocol.events():
                if isinstance(event, TextMessage | BytesMessage):
                    self._gather(event)
                elif isinstance(event, Ping):
                    yield self._protocol.send(event.response())
                elif isinstance(event, Pong):
                    self._pings.answered = True
                elif isinstance(event, CloseConnection):
                    self._silent = True
                    if not self.closed:
                        self.closed, self._code = True, int(event.code)
                        yield self._protocol.send(event.response())
        except (LocalProtocolError, RemoteProtocolError):
            self._silent = self.closed = True

    def _gather(self, event: TextMessage | BytesMessage) -> None:
        self._parts.append(event.data if isinstance(event.data, str) else bytes(event.data))
        if event.message_finished:
            parts, self._parts = self._parts, []
            self._said.append(parts[0][:0].join(parts))  # type: ignore[arg-type]  # all of one kind

    def _ping(self) -> None:
        if not self._pings.due():
            return
        if not self._pings.answered:
            self.close(1008, "Ping/Pong timeout")
            return
        self._pings.answered = False
        self._speak(Ping())

    def _speak(self, event: Event) -> bool:
        """Send a frame; False when the client went away, or one of both has said goodbye."""
        with self._sending:
            try:
                with self._judging:
                    frame = self._protocol.send(event)
                self._raw.sendall(frame)
            except (OSError, LocalProtocolError):
                return False
        return True

    def _transmit(self, frames: bytes) -> None:
        with self._sending, suppress(OSError):
            self._raw.sendall(frames)

    def _shut(self) -> None:
        with suppress(OSError):
            self._raw.shutdown(socket.SHUT_RDWR)


class _Pings:
    """When the next ping is due, and whether the last one was answered."""

    def __init__(self, interval: float | None) -> None:
        self.answered = True
        self._interval = interval
        self._next = time.monotonic() + (interval or 0.0)

    def due(self) -> bool:
        """Whether it is time for one; asking takes it."""
        if self._interval is None or time.monotonic() < self._next:
            return False
        self._next += self._interval
        return True


def upgraded(run: Callable[[Wire], None], ping_interval: float | None = None) -> Response:
    """Speak WebSocket on the present request until `run` returns."""
    wire = Wire(ping_interval)
    try:
        run(wire)
    finally:
        wire.close()
        wire.end()
    return Hijacked()
