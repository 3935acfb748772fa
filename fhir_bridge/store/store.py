"""The store as the rest of the bridge holds it: whose rows, then write, read, barrier; close."""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import OperationalError

from fhir_bridge import points
from fhir_bridge.store import tables, walls
from fhir_bridge.store.engine import engine_of, translated, unavailable, url_of
from fhir_bridge.store.turns import Turns
from fhir_bridge.store.writer import SqliteWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

    from fhir_bridge.settings import Settings

T = TypeVar("T")
CROSSED: Final = ("40P01", "40001")  # SQLSTATE of a deadlock, and of a serialization failure
_left_behind: Final[list[_Doors]] = []  # of a parent process: never closed, never collected here


class Store:
    """One database, and whose rows are meant. `of` and `of_all` say that; before, nothing is read or written."""

    def __init__(self, house: _House, whose: str | None = None) -> None:
        self._house = house
        self._whose = whose

    @classmethod
    def open(cls, settings: Settings) -> Store:
        """Name the database of these settings; nothing is connected yet."""
        return cls(_House(url_of(settings)))

    @property
    def url(self) -> URL:
        """Where the database is."""
        return self._house.url

    def of(self, tenant: str) -> Store:
        """Return the same for one tenant: on PostgreSQL rows of another are neither seen nor written."""
        return Store(self._house, walls.named(tenant))

    def of_all(self) -> Store:
        """Return the same for what is about all tenants, or about nobody knows yet whose."""
        return Store(self._house, walls.ALL)

    def write(self, fn: Callable[[Connection], T], *, in_turn: bool = False) -> T:
        """Run `fn` in a transaction and return what it returned, once that is committed to disk.

        Who will lock the tenant's row asks for it `in_turn`: where many at once may write, those
        of one process and tenant then wait for each other here, not by the dozen in the database.

        `fn` gets a Connection and brings ready values: no I/O, parsing, mapping or nested
        write. What it raises undoes what it did and is raised here. It may run twice, when
        PostgreSQL broke a deadlock by undoing it: it leaves traces in the database only.

        Raises:
            StoreUnavailable: the database did not take it; nothing was kept.
        """
        return self._house.doors().write(fn, self._said(), in_turn=in_turn)

    def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` on a read-only connection whose statements all see one snapshot."""
        return self._house.doors().read(fn, self._said())

    def barrier(self, tenant: str) -> None:
        """Wait until every version stamped before now is visible to the next `read`.

        A row is stamped before it is committed: a poll in between would not see it, and
        the next poll would ask for later ones only. Searches by time pass here first
        (architecture.md, Searching).
        """
        self._house.doors().barrier(tenant, self._said())

    def close(self) -> None:
        """Finish what is being written and let go of the database, for whomever it was held."""
        self._house.close()

    def _said(self) -> str:
        if self._whose is None:
            raise RuntimeError("say whose rows are meant: Store.of(tenant), or Store.of_all()")
        return self._whose


class _House:
    """One database. Connections and the writer thread are made on first use, in the process that uses them."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self._making = threading.Lock()
        self._doors: _Doors | None = None
        self._closed = False

    def doors(self) -> _Doors:
        """Return this process's connections; a fork inherits neither threads nor connections."""
        doors = self._doors
        if doors is not None and doors.pid == os.getpid():
            return doors
        with self._making:
            if self._closed:
                raise unavailable()
            if self._doors is None or self._doors.pid != os.getpid():
                if self._doors is not None:
                    _left_behind.append(self._doors)
                self._doors = _doors_to(self.url)
            return self._doors

    def close(self) -> None:
        """Let go of what this process has opened, and open nothing more."""
        with self._making:
            doors, self._doors, self._closed = self._doors, None, True
        if doors is not None and doors.pid == os.getpid():
            doors.close()


class _Sqlite:
    """The connections of one process to an SQLite file: its writer thread, and readers."""

    def __init__(self, url: URL) -> None:
        self.pid = os.getpid()
        self._writing = engine_of(url)
        self._reading = engine_of(url, read_only=True)
        self._turns = engine_of(url, waits=False)
        self._writer = SqliteWriter(self._turns)

    def write(self, fn: Callable[[Connection], T], whose: str, *, in_turn: bool = False) -> T:
        del whose, in_turn  # SQLite has no second wall, and the writer's queue is all there is
        return self._writer.write(fn)

    def read(self, fn: Callable[[Connection], T], whose: str) -> T:
        del whose
        with translated(), self._reading.connect() as connection:
            connection.exec_driver_sql("BEGIN")  # one snapshot from the first statement on
            return fn(connection)

    def barrier(self, tenant: str, whose: str) -> None:
        """Take the write lock once: whoever stamped a row before has then committed it."""
        del tenant, whose  # the lock is the file's
        with translated(), self._writing.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.exec_driver_sql("ROLLBACK")

    def close(self) -> None:
        self._writer.close()
        for engine in (self._turns, self._writing, self._reading):
            engine.dispose()


class _Postgres:
    """The connections of one process to PostgreSQL, which lets many write at once."""

    def __init__(self, url: URL) -> None:
        self.pid = os.getpid()
        self._writing = engine_of(url)
        # The same pool: only what a transaction begins with differs.
        self._reading = self._writing.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._turns = Turns()

    def write(self, fn: Callable[[Connection], T], whose: str, *, in_turn: bool = False) -> T:
        with translated(), self._turns.of(whose) if in_turn else nullcontext():
            try:
                return self._committed(fn, whose)
            except OperationalError as exc:
                if getattr(exc.orig, "sqlstate", None) not in CROSSED:
                    raise
                return self._committed(fn, whose)  # it was undone so that the other could go on, which it has by now

    def _committed(self, fn: Callable[[Connection], T], whose: str) -> T:
        with self._writing.begin() as connection:
            walls.bind(connection, whose)
            points.reached("write.begun")
            outcome = fn(connection)
            points.reached("write.committing")
        points.reached("write.committed")
        return outcome

    def read(self, fn: Callable[[Connection], T], whose: str) -> T:
        with translated(), self._reading.connect() as connection:
            walls.bind(connection, whose)
            return fn(connection)

    def barrier(self, tenant: str, whose: str) -> None:
        """Wait for the tenant's row: whoever stamped from it before has then committed."""
        row = select(tables.tenant.c.seq, func.clock_timestamp()).where(tables.tenant.c.id == tenant)
        self.write(lambda connection: connection.execute(row.with_for_update(read=True)).first(), whose)

    def close(self) -> None:
        self._writing.dispose()


_Doors = _Sqlite | _Postgres


def _doors_to(url: URL) -> _Doors:
    return _Sqlite(url) if url.get_backend_name() == "sqlite" else _Postgres(url)
