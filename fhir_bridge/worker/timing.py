"""Where on Corti's clock a connection began: at zero, or where the interaction's audio stood (rule 12). Pure.

Nobody has documented whether Corti counts the seconds of a connection or of the whole
interaction, so each connection is judged by the first words that come back on it. Where they
fit both answers, one is shown and neither relied on: after a break all of it is heard again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from fhir_bridge.worker.resume import normalised

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fhir_bridge.corti.messages import Segment
    from fhir_bridge.store.results import Received, SegmentRow
    from fhir_bridge.worker.resume import Session

SLACK_MS: Final = 1_000  # coders pad and cut
SAME_MS: Final = 2  # rounding; more would cut into words
# A recording may well begin with silence, but not with one that is longer than this and than all audio before it.
SILENCE_MS: Final = 10_000


@dataclass(frozen=True)
class Origin:
    """What Corti's clock showed when a connection's audio began.

    `sure`: nothing else fits. `recognised`: told by words that an earlier connection had heard, so
    the clock is the interaction's and this is what the interaction had got.
    """

    ms: int
    sure: bool = True
    recognised: bool = False

    def of(self, session: Session) -> Session:
        """The session with this origin."""
        return replace(session, origin_ms=self.ms, sure=self.sure)


def origin_of(
    heard: Iterable[Segment], session: Session, rows: Iterable[SegmentRow], *, sent_ms: int, before: Received
) -> Origin | None:
    """Judge by the first words of a connection; None: nothing final was heard yet.

    `rows` is what was heard of the recording before, each at its sure place: what of it lies past
    the session's base is said again. `sent_ms` is how much this connection has sent up to now.
    """
    final = sorted((one for one in heard if one.final), key=lambda one: one.start)
    if not final:
        return None
    start, end = _ms(final[0].start), max(_ms(one.end) for one in final)
    if before.most_ms == 0 or start < before.least_ms - SLACK_MS:
        return Origin(0)  # before the end of what the interaction has got: not its clock
    again = _again(final, session, rows)
    if again is not None and max(SLACK_MS, before.least_ms - SLACK_MS) < again <= before.most_ms + SLACK_MS:
        return Origin(again, recognised=True)
    if end <= sent_ms + SLACK_MS:  # else words that were not sent yet: the interaction's clock
        return Origin(_likely(start, end, sent_ms, before) if before.least_ms >= SILENCE_MS else 0, sure=False)
    return Origin(_likely(start, end, sent_ms, before), sure=before.most_ms - before.least_ms <= SAME_MS)


def _again(final: Sequence[Segment], session: Session, rows: Iterable[SegmentRow]) -> int | None:
    """The origin by which the first words that are said again are where they were."""
    first = min((row for row in rows if row.end_ms > session.base_ms), key=lambda row: row.start_ms, default=None)
    if first is None:
        return None
    places = (_ms(one.start) for one in final if one.channel == first.channel and _begin_alike(one.text, first.text))
    place = next(places, None)
    return None if place is None else place - max(0, first.start_ms - session.base_ms)


def _begin_alike(text: str, other: str) -> bool:
    """Whether one begins with the words of the other."""
    pairs = list(zip(normalised(text).split(), normalised(other).split(), strict=False))
    return bool(pairs) and all(one == two for one, two in pairs)


def _likely(start: int, end: int, sent_ms: int, before: Received) -> int:
    """What was sent before is what Corti got, but for what a broken connection lost or a dead worker did not note."""
    return min(start, max(before.most_ms, end - sent_ms))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
