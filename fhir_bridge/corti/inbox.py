"""A queue between the thread that reads a stream and the one that commits what it says, bounded by bytes."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from fhir_bridge.corti.messages import Transcript

if TYPE_CHECKING:
    from fhir_bridge.corti.messages import Message


class Inbox:
    """Holds at most `limit` bytes of messages: a full one stops the reading, and so Corti.

    Words that wait are taken as one message: the slower commits are, the fewer there are of them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._messages: deque[tuple[Message, int]] = deque()
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    @property
    def is_full(self) -> bool:
        """Whether the reading side has to wait."""
        return self._size >= self._limit

    def put(self, message: Message, size: int) -> None:
        """Add a message when there is room; drop it once nobody will take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self.is_full)
            if not self._closed:
                self._append(message, size)
                self._size += size
                self._changed.notify_all()

    def _append(self, message: Message, size: int) -> None:
        last, before = self._messages[-1] if self._messages else (None, 0)
        if isinstance(last, Transcript) and isinstance(message, Transcript):
            self._messages[-1] = Transcript((*last.segments, *message.segments)), before + size
        else:
            self._messages.append((message, size))

    def close(self, error: BaseException | None = None) -> None:
        """Let the taker come to the end, or to `error`, after what is in here. The first close counts."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
                self._changed.notify_all()

    def drop(self) -> None:
        """Forget what is in here: nobody will take it."""
        with self._changed:
            self._messages.clear()
            self._closed, self._error, self._size = True, None, 0
            self._changed.notify_all()

    def take(self) -> Message | None:
        """Wait for the next message; None at the end.

        Raises:
            BaseException: what the inbox was closed with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._messages)
            if self._messages:
                message, size = self._messages.popleft()
                self._size -= size
                self._changed.notify_all()
                return message
            if self._error is not None:
                raise self._error
            return None
