"""Time and chance: the only seam through which either enters the bridge.

`time`, `random`, `secrets` and `uuid4` are banned elsewhere, so that a test or a
simulator that replaces the source below controls every moment and every new id.
"""

from __future__ import annotations

import random as _random
import secrets as _secrets
import time as _time
import uuid as _uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    """The real source of time and chance; tests subclass it."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go backwards."""
        return _time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block this thread for `seconds`."""
        _time.sleep(max(0.0, seconds))

    def token_bytes(self, size: int) -> bytes:
        """Return `size` bytes fit for keys and secrets."""
        return _secrets.token_bytes(size)

    def random(self) -> float:
        """Return a number in [0, 1) for jitter; never for secrets."""
        return _random.random()  # noqa: S311 - jitter only, secrets come from token_bytes


_source = Clock()


@contextmanager
def use(source: Clock) -> Iterator[Clock]:
    """Replace the source of time and chance for the length of a `with` block."""
    global _source  # noqa: PLW0603 - the one seam this module exists for
    before, _source = _source, source
    try:
        yield source
    finally:
        _source = before


def now() -> datetime:
    """Return the wall-clock time, aware, in UTC."""
    return _source.now()


def instant() -> str:
    """Return now as a FHIR instant with milliseconds, such as 2026-11-22T08:15:00.123Z."""
    return instant_of(now())


def instant_of(moment: datetime) -> str:
    """Write an aware datetime as a FHIR instant in UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def monotonic() -> float:
    """Return seconds that never go backwards."""
    return _source.monotonic()


def sleep(seconds: float) -> None:
    """Block this thread for `seconds`."""
    _source.sleep(seconds)


def token_bytes(size: int) -> bytes:
    """Return `size` bytes fit for keys and secrets."""
    return _source.token_bytes(size)


def random() -> float:
    """Return a number in [0, 1) for jitter; never for secrets."""
    return _source.random()


def new_id() -> str:
    """Return a new random id that is a valid FHIR id (a UUID in 36 characters)."""
    return str(_uuid.UUID(bytes=token_bytes(16), version=4))
