"""The right to write: what this worker holds, renewed in bulk, and the signs that it must stop (rule 3)."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock, points
from fhir_bridge.errors import BridgeError, Fenced, StoreUnavailable
from fhir_bridge.store import jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fhir_bridge.store import Store
    from fhir_bridge.store.jobs import Claim

# Of a lease: renewed at a third; a worker that could not renew for two thirds stops by its own clock.
RENEW_AT: Final = 1 / 3
STOP_AT: Final = 2 / 3


class Stopping(BridgeError):
    """This worker is asked to end: give the job back at the next frame boundary."""


class Cancelled(BridgeError):
    """Someone asked for the job to stop."""


@dataclass
class Hold:
    """One job this worker holds. `check` is called between any two steps of its run."""

    claim: Claim
    leases: Leases
    lost: bool = False
    cancel: bool = False
    renewed: float = field(default_factory=clock.monotonic)
    _interrupt: Callable[[BridgeError], None] | None = None

    @contextmanager
    def interrupting(self, interrupt: Callable[[BridgeError], None]) -> Iterator[None]:
        """Have `interrupt` called from another thread once `check` would raise, for a wait it cannot look into."""
        self._interrupt = interrupt
        try:
            yield
        finally:
            self._interrupt = None

    def tell(self) -> None:
        """Interrupt the run if something speaks against it."""
        interrupt = self._interrupt
        try:
            self.check()
        except BridgeError as sign:
            if interrupt is not None:
                interrupt(sign)

    def check(self) -> None:
        """Go on only when nothing speaks against it.

        Raises:
            Fenced: the lease is lost, or may be: it could not be renewed for too long.
            Cancelled: the job was asked to stop.
            Stopping: this worker was asked to stop.
        """
        # For good: whoever was interrupted for it has left things undone, so a renewal that comes late changes nothing.
        self.lost |= clock.monotonic() - self.renewed > self.leases.seconds * STOP_AT
        if self.lost:
            raise Fenced("The lease of this job is lost", at=self.claim.job)
        if self.cancel:
            raise Cancelled("The job was cancelled", at=self.claim.job)
        if self.leases.stopping.is_set():
            raise Stopping("The worker stops", at=self.claim.job)

    def wait(self, seconds: float) -> None:
        """Wait, but not past a sign to stop."""
        until = clock.monotonic() + seconds
        while (left := until - clock.monotonic()) > 0:
            self.check()
            self.leases.stopping.wait(min(left, 0.25))
        self.check()


class Leases:
    """All that this boot of this worker holds. `owner` is new for each boot."""

    def __init__(self, store: Store, *, owner: str, seconds: float) -> None:
        self.owner = owner
        self.seconds = seconds
        self.stopping = threading.Event()
        self._store = store
        self._holds: dict[Claim, Hold] = {}
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._renew_for_ever, name="leases", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def close(self) -> None:
        """Renew no more; what is still held runs out. The store is theirs: it is closed with them."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self._store.close()

    @contextmanager
    def holding(self, claim: Claim, *, cancel: bool = False) -> Iterator[Hold]:
        """Keep `claim` alive for the length of a `with` block; `cancel` as the job's row has it."""
        hold = Hold(claim, self, cancel=cancel)
        with self._lock:
            self._holds[claim] = hold
        try:
            yield hold
        finally:
            with self._lock:
                self._holds.pop(claim, None)

    def renew(self) -> None:
        """Prolong once what is held and pass on what the rows say. What is given up runs out: another takes it."""
        with self._lock:
            holds = {claim: hold for claim, hold in self._holds.items() if not hold.lost}
        if not holds:
            return
        at = clock.monotonic()  # before the write: the lease counts from when it was asked for
        points.reached("lease.renewing")
        everyone, ids = self._store.of_all(), [claim.job for claim in holds]
        held = everyone.write(lambda conn: jobs.renew(conn, self.owner, ids, lease_seconds=self.seconds))
        points.reached("lease.renewed")
        for claim, hold in holds.items():
            hold.lost |= claim not in held
            hold.cancel = held.get(claim, False)
            hold.renewed = at

    def stop(self) -> None:
        """Ask every run to come back (reliability.md, rule 11)."""
        self.stopping.set()
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            holds = list(self._holds.values())
        for hold in holds:
            hold.tell()

    def _renew_for_ever(self) -> None:
        while not self._done.wait(self.seconds * RENEW_AT):
            with suppress(StoreUnavailable):  # each hold sees by itself when this lasts too long
                self.renew()
            self._tell()
