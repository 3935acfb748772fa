"""Jobs stopped or begun again, and their Tasks with them, as one plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhir_bridge import clock
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.mapping.task import restated
from fhir_bridge.store.filter import Filter
from fhir_bridge.store.states import TERMINAL, State
from fhir_bridge.verbs.plan import Plan
from fhir_bridge.verbs.read import find
from fhir_bridge.verbs.record import new_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_bridge.store.jobs import Job
    from fhir_bridge.store.versions import NewVersion
    from fhir_bridge.verbs.bridge import Bridge


def stopped(bridge: Bridge, found: Iterable[Job]) -> Plan:
    """Stop jobs that have not ended: a worker that holds one says so itself, the others are shown as cancelled here."""
    seen = tuple(job for job in found if job.state not in TERMINAL)
    shown = (each for job in seen if job.owner is None for each in _shown(bridge, job, State.CANCELLED))
    return Plan(tuple(shown), seen=seen, cancel=tuple(job.id for job in seen))


def again(bridge: Bridge, job: Job) -> Plan:
    """Put a job that has ended back in its line; the run of any other will see what has changed."""
    shown = _shown(bridge, job, State.STORED) if job.state in TERMINAL else ()
    return Plan(shown, seen=(job,), again=(job.id,))


def _shown(bridge: Bridge, job: Job, state: State) -> tuple[NewVersion, ...]:
    """Return the next version of the job's Task, and of nothing later."""
    row = find(bridge, Filter(job.tenant), "Task", job.task)
    assert row is not None  # noqa: S101 - a job has its Task, which nobody can delete
    task = restated(read(row.body), state, at=clock.instant())
    return (replace(new_version(task, method="PUT", base=bridge.base), expect=row.vid),)
