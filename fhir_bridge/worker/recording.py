"""The other way to Corti: upload, transcript, facts from its text (corti-api 5.1 to 5.3; reliability.md, rule 8)."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from fhir_bridge import points
from fhir_bridge.audio import slices, taken_whole
from fhir_bridge.audio import upload as uploaded
from fhir_bridge.corti.recorded import FactDraft, TranscriptDraft
from fhir_bridge.errors import CortiNotFound, CortiRefused, CortiTimeout
from fhir_bridge.mapping.segments import text_of
from fhir_bridge.store.states import State
from fhir_bridge.worker import resume, status
from fhir_bridge.worker.material import sound_of
from fhir_bridge.worker.resume import Session
from fhir_bridge.worker.stream import config_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from fhir_bridge.corti.messages import Fact, Segment, StreamConfig
    from fhir_bridge.corti.recorded import RecordedTranscript
    from fhir_bridge.worker.rooms import Run
    from fhir_bridge.worker.stream import Scene

MOST_BYTES: Final = 150 * 1000 * 1000  # of one recording (corti-api 5.1)
_PATIENCE: Final = 3_600.0  # seconds for a transcript
_POLLS: Final = (0.5, 1.0, 2.0, 2.0, 5.0)  # then the last one again
_VISIBLE: Final = (1.0, 2.0, 5.0, 5.0)  # an uploaded recording is found some seconds later (corti-api 1.5)


def upload(run: Run, scene: Scene) -> None:
    """Have the whole recording heard, and put what comes back in the place of all there was.

    Raises:
        CortiError: what Corti says against it, or that it cannot be reached.
    """
    status.go(run, State.STREAMING)
    interaction, config = str(scene.interaction.corti_id), config_of(run, scene.visit, scene.recording, "native").value
    points.reached("planb.uploading")
    with _file(run, scene) as file:
        recording = run.account.client.upload_recording(interaction, file)
    points.reached("planb.uploaded")
    run.circuit.worked()
    run.hold.check()
    status.go(run, State.FINALISING)
    heard = _transcribed(run, scene, recording, config)
    points.reached("planb.transcribed")
    told, passed_over = _facts(run, scene, text_of(heard, config.participants), config.output_locale)
    run.write(changes={"session": run.job.session + 1})
    scene.results.replace(heard, Session(run.job.session, 0), told, passed_over)


@contextmanager
def _file(run: Run, scene: Scene) -> Iterator[BinaryIO]:
    """Open the recording as Corti takes it: as it is, in another container, or as Opus when that were too large."""
    sound = scene.recording.sound
    with sound_of(run, scene.recording.media) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if size <= MOST_BYTES and taken_whole(sound):
            yield file
            return
        opus = (one.payload for one in slices(file, sound, as_="webm"))
        with _kept_aside(run, opus if size > MOST_BYTES else uploaded(file, sound)) as made:
            yield made


@contextmanager
def _kept_aside(run: Run, pieces: Iterable[bytes]) -> Iterator[BinaryIO]:
    """Hold what was made of a recording as the recording itself is held: encrypted on the disk, not in memory."""
    blobs, key = run.rooms.blobs, run.account.audio_key
    with blobs.create(key) as writer:
        for piece in pieces:
            writer.write(piece)
            run.hold.check()
        blob = writer.commit()
    try:
        with blobs.reader(blob.id, blob.wrapped_key, key, blob.size) as file:
            yield file
    finally:
        blobs.delete(blob.id)


def _transcribed(run: Run, scene: Scene, recording: str, config: StreamConfig) -> tuple[Segment, ...]:
    interaction, seconds = str(scene.interaction.corti_id), scene.recording.sound.seconds
    transcript = _requested(run, interaction, _draft(recording, config), seconds)
    if transcript.status == "processing" and _status(run, interaction, transcript.id) != "failed":
        transcript = run.account.client.transcript(interaction, transcript.id, seconds=seconds)
    if transcript.status != "completed":
        raise CortiRefused("Corti could not transcribe the recording: send it in another format, or stream it")
    return transcript.segments


def _status(run: Run, interaction: str, transcript: str) -> str:
    """Wait until Corti has listened to the end."""
    waited, pauses = 0.0, iter(_POLLS)
    while (status_ := run.account.client.transcript_status(interaction, transcript)) == "processing":
        run.hold.wait(pause := next(pauses, _POLLS[-1]))
        waited += pause
        if waited > _PATIENCE:
            raise CortiTimeout("Corti did not finish the transcript of the recording")
    return status_


def _requested(run: Run, interaction: str, draft: TranscriptDraft, seconds: float) -> RecordedTranscript:
    for pause in _VISIBLE:
        try:
            return run.account.client.create_transcript(interaction, draft, seconds=seconds)
        except CortiNotFound:
            run.hold.wait(pause)
    return run.account.client.create_transcript(interaction, draft, seconds=seconds)


def _draft(recording: str, config: StreamConfig) -> TranscriptDraft:
    return TranscriptDraft(
        recording_id=recording,
        language=config.language,
        participants=config.participants,
        diarize=config.diarize,
        multichannel=config.multichannel,
        keyterms=config.keyterms,
    )


def _facts(run: Run, scene: Scene, text: str, locale: str) -> tuple[tuple[Fact, ...], tuple[Fact, ...]]:
    """Find facts in the text and keep them at Corti, a repeated run none twice; return also what is passed over."""
    client, interaction = run.account.client, str(scene.interaction.corti_id)
    found = client.extract_facts(text, locale).facts
    others = scene.results.facts.of_others
    kept = [fact for fact in client.facts(interaction) if fact.id not in others]
    known = {_like(fact): fact for fact in sorted(kept, key=lambda fact: not fact.discarded)}
    points.reached("planb.adding")
    added = client.add_facts(interaction, [fact for fact in dict.fromkeys(found) if _like(fact) not in known])
    points.reached("planb.added")
    confirmed = (fact for one in found if (fact := known.get(_like(one))) is not None)
    told = {fact.id: fact for fact in (*confirmed, *added)}
    # Of a recording that was never streamed Corti found nothing by itself.
    of_streams = [fact for fact in kept if run.job.breaks and fact.source == "core" and fact.id not in told]
    return tuple(told.values()), tuple(of_streams)


def _like(fact: Fact | FactDraft) -> str:
    return resume.likeness(fact.group, fact.text)
