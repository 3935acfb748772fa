"""A job as the Task an EHR follows (ruling 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_bridge.errors import Issue
from fhir_bridge.fhir.rest.outcome import outcome
from fhir_bridge.mapping import systems
from fhir_bridge.mapping.device import BRIDGE
from fhir_bridge.mapping.origin import reference
from fhir_bridge.mapping.tables_results import OUTPUTS
from fhir_bridge.store.states import STATES, State

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json, JsonValue

_OUTCOME = "outcome"
_ENDED = frozenset({"contained", "output", "statusReason"})  # what only a Task that has ended has
# A job that stops without a word would leave the EHR without a remedy.
_NO_REASON = Issue("exception", "The job failed and left no reason; ask for it again with $retry")


@dataclass(frozen=True)
class JobView:
    """What an EHR may know of a job. Instants are FHIR's; `outputs` are relative references."""

    task: str
    state: State
    encounter: str
    authored: str
    modified: str
    media: str | None = None
    subject: Json | None = None
    interaction: str | None = None
    outputs: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = ()
    heard: float | None = None
    seconds: float | None = None


def task_from_job(job: JobView) -> Json:
    """Show a job: of the interaction when it has no Media, else of the Media."""
    focus = reference("Media", job.media) if job.media else reference("Encounter", job.encounter)
    task: Json = {
        "resourceType": "Task",
        "id": job.task,
        "status": STATES[job.state].task,
        "businessStatus": _business_status(job),
        "intent": "order",
        "code": {"coding": [{"system": systems.TASK_CODE, "code": "fulfill", "display": "Fulfill the focal request"}]},
        "description": "Transcribe the recording and extract facts" if job.media else "Create the interaction",
        "focus": focus,
        "encounter": reference("Encounter", job.encounter),
        "authoredOn": job.authored,
        "lastModified": max(job.authored, job.modified),
        "owner": reference("Device", BRIDGE),
    }
    if job.interaction is not None:
        task["identifier"] = [{"system": systems.INTERACTION_ID, "value": job.interaction}]
    if job.subject is not None:
        task["for"] = job.subject
    return {**task, **_results(job)}


def restated(task: Json, state: State, *, at: str) -> Json:
    """Show in a Task that somebody's wish has brought its job to `state`; begun anew it has no results yet."""
    phase = STATES[state]
    kept = task if phase.terminal else {name: value for name, value in task.items() if name not in _ENDED}
    shown: Json = {"coding": [{"system": systems.JOB_STATE, "code": state.value}], "text": phase.meaning}
    return {**kept, "status": phase.task, "businessStatus": shown, "lastModified": at}


def job_state(task: Json) -> str | None:
    """Return which state of its job a Task shows; None: it shows none of ours."""
    match task.get("businessStatus"):
        case {"coding": [{"system": systems.JOB_STATE, "code": str(code)}, *_]}:
            return code
    return None


def _business_status(job: JobView) -> JsonValue:
    text = STATES[job.state].meaning
    if job.heard is not None and job.seconds is not None and not STATES[job.state].terminal:
        text = f"{text}: {job.heard:.0f} of {job.seconds:.0f} s"
    return {"coding": [{"system": systems.JOB_STATE, "code": job.state.value}], "text": text}


def _results(job: JobView) -> Json:
    """Name what came out; findings are an OperationOutcome inside the Task, pointed at as an output."""
    issues = job.issues or ((_NO_REASON,) if job.state is State.FAILED else ())
    outputs: list[JsonValue] = [_output(one.split("/")[0], one) for one in job.outputs]
    results: Json = {}
    if issues:
        outputs.append(_output("OperationOutcome", f"#{_OUTCOME}"))
        results["contained"] = [{"id": _OUTCOME, **outcome(issues)}]
        results["statusReason"] = {"text": issues[0].text}
    return {**results, "output": outputs} if outputs else results


def _output(type_: str, target: str) -> Json:
    row = OUTPUTS[type_]
    coding: Json = {"system": systems.TASK_OUTPUT, "code": row.code, "display": row.display}
    return {"type": {"coding": [coding], "text": row.display}, "valueReference": {"reference": target}}
