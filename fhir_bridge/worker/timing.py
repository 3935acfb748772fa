"""Where on Corti's clock a connection began: at zero, or where the interaction's audio stood (rule 12). Pure.

Nobody has documented whether Corti counts the seconds of a connection or of the whole
interaction, so each connection is judged by the first words that come back on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_bridge.corti.messages import Segment
    from fhir_bridge.store.results import SegmentRow
    from fhir_bridge.worker.resume import Session

SLACK_MS: Final = 1_000  # coders pad and cut
# A recording may well begin with silence, but not with one that is longer than this and than all audio before it.
SILENCE_MS: Final = 10_000


@dataclass(frozen=True)
class Sent:
    """Milliseconds of audio: what this connection has sent up to now, and what the interaction had got before it."""

    now_ms: int
    before_ms: int


def origin_of(heard: Iterable[Segment], session: Session, rows: Iterable[SegmentRow], sent: Sent) -> int | None:
    """Return what Corti's clock showed when this connection's audio began; None: nothing final was heard yet.

    `rows` is what was heard of the recording before. What of it lies past the session's
    base is said again, and so tells where its words have to appear.
    """
    first = min((one for one in heard if one.final), key=lambda one: one.start, default=None)
    if first is None:
        return None
    start, end = round(first.start * 1000), round(first.end * 1000)
    again = min((row.start_ms for row in rows if row.end_ms > session.base_ms), default=None)
    expected = None if again is None else max(0, again - session.base_ms)
    if not _goes_on(start, end, expected, sent):
        return 0
    if expected is not None:
        return max(0, start - expected)
    # What was sent before is what Corti got, but for what a broken connection lost or a dead worker did not note.
    return max(0, min(start, max(sent.before_ms, end - sent.now_ms)))


def _goes_on(start: int, end: int, expected: int | None, sent: Sent) -> bool:
    """Whether these times can only, or far more likely, be the interaction's."""
    if sent.before_ms <= SLACK_MS:
        return False
    if end > sent.now_ms + SLACK_MS:
        return True  # words that were not sent yet
    if expected is not None:
        return start - expected > sent.before_ms / 2
    return start >= sent.before_ms - SLACK_MS and sent.before_ms >= SILENCE_MS
