"""$everything of an Encounter or a Patient: all in its compartment, and the Provenance of that, page by page.

http://hl7.org/fhir/R4/encounter-operation-everything.html, http://hl7.org/fhir/R4/patient-operation-everything.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from fhir_bridge.errors import BadParameter
from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.bundle import Entry, searchset
from fhir_bridge.fhir.rest.criteria import Include, SearchRequest
from fhir_bridge.fhir.rest.served import BY_TYPE, targets_of
from fhir_bridge.store import resources
from fhir_bridge.store.filter import NOTHING, And, Chain, Filter, Ids, Not, OfType, Or, Stamped
from fhir_bridge.verbs.compartment import ANY, MEMBERS, reach_of
from fhir_bridge.verbs.include import included
from fhir_bridge.verbs.paging import Place, links
from fhir_bridge.verbs.policy import allowed
from fhir_bridge.verbs.read import read

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fhir_bridge.fhir.rest.inputs import Inputs
    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.store.filter import Keys, Node
    from fhir_bridge.store.resources import Page, Row
    from fhir_bridge.verbs.bridge import Bridge

MOST: Final = 10_000  # of an Encounter, in one Bundle


@dataclass(frozen=True)
class _Wish:
    """What was asked for of everything."""

    types: tuple[str, ...]
    since_ms: int | None
    count: int


def everything(bridge: Bridge, grant: Grant, path: str, inputs: Inputs) -> str:
    """Answer with the first page of all that belongs to `path` and that the Grant may see.

    Raises:
        BadParameter: _since, _count or _type cannot be read.
    """
    place = Place("everything", path, inputs.values, 0, resources.now_ms())
    wish = _wish(bridge, place)
    read(bridge, grant, *path.split("/", 1))
    if wish.since_ms is not None:
        bridge.store.barrier(grant.tenant)
    now = bridge.store.read(lambda conn: resources.snapshot(conn, grant.tenant))
    return page(bridge, grant, Place("everything", path, inputs.values, now.seq, place.made_ms))


def page(bridge: Bridge, grant: Grant, place: Place) -> str:
    """Answer with one page; the rights are judged anew."""
    type_, _, id_ = place.path.partition("/")
    main, wish = read(bridge, grant, type_, id_), _wish(bridge, place)
    heads = (main,) if _is_wanted(main, wish) else ()

    def collect(conn: Connection) -> tuple[Page, tuple[Row, ...], int]:
        filter_ = _members(grant, place.path, wish)
        found = resources.search(conn, filter_, snapshot=place.snapshot, after=place.after, count=wish.count)
        total = place.total
        if total is None:
            total = len(heads) + resources.total(conn, filter_, snapshot=place.snapshot)
        return found, _referred_to(conn, grant, (*heads, *found.rows), wish), total

    found, extra, total = bridge.store.read(collect)
    matches = (*heads, *found.rows) if found.previous is None else found.rows
    entries = [Entry(row.type, row.id, row.body) for row in matches]
    entries += [Entry(row.type, row.id, row.body, "include") for row in extra]
    own = f"{bridge.base}/{place.path}/$everything" + (f"?{urlencode(place.query)}" if place.query else "")
    beside = {"self": own, **links(bridge, grant, place.beside(found, total))}
    return searchset(entries, base=bridge.base, links=beside, total=total)


def _members(grant: Grant, path: str, wish: _Wish) -> Filter:
    """Let through what belongs to the resource `path`, but not itself: it comes first."""
    type_, _, id_ = path.partition("/")
    types = tuple(name for name in _belonging(type_) if grant.scopes_for(name, "r") and name in (wish.types or BY_TYPE))
    if not types:
        return Filter(grant.tenant, NOTHING)
    [inside] = reach_of(f"{path}/{ANY}").within
    asked: list[Node] = [Or((inside, _of_a_member(type_, inside))), Not(And((OfType((type_,)), Ids((id_,)))))]
    if wish.since_ms is not None:
        asked.append(Stamped(low_ms=wish.since_ms + 1))
    return allowed(grant, types, "r").narrowed(*asked)


def _belonging(type_: str) -> tuple[str, ...]:
    """List the types that can be in the compartment, and Provenance, which belongs by what it is about."""
    return tuple(dict.fromkeys([*MEMBERS[type_], "Provenance"]))


def _of_a_member(type_: str, inside: Keys) -> Chain:
    target = BY_TYPE["Provenance"].param("target")
    assert target is not None  # noqa: S101 - served.py lists it
    return Chain(target.number, tuple(name for name in _belonging(type_) if name != "Provenance"), inside)


def _referred_to(conn: Connection, grant: Grant, rows: tuple[Row, ...], wish: _Wish) -> tuple[Row, ...]:
    """Read what a page refers to, such as Practitioners, Organizations and Devices."""
    sources = [BY_TYPE[name] for name in dict.fromkeys(row.type for row in rows)]
    leading = [(row.type, param) for row in sources for param in row.params if param.type == "reference"]
    includes = tuple(
        Include(
            source,
            param.number,
            tuple(name for name in targets_of(param) if name in (wish.types or BY_TYPE)),
            iterate=False,
        )
        for source, param in leading
    )
    return included(conn, grant, SearchRequest((), includes=includes), rows)


def _is_wanted(main: Row, wish: _Wish) -> bool:
    return main.type in (wish.types or (main.type,)) and main.at_ms > (wish.since_ms or 0)


def _wish(bridge: Bridge, place: Place) -> _Wish:
    given = dict(place.query)
    types = tuple(part for name, value in place.query if name == "_type" for part in value.split(","))
    if unknown := [name for name in types if name not in BY_TYPE]:
        raise BadParameter(f"_type names {len(unknown)} types that are not served here: see /fhir/metadata")
    since = encode.moments(given["_since"].replace(" ", "+")) if "_since" in given else None
    if "_since" in given and since is None:
        raise BadParameter("_since is an instant, such as 2026-11-22T08:15:00Z")
    count = given.get("_count", "")
    if count and not (count.isascii() and count.isdigit() and int(count[:9])):
        raise BadParameter("_count is a whole number above 0")
    standard = MOST if place.path.startswith("Encounter/") else bridge.settings.page_size
    most = min(int(count[:9]), bridge.settings.max_page_size) if count else standard
    return _Wish(types, int(since.start.timestamp() * 1000) if since else None, most)
