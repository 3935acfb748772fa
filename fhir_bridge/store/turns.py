"""Who writes next: one thread at a time for each tenant, in the order they came.

All writers of a tenant need its row. Dozens that wait for it in PostgreSQL keep its lock manager busier
than the writing does, and each holds a connection; here they wait for nothing but their turn.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from fhir_bridge.store.engine import unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS: Final = 60.0
"""How long a thread waits for its turn: as long as PostgreSQL lets a statement wait for a row."""


class Turns:
    """The lines of one process, one for each tenant."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: defaultdict[str, deque[threading.Event]] = defaultdict(deque)

    @contextmanager
    def of(self, whose: str, *, seconds: float = SECONDS) -> Iterator[None]:
        """Wait for the turn, and give it on at the end of the block.

        Raises:
            StoreUnavailable: it did not come in time.
        """
        mine = self._queued(whose)
        try:
            if not mine.wait(seconds):
                raise unavailable()
            yield
        finally:
            self._left(whose, mine)

    def _queued(self, whose: str) -> threading.Event:
        mine = threading.Event()
        with self._lock:
            self._lines[whose].append(mine)
            self._lines[whose][0].set()
        return mine

    def _left(self, whose: str, mine: threading.Event) -> None:
        with self._lock:
            line = self._lines[whose]
            line.remove(mine)
            if line:
                line[0].set()
            else:
                del self._lines[whose]
