"""`fhir-bridge erase`: destroys a visit or a patient, and proves it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click

from fhir_bridge import clock, settings
from fhir_bridge.blobs import open_blobs
from fhir_bridge.cli.opened import store_of
from fhir_bridge.cli.shown import as_json, shown
from fhir_bridge.errors import CortiError, StoreUnavailable
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import compact, schema
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.store.jobs import now_ms
from fhir_bridge.verbs.erase import ERASE, Eraser
from fhir_bridge.worker.accounts import Accounts
from fhir_bridge.worker.erase import drive

if TYPE_CHECKING:
    from fhir_bridge.settings import Settings
    from fhir_bridge.store import Store
    from fhir_bridge.store.erasure import Erasure

_PAUSE: Final = 0.5


@click.command("erase")
@click.argument("reference")
@click.option("--tenant", default=schema.DEFAULT_TENANT, show_default=True, help="Whose it is.")
@click.option(
    "--compact/--no-compact",
    "rewritten",
    default=True,
    show_default=True,
    help="Rewrite the tables afterwards, so that free space holds no trace either; writers wait meanwhile.",
)
@as_json
def command(*, reference: str, tenant: str, rewritten: bool, as_json: bool) -> None:
    """Destroy an Encounter or a Patient with all that belongs to it, and print the proof.

    REFERENCE is Encounter/ID or Patient/ID. Running jobs stop; recordings, transcripts, facts and every version are
    destroyed, here and at Corti. What was there answers 410; the audit keeps pseudonyms. After a crash, or when Corti
    cannot be reached, call it again: it goes on, and so does any worker.
    """
    wanted = settings.load()
    with store_of(wanted) as store:
        done, failure = _driven(wanted, store, tenant, reference)
        report = {"state": done.state, "reference": reference, **json.loads(done.report)}
        if rewritten:
            report["compacted"] = _compacted(store)
    if as_json:
        shown(report)
    else:
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    if failure is not None:
        text = f"all is destroyed here; Corti has not forgotten yet: {failure.text}"
        raise click.ClickException(text) from failure


def _driven(wanted: Settings, store: Store, tenant: str, reference: str) -> tuple[Erasure, CortiError | None]:
    keys = KeyRing.open(wanted)
    eraser, accounts = Eraser(wanted, store, open_blobs(wanted), keys), Accounts(wanted, store, keys)
    this = eraser.begin(tenant, reference, by=AuditRow(tenant, clock.new_id(), ERASE, 200, client="fhir-bridge erase"))
    try:
        while this.state != "erased":
            this = drive(eraser, accounts, this)
            if this.state != "erased":
                clock.sleep(max(_PAUSE, (this.settled_ms - now_ms()) / 1000))
    except CortiError as error:
        return eraser.current(this), error
    return this, None


def _compacted(store: Store) -> bool:
    try:
        compact.compact(store.url)
    except StoreUnavailable:
        return False
    return True
