"""Audit rows: written with what they tell about, told by time without loss, found by their columns."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text
from store_making import TENANT, new, put

from fhir_bridge.store import audit, resources
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.store.audit_search import From, FromPlace, Shelf
from fhir_bridge.store.filter import (
    ALL,
    NOTHING,
    And,
    Chain,
    Contains,
    Filter,
    Ids,
    Keys,
    Not,
    OfType,
    Or,
    Prefix,
    Present,
    Stamped,
)

COMPARTMENT = 1
ROWS = (
    AuditRow(TENANT, "r1", "create", 201, "c1", None, "Media", "m1", address="127.0.0.1"),
    AuditRow(TENANT, "r2", "search-type", 403, "c1", "Practitioner/p", query="Media?x", issue="forbidden"),
    AuditRow(TENANT, "r3", "everything", 500, patient="Patient/p9"),
)
SHELF = Shelf(
    {
        1: (From("patient"),),
        2: (FromPlace(), From("patient")),
        3: (From("action"), From("action", "urn:a|")),
        4: (From("outcome"),),
        5: (From("verb"), From("operation", "urn:o|")),
        6: (From(before="rest"),),
        7: (From("address"),),
    }
)


def record(store, *rows):
    store.write(lambda conn: audit.record(conn, rows, compartment=COMPARTMENT))


def recorded(store):
    return [row for _, row in store.read(lambda conn: audit.recorded(conn, TENANT, count=99))]


def found(store, node, **asked):
    page = store.read(
        lambda conn: SHELF.search(conn, Filter(TENANT, node), **({"after": None, "count": 9} | asked)),
    )
    told = store.read(lambda conn: audit.told(conn, TENANT, [row.seq for row in page.rows]))
    return [told[row.seq].row.request for row in page.rows]


def test_rows_are_told_in_the_order_they_were_written_each_tenant_its_own(store):
    record(store, *ROWS[:2])
    record(store, AuditRow("other", "r", "read", 404), ROWS[2])
    record(store)

    told = store.read(lambda conn: audit.recorded(conn, TENANT, count=9))

    assert [row.request for _, row in told] == ["r1", "r2", "r3"]
    assert told[0][1] == ROWS[0]
    assert store.read(lambda conn: audit.recorded(conn, TENANT, after=told[0][0], count=9)) == told[1:]


def test_a_name_that_is_no_interaction_is_that_of_an_operation(store):
    record(store, AuditRow(TENANT, "a", "$everything", 200), AuditRow(TENANT, "b", "retry", 200))
    numbers = [n for n, _ in store.read(lambda conn: audit.recorded(conn, TENANT, count=9))]

    told = store.read(lambda conn: audit.told(conn, TENANT, numbers))

    assert [(one.row.verb, one.operation) for one in told.values()] == [
        ("operation", "everything"),
        ("operation", "retry"),
    ]


def test_the_patient_is_that_of_the_resource_as_it_is_now_also_when_it_is_deleted(store):
    put(store, new("e1", type_="Encounter", keys=[(COMPARTMENT, "Patient/p1"), (2, "x")]))
    row = AuditRow(TENANT, "r", "read", 200, type="Encounter", id="e1")
    record(store, row)
    store.write(lambda conn: resources.remove(conn, TENANT, "Encounter", "e1", author=None))
    record(store, row, AuditRow(TENANT, "r", "read", 200, type="Encounter", id="e1", patient="Patient/other"))
    record(store, AuditRow(TENANT, "r", "read", 200, type="Binary", id="b", via="Encounter/e1"))
    record(store, AuditRow("other", "r", "read", 404, type="Encounter", id="e1"))

    assert [row.patient for row in recorded(store)] == ["Patient/p1", "Patient/p1", "Patient/other", "Patient/p1"]


def test_a_row_is_kept_only_if_what_it_tells_about_is(store):
    def half(conn):
        audit.record(conn, ROWS[:1], compartment=COMPARTMENT)
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        store.write(half)

    assert recorded(store) == []


@pytest.mark.parametrize(
    ("node", "requests"),
    [
        (ALL, ["r3", "r2", "r1"]),
        (NOTHING, []),
        (OfType(("AuditEvent", "Media")), ["r3", "r2", "r1"]),
        (OfType(("Media",)), []),
        (Keys(1, ("Patient/p9",)), ["r3"]),
        (Keys(2, ("Media/m1", "Patient/p9", "odd")), ["r3", "r1"]),
        (Keys(3, ("C",)), ["r1"]),
        (Keys(3, ("urn:a|E",)), ["r3", "r2"]),
        (Not(Keys(3, ("C",))), ["r3", "r2"]),
        (Keys(4, ("0", "8")), ["r3", "r1"]),
        (Keys(5, ("operation",)), ["r3"]),
        (Keys(5, ("urn:o|everything", "search-type")), ["r3", "r2"]),
        (Keys(6, ("rest",)), ["r3", "r2", "r1"]),
        (Keys(6, ("x",)), []),
        (Keys(99, ("x",)), []),
        (Prefix(7, "127.0"), ["r1"]),
        (Contains(7, ".0."), ["r1"]),
        (Contains(7, ""), ["r1"]),
        (Not(Prefix(7, "127.0")), ["r3", "r2"]),
        (Present(1), ["r3"]),
        (Not(Present(1)), ["r2", "r1"]),
        (Not(Keys(2, ("Media/m1",))), ["r3", "r2"]),
        (And((Present(2), Not(Present(1)))), ["r1"]),
        (Or((Present(1), Present(7))), ["r3", "r1"]),
        (Stamped(low_ms=0), ["r3", "r2", "r1"]),
        (Stamped(below_ms=0), []),
        (Ids(("x", "01", "9" * 30, "")), []),
        (Chain(1, ("Patient",), ALL), []),
    ],
)
def test_rows_are_found_by_what_their_columns_say(store, node, requests):
    record(store, *ROWS)

    assert found(store, node) == requests
    assert store.read(lambda conn: SHELF.total(conn, Filter(TENANT, node))) == len(requests)


def test_rows_are_found_by_their_number_and_told_in_the_order_asked_for(store):
    record(store, *ROWS)
    second = store.read(lambda conn: audit.recorded(conn, TENANT, count=9))[1][0]

    assert found(store, Ids((str(second),))) == ["r2"]
    assert found(store, ALL, order=(resources.ByTime(descending=False),)) == ["r1", "r2", "r3"]
    assert found(store, ALL, order=(resources.ById(descending=False),)) == ["r1", "r2", "r3"]


def test_pages_are_stable_while_rows_are_added(store):
    record(store, *ROWS)
    whole = Filter(TENANT)
    first = store.read(lambda conn: SHELF.search(conn, whole, after=None, count=2))
    record(store, AuditRow(TENANT, "later", "read", 200))

    rest = store.read(lambda conn: SHELF.search(conn, whole, after=first.following, count=2))

    assert [row.seq for row in first.rows] > [row.seq for row in rest.rows]
    assert len({row.seq for row in (*first.rows, *rest.rows)}) == 3
    assert rest.following is None


def test_the_newest_rows_are_read_off_an_index(sqlite_settings):
    from fhir_bridge.store import Store  # noqa: PLC0415 - only this one looks at plans of SQLite

    store = Store.open(sqlite_settings).of_all()
    asked = "EXPLAIN QUERY PLAN SELECT n FROM audit WHERE tenant = 'd' {} ORDER BY at_ms DESC, n DESC LIMIT 9"

    def plan(more):
        return " ".join(row[3] for row in store.read(lambda conn: conn.execute(text(asked.format(more))).all()))

    assert "audit_at" in plan("")
    assert "audit_patient" in plan("AND patient IN ('Patient/1')")
    assert "audit_entity" in plan("AND type = 'Media' AND id = '1'")
    assert "TEMP B-TREE" not in plan("") + plan("AND patient IN ('Patient/1')")
    store.close()


def test_who_polls_by_time_sees_every_row_once_whoever_writes(store):
    """Rows are stamped before they are committed: without the horizon the slower of two would be lost."""
    done, rounds, seen = threading.Event(), 40, []

    def write(name):
        for n in range(rounds):
            record(store, AuditRow(TENANT, f"{name}-{n}", "read", 200))

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]

    def poll():
        since, last = 0, False
        while not last:
            last = done.is_set()
            until = store.write(audit.horizon)
            node = Stamped(since, until)
            seen.extend(found(store, node, count=999, order=(resources.ByTime(descending=False),)))
            since = until

    poller = threading.Thread(target=poll)
    for thread in (*writers, poller):
        thread.start()
    for thread in writers:
        thread.join()
    threading.Event().wait(0.01)  # the clock of the last look is past the last row
    done.set()
    poller.join()

    assert sorted(seen) == sorted(f"{name}-{n}" for name in "abcd" for n in range(rounds))
