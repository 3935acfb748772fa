"""Which resource each entry of a transaction is about, in the order in which they happen.

DELETE first, then POST, then PUT and PATCH: http://hl7.org/fhir/R4/http.html#trules. A
condition is judged as if what comes before in that order had happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge import clock
from fhir_bridge.errors import (
    Duplicate,
    Gone,
    Invalid,
    Issue,
    MultipleMatches,
    NotFound,
    VersionConflict,
)
from fhir_bridge.fhir.resource.tree import text
from fhir_bridge.store import resources
from fhir_bridge.verbs.bundles.asks import READING, placed
from fhir_bridge.verbs.conditional import asked
from fhir_bridge.verbs.plan import Condition
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find
from fhir_bridge.verbs.write import current_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.filter import Filter
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bundles.asks import Ask
    from fhir_bridge.verbs.conditional import Pairs
    from fhir_bridge.verbs.write import Writer

_ORDER: Final = ("DELETE", "POST", "PUT", "PATCH")


@dataclass(frozen=True)
class Target:
    """What an entry will write: `id` is None where there is nothing to delete, `current` what is there now.

    A `found` one was created before, or meets the condition of its creation: it is not written.
    """

    ask: Ask
    id: str | None
    current: Row | None = None
    found: bool = False
    conditions: tuple[Condition, ...] = ()

    @property
    def place(self) -> str:
        """Type/id."""
        return f"{self.ask.type}/{self.id}"

    @property
    def writes(self) -> bool:
        """Whether anything is left to be done."""
        return self.id is not None and not self.found


def targets_of(by: Writer, asks: Iterable[Ask], there: Mapping[int, Row]) -> list[Target]:
    """Find what all entries that write are about; `there` are resources known to be what an entry would create.

    Raises:
        Invalid: two entries are about the same resource. Else as what an entry asks for alone.
    """
    targets: list[Target] = []
    gone: set[str] = set()
    writing = sorted((ask for ask in asks if ask.method not in READING), key=lambda ask: _ORDER.index(ask.method))
    for ask in writing:
        with placed(ask):
            target = _target(by, ask, gone, there.get(ask.index))
        targets.append(target)
        if ask.method == "DELETE":
            gone.add(target.place)
    _require_apart(targets)
    return targets


def _target(by: Writer, ask: Ask, gone: set[str], there: Row | None) -> Target:
    match ask.method:
        case "DELETE":
            return _deleted(by, ask)
        case "POST":
            return _created(by, ask, gone, there)
        case "PUT":
            return _updated(by, ask, gone)
        case _:
            return _patched(by, ask, gone)


def _deleted(by: Writer, ask: Ask) -> Target:
    mine = allowed(by.grant, (ask.type,), "d")
    row, conditions = _matched(by, ask, ask.query, set()) if ask.query else (None, ())
    id_ = ask.id if row is None else row.id
    found = find(by.bridge, mine, ask.type, id_) if id_ is not None else None
    current = None if found is None or found.deleted else found
    _require_version(ask, current)
    return Target(ask, current.id if current else None, current, conditions=conditions)


def _created(by: Writer, ask: Ask, gone: set[str], there: Row | None) -> Target:
    allowed(by.grant, (ask.type,), "c")
    if there is not None:
        return Target(ask, there.id, there, found=True)
    row, conditions = _matched(by, ask, ask.unless, gone) if ask.unless else (None, ())
    if row is not None:
        return Target(ask, row.id, row, found=True, conditions=conditions)
    return Target(ask, clock.new_id(), conditions=conditions)


def _updated(by: Writer, ask: Ask, gone: set[str]) -> Target:
    allowed(by.grant, (ask.type,), "u")
    row, conditions = _matched(by, ask, ask.query, gone) if ask.query else (None, ())
    sent = text(ask.json or {}, "id")
    if row is not None and sent not in {None, row.id}:
        wrong = "The criteria meet a resource with another id than the entry's"
        raise Invalid(wrong, issues=(Issue("value", wrong, f"{ask.at}.resource.id"),))
    id_ = ask.id or (row.id if row else sent or clock.new_id())
    current = current_of(by.bridge, by.grant, ask.type, id_)
    if ask.query and row is None and current is not None:
        raise Duplicate("No resource meets the criteria, and the id is that of another one", at=f"{ask.type}.id")
    _require_version(ask, current)
    return Target(ask, id_, current, conditions=conditions)


def _patched(by: Writer, ask: Ask, gone: set[str]) -> Target:
    mine = allowed(by.grant, (ask.type,), "u")
    row, conditions = _matched(by, ask, ask.query, gone) if ask.query else (None, ())
    id_ = ask.id if row is None else row.id
    current = find(by.bridge, mine, ask.type, id_) if id_ is not None else None
    if current is None:
        raise NotFound(f"There is no such {ask.type} to be patched")
    if current.deleted:
        raise Gone(f"This {ask.type} was deleted")
    _require_version(ask, current)
    return Target(ask, current.id, current, conditions=conditions)


def _matched(by: Writer, ask: Ask, criteria: Pairs, gone: set[str]) -> tuple[Row | None, tuple[Condition, ...]]:
    return matched(by, asked(by.bridge, by.grant, ask.type, criteria), gone)


def matched(by: Writer, filter_: Filter, gone: set[str]) -> tuple[Row | None, tuple[Condition, ...]]:
    """Return the one resource a filter lets through, of those not in `gone`, and what has to stay so.

    Raises:
        MultipleMatches: there are more.
    """
    most = len(gone) + 2
    rows = by.bridge.store.read(lambda conn: resources.search(conn, filter_, count=most)).rows
    left = [row for row in rows if f"{row.type}/{row.id}" not in gone]
    if len(left) > 1:
        raise MultipleMatches("The criteria meet more than one resource: make them narrower")
    return (left[0] if left else None), (Condition(filter_, tuple(row.id for row in rows)),)


def _require_version(ask: Ask, current: Row | None) -> None:
    if ask.expect is not None and (current is None or current.vid != ask.expect):
        text_ = "ifMatch names another version than the current one: read it again"
        raise VersionConflict(text_, at=f"{ask.at}.request.ifMatch")


def _require_apart(targets: list[Target]) -> None:
    written = [target for target in targets if target.writes]
    places = [target.place for target in written]
    twice = next((target for target in written if places.count(target.place) > 1), None)
    if twice is not None:
        raise Invalid("Two entries are about the same resource", at=twice.ask.at)


def with_id(target: Target, json: Json) -> Json:
    """Return the resource of a target under the id that it has or will have."""
    return {**json, "id": str(target.id)}
