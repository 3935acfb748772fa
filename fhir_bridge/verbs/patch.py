"""patch: JSON Patch and FHIRPath Patch; what they lead to is an update like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.errors import Gone, Invalid, Issue, Malformed, NotFound, PatchFailed, VersionConflict
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.verbs.conditional import Pairs, asked, condition, match, settled
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import find
from fhir_bridge.verbs.write import updated

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.fhir.resource.reader import Json
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.plan import Condition
    from fhir_bridge.verbs.write import Writer, Written


def patch(by: Writer, type_: str, id_: str, change: Callable[[Json], Json], *, expect: int | None = None) -> Written:
    """Change a resource; whoever writes it at the same time is not overwritten.

    Raises:
        NotFound, Gone: there is nothing to change. VersionConflict: If-Match names another version.
        PatchFailed: the patch does not fit, or what it leaves is no valid resource.
    """

    def attempt() -> Written:
        row = find(by.bridge, allowed(by.grant, (type_,), "u"), type_, id_)
        if row is None:
            raise NotFound(f"There is no {type_} with this id")
        if row.deleted:
            raise Gone(f"This {type_} was deleted")
        return _patched(by, row, change, expect=expect)

    return settled(attempt)


def patch_matching(
    by: Writer, type_: str, criteria: Pairs, change: Callable[[Json], Json], *, expect: int | None = None
) -> Written:
    """Change the one resource that meets the criteria.

    Raises:
        NotFound: none meets them. MultipleMatches: several do. Else as `patch`.
    """
    allowed(by.grant, (type_,), "u")
    filter_ = asked(by.bridge, by.grant, type_, criteria)

    def attempt() -> Written:
        row = match(by.bridge, filter_)
        if row is None:
            raise NotFound(f"No {type_} meets the criteria")
        return _patched(by, row, change, expect=expect, conditions=condition(filter_, row))

    return settled(attempt)


def _patched(
    by: Writer, row: Row, change: Callable[[Json], Json], *, expect: int | None, conditions: tuple[Condition, ...] = ()
) -> Written:
    if expect not in {None, row.vid}:
        raise VersionConflict("If-Match names another version than the current one: read it again")
    patched = change(read(row.body))
    if (patched.get("resourceType"), patched.get("id")) != (row.type, row.id):
        text = "A patch does not change the type or the id of a resource"
        raise PatchFailed(text, issues=(Issue("processing", text, f"{row.type}.id"),))
    try:
        return updated(by, patched, expect, conditions, seen=row.vid)
    except (Malformed, Invalid) as exc:  # a good patch of a good resource that do not go together
        raise PatchFailed(exc.text, issues=exc.issues) from exc
