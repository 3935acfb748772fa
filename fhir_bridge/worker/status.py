"""Task and Media as their job stands: computed from the one table of states, written in its transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fhir_bridge import clock
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.mapping.accepted import media_with_status
from fhir_bridge.mapping.task import JobView, job_state, task_from_job
from fhir_bridge.store.states import STATES, State
from fhir_bridge.verbs.record import new_version
from fhir_bridge.worker.interaction import known

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_bridge.errors import Issue
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.resources import NewVersion
    from fhir_bridge.worker.rooms import Run


@dataclass(frozen=True)
class Progress:
    """What a Task tells beside its status."""

    outputs: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = ()
    heard: float | None = None
    seconds: float | None = None


def versions_for(run: Run, state: State, progress: Progress | None = None) -> tuple[NewVersion, ...]:
    """Return what has to be written when the job goes to `state`: nothing when all shows it already."""
    return (*task_for(run, state, progress), *_media(run, state))


def go(run: Run, state: State, progress: Progress | None = None) -> None:
    """Bring the job to `state`, and Task and Media with it."""
    if run.job.state != state:
        run.write(versions_for(run, state, progress), state=state)


def task_for(run: Run, state: State, progress: Progress | None = None) -> Iterator[NewVersion]:
    """Return the Task that shows `state`: Task.businessStatus is the job's state itself, so each has a version."""
    task = run.resource("Task", run.job.task)
    if task is not None and (progress is not None or job_state(task) != state):
        yield new_version(_shown(run, state, task, progress or Progress()), method="PUT", base=run.rooms.base)


def _shown(run: Run, state: State, task: Json, progress: Progress) -> Json:
    subject = task.get("for")
    interaction = known(run)
    return task_from_job(
        JobView(
            task=run.job.task,
            state=state,
            encounter=run.job.encounter,
            authored=str(task["authoredOn"]),
            modified=clock.instant(),
            media=run.job.media,
            subject=subject if isinstance(subject, dict) else None,
            interaction=interaction.corti_id if interaction else None,
            outputs=progress.outputs,
            issues=progress.issues,
            heard=progress.heard,
            seconds=progress.seconds,
        )
    )


def _media(run: Run, state: State) -> Iterator[NewVersion]:
    """The bridge owns Media.status and nothing else of it (ruling 7); what an EHR entered in error stays so."""
    row = None if run.job.media is None else run.row("Media", run.job.media)
    if row is None:
        return
    media = read(row.body)
    if media.get("status") not in {STATES[state].media, "entered-in-error"}:
        shown = media_with_status(media, STATES[state].media)
        yield replace(new_version(shown, method="PUT", base=run.rooms.base), expect=row.vid)
