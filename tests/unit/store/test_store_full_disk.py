"""On a disk that fills up nothing is acknowledged that does not exist, whatever is being written (reliability.md)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from store_making import MINE, TENANT, new
from write_sites import KEYS, LONG, SITES

from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.store import Store, audit_chain, oauth, resources, tables

MOST = 60  # writes until the disk is full


@pytest.fixture
def sqlite(sqlite_settings):
    store = Store.open(sqlite_settings).of_all()
    yield store
    store.close()


def limit(store, *, more: int) -> None:
    """Let the database grow by so many pages, and no more."""
    pages = store.write(lambda conn: conn.exec_driver_sql("PRAGMA page_count").scalar())
    store.write(lambda conn: conn.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}"))


def counted(store) -> dict[str, int]:
    def count(conn):
        return {name: conn.execute(select(func.count()).select_from(table)).scalar_one() for name, table in all_}

    all_ = tables.metadata.tables.items()
    return store.read(count)


def written(store, site, n: int) -> bool:
    """Write a resource of its own and what the site writes, in one transaction; tell whether that was acknowledged."""

    def write(conn):
        resources.put(conn, TENANT, (new(f"e{n}", after=f'}},"text":"{LONG}"}}'),))
        site(conn, n)

    try:
        store.write(write)
    except StoreUnavailable:
        return False
    return True


@pytest.mark.parametrize("name", SITES)
def test_what_was_acknowledged_is_there_and_nothing_else_is(sqlite, name):
    """Several free spaces, several threads at once: the disk is full at another statement each time."""
    acknowledged: set[str] = set()
    refused, n = 0, 0
    for more in (2, 3, 5, 8):
        limit(sqlite, more=more)
        numbers = range(n, n + MOST // 4)
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda k: written(sqlite, SITES[name], k), numbers))
        acknowledged |= {f"e{k}" for k, kept in zip(numbers, done, strict=True) if kept}
        refused += done.count(False)
        n += len(numbers)

    there = {row.id for row in sqlite.read(lambda conn: resources.search(conn, MINE, count=500)).rows}
    if name != "a deletion":
        assert there == acknowledged
    assert refused
    seqs = sqlite.read(lambda conn: resources.snapshot(conn, TENANT)).seq
    assert seqs == counted(sqlite)["version"]
    chains = sqlite.read(lambda conn: oauth.chains(conn, KEYS))
    assert sqlite.read(lambda conn: tuple(audit_chain.broken(conn, chains))) == ()
    limit(sqlite, more=10**6)
    assert written(sqlite, SITES[name], n + 1)


def test_the_sites_are_at_least_as_many_as_was_promised():
    assert len(SITES) >= 20
