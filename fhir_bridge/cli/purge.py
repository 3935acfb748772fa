"""`fhir-bridge purge`: applies the retention rules now."""

from __future__ import annotations

import click

from fhir_bridge import settings
from fhir_bridge.blobs import open_blobs
from fhir_bridge.cli.opened import store_of
from fhir_bridge.cli.shown import as_json, shown
from fhir_bridge.keyring import KeyRing
from fhir_bridge.verbs.retention import Keeper


@click.command("purge")
@as_json
def command(*, as_json: bool) -> None:
    """Remove audio whose results have been complete for FHIR_BRIDGE_AUDIO_RETENTION_HOURS.

    Its Binary answers 410 afterwards. Transcripts, facts and all other resources stay, unless `tenant keep` or
    FHIR_BRIDGE_RETENTION_DAYS names a time for their type. Files that a crash left behind, uploads that nobody ended
    and used-up client assertions are removed too.
    """
    wanted = settings.load()
    with store_of(wanted) as store:
        removed = Keeper(wanted, store, open_blobs(wanted), KeyRing.open(wanted)).apply()
    if as_json:
        shown(vars(removed))
    else:
        click.echo(
            f"Removed {removed.audio} recordings, {removed.resources} resources, {removed.audit} audit rows, "
            f"{removed.strays} stray files, {removed.assertions} used assertions."
        )
