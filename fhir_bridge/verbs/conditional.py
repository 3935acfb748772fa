"""Conditional interactions: a query in the place of an id (http://hl7.org/fhir/R4/http.html#cond-update).

The query is asked twice: to plan, and again inside the transaction, where nobody else
writes. So of any number of racing requests with the same condition one creates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl

from fhir_bridge import clock
from fhir_bridge.errors import BadParameter, Busy, MultipleMatches, NotSupported
from fhir_bridge.fhir.rest.search import parse
from fhir_bridge.fhir.rest.served import offers
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

_ROUNDS: Final = 20
_PAUSE: Final = 0.01  # grows with each round, and differs for each of those that meet


def pairs_of(criteria: str, *, of: str | None = None) -> Pairs:
    """Read the text of If-None-Exist, or of a query: `identifier=a|b&status=x`.

    Some clients send the URL of a search for the type `of`, absolute or relative: it is read too.

    Raises:
        BadParameter: it is the URL of another search.
    """
    path, mark, query = criteria.strip().partition("?")
    if not mark or "=" in path:
        return tuple(parse_qsl(criteria.strip(), keep_blank_values=True))
    if path.rpartition("/")[2] not in {"", of}:
        raise BadParameter("The condition is about another type of resource")
    return tuple(parse_qsl(query, keep_blank_values=True))


def asked(bridge: Bridge, grant: Grant, type_: str, pairs: Iterable[tuple[str, str]]) -> Filter:
    """Return what the criteria let through.

    Raises:
        NotSupported, BadParameter: a name or value that cannot be read: dropping it would widen the match
            (ruling 20); no criteria, or one without a value, would match everything.
        Forbidden: the answer tells what exists, so it takes the right to search.
    """
    given = tuple(pairs)
    if not offers(type_, "search-type"):
        raise NotSupported(f"{type_} is not searched, so there are no conditions about it")
    request = parse(type_, given, strict=True, base=bridge.base)
    if not request.criteria or not all(value for _, value in given):
        raise BadParameter("A condition needs search criteria with values, such as identifier=system|value")
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
    for tried in range(_ROUNDS):
        try:
            return attempt()
        except Moved:
            clock.sleep(_PAUSE * tried * clock.random())
    raise Busy("The same resources are being written elsewhere: send the request again", retry_after=1)
