"""Seals the audit: what was told since the last round is bound to what was told before (security.md, row T)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from fhir_bridge import log
from fhir_bridge.store import audit_chain, oauth

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.keyring import KeyRing
    from fhir_bridge.store import Store
    from fhir_bridge.store.audit_chain import Chain

AT_ONCE: Final = 200  # rows in one transaction: others are waiting to write
MOST_STEPS: Final = 100  # of one tenant in one round; the rest comes next


def seal(store: Store, keys: KeyRing, *, stopping: Callable[[], bool] = lambda: False) -> int:
    """Do one round for every tenant; any number of workers may do it at the same time. Return how many rows."""
    everyone = store.of_all()
    if not everyone.read(audit_chain.is_open):
        return 0
    chains = everyone.read(lambda conn: oauth.chains(conn, keys))
    upto = everyone.write(audit_chain.sealable)
    return sum(_seal(store.of(chain.tenant), chain, upto, stopping) for chain in chains)


def _seal(store: Store, chain: Chain, upto: int, stopping: Callable[[], bool]) -> int:
    rows = 0
    for _ in range(MOST_STEPS):
        if stopping() or not store.read(partial(audit_chain.is_open, tenant=chain.tenant)):
            break
        count, head = store.write(partial(audit_chain.seal, chain=chain, upto=upto, count=AT_ONCE))
        rows += count
        if count < AT_ONCE:
            break
    if rows:
        log.event("audit.sealed", tenant=chain.tenant, n=head.n, rows=rows, link=head.link)
    return rows
