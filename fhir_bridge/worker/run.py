"""One run of one job, from its claim to its release; every error ends as something the EHR can see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge import clock, log, points
from fhir_bridge.errors import (
    BridgeError,
    ConfigRefused,
    CortiError,
    CortiPaused,
    Fenced,
    Issue,
    StoreUnavailable,
    VersionConflict,
)
from fhir_bridge.mapping.media import transport_of
from fhir_bridge.mapping.origin import origin_of
from fhir_bridge.store import Filter, jobs, resources
from fhir_bridge.store.dispatch import Ticket
from fhir_bridge.store.jobs import Claim
from fhir_bridge.store.states import State
from fhir_bridge.worker import interaction, material, status
from fhir_bridge.worker.devices import introduce
from fhir_bridge.worker.leases import Cancelled, Stopping
from fhir_bridge.worker.publish import ATTEMPTS, Results
from fhir_bridge.worker.recording import upload
from fhir_bridge.worker.rooms import Rooms, Run
from fhir_bridge.worker.status import Progress
from fhir_bridge.worker.stream import CannotStream, Scene, config_of, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from fhir_bridge.fhir.resource.models import Media
    from fhir_bridge.mapping.origin import Origin
    from fhir_bridge.store.resources import NewVersion
    from fhir_bridge.worker.material import Recording, Visit

LONG_SECONDS: Final = 900.0  # with transport `auto`, longer recordings are uploaded
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0
_HOUR_MS: Final = 3_600_000
_TRUNCATED: Final = Issue(
    "incomplete",
    "The recording is cut short or damaged: what can be heard of it was used",
    "Media.content",
    "warning",
)
_OWN_FAULT: Final = "The bridge met a fault of its own; its log names the job. Ask again with $retry"


class _Moved(BridgeError):
    """The Encounter was changed while its interaction was brought up to date."""


def run(rooms: Rooms, job: str, epoch: int) -> None:
    """Run one ticket. Whoever comes second, or late, finds nothing to do."""
    points.reached("run.taken")
    seconds, owner = rooms.leases.seconds, rooms.leases.owner
    everyone = rooms.store.of_all()  # a ticket does not say whose it is
    got = everyone.write(lambda conn: jobs.claim(conn, Ticket(job, epoch), owner=owner, lease_seconds=seconds))
    if got is None:
        return
    points.reached("run.claimed")
    log.event("job.started", job=job, epoch=epoch)
    with rooms.leases.holding(Claim(job, epoch, owner), cancel=got.cancel) as hold:
        _to_its_end(Run(rooms, got, hold))
    points.reached("run.over")


def _to_its_end(this: Run) -> None:
    try:
        _answered(this)
    except Fenced:
        log.event("job.fenced", job=this.job.id, epoch=this.hold.claim.epoch)
    except StoreUnavailable as error:
        # Nothing can be written now: the lease runs out, and a sweep gives the job to who can.
        log.event("job.suspended", job=this.job.id, epoch=this.hold.claim.epoch, error=_name(error), seconds=0)


def _answered(this: Run) -> None:
    try:
        this.hold.check()
        this.circuit.enter()
        STORIES[this.job.kind](this)
    except (Fenced, StoreUnavailable):
        raise
    except Stopping:
        points.reached("stop.releasing")
        this.release()
        points.reached("stop.released")
    except Cancelled:
        points.reached("cancel.settling")
        _settle(this, State.CANCELLED)
        points.reached("cancel.settled")
    except VersionConflict as error:
        this.release(delay=_suspended(this, error))
    except CortiError as error:
        _failed_at_corti(this, error)
    except BridgeError as error:
        _fail(this, error)
    except Exception as error:  # noqa: BLE001 - the worker's loop: a fault of ours is shown on the Task and named in the log
        fault = BridgeError(_OWN_FAULT)
        log.event("job.fault", job=this.job.id, epoch=this.hold.claim.epoch, error=_name(error), place=_place(error))
        _fail(this, fault)


# --- the two stories --------------------------------------------------------------------


def _interaction(this: Run) -> None:
    """Make the interaction of an Encounter, or bring it up to date."""
    while True:
        status.go(this, State.INTERACTION_PENDING)
        visit = material.visit_of(this)
        issues: tuple[Issue, ...] = ()
        if interaction.known(this) is not None or interaction.wanted(visit):
            issues = interaction.warnings(visit, interaction.ensure(this, visit))
        points.reached("interaction.ensured")
        try:
            return _settle(this, State.PUBLISHED, Progress(issues=issues), unless=_moved(this, visit))
        except _Moved:
            this.hold.check()


def _moved(this: Run, visit: Visit) -> Callable[[Connection], None]:
    """Whoever changes the Encounter while this job runs does not ask for it again: this run has to see it."""

    def check(conn: Connection) -> None:
        row = resources.read(conn, Filter(this.job.tenant), "Encounter", this.job.encounter)
        if row is not None and row.vid != visit.vid:
            raise _Moved("The Encounter was changed meanwhile")

    return check


def _media(this: Run) -> None:
    """Bring a recording to Corti and what it says to the EHR."""
    visit = material.visit_of(this)
    if this.job.transport is None:
        status.go(this, State.INTERACTION_PENDING)
    row = interaction.ensure(this, visit)
    recording = material.recording_of(this)
    points.reached("media.listened")
    config = config_of(this, visit, recording, "native")

    def origin(media: Media) -> Origin:
        return origin_of(
            media,
            visit.encounter,
            interaction=row.corti_id,
            language=config.value.output_locale,
            participants=config.value.participants,
        )

    def origin_of_other(id_: str) -> Origin | None:
        other = material.media_of(this, id_)
        return None if other is None else origin(other)

    introduce(this)
    points.reached("media.introduced")
    seconds = recording.sound.seconds
    results_ = Results(this, origin(recording.media), seconds=seconds, origin_of=origin_of_other)
    scene = Scene(visit, recording, row, results_)
    _heard(this, scene)
    points.reached("media.heard")
    status.go(this, State.FINALISING)
    status.go(this, State.RECONCILING)
    _reconcile(this, scene)
    points.reached("reconcile.done")
    issues = (*config.warnings, *((_TRUNCATED,) if recording.sound.truncated else ()))
    _settle(this, State.PUBLISHED, Progress(results_.outputs, issues), extra=results_.final)


def _heard(this: Run, scene: Scene) -> None:
    """Stream the recording, or upload it: as it was asked for, or because it cannot be streamed."""
    if this.job.transport is None:
        this.write(changes={"transport": _transport(this, scene.recording)})
        points.reached("media.transport")
    try:
        if this.job.transport == "stream":
            return stream(this, scene)
    except CannotStream:
        this.write(changes={"transport": "recording"})
        points.reached("planb.chosen")
    return upload(this, scene)


def _transport(this: Run, recording: Recording) -> str:
    chosen = transport_of(recording.media) or this.rooms.settings.transport
    if chosen != "auto":
        return chosen
    return "recording" if recording.sound.seconds > LONG_SECONDS else "stream"


def _reconcile(this: Run, scene: Scene) -> None:
    """Take over what Corti keeps of facts that the stream did not tell, or told otherwise (rule 7)."""
    points.reached("reconcile.asking")
    facts = this.account.client.facts(str(scene.interaction.corti_id))
    points.reached("reconcile.asked")
    scene.results.settle(facts)


STORIES: Final[dict[str, Callable[[Run], None]]] = {"interaction": _interaction, "media": _media}


# --- how a run ends ---------------------------------------------------------------------


def _failed_at_corti(this: Run, error: CortiError) -> None:
    """Corti down: on hold, for up to a day (ruling 6). Anything it refuses fails at once."""
    if not error.retry:
        return _fail(this, _explained(this, error))
    waiting = jobs.now_ms() - (this.job.suspended_ms or jobs.now_ms())
    if waiting > this.rooms.settings.corti_give_up_hours * _HOUR_MS:
        return _fail(this, type(error)(f"{error.text}. It was tried for too long: ask again with $retry"))
    points.reached("suspend.releasing")
    shown = isinstance(error, CortiPaused) and this.job.state is State.SUSPENDED
    return this.release(
        () if shown else status.versions_for(this, State.SUSPENDED, Progress(issues=_warned(error))),
        state=State.SUSPENDED,
        delay=max(_suspended(this, error), this.circuit.failed(error)),
    )


def _suspended(this: Run, error: BridgeError) -> float:
    """How long to wait: as long as Corti asks for, else as long again as it has been waited for already."""
    elapsed = (jobs.now_ms() - (this.job.suspended_ms or jobs.now_ms())) / 1000
    pause = error.retry_after or min(max(_FIRST_PAUSE, elapsed), _LONGEST_PAUSE)
    seconds = pause * (1 + clock.random() / 4)
    log.event(
        "job.suspended", job=this.job.id, epoch=this.hold.claim.epoch, error=_name(error), seconds=round(seconds, 1)
    )
    return seconds


def _explained(this: Run, error: CortiError) -> CortiError:
    """A language that is refused is answered with those that are offered (ruling 16)."""
    if not isinstance(error, ConfigRefused) or error.about != "language":
        return error
    try:
        offered = ", ".join(this.account.client.languages())
    except CortiError:
        return error
    return ConfigRefused(f"Corti does not offer this language; it offers {offered}", about="language", at=error.at)


def _fail(this: Run, error: BridgeError) -> None:
    points.reached("fail.settling")
    log.event("job.failed", job=this.job.id, epoch=this.hold.claim.epoch, error=_name(error))
    _settle(this, State.FAILED, Progress(issues=error.issues), error=error)


def _settle(
    this: Run,
    state: State,
    progress: Progress | None = None,
    *,
    extra: Callable[[], Sequence[NewVersion]] = tuple,
    error: BridgeError | None = None,
    unless: Callable[[Connection], None] | None = None,
) -> None:
    """End the job; Task, Media and the last results go with it. Again when an EHR wrote one of them meanwhile."""
    for left in reversed(range(ATTEMPTS)):
        try:
            versions = (*extra(), *status.versions_for(this, state, progress))
            points.reached("settle.finishing")
            this.finish(versions, state, error=error, unless=unless)
            points.reached("settle.finished")
        except VersionConflict:
            if not left:
                raise
        else:
            break
    log.event("job.finished", job=this.job.id, epoch=this.hold.claim.epoch, state=state)


def _warned(error: BridgeError) -> tuple[Issue, ...]:
    """Why the job waits, as a warning: nothing is lost yet."""
    return tuple(Issue(one.code, one.text, one.at, "warning") for one in error.issues)


def _name(error: BaseException) -> str:
    return type(error).__name__


def _place(error: BaseException) -> str:
    """Where in our code a fault happened: file and line, never what was in hand."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " ".join(frames[-3:])
