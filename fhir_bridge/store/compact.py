"""Rewrites tables, so that not even free space holds what was deleted from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from fhir_bridge.store import tables
from fhir_bridge.store.engine import engine_of, translated

if TYPE_CHECKING:
    from sqlalchemy import URL

# Of an ordinary role that is a right of its own, since PostgreSQL 15.
_MAY_CHECKPOINT: Final = text(
    "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_checkpoint' AND pg_has_role(oid, 'USAGE'))"
)


def compact(url: URL) -> None:
    """Rewrite what an erasure touches; whoever wants to write waits.

    Raises:
        StoreUnavailable: the database did not do it: others were writing, or it is not ours to do.
    """
    engine = engine_of(url).execution_options(isolation_level="AUTOCOMMIT")
    try:
        with translated(), engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("VACUUM")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            else:
                names = ("version", "key", "once", "blob", "interaction", "job", "segment", "fact", "audit")
                for name in (*names, "asynchronous", "upload", "erasure"):
                    connection.execute(text(f'VACUUM (FULL, ANALYZE) "{tables.metadata.tables[name].name}"'))
                connection.exec_driver_sql("VACUUM (FULL) pg_statistic")  # the planner keeps samples of what it saw
                if connection.execute(_MAY_CHECKPOINT).scalar():  # else PostgreSQL does it within minutes
                    connection.exec_driver_sql("CHECKPOINT")
    finally:
        engine.dispose()
