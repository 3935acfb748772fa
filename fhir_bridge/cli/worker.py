"""`fhir-bridge worker`: Corti's side."""

from __future__ import annotations

import click

from fhir_bridge import log, settings
from fhir_bridge.cli import lifeline
from fhir_bridge.cli.opened import current
from fhir_bridge.worker.main import main


@click.command("worker")
@lifeline.attended
def command(*, attended: bool) -> None:
    """Bring Encounters and recordings to Corti and results back, until SIGTERM.

    Any number of workers may share a PostgreSQL database.
    """
    wanted = settings.load()
    current(wanted)
    log.to_stderr()
    if attended:
        lifeline.watch()
    raise click.exceptions.Exit(main(wanted))
