from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fhir_bridge.errors import StoreUnavailable
from fhir_bridge.store.turns import Turns


def waiting(turns, whose):
    with turns._lock:
        return len(turns._lines.get(whose, ()))


def test_turns_of_one_tenant_come_one_by_one_in_the_order_they_were_asked_for():
    turns, came, inside = Turns(), [], []

    def write(n):
        with turns.of("a"):
            inside.append(n)
            assert inside == [n]
            came.append(n)
            inside.clear()

    with ThreadPoolExecutor(20) as pool, turns.of("a"):
        for n in range(20):
            pool.submit(write, n)
            while waiting(turns, "a") < n + 2:
                time.sleep(0.001)
        assert came == []
    assert came == list(range(20))


def test_nobody_waits_for_another_tenant_and_a_line_that_is_empty_is_forgotten():
    turns = Turns()
    with turns.of("a"), turns.of("b"):
        assert (waiting(turns, "a"), waiting(turns, "b")) == (1, 1)
    assert not turns._lines


def test_who_does_not_get_a_turn_in_time_holds_up_nobody_behind():
    turns, let_go, got = Turns(), threading.Event(), threading.Event()

    def hold():
        with turns.of("a"):
            got.set()
            let_go.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    got.wait(10)
    with pytest.raises(StoreUnavailable), turns.of("a", seconds=0.01):
        pass
    let_go.set()
    with turns.of("a"):
        pass
    holder.join()
