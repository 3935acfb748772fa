"""The second wall between tenants: PostgreSQL's row-level security (docs/decisions/0019).

Each transaction says whose rows it is about; the policies of migration 0012 hide all others
and let none be written. The first wall is the `tenant` that every statement asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from fhir_bridge.store.engine import WHOSE, unavailable

if TYPE_CHECKING:
    from sqlalchemy import Connection

NOBODY: Final = ""
ALL: Final = "*"  # no tenant's name: cli/tenant.py takes letters and digits
_BIND: Final = f"SELECT set_config('{WHOSE}', %s, true)"
_ESCAPES: Final = text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")


def named(tenant: str) -> str:
    """Return whose rows a tenant's are, whatever a token or a setting calls it: a name never means ALL."""
    return NOBODY if tenant == ALL else tenant


def bind(connection: Connection, whose: str) -> None:
    """Let a transaction that begins see and write the rows of this tenant, or of ALL; SQLite has no such wall.

    It travels with BEGIN: the database is not asked once more for it.

    Raises:
        StoreUnavailable: the database is gone.
    """
    if connection.dialect.name != "postgresql":
        return
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - it has just been taken from the pool
    try:
        with driver.pipeline():
            driver.execute(_BIND, (whose,))
    except connection.dialect.loaded_dbapi.Error as exc:
        raise unavailable() from exc


def is_escaped(connection: Connection) -> bool:
    """Tell whether the role that is signed in passes through the wall: superusers do, and BYPASSRLS roles."""
    return connection.dialect.name == "postgresql" and bool(connection.execute(_ESCAPES).scalar())
