"""Small resources to fill a store with."""

from __future__ import annotations

from fhir_bridge.store import Filter, NewVersion, Store, resources

TENANT = "default"
MINE = Filter(TENANT)


def new(id_: str = "e1", *, type_: str = "Encounter", keys=(), **changes) -> NewVersion:
    """A small resource whose keys are given as (param, value) or (param, value, high)."""
    all_keys = tuple((*key, None)[:3] for key in keys)
    before, after = f'{{"resourceType":"{type_}","id":"{id_}","meta":{{', '},"status":"planned"}'
    return NewVersion(
        **{
            "type": type_,
            "id": id_,
            "before": before,
            "after": after,
            "keys": all_keys,
            "method": "POST",
            "author": "ehr",
        }
        | changes
    )


def put(store: Store, *versions: NewVersion, tenant: str = TENANT, expect: int | None = None):
    return store.write(lambda conn: resources.put(conn, tenant, versions, expect=expect))
