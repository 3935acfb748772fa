"""Media/$retry and Media/$cancel: the transcription of a recording begun again, or stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.errors import BusinessRule, Gone, NotFound, VersionConflict
from fhir_bridge.fhir.resource.models import Encounter, model_of
from fhir_bridge.fhir.resource.reader import read as read_json
from fhir_bridge.fhir.resource.tree import only, text
from fhir_bridge.mapping.accepted import media_with_status
from fhir_bridge.mapping.encounter import takes_recordings
from fhir_bridge.mapping.task import restated
from fhir_bridge.store import binaries, jobs, resources
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.store.filter import Filter
from fhir_bridge.store.states import TERMINAL, State
from fhir_bridge.verbs.conditional import settled
from fhir_bridge.verbs.plan import Moved, Plan, commit
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find, read
from fhir_bridge.verbs.record import new_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.jobs import Job
    from fhir_bridge.store.resources import Row
    from fhir_bridge.store.versions import NewVersion
    from fhir_bridge.verbs.bridge import Bridge

_ERROR: Final = "entered-in-error"


@dataclass(frozen=True)
class _Recording:
    """A Media, the job that transcribes it, and who asks in which request."""

    bridge: Bridge
    grant: Grant
    request: str
    row: Row
    job: Job

    @property
    def media(self) -> Json:
        return read_json(self.row.body)


def retry(bridge: Bridge, grant: Grant, id_: str, *, request: str) -> Row:
    """Put the ended job of a Media back in line, and answer with its Task.

    A job that failed or was cancelled goes on behind what was heard; one that is complete begins anew.

    Raises:
        BusinessRule: it is running, or what it needs is there no more.
    """
    return _changed(bridge, grant, (id_, request, "retry"), _again)


def cancel(bridge: Bridge, grant: Grant, id_: str, *, request: str) -> Row:
    """Stop the job of a Media, and answer with its Task; where a worker holds it, at the worker's next step.

    Raises:
        BusinessRule: it has ended otherwise.
    """
    return _changed(bridge, grant, (id_, request, "cancel"), _stopped)


def _changed(bridge: Bridge, grant: Grant, asked: tuple[str, str, str], plan: Callable[[_Recording], Plan]) -> Row:
    """Plan and commit until nobody else writes Task or Media in between."""
    id_, request, verb = asked
    allowed(grant, ("Task",), "r")

    def attempt() -> Row:
        this = _recording(bridge, grant, id_, request)
        done = AuditRow(grant.tenant, request, verb, 200, client=grant.client, user=grant.user, type="Media", id=id_)
        try:
            commit(bridge, grant.tenant, plan(this), [done])
        except VersionConflict as exc:
            raise Moved from exc
        return read(bridge, grant, "Task", this.job.task)

    return settled(attempt)


def _recording(bridge: Bridge, grant: Grant, id_: str, request: str) -> _Recording:
    row = find(bridge, allowed(grant, ("Media",), "u"), "Media", id_)
    if row is None:
        raise NotFound("There is no Media with this id")
    if row.deleted:
        raise Gone("This Media was deleted")
    job = bridge.store.read(lambda conn: jobs.of_media(conn, grant.tenant, id_))
    if job is None:
        raise BusinessRule("This Media has no recording that was ever transcribed", at="Media.content")
    return _Recording(bridge, grant, request, row, job)


def _again(this: _Recording) -> Plan:
    if this.job.state not in TERMINAL:
        raise BusinessRule(f"The recording is being transcribed ({this.job.state}): wait for it, or $cancel it first")
    _require_material(this)
    # What made the interaction fail made the recording fail: it is tried again, and first.
    found = this.bridge.store.read(lambda conn: jobs.of_encounter(conn, this.grant.tenant, this.job.encounter))
    before = [job for job in found if job.kind == "interaction" and job.state is State.FAILED]
    rows = [_task(this, job) for job in (*before, this.job)]
    shown = [_shown(this, row, restated(read_json(row.body), State.STORED, at=clock.instant())) for row in rows]
    media = _shown(this, this.row, media_with_status(this.media, "in-progress"))
    return Plan((*shown, media), again=tuple(job.id for job in (*before, this.job)))


def _stopped(this: _Recording) -> Plan:
    if this.job.state in TERMINAL and this.job.state is not State.CANCELLED:
        raise BusinessRule(f"The transcription has ended ({this.job.state}): it cannot be cancelled any more")
    if this.job.owner is not None or this.job.state is State.CANCELLED:
        return Plan(cancel=(this.job.id,))
    task = _task(this, this.job)
    shown = _shown(this, task, restated(read_json(task.body), State.CANCELLED, at=clock.instant()))
    media = _shown(this, this.row, media_with_status(this.media, "stopped"))
    return Plan((shown, media), cancel=(this.job.id,))


def _require_material(this: _Recording) -> None:
    """Refuse to begin what can only fail: the EHR learns it now."""
    if this.job.state is State.ERASED or text(this.media, "status") == _ERROR:
        raise BusinessRule("This Media was entered in error: send the recording as a new Media", at="Media.status")
    binary = (text(only(this.media, "content"), "url") or "").rpartition("/")[2]
    if this.bridge.store.read(lambda conn: binaries.of(conn, this.grant.tenant, binary)) is None:
        raise BusinessRule("The audio was removed: send it again as a new Media", at="Media.content.url")
    whole = Filter(this.grant.tenant)
    row = this.bridge.store.read(lambda conn: resources.read(conn, whole, "Encounter", this.job.encounter))
    encounter = None if row is None or row.deleted else model_of(read_json(row.body))
    if not isinstance(encounter, Encounter) or not takes_recordings(encounter):
        raise BusinessRule("The Encounter takes no recordings any more", at="Media.encounter")


def _task(this: _Recording, job: Job) -> Row:
    row = find(this.bridge, Filter(this.grant.tenant), "Task", job.task)
    assert row is not None  # noqa: S101 - a job has its Task, which nobody can delete
    return row


def _shown(this: _Recording, row: Row, json: Json) -> NewVersion:
    """Return the next version of what was read, and of nothing later."""
    return replace(new_version(json, method="PUT", base=this.bridge.base), expect=row.vid)
