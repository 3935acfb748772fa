"""The circuit towards a Corti: closed, open, and half open for one of many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from fhir_bridge.store import circuits, tables
from fhir_bridge.store.circuits import FIRST_SECONDS, LONGEST_SECONDS, MOST_SECONDS, TRIAL_SECONDS, Line

EU, US = Line("default", "eu"), Line("default", "us")
HOUR_MS = 3_600_000


@pytest.fixture
def breaker(store):
    class Breaker:
        def fail(self, line=EU, **options):
            return store.write(lambda conn: circuits.fail(conn, line, **{"most": 3} | options))

        def wait(self, line=EU):
            return store.write(lambda conn: circuits.wait(conn, line))

        def close(self, line=EU):
            return store.write(lambda conn: circuits.close(conn, line))

        def open_count(self):
            return store.read(circuits.count_open)

        def turn_clock(self, ms):
            """Let `ms` pass, as far as the circuit can tell."""
            until = tables.circuit.c.until_ms
            store.write(lambda conn: conn.execute(update(tables.circuit).values(until_ms=until - ms)))

    return Breaker()


def test_some_failures_in_a_row_open_it_and_one_answer_between_them_does_not(breaker):
    assert [breaker.fail(), breaker.fail()] == [None, None]
    breaker.close()
    assert [breaker.fail(), breaker.fail()] == [None, None]
    assert breaker.wait() is None

    assert breaker.fail() == FIRST_SECONDS
    assert 0 < breaker.wait() <= FIRST_SECONDS
    assert breaker.open_count() == 1


def test_another_region_is_another_circuit(breaker):
    breaker.fail(most=1)

    assert breaker.wait(US) is None


def test_corti_s_own_time_opens_it_at_once_and_for_no_longer_than_an_hour(breaker):
    assert breaker.fail(retry_after=120) == 120
    assert 60 < breaker.wait() <= 120
    assert breaker.fail(US, retry_after=10**6) == MOST_SECONDS


def test_after_the_pause_one_of_many_tries(breaker):
    breaker.fail(most=1)
    breaker.turn_clock(HOUR_MS)

    with ThreadPoolExecutor(8) as pool:
        waits = sorted(pool.map(lambda _: breaker.wait(), range(16)))

    assert waits[0] == 0
    assert all(0 < wait <= TRIAL_SECONDS for wait in waits[1:])


def test_when_the_one_who_tries_is_never_heard_of_again_another_may(breaker):
    breaker.fail(most=1)
    breaker.turn_clock(HOUR_MS)
    assert breaker.wait() == 0

    breaker.turn_clock(int(TRIAL_SECONDS * 1000) + 1)

    assert breaker.wait() == 0


def test_each_trial_that_fails_opens_it_for_twice_as_long_up_to_a_bound(breaker):
    pauses = [breaker.fail(most=1)]
    for _ in range(8):
        breaker.turn_clock(HOUR_MS)
        assert breaker.wait() == 0
        pauses.append(breaker.fail(tried=True))

    assert pauses[:3] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS]
    assert pauses[-1] == LONGEST_SECONDS


def test_failures_of_runs_that_were_under_way_do_not_prolong_it(breaker):
    breaker.fail(most=1)

    assert [breaker.fail() for _ in range(10)] == [None] * 10
    assert breaker.wait() <= FIRST_SECONDS


def test_the_answer_to_a_trial_closes_it(breaker):
    breaker.fail(most=1)
    breaker.turn_clock(HOUR_MS)
    breaker.wait()

    assert breaker.close() is True
    assert breaker.wait() is None
    assert breaker.close() is False
    assert breaker.open_count() == 0


def test_a_pause_from_another_wall_clock_does_not_last(breaker):
    breaker.fail(most=1)
    breaker.turn_clock(-2 * HOUR_MS)

    assert breaker.wait() == 0
