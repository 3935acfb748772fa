"""Results as they arrive: segments and facts become versions of DocumentReference and Observation.

Ids come from the Media and from Corti's ids, so a repeated run replaces and never doubles
(decision 8). What an EHR has edited or deleted is never written again (ruling 9).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock, points
from fhir_bridge.corti.messages import Segment
from fhir_bridge.errors import VersionConflict
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.mapping.observation import observation_from_fact
from fhir_bridge.mapping.origin import result_id
from fhir_bridge.mapping.provenance import provenance_of_result
from fhir_bridge.mapping.tables_results import FORMATS
from fhir_bridge.mapping.transcript import document_from_transcript
from fhir_bridge.store import Filter, resources, results
from fhir_bridge.store.results import MediaKey
from fhir_bridge.verbs.record import BRIDGE, new_version
from fhir_bridge.worker import resume, status
from fhir_bridge.worker.facts import Facts, merged, observations, spokesman
from fhir_bridge.worker.status import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from fhir_bridge.corti.messages import Fact
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.mapping.origin import Origin
    from fhir_bridge.store.resources import NewVersion
    from fhir_bridge.store.results import FactRow, SegmentRow
    from fhir_bridge.worker.resume import Session
    from fhir_bridge.worker.rooms import Run

# Between two versions of a transcript that grows (ruling 8). Each holds all of it: a long one is shown less often.
EVERY_SECONDS, MOST_SECONDS, OF_IT = 2.0, 15.0, 1 / 30
ATTEMPTS: Final = 5  # when an EHR writes the same resource at the same moment
# Not what a result says, but when it was said to be so.
_TIMES: Final = frozenset({"meta", "issued", "date"})


class Results:
    """What is known of one recording, in rows and as resources."""

    def __init__(
        self, run: Run, origin: Origin, *, seconds: float, origin_of: Callable[[str], Origin | None] = lambda _: None
    ) -> None:
        self.origin = origin
        self.seconds = seconds
        self._run = run
        self._key = MediaKey(run.job.tenant, origin.media)
        self.rows = run.read(lambda conn: results.segments(conn, self._key))
        self._origin_of = origin_of  # of other recordings of the Encounter; None: it was deleted
        self._others: dict[str, tuple[Origin, Sequence[SegmentRow]] | None] = {}
        self.facts = Facts(run, origin.media)
        self._show_at = float("-inf")
        self._session = -1
        self._n = 0

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments that count, in Corti's words and in seconds of the recording."""
        return _segments(self.rows)

    @property
    def outputs(self) -> tuple[str, ...]:
        """References to all results."""
        shown = (f"Observation/{one}" for one in self.facts.observations)
        return (f"DocumentReference/{self.origin.transcript}", *shown)

    # --- words ---

    def hear(
        self, heard: Iterable[Segment], session: Session, also: Callable[[Connection], object] | None = None
    ) -> None:
        """Keep what was said. The first words of a session replace what older ones heard past its base."""
        is_first = session.number != self._session
        old = resume.kept(self.rows, session) if is_first else self.rows
        new = resume.unheard(resume.placed(heard, session, first=0 if is_first else self._n), old, session)
        if not new:
            return

        def keep(conn: Connection) -> None:
            if is_first:
                results.supersede(conn, self._key, before=session.number, base_ms=session.base_ms)
            results.add_segments(conn, self._key, new)
            points.reached("words.added")
            if also is not None:
                also(conn)

        rows = _in_order((*old, *new))
        if self._write(lambda: self._growing(rows), keep, self._heard_up_to(new, session)):
            pause = min(max(EVERY_SECONDS, OF_IT * rows[-1].end_ms / 1000), MOST_SECONDS)
            self._show_at = clock.monotonic() + pause
        points.reached("words.shown")
        self.rows, self._session, self._n = rows, session.number, new[-1].n + 1

    def _heard_up_to(self, new: Iterable[SegmentRow], session: Session) -> dict[str, int | str | None]:
        """The job's row after words: what went wrong before counts no more, if they lead further than those before.

        Words that only come again, as after each break, are no progress: else a connection
        that always breaks before new ones would be tried for ever. Nor are words without a sure
        place: after a further break all of them are heard again.
        """
        if not session.sure:
            return {"doubt_ms": session.base_ms, "suspended_ms": None}
        before = self._run.job.acked_ms
        reached = resume.acked(new, before)
        breaks = {"breaks": 0} if reached > before else {}
        return {"acked_ms": reached, "doubt_ms": None, "suspended_ms": None, **breaks}

    @property
    def progress(self) -> Progress:
        """How much of the recording was heard, for its Task."""
        return self._progress(self.rows)

    def _progress(self, rows: Iterable[SegmentRow]) -> Progress:
        heard = resume.acked(rows, self._run.job.acked_ms) / 1000
        return Progress(heard=min(heard, self.seconds), seconds=self.seconds)  # short ones are padded with silence

    def final(self) -> list[NewVersion]:
        """The complete transcript, to be written with the end of the job."""
        return self._document(self.rows, complete=True)

    def _growing(self, rows: Sequence[SegmentRow]) -> list[NewVersion]:
        """Show the transcript, and in the Task how far it is, when the last time is long enough ago."""
        if clock.monotonic() < self._show_at:
            return []
        task = status.task_for(self._run, self._run.job.state, self._progress(rows))
        return [*self._document(rows, complete=False), *task]

    def _document(self, rows: Sequence[SegmentRow], *, complete: bool) -> list[NewVersion]:
        urls: dict[str, str] = {row.code: f"Binary/{self.origin.transcript}.{row.code}" for row in FORMATS}
        document = document_from_transcript(
            _segments(rows), self.origin, at=clock.instant(), urls=urls, complete=complete, seconds=self.seconds
        )
        return list(self._versions(document.value, always=not complete))

    # --- facts ---

    def learn(self, told: Iterable[Fact]) -> None:
        """Show facts: new ones, changed ones, withdrawn ones; several ids of one fact are one Observation."""
        told = tuple(told)
        self._learn(told, self.facts.rows_of(told, self.rows, last=False))

    def settle(self, kept: Iterable[Fact]) -> None:
        """Take over what Corti keeps of facts, after all was heard."""
        told = self.facts.with_held(tuple(kept))
        self._learn(told, self.facts.rows_of(told, self.rows, last=True))

    def _learn(self, told: Sequence[Fact], rows: Sequence[FactRow]) -> None:
        known, left = merged(self.facts.rows, rows), self.facts.left_by(rows)

        def keep(conn: Connection) -> None:
            results.forget_facts(conn, self._key.tenant, left)
            results.add_facts(conn, self._key.tenant, rows)

        if rows:
            self._write(lambda: self._shown(told, rows, known), keep, {"suspended_ms": None})
        points.reached("facts.shown")
        self.facts.rows = known

    def replace(
        self, heard: Iterable[Segment], session: Session, told: Iterable[Fact], passed_over: Iterable[Fact] = ()
    ) -> None:
        """Put the results of the whole recording in the place of a stream's, in one transaction (rule 8).

        `passed_over` is what Corti keeps of what streams found beside that.
        """
        told, segments = tuple(told), resume.placed(heard, session, first=0)
        rows = self.facts.confirmed(told)
        others = self.facts.unconfirmed(passed_over, rows)
        known = merged(self.facts.rows, (*others, *rows))
        gone = set(self.facts.observations) - set(observations(rows))

        def keep(conn: Connection) -> None:
            results.forget(conn, self._key)
            points.reached("planb.forgot")
            results.add_segments(conn, self._key, segments)
            results.add_facts(conn, self._key.tenant, (*others, *rows))
            points.reached("planb.replacing")

        def versions() -> list[NewVersion]:
            withdrawn = [new for one in sorted(gone) for new in self._withdrawn(one)]
            return [*self._shown(told, rows, known), *withdrawn, *self._document(segments, complete=False)]

        self._write(versions, keep, self._heard_up_to(segments, session))
        points.reached("planb.replaced")
        self.rows, self.facts.rows = _in_order(segments), known

    def _shown(self, told: Sequence[Fact], rows: Iterable[FactRow], known: Sequence[FactRow]) -> list[NewVersion]:
        chosen = (spokesman(of, told, known) for of in observations(rows))
        return [new for fact in chosen if fact is not None for new in self._observation(fact, known)]

    def _observation(self, fact: Fact, known: Sequence[FactRow]) -> Iterator[NewVersion]:
        own = next(row for row in known if row.corti_id == fact.id)
        recording = self._recording(own.media)
        if recording is None:
            return  # it was deleted, and its results were taken back with it
        origin, rows = recording
        ids = [row.corti_id for row in known if row.observation == own.observation]
        ids.sort(key=lambda one: result_id(own.media, one) != own.observation)  # it is named by its first id
        json = observation_from_fact(
            fact, origin, at=clock.instant(), offset=_offset(fact, rows), known_as=tuple(ids)
        ).value
        yield from self._versions(json, origin=origin)

    def _recording(self, media: str) -> tuple[Origin, Sequence[SegmentRow]] | None:
        """Where facts come from: this recording as far as it is heard, or another of the Encounter."""
        if media == self.origin.media:
            return self.origin, self.rows
        if media not in self._others:
            origin = self._origin_of(media)
            key = MediaKey(self._key.tenant, media)
            rows = self._run.read(lambda conn: results.segments(conn, key))
            self._others[media] = None if origin is None else (origin, rows)
        return self._others[media]

    def _withdrawn(self, observation: str) -> Iterator[NewVersion]:
        row = self._row("Observation", observation)
        if row is not None and not row.deleted and row.author == BRIDGE:
            yield from self._versions({**read(row.body), "status": "entered-in-error"})

    # --- versions ---

    def _versions(self, json: Json, *, always: bool = False, origin: Origin | None = None) -> Iterator[NewVersion]:
        """Return what has to be written for `json` to be shown; a new result brings its Provenance."""
        row = self._row(str(json["resourceType"]), str(json["id"]))
        base = self._run.rooms.base
        if row is None:
            yield replace(new_version(json, base=base), expect=0)
            provenance = provenance_of_result(json, origin or self.origin, at=clock.instant())
            yield replace(new_version(provenance, base=base), expect=0)
        elif not row.deleted and row.author == BRIDGE and (always or _content(read(row.body)) != _content(json)):
            yield replace(new_version(json, method="PUT", base=base), expect=row.vid)

    def _row(self, type_: str, id_: str) -> resources.Row | None:
        return self._run.read(lambda conn: resources.read(conn, Filter(self._key.tenant), type_, id_))

    def _write(
        self,
        versions: Callable[[], Sequence[NewVersion]],
        keep: Callable[[Connection], None],
        changes: Mapping[str, int | str | None],
    ) -> bool:
        """Commit under the fence, again when an EHR edited one of the results in between; tell if any was shown."""
        for left in reversed(range(ATTEMPTS)):
            shown = versions()
            try:
                self._run.write(shown, keep, changes=changes)
                break
            except VersionConflict:
                if not left:
                    raise
        return bool(shown)


def _segments(rows: Iterable[SegmentRow]) -> tuple[Segment, ...]:
    return tuple(Segment(row.text, row.start_ms / 1000, row.end_ms / 1000, row.speaker, row.channel) for row in rows)


def _in_order(rows: Iterable[SegmentRow]) -> tuple[SegmentRow, ...]:
    return tuple(sorted(rows, key=lambda row: (row.start_ms, row.end_ms, row.session, row.n)))


def _offset(fact: Fact, rows: Iterable[SegmentRow]) -> float | None:
    """Where in the recording the fact was said, as far as Corti quotes its evidence."""
    quotes = [quote for one in fact.evidence if (quote := resume.normalised(one.quote))]
    said = ((row.start_ms / 1000, resume.normalised(row.text)) for row in rows)
    return next((start for start, text in said if any(quote in text or text in quote for quote in quotes)), None)


def _content(json: Json) -> Json:
    return {name: value for name, value in json.items() if name not in _TIMES}
