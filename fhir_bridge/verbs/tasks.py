"""The Task that shows a job from acceptance on, and what an EHR may do to it: cancel (ruling 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge import clock
from fhir_bridge.errors import BusinessRule
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.mapping.accepted import media_with_status
from fhir_bridge.mapping.task import JobView, restated, task_from_job
from fhir_bridge.store import jobs
from fhir_bridge.store.filter import Filter
from fhir_bridge.store.jobs import NewJob
from fhir_bridge.store.states import TERMINAL, State
from fhir_bridge.verbs.plan import Plan
from fhir_bridge.verbs.read import find
from fhir_bridge.verbs.record import new_version

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.versions import NewVersion
    from fhir_bridge.verbs.case import Case


def new_job(
    case: Case, *, encounter: str, subject: Json | None = None, media: str | None = None, binary: str | None = None
) -> tuple[NewVersion, NewJob]:
    """Return a job to be, and the first version of the Task that shows it."""
    now = clock.instant()
    view = JobView(
        task=clock.new_id(),
        state=State.STORED,
        encounter=encounter,
        authored=now,
        modified=now,
        media=media,
        subject=subject,
    )
    job = NewJob("media" if media else "interaction", case.grant.tenant, encounter, view.task, media, binary)
    return new_version(task_from_job(view), base=case.bridge.base), job


def plan(case: Case) -> Plan:
    """Plan one Task: those of jobs are the bridge's, an EHR may cancel them.

    A job that a worker holds stops at the worker's next step, and the worker says so; any
    other stops here.

    Raises:
        BusinessRule: anything else is changed, or the Task has ended.
    """
    job = case.bridge.store.read(lambda conn: jobs.by_id(conn, case.id))
    if job is None:
        return Plan((case.version(),))  # a Task of the EHR's own
    if case.current is None or case.json.get("status") != "cancelled":
        raise BusinessRule("Only the status of a Task can be changed, and only to cancelled", at="Task.status")
    if job.state in TERMINAL and job.state is not State.CANCELLED:
        raise BusinessRule(f"The Task has ended ({job.state}): it cannot be cancelled any more", at="Task.status")
    if job.owner is not None or job.state is State.CANCELLED:
        return Plan(cancel=(job.id,))
    versions = [case.version(restated(read(case.current.body), State.CANCELLED, at=clock.instant()))]
    if job.media is not None and (media := find(case.bridge, Filter(job.tenant), "Media", job.media)) is not None:
        versions.append(new_version(media_with_status(read(media.body), "stopped"), method="PUT"))
    return Plan(tuple(versions), cancel=(job.id,))
