"""`fhir-bridge serve`: the embedded bridge, one tree of supervised children."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from fhir_bridge import log, settings
from fhir_bridge.cli import lifeline
from fhir_bridge.cli.listening import host_option, port_option
from fhir_bridge.cli.service import Service, Wishes

_TEND_SECONDS = 0.2


@click.command("serve")
@host_option
@port_option
@click.option("--sandbox", is_flag=True, help="Start the local Corti too and point the bridge at it.")
@click.option(
    "--sandbox-script", metavar="FILE", type=click.Path(path_type=Path, exists=True), help="Fixed words for it."
)
@click.option("--workers", type=click.IntRange(1), help="Web processes; unset: 1 on SQLite.")
@lifeline.attended
def command(
    host: str, port: int, *, sandbox: bool, sandbox_script: Path | None, workers: int | None, attended: bool
) -> None:
    """Serve everything from this machine: web and worker, supervised, until Ctrl-C.

    Without further settings the database, the audio and the keys are kept in ./data. With --sandbox no Corti
    account is needed, and on a loopback address a user `demo` with the password `demo` exists.
    """
    wanted = settings.load()
    log.to_stderr()
    asked = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: asked.set())
    if attended:
        lifeline.watch()
    if sandbox_script is not None and not sandbox:
        raise click.UsageError("--sandbox-script needs --sandbox")
    service = Service(wanted, Wishes(host, port, workers, sandbox, sandbox_script), given={}, stderr=None)
    try:
        service.start()
        _greet(service)
        while not asked.wait(_TEND_SECONDS):
            service.tend()
    finally:
        service.stop()


def _greet(service: Service) -> None:
    click.echo(f"FHIR base     {service.url}/fhir")
    click.echo(f"Swagger UI    {service.url}/docs")
    heard = f"the local sandbox ({service.engine}): not Corti, not for clinical use" if service.engine else "Corti"
    click.echo(f"Recordings go to {heard}. Ctrl-C stops everything.")
