"""`fhir-bridge web`: the EHR's side over HTTP."""

from __future__ import annotations

import os

import click

from fhir_bridge import log, settings
from fhir_bridge.cli import gunicorn_server
from fhir_bridge.cli.lifeline import attended
from fhir_bridge.cli.listening import bound, host_option, port_option, url_of
from fhir_bridge.cli.opened import current, is_embedded


@click.command("web")
@host_option
@port_option
@click.option("--workers", type=click.IntRange(1), help="Processes; unset: 1 on SQLite, one a core on PostgreSQL.")
@click.option("--fd", type=int, hidden=True, help="A listening socket that is open already.")
@click.option("--guests", is_flag=True, hidden=True, help="Let in whoever tries the bridge beside the sandbox.")
@attended
def command(host: str, port: int, *, workers: int | None, fd: int | None, guests: bool, attended: bool) -> None:
    """Serve FHIR, tokens and Swagger UI over HTTP. Needs a `worker` beside it."""
    wanted = settings.load()
    log.to_stderr()
    if fd is None:
        current(wanted)
        listener = bound(host, port)
        wanted = wanted.model_copy(update={"public_url": url_of(listener, wanted)})
        click.echo(f"Listening on {wanted.public_url}")
        fd = listener.detach()
    log.event("service.started", part="web", url=wanted.public_url)
    many = 1 if is_embedded(wanted) else os.cpu_count() or 1
    gunicorn_server.serve(wanted, fd, workers=workers or many, attended=attended, guests=guests and attended)
