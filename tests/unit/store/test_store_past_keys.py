"""Keys of past versions go; what is there now, and newer snapshots, are found as before."""

from __future__ import annotations

from sqlalchemy import func, select
from store_making import MINE, TENANT, new, put

from fhir_bridge.store import past_keys, resources, tables, verify
from fhir_bridge.store.filter import Keys

X = MINE.narrowed(Keys(1, ("x",)))


def drop(store, before_ms: int) -> bool:
    return store.write(lambda conn: past_keys.drop(conn, TENANT, before_ms=before_ms))


def found(store, snapshot: int | None = None) -> list[int]:
    return [row.seq for row in store.read(lambda conn: resources.search(conn, X, snapshot=snapshot, count=9)).rows]


def keys(store) -> int:
    return store.read(lambda conn: conn.execute(select(func.count()).select_from(tables.key)).scalar())


def test_keys_of_versions_replaced_before_a_time_are_dropped_and_no_others(store):
    rows = [put(store, new(keys=[(1, "x")]))[0] for _ in range(4)]

    assert drop(store, rows[2].at_ms) is False

    assert keys(store) == 3  # of versions 2, 3 and 4: the first was replaced by the second
    assert store.read(lambda conn: resources.snapshot(conn, TENANT)).keys_from == 2
    assert [found(store, snapshot) for snapshot in (None, 2, 3, 4)] == [[4], [2], [3], [4]]
    assert drop(store, rows[3].at_ms + 1) is False
    assert keys(store) == 1
    assert found(store) == [4]
    assert store.read(verify.findings) == ()


def test_a_deletion_keeps_its_keys_for_those_who_may_see_it(store):
    put(store, new(keys=[(1, "x")]))
    gone = store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "e1", author=None))

    drop(store, gone.at_ms + 1)

    assert store.read(lambda conn: resources.read(conn, X, "Encounter", "e1")).deleted


def test_dropping_many_is_done_in_several_turns(store, monkeypatch):
    monkeypatch.setattr(past_keys, "_AT_ONCE", 2)
    rows = [put(store, new(keys=[(1, "x")]))[0] for _ in range(5)]

    assert [drop(store, rows[-1].at_ms + 1) for _ in range(4)] == [True, True, False, False]
    assert keys(store) == 1


def test_nothing_is_dropped_where_nothing_was_written(store):
    assert drop(store, 2**50) is False
