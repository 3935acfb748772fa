"""What searches read behind the second wall: as much as they would without it (decision 19)."""

from __future__ import annotations

from contextlib import closing

import pytest
from sqlalchemy import create_engine
from store_counting import pages_read
from store_making import MINE, TENANT, new, put

from fhir_bridge.store import Store, resources
from fhir_bridge.store.filter import Chain, Contains, Ids, Keys, OfType, Prefix, Reverse

NAME, STATUS, SUBJECT = 1, 4, 5
PEOPLE = 20_000
ONE = Keys(NAME, ("name000077",))
SEARCHES = {
    "token": ("Patient", ONE, 100),
    "start of a text": ("Patient", Prefix(NAME, "name00007"), 200),
    "part of a text": ("Patient", Contains(NAME, "me00007"), 5_000),
    "id": ("Patient", Ids(("p77",)), 100),
    "reference": ("Encounter", Keys(SUBJECT, ("Patient/p77",)), 100),
    "chain": ("Encounter", Chain(SUBJECT, ("Patient",), ONE), 100),
    "_has": ("Patient", Reverse("Encounter", SUBJECT, Ids(("e77",))), 100),
}


@pytest.fixture
def clinic(postgres_settings):
    """Twenty thousand patients, each with a visit."""
    with closing(Store.open(postgres_settings)) as opened:
        store = opened.of(TENANT)
        for begin in range(0, PEOPLE, 2_000):
            several = range(begin, begin + 2_000)
            put(store, *(new(f"p{n}", type_="Patient", keys=[(NAME, f"name{n:06d}")]) for n in several))
            put(store, *(new(f"e{n}", keys=[(STATUS, "s"), (SUBJECT, f"Patient/p{n}")]) for n in several))
        store.write(lambda conn: conn.exec_driver_sql("ANALYZE"))
        yield store


@pytest.fixture
def above(postgres):
    """The same database, seen by a role for which policies do not hold."""
    engine = create_engine(postgres.get_uri("bridge").replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_policy_keeps_no_search_from_its_index(clinic, above):
    snapshot = clinic.read(lambda conn: resources.snapshot(conn, TENANT)).seq
    for name, (type_, node, most) in SEARCHES.items():
        where = MINE.narrowed(OfType((type_,)), node)

        def page(conn, where=where):
            return resources.search(conn, where, snapshot=snapshot, count=20).rows

        behind = clinic.read(lambda conn, page=page: pages_read(conn, page))

        assert clinic.read(page), name
        assert behind <= 2 * pages_read(above, page) + 20, name
        assert behind < most, name
