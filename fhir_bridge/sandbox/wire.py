"""The WebSocket below the sessions: upgrade inside Flask, back-pressure, resets, and no HTTP answer afterwards."""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING

from flask import Response, request
from simple_websocket import ConnectionClosed, Server
from werkzeug.serving import WSGIRequestHandler
from wsproto.utilities import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

BACKLOG = 64
"""Frames that may wait to be worked on before the sandbox stops reading from the socket."""
RESET = 1006
GOODBYE = 2.0
"""Seconds a client has to answer our close frame."""

# The last is raised while the client's close frame is still being answered.
_GONE = (ConnectionClosed, OSError, LocalProtocolError)


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


class _Socket:
    """What simple_websocket sees instead of the socket: whole sends, one at a time, and reads that can be held back."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self.sending = threading.Lock()
        self.taken = threading.Event()
        self.waiting: list[bytes | str] = []
        self.ending = False

    def send(self, payload: bytes) -> None:
        with self.sending:
            self.raw.sendall(payload)

    def recv(self, size: int) -> bytes:
        while len(self.waiting) >= BACKLOG and not self.ending:
            self.taken.clear()
            self.taken.wait(0.05)
        return self.raw.recv(size)

    def fileno(self) -> int:
        return self.raw.fileno()

    def close(self) -> None:
        """Werkzeug closes the connection when the request ends; before, its number must not be given away."""


class Wire:
    """One WebSocket connection, seen from its session."""

    def __init__(self, ping_interval: float | None) -> None:
        self.raw: socket.socket = request.environ["werkzeug.socket"]
        self.socket = _Socket(self.raw)
        environ = {**request.environ, "werkzeug.socket": self.socket}
        self.server = Server.accept(environ, ping_interval=ping_interval, receive_bytes=65_536)
        self.socket.waiting = self.server.input_buffer

    @property
    def closed(self) -> bool:
        """Whether either side has ended the conversation."""
        return not self.server.connected

    def receive(self, timeout: float) -> bytes | str | None:
        """The next message; None when there was none in time. Raises ConnectionClosed."""
        message: bytes | str | None = self.server.receive(timeout=timeout)
        self.socket.taken.set()
        return message

    def send(self, text: str) -> None:
        """Send a text frame; a client that went away is noticed by `receive`."""
        try:
            self.server.send(text)
        except _GONE:
            self.server.connected = False

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close with a code; RESET resets TCP instead."""
        if code == RESET:
            self.reset()
            return
        try:
            self.server.close(code, reason)
        except _GONE:
            return

    def reset(self) -> None:
        """Break the connection as a failing network does."""
        self.server.connected = False
        self.server.event.set()
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._wake()

    def _wake(self) -> None:
        self.socket.ending = True
        self.socket.taken.set()
        try:
            self.raw.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def end(self) -> None:
        """Wait for the reader, so that nobody reads from a socket number that was given away."""
        self.socket.ending = True
        self.server.thread.join(GOODBYE)
        self._wake()
        self.server.thread.join(GOODBYE)


def upgraded(run: Callable[[Wire], None], ping_interval: float | None = None) -> Response:
    """Speak WebSocket on the present request until `run` returns."""
    wire = Wire(ping_interval)
    try:
        run(wire)
    finally:
        wire.close()
        wire.end()
    return Hijacked()
