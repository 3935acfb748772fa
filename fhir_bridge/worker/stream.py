"""One recording streamed to Corti: connection after connection until all of it was heard.

Each connection gets a new token, its configuration, and audio only once that is accepted
(reliability.md, rule 6). Each message is committed before the next one is read. After a
break the next connection begins where words came back from (rule 7); after five without
progress, or when no audio format is taken, the recording is uploaded instead (rule 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Final

from fhir_bridge import log, points
from fhir_bridge.audio import Form, preferred, slices
from fhir_bridge.corti.messages import ConfigAccepted, Facts, Flushed, Transcript, Unknown
from fhir_bridge.errors import ConfigRefused, CortiUnavailable
from fhir_bridge.mapping.media import stream_config_from_media
from fhir_bridge.store import results
from fhir_bridge.store.results import Received
from fhir_bridge.store.states import State
from fhir_bridge.worker import resume, status
from fhir_bridge.worker.leases import Stopping
from fhir_bridge.worker.material import sound_of
from fhir_bridge.worker.resume import Session
from fhir_bridge.worker.timing import SILENCE_MS, origin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from sqlalchemy import Connection

    from fhir_bridge.audio import Slice
    from fhir_bridge.corti.messages import Message, Segment, StreamConfig
    from fhir_bridge.corti.socket import Stream
    from fhir_bridge.errors import BridgeError
    from fhir_bridge.mapping.mapped import Mapped
    from fhir_bridge.store.results import InteractionRow
    from fhir_bridge.worker.material import Recording, Visit
    from fhir_bridge.worker.publish import Results
    from fhir_bridge.worker.rooms import Run
    from fhir_bridge.worker.timing import Origin

# Ruling 6: only a refused audio format is tried again.
FORMS: Final[dict[Form, tuple[Form, ...]]] = {"native": ("native", "webm"), "pcm": ("pcm", "webm")}
MOST_BREAKS: Final = 5
STOP_SECONDS: Final = 15.0  # for the last words, when the worker has to end (rule 11)
_FIRST_PAUSE: Final = 0.5  # after a break, doubled for each further one


class CannotStream(Exception):
    """The recording does not reach Corti over a stream: upload it (plan B)."""


@dataclass(frozen=True)
class Scene:
    """One Media on its way to Corti."""

    visit: Visit
    recording: Recording
    interaction: InteractionRow
    results: Results


def config_of(run: Run, visit: Visit, recording: Recording, form: Form) -> Mapped[StreamConfig]:
    """Say how the recording is to be heard.

    Raises:
        NotMapped: Corti has no word for an element.
    """
    return stream_config_from_media(
        recording.media,
        visit.encounter,
        patient=visit.patient,
        practitioners=visit.practitioners,
        sound=recording.sound,
        language=run.rooms.settings.language,
        as_=form,
    )


def stream(run: Run, scene: Scene) -> None:
    """Stream until all was heard.

    Raises:
        CannotStream: not this way.
        CortiError: what Corti says against it, or that it cannot be reached.
    """
    forms = list(FORMS[preferred(scene.recording.sound)])
    while forms:
        status.go(run, State.STREAMING, scene.results.progress)
        connection = _Connection(run, scene, forms[0])
        try:
            return connection.run()
        except ConfigRefused as refused:
            if refused.about != "audio":
                raise
            log.event("corti.stream", job=run.job.id, outcome="format_refused")
            forms.pop(0)
        except CortiUnavailable:
            if not connection.accepted:
                raise
            _pause_after_break(run)
    raise CannotStream


def _pause_after_break(run: Run) -> None:
    run.hold.check()
    points.reached("stream.breaking")
    run.write(changes={"breaks": run.job.breaks + 1})
    points.reached("stream.broken")
    log.event("corti.stream", job=run.job.id, outcome="broken")
    if run.job.breaks >= MOST_BREAKS:
        raise CannotStream
    run.hold.wait(_FIRST_PAUSE * 2 ** (run.job.breaks - 1))


class _Connection:
    """One connection, from where the last one was heard to the end of the recording or of the connection."""

    def __init__(self, run: Run, scene: Scene, form: Form) -> None:
        self.accepted = False
        self._run = run
        self._scene = scene
        self._form = form
        self._flushed = False
        tenant, encounter = run.job.tenant, run.job.encounter
        self._received = run.read(lambda conn: results.received(conn, tenant, encounter))
        self._origin: Origin | None = None
        self._told_ms = 0  # the latest time that Corti named

    def run(self) -> None:
        with sound_of(self._run, self._scene.recording.media) as file:
            audio = self._audio(file)
            first = next(audio, None)
            if first is None:
                return  # all of it was heard before
            session = Session(self._run.job.session + 1, round(first.start * 1000))
            # Whoever dies from here on need not say how much of this reached Corti.
            self._run.write(changes={"session": session.number}, also=self._note(self._all_of(session)))
            points.reached("stream.numbered")
            self._converse(chain((first,), audio), session)

    def _audio(self, file: BinaryIO) -> Iterator[Slice]:
        sound, rows = self._scene.recording.sound, self._scene.results.rows
        job = self._run.job
        base = resume.base_for_resume(rows, acked_ms=job.acked_ms, doubt_ms=job.doubt_ms) / 1000
        return slices(file, sound, as_=self._form, start=base) if base < sound.seconds else iter(())

    def _converse(self, audio: Iterator[Slice], session: Session) -> None:
        run, row, account = self._run, self._scene.interaction, self._run.account
        config = config_of(run, self._scene.visit, self._scene.recording, self._form).value
        url = account.endpoint.stream_url(str(row.corti_id), row.websocket_url)
        made = account.stream(url, account.tokens, config, audio, pace=run.rooms.settings.stream_pace)
        points.reached("stream.connecting")
        with made as opened, run.hold.interrupting(_ending(opened)):
            points.reached("stream.opened")
            run.hold.check()
            try:
                for message in opened:
                    self._take(message, session, _sent(opened, session))
                points.reached("stream.ended")
                self._note_end(opened, session)
            except CortiUnavailable:
                run.hold.check()
                self._note_end(opened, session)
                # All was sent and Corti said that nothing is pending: only its goodbye is missing.
                if not self._got_all(opened):
                    raise
            run.hold.check()

    def _take(self, message: Message, session: Session, sent_ms: int) -> None:
        match message:
            case Transcript(segments):
                points.reached("stream.words")
                timed = self._timed(segments, session, sent_ms)
                # Still at most all of it: who dies before the next note has sent more than up to now.
                self._scene.results.hear(segments, timed, self._note(self._all_of(session)))
            case Facts(facts):
                points.reached("stream.facts")
                self._scene.results.learn(facts)
            case ConfigAccepted():
                self.accepted = True
                points.reached("stream.accepted")
                self._run.circuit.worked()
            case Flushed():
                self._flushed = True
                points.reached("stream.flushed")
                status.go(self._run, State.FINALISING, self._scene.results.progress)
            case Unknown(kind):
                log.event("corti.unknown_message", job=self._run.job.id, kind=kind)

    def _timed(self, segments: tuple[Segment, ...], session: Session, sent_ms: int) -> Session:
        """Tell by the first words of a connection how Corti counts its time."""
        if self._origin is None:
            # Of words without a sure place none can be recognised by it.
            rows = self._scene.results.rows if self._run.job.doubt_ms is None else ()
            self._origin = origin_of(segments, session, rows, sent_ms=sent_ms, before=self._received)
        self._told_ms = max([self._told_ms, *(round(one.end * 1000) for one in segments if one.final)])
        return session if self._origin is None else self._origin.of(session)

    # --- how far Corti's clock is, if it is the interaction's ---

    def _note(self, most_ms: int, least_ms: int = 0) -> Callable[[Connection], None]:
        """Note how much audio Corti has got by now, of this connection at least `least_ms` and at most `most_ms`."""
        run, before = self._run, self._before()
        surely = max(before.least_ms + least_ms, self._told_ms)
        got = Received(surely, max(surely, before.most_ms + most_ms))
        return lambda conn: results.note_received(conn, run.job.tenant, run.job.encounter, got)

    def _note_end(self, opened: Stream, session: Session) -> None:
        sent_ms = _sent(opened, session)
        self._run.write(also=self._note(sent_ms, sent_ms if self._got_all(opened) else 0))

    def _got_all(self, opened: Stream) -> bool:
        """Whether Corti has said of all audio of this connection that nothing of it is pending."""
        return opened.complete and self._flushed

    def _before(self) -> Received:
        """What the interaction had got before this connection."""
        origin = self._origin
        return Received(origin.ms, origin.ms) if origin is not None and origin.recognised else self._received

    def _all_of(self, session: Session) -> int:
        """More than this connection can send."""
        return max(0, round(self._scene.recording.sound.seconds * 1000) - session.base_ms) + SILENCE_MS


def _sent(opened: Stream, session: Session) -> int:
    """Return how much audio the connection has sent."""
    return max(0, round(opened.sent * 1000) - session.base_ms)


def _ending(opened: Stream) -> Callable[[BridgeError], None]:
    """End a stream from outside: at a frame boundary when there is time, else at once."""

    def end(sign: BridgeError) -> None:
        if isinstance(sign, Stopping):
            opened.stop(within=STOP_SECONDS)
        else:
            opened.abort()

    return end
