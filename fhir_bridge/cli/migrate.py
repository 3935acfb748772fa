"""`fhir-bridge migrate`: brings the database to this version."""

from __future__ import annotations

import click

from fhir_bridge import settings
from fhir_bridge.cli.opened import reaching
from fhir_bridge.store import schema


@click.command("migrate")
def command() -> None:
    """Create or upgrade the database's tables.

    Run it once before `web` and `worker` of a new version start; `serve` does it by itself.
    """
    with reaching():
        schema.migrate(settings.load())
    click.echo("The database is at this version.")
