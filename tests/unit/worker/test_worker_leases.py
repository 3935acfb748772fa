"""What a worker holds, and when it must stop."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from fhir_bridge import clock, points
from fhir_bridge.errors import Fenced, StoreUnavailable
from fhir_bridge.store import jobs, resources
from fhir_bridge.store.engine import MOST_CONNECTIONS
from fhir_bridge.store.jobs import Claim
from fhir_bridge.worker.leases import Cancelled, Leases, Stopping
from fhir_bridge.worker.rooms import Rooms, Run


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

    def of_all(self):
        return self

    def write(self, _fn):
        raise StoreUnavailable("away")

    def close(self):
        """Nothing was opened."""


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


def test_a_stream_that_was_broken_off_for_a_late_renewal_is_not_taken_for_heard(ward):
    media = ward.record(ward.admit(), 200)
    ward.work(1)
    late = []

    def stands_still(point):
        if point == "stream.words" and not late:
            late.extend(ward.rooms.leases._holds.values())  # what this worker holds now
            late[0].renewed -= ward.rooms.leases.seconds
            late[0].tell()
            ward.rooms.leases.renew()

    points.watch(stands_still)
    ward.work(1)
    points.watch(None)

    assert late
    assert ward.task_of(media)["status"] == "in-progress"


def test_a_job_that_another_took_over_is_lost_at_the_next_renewal(ward):
    with ward.rooms.leases.holding(CLAIM) as hold:
        ward.rooms.leases.renew()
        with pytest.raises(Fenced):
            hold.check()


def test_a_lease_that_was_given_up_is_not_had_again_by_a_renewal_that_comes_late(ward):
    claim = ward.claimed()
    with ward.rooms.leases.holding(claim) as hold:
        hold.renewed -= ward.rooms.leases.seconds
        with pytest.raises(Fenced):
            hold.check()

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


def test_what_is_held_is_renewed_while_every_other_connection_is_taken(postgres_settings):
    rooms = Rooms.open(postgres_settings, boot="boot-1")
    store, taken, let_go = rooms.store.of_all(), threading.Semaphore(0), threading.Event()
    job = store.write(lambda conn: jobs.create(conn, jobs.NewJob("media", "default", "e", "m", "t")))
    claimed = store.write(lambda conn: jobs.claim(conn, job.ticket, owner="boot-1", lease_seconds=30.0))

    def take(_connection):
        taken.release()
        let_go.wait(60)

    with ThreadPoolExecutor(MOST_CONNECTIONS) as pool:
        for _ in range(MOST_CONNECTIONS):
            pool.submit(store.read, take)
        assert all(taken.acquire(timeout=60) for _ in range(MOST_CONNECTIONS))
        with rooms.leases.holding(Claim(claimed.id, claimed.epoch, "boot-1")) as hold:
            before = hold.renewed
            rooms.leases.renew()
            assert hold.renewed > before
        let_go.set()
    rooms.close()


def test_what_is_only_kept_does_not_wait_for_the_row_of_its_tenant(postgres_settings):
    rooms = Rooms.open(postgres_settings, boot="boot-1")
    store = rooms.store.of_all()
    job = store.write(lambda conn: jobs.create(conn, jobs.NewJob("media", "default", "e", "m", "t")))
    claimed = store.write(lambda conn: jobs.claim(conn, job.ticket, owner="boot-1", lease_seconds=30.0))
    held, kept, others = threading.Event(), threading.Event(), ThreadPoolExecutor(1)

    def write_slowly(conn):
        resources.hold(conn, "default")
        held.set()
        assert kept.wait(30), "what another stream heard waits for this"

    with rooms.leases.holding(Claim(claimed.id, claimed.epoch, "boot-1")) as hold:
        writing = others.submit(store.write, write_slowly)
        assert held.wait(30)
        Run(rooms, claimed, hold).write(changes={"acked_ms": 1_000})
        kept.set()
        writing.result(30)
    others.shutdown()
    assert store.read(lambda conn: jobs.by_id(conn, job.id)).acked_ms == 1_000
    rooms.close()
