"""What a worker holds, and when it must stop."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from fhir_bridge import clock
from fhir_bridge.errors import Fenced, StoreUnavailable
from fhir_bridge.store.jobs import Claim
from fhir_bridge.worker.leases import Cancelled, Leases, Stopping


class Lab(clock.Clock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> datetime:
        return datetime(2026, 11, 22, tzinfo=UTC)


class Away:
    """A store that cannot be reached."""

    def write(self, _fn):
        raise StoreUnavailable("away")


CLAIM = Claim("job", 1, "boot-1")


@pytest.fixture
def lab():
    with clock.use(Lab()) as made:
        yield made


@pytest.fixture
def leases():
    made = Leases(Away(), owner="boot-1", seconds=30.0)
    yield made
    made.close()


@pytest.mark.parametrize(("seconds", "stops"), [(19.9, False), (20.1, True)])
def test_a_worker_that_cannot_renew_stops_by_its_own_clock(lab, leases, seconds, stops):
    with leases.holding(CLAIM) as hold:
        lab.at += seconds
        if stops:
            with pytest.raises(Fenced):
                hold.check()
        else:
            hold.check()


def test_an_interrupt_reaches_a_run_that_waits_elsewhere(leases):
    told = []
    with leases.holding(CLAIM) as hold, hold.interrupting(told.append):
        leases.stop()

    assert [type(sign) for sign in told] == [Stopping]


def test_without_a_sign_nobody_is_interrupted(leases):
    told = []
    with leases.holding(CLAIM) as hold, hold.interrupting(told.append):
        hold.tell()

    assert told == []


def test_a_wait_ends_with_the_sign_to_stop(leases):
    with leases.holding(CLAIM) as hold:
        threading.Timer(0.1, leases.stop).start()
        with pytest.raises(Stopping):
            hold.wait(20)


def test_a_job_cancelled_before_it_was_claimed_stops_before_its_first_step(leases):
    with leases.holding(CLAIM, cancel=True) as hold, pytest.raises(Cancelled):
        hold.check()


def test_a_job_that_another_took_over_is_lost_at_the_next_renewal(ward):
    with ward.rooms.leases.holding(CLAIM) as hold:
        ward.rooms.leases.renew()
        with pytest.raises(Fenced):
            hold.check()


def test_a_store_that_is_away_does_not_end_the_renewing():
    leases = Leases(Away(), owner="boot-1", seconds=0.03)
    leases.start()
    with leases.holding(CLAIM) as hold:
        lost = threading.Event()
        with hold.interrupting(lambda sign: lost.set() if isinstance(sign, Fenced) else None):
            assert lost.wait(5)
    leases.close()
