"""Reindexing: what was stored by an older version is found by the search parameters that are served now.

A parameter's number and meaning never change (fhir/rest/parameters), so only parameters can
be missing; versions, their times and the keys they have stay as they are.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.rest.keys import keys_of
from fhir_bridge.store import oauth, reindex

if TYPE_CHECKING:
    from fhir_bridge.store import Store
    from fhir_bridge.store.reindex import Indexed
    from fhir_bridge.store.versions import Key

AT_ONCE: Final = 200  # resources in one transaction: others are waiting to write


def run(store: Store, *, base: str | None) -> int:
    """Add the keys that current versions of all tenants lack; return how many had lacked some.

    May run beside a working bridge, and again after it was stopped: what is done is left alone.
    """
    return sum(_tenant(store.of(tenant.id), tenant.id, base) for tenant in store.of_all().read(oauth.tenants))


def _tenant(store: Store, tenant: str, base: str | None) -> int:
    changed, seq = 0, 0
    while rows := store.read(partial(reindex.after, tenant=tenant, seq=seq, count=AT_ONCE)):
        lacking = [(row.seq, keys) for row in rows if (keys := _lacking(row, base))]
        changed += store.write(partial(reindex.add, tenant=tenant, keys=lacking)) if lacking else 0
        seq = rows[-1].seq
    return changed


def _lacking(row: Indexed, base: str | None) -> tuple[Key, ...]:
    """List the keys of parameters that the version has none of."""
    keys = keys_of(read(row.body), base=base)
    return tuple((key.param, key.val, key.high) for key in keys if key.param not in row.params)
