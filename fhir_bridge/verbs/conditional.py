"""Conditional interactions: a query in the place of an id (http://hl7.org/fhir/R4/http.html#cond-update).

The query is asked twice: to plan, and again inside the transaction, where nobody else
writes. So of any number of racing requests with the same condition one creates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl

from fhir_bridge.errors import BadParameter, Busy, MultipleMatches
from fhir_bridge.fhir.rest.search import parse
from fhir_bridge.store import resources
from fhir_bridge.verbs.plan import Condition, Moved
from fhir_bridge.verbs.policy import allowed, conditions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.filter import Filter
    from fhir_bridge.store.resources import Row
    from fhir_bridge.verbs.bridge import Bridge

T = TypeVar("T")
Pairs = tuple[tuple[str, str], ...]

_ROUNDS: Final = 5


def pairs_of(criteria: str) -> Pairs:
    """Read the text of If-None-Exist, or of a query: `identifier=a|b&status=x`, a leading `?` forgiven."""
    return tuple(parse_qsl(criteria.removeprefix("?"), keep_blank_values=True))


def asked(bridge: Bridge, grant: Grant, type_: str, pairs: Iterable[tuple[str, str]]) -> Filter:
    """Return what the criteria let through.

    Raises:
        NotSupported, BadParameter: a name or value that cannot be read: dropping it would widen the match
            (ruling 20); no criteria at all would match everything.
        Forbidden: the answer tells what exists, so it takes the right to search.
    """
    request = parse(type_, pairs, strict=True, base=bridge.base)
    if not request.criteria:
        raise BadParameter("A condition needs search criteria, such as identifier=system|value")
    return allowed(grant, (type_,), "s").narrowed(*conditions(grant, request))


def match(bridge: Bridge, filter_: Filter) -> Row | None:
    """Return the one resource that is let through, or None.

    Raises:
        MultipleMatches: there are more.
    """
    found = bridge.store.read(lambda conn: resources.search(conn, filter_, count=2)).rows
    if len(found) > 1:
        raise MultipleMatches("The condition meets more than one resource: make it narrower")
    return found[0] if found else None


def condition(filter_: Filter, row: Row | None) -> tuple[Condition, ...]:
    """Return the condition that what was found still is what there is."""
    return (Condition(filter_, () if row is None else (row.id,)),)


def settled(attempt: Callable[[], T]) -> T:
    """Plan and commit until no other writer comes between.

    Raises:
        Busy: others came between each time.
    """
    for _ in range(_ROUNDS):
        try:
            return attempt()
        except Moved:
            continue
    raise Busy("The same resources are being written elsewhere: send the request again", retry_after=1)
