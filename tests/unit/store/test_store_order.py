"""Sorted searches: each row once, in the order asked for, page by page both ways, at a price that does not grow."""

from __future__ import annotations

from dataclasses import replace
from functools import cmp_to_key

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_counting import pages_read
from store_making import MINE, TENANT, new, put

from fhir_bridge import clock
from fhir_bridge.store import Filter, oauth, resources
from fhir_bridge.store.filter import ALL, Chain, Keys, OfType, Reverse
from fhir_bridge.store.history import Told, history
from fhir_bridge.store.resources import ById, ByKey, ByTime

NAME, CODE, COMMON = 1, 2, 3

values = st.sampled_from([" ", "a", "A", "b", "s|a", "s|b", "a\\|b", "\\\\|c", "t|"])
keys = st.lists(st.tuples(st.sampled_from([NAME, CODE]), values), max_size=4, unique=True)
by = st.one_of(
    st.builds(ByKey, st.sampled_from([NAME, CODE, 9]), st.booleans()),
    st.builds(ByKey, st.just(CODE), st.booleans(), st.just("s|")),
    st.builds(lambda down: ByKey(CODE, down, bare=True), st.booleans()),
    st.builds(ById, st.booleans()),
    st.builds(ByTime, st.booleans()),
)
# Each write of up to three resources shares a time; names repeat, so some are new versions.
writes = st.lists(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), keys), min_size=1, max_size=3, unique_by=lambda each: each[0]),
    min_size=1,
    max_size=6,
)


def bare(val: str) -> bool:
    return "|" not in val.replace("\\\\", "").replace("\\|", "")


def value(one, by_one) -> object:
    """What a row is sorted by; None: it has nothing of the kind."""
    row, has = one
    match by_one:
        case ById():
            return row.id
        case ByTime():
            return row.at_ms
    found = [val for param, val in has if param == by_one.param and val.startswith(by_one.begins)]
    found = [val for val in found if bare(val)] if by_one.bare else found
    return (max if by_one.descending else min)(found, default=None)


def before(order):
    newest_first = order[0].descending if order else True
    if order and isinstance(order[-1], ByTime):
        newest_first = order[-1].descending

    def compare(one, other) -> int:
        for each in order:
            mine, theirs = value(one, each), value(other, each)
            if mine != theirs:
                if mine is None or theirs is None:
                    return 1 if mine is None else -1
                return (1 if mine > theirs else -1) * (-1 if each.descending else 1)
        return (1 if one[0].seq > other[0].seq else -1) * (-1 if newest_first else 1)

    return cmp_to_key(compare)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(told=writes, order=st.lists(by, max_size=3).map(tuple), count=st.integers(1, 4), filtered=st.booleans())
def test_every_order_tells_each_row_once_and_the_same_way_back(store, told, order, count, filtered):
    tenant = clock.new_id()
    store.write(lambda conn: oauth.add_tenant(conn, oauth.Tenant(tenant, "-")))
    there = {}
    for several in told:
        rows = put(store, *(new(id_, keys=[*has, (COMMON, "x")]) for id_, has in several), tenant=tenant)
        there |= {row.id: (row, has) for row, (_, has) in zip(rows, several, strict=True)}
    mine = Filter(tenant, Keys(COMMON, ("x",)) if filtered else ALL)
    snapshot = store.read(lambda conn: resources.snapshot(conn, tenant)).seq

    def page(after):
        return store.read(
            lambda conn: resources.search(conn, mine, snapshot=snapshot, after=after, count=count, order=order)
        )

    pages = [page(None)]
    while pages[-1].following is not None:
        pages.append(page(pages[-1].following))
    back = [pages[-1]]
    while back[-1].previous is not None:
        back.append(page(back[-1].previous))

    wanted = [row.id for row, _ in sorted(there.values(), key=before(order))]
    assert [row.id for each in pages for row in each.rows] == wanted
    assert [each.rows for each in reversed(back)] == [each.rows for each in pages]
    assert [each.following for each in reversed(back)] == [each.following for each in pages]


# --- what a page costs --------------------------------------------------------------------

ON_A_PAGE = 20
ALL_OF_THEM = 1_001 * ON_A_PAGE
ORDERS = {
    "newest first": (),
    "oldest first": (ByTime(),),
    "by id": (ById(),),
    "by date": (ByKey(NAME),),
    "by date, latest first": (ByKey(NAME, descending=True),),
    "by one of three codes": (ByKey(CODE, begins="s|"),),
}


def counted(store, do) -> int:
    """Count what a read does to the database: steps of SQLite's machine, pages that PostgreSQL looks at."""
    return store.read(lambda conn: (_steps if conn.dialect.name == "sqlite" else pages_read)(conn, do))


def _steps(conn, do) -> int:
    steps = [0]

    def step() -> int:
        steps[0] += 10
        return 0

    driver = conn.connection.driver_connection
    driver.set_progress_handler(step, 10)
    do(conn)
    driver.set_progress_handler(None, 0)
    return steps[0]


@pytest.fixture
def full(store):
    for begin in range(0, ALL_OF_THEM, 4_004):
        put(
            store,
            *(
                new(f"e{n}", keys=[(NAME, f"{n * 7919 % ALL_OF_THEM:05d}"), (CODE, f"s{n % 3}"), (CODE, f"s|s{n % 3}")])
                for n in range(begin, begin + 4_004)
            ),
        )
    if store.url.get_backend_name() == "postgresql":  # what autovacuum does a minute later
        store.write(lambda conn: conn.exec_driver_sql("ANALYZE"))
    return store


def test_the_thousandth_page_costs_what_the_first_costs(full):
    """Not the very last one of an order by key: it has to ask what else there is without that key."""
    snapshot = full.read(lambda conn: resources.snapshot(conn, TENANT)).seq
    where = MINE.narrowed(OfType(("Encounter",)))
    for name, order in ORDERS.items():

        def page(conn, after=None, order=order, count=ON_A_PAGE):
            return resources.search(conn, where, snapshot=snapshot, after=after, count=count, order=order)

        far = full.read(lambda conn, page=page: page(conn, count=998 * ON_A_PAGE))
        reached = full.read(lambda conn, page=page, after=far.following: page(conn, after))
        first = counted(full, page)
        last = counted(full, lambda conn, after=reached.following: page(conn, after))
        back = counted(full, lambda conn, after=reached.previous: page(conn, after))

        assert len(reached.rows) == ON_A_PAGE
        assert max(last, back) <= 2 * first + 50, name
        assert first < ALL_OF_THEM / 2, name


@pytest.fixture
def rewritten(full):
    """One visit among the others that was written as often as there are rows on a thousand pages of two."""
    for _ in range(1_001):
        put(full, new("often"))
        put(full, new("often"))
    return full


HISTORIES = {
    "of all": (Told(0), ON_A_PAGE),
    "of a type": (Told(0, types=("Encounter",)), ON_A_PAGE),
    "of a time": (Told(0, since=10, types=("Encounter",)), ON_A_PAGE),
    "of one": (Told(0, types=("Encounter",), id="often"), 2),
}


def test_the_thousandth_page_of_a_history_costs_what_the_first_costs(rewritten):
    snapshot = rewritten.read(lambda conn: resources.snapshot(conn, TENANT)).seq
    for name, (of, on_a_page) in HISTORIES.items():
        told = replace(of, snapshot=snapshot)

        def page(conn, after=None, count=on_a_page, told=told):
            return history(conn, MINE, told, after=after, count=count)

        far = rewritten.read(lambda conn, page=page, count=998 * on_a_page: page(conn, count=count))
        reached = rewritten.read(lambda conn, page=page, after=far.following: page(conn, after))
        first = counted(rewritten, page)
        last = counted(rewritten, lambda conn, page=page, after=reached.following: page(conn, after))
        back = counted(rewritten, lambda conn, page=page, after=reached.previous: page(conn, after))

        assert len(reached.rows) == on_a_page
        assert max(last, back) <= 2 * first + 50, name
        assert first < ALL_OF_THEM / 2, name


# --- what a chain costs -------------------------------------------------------------------

REFERS, STATUS = 4, 5
PAIRS = 3_000


@pytest.fixture
def chained(store):
    """Encounters of two statuses, each with an Observation of one of a hundred codes."""
    for begin in range(0, PAIRS, 500):
        visits = [new(f"e{n}", keys=[(STATUS, f"s{n % 2}")]) for n in range(begin, begin + 500)]
        found = [
            new(f"o{n}", type_="Observation", keys=[(REFERS, f"Encounter/e{n}"), (CODE, f"c{n % 100}")])
            for n in range(begin, begin + 500)
        ]
        put(store, *visits, *found)
    if store.url.get_backend_name() == "postgresql":
        store.write(lambda conn: conn.exec_driver_sql("ANALYZE"))
    return store


def test_a_chain_to_many_costs_a_look_at_each_and_one_to_few_no_look_at_the_others(chained):
    snapshot = chained.read(lambda conn: resources.snapshot(conn, TENANT)).seq
    to_many = MINE.narrowed(OfType(("Observation",)), Chain(REFERS, ("Encounter",), Keys(STATUS, ("s1",))))
    few = Keys(CODE, ("c7",))
    back_to_few = MINE.narrowed(OfType(("Encounter",)), Reverse("Observation", REFERS, few))
    back_to_many = MINE.narrowed(OfType(("Encounter",)), Reverse("Observation", REFERS, Keys(CODE, codes(50))))

    def total(where):
        return lambda conn: resources.total(conn, where, snapshot=snapshot)

    def page(where):
        return lambda conn: resources.search(conn, where, snapshot=snapshot, count=ON_A_PAGE).rows

    for where, number in ((to_many, PAIRS // 2), (back_to_few, PAIRS // 100), (back_to_many, PAIRS // 2)):
        assert chained.read(total(where)) == number
        assert len(chained.read(page(where))) == ON_A_PAGE
        assert counted(chained, total(where)) < 150 * PAIRS
        assert counted(chained, page(where)) < 150 * PAIRS
    one = counted(chained, total(MINE.narrowed(OfType(("Observation",)), few)))
    assert counted(chained, total(back_to_few)) < 20 * one
    assert counted(chained, page(back_to_few)) < 20 * one


def codes(number):
    return tuple(f"c{n}" for n in range(number))
