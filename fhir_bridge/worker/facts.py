"""Which recording's Observation shows a fact: the facts of an interaction are those of all its Encounter's recordings.

A fact that is known by its id keeps its Observation, whichever recording is heard while Corti tells
it again. One that comes under a new id with group and text of a known one is that one (reliability.md,
rule 7). What a recording as a whole did not confirm is withdrawn, and stays so (rule 8).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhir_bridge.mapping.origin import result_id
from fhir_bridge.store import results
from fhir_bridge.store.results import FactRow
from fhir_bridge.worker import resume

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from fhir_bridge.corti.messages import Fact
    from fhir_bridge.store.results import SegmentRow
    from fhir_bridge.worker.rooms import Run


class Facts:
    """The facts of an Encounter, seen from the recording that is heard."""

    def __init__(self, run: Run, media: str) -> None:
        self._run = run
        self._media = media
        self._held: dict[str, Fact] = {}
        tenant, encounter = run.job.tenant, run.job.encounter
        self.rows = list(run.read(lambda conn: results.facts(conn, tenant, encounter)))

    @property
    def observations(self) -> tuple[str, ...]:
        """What shows the facts of this recording."""
        return observations(row for row in self.rows if row.media == self._media)

    @property
    def of_others(self) -> frozenset[str]:
        """Corti's ids of the facts of other recordings."""
        return frozenset(row.corti_id for row in self.rows if row.media != self._media)

    def with_held(self, told: Sequence[Fact]) -> tuple[Fact, ...]:
        """What Corti keeps, and what it told before and was not decided yet."""
        kept = {fact.id for fact in told}
        return (*told, *(fact for fact in self._held.values() if fact.id not in kept))

    def rows_of(self, told: Iterable[Fact], heard: Sequence[SegmentRow], *, last: bool) -> list[FactRow]:
        """Say which Observation shows each fact: its own, the one of its twin, or a new one.

        A twin of another recording's fact was told again, or said again: that is decided when all is heard and
        Corti has named its evidence, so until the `last` call it is held. The EHR knows such a fact already, unless
        its recording was taken back: then it is this one's from now on.
        """
        known = {row.corti_id: row for row in self.rows}
        rows: dict[str, FactRow] = {}
        for fact in told:
            self._held.pop(fact.id, None)
            said = quotes(fact, heard)
            # Without evidence nobody knows whether this recording says what another one did not confirm.
            passed_over = not last or bool(fact.evidence)
            row = self._row_of(fact, (known | rows).values(), elsewhere=not said, passed_over=passed_over)
            if row.media != self._media and (said or not last) and self._taken_back(row.media):
                row = self._own(fact)
            if last or row.media == self._media or fact.id in known:
                rows[fact.id] = row
            else:
                self._held[fact.id] = fact
        return list(rows.values())

    def left_by(self, rows: Iterable[FactRow]) -> list[FactRow]:
        """What was known of these facts while they were another recording's."""
        now = {row.corti_id: row.media for row in rows}
        return [row for row in self.rows if now.get(row.corti_id, row.media) != row.media]

    def confirmed(self, told: Iterable[Fact]) -> list[FactRow]:
        """Say which Observation of this recording shows each fact that was found in the whole of it."""
        known = {row.corti_id: row for row in self.rows}
        rows: dict[str, FactRow] = {}
        for fact in told:
            row = self._row_of(fact, (known | rows).values(), elsewhere=False)
            rows[fact.id] = replace(row, withdrawn=False)
        return list(rows.values())

    def unconfirmed(self, kept: Iterable[Fact], confirmed: Sequence[FactRow]) -> list[FactRow]:
        """Withdraw what a stream told of this recording, or had Corti keep, and what was not found in the whole of it.

        What Corti keeps of another recording's facts under new ids is told apart from that.
        """
        known = {row.corti_id: row for row in (*self.rows, *confirmed)}
        own = [row for row in self.rows if row.media == self._media]
        new = [self._row_of(one, known.values(), elsewhere=True) for one in kept if one.id not in known]
        shown = observations(confirmed)
        return [
            replace(row, withdrawn=row.media == self._media and row.observation not in shown) for row in (*own, *new)
        ]

    def _row_of(self, fact: Fact, known: Collection[FactRow], *, elsewhere: bool, passed_over: bool = False) -> FactRow:
        """`elsewhere`: a twin may be another recording's; `passed_over`: also one that is not shown any more."""
        like = resume.likeness(fact.group, fact.text)
        itself = next((row for row in known if row.corti_id == fact.id), None)
        if itself is not None:
            return replace(itself, likeness=like, withdrawn=itself.withdrawn and itself.likeness == like)
        alike = sorted((row for row in known if row.likeness == like), key=lambda row: row.withdrawn)
        own = (row for row in alike if row.media == self._media)
        others = (row for row in alike if elsewhere and (passed_over or not row.withdrawn))
        twin = next(own, None) or next((row for row in others if not self._taken_back(row.media)), None)
        if twin is not None:
            return replace(twin, corti_id=fact.id)
        return self._own(fact)

    def _own(self, fact: Fact) -> FactRow:
        like = resume.likeness(fact.group, fact.text)
        return FactRow(self._media, fact.id, result_id(self._media, fact.id), like)

    def _taken_back(self, media: str) -> bool:
        json = self._run.resource("Media", media)
        return json is None or json.get("status") == "entered-in-error"


def observations(rows: Iterable[FactRow]) -> tuple[str, ...]:
    """What shows these facts."""
    return tuple(dict.fromkeys(row.observation for row in rows if not row.withdrawn))


def merged(old: Iterable[FactRow], new: Iterable[FactRow]) -> list[FactRow]:
    """What is known with what is new."""
    return list({row.corti_id: row for row in (*old, *new)}.values())


def spokesman(observation: str, told: Iterable[Fact], known: Iterable[FactRow]) -> Fact | None:
    """Of all that was told about one Observation, what it is to say now.

    One of several ids withdrawn is nothing: the fact lives on under another, unless all were.
    """
    ids = {row.corti_id for row in known if row.observation == observation and not row.withdrawn}
    about = [fact for fact in told if fact.id in ids]
    alive = [fact for fact in about if not fact.discarded]
    if alive:
        return max(reversed(alive), key=lambda fact: fact.updated_at or fact.created_at or "")
    return about[-1] if {fact.id for fact in about} == ids else None


def quotes(fact: Fact, heard: Iterable[SegmentRow]) -> bool:
    """Whether Corti's evidence for a fact are words of this recording."""
    said = f" {' '.join(resume.normalised(row.text) for row in heard)} "
    words = (resume.normalised(one.quote) for one in fact.evidence)
    return any(f" {quote} " in said for quote in words if quote)
