"""Brings a database to this version of the bridge: our tables, the dispatcher's, and the tenant `default`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from fhir_bridge import points
from fhir_bridge.errors import BadSetting
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import dispatch, oauth, walls
from fhir_bridge.store.engine import engine_of, translated, url_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fhir_bridge.settings import Settings

DEFAULT_TENANT: Final = "default"
_SCRIPTS: Final = Path(__file__).with_name("migrations")
_LOCK: Final = 0x66686972  # "fhir": two migrations at once wait for each other


def migrate(settings: Settings) -> None:
    """Create or upgrade all tables and make the tenant `default`; run before anything else starts."""
    keys = KeyRing.open(settings)
    url = url_of(settings)
    engine = engine_of(url)
    try:
        with translated(), engine.begin() as connection:
            _lock(connection)
            walls.bind(connection, walls.ALL)
            points.reached("migrate.locked")
            _upgrade(connection)
            points.reached("migrate.upgraded")
            if oauth.tenant(connection, DEFAULT_TENANT) is None:
                oauth.add_tenant(connection, oauth.new_tenant(DEFAULT_TENANT, keys))
    finally:
        engine.dispose()
    points.reached("migrate.ours")
    dispatch.migrate(url.render_as_string(hide_password=False))
    points.reached("migrate.done")


def is_empty(settings: Settings) -> bool:
    """Tell whether nothing has been migrated here yet."""
    return not _versions(settings)


def require_current(settings: Settings) -> None:
    """Refuse to go on with a database of another version of the bridge.

    Raises:
        BadSetting: `migrate` has to be run first, or the database is a newer version's.
    """
    if _versions(settings) != set(ScriptDirectory(str(_SCRIPTS)).get_heads()):
        at = "FHIR_BRIDGE_DATABASE_URL"
        raise BadSetting("The database is not at this version of the bridge: run `fhir-bridge migrate`", at=at)


def _versions(settings: Settings) -> set[str]:
    engine = engine_of(url_of(settings))
    try:
        with translated(), engine.connect() as connection:
            return set(MigrationContext.configure(connection).get_current_heads())
    finally:
        engine.dispose()


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _upgrade(connection: Connection) -> None:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    command.upgrade(config, "head")
