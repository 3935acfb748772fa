"""The asynchronous pattern: an answer that is fetched later (fhir-smart-rules 1.8, ruling 23, docs/decisions/0013).

What writes is carried out at once, like without the preference, and is done when the jobs
it began have ended: so nothing can be written twice. What only reads is run by a worker,
where running it again does no harm.
"""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge import clock
from fhir_bridge.errors import BridgeError, BusinessRule, Forbidden, Gone, Issue, NotFound, Throttled
from fhir_bridge.fhir.resource.reader import read as read_json
from fhir_bridge.fhir.resource.tree import each
from fhir_bridge.fhir.resource.writer import write
from fhir_bridge.fhir.rest.bundle import Done, transaction_response
from fhir_bridge.fhir.rest.outcome import outcome
from fhir_bridge.store import asynchronous as rows
from fhir_bridge.store import erasure, jobs
from fhir_bridge.store.asynchronous import Request
from fhir_bridge.store.filter import Filter
from fhir_bridge.store.states import STATES, TERMINAL, State
from fhir_bridge.store.versions import now_ms
from fhir_bridge.verbs.destroy import erased
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find
from fhir_bridge.verbs.rerun import cancel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from fhir_bridge.blobs import Blobs
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store import Store
    from fhir_bridge.store.erasure import Erasure
    from fhir_bridge.store.jobs import Job
    from fhir_bridge.verbs.bridge import Bridge

Kind = Literal["search", "operation", "export", "create", "transaction", "retry", "cancel", "erase"]

KEPT_MS: Final = 3_600_000  # an answer, once there is one
_GIVEN_UP_MS: Final = 7 * 24 * 3_600_000
_TOO_FAST_MS: Final = 500
_SECRET_BYTES: Final = 24
_SOON, _LATER, _SOON_MS = 1, 5, 30_000
_REFUSED: Final = 422
_LONGEST_PROGRESS: Final = 99  # X-Progress is shorter than 100 characters


@dataclass(frozen=True)
class Pending:
    """Not done yet: how far it is, and when to ask again."""

    progress: str
    seconds: int


@dataclass(frozen=True)
class Finished:
    """What it came to: a Bundle as text, or the manifest of an export; kept until `expires_ms`."""

    expires_ms: int
    bundle: str = ""
    manifest: Json | None = None


# --- when the request is made -----------------------------------------------------------


def enqueue(bridge: Bridge, grant: Grant, kind: Kind, asked: Json) -> str:
    """Keep a request for a worker to run in the caller's name; return its id, which nobody can guess."""
    whole: Json = {"grant": asdict(grant), "origin": bridge.origin, **asked}
    return _kept(bridge, Request(_secret(), grant.tenant, grant.client, kind, now_ms(), asked=json.dumps(whole)))


def keep(bridge: Bridge, grant: Grant, kind: Kind, *, done: Done, media: Iterable[str]) -> str:
    """Keep the answer to a request that was carried out, until the jobs of its recordings have ended."""

    def jobs_of(conn: Connection) -> list[str]:
        found = (jobs.of_media(conn, grant.tenant, one) for one in media)
        return [job.id for job in found if job is not None]

    waits = json.dumps(bridge.store.read(jobs_of))
    answer = json.dumps(asdict(done))
    made = Request(_secret(), grant.tenant, grant.client, kind, now_ms(), "done", waits=waits, answer=answer)
    return _kept(bridge, made)


def keep_erasure(bridge: Bridge, grant: Grant, this: Erasure) -> str:
    """Keep where the proof of an erasure will be; it names nothing of what is erased."""
    answer = json.dumps({"erasure": this.id})
    return _kept(bridge, Request(_secret(), grant.tenant, grant.client, "erase", now_ms(), "done", answer=answer))


def require_first(bridge: Bridge, grant: Grant, kind: Kind) -> None:
    """Let a client have one request of this kind at a time.

    Raises:
        Throttled: it has one already.
    """
    if bridge.store.read(lambda conn: rows.under_way(conn, grant.tenant, grant.client, kind)):
        raise Throttled(f"One {kind} at a time: the last has not ended yet", retry_after=_LATER)


def _kept(bridge: Bridge, made: Request) -> str:
    bridge.store.write(lambda conn: rows.add(conn, made))
    return made.id


def _secret() -> str:
    return base64.urlsafe_b64encode(clock.token_bytes(_SECRET_BYTES)).decode()


# --- when its answer is asked for -------------------------------------------------------


def poll(bridge: Bridge, grant: Grant, id_: str) -> Pending | Finished:
    """Tell how far a request is, or what it came to.

    Raises:
        NotFound: none of this client's, or one that is over. Throttled: asked for again too soon.
    """
    request = _mine(bridge, grant, id_)
    awaited = _awaited(bridge.store, request)
    if request.state == "done" and awaited is None:
        done_ms = request.done_ms or bridge.store.write(lambda conn: rows.ended(conn, id_))
        return _finished(bridge, grant, request, done_ms + KEPT_MS)
    if not bridge.store.write(lambda conn: rows.polled(conn, id_, after_ms=_TOO_FAST_MS)):
        raise Throttled("Asked for again too soon: wait for as long as Retry-After says", retry_after=_SOON)
    progress = awaited or request.progress or "waits for a worker"
    seconds = _SOON if now_ms() - request.created_ms < _SOON_MS else _LATER
    return Pending(progress[:_LONGEST_PROGRESS], seconds)


def drop(bridge: Bridge, grant: Grant, id_: str) -> None:
    """End a request and forget its answer; recordings that are under way are cancelled, as far as the Grant may."""
    request = _mine(bridge, grant, id_)
    for job in _jobs_of(bridge.store, request):
        with suppress(Forbidden, BusinessRule, NotFound, Gone):  # what has ended, or is not for it to cancel, stays
            cancel(bridge, grant, str(job.media), request=id_)
    forget(bridge.store, bridge.blobs, request)


def file_of(bridge: Bridge, grant: Grant, id_: str, number: int) -> Json:
    """Return the row of one file of an answer.

    Raises:
        NotFound: none of this client's.
    """
    files = json.loads(_mine(bridge, grant, id_).files)
    if number >= len(files):
        raise NotFound("There is no such file")
    found: Json = files[number]
    return found


def _mine(bridge: Bridge, grant: Grant, id_: str) -> Request:
    """Return a request of this client; those of others are as unknown as those that never were."""
    found = bridge.store.read(lambda conn: rows.of(conn, id_))
    if found is None or (found.tenant, found.client) != (grant.tenant, grant.client):
        raise NotFound("There is no such request, or its answer was kept for long enough")
    if found.done_ms is not None and found.done_ms + KEPT_MS < now_ms():
        raise NotFound("There is no such request, or its answer was kept for long enough")
    return found


def _awaited(store: Store, request: Request) -> str | None:
    """Say what still goes on of what a request began; None: it has ended."""
    if request.kind == "erase":
        this = store.read(lambda conn: erasure.by_id(conn, json.loads(str(request.answer))["erasure"]))
        return None if this.state == "erased" else "destroyed here; Corti has to forget it, too"
    states = [job.state for job in _jobs_of(store, request)]
    return next((STATES[state].meaning for state in states if state not in TERMINAL), None)


def _jobs_of(store: Store, request: Request) -> list[Job]:
    ids = json.loads(request.waits)
    found = store.read(lambda conn: [jobs.by_id(conn, one) for one in ids])
    return [job for job in found if job is not None]


def _finished(bridge: Bridge, grant: Grant, request: Request, expires_ms: int) -> Finished:
    answer = json.loads(str(request.answer))
    if "manifest" in answer:
        return Finished(expires_ms, manifest=answer["manifest"])
    if request.kind == "erase":
        done = Done(200, body=write(erased(bridge, answer["erasure"])))
    else:
        done = _with_jobs(bridge, grant, request, Done(**answer))
    return Finished(expires_ms, bundle=transaction_response([done], type_="batch-response"))


def _with_jobs(bridge: Bridge, grant: Grant, request: Request, done: Done) -> Done:
    """Add to an answer what became of the jobs it waited for."""
    wanted = State.CANCELLED if request.kind == "cancel" else State.PUBLISHED
    found = _jobs_of(bridge.store, request)
    issues = [issue for job in found for issue in _issues_of(bridge, job)]
    issues += [_other_end(job) for job in found if job.state is not wanted and not issues]
    told = replace(done, outcome=outcome(issues)) if issues else done
    if request.kind == "transaction" or not found:
        return told  # what was stored is stored, whatever became of a recording
    told = replace(told, status=done.status if all(job.state is wanted for job in found) else _REFUSED)
    return _current(bridge, grant, told) if done.body else told


def _issues_of(bridge: Bridge, job: Job) -> list[Issue]:
    """Read what a Task says went wrong or deserves attention."""
    row = find(bridge, Filter(job.tenant), "Task", job.task)
    held = each(read_json(row.body), "contained") if row is not None and not row.deleted else []
    issues = (issue for one in held for issue in each(one, "issue"))
    return [_issue(issue, f"Media/{job.media}") for issue in issues]


def _issue(issue: Json, media: str) -> Issue:
    details = issue.get("details")
    said = details.get("text") if isinstance(details, dict) else None
    severity: Literal["error", "warning"] = "warning" if issue.get("severity") == "warning" else "error"
    return Issue(str(issue.get("code")), f"{media}: {said}", severity=severity)


def _other_end(job: Job) -> Issue:
    return Issue("business-rule", f"Media/{job.media}: {STATES[job.state].meaning}")


def _current(bridge: Bridge, grant: Grant, done: Done) -> Done:
    """Tell of a resource as it is now, or without it if it is gone; what is none of ours stays."""
    was = read_json(done.body or "")
    type_, id_ = str(was["resourceType"]), was.get("id")
    if not isinstance(id_, str):
        return done
    rights: tuple[Literal["c", "u", "r"], ...] = ("c", "u", "r")
    held = next((right for right in rights if grant.scopes_for(type_, right)), None)
    row = None if held is None else find(bridge, allowed(grant, (type_,), held), type_, id_)
    if row is None or row.deleted:
        return replace(done, body=None)
    location = done.location and f"{type_}/{id_}/_history/{row.vid}"
    return replace(done, location=location, etag=f'W/"{row.vid}"', last_modified=row.at, body=row.body)


# --- when it is over --------------------------------------------------------------------


def expire(store: Store, blobs: Blobs) -> int:
    """Forget answers that were kept for long enough; return how many."""
    now = now_ms()
    old = store.of_all().read(
        lambda conn: rows.outlived(conn, done_before_ms=now - KEPT_MS, created_before_ms=now - _GIVEN_UP_MS)
    )
    for request in old:
        forget(store.of(request.tenant), blobs, request)
    return len(old)


def forget(store: Store, blobs: Blobs, request: Request) -> None:
    """Remove a request, then its files: a crash in between leaves strays, which are collected."""
    store.write(lambda conn: rows.remove(conn, request.id))
    remove(blobs, request.files)


def remove(blobs: Blobs, files: str) -> None:
    """Remove the files of an answer."""
    for file in json.loads(files):
        blobs.delete(file["blob"])


def failed(error: BridgeError) -> Done:
    """Return the answer that a refusal is."""
    return Done(error.status, outcome=outcome(error.issues))
