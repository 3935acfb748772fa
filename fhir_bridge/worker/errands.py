"""Asynchronous requests, run by whichever worker is free: claimed, told how far they are, answered (rule 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge import log, points
from fhir_bridge.errors import BridgeError, Fenced, StoreUnavailable
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import asynchronous as rows
from fhir_bridge.store.asynchronous import Turn
from fhir_bridge.verbs.asynchronous import failed, remove
from fhir_bridge.verbs.bridge import Bridge
from fhir_bridge.verbs.errand import Interrupted, Result, result_of, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.store.asynchronous import Request
    from fhir_bridge.worker.rooms import Rooms

EVERY_SECONDS: Final = 0.5  # to look for what waits; a look is one read of an index
THREADS: Final = 2  # of each worker: reading is cheap, and streams come first
_MOST_RUNS: Final = 3  # one that ends a worker each time is answered with a fault
_OWN_FAULT: Final = "The bridge met a fault of its own; its log names the request. Ask again, or for less at once"


class Errands:
    """The asynchronous requests of one worker. Any number of threads may call `round`."""

    def __init__(self, rooms: Rooms, *, stopping: Callable[[], bool]) -> None:
        settings = rooms.settings
        self._rooms = rooms
        self._stopping = stopping
        self._seconds = settings.lease_seconds
        # The origin is that of each request: it was made where its caller sees the bridge.
        self._bridge = Bridge(settings, rooms.store, rooms.blobs, KeyRing.open(settings), "")

    def round(self) -> None:
        """Run what waits, one after the other, until nothing does."""
        while not self._stopping():
            request = self._next()
            if request is None:
                return
            self._run(request)

    def _next(self) -> Request | None:
        store, seconds = self._rooms.store.of_all(), self._seconds
        id_ = store.read(lambda conn: rows.waiting(conn, lease_seconds=seconds))
        if id_ is None:
            return None
        owner = self._rooms.leases.owner
        return store.write(lambda conn: rows.claim(conn, id_, owner=owner, lease_seconds=seconds))

    def _run(self, request: Request) -> None:
        turn, rooms = Turn(request.id, request.epoch, str(request.owner)), self._rooms.of(request.tenant)
        points.reached("errand.claimed")
        log.event("request.started", kind=request.kind, epoch=request.epoch)
        try:
            self._answer(rooms, turn, self._result(rooms, request, turn))
            points.reached("errand.answered")
            log.event("request.finished", kind=request.kind, epoch=request.epoch)
        except Interrupted:
            rooms.store.write(lambda conn: rows.release(conn, turn))
        except (Fenced, StoreUnavailable) as error:  # another has it, or will when its lease has run out
            log.event("request.lost", kind=request.kind, epoch=request.epoch, error=type(error).__name__)

    def _result(self, rooms: Rooms, request: Request, turn: Turn) -> Result:
        if request.epoch > _MOST_RUNS:
            return result_of(failed(BridgeError(_OWN_FAULT)))
        return run(self._bridge.of(request.tenant), request, tell=lambda progress: self._told(rooms, turn, progress))

    def _answer(self, rooms: Rooms, turn: Turn, result: Result) -> None:
        points.reached("errand.answering")
        try:
            rooms.store.write(lambda conn: rows.finish(conn, turn, answer=result.answer, files=result.files))
        except Fenced:  # where the store did not say, it may name these files
            remove(rooms.blobs, result.files)
            raise

    def _told(self, rooms: Rooms, turn: Turn, progress: str) -> None:
        """Note how far it is, and go on only while this worker may."""
        if self._stopping():
            raise Interrupted
        seconds = self._seconds
        rooms.store.write(lambda conn: rows.prolong(conn, turn, progress=progress, lease_seconds=seconds))
