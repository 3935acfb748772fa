"""`fhir-bridge reindex`: lets what an older version stored be found by the search parameters of this one."""

from __future__ import annotations

import click

from fhir_bridge import settings
from fhir_bridge.cli.opened import store_of
from fhir_bridge.cli.shown import as_json, shown
from fhir_bridge.verbs import reindex


@click.command("reindex")
@as_json
def command(*, as_json: bool) -> None:
    """Write the search keys that resources lack since a version before this one stored them.

    To be run once after an upgrade that brings search parameters. May run beside a working bridge; versions and
    their times stay as they are. Stopped half-way, it is run again.
    """
    wanted = settings.load()
    base = f"{wanted.public_url.rstrip('/')}/fhir" if wanted.public_url else None
    with store_of(wanted) as store:
        changed = reindex.run(store, base=base)
    if as_json:
        shown({"resources": changed})
    else:
        click.echo(f"Indexed {changed} resources anew.")
