"""Queues, delays and limits as DBOS keeps them, with real processes that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table

from fhir_bridge.store import dispatch, jobs, shares
from fhir_bridge.store.dispatch import Executor, Ledger, Limits, Ticket
from fhir_bridge.store.states import State
from fhir_bridge.worker.sweep import sweep

WORKER = Path(__file__).with_name("slow_worker.py")


def start(base, manner):
    return subprocess.Popen([sys.executable, WORKER, base.url, manner])  # noqa: S603 - our own file


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def enqueue(base, ticket, **options):
    options = {"queue": "media", "tenant": "default"} | options
    base.write(lambda conn: dispatch.enqueue(conn, ticket, **options))


@pytest.fixture
def ledger(base):
    made = Ledger(base.url)
    yield made
    made.close()


@pytest.fixture
def executor(base):
    """An executor in this process, and the tickets it was given with the moments it got them."""
    got = []
    made = Executor(base.url, Limits(worker=4, total=4), boot="boot-1")
    made.start(lambda job, epoch: got.append((Ticket(job, epoch), time.monotonic())))
    yield got
    made.stop(0)


def test_what_is_enqueued_runs_once_with_its_job_and_epoch(base, executor):
    for n in range(5):
        enqueue(base, Ticket(f"job-{n}", 3), queue=dispatch.QUEUES[n % 2])

    until(lambda: len(executor) == 5)
    time.sleep(0.6)
    assert sorted(ticket.job for ticket, _ in executor) == [f"job-{n}" for n in range(5)]


def test_a_ticket_enqueued_twice_runs_once(base, executor):
    enqueue(base, Ticket("job", 1))
    enqueue(base, Ticket("job", 1))

    until(lambda: executor)
    time.sleep(0.6)
    assert len(executor) == 1


def test_a_delayed_ticket_does_not_run_before_its_time(base, executor):
    began = time.monotonic()
    enqueue(base, Ticket("job", 1), delay=1.5)

    until(lambda: executor)
    assert executor[0][1] - began >= 1.5


def test_finished_runs_are_forgotten(base, executor, ledger):
    enqueue(base, Ticket("job", 1))
    until(lambda: executor and not ledger.unfinished())

    assert ledger.forget_finished() == 1
    assert ledger.forget_finished() == 0


def test_no_more_interactions_begin_in_a_minute_than_allowed_even_when_their_rows_are_swept_away(base, ledger):
    got = []
    executor = Executor(base.url, Limits(worker=8, total=8, interactions=3), boot="boot-1")
    executor.start(lambda job, _epoch: got.append(job))
    for n in range(6):
        enqueue(base, Ticket(f"job-{n}", 1), queue="interaction")
    until(lambda: len(got) == 3)
    until(lambda: set(ledger.unfinished().values()) == {"ENQUEUED"})

    ledger.forget_finished()
    enqueue(base, Ticket("recording", 1))
    until(lambda: "recording" in got)
    time.sleep(1.0)
    executor.stop(0)

    assert len(got) == 4


def test_tenants_that_all_want_everything_get_an_equal_part(base, ledger):
    for name in ("north", "south"):
        base.tenant(name)
    loud, quiet = [base.job(tenant="north") for _ in range(8)], [base.job(tenant="south") for _ in range(2)]
    running, most, done = [], {"north": 0, "south": 0}, threading.Event()

    def run(job, _epoch):
        tenant = "north" if job in {each.id for each in loud} else "south"
        running.append(tenant)
        most[tenant] = max(most[tenant], running.count(tenant))
        done.wait(30)

    executor = Executor(base.url, Limits(worker=4, total=4, tenant=1), boot="boot-1")
    executor.start(run)
    sweep(base, ledger, lease_seconds=30)
    until(lambda: len(running) == 4)
    done.set()
    executor.stop(0)

    assert most == {"north": 2, "south": len(quiet)}


def test_what_others_do_not_ask_for_one_tenant_may_have(base, ledger):
    base.tenant("north")
    for _ in range(8):
        base.job(tenant="north")
    running, done = [], threading.Event()
    executor = Executor(base.url, Limits(worker=4, total=4, tenant=1), boot="boot-1")
    executor.start(lambda job, _epoch: (running.append(job), done.wait(30)))

    sweep(base, ledger, lease_seconds=30)

    until(lambda: len(running) == 4)
    done.set()
    executor.stop(0)


def test_a_bound_for_each_tenant_holds_when_nobody_else_wants_anything(base, ledger):
    base.tenant("north")
    for _ in range(8):
        base.job(tenant="north")
    running, done = [], threading.Event()
    executor = Executor(base.url, Limits(worker=4, total=4, tenant=2), boot="boot-1")
    executor.start(lambda job, _epoch: (running.append(job), done.wait(30)))
    sweep(base, ledger, lease_seconds=30, most_of_tenant=2)
    until(lambda: len(running) == 2)
    time.sleep(1.0)

    assert len(running) == 2
    done.set()
    executor.stop(0)


@pytest.mark.parametrize(
    ("total", "demands", "share"),
    [
        (100, (), 100),
        (100, (5,), 100),
        (100, (500,), 100),
        (100, (500, 500), 50),
        (100, (1, 500), 99),
        (100, (10, 20, 500, 500), 35),
        (100, (500, 500, 500), 34),
        (2, (9, 9, 9), 1),
    ],
)
def test_a_share_is_an_equal_part_of_what_the_modest_leave(total, demands, share):
    assert shares.fair(total, demands) == share


def test_an_executor_that_stops_lets_its_runs_come_back(base):
    begun, come_back = threading.Event(), threading.Event()

    def run(_job, _epoch):
        begun.set()
        time.sleep(0.5)
        come_back.set()

    executor = Executor(base.url, Limits(worker=1, total=1), boot="boot-1")
    executor.start(run)
    enqueue(base, Ticket("job", 1))
    assert begun.wait(10)
    executor.stop(5)

    assert come_back.is_set()


def test_nothing_dbos_keeps_is_pickled(base):
    enqueue(base, Ticket("job", 7))

    schema = None if base.store.url.get_backend_name() == "sqlite" else "dbos"
    table = Table("workflow_status", MetaData(), Column("serialization"), schema=schema)
    [row] = base.read(lambda conn: conn.execute(table.select()).mappings().all())
    assert row["serialization"] == "portable_json"


def test_a_job_dbos_does_not_know_is_dispatched_again(base, ledger):
    job = base.job()
    ledger.cancel([job.ticket])

    swept = sweep(base, ledger, lease_seconds=-1)

    assert swept.taken_over == 1
    assert ledger.unfinished() == {Ticket(job.id, job.epoch + 1): "ENQUEUED"}


def test_a_job_that_waits_in_the_queue_is_left_there(base, ledger):
    job = base.job()

    assert sweep(base, ledger, lease_seconds=-1).taken_over == 0
    assert base.now(job) == job


def test_a_sweep_ends_what_a_sweep_that_died_half_way_began(base, ledger):
    job = base.job()
    base.write(lambda conn: jobs.take_over(conn, job))
    assert len(ledger.unfinished()) == 2

    assert sweep(base, ledger, lease_seconds=30).cancelled == 1
    assert ledger.unfinished() == {base.now(job).ticket: "ENQUEUED"}


@pytest.mark.timeout(180)
def test_with_two_slots_and_both_workers_killed_ten_times_the_queue_still_drains(base, ledger):
    made = [base.job() for _ in range(6)]
    dead = {None}

    def owners():
        return [owner for job in made if (owner := base.now(job).owner) not in dead]

    for _ in range(10):
        workers = [start(base, "hang"), start(base, "hang")]
        until(lambda: len(owners()) == 2)
        for worker in workers:
            kill(worker)
        dead.update(owners())

    last = start(base, "finish")
    until(lambda: all(base.now(job).state == State.PUBLISHED for job in made), seconds=30)
    kill(last)
    sweep(base, ledger, lease_seconds=1)
    assert ledger.unfinished() == {}
    assert sum(base.now(job).epoch - job.epoch for job in made) >= 20
