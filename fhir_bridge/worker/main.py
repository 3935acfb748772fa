"""The worker process: takes jobs, keeps its leases, sweeps after others, and ends in good order (rule 11)."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock, log
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store.dispatch import Executor, Ledger, Limits
from fhir_bridge.verbs.erase import Eraser
from fhir_bridge.worker.erase import carry_on
from fhir_bridge.worker.errands import EVERY_SECONDS, THREADS, Errands
from fhir_bridge.worker.rooms import Rooms
from fhir_bridge.worker.run import run
from fhir_bridge.worker.sealing import seal
from fhir_bridge.worker.sweep import sweep
from fhir_bridge.worker.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from fhir_bridge.settings import Settings

LEAVE_SECONDS: Final = 20  # for the runs to come back; with what follows, 25 s in all (rule 11)
_SWEEP_AT: Final = 1 / 3  # of a lease
_ROUND_SECONDS: Final = 2.0  # for a round to come to its end; it is done again anyway


class Worker:
    """One boot of a worker. Everything is opened here, after any fork."""

    def __init__(self, settings: Settings) -> None:
        boot = clock.new_id()
        self._settings = settings
        self._keyring = KeyRing.open(settings)
        self._rooms = Rooms.open(settings, boot=boot)
        url = self._rooms.store.url.render_as_string(hide_password=False)
        limits = Limits(
            worker=settings.worker_streams,
            total=settings.max_streams,
            tenant=settings.tenant_streams,
            interactions=settings.interactions_per_minute,
        )
        self._executor = Executor(url, limits, boot=boot)
        self._ledger = Ledger(url)
        self._done = threading.Event()
        upkeep = Upkeep(self._rooms, stopping=self._done.is_set)
        errands = Errands(self._rooms, stopping=self._done.is_set)
        # Threads of their own: what takes long must not keep the jobs of dead workers waiting.
        beat = settings.lease_seconds * _SWEEP_AT
        rounds = [("sweep", self._sweep, beat), ("upkeep", upkeep.when_due, beat), ("audit", self._seal, beat)]
        rounds += [("erasures", self._erase, beat)]
        rounds += [("errands", errands.round, EVERY_SECONDS)] * THREADS
        self._rounds = [self._thread(*each) for each in rounds]

    def start(self) -> None:
        """Begin to take jobs."""
        self._rooms.leases.start()
        self._executor.start(lambda job, epoch: run(self._rooms, job, epoch))
        for each in self._rounds:
            each.start()
        log.event("service.started", part="worker", url=None)

    def stop(self) -> None:
        """Take no more jobs; give those that run back with all they have heard, then let go of everything."""
        self._done.set()
        self._rooms.leases.stop()
        self._executor.stop(LEAVE_SECONDS)
        for each in self._rounds:
            each.join(_ROUND_SECONDS)
        self._ledger.close()
        self._rooms.close()
        log.event("service.stopped", part="worker")

    def _thread(self, name: str, round_: Callable[[], None], every: float) -> threading.Thread:
        pace = {"every": every, "done": self._done}
        return threading.Thread(target=for_ever, args=(name, round_), kwargs=pace, name=name, daemon=True)

    def _sweep(self) -> None:
        settings = self._settings
        sweep(
            self._rooms.store,
            self._ledger,
            lease_seconds=settings.lease_seconds,
            most_of_tenant=settings.tenant_streams,
        )

    def _seal(self) -> None:
        seal(self._rooms.store, self._keyring, stopping=self._done.is_set)

    def _erase(self) -> None:
        rooms = self._rooms
        eraser = Eraser(self._settings, rooms.store, rooms.blobs, self._keyring)
        carry_on(eraser, rooms.accounts, stopping=self._done.is_set)


def for_ever(name: str, round_: Callable[[], None], *, every: float, done: threading.Event) -> None:
    """Do one round after the other until all is done; one that fails is tried again."""
    while not done.is_set():
        try:
            round_()
        except Exception as error:  # noqa: BLE001 - the second half of the worker's loop: others' jobs must not wait for ever
            log.event("sweep.failed", round=name, error=type(error).__name__)
        done.wait(every)


def main(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit status."""
    asked = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        asked.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, ask)
    worker = Worker(settings)
    worker.start()
    asked.wait()
    worker.stop()
    return 0
