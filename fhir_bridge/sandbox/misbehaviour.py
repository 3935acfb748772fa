"""What a session does wrong when a switch says so, and the limits nobody has documented."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fhir_bridge.sandbox.decode import CORRUPTED, BadAudio

if TYPE_CHECKING:
    from fhir_bridge.sandbox.hearing import Hearing
    from fhir_bridge.sandbox.session import Session


class Misbehaviour:
    """The switches of one session, asked at the moments where they matter."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.state = session.state

    def drops(self) -> bool:
        """Whether the connection is reset now that so many bytes came."""
        at = self.state.switches.drop_at_byte
        return at is not None and self.session.bytes >= at and self._may_break()

    def loses(self) -> bool:
        """Whether audio that came faster than real time is lost."""
        ahead, hearing = self.state.switches.fast_audio_dropped_after, self.session.hearing
        if ahead is None or hearing is None:
            return False
        return hearing.seconds - (time.monotonic() - self.session.began) > ahead

    def enforce(self) -> None:
        """Ends of a connection nobody has documented (corti-api 10)."""
        switches, at, session = self.state.switches, time.monotonic(), self.session
        if switches.idle_timeout is not None and at - session.last_frame > switches.idle_timeout:
            session.end(1001, "idle")
        elif switches.session_limit is not None and at - session.began > switches.session_limit:
            session.end(1000, "session limit")
        elif switches.token_checked_midstream and time.time() >= session.bearer.expires:
            session.end(1008, "token expired")

    def refuse_format(self) -> None:
        """Refuse a format only at its first audio, where that is how it is refused."""
        switches, config = self.state.switches, self.session.config
        declared = str(config.echo.get("audioFormat", "")) if config else ""
        if switches.format_refusal == "error" and declared.startswith(switches.refused_formats or ("\0",)):
            raise BadAudio(CORRUPTED)

    def break_off(self, hearing: Hearing) -> None:
        """Close, or fail, after so many seconds of audio."""
        switches = self.state.switches
        if switches.close_at is not None and hearing.seconds >= switches.close_at and self._may_break():
            self.session.end(switches.close_code)
        if switches.audio_error_at is not None and hearing.seconds >= switches.audio_error_at and self._may_break():
            raise BadAudio(CORRUPTED)

    def _may_break(self) -> bool:
        """So many connections break, and no more."""
        with self.state.lock:
            if self.state.broken >= self.state.switches.breaks:
                return False
            self.state.broken += 1
            return True
