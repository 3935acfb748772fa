"""Takes over from dead workers and keeps DBOS's counting true (reliability.md, rule 3).

Without the cancel the hospital stops: DBOS counts the runs of dead workers against its
limits for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from fhir_bridge import log, points
from fhir_bridge.store import jobs, shares
from fhir_bridge.store.dispatch import QUEUES, WAITING, Ledger, Ticket

if TYPE_CHECKING:
    from fhir_bridge.store import Store

# A job queued this many leases ago without a worker is looked at: 60 s at the lease of 30 s.
LATE: Final = 2.0


@dataclass(frozen=True)
class Swept:
    """What one sweep did."""

    taken_over: int = 0
    cancelled: int = 0
    deleted: int = 0


def sweep(store: Store, ledger: Ledger, *, lease_seconds: float, most_of_tenant: int | None = None) -> Swept:
    """Do one round; any number of workers may do it at the same time."""
    store = store.of_all()
    points.reached("sweep.begun")
    _share(store, ledger, most_of_tenant)
    unfinished = ledger.unfinished()
    taken_over = sum(_take_over(store, seen) for seen in _dead(store, unfinished, lease_seconds))
    points.reached("sweep.cancelling")
    cancelled = _cancel_past(store, ledger)
    points.reached("sweep.cancelled")
    done = Swept(taken_over, cancelled, ledger.forget_finished())
    if any((done.taken_over, done.cancelled)):
        log.event("sweep.done", taken_over=done.taken_over, cancelled=done.cancelled, deleted=done.deleted)
    return done


def _share(store: Store, ledger: Ledger, most: int | None) -> None:
    """Give each tenant its fair share of the slots, by what all of them ask for now."""
    for queue in QUEUES:
        ledger.share(queue, partial(_part, store.read(partial(shares.demand, kind=queue)), most))


def _part(demands: tuple[int, ...], most: int | None, total: int) -> int:
    return min(shares.fair(total, demands), most or total)


def _dead(store: Store, unfinished: dict[Ticket, str], lease_seconds: float) -> list[jobs.Job]:
    """Jobs whose lease ran out, and jobs that were queued long ago and that DBOS does not know to be waiting."""
    abandoned = store.read(lambda conn: jobs.abandoned(conn, lease_seconds=lease_seconds))
    waiting = store.read(lambda conn: jobs.waiting(conn, seconds=lease_seconds * LATE))
    return [*abandoned, *(job for job in waiting if unfinished.get(job.ticket) not in WAITING)]


def _take_over(store: Store, seen: jobs.Job) -> bool:
    points.reached("sweep.taking")
    if not store.write(lambda conn: jobs.take_over(conn, seen)):
        return False
    points.reached("sweep.taken")
    log.event("job.taken_over", job=seen.id, epoch=seen.epoch)
    return True


def _cancel_past(store: Store, ledger: Ledger) -> int:
    """Cancel every run below its job's epoch: of the jobs just taken over, and of sweeps that died half-way."""
    unfinished = ledger.unfinished()
    epochs = store.read(lambda conn: jobs.epochs(conn, {ticket.job for ticket in unfinished}))
    past = [ticket for ticket in unfinished if _is_past(ticket, epochs)]
    ledger.cancel(past)
    return len(past)


def _is_past(ticket: Ticket, epochs: dict[str, tuple[int, bool]]) -> bool:
    """A run of a job that has moved on, has ended, or is gone."""
    epoch, may_run = epochs.get(ticket.job, (ticket.epoch, False))
    return ticket.epoch < epoch or not may_run
