"""What most commands open: the settings, and a database that is at this version."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from fhir_bridge import settings
from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.store import Store, schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_bridge.settings import Settings


@contextmanager
def store_of(wanted: Settings | None = None) -> Iterator[Store]:
    """Open the database of these settings; a new embedded one is made.

    Raises:
        BadSetting: the database has not been migrated to this version of the bridge.
    """
    wanted = wanted or settings.load()
    made_current(wanted)
    store = Store.open(wanted)
    try:
        yield store
    finally:
        store.close()


def made_current(wanted: Settings) -> None:
    """Make the tables of an embedded database that has none; refuse any other that is not current."""
    with reaching():
        if is_embedded(wanted) and schema.is_empty(wanted):
            schema.migrate(wanted)
        schema.require_current(wanted)


def current(wanted: Settings) -> None:
    """Refuse a database that is not at this version: those who serve do not migrate."""
    with reaching():
        schema.require_current(wanted)


@contextmanager
def reaching() -> Iterator[None]:
    """Name the setting when the database cannot be reached.

    Raises:
        click.ClickException: it cannot.
    """
    try:
        yield
    except StoreUnavailable as exc:
        at = "FHIR_BRIDGE_DATABASE_URL"
        raise click.ClickException(f"{at}: the database cannot be reached, or may not be written") from exc


def is_embedded(wanted: Settings) -> bool:
    """Tell whether the database is an SQLite file."""
    return wanted.database_url is None or wanted.database_url.startswith("sqlite")
