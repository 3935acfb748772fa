"""`fhir-bridge verify`: proves what the store promises."""

from __future__ import annotations

import click

from fhir_bridge import settings
from fhir_bridge.blobs import open_blobs
from fhir_bridge.cli.opened import store_of
from fhir_bridge.cli.shown import as_json, listed
from fhir_bridge.keyring import KeyRing
from fhir_bridge.verbs.verify import Proof


@click.command("verify")
@as_json
def command(*, as_json: bool) -> None:
    """Read the store and prove that nothing is lost, doubled or stuck.

    Prints what breaks a promise, by ids alone, and ends with 1 when there is any. May run beside a working bridge.
    """
    wanted = settings.load()
    with store_of(wanted) as store:
        found = Proof(store, open_blobs(wanted), KeyRing.open(wanted)).findings()
    rows = [{"law": one.law, "tenant": one.tenant, "row": one.row} for one in found]
    listed(rows, as_json=as_json, empty="Everything holds: nothing is lost, doubled or stuck.")
    if found:
        raise click.exceptions.Exit(1)
