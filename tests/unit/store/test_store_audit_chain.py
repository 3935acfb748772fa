"""The audit is sealed row by row, and what was altered, moved or taken away since is found."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text
from store_making import TENANT

from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import audit, audit_chain, oauth, tables
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.worker.sealing import AT_ONCE, seal

KEYS = KeyRing(b"a key for tests only")
OTHER = "other"


@pytest.fixture
def sealed(store):
    """Two tenants with rows of each other between theirs, all sealed, and one row that is not yet."""
    store.write(lambda conn: oauth.add_tenant(conn, oauth.new_tenant(OTHER, KEYS)))
    for n in range(6):
        tell(store, TENANT, n)
        tell(store, OTHER, n)
    assert seal(store, KEYS) == 12
    tell(store, TENANT, 6)
    return store


def tell(store, tenant: str, n: int) -> None:
    row = AuditRow(tenant, f"r{n}", "read", 200, "c", type="Encounter", id=f"e{n}", patient="Patient/ü", query="a=b")
    store.write(lambda conn: audit.record(conn, [row], compartment=1))


def broken(store) -> list[tuple[str, str, str]]:
    found = store.read(lambda conn: tuple(audit_chain.broken(conn, oauth.chains(conn, KEYS))))
    return [(each.law, each.tenant, each.row) for each in found]


def change(store, statement: str) -> None:
    if store.url.get_backend_name() == "postgresql":
        statement = statement.replace("user =", '"user" =')
    store.write(lambda conn: conn.execute(text(statement)))


def test_an_audit_nobody_touched_is_whole_before_and_after_it_is_sealed(store):
    assert broken(store) == []
    assert seal(store, KEYS) == 0
    tell(store, TENANT, 1)
    assert broken(store) == []
    assert (seal(store, KEYS), seal(store, KEYS)) == (1, 0)
    tell(store, TENANT, 2)
    assert broken(store) == []
    assert seal(store, KEYS) == 1
    assert broken(store) == []


ROWS, END = "the audit is as it was sealed", "the audit ends where it was sealed"


@pytest.mark.parametrize(
    "column", [c.name for c in tables.audit.c if c.name not in {"n", "tenant", "status", "at_ms", "hash", "erased"}]
)
def test_a_row_of_which_any_word_was_altered_is_found(sealed, column):
    change(sealed, f"UPDATE audit SET {column} = 'altered' WHERE n = 5")  # noqa: S608 - a column of ours

    assert broken(sealed) == [(ROWS, TENANT, "5")]


@pytest.mark.parametrize(
    ("broken_by", "found"),
    [
        ("UPDATE audit SET status = 404 WHERE n = 5", [(ROWS, TENANT, "5")]),
        ("UPDATE audit SET at_ms = at_ms + 1 WHERE n = 5", [(ROWS, TENANT, "5")]),
        ("UPDATE audit SET query = NULL WHERE n = 5", [(ROWS, TENANT, "5")]),
        ("UPDATE audit SET hash = 'forged' WHERE n = 5", [(ROWS, TENANT, "5"), (ROWS, TENANT, "7")]),
        ("UPDATE audit SET hash = NULL WHERE n = 5", [(ROWS, TENANT, "5"), (ROWS, TENANT, "7")]),
        ("UPDATE audit SET erased = 'forged', query = NULL WHERE n = 5", [(ROWS, TENANT, "5")]),
        ("DELETE FROM audit WHERE n = 5", [(ROWS, TENANT, "7")]),
        ("DELETE FROM audit WHERE n = 1", [(ROWS, TENANT, "3")]),
        ("DELETE FROM audit WHERE n IN (1, 3, 5)", [(ROWS, TENANT, "7")]),
        ("DELETE FROM audit WHERE n = 11", [(END, TENANT, "9")]),
        ("DELETE FROM audit WHERE tenant = 'default'", [(END, TENANT, "0")]),
        ("DELETE FROM audit_head WHERE tenant = 'default'", [(END, TENANT, "11")]),
        ("UPDATE audit_head SET n = n - 2 WHERE tenant = 'default'", [(END, TENANT, "11")]),
        ("UPDATE audit_head SET seal = 'forged' WHERE tenant = 'default'", [(END, TENANT, "11")]),
        ("UPDATE audit SET n = 100 WHERE n = 5", [(ROWS, TENANT, "7"), (ROWS, TENANT, "100"), (END, TENANT, "100")]),
        (
            "UPDATE audit SET tenant = 'other' WHERE n = 5",
            [(ROWS, OTHER, "5"), (ROWS, OTHER, "6"), (ROWS, TENANT, "7")],
        ),
        ("UPDATE audit SET tenant = 'nobody' WHERE n = 5", [(ROWS, "nobody", "5"), (ROWS, TENANT, "7")]),
    ],
)
def test_what_was_done_to_the_audit_is_found(sealed, broken_by, found):
    change(sealed, broken_by)

    assert broken(sealed) == found


def test_two_rows_that_changed_places_are_found(sealed):
    for old, new in ((5, 0), (7, 5), (0, 7)):
        change(sealed, f"UPDATE audit SET n = {new} WHERE n = {old}")  # noqa: S608 - numbers

    assert broken(sealed) == [(ROWS, TENANT, "5"), (ROWS, TENANT, "7"), (ROWS, TENANT, "9")]


def test_rows_taken_from_the_end_with_the_end_moved_back_are_found(sealed):
    change(sealed, "DELETE FROM audit WHERE tenant = 'default' AND n > 7")
    link = "(SELECT hash FROM audit WHERE n = 7)"
    change(sealed, f"UPDATE audit_head SET n = 7, hash = {link} WHERE tenant = 'default'")  # noqa: S608 - ours

    assert broken(sealed) == [(END, TENANT, "7")]


def test_rows_put_in_before_the_end_are_found(sealed):
    columns = "tenant, at_ms, request, verb, status"
    change(sealed, f"INSERT INTO audit (n, {columns}) SELECT 0, {columns} FROM audit WHERE n = 1")  # noqa: S608 - ours

    assert broken(sealed) == [(ROWS, TENANT, "0")]
    assert seal(sealed, KEYS) == 1  # the honest row after the end, and not that one
    assert broken(sealed) == [(ROWS, TENANT, "0")]


def test_who_does_not_have_the_key_cannot_seal(sealed):
    forged = oauth.new_tenant(TENANT, KEYS).open_chain(KEYS)  # another key than the tenant's own
    change(sealed, "UPDATE audit SET query = 'forged', hash = NULL WHERE n > 4 AND tenant = 'default'")
    link = sealed.read(lambda conn: audit_chain._before(conn, forged, 5))
    change(sealed, f"UPDATE audit_head SET n = 3, hash = '{link}' WHERE tenant = 'default'")  # noqa: S608 - ours
    sealed.write(lambda conn: audit_chain.seal(conn, forged, upto=99, count=99))

    assert len(broken(sealed)) == 6  # each row that was sealed anew, and the end


def test_a_row_erased_keeps_its_place_and_what_is_left_of_it_is_sealed(sealed):
    chain = sealed.read(lambda conn: oauth.tenant(conn, TENANT)).open_chain(KEYS)
    erased = [(n, {"patient": "Patient/erased", "query": None}) for n in (1, 5, 7, 13, 99)]
    assert sealed.write(lambda conn: audit_chain.rewrite(conn, chain, erased)) == 4

    assert broken(sealed) == []
    assert seal(sealed, KEYS) == 1
    assert broken(sealed) == []
    for statement, found in (
        ("UPDATE audit SET patient = 'Patient/another' WHERE n = 5", "5"),
        ("UPDATE audit SET erased = NULL WHERE n = 7", "7"),
        ("DELETE FROM audit WHERE n = 3", "5"),  # what was before an erased row is bound to it still
    ):
        change(sealed, statement)
        assert (ROWS, TENANT, found) in broken(sealed)


def test_those_who_seal_at_once_make_one_chain(sealed):
    for n in range(3 * AT_ONCE):
        if n % 7 == 0:
            tell(sealed, OTHER, n)
        tell(sealed, TENANT, n)
    ready = threading.Barrier(6)

    def at_once(_):
        ready.wait(10)
        return seal(sealed, KEYS)

    with ThreadPoolExecutor(6) as pool:
        counts = list(pool.map(at_once, range(6)))

    assert sum(counts) == 1 + 3 * AT_ONCE + len(range(0, 3 * AT_ONCE, 7))
    assert broken(sealed) == []


def test_a_row_that_is_committed_late_is_sealed_in_its_place(store):
    """Its number is the lower one: sealing does not go past it before it is there."""
    told, go = threading.Event(), threading.Event()

    def slow(conn):
        audit.record(conn, [AuditRow(TENANT, "slow", "read", 200)], compartment=1)
        told.set()
        go.wait(10)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(store.write, slow)
        told.wait(10)
        second = pool.submit(tell, store, TENANT, 2)
        sealing = pool.submit(seal, store, KEYS)
        go.set()
        for each in (first, second):
            each.result(10)
        sealing.result(10)
    seal(store, KEYS)

    assert broken(store) == []
    assert not store.read(audit_chain.is_open)


def test_a_row_that_waits_too_long_for_its_seal_is_found_once(store):
    tell(store, TENANT, 1)
    tell(store, TENANT, 2)
    change(store, f"UPDATE audit SET at_ms = at_ms - {audit_chain.LATE_MS + 1}")  # noqa: S608 - a number

    assert broken(store) == [("audit rows are sealed within a quarter of an hour", TENANT, "1")]


def test_sealing_stops_when_it_is_asked_to(sealed):
    assert seal(sealed, KEYS, stopping=lambda: True) == 0


def test_each_end_is_told_to_the_log_where_whoever_writes_tables_cannot_change_it(sealed, caplog):
    caplog.set_level("INFO", logger="fhir_bridge")
    seal(sealed, KEYS)

    head = sealed.read(lambda conn: conn.execute(text("SELECT n, hash FROM audit_head WHERE tenant = 'default'")).one())
    [event] = [json.loads(record.getMessage()) for record in caplog.records if record.name == "fhir_bridge"]
    assert event.items() >= {"event": "audit.sealed", "tenant": TENANT, "n": 13, "rows": 1, "link": head.hash}.items()
    assert head.n == 13


# --- rows whose time is over -------------------------------------------------------------------

BEGINNING = "the audit begins where its oldest rows were taken away when their time was over"


def shed(store, *, before_ms: int = 2**62, count: int = 100, tenant: str = TENANT) -> int:
    [chain] = [each for each in store.read(lambda conn: oauth.chains(conn, KEYS)) if each.tenant == tenant]
    return store.write(lambda conn: audit_chain.shed(conn, chain, before_ms=before_ms, count=count))


def numbers(store, tenant: str = TENANT) -> list[int]:
    rows = select(tables.audit.c.n).where(tables.audit.c.tenant == tenant).order_by(tables.audit.c.n)
    return list(store.read(lambda conn: conn.execute(rows).scalars().all()))


def test_an_audit_whose_oldest_rows_are_gone_is_whole_and_goes_on(sealed):
    assert (shed(sealed, count=2), numbers(sealed)) == (2, [5, 7, 9, 11, 13])
    assert broken(sealed) == []
    assert seal(sealed, KEYS) == 1
    assert shed(sealed) == 4
    assert (numbers(sealed), len(numbers(sealed, OTHER)), broken(sealed)) == ([13], 6, [])
    tell(sealed, TENANT, 9)
    assert (seal(sealed, KEYS), broken(sealed)) == (1, [])


def test_rows_that_are_younger_or_not_sealed_stay_and_so_do_those_behind_them(sealed):
    change(sealed, "UPDATE audit SET at_ms = 5 WHERE n IN (1, 5)")

    assert shed(sealed, before_ms=6) == 1
    assert numbers(sealed) == [3, 5, 7, 9, 11, 13]
    assert shed(sealed) == 4
    assert numbers(sealed) == [11, 13]


def test_a_row_erased_before_the_beginning_or_behind_it_keeps_the_chain_whole(sealed):
    [chain] = [each for each in sealed.read(lambda conn: oauth.chains(conn, KEYS)) if each.tenant == TENANT]
    sealed.write(lambda conn: audit_chain.rewrite(conn, chain, [(3, {"query": None}), (5, {"query": None})]))
    shed(sealed, count=2)
    assert broken(sealed) == []

    sealed.write(lambda conn: audit_chain.rewrite(conn, chain, [(5, {"patient": None})]))

    assert broken(sealed) == []


@pytest.mark.parametrize(
    ("broken_by", "found"),
    [
        ("DELETE FROM audit WHERE n = 5", [(ROWS, TENANT, "7")]),
        ("UPDATE audit_head SET start_n = 5 WHERE tenant = 'default'", [(BEGINNING, TENANT, "5")]),
        (
            "UPDATE audit_head SET start_n = 5, start_hash = (SELECT hash FROM audit WHERE n = 5) WHERE start_n = 3",
            [(BEGINNING, TENANT, "5"), (ROWS, TENANT, "5")],
        ),
        ("UPDATE audit_head SET start_seal = NULL WHERE tenant = 'default'", [(BEGINNING, TENANT, "3")]),
        (
            "UPDATE audit_head SET start_n = 0, start_seal = NULL, start_hash = '' WHERE tenant = 'default'",
            [(ROWS, TENANT, "5")],
        ),
        (
            "UPDATE audit SET n = 2 WHERE n = 11",
            [(ROWS, TENANT, "2"), (ROWS, TENANT, "5"), (END, TENANT, "9")],
        ),
    ],
)
def test_who_takes_rows_away_in_the_name_of_their_time_is_found(sealed, broken_by, found):
    shed(sealed, count=2)
    if " n = 2" in broken_by:
        change(sealed, "DELETE FROM audit WHERE tenant = 'other'")  # makes room
        found = [*found, (END, OTHER, "0")]
    change(sealed, broken_by)

    assert sorted(broken(sealed)) == sorted(found)


def test_a_beginning_without_its_seal_is_named(sealed):
    shed(sealed, count=1)
    change(sealed, "UPDATE audit_head SET start_n = 0 WHERE tenant = 'default'")

    assert BEGINNING in {law for law, _, _ in broken(sealed)}
