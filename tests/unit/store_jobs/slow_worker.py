"""A worker process for tests: `slow_worker.py URL (hang|finish)` claims what the queue gives it."""

from __future__ import annotations

import sys
import threading
import time

from conftest import Base

from fhir_bridge import clock
from fhir_bridge.store import jobs
from fhir_bridge.store.dispatch import Executor, Ledger, Limits, Ticket
from fhir_bridge.store.states import State
from fhir_bridge.worker.leases import Leases
from fhir_bridge.worker.sweep import sweep

LEASE = 1.0


def main(url: str, manner: str) -> None:
    base = Base.at(url)
    leases = Leases(base, owner=clock.new_id(), seconds=LEASE)
    leases.start()

    def run(job: str, epoch: int) -> None:
        got = base.write(lambda conn: jobs.claim(conn, Ticket(job, epoch), owner=leases.owner, lease_seconds=LEASE))
        if got is None:
            return
        with leases.holding(jobs.Claim(job, epoch, leases.owner)) as hold:
            base.write(lambda conn: jobs.advance(conn, hold.claim, state=State.INTERACTION_PENDING))
            if manner == "hang":
                threading.Event().wait()
            base.write(lambda conn: jobs.finish(conn, hold.claim, State.PUBLISHED))

    executor = Executor(url, Limits(worker=2, total=2), boot=leases.owner)
    executor.start(run)
    ledger = Ledger(url)
    while True:
        sweep(base, ledger, lease_seconds=LEASE)
        time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
