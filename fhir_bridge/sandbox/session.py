"""One WebSocket conversation: waiting for the config, then live until somebody ends it (corti-api 8, state machine)."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
import time
from enum import Enum
from typing import TYPE_CHECKING

from fhir_bridge.sandbox.config import Refused, Resolved, resolved_streams, resolved_transcribe
from fhir_bridge.sandbox.decode import BadAudio
from fhir_bridge.sandbox.engine import CannotListen, Situation
from fhir_bridge.sandbox.hearing import Hearing
from fhir_bridge.sandbox.interactions import with_extras
from fhir_bridge.sandbox.misbehaviour import Misbehaviour
from fhir_bridge.sandbox.state import Recording
from fhir_bridge.sandbox.telling import STREAMS, TRANSCRIBE, Teller
from fhir_bridge.sandbox.wire import ConnectionClosed

if TYPE_CHECKING:
    from fhir_bridge.sandbox.realm import Bearer
    from fhir_bridge.sandbox.shapes import Json
    from fhir_bridge.sandbox.state import Interaction, State
    from fhir_bridge.sandbox.wire import Wire

CHUNK_LIMIT = 64_000
QUEUED = 32
TICK = 0.3
EARLIER_SECONDS = 10.0
KEPT_BYTES = 32 * 1024 * 1024
"""Audio of a stream that is kept as a recording."""


class Mark(Enum):
    """What stands between audio in the ear's queue."""

    FLUSH = "flush"
    END = "end"
    STOP = "stop"


class Session:
    """The request thread reads the socket; an ear's thread listens and tells, behind a bounded queue."""

    def __init__(self, state: State, wire: Wire, bearer: Bearer, interaction: Interaction | None) -> None:
        self.state = state
        self.wire = wire
        self.bearer = bearer
        self.interaction = interaction
        self.dialect = STREAMS if interaction else TRANSCRIBE
        self.id = state.new_id()
        self.began = time.monotonic()
        self.last_frame = self.began
        self.bytes = 0
        self.dropped = 0
        self.journal: list[Json] = []
        self.kept = bytearray()
        self.sending = threading.Lock()
        self.inbox: queue.Queue[bytes | Mark] = queue.Queue(QUEUED)
        self.over = threading.Event()
        self.config: Resolved | None = None
        self.hearing: Hearing | None = None
        self.teller: Teller | None = None
        self.misbehaviour = Misbehaviour(self)

    def run(self) -> None:
        """From the upgrade to the close."""
        try:
            self.config = self._configured()
            if self.config is not None:
                self._live(self.config)
                while not self.state.switches.close_after_ended:
                    self._received(TICK)
        except ConnectionClosed as exc:
            self._note("closed", code=exc.code)

    def send(self, message: Json) -> None:
        """One JSON text frame, in the letter case that is switched on."""
        case = self.state.switches.type_case
        kind = str(message["type"])
        cased = {"exact": kind, "lower": kind.lower(), "upper": kind.upper()}[case]
        self._note("sent", type=kind)
        with self.sending:
            self.wire.send(json.dumps({**message, "type": cased}))

    def end(self, code: int, why: str = "") -> None:
        """Close the connection from this side."""
        self._note("ended", code=code)
        self.wire.close(code, why)

    def show(self) -> Json:
        """For `GET /__sandbox/sessions`."""
        return {
            "id": self.id,
            "interaction": self.interaction.id if self.interaction else None,
            "token": self.bearer.id,
            "configuration": self.config.echo if self.config else None,
            "bytes": self.bytes,
            "seconds": self.hearing.seconds if self.hearing else 0.0,
            "droppedBytes": self.dropped,
            "over": self.over.is_set() or self.wire.closed,
            "journal": list(self.journal),
        }

    # --- waiting for the config

    def _configured(self) -> Resolved | None:
        """The accepted configuration; None when the conversation is over before it began."""
        until = time.monotonic() + self.state.switches.config_timeout
        while (left := until - time.monotonic()) > 0:
            message = self._received(left)
            if message is None:
                continue
            content = _content(message)
            if content.get("type") == "config":
                return self._answered(content)
            self.send({"type": "CONFIG_MISSING", "reason": "the first message must be the configuration"})
            if self.state.switches.close_after_missing:
                self.wire.close()
                return None
        self.send({"type": self.dialect.no_config, "reason": "no configuration in time"})
        self.wire.close()
        return None

    def _answered(self, content: Json) -> Resolved | None:
        switches = self.state.switches
        resolve = resolved_streams if self.interaction else resolved_transcribe
        self._pause(switches.config_delay)
        while switches.config_silence:
            self._received(TICK)
        try:
            config = resolve(content.get("configuration"), self.state.engine, switches)
        except Refused as refused:
            self.send({"type": refused.kind, "reason": refused.reason})
            self.wire.close()
            return None
        accepted: Json = {"type": "CONFIG_ACCEPTED"}
        if self.interaction is None:
            accepted["sessionId"] = self.id
        if not switches.bare_config_accepted:
            accepted = with_extras(self.state, {**accepted, "configuration": config.echo})
        self.send(accepted)
        if switches.unknown_messages:
            self.send({"type": "somethingNew", "data": {"of": "tomorrow"}})
            self.send({"type": "audioEvent", "data": {"event": "unheardOf", "channel": 0, "startTimeMs": 0}})
        return config

    # --- live

    def _live(self, config: Resolved) -> None:
        self.hearing, self.teller = self._ears(config)
        ear = threading.Thread(target=self._listen, args=(self.hearing, self.teller), name="sandbox-ear", daemon=True)
        ear.start()
        last = Mark.STOP
        try:
            last = self._read()
        finally:
            self._put(last)
            ear.join()
            self._keep_recording()

    def _ears(self, config: Resolved) -> tuple[Hearing, Teller]:
        self._await_earlier()
        before = self.interaction.received if self.interaction else 0.0
        told = self.interaction.told if self.interaction else set()
        situation = Situation(diarize=config.diarize, before=before, told=told)
        wav = self.state.switches.wav_autodetected
        hearing = Hearing(self.state.engine, config.form, situation, multichannel=config.multichannel, wav=wav)
        return hearing, Teller(self.state, config, self.interaction, self.send)

    def _await_earlier(self) -> None:
        """A connection that broke may still be listened to: this one goes on where it ended."""
        for earlier in list(self.interaction.sessions) if self.interaction else []:
            if earlier.hearing is not None and earlier.wire.closed:
                earlier.over.wait(EARLIER_SECONDS)

    def _read(self) -> Mark:
        """Pass frames on until the client ends, or the ear has."""
        while not self.over.is_set():
            message = self._received(TICK)
            if isinstance(message, bytes):
                self._audio(message)
            elif message is not None:
                kind = _content(message).get("type")
                if kind == "end":
                    return Mark.END
                if kind == "flush":
                    self._put(Mark.FLUSH)
                elif kind == "config":
                    self.send({"type": "CONFIG_ALREADY_RECEIVED", "reason": "the configuration stays as it is"})
            self.misbehaviour.enforce()
        return Mark.STOP

    def _audio(self, payload: bytes) -> None:
        self.bytes += len(payload)
        if self.misbehaviour.drops():
            self.wire.reset()
            return
        if len(payload) > CHUNK_LIMIT:
            self._tell_error("Audio chunk is too large.")
            return
        if self.misbehaviour.loses():
            self.dropped += len(payload)
            return
        if len(self.kept) + len(payload) <= KEPT_BYTES:
            self.kept += payload
        self._put(payload)

    # --- the ear's thread

    def _listen(self, hearing: Hearing, teller: Teller) -> None:
        try:
            self._work(hearing, teller)
        except BadAudio as bad:
            self._tell_error(str(bad))
            teller.finish([])
            teller.end(hearing)
            self.wire.close()
        except CannotListen as cannot:
            self._tell_error(str(cannot))
            self.wire.close(1011)
        finally:
            self.over.set()
            teller.transcript.status = "completed"
            if self.interaction is not None:
                self.interaction.received += hearing.seconds
            hearing.close()

    def _work(self, hearing: Hearing, teller: Teller) -> None:
        while True:
            item = self.inbox.get()
            if isinstance(item, bytes):
                self.misbehaviour.refuse_format()
                teller.tell(hearing.feed(item), hearing)
                self.misbehaviour.break_off(hearing)
            elif item is Mark.FLUSH:
                teller.flush(hearing.flush())
            else:
                break
        if item is Mark.END:
            self._pause(self.state.switches.final_delay)
        if item is Mark.END or not self.state.switches.untold_lost_at_break:
            teller.finish(hearing.finish())
        if item is Mark.END:
            teller.end(hearing)
            if self.state.switches.close_after_ended:
                self.wire.close()

    # --- small things

    def _tell_error(self, details: str) -> None:
        """The partial form that was observed live (corti-api 3.4)."""
        self.send({"type": "error", "error": {"requestid": self.state.new_id(), "details": details}})

    def _received(self, timeout: float) -> bytes | str | None:
        message = self.wire.receive(timeout)
        if message is not None:
            self.last_frame = time.monotonic()
            if isinstance(message, bytes):
                self._note("audio", bytes=len(message), sha256=hashlib.sha256(message).hexdigest())
            else:
                self._note("text", text=message[:10_000])
        return message

    def _put(self, item: bytes | Mark) -> None:
        """Wait for room, which holds the client back, unless nobody listens any more."""
        while not self.over.is_set():
            try:
                self.inbox.put(item, timeout=TICK)
            except queue.Full:
                continue
            return

    def _pause(self, seconds: float) -> None:
        self.over.wait(seconds)

    def _note(self, event: str, **what: str | int) -> None:
        self.journal.append({"event": event, "at": round(time.monotonic() - self.began, 4), **what})

    def _keep_recording(self) -> None:
        """Corti keeps the audio of a retained stream (corti-api 3.5)."""
        if self.interaction is None or self.teller is None or not (self.config and self.config.retained and self.kept):
            return
        recording = Recording(self.teller.transcript.recording, bytes(self.kept), time.monotonic())
        with self.state.lock:
            self.interaction.recordings[recording.id] = recording


def _content(message: bytes | str) -> Json:
    """A text frame's JSON object; anything else is an empty one."""
    try:
        content = json.loads(message) if isinstance(message, str) else None
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
