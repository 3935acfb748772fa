"""What nobody asks for and somebody has to do: once an hour, what was kept long enough goes (ruling 32)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock, log
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import oauth, past_keys, resources
from fhir_bridge.store.jobs import now_ms
from fhir_bridge.verbs.paging import LINK_MS
from fhir_bridge.verbs.retention import Keeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.worker.rooms import Rooms

EVERY_SECONDS: Final = 3_600.0
FIRST_SECONDS: Final = 30.0  # a worker that has just started has jobs to take first
MOST_STEPS: Final = 20  # transactions of one tenant in one round, each of which others wait for; the rest comes next
_MARGIN_MS: Final = 60_000  # a page that is being read was still good when it was asked for


class Upkeep:
    """The rounds of one worker; any number of workers may do theirs at the same time."""

    def __init__(self, rooms: Rooms, *, stopping: Callable[[], bool]) -> None:
        self._rooms = rooms
        self._keys = KeyRing.open(rooms.settings)
        self._stopping = stopping
        self._due = clock.monotonic() + FIRST_SECONDS

    def when_due(self) -> None:
        """Do a round if it is time; one that fails is not tried again before the next is due."""
        if clock.monotonic() >= self._due:
            self._due = clock.monotonic() + EVERY_SECONDS
            self._round()

    def _round(self) -> None:
        store = self._rooms.store
        commits = sum(self._forget_keys(tenant.id) for tenant in store.of_all().read(oauth.tenants))
        rooms = self._rooms
        removed = Keeper(rooms.settings, store, rooms.blobs, self._keys, self._stopping).apply()
        if any((commits, *vars(removed).values())):
            log.event("upkeep.done", commits=commits, **vars(removed))

    def _forget_keys(self, tenant: str) -> int:
        """Drop search keys that no page link can need; return of how many commits they were."""
        store, before_ms = self._rooms.store.of(tenant), now_ms() - LINK_MS - _MARGIN_MS
        first = store.read(partial(resources.snapshot, tenant=tenant)).keys_from
        for _ in range(MOST_STEPS):
            if self._stopping() or not store.write(partial(past_keys.drop, tenant=tenant, before_ms=before_ms)):
                break
        return store.read(partial(resources.snapshot, tenant=tenant)).keys_from - first
