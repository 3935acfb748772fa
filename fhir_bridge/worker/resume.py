"""Where to go on after a break, and what was heard twice (reliability.md, rule 7). Pure.

Corti acknowledges no audio: what is known to have arrived is what came back as words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from fhir_bridge.store.results import SegmentRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fhir_bridge.corti.messages import Segment

GUARD_MS: Final = 2_000
SEAM_MS: Final = 300  # times are that sure; between the answers to two questions more passes than this
_NOT_SAID: Final = re.compile(r"[^\w%+/.-]+|[.-](?!\w)")


@dataclass(frozen=True)
class Session:
    """One connection: its number, and where its audio began: in the recording, and on Corti's clock.

    Not `sure`: another origin fits what was heard as well, so no word's place may be relied on.
    """

    number: int
    base_ms: int
    origin_ms: int = 0
    sure: bool = True

    def place(self, seconds: float) -> int:
        """Return the place in the recording of a time that Corti told."""
        return self.base_ms + max(0, round(seconds * 1000) - self.origin_ms)


def placed(heard: Iterable[Segment], session: Session, *, first: int) -> tuple[SegmentRow, ...]:
    """The final segments of a message, in the recording's time; `first` is the number of the first of them."""
    final = [segment for segment in heard if segment.final]
    return tuple(
        SegmentRow(
            session=session.number,
            n=n,
            start_ms=session.place(segment.start),
            end_ms=session.place(segment.end),
            speaker=segment.speaker,
            channel=segment.channel,
            text=segment.text,
        )
        for n, segment in enumerate(final, first)
    )


def base_for_resume(rows: Iterable[SegmentRow], *, acked_ms: int, doubt_ms: int | None = None) -> int:
    """Where to send from after a break: two seconds before what was heard, and in nobody's mid-sentence.

    A sentence that reaches past this place is superseded and heard again as a whole. `doubt_ms` is
    where a connection began whose words have no sure place: all of them are heard again.
    """
    base = max(0, acked_ms - GUARD_MS)
    if doubt_ms is not None:
        base = min(base, doubt_ms)
    for row in sorted(rows, key=lambda row: row.end_ms, reverse=True):
        if row.start_ms < base < row.end_ms:
            base = row.start_ms
    return base


def kept(rows: Iterable[SegmentRow], session: Session) -> tuple[SegmentRow, ...]:
    """What earlier sessions heard before the place where this one began."""
    before = (row for row in rows if row.session < session.number and row.start_ms < session.base_ms)
    return tuple(row for row in before if row.end_ms <= session.base_ms)


def unheard(rows: Iterable[SegmentRow], before: Sequence[SegmentRow], session: Session) -> tuple[SegmentRow, ...]:
    """Drop what an earlier session heard already: the same words, at times that meet where this one began."""
    earlier = [row for row in before if row.session < session.number]
    return tuple(row for row in rows if not any(_same(row, one) for one in earlier))


def acked(rows: Iterable[SegmentRow], acked_ms: int) -> int:
    """How far the recording is known to have been heard."""
    return max([acked_ms, *(row.end_ms for row in rows)])


def likeness(group: str, text: str) -> str:
    """What two facts share when one is the other, resent under a new id."""
    return sha256(f"{group}\n{normalised(text)}".encode()).hexdigest()


def normalised(text: str) -> str:
    """The words alone: without case, punctuation and spacing."""
    return _NOT_SAID.sub(" ", text.casefold()).strip()


def _same(row: SegmentRow, other: SegmentRow) -> bool:
    """A short answer may well be given twice in two seconds: then there is time between the two."""
    meets = row.start_ms - other.end_ms < SEAM_MS and row.channel == other.channel
    return meets and normalised(row.text) == normalised(other.text)
