"""The one way in: closures that write, answered only after COMMIT."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from fhir_bridge import clock, points
from fhir_bridge.store.engine import BUSY_SECONDS, in_transaction, is_busy, translated, unavailable

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from fhir_bridge.errors import StoreUnavailable

T = TypeVar("T")
Closure = Callable[[Connection], T]

PAUSE: Final = 0.001  # between two looks whether another process has done writing
GROUP: Final = 200  # closures in one transaction at most: bounds the wait of the first of them


@dataclass(frozen=True)
class _Request(Generic[T]):
    """One closure and the place where its caller waits."""

    fn: Closure[T]
    answer: Future[T]


class SqliteWriter:
    """Writes for one process: one thread, one connection, one COMMIT for all that is waiting.

    SQLite lets one transaction write at a time, and each COMMIT waits for the disk.
    Whoever asks while a COMMIT runs shares the next one; nobody waits for a group to fill.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting: SimpleQueue[_Request[object] | None] = SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def write(self, fn: Closure[T]) -> T:
        """Run `fn` in the next transaction and return what it returned, once that is on disk."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a closure given to Store.write must not call Store.write")
        answer: Future[T] = Future()
        with self._closing:  # nothing may be queued behind the end
            if self._closed:
                raise unavailable()
            self._waiting.put(_Request(fn, answer))  # type: ignore[arg-type]  # the queue holds requests of every T
        return answer.result()

    def close(self) -> None:
        """Write what is waiting, then end the thread."""
        with self._closing:
            self._closed = True
            self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_ = True
        while open_:
            group = self._group()
            open_ = None not in group
            requests = [request for request in group if request is not None]
            if requests:
                self._commit(requests)

    def _group(self) -> list[_Request[object] | None]:
        """Wait for one request, then take all that are there already."""
        group = [self._waiting.get()]
        while len(group) < GROUP and group[-1] is not None:
            try:
                group.append(self._waiting.get_nowait())
            except Empty:
                break
        return group

    def _commit(self, group: list[_Request[object]]) -> None:
        """Run a group in one transaction and answer each caller after COMMIT, or fail them all."""
        try:
            with self._engine.connect() as connection:
                outcomes = _outcomes(connection, group)
        except BaseException as error:  # noqa: BLE001 - told to every caller: none may wait for ever
            for request in group:
                request.answer.set_exception(_lost(error))
            return
        for request, outcome in zip(group, outcomes, strict=True):
            outcome.into(request.answer)


@dataclass(frozen=True)
class _Outcome:
    """What a closure returned or raised."""

    value: object = None
    error: BaseException | None = None

    def into(self, answer: Future[object]) -> None:
        """Hand it to the waiting caller."""
        if self.error is not None:
            answer.set_exception(self.error)
        else:
            answer.set_result(self.value)


def _outcomes(connection: Connection, group: list[_Request[object]]) -> list[_Outcome]:
    _begin(connection)
    points.reached("write.begun")
    try:
        outcomes = [_outcome(connection, request.fn) for request in group]
        points.reached("write.committing")
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        if in_transaction(connection):
            connection.exec_driver_sql("ROLLBACK")
        raise
    points.reached("write.committed")
    return outcomes


def _begin(connection: Connection) -> None:
    """Wait for this process's turn to write.

    SQLite's own waiting makes longer and longer pauses: with an audit row for each read,
    a busy process would keep another out for seconds.
    """
    until = clock.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as exc:
            if not is_busy(exc) or clock.monotonic() >= until:
                raise
            clock.sleep(PAUSE)
        else:
            return


def _outcome(connection: Connection, fn: Closure[object]) -> _Outcome:
    """Run one closure in its own savepoint, so that its error undoes only what it did.

    Raises:
        StoreUnavailable: the transaction is gone. On a full disk SQLite rolls back by
            itself; going on would commit the rest of the group and acknowledge rows
            that do not exist.
    """
    connection.exec_driver_sql("SAVEPOINT closure")
    try:
        with translated():
            outcome = _Outcome(value=fn(connection))
    except BaseException as error:  # noqa: BLE001 - carried to its caller
        _still_there(connection, error)
        connection.exec_driver_sql("ROLLBACK TO closure")
        outcome = _Outcome(error=error)
    _still_there(connection, None)
    connection.exec_driver_sql("RELEASE closure")
    return outcome


def _still_there(connection: Connection, cause: BaseException | None) -> None:
    if not in_transaction(connection):
        raise _lost(cause)


def _lost(cause: BaseException | None) -> StoreUnavailable:
    lost = unavailable()
    lost.__cause__ = cause
    return lost
