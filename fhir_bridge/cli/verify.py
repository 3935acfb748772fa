"""`fhir-bridge verify`: proves what the store promises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from fhir_bridge import clock, settings
from fhir_bridge.blobs import open_blobs
from fhir_bridge.cli.opened import store_of
from fhir_bridge.cli.shown import as_json, listed
from fhir_bridge.errors import BlobDamaged
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import audit_chain, binaries, oauth, verify
from fhir_bridge.store.dispatch import Ledger
from fhir_bridge.store.finding import Finding
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fhir_bridge.settings import Settings
    from fhir_bridge.store import Store
    from fhir_bridge.store.binaries import StoredBlob

_LOOKS: Final = 3
_PAUSE: Final = 0.5


@click.command("verify")
@as_json
def command(*, as_json: bool) -> None:
    """Read the store and prove that nothing is lost, doubled or stuck.

    Prints what breaks a promise, by ids alone, and ends with 1 when there is any. May run beside a working bridge.
    """
    wanted = settings.load()
    keys = KeyRing.open(wanted)
    with store_of(wanted) as store:
        found = [
            *store.read(verify.findings),
            *store.read(lambda conn: tuple(audit_chain.broken(conn, oauth.chains(conn, keys)))),
            *_lasting(lambda: _stuck(store)),
            *_lasting(lambda: frozenset(_unreadable(store, keys, wanted))),
        ]
    rows = [{"law": one.law, "tenant": one.tenant, "row": one.row} for one in found]
    listed(rows, as_json=as_json, empty="Everything holds: nothing is lost, doubled or stuck.")
    if found:
        raise click.exceptions.Exit(1)


def _stuck(store: Store) -> frozenset[Finding]:
    ledger = Ledger(store.url.render_as_string(hide_password=False))
    try:
        unfinished = ledger.unfinished()
    finally:
        ledger.close()
    return frozenset(store.read(lambda conn: verify.stuck(conn, unfinished)))


def _unreadable(store: Store, keys: KeyRing, wanted: Settings) -> Iterator[Finding]:
    """Accepted audio is there, complete, and opens with its tenant's key (reliability.md, rule 1)."""
    blobs = open_blobs(wanted)
    for tenant in store.read(oauth.tenants):
        audio_key = tenant.open_audio_key(keys)
        for content in _contents(store, tenant.id):
            try:
                blobs.reader(content.blob, content.wrapped_key, audio_key, content.size).close()
            except BlobDamaged:
                yield Finding("accepted audio is there and complete", tenant.id, f"Binary/{content.binary}")


def _contents(store: Store, tenant: str) -> tuple[StoredBlob, ...]:
    return store.read(lambda conn: binaries.older_than(conn, tenant, now_ms()))


def _lasting(look: Callable[[], frozenset[Finding]]) -> list[Finding]:
    """Two places are read one after the other while the bridge works: what is broken stays broken at each look."""
    found = look()
    for _ in range(_LOOKS - 1):
        if found:
            clock.sleep(_PAUSE)
            found &= look()
    return sorted(found, key=lambda one: (one.law, one.tenant, one.row))
