"""Connections to the database: SQLite or PostgreSQL, for writing and for read-only snapshots."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from fhir_bridge.errors import BadSetting, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from fhir_bridge.settings import Settings

FILE: Final = "fhir-bridge.db"
BUSY_SECONDS: Final = 10.0
MOST_CONNECTIONS: Final = 30  # to PostgreSQL, of one store in one process; whoever wants one more waits
_KEPT: Final = 10
# Whose rows a connection is about. Set to nobody's from the start, so that what forgets to say sees none.
WHOSE: Final = "fhir_bridge.tenant"
# A process that is frozen in mid-transaction holds its tenant's row: it is let go of after 5 s,
# so that others can take its jobs over. No closure pauses that long between two statements.
POSTGRES_OPTIONS: Final = (
    f"-c synchronous_commit=on -c statement_timeout=60000 -c idle_in_transaction_session_timeout=5000 -c {WHOSE}="
)
# These say that a statement of ours is wrong, not that the database is away.
_OURS: Final = (IntegrityError, DataError, ProgrammingError)


def url_of(settings: Settings) -> URL:
    """Return where the database is: as set, else a file in the data directory."""
    if settings.database_url:
        return _known(settings.database_url)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return make_url(f"sqlite:///{settings.data_dir.absolute() / FILE}")


def _known(text: str) -> URL:
    """Read a database URL whose driver is installed."""
    try:
        url = make_url(text)
        if url.get_backend_name() in {"sqlite", "postgresql"}:
            url.get_dialect().import_dbapi()
            return url
    except (ArgumentError, ImportError) as exc:
        raise _unknown() from exc
    raise _unknown()


def _unknown() -> BadSetting:
    known = "sqlite:///FILE, or postgresql+psycopg://… with the extra fhir-bridge[postgres] installed"
    return BadSetting(f"FHIR_BRIDGE_DATABASE_URL must be {known}", at="FHIR_BRIDGE_DATABASE_URL")


def engine_of(url: URL, *, read_only: bool = False, waits: bool = True) -> Engine:
    """Make an engine. It opens its first connection when it is first used; one that `waits` not is told of locks."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, read_only=read_only, waits=waits)
    return create_engine(
        url,
        pool_size=_KEPT,
        max_overflow=MOST_CONNECTIONS - _KEPT,
        pool_timeout=BUSY_SECONDS,
        pool_pre_ping=True,
        connect_args={"options": POSTGRES_OPTIONS},
    )


def _sqlite(url: URL, *, read_only: bool, waits: bool) -> Engine:
    """SQLite whose driver never says BEGIN: whoever writes or reads says it himself.

    The file, and with it its log, is for nobody but the user of the process: it holds patients' data.
    """
    if url.database is not None:
        with suppress(OSError):  # no folder, or no right to write there: the first connection will say so
            Path(url.database).touch(mode=0o600)
    engine = create_engine(url, pool_size=0, connect_args={"isolation_level": None, "timeout": BUSY_SECONDS})

    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        if not waits:
            cursor.execute("PRAGMA busy_timeout = 0")
        cursor.close()

    event.listen(engine, "connect", prepare)
    return engine


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a database does when it cannot into StoreUnavailable."""
    try:
        yield
    except _OURS:
        raise
    except (DBAPIError, PoolTimeout) as exc:
        raise unavailable() from exc


def unavailable() -> StoreUnavailable:
    """Say that nothing was kept and that a repeat makes sense."""
    return StoreUnavailable("The database did not take the request; nothing was kept, repeat it", retry_after=1)


def in_transaction(connection: Connection) -> bool:
    """Ask the SQLite driver, not SQLAlchemy: SQLite may have rolled back by itself."""
    driver = connection.connection.driver_connection
    return bool(driver is not None and driver.in_transaction)


def is_busy(error: DBAPIError) -> bool:
    """Tell whether SQLite says that another connection is writing."""
    return getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY")
