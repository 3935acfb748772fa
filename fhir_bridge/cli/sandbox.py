"""`fhir-bridge sandbox`: the local Corti alone."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fhir_bridge import settings
from fhir_bridge.cli import lifeline
from fhir_bridge.cli.listening import HOST, bound

if TYPE_CHECKING:
    from fhir_bridge.sandbox.server import Sandbox
    from fhir_bridge.settings import Settings

PORT = 8090
MISSING = "The sandbox is not installed: pip install 'fhir-bridge[sandbox]'"


@click.command("sandbox")
@click.option("--host", default=HOST, show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes any free port.")
@click.option("--engine", metavar="NAME", default="auto", show_default=True, help="What listens to the audio.")
@click.option("--script", metavar="FILE", type=click.Path(path_type=Path), help="Fixed words instead of a recogniser.")
@lifeline.attended
def command(host: str, port: int, engine: str, script: Path | None, *, attended: bool) -> None:
    """Serve Corti's protocol on this machine, with a speech recogniser. Not Corti, not for clinical use.

    Prints one line of JSON when it is ready: point FHIR_BRIDGE_CORTI_API_URL and FHIR_BRIDGE_CORTI_AUTH_URL at its
    URLs, and give its client_id and client_secret to FHIR_BRIDGE_CORTI_CLIENT_ID and FHIR_BRIDGE_CORTI_CLIENT_SECRET.
    """
    asked = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: asked.set())
    if attended:
        lifeline.watch()
    with started(settings.load(), (host, port), engine, script) as sandbox:
        click.echo(json.dumps(sandbox.announcement()))
        asked.wait()


def started(wanted: Settings, address: tuple[str, int], engine: str, script: Path | None) -> Sandbox:
    """Start a sandbox in this process.

    Raises:
        click.ClickException: no recogniser, a script that is none, a port that is taken.
    """
    try:
        from fhir_bridge.sandbox.engine import CannotListen  # noqa: PLC0415 - an extra, which may not be installed
        from fhir_bridge.sandbox.server import start  # noqa: PLC0415 - an extra, which may not be installed
    except ImportError as exc:
        raise click.ClickException(MISSING) from exc
    secret = wanted.corti_client_secret
    bound(*address).close()  # a port that is taken is told like everywhere
    try:
        return start(
            host=address[0],
            port=address[1],
            engine=engine,
            script=script,
            model_dir=wanted.sandbox_model_dir,
            client_id=wanted.corti_client_id,
            client_secret=secret.get_secret_value() if secret else None,
            tenant=wanted.corti_tenant,
        )
    except CannotListen as exc:
        raise click.ClickException(str(exc)) from exc
