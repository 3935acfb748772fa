"""The proof of what the store promises: the laws of its rows, its queues, its audit, and the audio on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.errors import BlobDamaged
from fhir_bridge.store import audit_chain, binaries, oauth, verify
from fhir_bridge.store.dispatch import Ledger
from fhir_bridge.store.finding import Finding
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fhir_bridge.blobs import Blobs
    from fhir_bridge.keyring import KeyRing
    from fhir_bridge.store import Store

_LOOKS: Final = 3
_PAUSE: Final = 0.5


@dataclass(frozen=True)
class Proof:
    """What `fhir-bridge verify` looks at. It may look while a bridge works."""

    store: Store
    blobs: Blobs
    keys: KeyRing

    def findings(self) -> tuple[Finding, ...]:
        """Return everything that breaks a promise; nothing is the proof."""
        return (
            *self.store.of_all().read(verify.findings),
            *self.audit(),
            *_lasting(self._stuck),
            *_lasting(lambda: frozenset(self._unreadable())),
        )

    def audit(self) -> tuple[Finding, ...]:
        """Return what was done to the audit since it was sealed."""
        keys = self.keys
        return self.store.of_all().read(lambda conn: tuple(audit_chain.broken(conn, oauth.chains(conn, keys))))

    def _stuck(self) -> frozenset[Finding]:
        ledger = Ledger(self.store.url.render_as_string(hide_password=False))
        try:
            unfinished = ledger.unfinished()
        finally:
            ledger.close()
        return frozenset(self.store.of_all().read(lambda conn: verify.stuck(conn, unfinished)))

    def _unreadable(self) -> Iterator[Finding]:
        """Accepted audio is there, complete, and opens with its tenant's key (reliability.md, rule 1)."""
        for tenant in self.store.of_all().read(oauth.tenants):
            audio_key = tenant.open_audio_key(self.keys)
            for content in self._contents(tenant.id):
                try:
                    self.blobs.reader(content.blob, content.wrapped_key, audio_key, content.size).close()
                except BlobDamaged:
                    yield Finding("accepted audio is there and complete", tenant.id, f"Binary/{content.binary}")

    def _contents(self, tenant: str) -> tuple[binaries.StoredBlob, ...]:
        return self.store.of(tenant).read(lambda conn: binaries.older_than(conn, tenant, now_ms()))


def _lasting(look: Callable[[], frozenset[Finding]]) -> list[Finding]:
    """Two places are read one after the other while the bridge works: what is broken stays broken at each look."""
    found = look()
    for _ in range(_LOOKS - 1):
        if found:
            clock.sleep(_PAUSE)
            found &= look()
    return sorted(found, key=lambda one: (one.law, one.tenant, one.row))
