"""Transcripts of recordings: the same ear as the sockets', in a job that may outlive the request (corti-api 5.2)."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, request

from fhir_bridge.sandbox.config import language_refusal
from fhir_bridge.sandbox.decode import BadAudio, sniffed
from fhir_bridge.sandbox.engine import CannotListen, Situation, Utterance
from fhir_bridge.sandbox.hearing import Hearing
from fhir_bridge.sandbox.interactions import EMPTY, with_extras
from fhir_bridge.sandbox.refusals import Refusal
from fhir_bridge.sandbox.shapes import Json, NewTranscript
from fhir_bridge.sandbox.state import Interaction, Recording, Transcript
from fhir_bridge.sandbox.telling import CREDITS_PER_SECOND, replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_bridge.sandbox.engine import Heard
    from fhir_bridge.sandbox.guard import Guard
    from fhir_bridge.sandbox.state import State

PIECE = 65_536
SAMPLE_CHARACTERS = 120
UNITS = {"ms": 1000, "s": 1}


@dataclass(frozen=True)
class Job:
    """One recording on its way to words."""

    state: State
    recording: Recording
    wanted: NewTranscript
    transcript: Transcript

    def run(self) -> None:
        """Listen to the whole recording; a failure is a status."""
        situation = Situation(diarize=self.wanted.diarize)
        hearing = Hearing(self.state.engine, None, situation, multichannel=self.wanted.is_multichannel)
        try:
            for heard in self._heard(hearing):
                self.transcript.segments.append(self._as_wanted(heard))
            self.transcript.status = self.state.switches.transcript_outcome
        except (BadAudio, CannotListen):
            self.transcript.status = "failed"
        finally:
            self.transcript.seconds = hearing.seconds
            hearing.close()
            self.transcript.done.set()

    def _heard(self, hearing: Hearing) -> Iterator[Utterance]:
        content = self.recording.content
        for at in range(0, len(content), PIECE):
            yield from _words(hearing.feed(content[at : at + PIECE]))
        yield from _words(hearing.finish())

    def _as_wanted(self, heard: Utterance) -> Utterance:
        text = heard.text
        for one in self.wanted.replacements:
            text = replaced(text, one.find, one.replace)
        return replace(heard, text=text, speaker=max(heard.speaker, 0))


def _words(heard: Heard) -> Iterator[Utterance]:
    yield from (one for one in heard if isinstance(one, Utterance))


def blueprint(state: State, guard: Guard) -> Blueprint:
    """Routes below `/v2/interactions/{id}/transcripts`."""
    routes = Blueprint("transcripts", __name__, url_prefix="/v2/interactions/<interaction_id>/transcripts")

    @routes.post("/")
    def create(interaction_id: str) -> tuple[Response, int]:
        interaction = guard.interaction(interaction_id)
        guard.credit()
        wanted = guard.body(NewTranscript)
        transcript = _started(state, interaction, wanted)
        if wanted.asynchronous:
            return _answer(state, transcript, processing=True), 202
        done = transcript.done.wait(state.switches.sync_seconds)
        return _answer(state, transcript, processing=not done or state.switches.transcript_polls > 0), 201

    @routes.get("/")
    def index(interaction_id: str) -> Response:
        full = request.args.get("full", "").lower() == "true"
        held = list(guard.interaction(interaction_id).transcripts.values())
        return jsonify(transcripts=[_listed(state, one, full=full) for one in held])

    @routes.get("/<transcript_id>")
    def get(interaction_id: str, transcript_id: str) -> Response:
        found = _found(guard.interaction(interaction_id), transcript_id)
        return _answer(state, found, processing=_still(state, found, count=False))

    @routes.get("/<transcript_id>/status")
    def status(interaction_id: str, transcript_id: str) -> tuple[Response, int]:
        found = _found(guard.interaction(interaction_id), transcript_id)
        word = "processing" if _still(state, found, count=True) else found.status
        return jsonify(with_extras(state, {"status": word})), state.switches.transcript_status_code

    @routes.delete("/<transcript_id>")
    def delete(interaction_id: str, transcript_id: str) -> tuple[bytes, int]:
        interaction = guard.interaction(interaction_id)
        with state.lock:
            interaction.transcripts.pop(_found(interaction, transcript_id).id, None)
        return EMPTY

    return routes


def _started(state: State, interaction: Interaction, wanted: NewTranscript) -> Transcript:
    recording = interaction.recordings.get(wanted.recording_id.lower())
    if recording is None or not state.recording_ready(recording):
        raise Refusal(404, "recording not found")
    if wanted.diarize and wanted.participants and not wanted.is_multichannel:
        raise Refusal(400, "diarize does not go with participants unless isMultichannel")
    if (unheard := language_refusal(wanted.primary_language, state.engine)) is not None:
        raise Refusal(400, unheard)
    if sniffed(recording.content[:16]) is None:
        raise Refusal(400, "recording is no audio that is supported")
    roles = [one.json_of() for one in wanted.participants]
    transcript = Transcript(state.new_id(), recording.id, roles)
    with state.lock:
        interaction.transcripts[transcript.id] = transcript
    threading.Thread(
        target=Job(state, recording, wanted, transcript).run, name="sandbox-transcript", daemon=True
    ).start()
    return transcript


def _found(interaction: Interaction, transcript_id: str) -> Transcript:
    found = interaction.transcripts.get(transcript_id.lower())
    if found is None:
        raise Refusal(404, "transcript not found")
    return found


def _still(state: State, transcript: Transcript, *, count: bool) -> bool:
    """Whether it is `processing`: because it is, or for as many polls as are switched on."""
    still = transcript.status == "processing" or transcript.polls < state.switches.transcript_polls
    transcript.polls += count
    return still


def _answer(state: State, transcript: Transcript, *, processing: bool) -> Response:
    segments = [] if processing else _segments(state, transcript)
    body: Json = {
        "id": transcript.id,
        "recordingId": transcript.recording,
        "status": "processing" if processing else transcript.status,
        "metadata": {"participantsRoles": list(transcript.participants) or None},
        "transcripts": None if state.switches.transcript_null else list(segments),
        "usageInfo": {"creditsConsumed": round(transcript.seconds * CREDITS_PER_SECOND, 4)},
    }
    response = jsonify(with_extras(state, body))
    if processing:
        response.headers["Location"] = (
            f"{request.path.rstrip('/').removesuffix(transcript.id).rstrip('/')}/{transcript.id}"
        )
    return response


def _segments(state: State, transcript: Transcript) -> list[Json]:
    unit = UNITS[state.switches.transcript_unit]
    return [
        {
            "channel": one.channel,
            "participant": one.channel,
            "speakerId": one.speaker,
            "text": one.text,
            "start": round(one.start * unit),
            "end": round(one.end * unit),
        }
        for one in list(transcript.segments)
    ]


def _listed(state: State, transcript: Transcript, *, full: bool) -> Json:
    text = " ".join(one.text for one in list(transcript.segments))
    entry: Json = {"id": transcript.id, "transcriptSample": text[:SAMPLE_CHARACTERS]}
    if full:
        metadata: Json = {"participantsRoles": list(transcript.participants) or None}
        entry["transcript"] = {"metadata": metadata, "transcripts": list(_segments(state, transcript))}
    return entry
