"""Ends a child when whoever started it is gone, however it died.

Its standard input is a pipe whose other end the parent holds: it ends with the parent, also
after kill -9, and on every system.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Final

import click

from fhir_bridge import clock

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE_SECONDS: Final = 28.0

attended = click.option("--attended", is_flag=True, hidden=True, help="End when standard input ends.")


def watch(target: int | None = None) -> None:
    """Send SIGTERM to `target`, else to this one, once standard input has ended; leave for certain a while later."""
    asked = target or os.getpid()
    threading.Thread(target=_wait, args=(lambda: os.kill(asked, signal.SIGTERM),), name="lifeline", daemon=True).start()


def _wait(end: Callable[[], None]) -> None:
    while os.read(0, 1024):
        pass
    end()
    clock.sleep(GRACE_SECONDS)
    os._exit(1)
