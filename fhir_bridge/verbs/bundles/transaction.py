"""transaction: the entries of a Bundle happen whole or not at all."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from fhir_bridge.errors import BridgeError, Duplicate, Gone, Invalid, VersionConflict
from fhir_bridge.verbs.binary import DATA
from fhir_bridge.verbs.bundles import answers
from fhir_bridge.verbs.bundles.asks import READING, ask_of, placed
from fhir_bridge.verbs.bundles.links import linked
from fhir_bridge.verbs.bundles.parts import blobs_of, idle_row, idle_told
from fhir_bridge.verbs.bundles.patches import change_of, fitting, patched
from fhir_bridge.verbs.bundles.reads import answered
from fhir_bridge.verbs.bundles.targets import targets_of
from fhir_bridge.verbs.case import Case
from fhir_bridge.verbs.conditional import asked, settled
from fhir_bridge.verbs.delete import removing
from fhir_bridge.verbs.delete import told as deletion_told
from fhir_bridge.verbs.holds import holds
from fhir_bridge.verbs.plan import Moved, Plan, Taken, commit, merged
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.write import THERE, entry, existing_of, hints_of, planned, with_provenance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.blobs.sealing import Blob
    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.fhir.rest.bundle import Done
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bundles.answers import Returns
    from fhir_bridge.verbs.bundles.asks import Ask
    from fhir_bridge.verbs.bundles.targets import Target
    from fhir_bridge.verbs.plan import Condition
    from fhir_bridge.verbs.write import Writer


@dataclass(frozen=True)
class Outcome:
    """What became of the entries, in their order, and the ids of the blobs that are part of it."""

    done: tuple[Done, ...]
    blobs: frozenset[str]


@dataclass(frozen=True)
class Transaction:
    """The entries of one transaction; `there` are resources that turned out to be what an entry would create."""

    by: Writer
    asks: tuple[Ask, ...]
    returns: Returns
    there: dict[int, Row] = field(default_factory=dict)

    def run(self) -> Outcome:
        """Carry it out.

        Raises:
            BridgeError: what an entry was refused with; nothing of the Bundle was kept.
        """
        return settled(self._attempt)

    def _attempt(self) -> Outcome:
        targets = targets_of(self.by, self.asks, self.there)
        found = linked(self.by, targets, self._contents(targets))
        within_ = {target.place: json for target, json in found.written}
        uploads = self._uploads(targets)
        planning = [_Planned(each, self._case(each, json, within_, uploads)) for each, json in found.written]
        plans = [_plan(each) for each in planning]
        removed = [target for target in targets if target.ask.method == "DELETE" and target.current]
        plans += [self._removal(target) for target in removed]
        whole = merged([*plans, Plan(conditions=(*found.conditions, *_conditions(targets)))])
        whole = with_provenance(self.by, whole, [each.case for each in planning])
        self._require_apart(targets, whole)
        self._require_readable(within_, {target.place for target in removed})
        idle = [target for target in targets if target not in removed and not target.writes]
        rows = self._commit(whole, planning, removed, idle)
        return Outcome(self._answers(targets, planning, rows), frozenset(each.blob for each in whole.contents))

    def _contents(self, targets: list[Target]) -> dict[int, Json]:
        """Return what each entry leaves of its resource, by the index of the entry."""
        contents = {each.ask.index: each.ask.json for each in targets if each.writes and each.ask.json is not None}
        for each in targets:
            if each.ask.method == "PATCH" and each.current is not None:
                with placed(each.ask):
                    change = change_of(replace(self.by, blobs=blobs_of(self.by, each.ask)), each.ask)
                    contents[each.ask.index] = patched(each.current, change)
        return contents

    def _case(self, target: Target, json: Json, within_: Mapping[str, Json], uploads: Mapping[str, Blob]) -> Case:
        is_new, current = target.ask.method == "POST", target.current
        return Case(
            self.by.bridge,
            self.by.grant,
            json,
            "POST" if is_new else "PUT",
            current,
            {} if target.ask.method == "PATCH" else blobs_of(self.by, target.ask),
            within_,
            expect=None if is_new else current.vid if current else 0,
            uploads=uploads,
        )

    def _uploads(self, targets: list[Target]) -> dict[str, Blob]:
        """Return the content of the Binaries among the entries, by their places."""
        sent = [(each.place, blobs_of(self.by, each.ask)) for each in targets if each.ask.type == "Binary"]
        return {place: blobs[DATA] for place, blobs in sent if DATA in blobs}

    def _removal(self, target: Target) -> Plan:
        with placed(target.ask):
            return removing(self.by, cast("Row", target.current))

    def _require_apart(self, targets: list[Target], whole: Plan) -> None:
        """Refuse criteria that would have met what another entry writes: both would be about one resource."""
        for target in targets:
            criteria = target.ask.unless or (target.ask.query if target.ask.method in {"PUT", "PATCH"} else ())
            if not criteria:
                continue
            where = asked(self.by.bridge, self.by.grant, target.ask.type, criteria).where
            others = (each for each in whole.versions if each.type == target.ask.type and each.id != target.id)
            if any(holds(where, each) for each in others):
                raise Invalid("The criteria of an entry meet what another entry writes", at=target.ask.at)

    def _require_readable(self, within_: Mapping[str, Json], gone: set[str]) -> None:
        """Refuse what could not be read once all is done: afterwards nothing can be taken back."""
        for ask in (each for each in self.asks if each.method in READING):
            with placed(ask, "request.url"):
                if ask.path in gone:
                    raise Gone("The transaction deletes what this entry reads")
                if ask.path in within_:
                    allowed(self.by.grant, (ask.type,), "r")
                else:
                    answered(self.by, ask)

    def _commit(
        self, whole: Plan, planning: list[_Planned], removed: list[Target], idle: list[Target]
    ) -> dict[str, Row]:
        told = [idle_row(self.by, each.ask, 200 if each.current else 204, id_=each.id) for each in idle]
        told += [
            entry(
                each.case,
                self.by.request,
                200 if each.case.current else 201,
                verb="patch" if each.target.ask.method == "PATCH" else "update",
            )
            for each in planning
        ]
        told += [deletion_told(self.by, cast("Row", target.current)) for target in removed]
        try:
            rows = commit(self.by.bridge, self.by.grant.tenant, whole, told)
        except Taken as taken:
            self._adopt(taken, planning)
            raise Moved from taken
        except VersionConflict as exc:  # written since it was looked at: look again
            raise Moved from exc
        return {f"{row.type}/{row.id}": row for row in rows}

    def _adopt(self, taken: Taken, planning: list[_Planned]) -> None:
        """Take what is there for what an entry would create, unless that has other content (ruling 3)."""
        each = next(each for each in planning if each.case.id == taken.key.mine.id)
        with placed(each.target.ask):
            if each.target.ask.method != "POST":
                raise Duplicate("Another resource has this identifier", at=f"{each.case.type}.identifier")
            self.there[each.target.ask.index] = existing_of(each.case, taken)

    def _answers(self, targets: list[Target], planning: list[_Planned], rows: Mapping[str, Row]) -> tuple[Done, ...]:
        cases = {each.target.ask.index: each.case for each in planning}
        done: dict[int, Done] = {}
        for target in targets:
            case, index = cases.get(target.ask.index), target.ask.index
            row = rows.get(target.place) or target.current
            if target.ask.method == "DELETE" or row is None:
                done[index] = answers.deleted(returns=self.returns)
            else:
                hints = hints_of(case) if case else (THERE,)
                is_new = case is not None and target.current is None
                done[index] = answers.stored(row, is_new=is_new, hints=hints, returns=self.returns)
        for ask in self.asks:
            if ask.method in READING:
                done[ask.index] = self._read(ask)
        return tuple(done[ask.index] for ask in self.asks)

    def _read(self, ask: Ask) -> Done:
        try:
            done = answered(self.by, ask)
        except BridgeError as exc:  # another came between: what is done stays done
            done = answers.failed(exc, request=self.by.request)
        idle_told(self.by, ask, done)
        return done


@dataclass(frozen=True)
class _Planned:
    target: Target
    case: Case


def transaction(by: Writer, entries: list[Json], returns: Returns) -> Outcome:
    """Carry out the entries of a transaction.

    Raises:
        BridgeError: what an entry was refused with; nothing of the Bundle was kept.
    """
    asks = tuple(ask_of(index, each, base=by.bridge.base) for index, each in enumerate(entries))
    return Transaction(by, asks, returns).run()


def _plan(each: _Planned) -> Plan:
    ask = each.target.ask
    with placed(ask), fitting() if ask.method == "PATCH" else nullcontext():
        return planned(each.case)


def _conditions(targets: list[Target]) -> list[Condition]:
    return [condition for target in targets for condition in target.conditions]
