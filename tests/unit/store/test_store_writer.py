"""Writing: what was acknowledged is there, whole, in order, and nothing else is."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from store_making import MINE, TENANT, new, put

from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.settings import Settings
from fhir_bridge.store import Store, engine, resources, tables, verify, writer
from fhir_bridge.store.filter import Stamped

HERE = Path(__file__).parent


@pytest.fixture
def sqlite(sqlite_settings):
    opened = Store.open(sqlite_settings).of_all()
    yield opened
    opened.close()


def count(store: Store) -> int:
    return store.read(lambda conn: resources.total(conn, MINE))


def in_threads(number: int, do):
    """Run `do(n)` in `number` threads that start together; return what each returned or raised."""
    start = threading.Barrier(number)

    def run(n: int):
        start.wait()
        try:
            return do(n)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


class Held:
    """A closure that keeps the writer busy until it is let go, so that others form one group behind it."""

    def __init__(self, store: Store) -> None:
        self._busy, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=store.write, args=(self._wait,))

    def _wait(self, _) -> None:
        self._busy.set()
        self._go.wait(10)

    def __enter__(self) -> None:
        self._thread.start()
        self._busy.wait(10)

    def __exit__(self, *_) -> None:
        self._go.set()
        self._thread.join()


def as_one_group(store: Store, closures):
    """Write closures that are all waiting when the writer comes for them."""
    with ThreadPoolExecutor(len(closures)) as pool:
        with Held(store):
            futures = []
            for n, closure in enumerate(closures, 1):
                futures.append(pool.submit(store.write, closure))
                _until(lambda n=n: store._house.doors()._writer._waiting.qsize() == n)
        return [future.exception() or future.result() for future in futures]


def _until(holds) -> None:
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.005)
    pytest.fail("did not happen within five seconds")


# --- order -------------------------------------------------------------------------------


def test_sixteen_threads_get_numbers_without_gaps_and_times_in_the_same_order(store):
    def write(n: int):
        return [put(store, *(new(f"{n}-{i}-{k}") for k in range(i % 3 + 1))) for i in range(10)]

    rows = [row for writes in in_threads(16, write) for some in writes for row in some]

    rows.sort(key=lambda row: row.seq)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    assert [row.at_ms for row in rows] == sorted(row.at_ms for row in rows)
    assert store.read(verify.findings) == ()


def test_of_sixteen_threads_that_claim_one_value_exactly_one_gets_it(store):
    for value in range(5):

        def claim(n: int, value: int = value):
            mine = resources.Once(f"{n}", "Encounter", f"e{value}-{n}")

            def write(conn):
                other = resources.once(conn, TENANT, "identifier", str(value), mine=mine)
                return other or resources.put(conn, TENANT, (new(mine.id),))

            return store.write(write)

        outcomes = in_threads(16, claim)

        winners = [outcome for outcome in outcomes if not isinstance(outcome, resources.Once)]
        assert len(winners) == 1
        assert {outcome.id for outcome in outcomes if isinstance(outcome, resources.Once)} == {winners[0][0].id}
    assert count(store) == 5


def test_what_was_stamped_before_the_barrier_is_seen_after_it(store):
    stamped, go = threading.Event(), threading.Event()

    def slow(conn):
        row = resources.put(conn, TENANT, (new(),))
        stamped.set()
        go.wait(10)
        return row

    with ThreadPoolExecutor(2) as pool:
        written = pool.submit(store.write, slow)
        stamped.wait(10)
        assert count(store) == 0  # stamped, not yet visible: a poll now must not close its window
        passed = pool.submit(store.barrier, TENANT)
        time.sleep(0.2)
        assert not passed.done()
        go.set()
        passed.result(10)
        assert count(store) == 1
        written.result(10)


def test_a_write_that_waited_for_its_turn_is_stamped_after_the_barrier_it_waited_for(store):
    """It took its time before the poll; stamped with that time, the next poll would never ask for it."""
    polled = {}

    def holding(conn):
        """The row as a barrier holds it, for longer than one does."""
        row = select(tables.tenant.c.id).where(tables.tenant.c.id == TENANT)
        conn.execute(row.with_for_update(read=True))
        time.sleep(0.3)
        polled["ms"] = time.time() * 1000

    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(store.write, holding)
        time.sleep(0.1)
        (row,) = put(store, new())
        held.result(10)

    assert row.at_ms >= int(polled["ms"])


def test_a_poller_that_passes_the_barrier_misses_nothing_and_one_that_follows_the_snapshot_repeats_nothing(store):
    done = threading.Event()

    def write(n: int):
        return [put(store, new(f"{n}-{i}"))[0].seq for i in range(60)]

    def poll_by_clock(_):
        seen, since = set(), 0
        while True:
            last_turn = done.is_set()
            asked = int(time.time() * 1000)
            store.barrier(TENANT)
            where = MINE.narrowed(Stamped(low_ms=since))
            page = store.read(lambda conn, where=where: resources.search(conn, where, count=1000))
            seen |= {row.seq for row in page.rows}
            since = asked
            if last_turn:
                return seen

    def poll_by_snapshot(_):
        seen, since = [], 0
        while True:
            last_turn = done.is_set()

            def later(conn, since=since):
                now = resources.snapshot(conn, TENANT)
                where = MINE.narrowed(Stamped(low_ms=since + 1))
                return now, resources.search(conn, where, snapshot=now.seq, count=1000).rows

            now, rows = store.read(later)
            seen += [row.seq for row in rows]
            since = now.at_ms
            if last_turn:
                return seen

    with ThreadPoolExecutor(6) as pool:
        pollers = [pool.submit(poll_by_clock, None), pool.submit(poll_by_snapshot, None)]
        written = [seq for seqs in pool.map(write, range(4)) for seq in seqs]
        done.set()
        by_clock, by_snapshot = (poller.result(60) for poller in pollers)

    assert by_clock == set(written)
    assert sorted(by_snapshot) == sorted(written)


def test_a_reader_sees_one_moment_whatever_is_committed_meanwhile(store):
    put(store, new("a"))

    def twice(conn):
        before = resources.total(conn, MINE)
        put(store, new("b"))
        return before, resources.total(conn, MINE)

    assert store.read(twice) == (1, 1)
    assert count(store) == 2


def test_a_reader_cannot_write(store):
    with pytest.raises(StoreUnavailable):
        store.read(lambda conn: resources.put(conn, TENANT, (new(),)))
    assert count(store) == 0


# --- errors ------------------------------------------------------------------------------


def test_a_closures_error_reaches_its_caller_and_undoes_what_it_did(store):
    def broken(conn):
        resources.put(conn, TENANT, (new("broken"),))
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        store.write(broken)

    assert count(store) == 0
    put(store, new("a"))
    assert store.read(verify.findings) == ()


def test_a_closures_error_is_nothing_to_the_others_of_its_group(sqlite):
    def broken(conn):
        resources.put(conn, TENANT, (new("broken"),))
        raise LookupError

    def doubled(conn):
        row = {"tenant": TENANT, "kind": "k", "val": "v", "digest": "d", "type": "Encounter", "id": "a"}
        conn.execute(insert(tables.once), [row, row])

    before = lambda conn: resources.put(conn, TENANT, (new("before"),))  # noqa: E731 - one write, named
    after = lambda conn: resources.put(conn, TENANT, (new("after"),))  # noqa: E731 - one write, named

    first, second, third, last = as_one_group(sqlite, [before, broken, doubled, after])

    assert isinstance(second, LookupError)
    assert type(third).__name__ == "IntegrityError"
    assert (first[0].seq, last[0].seq) == (1, 2)
    assert sqlite.read(verify.findings) == ()


def test_a_lost_transaction_fails_its_whole_group_and_keeps_nothing_of_it(sqlite):
    def lost(conn):
        conn.exec_driver_sql("ROLLBACK")
        raise LookupError

    written = [lambda conn, n=n: resources.put(conn, TENANT, (new(f"e{n}"),)) for n in range(3)]

    outcomes = as_one_group(sqlite, [*written, lost])

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 4
    assert count(sqlite) == 0
    put(sqlite, new())
    assert count(sqlite) == 1


def test_a_closure_that_ends_the_transaction_and_says_nothing_is_found_out(sqlite):
    written = lambda conn: resources.put(conn, TENANT, (new(),))  # noqa: E731 - one write, named

    outcomes = as_one_group(sqlite, [written, lambda conn: conn.exec_driver_sql("ROLLBACK")])

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
    assert count(sqlite) == 0


def test_a_failed_commit_fails_its_whole_group(sqlite):
    def unkept_promise(conn):
        conn.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
        conn.execute(
            text("INSERT INTO client (id, tenant, name, scope, created_ms) VALUES ('c', 'nobody', 'n', 's', 0)")
        )

    written = lambda conn: resources.put(conn, TENANT, (new(),))  # noqa: E731 - one write, named

    outcomes = as_one_group(sqlite, [written, unkept_promise])

    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
    assert count(sqlite) == 0
    assert put(sqlite, new())[0].seq == 1


def test_on_a_full_disk_nothing_is_acknowledged_that_is_not_there(sqlite):
    def limit(pages: int):
        return lambda conn: conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}").scalar()

    size = sqlite.write(lambda conn: conn.exec_driver_sql("PRAGMA page_count").scalar())
    sqlite.write(limit(size + 40))
    filler = "x" * 3_000

    def write(n: int):
        outcomes = []
        for i in range(20):
            try:
                outcomes += put(sqlite, new(f"{n}-{i}", after=f'}},"text":"{filler}"}}', keys=[(1, f"{n}-{i}")]))
            except StoreUnavailable as error:
                outcomes.append(error)
        return outcomes

    outcomes = [outcome for some in in_threads(8, write) for outcome in some]

    acknowledged = {outcome.id for outcome in outcomes if isinstance(outcome, resources.Row)}
    there = {row.id for row in sqlite.read(lambda conn: resources.search(conn, MINE, count=500)).rows}
    assert 0 < len(acknowledged) < 160
    assert there == acknowledged
    assert sqlite.read(verify.findings) == ()
    sqlite.write(limit(1_000_000))
    put(sqlite, new("space again"))


def test_a_locked_file_fails_the_write_and_the_next_one_is_done(sqlite, sqlite_settings, monkeypatch):
    for module in (engine, writer):
        monkeypatch.setattr(module, "BUSY_SECONDS", 0.2)
    with sqlite3.connect(sqlite_settings.data_dir / engine.FILE, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            put(sqlite, new())
        with pytest.raises(StoreUnavailable):
            sqlite.barrier(TENANT)
        other.execute("ROLLBACK")
    other.close()

    assert put(sqlite, new())[0].seq == 1


def test_a_lost_backend_fails_the_write_and_the_next_one_is_done(postgres_settings):
    store = Store.open(postgres_settings).of_all()

    def dies(conn):
        resources.put(conn, TENANT, (new(),))
        conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(StoreUnavailable):
        store.write(dies)

    assert put(store, new())[0].seq == 1
    store.close()


def test_a_database_that_is_not_there_is_unavailable(tmp_path):
    nowhere = "postgresql+psycopg://bridge@127.0.0.1:1/bridge?connect_timeout=2"
    store = Store.open(Settings(data_dir=tmp_path, database_url=nowhere)).of_all()

    with pytest.raises(StoreUnavailable) as caught:
        count(store)

    assert caught.value.retry_after == 1
    store.close()


def test_a_write_inside_a_write_is_refused(sqlite):
    with pytest.raises(RuntimeError, match="must not call"):
        sqlite.write(lambda _: sqlite.write(lambda _: None))


# --- processes ---------------------------------------------------------------------------


def test_more_requests_than_a_group_holds_are_all_answered(sqlite, monkeypatch):
    monkeypatch.setattr(writer, "GROUP", 2)

    closures = [lambda conn, n=n: resources.put(conn, TENANT, (new(f"e{n}"),)) for n in range(7)]

    assert [outcome[0].vid for outcome in as_one_group(sqlite, closures)] == [1] * 7
    assert count(sqlite) == 7


def test_closing_answers_what_was_asked_and_refuses_what_comes_later(sqlite):
    with ThreadPoolExecutor(2) as pool:
        with Held(sqlite):
            written = pool.submit(put, sqlite, new())
            _until(lambda: sqlite._house.doors()._writer._waiting.qsize() == 1)
            doors = sqlite._house.doors()
            closed = pool.submit(sqlite.close)
            _until(lambda: doors._writer._closed)
            with pytest.raises(StoreUnavailable):
                doors.write(lambda _: None, "default")
        assert written.result(10)[0].seq == 1
        closed.result(10)
    with pytest.raises(StoreUnavailable):
        count(sqlite)
    sqlite.close()


def test_threads_that_are_first_at_once_share_what_the_first_of_them_opened(sqlite):
    with ThreadPoolExecutor(2) as pool:
        with sqlite._house._making:
            firsts = [pool.submit(sqlite._house.doors) for _ in range(2)]
            time.sleep(0.1)
        one, other = (first.result(10) for first in firsts)

    assert one is other


def test_a_store_that_was_never_used_can_be_closed(sqlite_settings):
    Store.open(sqlite_settings).close()


def in_fork(do) -> int:
    """Run `do` in a forked process; return its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from Python 3.12 on, of forking with threads about: that is the test
        child = os.fork()
    if child == 0:
        done = 1
        try:
            do()
            done = 0
        finally:
            os._exit(done)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_forked_process_writes_through_connections_of_its_own(store):
    put(store, new("parent"))

    assert in_fork(lambda: put(store, new("child")) and store.close()) == 0

    put(store, new("parent again"))
    assert count(store) == 3
    assert store.read(verify.findings) == ()


def test_a_store_closed_in_a_forked_process_stays_open_in_its_parent(store):
    put(store, new("parent"))

    assert in_fork(store.close) == 0

    put(store, new("parent again"))
    assert count(store) == 2


def test_two_writes_that_wait_for_each_other_crosswise_are_both_done(postgres_settings):
    store = Store.open(postgres_settings).of_all()
    put(store, new())
    both = threading.Barrier(2)

    def crosswise(n: int):
        meeting = [both]

        def write(conn):
            first, second = (lambda: resources.hold(conn, TENANT)), (lambda: conn.execute(text("LOCK TABLE once")))
            first() if n else second()
            if meeting:
                meeting.pop().wait(10)
            second() if n else first()
            return resources.put(conn, TENANT, (new(f"{n}"),))

        return store.write(write)

    rows = in_threads(2, crosswise)

    assert sorted(row.seq for (row,) in rows) == [2, 3]
    store.close()


@pytest.mark.parametrize("seconds", [0.15, 0.4, 0.7])
def test_what_a_killed_process_had_acknowledged_is_there(sqlite_settings, seconds):
    command = [sys.executable, str(HERE / "killed_writer.py"), str(sqlite_settings.data_dir)]
    acknowledged: set[str] = set()
    for name in ("one", "two"):
        process = subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own script
        first = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=20)
        acknowledged |= {line for line in (first + rest).split("\n") if line.startswith(name)}
        assert process.returncode == -signal.SIGKILL

    store = Store.open(sqlite_settings).of_all()
    there = {row.id for row in store.read(lambda conn: resources.search(conn, MINE, count=20_000)).rows}
    assert len(acknowledged) > 2
    assert acknowledged <= there
    assert store.read(verify.findings) == ()
    store.close()
