"""What was stored before a search parameter existed is found by it after a reindex, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select
from store_making import MINE, TENANT, put

from fhir_bridge.fhir.rest.served import BY_TYPE
from fhir_bridge.store import reindex as rows
from fhir_bridge.store import resources, tables, verify
from fhir_bridge.store.filter import Keys
from fhir_bridge.verbs import reindex
from fhir_bridge.verbs.record import new_version

DECEASED = BY_TYPE["Patient"].param("deceased").number
DEAD = MINE.narrowed(Keys(DECEASED, ("true",)))
BASE = "https://bridge.example/fhir"


def old(id_: str, *, deceased: bool = True, method: str = "POST", **elements):
    """A Patient as it was stored before there was a parameter `deceased`."""
    json = {"resourceType": "Patient", "id": id_, "deceasedBoolean": deceased, **elements}
    made = new_version(json, method=method, base=BASE)
    return replace(made, keys=tuple(key for key in made.keys if key[0] != DECEASED))


def found(store) -> list[str]:
    return [row.id for row in store.read(lambda conn: resources.search(conn, DEAD, count=99)).rows]


def keys(store) -> list[tuple]:
    k = tables.key.c
    return [tuple(row) for row in store.read(lambda conn: conn.execute(select(tables.key).order_by(*k)).all())]


def versions(store) -> list[tuple]:
    v = tables.version.c
    return [tuple(row) for row in store.read(lambda conn: conn.execute(select(tables.version).order_by(v.seq)).all())]


def test_old_resources_are_found_by_a_newer_parameter_and_stay_the_versions_they_are(store, monkeypatch):
    monkeypatch.setattr(reindex, "AT_ONCE", 2)
    put(store, *(old(f"p{n}", deceased=n != 3) for n in range(5)))
    before, kept = versions(store), keys(store)
    assert found(store) == []

    assert reindex.run(store, base=BASE) == 5

    assert sorted(found(store)) == ["p0", "p1", "p2", "p4"]
    assert versions(store) == before
    assert set(keys(store)) > set(kept)
    assert store.read(verify.findings) == ()


def test_a_second_run_changes_nothing_and_one_that_was_stopped_goes_on(store, monkeypatch):
    monkeypatch.setattr(reindex, "AT_ONCE", 2)
    put(store, *(old(f"p{n}") for n in range(5)))
    [first, second] = store.read(lambda conn: rows.after(conn, TENANT, 0, count=2))
    added = [(row.seq, ((DECEASED, "true", None),)) for row in (first, second)]
    store.write(lambda conn: rows.add(conn, TENANT, added))

    assert reindex.run(store, base=BASE) == 3
    after = keys(store)
    assert reindex.run(store, base=BASE) == 0
    assert keys(store) == after


@pytest.mark.parametrize("meanwhile", ["rewritten", "deleted"])
def test_what_changes_while_it_is_read_gets_no_stale_keys(store, meanwhile):
    put(store, old("p"))
    [seen] = store.read(lambda conn: rows.after(conn, TENANT, 0, count=9))
    if meanwhile == "deleted":
        store.write(lambda conn: resources.remove(conn, TENANT, "Patient", "p", author=None))
    else:
        alive = {"resourceType": "Patient", "id": "p", "deceasedBoolean": False}
        put(store, new_version(alive, method="PUT", base=BASE))
    before = keys(store)

    assert store.write(lambda conn: rows.add(conn, TENANT, [(seen.seq, ((DECEASED, "true", None),))])) == 0

    assert keys(store) == before
    assert found(store) == []


def test_two_runs_at_once_add_the_same_keys_once(store):
    put(store, old("p"))
    [seen] = store.read(lambda conn: rows.after(conn, TENANT, 0, count=9))
    for _ in range(2):
        store.write(lambda conn: rows.add(conn, TENANT, [(seen.seq, ((DECEASED, "true", None),))]))

    assert found(store) == ["p"]
    assert reindex.run(store, base=BASE) == 0
