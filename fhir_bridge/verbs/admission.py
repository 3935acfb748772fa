"""Who is let in, before a body is read: so many at once, so many that wait, so much audio a day (rule 10)."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import Overloaded, Throttled
from fhir_bridge.store import budgets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from fhir_bridge.settings import Settings
    from fhir_bridge.store.budgets import Audio
    from fhir_bridge.verbs.bridge import Bridge

PATIENCE_SECONDS: Final = 2.0  # most bodies are read in less: a short queue refuses nobody
BACKLOG_SECONDS: Final = 30  # to wait before recordings are sent again
_MINUTE_MS: Final = 60_000


class Door:
    """The bodies that one process takes in at the same time."""

    def __init__(self) -> None:
        self._inside: Counter[str] = Counter()
        self._moved = threading.Condition()

    @contextmanager
    def inside(self, settings: Settings, tenant: str) -> Iterator[None]:
        """Be one of those that are read.

        Raises:
            Throttled: this tenant has too many. Overloaded: all together have.
        """
        self._enter(settings, tenant)
        try:
            yield
        finally:
            with self._moved:
                self._inside[tenant] -= 1
                self._moved.notify_all()

    def _enter(self, settings: Settings, tenant: str) -> None:
        with self._moved:
            self._moved.wait_for(lambda: self._has_room(settings, tenant), PATIENCE_SECONDS)
            if self._inside[tenant] >= settings.tenant_bodies:
                raise Throttled("Too many requests of this organisation at once: wait a second", retry_after=1)
            if self._inside.total() >= settings.web_bodies:
                raise Overloaded("Too many requests at once: wait a second", retry_after=1)
            self._inside[tenant] += 1

    def _has_room(self, settings: Settings, tenant: str) -> bool:
        return self._inside[tenant] < settings.tenant_bodies and self._inside.total() < settings.web_bodies


def require_room(bridge: Bridge, tenant: str) -> None:
    """Take no new recording while too many wait, or when today's audio is used up.

    Raises:
        Throttled: this tenant's. Overloaded: those of all together.
    """
    settings = bridge.settings
    waiting = bridge.store.of_all().read(lambda conn: budgets.waiting(conn, tenant))  # counts alone
    if waiting.tenant >= settings.tenant_waiting:
        raise Throttled(
            "Too many recordings of this organisation wait: send it again later", retry_after=BACKLOG_SECONDS
        )
    if waiting.total >= settings.max_waiting:
        raise Overloaded("Too many recordings wait: send it again later", retry_after=BACKLOG_SECONDS)
    minutes = settings.tenant_audio_minutes_per_day
    if minutes is not None and bridge.store.read(lambda conn: budgets.spent(conn, tenant)) >= minutes * _MINUTE_MS:
        raise _spent(minutes)


def spend(conn: Connection, settings: Settings, audio: Audio) -> None:
    """Count a recording in the transaction that accepts it.

    Raises:
        Throttled: it is more than is left of today's budget; nothing is accepted.
    """
    total, minutes = budgets.spend(conn, audio), settings.tenant_audio_minutes_per_day
    if minutes is not None and total > minutes * _MINUTE_MS:
        raise _spent(minutes)


def _spent(minutes: int) -> Throttled:
    text = (
        f"This organisation's {minutes} minutes of audio for today are used up: send it again tomorrow (UTC), "
        "or let the operator raise FHIR_BRIDGE_TENANT_AUDIO_MINUTES_PER_DAY"
    )
    return Throttled(text, at="Media", retry_after=budgets.seconds_left())
