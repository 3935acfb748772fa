"""What every run works with, and the one way in which a run writes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

from fhir_bridge import points
from fhir_bridge.blobs import Blobs, open_blobs
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import Filter, Store, jobs, resources
from fhir_bridge.store.states import State
from fhir_bridge.worker.accounts import Account, Accounts
from fhir_bridge.worker.circuit import Circuit
from fhir_bridge.worker.leases import Cancelled, Hold, Leases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection

    from fhir_bridge.errors import BridgeError
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.settings import Settings
    from fhir_bridge.store.jobs import Job
    from fhir_bridge.store.resources import NewVersion, Row

T = TypeVar("T")

_DEFAULT_ORIGIN: Final = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class Rooms:
    """The rooms of one worker process."""

    settings: Settings
    store: Store
    blobs: Blobs
    accounts: Accounts
    leases: Leases

    @classmethod
    def open(cls, settings: Settings, *, boot: str) -> Rooms:
        """Open everything; `boot` is new for each start of a worker."""
        store = Store.open(settings)
        accounts = Accounts(settings, store, KeyRing.open(settings))
        # By connections of their own: when all others wait for theirs, what they hold is renewed all the same.
        leases = Leases(Store.open(settings), owner=boot, seconds=settings.lease_seconds)
        return cls(settings, store, open_blobs(settings), accounts, leases)

    @property
    def base(self) -> str:
        """The FHIR base URL: absolute references below it are found like relative ones."""
        return f"{(self.settings.public_url or _DEFAULT_ORIGIN).rstrip('/')}/fhir"

    def of(self, tenant: str) -> Rooms:
        """Return the same rooms for one tenant: its rows alone are in the store."""
        return replace(self, store=self.store.of(tenant))

    def close(self) -> None:
        """Let go of everything."""
        self.leases.close()
        self.store.close()


class Run:
    """One run of one job. `job` is its row as this run last wrote it."""

    def __init__(self, rooms: Rooms, job: Job, hold: Hold) -> None:
        self.rooms = rooms.of(job.tenant)
        self.job = job
        self.hold = hold
        self.circuit = Circuit(self)

    @property
    def account(self) -> Account:
        """The tenant's way to Corti."""
        return self.rooms.accounts.of(self.job.tenant)

    def read(self, fn: Callable[[Connection], T]) -> T:
        """Ask the store."""
        return self.rooms.store.read(fn)

    def row(self, type_: str, id_: str) -> Row | None:
        """The current version of a resource of this tenant, unless it is deleted."""
        found = self.read(lambda conn: resources.read(conn, Filter(self.job.tenant), type_, id_))
        return None if found is None or found.deleted else found

    def resource(self, type_: str, id_: str) -> Json | None:
        """The content of a resource of this tenant."""
        found = self.row(type_, id_)
        return None if found is None else read(found.body)

    def write(
        self,
        versions: Sequence[NewVersion] = (),
        also: Callable[[Connection], object] | None = None,
        *,
        state: State | None = None,
        changes: Mapping[str, int | str | None] | None = None,
    ) -> None:
        """Write, in one transaction, resources, rows and the job's own; nothing when the job was taken over.

        Raises:
            Fenced: another worker may have the job.
            Cancelled: it was asked to stop. Results may have been taken back: none may follow.
            VersionConflict: a resource was written by someone else since it was read.
        """

        def advance(conn: Connection) -> Job:
            job = _wanted(jobs.advance(conn, self.hold.claim, state=state, **(changes or {})))
            if also is not None:
                also(conn)
            return job

        self._commit(versions, advance)

    def finish(
        self,
        versions: Sequence[NewVersion],
        state: State,
        *,
        error: BridgeError | None = None,
        unless: Callable[[Connection], object] | None = None,
    ) -> None:
        """End the job, and let the next one of its encounter begin; `unless` may raise against it.

        Raises:
            Cancelled: it was asked to stop before its results were complete.
        """
        code, text = (error.issue, error.text) if error else (None, None)

        def finish(conn: Connection) -> Job:
            if unless is not None:
                unless(conn)
            found = jobs.finish(conn, self.hold.claim, state, code=code, text=text)
            return _wanted(found) if state is State.PUBLISHED else found

        self._commit(versions, finish, of_encounter=True)

    def release(self, versions: Sequence[NewVersion] = (), *, state: State | None = None, delay: float = 0.0) -> None:
        """Give the job back to the queue; suspended, it remembers since when."""
        since = self.job.suspended_ms or jobs.now_ms()

        def release(conn: Connection) -> Job:
            if state is State.SUSPENDED:
                points.reached("suspend.noting")
                jobs.advance(conn, self.hold.claim, suspended_ms=since)
            return jobs.release(conn, self.hold.claim, state=state, delay=delay)

        self._commit(versions, release)

    def _commit(
        self, versions: Sequence[NewVersion], move: Callable[[Connection], Job], *, of_encounter: bool = False
    ) -> None:
        """Write in one order - tenant, job, the rest - so that two writers never wait crosswise.

        All streams of a tenant would queue for its row: only versions, and the next job `of_encounter`, need it.
        """
        in_turn = bool(versions) or of_encounter

        def write(conn: Connection) -> Job:
            if not versions and of_encounter:  # versions are stamped by it first of all
                resources.hold(conn, self.job.tenant)
            points.reached("run.writing")
            resources.put(conn, self.job.tenant, tuple(versions))
            points.reached("run.fencing")
            job = move(conn)
            points.reached("run.committing")
            return job

        self.job = self.rooms.store.write(write, in_turn=in_turn)
        points.reached("run.wrote")


def _wanted(job: Job) -> Job:
    """Return the job, unless it was asked to stop."""
    if job.cancel:
        raise Cancelled("The job was cancelled", at=job.id)
    return job
